"""Manifests that the store leaves out, each with the words that its refusal must hold."""

from __future__ import annotations

import attrs

from .accepted import JSON, LEAST


@attrs.frozen
class Rejected:
    content: str | bytes
    words: tuple[str, ...]
    suffix: str = ".yaml"

    @property
    def raw(self) -> bytes:
        return self.content.encode() if isinstance(self.content, str) else self.content


def without(key: str) -> Rejected:
    lines = [line for line in LEAST.splitlines() if not line.startswith(f"{key}:")]
    return Rejected("\n".join(lines), (f"required key not provided @ data['{key}']",))


def more(extra: str, *words: str) -> Rejected:
    """The extra line, or lines, spoil it; the first key in them is the one to be named."""
    return Rejected(LEAST + extra, words or (f"data['{extra.split(':', maxsplit=1)[0]}']",))


def changed(key: str, value: str) -> Rejected:
    lines = [f"{key}: {value}" if line.startswith(f"{key}:") else line for line in LEAST.splitlines()]
    return Rejected("\n".join(lines), (f"data['{key}']",))


def file(content: str | bytes, *words: str, suffix: str = ".yaml") -> Rejected:
    return Rejected(content, (f"config{suffix}", *words), suffix)


NO_MANIFEST = {
    "empty": Rejected("", ("required key not provided @ data['name']",)),
    "comments alone": Rejected("# nothing\n", ("data['name']",)),
    "null": Rejected("~\n", ("data['name']",)),
    "list": Rejected("- name: Lamp\n", ("expected a dictionary",)),
    "text": Rejected("name Lamp\n", ("expected a dictionary",)),
    "number": Rejected("42\n", ("expected a dictionary",)),
    "json list": Rejected("[" + "{" + JSON + "}]", ("expected a dictionary",), ".json"),
    "json null": Rejected("null", ("expected a dictionary",), ".json"),
    **{f"no {key}": without(key) for key in ("name", "version", "slug", "description", "arch")},
}

BYTES = {
    "latin-1": file(LEAST.replace("Lamp", "Lämp").encode("latin-1"), "UTF-8"),
    "UTF-16": file(LEAST.encode("utf-16"), "UTF-8"),
    "UTF-16 without a mark": file(LEAST.encode("utf-16-le")),
    "UTF-8 cut short": file(LEAST.encode() + "ä".encode()[:1], "UTF-8"),
    "overlong UTF-8": file(LEAST.encode() + b"url: \xc0\xaf", "UTF-8"),
    "a picture": file(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "UTF-8"),
    "a program": file(b"\x7fELF\x02\x01\x01" + bytes(64)),
    "NUL": file(LEAST.replace("Lamp", "La\0mp")),
    "escape": file(LEAST.replace("Lamp", "La\x1bmp")),
    "huge": file("#" * (1024 * 1024) + "\n" + LEAST, "longer than"),
    "a huge text": file(LEAST + "url: " + "x" * 2_000_000, "longer than"),
}

SYNTAX = {
    "tabs": file("name: Lamp\nmap:\n\t- share\n", "line 3"),
    "bad indentation": file("name: Lamp\n  version: '1'\n", "line 2"),
    "an open quote": file("name: 'Lamp\n"),
    "an open bracket": file("name: Lamp\narch: [amd64\n"),
    "an unknown alias": file("name: *lamp\n", "alias"),
    "an anchor twice": file(LEAST + "a: &x 1\nb: &x 2\n", "anchor"),
    "two documents": file(f"{LEAST}---\n{LEAST}", "document"),
    "a colon too many": file("name: Lamp: big\n", "line 1"),
    "a reserved sign": file("name: @lamp\n"),
    "a merge conflict": file(f"<<<<<<< HEAD\n{LEAST}=======\n{LEAST}>>>>>>> x\n"),
    "a list as a key": file(LEAST + "? [a, b]\n: c\n"),
    "a mapping as a key": file(LEAST + "? {a: b}\n: c\n"),
    "merge of a text": file(LEAST + "options: {<<: text}\n"),
    "json with a comma too many": file("{" + JSON + ",}", suffix=".json"),
    "json with a comment": file("{" + JSON + "} // x", suffix=".json"),
    "json in single quotes": file(("{" + JSON + "}").replace('"', "'"), suffix=".json"),
    "json cut short": file("{" + JSON, "line 1", suffix=".json"),
    "json twice": file("{" + JSON + "}{" + JSON + "}", suffix=".json"),
    "json with NaN": file("{" + JSON + ', "timeout": NaN}', "NaN", suffix=".json"),
    "json with Infinity": file("{" + JSON + ', "timeout": -Infinity}', "Infinity", suffix=".json"),
    "yaml in a json file": file(LEAST, suffix=".json"),
    "empty json": file("", suffix=".json"),
}

CANARY = "/corpus-canary"
OBJECTS = {
    "a call": file(f"name: !!python/object/apply:os.mkdir ['{CANARY}']\n", "python"),
    "a new object": file("name: !!python/object/new:tuple [[1]]\n", "python"),
    "a name": file("name: !!python/name:os.system\n", "python"),
    "a module": file("name: !!python/module:os\n", "python"),
    "a python text": file("name: !!python/str Lamp\n", "python"),
    "a secret": file(LEAST + "options: {a: !secret password}\n", "!secret"),
    "an include": file(LEAST + "options: !include /etc/passwd\n", "!include"),
    "an environment variable": file(LEAST + "options: !env_var HOME\n", "!env_var"),
    "a foreign tag": file("%TAG ! tag:example.org,2000:\n---\nname: !lamp x\n", "example.org"),
    "binary": changed("description", "!!binary aGVsbG8="),
    "a set": more("options: {a: !!set {x, y}}\n"),
    "pairs": more("arch: !!pairs [a: b]\n"),
    "an ordered mapping": more("options: !!omap [a: b]\n"),
    "a number that is none": file(LEAST + "timeout: !!int lots\n"),
    "a float that is none": file(LEAST + "timeout: !!float lots\n"),
}

# What aims at memory and time. Refused before anything is built.
_LAUGHS = "a0: &a0 [lol]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 40))
BOMBS = {
    "billion laughs": file(LEAST + _LAUGHS, "more deeply nested, data"),
    "laughing mappings": file(
        LEAST + "m0: &m0 {a: 1}\n" + "".join(f"m{n}: &m{n} {{a: *m{n - 1}, b: *m{n - 1}}}\n" for n in range(1, 60))
    ),
    "merging laughs": file(
        LEAST
        + "m0: &m0 {k: 1}\n"
        + "".join(f"m{n}: &m{n} {{<<: [{', '.join([f'*m{n - 1}'] * 9)}], k{n}: 1}}\n" for n in range(1, 30))
    ),
    "a wide alias": file(LEAST + f"x: &x [{'a,' * 2000}a]\ny: [{'*x,' * 2000}*x]\n", "data than a configuration"),
    "an alias of itself": file(LEAST + "options: &x {a: *x}\n", "alias of itself"),
    "a list of itself": file("&x [*x]\n", "alias of itself"),
    "deep lists": file(LEAST + "options: {a: " + "[" * 50_000 + "]" * 50_000 + "}\n", "nesting"),
    "rather deep lists": file(LEAST + "options: {a: " + "[" * 100 + "]" * 100 + "}\n", "nested"),
    "deep lists without an end": file("[" * 500_000),
    "deep mappings": file("{a: " * 20_000 + "}" * 20_000, "nested"),
    "deep blocks": file("\n".join(" " * n + "a:" for n in range(1000)), "nested"),
    "deep keys": file("? " * 5000 + "a\n", "nested"),
    "deep json": file('{"a":' * 100_000 + "1" + "}" * 100_000, suffix=".json"),
    "deep json lists": file("[" * 400_000, suffix=".json"),
    "many nodes": file(LEAST + "options: {a: [" + "1," * 200_000 + "1]}\n", "data than a configuration"),
    "many keys": file(LEAST + "".join(f"k{n}: 1\n" for n in range(90_000)), "data than a configuration"),
    "a long number": file(LEAST + f"timeout: {'9' * 100_000}\n"),
    "a long hexadecimal number": file(LEAST + f"timeout: 0x{'f' * 200_000}\n", "number"),
    "a long number by the minute": file(LEAST + f"timeout: 1{':59' * 50_000}\n", "number"),
    "a long json number": file("{" + JSON + f', "timeout": {"9" * 100_000}}}', suffix=".json"),
    "a huge exponent": more("timeout: 1.0e+400\n"),
    "a schema of many levels": more("schema: " + "{a: " * 45 + "str" + "}" * 45 + "\n", "schema", "nested"),
    "a pattern that explodes": more("schema: {a: 'match((a{1,999}){1,999})'}\n", "data['schema']['a']", "repetition"),
    "a pattern without an end": more(f"schema: {{a: 'match({'(' * 3000}a{')' * 3000})'}}\n", "data['schema']['a']"),
    "a very long type": more(f"schema: {{a: 'list({'a|' * 40_000}a)'}}\n", "data['schema']['a']"),
}

TYPES = {
    "name of a number": changed("name", "1984"),
    "name of nothing": changed("name", "''"),
    "name of a list": changed("name", "[Lamp]"),
    "version of nothing": changed("version", "~"),
    "version of yes": changed("version", "yes"),
    "version with a blank": changed("version", "'1 0'"),
    "version with a line end": changed("version", r'"1\n"'),
    "version of two": changed("version", "[1, 2]"),
    "version without an end": changed("version", ".inf"),
    "slug with a slash": changed("slug", "../lamp"),
    "slug with a blank": changed("slug", "my lamp"),
    "slug with an umlaut": changed("slug", "lämp"),
    "slug of a number": changed("slug", "5"),
    "description of nothing": changed("description", "~"),
    "architecture as text": changed("arch", "amd64"),
    "unknown architecture": changed("arch", "[x86_64]"),
    "unknown machine": more("machine: [toaster]\n"),
    "a machine twice": more("machine: [yellow, yellow]\n"),
    "an empty machine": more("machine: ['']\n"),
    "url without a host": more("url: example.org\n"),
    "unknown stage": more("stage: beta\n"),
    "image with a tag": more("image: example/lamp:latest\n"),
    "image in capitals": more("image: Example/Lamp\n"),
    "unknown start": more("startup: later\n"),
    "boot by bool": more("boot: true\n"),
    "timeout too short": more("timeout: 9\n"),
    "timeout too long": more("timeout: 301\n"),
    "timeout in words": more("timeout: ten\n"),
    "ports as numbers": more("ports: {80: 80}\n", "data['ports']", "80/tcp"),
    "ports in capitals": more("ports: {80/TCP: 80}\n", "data['ports']"),
    "port zero": more("ports: {80/tcp: 0}\n", "data['ports']['80/tcp']"),
    "port too high": more("ports: {80/tcp: 70000}\n", "data['ports']['80/tcp']"),
    "ports as a list": more("ports: [80/tcp]\n"),
    "ports of nothing": more("ports:\n"),
    "port texts as numbers": more("ports_description: {80/tcp: 80}\n", "data['ports_description']['80/tcp']"),
    "web page without brackets": more("webui: http://host:80\n"),
    "web page by tcp": more("webui: tcp://[HOST]:[PORT:80]\n"),
    "web page with a blank": more("webui: 'http://[HOST]:[PORT:80]/a b'\n"),
    "watchdog by ftp": more("watchdog: ftp://[HOST]:21\n"),
    "ingress in doubt": more("ingress: maybe\n"),
    "ingress of two": more("ingress: 2\n"),
    "ingress port too high": more("ingress_port: 65536\n"),
    "dynamic ingress in its own range": more("ingress_port: 0\nports: {62000/tcp: 1}\n", "data['ports']", "62000"),
    "unknown role": more("hassio_role: root\n"),
    "unknown service": more("services: ['ftp:want']\n"),
    "service as text": more("services: mqtt:want\n"),
    "unknown capability": more("privileged: [ALL]\n"),
    "capability with a prefix": more("privileged: [CAP_SYS_ADMIN]\n"),
    "devices as text": more("devices: /dev/a\n"),
    "half a ulimit": more("ulimits: {nofile: {soft: 1}}\n", "data['ulimits']['nofile']"),
    "unknown folder": more("map: [{type: cellar}]\n", "data['map'][0]['type']"),
    "folder without a place": more("map: [{type: share, path: here}]\n", "data['map'][0]['path']"),
    "folder of a number": more("map: [5]\n", "data['map'][0]"),
    "folders as text": more("map: share\n"),
    "environment of numbers": more("environment: {A: 1}\n", "data['environment']['A']"),
    "environment with a sign": more("environment: {'A=B': x}\n", "data['environment']"),
    "options as a list": more("options: [a]\n"),
    "options of nothing": more("options:\n"),
    "options without an end": more("options: {a: .inf}\n"),
    "options that are no number": more("options: {a: .nan}\n"),
    "schema as text": more("schema: str\n"),
    "unknown type": more("schema: {a: {b: [strr]}}\n", "data['schema']['a']['b'][0]", "strr"),
    "half a bound": more("schema: {a: str(5)}\n", "data['schema']['a']"),
    "a bound with a blank": more("schema: {a: 'int(1, 2)'}\n", "data['schema']['a']"),
    "no choices": more("schema: {a: list()}\n", "data['schema']['a']"),
    "a broken pattern": more("schema: {a: 'match([)'}\n", "data['schema']['a']", "regular expression"),
    "a list in a list": more("schema: {a: [[str]]}\n", "data['schema']['a'][0]"),
    "a type of a number": more("schema: {a: 5}\n", "data['schema']['a']"),
    "a type of nothing": more("schema: {a: ~}\n", "data['schema']['a']"),
    "warm backup": more("backup: warm\n"),
    "excludes as text": more("backup_exclude: '*'\n"),
}

REJECTED: dict[str, Rejected] = {**NO_MANIFEST, **BYTES, **SYNTAX, **OBJECTS, **BOMBS, **TYPES}
