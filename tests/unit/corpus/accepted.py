"""Manifests that the store accepts, each with what it must read out of them."""

from __future__ import annotations

from typing import Any

import attrs

LEAST = "name: Lamp\nversion: '1.0'\nslug: lamp\ndescription: d\narch: [amd64]\n"
WITHOUT_VERSION = "name: Lamp\nslug: lamp\ndescription: d\narch: [amd64]\n"
JSON = '"name": "Lamp", "version": "1.0", "slug": "lamp", "description": "d", "arch": ["amd64"]'


@attrs.frozen
class Accepted:
    """`expected` holds attributes of the manifest, `remarks` words of the remarks: all of them, and no more."""

    content: str | bytes
    expected: dict[str, Any] = attrs.field(factory=dict)
    remarks: tuple[str, ...] = ()
    suffix: str = ".yaml"

    @property
    def raw(self) -> bytes:
        return self.content.encode() if isinstance(self.content, str) else self.content


def more(extra: str, remarks: tuple[str, ...] = (), **expected: Any) -> Accepted:
    return Accepted(LEAST + extra, expected, remarks)


def version(written: str, read: str) -> Accepted:
    return Accepted(f"{WITHOUT_VERSION}version: {written}\n", {"version": read})


WRITING = {
    "the least": Accepted(LEAST, {"name": "Lamp", "slug": "lamp", "arch": ("amd64",), "image": None, "options": {}}),
    "yml": Accepted(LEAST, {"name": "Lamp"}, suffix=".yml"),
    "json": Accepted("{" + JSON + "}", {"name": "Lamp", "version": "1.0"}, suffix=".json"),
    "json with a BOM": Accepted("\ufeff{" + JSON + "}", {"name": "Lamp"}, suffix=".json"),
    "json with tabs and CRLF": Accepted(
        "{\r\n\t" + JSON.replace(", ", ",\r\n\t") + "\r\n}\r\n", {"slug": "lamp"}, suffix=".json"
    ),
    "json with escapes": Accepted(
        "{" + JSON.replace('"d"', '"\\ud83d\\udca1 \\u00e4 \\/ \\n"') + "}",
        {"description": "\U0001f4a1 ä / \n"},
        suffix=".json",
    ),
    "json with a key twice": Accepted(
        "{" + JSON + ', "url": "https://a.example", "url": "https://b.example"}',
        {"url": "https://b.example"},
        suffix=".json",
    ),
    "json in a yaml file": Accepted("{" + JSON + "}", {"name": "Lamp"}),
    "BOM": Accepted(b"\xef\xbb\xbf" + LEAST.encode(), {"name": "Lamp"}),
    "CRLF": Accepted(LEAST.replace("\n", "\r\n"), {"description": "d", "arch": ("amd64",)}),
    "CR alone": Accepted(LEAST.replace("\n", "\r"), {"slug": "lamp"}),
    "no newline at the end": Accepted(LEAST.rstrip(), {"arch": ("amd64",)}),
    "comments": Accepted("# first\n" + LEAST.replace("\n", "   # why\n") + "# last", {"name": "Lamp"}),
    "a long comment": Accepted("#" * 900_000 + "\n" + LEAST, {"name": "Lamp"}),
    "document marks": Accepted(f"%YAML 1.1\n---\n{LEAST}...\n", {"name": "Lamp"}),
    "flow style": Accepted(
        "{name: Lamp, version: '1.0', slug: lamp, description: d, arch: [amd64,]}", {"name": "Lamp"}
    ),
    "flow style with tabs": Accepted(
        "{name:\tLamp,\n\tversion: '1.0', slug: lamp, description: d, arch: [amd64]}", {"name": "Lamp"}
    ),
    "quoted keys": Accepted(
        LEAST.replace("name:", '"name":').replace("slug:", "'slug':"), {"name": "Lamp", "slug": "lamp"}
    ),
    "explicit keys": Accepted("? name\n: Lamp\n" + LEAST.split("\n", 1)[1], {"name": "Lamp"}),
    "deep indentation": Accepted(
        LEAST.replace("[amd64]", "\n            - amd64\n            - aarch64"), {"arch": ("amd64", "aarch64")}
    ),
    "lists without indentation": Accepted(
        LEAST.replace("[amd64]", "\n- amd64\n- aarch64"), {"arch": ("amd64", "aarch64")}
    ),
    "double quotes": Accepted(LEAST.replace("Lamp", r'"L\u00e4mp \x41\t\"q\""'), {"name": 'Lämp A\t"q"'}),
    "single quotes": Accepted(LEAST.replace("Lamp", "'It''s a lamp: #1'"), {"name": "It's a lamp: #1"}),
    "emoji": Accepted(LEAST.replace("Lamp", "💡 Лампа 灯"), {"name": "💡 Лампа 灯"}),
    "folded block": Accepted(
        LEAST.replace("description: d", "description: >-\n  one\n  two\n\n  three"), {"description": "one two\nthree"}
    ),
    "literal block": Accepted(
        LEAST.replace("description: d", "description: |\n  one\n    two"), {"description": "one\n  two\n"}
    ),
    "plain text over two lines": Accepted(
        LEAST.replace("description: d", "description: one\n  two"), {"description": "one two"}
    ),
    "a key twice": more("url: https://a.example\nurl: https://b.example\n", url="https://b.example"),
    "trailing blanks and tabs": Accepted(LEAST.replace("\n", "  \t\n"), {"name": "Lamp"}),
    "quoted like a number": Accepted(LEAST.replace("Lamp", "'1984'"), {"name": "1984"}),
    "tagged text": Accepted(LEAST.replace("'1.0'", "!!str 1.10"), {"version": "1.10"}),
    "keys of no text": more("1: x\n2.5: y\nnull: z\ntrue: q\n", name="Lamp"),
}

ANCHORS = {
    "aliases": more(
        "options:\n  a: &lamp {colour: red, lit: true}\n  b: *lamp\nschema: {a: &t {colour: str, lit: bool}, b: *t}\n",
        options={"a": {"colour": "red", "lit": True}, "b": {"colour": "red", "lit": True}},
        schema={"a": {"colour": "str", "lit": "bool"}, "b": {"colour": "str", "lit": "bool"}},
    ),
    "merge key": more(
        "x-base: &base {a: 1, b: 2}\noptions:\n  <<: *base\n  b: 3\nschema: {a: int, b: int}\n",
        options={"a": 1, "b": 3},
    ),
    "merge of several": more(
        "x1: &x {a: 1}\nx2: &y {a: 2, b: 2}\noptions: {<<: [*x, *y]}\nschema: {a: int, b: int}\n",
        options={"a": 1, "b": 2},
    ),
    "anchored list": more("x: &all [amd64]\nmachine: &m [yellow]\n", machine=("yellow",)),
}

BOOLS = {
    "yes and no": more("ingress: yes\ninit: no\n", ingress=True, init=False),
    "on and off": more("ingress: on\ninit: off\n", ingress=True, init=False),
    "TRUE and False": more("ingress: TRUE\ninit: False\n", ingress=True, init=False),
    "words in quotes": more("ingress: 'Yes'\ninit: 'OFF'\nuart: enable\n", ingress=True, init=False, uart=True),
    "one and zero": more("ingress: 1\ninit: 0\nuart: '1'\nusb: '0'\n", ingress=True, init=False, uart=True, usb=False),
    "tagged": more("ingress: !!bool 'yes'\n", ingress=True),
}  # fmt: skip

VERSIONS = {
    "version as a fraction": version("1.5", "1.5"),
    "version that loses a zero": version("1.10", "1.1"),
    "version as a whole number": version("7", "7"),
    "version in quotes": version("'1.10'", "1.10"),
    "version of three parts": version("2024.1.0", "2024.1.0"),
    "version like a date": version("2024-01-01", "2024-01-01"),
    "version with a letter": version("1.0b3", "1.0b3"),
    "version with a v": version("v1.0-r2+x", "v1.0-r2+x"),
    "version by the minute": version("1:30", "90"),
    "version in octal": version("010", "8"),
    "version with an exponent": version("1e3", "1e3"),
    "version with underscores": version("1_000", "1000"),
    "versions that break": more("breaking_versions: ['2', 3, 4.5]\n", breaking_versions=("2", "3", "4.5")),
    "core version": more("homeassistant: 2023.12\n", homeassistant="2023.12"),
    "core version of none": more("homeassistant: landingpage\n", homeassistant="landingpage"),
    "no core version": more("homeassistant:\n", homeassistant=None),
}

OLD = {
    "snapshot": more("snapshot: cold\nsnapshot_exclude: ['*.log']\n", backup="cold", backup_exclude=("*.log",)),
    "snapshot commands": more("snapshot_pre: a\nsnapshot_post: b\n", backup_pre="a", backup_post="b"),
    "new beside old": more("snapshot: cold\nbackup: hot\n", backup="hot"),
    "auto_uart": more("auto_uart: true\n", uart=True),
    "before": more("startup: before\n", startup="services"),
    "after": more("startup: after\n", startup="application"),
    "devices with a target": more("devices: ['/dev/a:/dev/b:rwm', /dev/c]\n", devices=("/dev/a", "/dev/c")),
    "tmpfs with a size": more("tmpfs: 'size=64m,uid=0'\n", tmpfs=True),
    "tmpfs of nothing": more("tmpfs:\n", tmpfs=True),
    "tmpfs false": more("tmpfs: false\n", tmpfs=False),
    "advanced": more("advanced: true\n", ("'advanced' has no effect",)),
    "codenotary": more("codenotary: a@example.org\n", ("'codenotary' has no effect",)),
    "dead architectures": Accepted(
        LEAST.replace("[amd64]", "[armhf, armv7, i386, amd64]"),
        {"arch": ("armhf", "armv7", "i386", "amd64")},
        ("armhf, armv7, i386",),
    ),
    "dead machine": more("machine: [tinker, yellow]\n", ("tinker",), machine=("tinker", "yellow")),
    "apparmor by name": more("apparmor: my-profile\n", apparmor=True),
    "unknown keys": more("squash: true\nmaintainer: x\nicon: {a: [1]}\n", name="Lamp"),
}

MAPS = {
    "short maps": more(
        "map: [ssl, 'share:rw', 'media:ro']\n", map={"ssl": (True, None), "share": (False, None), "media": (True, None)}
    ),
    "long maps": more(
        "map:\n  - type: data\n    path: /custom\n  - type: backup\n    read_only: no\n",
        map={"data": (True, "/custom"), "backup": (False, None)},
    ),
    "a map twice": more("map: ['share:rw', {type: share}]\n", map={"share": (True, None)}),
    "an unknown short map": more(
        "map: [share, cellar, 'ssl:xx']\n", ("'cellar'", "'ssl:xx'"), map={"share": (True, None)}
    ),
    "a map without a type": more("map: [{path: /x}, share]\n", ("without a type",), map={"share": (True, None)}),
    "the old config": more("map: ['config:rw']\n", ("deprecated",), map={"config": (False, None)}),
    "config beside its heirs": more(
        "map: [config, homeassistant_config]\n",
        ("deprecated", "ignored beside 'config'"),
        map={"config": (True, None), "homeassistant_config": (True, None)},
    ),
    "a classic name": more("map: [addon_config]\n", ("now called 'app_config'",), map={"addon_config": (True, None)}),
    "both names": more(
        "map: [addons, local_apps]\n",
        ("'addons' is ignored",),
        map={"addons": (True, None), "local_apps": (True, None)},
    ),
    "no maps": more("map: []\n", map={}),
}

NETWORK = {
    "ports": more(
        "ports: {80/tcp: 8080, '81': null, 82/udp: '82'}\n", ports={"80/tcp": 8080, "81": None, "82/udp": 82}
    ),
    "ports in other bases": more("ports: {80/tcp: 0x50, 81/tcp: 8_080}\n", ports={"80/tcp": 80, "81/tcp": 8080}),
    "web page": more("webui: >\n  http://[HOST]:[PORT:80]/x?y=z#w\n", webui="http://[HOST]:[PORT:80]/x?y=z#w"),
    "web page by option": more("webui: '[PROTO:ssl]://[HOST]:[PORT:80]'\n", webui="[PROTO:ssl]://[HOST]:[PORT:80]"),
    "watchdog": more("watchdog: tcp://[HOST]:1883\n", watchdog="tcp://[HOST]:1883"),
    "watchdog with text after the port": more(
        "watchdog: http://[HOST]:[PORT:80]health\n", watchdog="http://[HOST]:[PORT:80]health"
    ),
    "ingress": more("ingress: true\ningress_port: '0'\ningress_entry: a/b\n", ingress_port=0, ingress_entry="a/b"),
    "dynamic ingress beside other ports": more(
        "ingress_port: 0\nports: {61999/tcp: null, 65501/tcp: 1}\n", ingress_port=0
    ),
    "url with a line end": more("url: |\n  https://example.org/\n", url="https://example.org/"),
}

RIGHTS = {
    "only negations": more("machine: ['!yellow']\n", machine=("!yellow",)),
    "services": more(
        "services: [mqtt:want, 'mysql:need', mqtt:provide]\n", services={"mqtt": "provide", "mysql": "need"}
    ),
    "capabilities": more(
        "privileged: [SYS_ADMIN, BPF]\nkernel_modules: on\n", capabilities=("SYS_ADMIN", "BPF", "SYS_MODULE")
    ),
    "full access": more("full_access: true\nusb: true\n", ("superfluous",), full_access=True),
    "cold with commands": more("backup: cold\nbackup_pre: x\n", ("cold backup",), backup="cold"),
    "environment": more("environment: {A: '1', a-b: x}\n", ("'a-b'",), environment={"A": "1", "a-b": "x"}),
    "ulimits": more(
        "ulimits: {nofile: 1024, memlock: {soft: '1', hard: 2, more: 3}}\n",
        ulimits={"nofile": (1024, 1024), "memlock": (1, 2)},
    ),
    "timeout": more("timeout: '300'\n", timeout=300),
    "image": more(
        "image: 'registry.example.org:5000/x/{arch}-lamp'\n", image="registry.example.org:5000/x/{arch}-lamp"
    ),
    "manual only": more("boot: manual_only\n", boot_pinned=True, default_boot="manual"),
}

OPTIONS = {
    "no options": more("schema: false\noptions: {}\n", schema=None, options={}),
    "schema of nothing": more("schema:\n", schema=None),
    "schema in words": more("schema: 'off'\n", schema=None),
    "required by null": more("options: {a: null}\nschema: {a: str}\n", options={"a": None}),
    "numbers as names": more(
        "options: {1: {2.5: x}}\nschema: {1: {2.5: str}}\n", options={"1": {"2.5": "x"}}, schema={"1": {"2.5": "str"}}
    ),
    "bool as a name": more("schema: {on: bool}\n", schema={"true": "bool"}),
    "list of groups": more(
        "schema:\n  lamps:\n    - name: str(1,)\n      lit: bool?\n",
        schema={"lamps": [{"name": "str(1,)", "lit": "bool?"}]},
    ),
    "twenty levels": more("schema: " + "{a: " * 20 + "str" + "}" * 20 + "\n", name="Lamp"),
    "an empty list": more("schema: {a: []}\n", schema={"a": []}),
    "every type": more(
        "schema: {a: str?, b: 'password(8,)', c: 'int(-1,1)', d: 'float(.5,)', e: bool, f: email, g: url, h: port, "
        "i: 'match(^a|b$)', j: 'list(a|b|c d)', k: device, l: 'device(subsystem=video4linux)'}\n",
        name="Lamp",
    ),
    "a type that was folded": more("schema:\n  a: >\n    list(a|b)\n", schema={"a": "list(a|b)\n"}),
    "a pattern full of signs": more(
        "schema: {a: 'match((?i)^[\\w?(){}]+?$)?'}\n", schema={"a": "match((?i)^[\\w?(){}]+?$)?"}
    ),
    "a date stays text": more("options: {a: 2024-01-01}\nschema: {a: str}\n", options={"a": "2024-01-01"}),
    "odd numbers": more(
        "options: {a: 0o17, b: 1_0, c: 1e3, d: .5}\nschema: {a: str, b: int, c: str, d: float}\n",
        options={"a": "0o17", "b": 10, "c": "1e3", "d": 0.5},
    ),
}

ACCEPTED: dict[str, Accepted] = {
    **WRITING, **ANCHORS, **BOOLS, **VERSIONS, **OLD, **MAPS, **NETWORK, **RIGHTS, **OPTIONS,
}  # fmt: skip
