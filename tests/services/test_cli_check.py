"""`supervisor addons check` as authors and their CI call it: without a daemon."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

GOOD = 'name: Lamp\nversion: "1"\nslug: lamp\ndescription: d\narch: [amd64]\nimage: example/lamp\n'


@pytest.fixture
def addon(tmp_path: Path) -> Path:
    folder = tmp_path / "la:mp,%"
    folder.mkdir()
    (folder / "config.yaml").write_text(GOOD)
    return folder


def run(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("SUPERVISOR")}
    command = (sys.executable, "-m", "supervisor", "--socket", "/nonexistent", "addons", "check", *map(str, arguments))
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=cwd)


def test_advice_alone_ends_with_0_and_an_error_with_1(addon: Path) -> None:
    done = run(addon)
    assert (done.returncode, done.stdout) == (0, "1 add-on: 0 errors, 0 pieces of advice\n")
    (addon / "config.yaml").write_text(GOOD + "host_network: true\n")
    done = run(addon)
    assert done.returncode == 0
    assert done.stdout.startswith(f"{addon}/config.yaml:7:1: advice: host_network: lowers the rating by 1")
    (addon / "config.yaml").write_text(GOOD + "boot: never\n")
    done = run(addon)
    assert done.returncode == 1
    assert f"{addon}/config.yaml:7:1: error: boot: expected one of auto, manual, manual_only [schema]" in done.stdout
    assert done.stdout.endswith("1 add-on: 1 error, 0 pieces of advice\n")


def test_nothing_to_check_ends_with_2(tmp_path: Path) -> None:
    done = run(tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "nothing to check" in done.stderr
    assert run().returncode == 2


def test_json_is_for_programs(addon: Path) -> None:
    (addon / "config.yaml").write_text(GOOD + "boot: never\n")
    for options in (("--format", "json"), ("-o", "json")):
        done = run(addon, *options)
        assert done.returncode == 1
        data = json.loads(done.stdout)
        assert (data["addons"], data["errors"], data["advice"]) == (1, 1, 0)
        assert data["findings"] == [
            {
                "severity": "error",
                "rule": "schema",
                "message": "boot: expected one of auto, manual, manual_only",
                "file": f"{addon}/config.yaml",
                "line": 7,
                "column": 1,
            }
        ]


def test_github_gets_annotations_with_paths_from_where_it_was_called(addon: Path) -> None:
    (addon / "config.yaml").write_text(GOOD + 'boot: never\nhost_network: true\n"a%\\n::error::b": 1\n')
    done = run(addon.name, "--format", "github", cwd=addon.parent)
    first, second = done.stdout.splitlines()
    assert first == (
        "::error file=la%3Amp%2C%25/config.yaml,line=7,col=1,title=schema::"
        "boot: expected one of auto, manual, manual_only"
    )
    assert second.startswith("::warning file=la%3Amp%2C%25/config.yaml,line=9,col=1,title=unknown-key::a%25 ::error")


def test_what_a_stranger_wrote_can_not_steer_the_terminal(addon: Path) -> None:
    (addon / "config.yaml").write_text(GOOD + '"x\\e]0;owned\\a\\u202E": 1\n')
    done = run(addon)
    assert "\x1b" not in done.stdout
    assert "\u202e" not in done.stdout
