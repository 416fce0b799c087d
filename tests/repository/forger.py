"""Writes into a restic repository what restic itself never would: whoever knows the password can."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.poly1305 import Poly1305

Node = dict[str, Any]
_TREE = 1


class Forger:
    """Knows the keys of the repository in `folder`."""

    def __init__(self, folder: Path, password: str) -> None:
        self._folder = folder
        self._blobs: dict[str, bytes] = {}
        (key,) = (folder / "keys").iterdir()
        told = json.loads(key.read_text())
        derived = hashlib.scrypt(
            password.encode(), salt=base64.b64decode(told["salt"]), n=told["N"], r=told["r"], p=told["p"],
            maxmem=2**28, dklen=64,
        )  # fmt: skip
        self._encrypt, self._mac = derived[:32], (derived[32:48], derived[48:])
        master = json.loads(self._opened(base64.b64decode(told["data"])))
        self._encrypt = base64.b64decode(master["encrypt"])
        self._mac = (base64.b64decode(master["mac"]["k"]), base64.b64decode(master["mac"]["r"]))

    def tree(self, *nodes: Node) -> str:
        """Keep a folder with these nodes, in this order; return its name."""
        content = json.dumps({"nodes": nodes}, ensure_ascii=False).encode() + b"\n"
        name = hashlib.sha256(content).hexdigest()
        self._blobs[name] = content
        return name

    def snapshot(self, tree: str, tags: Sequence[str]) -> None:
        """Write all that was kept, and a snapshot of the folder `tree`."""
        self._pack()
        told = {"time": "2026-05-01T03:00:00Z", "tree": tree, "paths": ["/"], "hostname": "x", "tags": list(tags)}
        self._write("snapshots", self._sealed(json.dumps(told).encode()))

    def _pack(self) -> None:
        pack, header, listed = bytearray(), bytearray(), []
        for name, content in self._blobs.items():
            sealed = self._sealed(content)
            listed.append({"id": name, "type": "tree", "offset": len(pack), "length": len(sealed)})
            header += bytes([_TREE]) + len(sealed).to_bytes(4, "little") + bytes.fromhex(name)
            pack += sealed
        end = self._sealed(bytes(header))
        written = self._write("data", bytes(pack) + end + len(end).to_bytes(4, "little"))
        self._write("index", self._sealed(json.dumps({"packs": [{"id": written, "blobs": listed}]}).encode()))
        self._blobs.clear()

    def _write(self, kind: str, content: bytes) -> str:
        name = hashlib.sha256(content).hexdigest()
        folder = self._folder / kind / (name[:2] if kind == "data" else "")
        folder.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
        return name

    def _counted(self, vector: bytes, data: bytes) -> bytes:
        return Cipher(algorithms.AES(self._encrypt), modes.CTR(vector)).encryptor().update(data)

    def _seal(self, vector: bytes, data: bytes) -> bytes:
        key, clamped = self._mac
        nonce = Cipher(algorithms.AES(key), modes.ECB()).encryptor().update(vector)
        return Poly1305.generate_tag(clamped + nonce, data)

    def _sealed(self, plain: bytes) -> bytes:
        vector = os.urandom(16)
        data = self._counted(vector, plain)
        return vector + data + self._seal(vector, data)

    def _opened(self, sealed: bytes) -> bytes:
        vector, data, seal = sealed[:16], sealed[16:-16], sealed[-16:]
        assert self._seal(vector, data) == seal
        return self._counted(vector, data)


def node(name: str, kind: str, **more: Any) -> Node:
    """Return what a folder tells of something in it; owned by whoever runs this."""
    moment = "2026-05-01T03:00:00Z"
    # Go's bits: folders and links have their kind in them.
    bits = {"dir": 1 << 31, "symlink": 1 << 27}.get(kind, 0)
    mode = more.pop("mode", 0o777) | bits
    own = {"uid": os.getuid(), "gid": os.getgid(), "user": "", "group": "", "inode": 0, "device_id": 0}
    times = {"mtime": moment, "atime": moment, "ctime": moment}
    return {"name": name, "type": kind, "mode": mode, **times, **own, "links": 1, "content": None, **more}
