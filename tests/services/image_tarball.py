"""Archives as `docker save` writes them, made by hand."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterable
from typing import Any


def layer(content: bytes = b"x") -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        add(tar, "file", content)
    return packed.getvalue()


def add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))


def image(
    tags: Iterable[str] | None = ("local/lamp:1",),
    *,
    architecture: str = "amd64",
    labels: dict[str, str] | None = None,
    layers: Iterable[bytes] = (layer(),),
) -> dict[str, Any]:
    """One image, to be packed by `tarball`."""
    config = {"os": "linux", "architecture": architecture, "config": {"Labels": labels}}
    return {"tags": None if tags is None else list(tags), "config": config, "layers": list(layers)}


def tarball(
    *images: dict[str, Any], mode: str = "w", manifest: Any = None, extra: dict[str, bytes] | None = None
) -> bytes:
    packed = io.BytesIO()
    listed = []
    with tarfile.open(fileobj=packed, mode=mode) as tar:  # type: ignore[call-overload] # the mode is one it knows
        for made in images:
            config = json.dumps(made["config"]).encode()
            name = f"{hashlib.sha256(config).hexdigest()}.json"
            add(tar, name, config)
            names = []
            for content in made["layers"]:
                names.append(f"{hashlib.sha256(content).hexdigest()}/layer.tar")
                add(tar, names[-1], content)
            listed.append({"Config": name, "RepoTags": made["tags"], "Layers": names})
        for name, content in (extra or {}).items():
            add(tar, name, content)
        add(tar, "manifest.json", json.dumps(listed if manifest is None else manifest).encode())
        add(tar, "repositories", b"{}")
    return packed.getvalue()
