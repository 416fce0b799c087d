"""What the engine tests stand on: an engine of their own, a registry, a tiny image, and the wait for what others do.

Everything made carries the label `LABEL` or a name of the tests, and `clear` removes it.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tarfile
import time
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import TypeVar

import attrs
import docker
import pytest

from supervisor.drivers.docker.network import NetworkSettings
from supervisor.drivers.docker.spec import ContainerSpec

T = TypeVar("T")

LABEL = "supervisor-test"
FIRST_PORT, PORTS = 20000, 12000
BASE_IMAGE = "local/test-base:1"
NETWORK = NetworkSettings(
    name="svtest",
    bridge="svtest",
    subnet=IPv4Network("10.213.32.0/23"),
    range=IPv4Network("10.213.33.0/24"),
    subnet_v6=IPv6Network("fd0c:ac1e:21ff::/48"),
    members=(),
)


def free_ports(count: int) -> list[int]:
    """Return different ports that nobody has, from below those that the kernel gives to whoever connects."""
    found: list[int] = []
    while len(found) < count:
        port = FIRST_PORT + secrets.randbelow(PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("0.0.0.0", port))
            if port not in found:
                found.append(port)
    return found


def free_port() -> int:
    [port] = free_ports(1)
    return port


def client_of(url: str) -> docker.APIClient:
    return docker.APIClient(base_url=url, version="auto", timeout=60)


def answers(url: str) -> bool:
    """Whether an engine is there. Asked by hand: the SDK leaks its socket when nobody answers."""
    try:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(30)
            probe.connect(url.removeprefix("unix://"))
            probe.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
            return b" 200 " in probe.recv(100)
    except OSError:
        return False


class PrivateEngine:
    """A dockerd with its own data, socket and bridge, and no firewall rules, so that it disturbs no other one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # A bridge's name has at most 15 characters.
        self.bridge = f"svt{secrets.token_hex(4)}"
        self.url = f"unix://{folder}/docker.sock"
        self.process: subprocess.Popen[bytes] | None = None
        self.octet = secrets.randbelow(200)

    def start(self) -> None:
        # Asked of ip, not of /sys, which may be that of another network namespace.
        if subprocess.run(["ip", "link", "show", self.bridge], check=False, capture_output=True).returncode:
            for command in (
                f"ip link add {self.bridge} type bridge",
                f"ip address add 10.214.{self.octet}.1/24 dev {self.bridge}",
                f"ip link set {self.bridge} up",
            ):
                subprocess.run(command.split(), check=True)
        with (self.folder / "dockerd.log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    "dockerd",
                    f"--data-root={self.folder}/data",
                    f"--exec-root={self.folder}/exec",
                    f"--pidfile={self.folder}/docker.pid",
                    f"--host={self.url}",
                    f"--bridge={self.bridge}",
                    "--iptables=false",
                    "--ip-masq=false",
                ],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + 60
        while not answers(self.url):
            if time.monotonic() > deadline or self.process.poll() is not None:
                pytest.fail("dockerd does not start:\n" + (self.folder / "dockerd.log").read_text()[-2000:])
            time.sleep(0.1)

    def stop(self, sign: signal.Signals = signal.SIGTERM) -> None:
        if self.process is None:
            return
        self.process.send_signal(sign)
        self.process.wait(timeout=60)
        self.process = None
        # containerd dies with its parent; where nobody reaps it, the next dockerd would take the dead one for running.
        (self.folder / "exec" / "containerd" / "containerd.pid").unlink(missing_ok=True)

    def clear(self) -> None:
        if self.process is not None and answers(self.url):
            client = client_of(self.url)
            for container in client.containers(all=True):
                client.remove_container(container["Id"], force=True)
            client.close()
        self.stop()
        self._end_shims()
        subprocess.run(["ip", "link", "delete", self.bridge], check=False, capture_output=True)
        for line in reversed(Path("/proc/self/mounts").read_text().splitlines()):
            target = line.split()[1]
            if target.startswith(f"{self.folder}/"):
                subprocess.run(["umount", "-l", target], check=False)
        shutil.rmtree(self.folder)

    def _end_shims(self) -> None:
        """End what a killed engine left running: the guardians of its containers name our folder."""
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                words = (process / "cmdline").read_bytes()
                if words.startswith(b"/usr/bin/containerd-shim") and f"{self.folder}/".encode() in words:
                    children = (process / "task" / process.name / "children").read_text().split()
                    for pid in (process.name, *children):
                        os.kill(int(pid), signal.SIGKILL)


def clear(client: docker.APIClient) -> None:
    for container in client.containers(all=True, filters={"label": LABEL}):
        client.remove_container(container["Id"], force=True, v=True)
    for network in client.networks(names=[NETWORK.name]):
        if network["Name"] == NETWORK.name:
            client.remove_network(network["Id"])
    for image in client.images():
        for tag in image.get("RepoTags") or ():
            if tag.startswith("local/test-") or "/svtest/" in tag:
                client.remove_image(tag, force=True)


@attrs.frozen
class Things:
    """What an engine has."""

    containers: frozenset[str]
    images: frozenset[str]
    tags: frozenset[str]
    networks: frozenset[str]

    @classmethod
    def of(cls, client: docker.APIClient) -> Things:
        images = client.images()
        return cls(
            frozenset(container["Id"] for container in client.containers(all=True)),
            frozenset(image["Id"] for image in images),
            frozenset(tag for image in images for tag in image["RepoTags"] or () if tag != "<none>:<none>"),
            # That of the tests is kept from one to the next, and remade by those that look at it.
            frozenset(network["Id"] for network in client.networks() if network["Name"] != NETWORK.name),
        )

    def restore(self, client: docker.APIClient) -> None:
        """Remove all that is not among these."""
        now = Things.of(client)
        for container in now.containers - self.containers:
            _remove(client, container)
        # The last name takes an image along, and one that others are built on stays until those have gone.
        for reference in (*(now.tags - self.tags), *(2 * list(now.images - self.images))):
            with contextlib.suppress(docker.errors.APIError):
                client.remove_image(reference, force=True)
        for network in now.networks - self.networks:
            client.remove_network(network)


def _remove(client: docker.APIClient, container: str) -> None:
    """Remove it; an engine that is busy may not see a container end, or a folder of it still in use, the first time."""
    deadline = time.monotonic() + 60
    while True:
        try:
            client.remove_container(container, force=True, v=True)
        except docker.errors.NotFound:
            return
        except docker.errors.APIError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
        else:
            return


def root_filesystem(extra: dict[str, bytes] | None = None) -> bytes:
    """A tar archive of busybox with all its commands."""
    applets = subprocess.run(["/bin/busybox", "--list"], check=True, capture_output=True, text=True).stdout.split()
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        archive.add("/bin/busybox", "bin/busybox")
        for applet in applets:
            if applet != "busybox":
                link = tarfile.TarInfo(f"bin/{applet}")
                link.type, link.linkname = tarfile.SYMTYPE, "busybox"
                archive.addfile(link)
        for folder in ("tmp", "data", "etc", "run", "proc", "sys", "dev"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(entry)
        for name, content in {"etc/passwd": b"root:x:0:0:root:/:/bin/sh\n", **(extra or {})}.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


@attrs.frozen
class Registry:
    """A registry on loopback; with a login when `username` is set."""

    host: str
    client: docker.APIClient
    username: str | None = None
    password: str | None = attrs.field(default=None, repr=False)

    def push(self, reference: str, name: str, tag: str) -> str:
        """Publish the local image `reference` as `<host>/svtest/<name>:<tag>`; returns the name without the tag."""
        target = f"{self.host}/svtest/{name}"
        login = {"username": self.username, "password": self.password} if self.username else {}
        self.client.tag(reference, target, tag, force=True)
        for message in self.client.push(target, tag, stream=True, decode=True, auth_config=login):
            assert "error" not in message, message
        self.client.remove_image(f"{target}:{tag}", force=True)
        return target


@contextlib.contextmanager
def serve_registry(folder: Path, client: docker.APIClient, login: tuple[str, str] | None) -> Iterator[Registry]:
    port = free_port()
    lines = [
        "version: 0.1",
        f"storage: {{filesystem: {{rootdirectory: {folder}/data}}}}",
        f"http: {{addr: 127.0.0.1:{port}}}",
    ]
    if login is not None:
        password_file = folder / "htpasswd"
        entry = subprocess.run(["htpasswd", "-Bbn", *login], check=True, capture_output=True).stdout
        password_file.write_bytes(entry)
        lines.append(f"auth: {{htpasswd: {{realm: tests, path: {password_file}}}}}")
    config = folder / "config.yml"
    config.write_text("\n".join(lines) + "\n")
    with (folder / "registry.log").open("wb") as log:
        process = subprocess.Popen(["docker-registry", "serve", str(config)], stdout=log, stderr=log)
    try:
        _wait_for_http(f"http://127.0.0.1:{port}/v2/", process)
        username, password = login or (None, None)
        yield Registry(f"127.0.0.1:{port}", client, username, password)
    finally:
        process.terminate()
        process.wait(timeout=60)


def _wait_for_http(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(url, timeout=10):
                return
        except urllib.error.HTTPError as err:
            err.close()
            return
        except OSError:
            if time.monotonic() > deadline or process.poll() is not None:
                pytest.fail(f"No registry at {url}")
            time.sleep(0.1)


def spec(name: str, *command: str, **fields: object) -> ContainerSpec:
    """A container of the base image that runs `command`, off the internal network unless told otherwise."""
    fields.setdefault("network", "none")
    labels = {LABEL: "", **dict(fields.pop("labels", {}))}  # type: ignore[call-overload] # it is a mapping
    return ContainerSpec(
        name=f"addon_svtest_{name}",
        image=str(fields.pop("image", BASE_IMAGE)),
        command=command or ("sleep", "1000"),
        labels=labels,
        **fields,  # type: ignore[arg-type] # the tests name the fields
    )


async def until(condition: Callable[[], T | Awaitable[T]], seconds: float = 30.0) -> T:
    """Wait for what another process does: until `condition` gives something true, which is returned."""
    async with asyncio.timeout(seconds):
        while True:
            value = condition()
            if isinstance(value, Awaitable):
                value = await value
            if value:
                return value
            await asyncio.sleep(0.02)
