"""What authors are told of their add-ons and repositories before others install them."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisor.errors import Invalid
from supervisor.model.lint import Finding, Report, Severity, check_folder
from supervisor.model.lint.document import Document

GOOD = """\
name: Lamp
version: "1.2.3"
slug: lamp
description: Lights up
arch:
  - amd64
image: ghcr.io/example/{arch}-lamp
"""


def png(width: int, height: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", width, height) + b"\x08\x02\x00\x00\x00rest"


@pytest.fixture
def addon(tmp_path: Path) -> Path:
    folder = tmp_path / "lamp"
    folder.mkdir()
    (folder / "config.yaml").write_text(GOOD)
    return folder


def check(addon: Path, extra: str = "", *, base: str = GOOD) -> Report:
    (addon / "config.yaml").write_text(base + extra)
    return check_folder(addon)


def told(report: Report, rule: str) -> list[Finding]:
    return [finding for finding in report.findings if finding.rule == rule]


def only(report: Report, rule: str, severity: Severity, line: int | None, *words: str) -> None:
    """The report holds one finding, it is this, and its message holds the words."""
    assert [(found.rule, found.severity, found.line) for found in report.findings] == [(rule, severity, line)]
    for word in words:
        assert word in report.findings[0].message


def test_a_good_add_on_gets_no_remark(addon: Path) -> None:
    (addon / "icon.png").write_bytes(png(128, 128))
    (addon / "README.md").write_text("Lämp")
    (addon / "apparmor.txt").write_text("#include <tunables/global>\nprofile lamp flags=(x) {\n  profile inner {}\n}\n")
    assert check(addon) == Report((), 1)


ADVICE = {
    "typo": ("ingres: true\n", "unknown-key", 8, ("ingres", "did you mean 'ingress'?")),
    "word as a key": ("schema:\n  off: str?\n", "word-as-key", 9, ("write 'off'",)),
    "unknown": ("zzz: 1\n", "unknown-key", 8, ("zzz: is no key",)),
    "key that is no text": ("2: 1\n", "unknown-key", 8, ("is no key",)),
    "map key": ("map:\n  - type: share\n    readonly: false\n", "unknown-key", 10, ("map[0].readonly", "read_only")),
    "ulimit": ("ulimits: {nofile: {soft: 1, hard: 2, herd: 3}}\n", "unknown-key", 8, ("herd", "'hard'")),
    "snapshot": ("snapshot: cold\n", "deprecated-key", 8, ("snapshot: is now called 'backup'",)),
    "both": ("uart: true\nauto_uart: false\n", "deprecated-key", 9, ("ignored beside 'uart'",)),
    "startup": ("startup: before\n", "deprecated-value", 8, ("services",)),
    "devices": ("devices:\n  - /dev/a\n  - /dev/b:/dev/b:rwm\n", "deprecated-value", 10, ("devices[1]",)),
    "tmpfs": ("tmpfs: size=10m\n", "deprecated-value", 8, ("means true",)),
    "map": ("map:\n  - share\n  - cellar:rw\n", "doubtful", 10, ("cellar",)),
    "map without a type": ("map:\n  - share\n  - path: /x\n", "doubtful", 10, ("type",)),
    "advanced": ("advanced: true\n", "doubtful", 8, ("no effect",)),
    "cold": ("backup: cold\nbackup_pre: sync\n", "doubtful", 9, ("cold",)),
    "variable": ("environment:\n  A: x\n  a-b: x\n", "doubtful", 10, ("a-b",)),
    "only negations": ("machine: ['!green', '!yellow']\n", "machine", 8, ("older",)),
    "useless negation": ("machine: ['!green', 'yellow']\n", "machine", 8, ("!green",)),
    "core version": ("homeassistant: landingpage\n", "version", 8, ("no version scheme",)),
    "port text": ("ports: {80/tcp: 80}\nports_description:\n  81/tcp: x\n", "undeclared-port", 10, ("81/tcp",)),
    "web page": ("webui: http://[HOST]:[PORT:81]/\nports: {80/tcp: 80}\n", "undeclared-port", 8, ("[PORT:81]",)),
    "web page protocol": (
        "ports: {'80': 80}\nwebui: '[PROTO:ssl]://[HOST]:[PORT:80]'\n",
        "unknown-option",
        9,
        ("[PROTO:ssl]",),
    ),
    "watchdog": ("watchdog: tcp://[HOST]:[PORT:9]\n", "undeclared-port", 8, ("[PORT:9]",)),
    "panel": ("panel_title: Lamp\n", "no-effect", 8, ("without ingress: true",)),
    "role": ("hassio_role: backup\n", "no-effect", 8, ("without hassio_api: true",)),
    "dropped default": ("options:\n  a: 1\n  lapm: x\nschema:\n  a: int\n", "options", 10, ("options.lapm", "dropped")),
    "no options": ("options: {a: 1}\nschema: false\n", "options", 8, ("ignored",)),
    "no default": ("schema:\n  a: str?\n  b: str\n", "no-default", 10, ("schema.b", "null")),
    "mapping without default": ("schema:\n  a:\n    b: str?\n", "no-default", 9, ("schema.a", "can't be left out")),
    "optional null": ("options:\n  a: null\nschema:\n  a: str?\n", "options", 9, ("options.a", "optional")),
    "empty list": ("options: {a: []}\nschema:\n  a: []\n", "options", 10, ("schema.a", "no value")),
    "empty type": ("options: {a: null}\nschema:\n  a: ''\n", "options", 10, ("names no type",)),
    "duplicate": ("url: https://a.example\nurl: https://b.example\n", "duplicate-key", 9, ("'url'", "second time")),
    "host network": ("host_network: true\n", "rights", 8, ("by 1", "rating of 4 of 8")),
    "host pid": ("host_pid: true\n", "rights", 8, ("by 2", "rating of 3 of 8")),
    "docker": ("docker_api: true\n", "rights", 8, ("rating of 1 of 8",)),
    "role admin": ("hassio_api: true\nhassio_role: admin\n", "rights", 9, ("by 2", "3 of 8")),
    "capability": ("privileged:\n  - SYS_TIME\n  - SYS_ADMIN\n", "rights", 8, ("(SYS_ADMIN)", "4 of 8")),
    "modules": ("privileged: [SYS_TIME]\nkernel_modules: true\n", "rights", 9, ("kernel_modules", "4 of 8")),
    "unconfined": ("apparmor: false\n", "rights", 8, ("by 1", "4 of 8")),
}


@pytest.mark.parametrize("case", ADVICE)
def test_advice_names_key_and_line(addon: Path, case: str) -> None:
    extra, rule, line, words = ADVICE[case]
    only(check(addon, extra), rule, Severity.ADVICE, line, *words)


ERRORS = {
    "bool": ("ingress: maybe\n", "schema", 8, ("ingress: expected boolean",)),
    "renamed": ("auto_uart: maybe\n", "schema", 8, ("auto_uart: expected boolean",)),
    "ports": ("ports:\n  80/TCP: 80\n", "schema", 9, ("ports.80/TCP", "80/tcp")),
    "port key": ("ports:\n  80: 80\n", "schema", 9, ("ports.80",)),
    "schema type": ("schema:\n  deep:\n    list:\n      - strr\n", "schema", 11, ("schema.deep.list[0]", "strr")),
    "map type": ("map:\n  - type: share\n  - type: cellar\n", "schema", 10, ("map[1].type",)),
    "map after one without effect": ("map:\n  - path: /x\n  - type: cellar\n", "schema", 10, ("map[1].type",)),
    "webui": ("webui: http://[HOST]:80\n", "schema", 8, ("webui", "[PORT:80]")),
    "default": ("options:\n  a: x\nschema:\n  a: int\n", "options", 9, ("options.a", "expected int")),
    "default in a list": (
        "options:\n  a:\n    - b: 1\n    - b: 70000\nschema:\n  a:\n    - b: port\n",
        "options",
        11,
        ("options.a[1].b", "65535"),
    ),
    "default of another shape": ("options: {a: 1}\nschema:\n  a: [str]\n", "options", 8, ("must be a list",)),
    "default no mapping": ("options: {a: 1}\nschema:\n  a: {b: str?}\n", "options", 8, ("must be a mapping",)),
    "core version as a number": ("homeassistant: 2023.10\n", "unquoted-version", 8, ('write "2023.10"',)),
    "breaking version": ("breaking_versions:\n  - '1'\n  - 2.10\n", "unquoted-version", 10, ("breaking_versions[1]",)),
}


@pytest.mark.parametrize("case", ERRORS)
def test_an_error_names_key_and_line(addon: Path, case: str) -> None:
    extra, rule, line, words = ERRORS[case]
    report = check(addon, extra)
    found = [finding for finding in report.findings if finding.severity is Severity.ERROR]
    assert [(one.rule, one.line) for one in found] == [(rule, line)]
    for word in words:
        assert word in found[0].message
    assert report.errors == 1


@pytest.mark.parametrize(
    ("written", "severity", "words"),
    [
        ("1.10", Severity.ERROR, 'is the number 1.1 without quotes: write "1.10"'),
        ("2024.1.0", None, ""),
        ("1_000", Severity.ERROR, 'write "1_000"'),
        ("1:30", Severity.ERROR, "is the number 90"),
        ("1.5", Severity.ADVICE, 'put it in quotes, as in "1.5"'),
        ("7", Severity.ADVICE, "put it in quotes"),
        ("'1.10'", None, ""),
    ],
)
def test_a_version_that_is_a_number_is_noticed(
    addon: Path, written: str, severity: Severity | None, words: str
) -> None:
    report = check(addon, base=GOOD.replace('"1.2.3"', written))
    if severity is None:
        assert report.findings == ()
    else:
        only(report, "unquoted-version", severity, 2, words)


def test_missing_keys_are_named_and_every_error_is_told_at_once(addon: Path) -> None:
    report = check(addon, base="name: Lamp\narch: [mips]\nurl: nowhere\n")
    messages = [finding.message for finding in report.findings]
    for key in ("version", "slug", "description"):
        assert f"{key}: required key not provided" in messages
    assert [finding.line for finding in report.findings if "arch" in finding.message] == [2]
    assert [finding.line for finding in report.findings if finding.message.startswith("url")] == [3]


@pytest.mark.parametrize(
    ("content", "line", "word"),
    [
        ("name: Lamp\narch: [amd64\nslug: x\n", 3, "YAML"),
        ("name: Lamp\n\turl: x\n", 2, "YAML"),
        ("name: !!python/object/apply:os.system ['true']\n", 1, "YAML"),
        ("- a\n", 1, "a manifest is a mapping"),
    ],
)
def test_a_file_that_makes_no_sense_is_told_with_its_line(addon: Path, content: str, line: int, word: str) -> None:
    report = check(addon, base=content)
    assert report.errors == 1
    assert report.findings[0].line == line
    assert word in report.findings[0].message


def test_json_has_lines_too(tmp_path: Path) -> None:
    text = '{\n\t"name": "L\\u00e4mp \\/",\n\t"version": 1.10,\n\t"slug": "l",\n\t"description": "d",\n'
    text += '\t"arch": ["mips"]\n}'
    (tmp_path / "config.json").write_text(text)
    found = {(finding.rule, finding.line) for finding in check_folder(tmp_path).findings}
    assert found == {("schema", 6), ("unquoted-version", 3)}
    (tmp_path / "config.json").write_text('{\n"name": 1,\n}')
    report = check_folder(tmp_path)
    assert [(finding.rule, finding.line) for finding in report.findings] == [("syntax", 3)]


def test_only_dead_architectures_are_an_error(addon: Path) -> None:
    report = check(addon, base=GOOD.replace("amd64", "armv7"))
    assert [(found.rule, found.line) for found in report.findings if found.severity is Severity.ERROR] == [
        ("dead-arch", 5)
    ]
    both = check(addon, base=GOOD.replace("  - amd64", "  - amd64\n  - armv7"))
    only(both, "doubtful", Severity.ADVICE, 5, "armv7")


def test_an_add_on_without_image_needs_a_dockerfile(addon: Path) -> None:
    base = GOOD.replace("image: ghcr.io/example/{arch}-lamp\n", "").replace("- amd64", "- amd64\n  - aarch64")
    only(check(addon, base=base), "dockerfile", Severity.ERROR, None, "Dockerfile.amd64 and no Dockerfile.aarch64")
    (addon / "Dockerfile.amd64").touch()
    only(check(addon, base=base), "dockerfile", Severity.ERROR, None, "and no Dockerfile.aarch64")
    (addon / "Dockerfile").touch()
    assert check(addon, base=base).findings == ()
    (addon / "build.yaml").write_text("build_from:\n  amd64: debian:12\nsquash: true\n")
    report = check(addon, base=base)
    assert [(found.severity, found.line) for found in told(report, "build")] == [
        (Severity.ERROR, 1), (Severity.ADVICE, 3),
    ]  # fmt: skip
    assert "aarch64" in report.findings[0].message
    (addon / "build.yaml").write_text("build_from: [1]\n")
    only(check(addon, base=base), "build", Severity.ERROR, None, "image reference")


def test_pictures_are_looked_at(addon: Path) -> None:
    (addon / "icon.png").write_bytes(b"\xff\xd8\xff JPEG")
    (addon / "logo.png").write_bytes(png(4000, 100))
    report = check(addon)
    assert [(found.severity, found.file.name) for found in told(report, "picture")] == [
        (Severity.ERROR, "icon.png"), (Severity.ADVICE, "logo.png"),
    ]  # fmt: skip
    (addon / "logo.png").unlink()
    (addon / "icon.png").write_bytes(png(128, 64))
    only(check(addon), "picture", Severity.ADVICE, None, "128x64")
    (addon / "icon.png").write_bytes(png(128, 128) + bytes(5 * 2**20))
    only(check(addon), "picture", Severity.ERROR, None, "4 MiB")


def test_links_out_of_the_repository_are_told(addon: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere.png").write_bytes(png(128, 128))
    (addon / "icon.png").symlink_to(tmp_path / "elsewhere.png")
    (addon / "README.md").symlink_to("/etc/hostname")
    (addon / "apparmor.txt").symlink_to("nowhere")
    assert {found.file.name for found in told(check(addon), "link")} == {"icon.png", "README.md", "apparmor.txt"}
    (tmp_path / "repository.yaml").write_text("name: All\n")
    assert {found.file.name for found in told(check_folder(tmp_path), "link")} == {"README.md", "apparmor.txt"}


def test_what_can_not_be_read_is_told(addon: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (addon / "icon.png").write_bytes(png(128, 128))
    (addon / "translations").mkdir()
    opened = Path.open

    def closed(path: Path, *args: Any, **more: Any) -> Any:
        if path.name == "icon.png":
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *args, **more)

    monkeypatch.setattr(Path, "open", closed)
    report = check(addon)
    assert [(found.rule, str(found.file)) for found in report.findings] == [("file", "icon.png")]
    assert "Permission denied" in report.findings[0].message


def test_texts_that_are_not_utf_8_are_told_with_the_line(addon: Path) -> None:
    (addon / "CHANGELOG.md").write_bytes(b"# 1.0\n\ncaf\xe9\n")
    only(check(addon), "text", Severity.ADVICE, 3, "UTF-8")


@pytest.mark.parametrize(
    ("profile", "line", "word"),
    [
        ("  profile indented {}\n", None, "found none"),
        ("", None, "found none"),
        ("profile a {\n}\n\nprofile b {\n}\n", 4, "found 2"),
        ("profile a {\n", None, "braces"),
        (b"profile a {\n}\n\xff", None, "UTF-8"),
    ],
)
def test_an_apparmor_file_holds_exactly_one_profile(
    addon: Path, profile: str | bytes, line: int | None, word: str
) -> None:
    (addon / "apparmor.txt").write_bytes(profile if isinstance(profile, bytes) else profile.encode())
    only(check(addon), "apparmor", Severity.ERROR, line, word)


def test_a_profile_raises_the_rating_and_is_useless_beside_apparmor_false(addon: Path) -> None:
    (addon / "apparmor.txt").write_text("profile lamp {}\n")
    only(check(addon, "host_network: true\n"), "rights", Severity.ADVICE, 8, "5 of 8")
    report = check(addon, "apparmor: false\n")
    assert "has no effect" in told(report, "apparmor")[0].message


def test_translations_are_compared_with_options_and_ports(addon: Path) -> None:
    (addon / "translations").mkdir()
    (addon / "translations" / "en.yaml").write_text(
        "configuration:\n  lamps:\n    name: Lamps\n    fields:\n      colr:\n        name: Colour\n"
        "  lamp:\n    name: Lamp\nnetwork:\n  80/tcp: Page\n  81/tcp: Gone\nnetwrk: {}\n"
    )
    (addon / "translations" / "de.yml").write_text("configuration:\n  lamps:\n    description: ohne Namen\n")
    (addon / "translations" / "fr.json").write_text("{\n")
    (addon / "translations" / "README").touch()
    report = check(addon, "ports: {80/tcp: 80}\noptions: {lamps: []}\nschema:\n  lamps:\n    - colour: str\n")
    places = [(str(found.file), found.severity.value, found.line) for found in report.findings]
    assert places == [
        ("translations/README", "advice", None),
        ("translations/de.yml", "error", 2),
        ("translations/en.yaml", "advice", 5),
        ("translations/en.yaml", "advice", 7),
        ("translations/en.yaml", "advice", 11),
        ("translations/en.yaml", "advice", 12),
        ("translations/fr.json", "error", 2),
    ]
    assert "did you mean 'colour'" in report.findings[2].message
    assert "did you mean 'lamps'" in report.findings[3].message
    assert "did you mean 'network'" in report.findings[5].message


def test_a_repository_describes_itself_and_holds_each_slug_once(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").write_text(GOOD)
    report = check_folder(tmp_path)
    assert [(found.rule, str(found.file), found.line) for found in report.findings] == [
        ("repository", ".", None),
        ("duplicate-slug", "two/config.yaml", 3),
    ]
    assert "one/config.yaml" in report.findings[1].message
    (tmp_path / "repository.yaml").write_text("url: nowhere\n")
    assert "name" in told(check_folder(tmp_path), "repository")[0].message
    (tmp_path / "repository.yaml").write_text("name: All\n")
    (tmp_path / "two" / "config.yaml").write_text(GOOD.replace("slug: lamp", "slug: two"))
    assert check_folder(tmp_path) == Report((), 2)


def test_a_configuration_of_the_program_itself_is_told_apart_from_a_manifest(addon: Path) -> None:
    (addon / "src").mkdir()
    (addon / "src" / "config.json").write_text('{"listen": 80}')
    (addon / "rootfs").mkdir()
    (addon / "rootfs" / "config.yaml").write_text("- anything\n")
    report = check(addon)
    only(report, "no-manifest", Severity.ADVICE, None, "rename or move it")
    assert report.addons == 1


def test_where_nothing_can_be_checked_that_is_said(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="nothing to check"):
        check_folder(tmp_path)
    with pytest.raises(Invalid, match="not a folder"):
        check_folder(tmp_path / "gone")


def test_places_are_found_through_anchors_and_merges(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("base: &base\n  a: 1\n  b: 2\nmore:\n  <<: *base\n  b: 3\nlist: [*base, {x: 1}]\n")
    document = Document.read(file)
    assert document.place(("more", "b")) == (6, 3)
    assert document.place(("more", "a")) == (2, 3)
    assert document.place(("list", 0, "b")) == (3, 3)
    assert document.place(("list", 1, "x")) == (7, 16)
    assert document.place(("more", "gone", "deeper")) == (4, 1)
    assert document.place(("list", 7)) == (7, 1)
    assert list(document.duplicates()) == []


_PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 70000)
    | st.text(max_size=12)
    | st.sampled_from(["str", "int?", "80/tcp"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(
            ["options", "schema", "map", "ports", "machine", "snapshot", "devices", "webui", "x", "version"]
        ),
        _PLAIN,
        max_size=4,
    )
)
def test_whatever_a_manifest_holds_is_judged_as_the_store_judges_it(
    tmp_path_factory: pytest.TempPathFactory, extra: dict[str, object]
) -> None:
    from supervisor.model.manifest_schema import validate_manifest

    folder = tmp_path_factory.mktemp("lint")
    keys = {"name": "Lamp", "version": "1", "slug": "l", "description": "d", "arch": ["amd64"], "image": "x/y", **extra}
    (folder / "config.json").write_text(json.dumps(keys))
    schema_errors = told(check_folder(folder), "schema")
    try:
        validate_manifest(json.loads(json.dumps(keys)))
    except Invalid:
        assert schema_errors
        assert all(found.line is not None or "\\u" in json.dumps(keys) for found in schema_errors)
    else:
        assert not schema_errors
