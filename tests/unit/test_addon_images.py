"""How an add-on is built here (add-on contract §4.10)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from supervisor.errors import SupervisorError
from supervisor.managers.addons.images import BuildOutput, BuildPlan, plan_build
from supervisor.managers.store import StoreAddon
from supervisor.model.manifest import Manifest
from supervisor.model.manifest_schema import validate_manifest

LEAST: dict[str, Any] = {"name": "Lamp", "version": "1.2", "slug": "lamp", "description": "d", "arch": ["amd64"]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "Dockerfile").write_text("ARG BUILD_FROM\nFROM $BUILD_FROM\n")
    return tmp_path


def plan(folder: Path, build: object = None, arch: str = "amd64", **keys: Any) -> BuildPlan:
    if build is not None:
        (folder / "build.json").write_text(json.dumps(build))
    manifest = Manifest.from_config(validate_manifest({**LEAST, **keys})[0])
    store = StoreAddon(
        slug="local_lamp",
        repository="local",
        manifest=manifest,
        folder=folder,
        root=folder,
        translations={},
        version_timestamp=0,
    )
    return plan_build(store, arch, "local/amd64-addon-lamp")


def test_without_a_build_file_the_dockerfile_stands_by_itself(folder: Path) -> None:
    found = plan(folder)
    assert (found.context, found.dockerfile, found.tag) == (folder, "Dockerfile", "local/amd64-addon-lamp:1.2")
    assert found.build_args == {"BUILD_VERSION": "1.2", "BUILD_ARCH": "amd64"}
    assert found.labels == {
        "io.hass.version": "1.2",
        "io.hass.arch": "amd64",
        "io.hass.type": "addon",
        "io.hass.name": "Lamp",
        "io.hass.description": "d",
    }


def test_a_dockerfile_for_the_architecture_comes_first(folder: Path) -> None:
    (folder / "Dockerfile.aarch64").write_text("FROM scratch\n")
    assert plan(folder, arch="aarch64").dockerfile == "Dockerfile.aarch64"
    assert plan(folder).dockerfile == "Dockerfile"


def test_arguments_of_the_build_file_win_over_ours_except_for_the_base(folder: Path) -> None:
    args = {"BUILD_VERSION": "mine", "COLOR": "red", "BUILD_FROM": "mine"}
    found = plan(folder, {"build_from": {"amd64": "example/base:1"}, "args": args})
    assert found.build_args == {
        "BUILD_VERSION": "mine",
        "BUILD_ARCH": "amd64",
        "COLOR": "red",
        "BUILD_FROM": "example/base:1",
    }


def test_a_build_file_without_a_base_means_the_usual_one(folder: Path) -> None:
    assert plan(folder, {"args": {}}).build_args["BUILD_FROM"] == "ghcr.io/home-assistant/base:latest"


def test_labels_of_the_build_file_lie_between_ours_and_lose_their_quotes(folder: Path) -> None:
    labels = {"io.hass.type": "special", "io.hass.name": "Other", "maintainer": "me"}
    found = plan(folder, {"labels": labels}, name="A 'fine' \"lamp\"", url="https://example.org/")
    assert found.labels["io.hass.type"] == "special"
    assert found.labels["io.hass.name"] == "A fine lamp"
    assert found.labels["maintainer"] == "me"
    assert found.labels["io.hass.url"] == "https://example.org/"


def test_no_dockerfile_is_an_error_that_says_how_to_repair(tmp_path: Path) -> None:
    with pytest.raises(SupervisorError) as caught:
        plan(tmp_path)
    assert caught.value.key == "app_build_dockerfile_missing_error"
    assert "store repair local" in str(caught.value)


def test_a_base_for_other_architectures_only_is_an_error(folder: Path) -> None:
    with pytest.raises(SupervisorError) as caught:
        plan(folder, {"build_from": {"aarch64": "example/base:1"}})
    assert caught.value.key == "app_build_architecture_not_supported_error"
    assert caught.value.fields == {"app": "local_lamp", "app_arches": "aarch64", "system_arches": "amd64"}


def test_the_end_of_a_long_build_is_kept_and_says_that_its_beginning_is_not():
    output = BuildOutput(limit=10)
    for line in ("first\n", "second", "third"):
        output.add(line)
    assert output.text == "(the beginning is left out)\nthird\n"
    short = BuildOutput(limit=10)
    short.add("a")
    short.add("b\n")
    assert short.text == "a\nb\n"
    wide = BuildOutput(limit=3)
    wide.add("abcdef")
    assert wide.text == "abc\n"
