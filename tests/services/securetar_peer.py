"""The public securetar library of one version, used as existing systems use it. Runs in a process of its own.

    securetar_peer.py write FOLDER OUTER PASSWORD COMPRESSED ENCRYPTION
    securetar_peer.py read OUTER MEMBER PASSWORD

An empty PASSWORD is none. Reading prints the members with the hashes of their contents as JSON.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import sys
import tarfile
import tempfile
from pathlib import Path

import securetar

METADATA = b'{"slug":"peer"}'


def secret(password: str) -> dict[str, object]:
    """Return the keyword that this version takes the password by; the older ones want a key."""
    if not password:
        return {}
    if "key" not in inspect.signature(securetar.SecureTarFile.__init__).parameters:
        return {"password": password}
    key = password.encode()
    for _ in range(100):
        key = hashlib.sha256(key).digest()
    return {"key": key[:16]}


def write(folder: Path, outer: Path, password: str, *, compressed: bool, encryption: int) -> None:
    name = "share.tar.gz" if compressed else "share.tar"
    if hasattr(securetar, "SecureTarArchive"):
        options = {"create_version": encryption, "password": password} if password else {}
        with securetar.SecureTarArchive(outer, "w", **options) as archive:
            with archive.create_tar(f"./{name}", gzip=compressed) as inner:
                inner.add(folder, arcname=".")
            add_metadata(archive.tar)
        return
    if hasattr(securetar.SecureTarFile, "create_inner_tar"):
        whole = securetar.SecureTarFile(outer, "w", gzip=False)
        with whole as tar:
            with whole.create_inner_tar(f"./{name}", gzip=compressed, **secret(password)) as inner:
                inner.add(folder, arcname=".")
            add_metadata(tar)
        return
    with tempfile.TemporaryDirectory() as temporary, tarfile.open(outer, "w:") as tar:
        part = Path(temporary) / name
        with securetar.SecureTarFile(part, "w", gzip=compressed, **secret(password)) as inner:
            inner.add(folder, arcname=".")
        tar.add(part, arcname=f"./{name}")
        add_metadata(tar)


def add_metadata(tar: tarfile.TarFile) -> None:
    with tempfile.NamedTemporaryFile() as file:
        file.write(METADATA)
        file.flush()
        tar.add(file.name, arcname="./backup.json")


def read(outer: Path, member: str, password: str) -> dict[str, str | None]:
    with tempfile.TemporaryDirectory() as temporary:
        with tarfile.open(outer, "r:") as tar:
            assert tar.extractfile("./backup.json") is not None
            part = Path(temporary) / member
            part.write_bytes(tar.extractfile(member).read())
        options = secret(password)
        if "mode" in inspect.signature(securetar.SecureTarFile.__init__).parameters:
            options["mode"] = "r"
        found: dict[str, str | None] = {}
        with securetar.SecureTarFile(part, gzip=member.endswith(".gz"), **options) as inner:
            for info in inner:
                file = inner.extractfile(info) if info.isfile() else None
                name = str(Path(info.name))
                found[name] = hashlib.sha256(file.read()).hexdigest() if file is not None else None
        return found


def main() -> None:
    if sys.argv[1] == "write":
        folder, outer, password, compressed, encryption = sys.argv[2:]
        write(Path(folder), Path(outer), password, compressed=compressed == "True", encryption=int(encryption))
    else:
        sys.stdout.write(json.dumps(read(Path(sys.argv[2]), sys.argv[3], sys.argv[4])))


if __name__ == "__main__":
    main()
