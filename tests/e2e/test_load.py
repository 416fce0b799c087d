"""Add-ons from archives of their images, without a network."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import sys
import tarfile
from contextlib import suppress
from pathlib import Path

import attrs
import docker
import pytest

from daemon import BASE, FOREVER, ROOT, Daemon, until

NAME = "registry.example/svtest/lamp"


@attrs.define
class Archives:
    """Makes archives of images that no registry has."""

    client: docker.APIClient
    folder: Path

    def save(self, *tags: str, labels: dict[str, str] | None = None, packed: bool = False) -> Path:
        """Build an image under each of `tags`, save them to one archive, and forget them."""
        more = [f'LABEL {key}="{value}"' for key, value in (labels or {}).items()]
        for tag in tags:
            lines = [f"FROM {BASE}", f'CMD ["sh", "-c", "{FOREVER}"]', 'LABEL io.hass.type="addon"', *more]
            content = "\n".join([*lines, f"RUN echo {tag} > /tag"])
            for line in self.client.build(fileobj=io.BytesIO(content.encode()), tag=tag, rm=True, decode=True):
                assert "error" not in line, line
        answer = self.client.get(
            f"{self.client.base_url}/v{self.client.api_version}/images/get", params={"names": list(tags)}
        )
        for tag in tags:
            self.client.remove_image(tag, force=True)
        path = self.folder / ("image.tar.gz" if packed else "image.tar")
        path.write_bytes(gzip.compress(answer.content, 1) if packed else answer.content)
        return path

    def exists(self, tag: str) -> bool:
        return bool(self.client.images(name=tag))


@pytest.fixture
def archives(docker_client: docker.APIClient, tmp_path: Path) -> Archives:
    return Archives(docker_client, tmp_path)


@pytest.fixture
async def lamp(daemon: Daemon) -> Daemon:
    daemon.add_on("lamp", "1.0", more=f"image: {NAME}")
    return await daemon.start()


@attrs.frozen
class Result:
    code: int
    out: str
    err: str


async def command(daemon: Daemon, *arguments: str, stdin: bytes | None = None) -> Result:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "supervisor", "--socket", str(daemon.socket), *arguments),
        stdin=asyncio.subprocess.PIPE if stdin is not None else asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )
    out, err = await asyncio.wait_for(process.communicate(stdin), 120)
    assert process.returncode is not None
    return Result(process.returncode, out.decode(), err.decode())


async def version_of(daemon: Daemon) -> str:
    return str((await daemon.get("/addons/local_lamp/info"))["version"])


async def test_an_add_on_is_installed_updated_and_mended_from_archives(lamp: Daemon, archives: Archives) -> None:
    first = archives.save(f"{NAME}:1.0")
    loaded = await command(lamp, "addons", "load", str(first))
    assert (loaded.code, loaded.out) == (0, "Loaded local_lamp 1.0\n"), loaded
    assert "Sending image.tar" in loaded.err
    await lamp.post("/addons/local_lamp/start")
    assert await lamp.state_of("local_lamp") == "started"

    again = await command(lamp, "addons", "load", str(first))
    assert again.code == 7
    assert "already installed" in again.err

    lamp.add_on("lamp", "2.0", more=f"image: {NAME}")
    await lamp.post("/store/reload")
    early = await command(lamp, "addons", "load", str(archives.save(f"{NAME}:3.0")))
    assert early.code == 6
    assert f"the archive has {NAME}:3.0, the store has local_lamp in version 2.0" in early.err
    updated = await command(lamp, "addons", "load", "-", stdin=archives.save(f"{NAME}:2.0", packed=True).read_bytes())
    assert (updated.code, updated.out) == (0, "Loaded local_lamp 2.0\n"), updated
    assert (await version_of(lamp), await lamp.state_of("local_lamp")) == ("2.0", "started")

    await lamp.post("/addons/local_lamp/stop")
    archives.client.remove_image(f"{NAME}:2.0", force=True)
    assert (await command(lamp, "addons", "load", str(archives.save(f"{NAME}:2.0")))).code == 0
    await lamp.post("/addons/local_lamp/start")
    assert json.loads((lamp.data / "intents.json").read_text()) == {"intents": {}}


async def test_one_image_of_several_is_taken_and_no_other_name_changes(lamp: Daemon, archives: Archives) -> None:
    path = archives.save(f"{NAME}:1.0", "registry.example/svtest/other:1", "local/supervisor-base:9")
    answer = await lamp.ask("POST", "/addons/load", raw=path.read_bytes())
    assert answer.data == {"slug": "local_lamp", "version": "1.0", "job_id": None}
    assert archives.exists(f"{NAME}:1.0")
    assert not archives.exists("registry.example/svtest/other:1")
    assert not archives.exists("local/supervisor-base:9")


async def test_an_image_of_another_name_is_loaded_for_the_add_on_named(lamp: Daemon, archives: Archives) -> None:
    path = archives.save("mine:test", labels={"io.hass.version": "1.0"})
    unknown = await command(lamp, "addons", "load", str(path))
    assert unknown.code == 6
    assert "No add-on of the store uses an image of the archive (mine:test)" in unknown.err
    assert (await command(lamp, "addons", "load", str(path), "--slug", "local_none")).code == 4
    named = await command(lamp, "addons", "load", str(path), "--slug", "local_lamp")
    assert (named.code, named.out) == (0, "Loaded local_lamp 1.0\n"), named
    assert archives.exists(f"{NAME}:1.0")
    assert not archives.exists("mine:test")


async def test_a_label_of_another_version_is_a_clear_error(lamp: Daemon, archives: Archives) -> None:
    path = archives.save("mine:test", labels={"io.hass.version": "0.9"})
    refused = await lamp.ask("POST", "/addons/load?slug=local_lamp", raw=path.read_bytes())
    assert refused.status == 400
    assert "the archive has 0.9, the store has local_lamp in version 1.0" in refused.body["message"]


async def test_an_image_for_other_machines_is_refused_before_it_is_loaded(lamp: Daemon, archives: Archives) -> None:
    source, packed = archives.save(f"{NAME}:1.0"), io.BytesIO()
    with tarfile.open(source) as old, tarfile.open(fileobj=packed, mode="w") as new:
        for member in old:
            file = old.extractfile(member)
            content = file.read() if file is not None else b""
            if member.name.endswith(".json") and b'"architecture"' in content:
                content = json.dumps({**json.loads(content), "architecture": "s390x"}).encode()
                member.size = len(content)
            new.addfile(member, io.BytesIO(content))
    refused = await lamp.ask("POST", "/addons/load", raw=packed.getvalue())
    assert refused.status == 400
    assert "is made for linux/s390x" in refused.body["message"]
    assert not archives.exists(f"{NAME}:1.0")


async def test_what_is_no_archive_is_refused_at_once(lamp: Daemon, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    refused = await command(lamp, "addons", "load", str(tmp_path / "text"))
    assert refused.code == 6
    assert "no archive of Docker images" in refused.err
    assert (await command(lamp, "addons", "load", str(tmp_path / "none"))).code == 2
    assert (await command(lamp, "addons", "load", str(tmp_path))).code == 2


async def test_an_engine_that_refuses_leaves_nothing_behind(lamp: Daemon, archives: Archives) -> None:
    source, packed = archives.save(f"{NAME}:1.0"), io.BytesIO()
    with tarfile.open(source) as old, tarfile.open(fileobj=packed, mode="w") as new:
        for member in old:
            file = old.extractfile(member)
            content = file.read() if file is not None else b""
            if member.name.endswith("layer.tar") or (member.name.startswith("blobs/") and content[:1] != b"{"):
                content = b"broken" * 200
                member.size = len(content)
            new.addfile(member, io.BytesIO(content))
    refused = await lamp.ask("POST", "/addons/load", raw=packed.getvalue())
    assert refused.status == 400, refused.text
    assert "can't be loaded" in refused.body["message"]
    assert await lamp.get("/addons") == {"addons": []}
    assert not archives.exists(f"{NAME}:1.0")
    assert not (lamp.data / "addons" / "data" / "local_lamp").exists()
    assert json.loads((lamp.data / "intents.json").read_text()) == {"intents": {}}


async def test_an_upload_is_not_held_in_memory_and_may_break_off(lamp: Daemon, docker_client: docker.APIClient) -> None:
    assert lamp.process is not None
    await lamp.get("/info")
    before = memory_of(lamp.process.pid)

    async def pieces(count: int, *, breaks: bool) -> None:
        reader, writer = await asyncio.open_unix_connection(str(lamp.socket))
        head = f"POST /addons/load HTTP/1.1\r\nHost: x\r\nContent-Length: {count * 1_000_000}\r\n\r\n"
        writer.write(head.encode())
        for _ in range(count // 2 if breaks else count):
            writer.write(bytes(1_000_000))
            await writer.drain()
        if not breaks:
            assert b" 400 " in await reader.readline()
        writer.close()

    await pieces(300, breaks=False)
    await pieces(40, breaks=True)
    assert memory_of(lamp.process.pid) - before < 60_000_000
    await until(lambda: not open_deleted_files(lamp), 30, lambda: lamp.log)
    assert (await lamp.get("/info"))["state"] == "running"


def memory_of(pid: int) -> int:
    """Return the most memory that the process ever had, in bytes."""
    [line] = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


def open_deleted_files(daemon: Daemon) -> list[str]:
    assert daemon.process is not None
    found = []
    for link in Path(f"/proc/{daemon.process.pid}/fd").iterdir():
        # It may be closed while we look.
        with suppress(FileNotFoundError):
            found.append(str(link.readlink()))
    return [name for name in found if name.endswith("(deleted)") and str(daemon.data) in name]


async def test_an_upload_larger_than_the_disk_is_refused_before_it_is_sent(lamp: Daemon) -> None:
    reader, writer = await asyncio.open_unix_connection(str(lamp.socket))
    writer.write(b"POST /addons/load HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000000000000\r\n\r\n")
    head = await asyncio.wait_for(reader.readuntil(b"}"), 30)
    assert b" 400 " in head
    assert b"no room" in head
    writer.close()
