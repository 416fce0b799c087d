"""The example add-ons, as the store reads them, and the manual of the manifest."""

from __future__ import annotations

import json
import os
import re
import shutil
import struct
import subprocess
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from supervisor.model import manifest_schema
from supervisor.model.lint import Report, check_folder
from supervisor.model.manifest_files import find_manifests, read_translations
from supervisor.model.manifest_schema import validate_manifest
from supervisor.model.options import NoDevices, OptionSchema

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "example"
FOLDERS = sorted(path.parent for path in EXAMPLES.glob("*/config.yaml"))
BUSYBOX = shutil.which("busybox")


def manifest(folder: Path) -> dict[str, Any]:
    raw: dict[str, Any] = yaml.safe_load((folder / "config.yaml").read_text())
    return raw


def test_the_repository_holds_the_two_add_ons() -> None:
    assert [file.parent.name for file in find_manifests(EXAMPLES)] == ["hello_web", "whoami"]


def test_the_check_for_authors_has_nothing_to_say_of_them() -> None:
    assert check_folder(EXAMPLES) == Report((), 2)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
class TestExample:
    def test_manifest_is_accepted_without_a_remark_and_knows_every_key(self, folder: Path) -> None:
        config, remarks = validate_manifest(manifest(folder))
        assert remarks == []
        assert set(manifest(folder)) <= set(config)
        assert config["slug"] == folder.name

    def test_defaults_pass_its_own_schema_unchanged(self, folder: Path) -> None:
        config, _ = validate_manifest(manifest(folder))
        schema = OptionSchema(config["schema"], config["name"], config["slug"])
        done = schema.validate(config["options"], secrets=pytest.fail, devices=NoDevices())
        assert done.stored == config["options"]
        assert done.dropped == ()

    def test_every_option_and_port_has_its_text_in_every_language(self, folder: Path) -> None:
        config = manifest(folder)
        translations = read_translations(folder)
        assert set(translations) == {"de", "en"}
        for texts in translations.values():
            assert set(texts["configuration"]) == set(config["schema"])
            assert set(texts.get("network", {})) == set(config.get("ports", {}))

    @pytest.mark.parametrize(("name", "size"), [("icon.png", (128, 128)), ("logo.png", (250, 100))])
    def test_pictures_are_png_of_the_usual_size(self, folder: Path, name: str, size: tuple[int, int]) -> None:
        data = (folder / name).read_bytes()
        assert data[:8] == b"\x89PNG\r\n\x1a\n"
        assert struct.unpack(">II", data[16:24]) == size

    def test_programs_may_be_executed(self, folder: Path) -> None:
        programs = [path for path in folder.rglob("*") if path.parent.name in ("bin", "cgi-bin")]
        assert programs
        assert all(os.access(path, os.X_OK) for path in programs)


def test_the_manual_has_a_row_for_every_key_of_the_manifest() -> None:
    manual = (ROOT / "docs" / "addons.md").read_text()
    rows = "\n".join(line.split("|")[1] for line in manual.splitlines() if line.startswith("| `"))
    documented = set(re.findall(r"`([a-z_]+)`", rows)) | {"map", "options", "schema"}
    assert {str(key) for key in manifest_schema._KEYS} - {"codenotary", "advanced"} <= documented


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name == "href"]


@pytest.fixture
def render(tmp_path: Path) -> Callable[[dict[str, Any]], str]:
    """Run hello_web's own script up to the server, outside a container."""
    script = (EXAMPLES / "hello_web" / "bin" / "hello-web").read_text().partition("\nrender >")[0]
    reader = f'json() {{ sh {ROOT}/script/base/bin/json "$@"; }}\n'

    def run(options: dict[str, Any]) -> str:
        file = tmp_path / "options.json"
        file.write_text(json.dumps(options))
        program = reader + script.replace("/data/options.json", str(file)) + "\nrender\n"
        done = subprocess.run(
            [str(BUSYBOX), "sh", "-c", program], capture_output=True, text=True, check=False, timeout=30
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    return run


hostile = st.text(st.sampled_from("<>&'\"`$\\;/ aé"), min_size=1, max_size=12)


@pytest.mark.skipif(BUSYBOX is None, reason="the page is made by busybox, which script/setup installs")
class TestPage:
    @settings(
        max_examples=15,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )
    @given(title=hostile, greeting=hostile, name=hostile)
    def test_what_a_user_types_never_becomes_markup(
        self, render: Callable[[dict[str, Any]], str], title: str, greeting: str, name: str
    ) -> None:
        plain = {"title": "t", "color": "teal", "greetings": ["g"], "refresh": 0, "owner": {"name": "n"}, "links": []}
        expected, page = _Tags(), _Tags()
        expected.feed(render(plain))
        page.feed(render(plain | {"title": title, "greetings": [greeting], "owner": {"name": name}}))
        assert page.tags == expected.tags

    def test_a_link_leads_to_a_page_and_to_nothing_else(self, render: Callable[[dict[str, Any]], str]) -> None:
        page = _Tags()
        links = [{"name": "bad", "url": "javascript:alert(1)"}, {"name": "good", "url": "https://example.org/?a=1&b=2"}]
        options = {"title": "t", "color": "teal", "greetings": [], "refresh": 0, "owner": {"name": "n"}, "links": links}
        page.feed(render(options))
        assert page.links == ["https://example.org/?a=1&b=2", "cgi-bin/request"]

    def test_the_password_is_never_on_the_page(self, render: Callable[[dict[str, Any]], str]) -> None:
        options = {"title": "t", "color": "teal", "greetings": [], "refresh": 0, "owner": {"name": "n"}, "links": []}
        assert "Password: not set" in render(options)
        page = render(options | {"password": "correct-horse"})
        assert "Password: set" in page
        assert "correct-horse" not in page
