"""Manifests of every age and taste (add-on contract §1.3-§1.5)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.errors import Invalid
from supervisor.model.manifest import (
    AddonBackup,
    AddonBoot,
    AddonStage,
    AddonStartup,
    HassioRole,
    Manifest,
    MapFolder,
    MapType,
    ServiceRole,
    Ulimit,
)
from supervisor.model.manifest_schema import image_name, validate_manifest

LEAST: dict[str, Any] = {
    "name": "Lamp",
    "version": "1.2.3",
    "slug": "lamp",
    "description": "Lights up",
    "arch": ["amd64"],
}


def manifest(**keys: Any) -> Manifest:
    return Manifest.from_config(validate_manifest({**LEAST, **keys})[0])


def remarks(**keys: Any) -> str:
    return "\n".join(validate_manifest({**LEAST, **keys})[1])


def refusal(**keys: Any) -> str:
    with pytest.raises(Invalid) as caught:
        validate_manifest({**LEAST, **keys})
    return caught.value.message


def test_the_least_manifest_gets_the_defaults_of_the_contract() -> None:
    least = manifest()
    assert (least.name, least.version, least.slug, least.arch) == ("Lamp", "1.2.3", "lamp", ("amd64",))
    assert (least.stage, least.startup, least.boot) == (
        AddonStage.STABLE, AddonStartup.APPLICATION, AddonBoot.AUTO,
    )  # fmt: skip
    assert (least.timeout, least.ingress_port, least.panel_icon) == (10, 8099, "mdi:puzzle")
    assert least.hassio_role is HassioRole.DEFAULT
    assert least.backup is AddonBackup.HOT
    on_by_default = {"init", "panel_admin", "apparmor"}
    bools = {key: value for key, value in least.config.items() if isinstance(value, bool)}
    assert {key for key, value in bools.items() if value} == on_by_default
    assert len(bools) == 28
    assert (least.options, least.schema, least.map, least.ulimits) == ({}, {}, {}, {})
    assert (least.ports, least.webui, least.image, least.homeassistant) == (None, None, None, None)
    assert least.needs_build
    assert not least.with_ingress


def test_a_rich_manifest_reads_into_typed_fields_and_survives_the_way_through_json() -> None:
    rich = manifest(
        version=1.5,
        homeassistant="2024.1.0",
        url="https://example.org/lamp\n",
        image="ghcr.io/example/{arch}-lamp",
        breaking_versions=["1.0", 2],
        machine=["!raspberrypi5-64"],
        startup="system",
        boot="manual_only",
        timeout="30",
        watchdog="tcp://[HOST]:1883",
        ports={"80/tcp": "8080", "81": None, "82/udp": 82},
        ports_description={"80/tcp": "Page"},
        webui="[PROTO:ssl]://[HOST]:[PORT:80]/x",
        ingress="yes",
        ingress_port=0,
        services=["mqtt:want", "mysql:need", "mqtt:provide"],
        discovery=["mqtt"],
        privileged=["SYS_ADMIN"],
        kernel_modules=True,
        realtime=True,
        devices=["/dev/ttyUSB0:/dev/ttyUSB0:rwm"],
        ulimits={"nofile": 1024, "memlock": {"soft": 1, "hard": 2}},
        environment={"A_B": "c"},
        options={"deep": {1: [None, 1.5, True]}},
        schema={"deep": {1: ["float?"]}},
        backup="cold",
        backup_exclude=["*.log"],
        unknown_key={"x": 1},
    )
    assert rich.version == "1.5"
    assert rich.url == "https://example.org/lamp"
    assert rich.breaking_versions == ("1.0", "2")
    assert rich.ports == {"80/tcp": 8080, "81": None, "82/udp": 82}
    assert rich.services == {"mqtt": ServiceRole.PROVIDE, "mysql": ServiceRole.NEED}
    assert rich.devices == ("/dev/ttyUSB0",)
    assert rich.ulimits == {"nofile": Ulimit(1024, 1024), "memlock": Ulimit(1, 2)}
    assert rich.capabilities == ("SYS_ADMIN", "SYS_MODULE", "SYS_NICE")
    assert rich.options == {"deep": {"1": [None, 1.5, True]}}
    assert rich.schema == {"deep": {"1": ["float?"]}}
    assert rich.boot_pinned
    assert rich.default_boot is AddonBoot.MANUAL
    assert "unknown_key" not in rich.config
    assert Manifest.from_config(validate_manifest(json.loads(json.dumps(rich.config)))[0]) == rich


def test_other_keys_beside_a_stored_configuration_are_ignored() -> None:
    config = {**manifest().config, "repository": "core", "translations": {}}
    assert Manifest.from_config(config) == manifest()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("name", ""),
        ("name", 1),
        ("version", None),
        ("version", True),
        ("version", "1 2"),
        ("version", float("nan")),
        ("slug", ""),
        ("slug", "a/b"),
        ("slug", ".."),
        ("slug", "a..b"),
        ("slug", "lamp\n"),
        ("slug", 5),
        ("description", None),
        ("arch", "amd64"),
        ("arch", ["mips"]),
        ("arch", [["amd64"]]),
        ("machine", ["toaster"]),
        ("machine", ["yellow", "yellow"]),
        ("machine", [""]),
        ("homeassistant", []),
        ("url", "example.org"),
        ("stage", "beta"),
        ("image", "Upper/case"),
        ("image", "name:tag"),
        ("image", "a//b"),
        ("image", "../b"),
        ("startup", "later"),
        ("boot", "never"),
        ("timeout", 9),
        ("timeout", 301),
        ("timeout", True),
        ("watchdog", "ftp://[HOST]:1"),
        ("ports", {80: 80}),
        ("ports", {"80/TCP": 80}),
        ("ports", {"80": 0}),
        ("ports", {"80": 65536}),
        ("ports", {"0/tcp": 80}),
        ("ports", ["80"]),
        ("webui", "http://[HOST]:80"),
        ("ingress_port", 65536),
        ("ingress_port", -1),
        ("hassio_role", "root"),
        ("services", ["ftp:want"]),
        ("services", "mqtt:want"),
        ("privileged", ["ALL"]),
        ("ulimits", {"nofile": {"soft": 1}}),
        ("map", "share"),
        ("map", [{"type": "root"}]),
        ("map", [{"type": "share", "path": "relative"}]),
        ("map", [{"type": "share", "path": "/"}]),
        ("map", [{"type": "share", "path": "/srv/.."}]),
        ("map", [{"type": "share", "path": "//proc"}]),
        ("map", [{"type": "share", "path": "/proc/sys"}]),
        ("map", [7]),
        ("environment", {"A": 1}),
        ("environment", {"A=B": "c"}),
        ("options", []),
        ("options", {"x": float("inf")}),
        ("options", {"x": "\udcff"}),
        ("schema", {"x": "nonsense"}),
        ("schema", {"x": [["str"]]}),
        ("schema", "x"),
        ("backup", "warm"),
        ("ingress", "maybe"),
        ("host_network", [True]),
    ],
)
def test_a_bad_value_is_refused_naming_its_key(key: str, value: object) -> None:
    assert f"data['{key}']" in refusal(**{key: value})


def test_a_refusal_has_one_line_for_each_problem_in_order() -> None:
    message = refusal(url=1, boot="never", schema={"deep": {"x": "str(5)"}})
    lines = message.splitlines()
    assert lines == sorted(lines)
    assert "expected str for dictionary value @ data['url']. Got 1" in lines
    assert any("@ data['schema']['deep']['x']. Got 'str(5)'" in line for line in lines)
    assert len(lines) == 3


def test_missing_keys_are_named() -> None:
    with pytest.raises(Invalid) as caught:
        validate_manifest({"name": "Lamp"})
    assert "required key not provided @ data['arch']" in caught.value.message
    assert len(caught.value.message.splitlines()) == 4


@pytest.mark.parametrize("raw", [None, [], "x", {}, {"slug": "lamp"}, {1: 2}])
def test_what_is_no_mapping_or_has_no_name_is_no_manifest(raw: object) -> None:
    with pytest.raises(Invalid, match=r"name|dictionary"):
        validate_manifest(raw)


def test_a_dynamic_ingress_port_rules_out_published_ports_of_its_range() -> None:
    assert "data['ports']" in refusal(ingress_port=0, ports={"62001/tcp": None})
    assert manifest(ingress_port=0, ports={"61999/tcp": None}).ingress_port == 0
    assert manifest(ports={"62001/tcp": None}).ports == {"62001/tcp": None}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"startup": "before"}, {"startup": "services"}),
        ({"startup": "after"}, {"startup": "application"}),
        ({"auto_uart": True}, {"uart": True}),
        ({"tmpfs": "size=16m"}, {"tmpfs": True}),
        (
            {"snapshot": "cold", "snapshot_pre": "a", "snapshot_post": "b", "snapshot_exclude": ["c"]},
            {"backup": "cold", "backup_pre": "a", "backup_post": "b", "backup_exclude": ["c"]},
        ),
        ({"map": ["ssl", "share:rw"]}, {"map": [{"type": "ssl"}, {"type": "share", "read_only": False}]}),
        ({"apparmor": "my-profile"}, {"apparmor": True}),
    ],
)
def test_old_forms_become_the_present_ones(old: dict[str, Any], new: dict[str, Any]) -> None:
    assert manifest(**old) == manifest(**new)


def test_the_present_name_wins_over_the_old_one() -> None:
    assert manifest(snapshot="cold", backup="hot").backup is AddonBackup.HOT


@pytest.mark.parametrize("schema", [False, True, None, "no"])
def test_a_schema_that_is_no_mapping_takes_no_options(schema: object) -> None:
    assert manifest(schema=schema).schema is None


def test_map_entries_that_make_no_sense_are_left_out_with_a_remark() -> None:
    odd = manifest(map=["share:rw", "share:write", "moon", {"path": "/x"}])
    assert odd.map == {MapType.SHARE: MapFolder(MapType.SHARE, read_only=False)}
    text = remarks(map=["share:write", {"path": "/x"}])
    assert "'share:write'" in text
    assert "without a type" in text


def test_the_last_entry_for_a_folder_wins() -> None:
    twice = manifest(map=[{"type": "data", "path": "/a"}, "share:rw", {"type": "data", "path": "/b"}])
    assert twice.map[MapType.DATA].target == "/b"


@pytest.mark.parametrize(
    ("entries", "targets"),
    [
        (["config", "addon_config", "homeassistant_config", "ssl"], ["/config", "/ssl"]),
        (["addon_config", "homeassistant_config"], ["/config", "/homeassistant"]),
        (["addons", "all_addon_configs"], ["/addons", "/addon_configs"]),
        (["addons", "local_apps", "all_addon_configs", "all_app_configs"], ["/local_apps", "/app_configs"]),
    ],
)
def test_folders_that_others_rule_out_do_not_count(entries: list[str], targets: list[str]) -> None:
    assert [folder.target for folder in manifest(map=entries).folders] == targets


def test_the_public_folder_is_the_new_name_if_both_are_mapped_and_none_beside_config() -> None:
    both = manifest(map=["addon_config", "app_config:rw"]).public_config
    assert both == MapFolder(MapType.APP_CONFIG, read_only=False)
    assert manifest(map=["config", "addon_config"]).public_config is None


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"advanced": True}, "advanced"),
        ({"codenotary": "me@example.org"}, "codenotary"),
        ({"arch": ["amd64", "armv7"]}, "armv7"),
        ({"machine": ["!tinker"]}, "tinker"),
        ({"full_access": True, "usb": True}, "superfluous"),
        ({"backup": "cold", "backup_pre": "x"}, "cold"),
        ({"map": ["addons"]}, "local_apps"),
        ({"map": ["config"]}, "homeassistant_config"),
        ({"map": ["config", "app_config"]}, "ignored beside 'config'"),
        ({"map": ["addon_config", "app_config"]}, "ignored beside 'app_config'"),
        ({"environment": {"with-dash": "x"}}, "with-dash"),
    ],
)
def test_doubtful_manifests_are_remarked_on_but_accepted(keys: dict[str, Any], said: str) -> None:
    assert said in remarks(**keys)


def test_a_plain_manifest_is_not_remarked_on() -> None:
    assert remarks() == ""


def test_image_names_are_published_or_local() -> None:
    assert image_name({"image": "ghcr.io/x/{arch}-lamp", "slug": "lamp"}, "amd64", "core") == "ghcr.io/x/amd64-lamp"
    assert image_name({"slug": "Lamp"}, "aarch64", "local") == "local/aarch64-addon-lamp"


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=3),
    max_leaves=6,
)
KEYS = [
    *manifest().config, "machine", "ports", "webui", "watchdog", "services", "privileged", "devices", "environment",
    "snapshot", "image", "url", "homeassistant", "auto_uart", "codenotary", "ports_description", "discovery",
    "backup_exclude", "panel_title",
]  # fmt: skip


@given(st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=5), anything, max_size=6))
def test_any_data_is_a_manifest_that_keeps_or_a_clean_error(keys: dict[str, Any]) -> None:
    try:
        config, _ = validate_manifest({**LEAST, **keys})
    except Invalid:
        return
    made = Manifest.from_config(config)
    again, _ = validate_manifest(json.loads(json.dumps(made.config).encode()))
    assert Manifest.from_config(again) == made


@given(anything)
def test_any_data_alone_never_crashes_the_reader(raw: object) -> None:
    with pytest.raises(Invalid):
        validate_manifest(raw)
