"""Reading a store's files, which strangers wrote (add-on contract §1.1, §1.2, §1.9, §1.10)."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.errors import Invalid
from supervisor.model.build import DEFAULT_BUILD_FROM, BuildConfig
from supervisor.model.config_file import MAX_FILE_BYTES, parse_json, parse_yaml, read_config_file
from supervisor.model.manifest_files import find_manifests, read_build, read_translations


def write(path: Path, content: str | bytes = "{}") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_manifests_are_found_at_any_depth_in_a_stable_order(tmp_path: Path) -> None:
    wanted = [write(tmp_path / name) for name in ("a/config.yaml", "b/c/config.json", "b/config.yml", "config.yaml")]
    for other in ("a/config.txt", "a/config", "a/Config.yaml", ".git/config.yaml", "d/.x/config.yaml",
                  "a/rootfs/etc/config.yaml", "a/myconfig.yaml"):  # fmt: skip
        write(tmp_path / other)
    assert sorted(find_manifests(tmp_path)) == sorted(wanted)
    assert find_manifests(tmp_path) == find_manifests(tmp_path)


def test_a_repository_below_a_hidden_folder_is_still_searched(tmp_path: Path) -> None:
    file = write(tmp_path / ".data" / "repo" / "a" / "config.yaml")
    assert find_manifests(tmp_path / ".data" / "repo") == [file]


def test_links_out_of_the_repository_are_not_followed(tmp_path: Path) -> None:
    repo = tmp_path / "repo"
    outside = write(tmp_path / "outside" / "config.yaml")
    inside = write(repo / "a" / "real.yaml")
    (repo / "a" / "config.yaml").symlink_to(inside)
    (repo / "b").mkdir()
    (repo / "b" / "config.yaml").symlink_to(outside)
    (repo / "c").symlink_to(tmp_path / "outside")
    (repo / "b" / "config.json").symlink_to(repo / "b" / "config.json")
    assert find_manifests(repo) == [repo / "a" / "config.yaml"]


def test_a_folder_that_can_not_be_walked_keeps_its_errno(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        find_manifests(tmp_path / "gone")


def test_yaml_and_json_are_read_and_an_empty_yaml_file_is_an_empty_mapping(tmp_path: Path) -> None:
    assert read_config_file(write(tmp_path / "config.yaml", "a: [1, x]\n")) == {"a": [1, "x"]}
    assert read_config_file(write(tmp_path / "bom.yaml", b"\xef\xbb\xbfa: 1")) == {"a": 1}
    assert read_config_file(write(tmp_path / "config.yml", "")) == {}
    assert read_config_file(write(tmp_path / "config.json", '{"a": null}')) == {"a": None}


def test_what_looks_like_a_date_stays_text() -> None:
    assert parse_yaml("version: 2024-01-31", "config.yaml") == {"version": "2024-01-31"}


@pytest.mark.parametrize(
    "content",
    [
        "a: [",
        "a: !!python/object/apply:os.system [id]",
        "? [a]\n: b",
        "? {a: b}\n: c",
        "a: 1\n---\nb: 2",
        "a: &x [*x]",
        "a: *nowhere",
        "\x00",
        "[" * 5000,
        "a: 0b_",
        "a: 0x" + "f" * 20_000,
        "a: &a [1,1,1,1,1,1,1,1,1]\n"
        + "".join(f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(8)),
    ],
)
def test_yaml_that_is_broken_or_an_attack_is_refused(content: str) -> None:
    with pytest.raises(Invalid, match=r"^config\.yaml "):
        parse_yaml(content, "config.yaml")


def test_aliases_in_reason_are_fine() -> None:
    assert parse_yaml("a: &x {n: 1}\nb: {<<: *x, m: 2}\nc: *x", "c") == {
        "a": {"n": 1},
        "b": {"n": 1, "m": 2},
        "c": {"n": 1},
    }


@pytest.mark.parametrize("content", ["", "{", "{'a': 1}", '{"a": NaN}', "[" * 100_000, '{"a": ' + "9" * 5000 + "}"])
def test_json_is_strict(content: str) -> None:
    with pytest.raises(Invalid):
        parse_json(content, "config.json")


@given(st.text(max_size=60) | st.text(alphabet="&*a:{}[]-? \n!<|>'\"#%@,1", max_size=40))
def test_any_text_is_data_or_a_clean_error(content: str) -> None:
    for parse in (parse_yaml, parse_json):
        with contextlib.suppress(Invalid):
            parse(content, "file")


def test_files_that_are_too_large_not_utf8_not_there_or_no_files_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.yaml")
    (tmp_path / "folder.yaml").mkdir()
    write(tmp_path / "large.yaml", b"#" * (MAX_FILE_BYTES + 1))
    write(tmp_path / "latin.yaml", b"a: \xe9")
    for name in ("fifo.yaml", "folder.yaml", "large.yaml", "latin.yaml", "gone.yaml"):
        with pytest.raises(Invalid, match=name):
            read_config_file(tmp_path / name)


def test_translations_are_read_by_language_and_broken_ones_skipped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "lamp"
    english = (
        "configuration: {a: {name: A, extra: 1, fields: {b: {name: B, description: null}}}}\nnetwork: {80/tcp: Web}"
    )
    write(folder / "translations" / "en.yaml", english)
    write(folder / "translations" / "de.json", '{"network": {"80/tcp": "Netz"}, "other": 1}')
    write(folder / "translations" / "fr.yaml", "configuration: {a: {description: no name}}")
    write(folder / "translations" / "notes.txt")
    write(folder / "translations" / "\udcff.yaml")
    secret = write(tmp_path / "secret.yaml", "network: {a: b}")
    (folder / "translations" / "it.yaml").symlink_to(secret)
    assert read_translations(folder) == {
        "en": {
            "configuration": {"a": {"name": "A", "fields": {"b": {"name": "B", "description": None}}}},
            "network": {"80/tcp": "Web"},
        },
        "de": {"network": {"80/tcp": "Netz"}},
    }
    assert "fr.yaml" in caplog.text
    assert "it.yaml" in caplog.text
    assert "notes.txt" not in caplog.text


def test_an_add_on_without_translations_has_none(tmp_path: Path) -> None:
    assert read_translations(tmp_path) == {}


def test_build_inputs_come_from_the_file_the_defaults_or_nowhere(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert read_build(tmp_path) == BuildConfig(build_from=None)
    file = write(tmp_path / "deep" / "build.yaml", "args: {VERSION: 1.5}\nother: 1")
    assert read_build(tmp_path) == BuildConfig(DEFAULT_BUILD_FROM, {"VERSION": "1.5"})
    write(file, "build_from: {amd64: 'example.org/base:1'}\nlabels: {a: b}\nsquash: true")
    build = read_build(tmp_path)
    assert build == BuildConfig({"amd64": "example.org/base:1"}, {}, {"a": "b"}, squash=True)
    assert (build.supports("amd64"), build.supports("aarch64")) == (True, False)
    assert (build.base_image("amd64"), build.base_image("aarch64")) == ("example.org/base:1", None)
    assert caplog.text == ""
    write(file, "build_from: 'two words'")
    assert read_build(tmp_path) == BuildConfig(DEFAULT_BUILD_FROM)
    assert "build file is broken" in caplog.text
    assert read_build(tmp_path).base_image("aarch64") == DEFAULT_BUILD_FROM
