"""The network of the boxes: bridges in our own network namespace, with DHCP, router advertisements and DNS on each.

Net N is 10.99.N.0/24 and fd99:N::/64; this machine is .1 on it. A box has a card eth0 on its first net, eth1 on its
second and so on; the other end of a cable is called `NAME.0`: `ip link set NAME.0 down` pulls it out. Boxes know one
another as `NAME.lan`.
"""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path


def address(net: int) -> str:
    """This machine's address on a net, where tests may listen for what comes from a box."""
    return f"10.99.{net}.1"


def bridge(net: int) -> str:
    return f"boxnet{net}"


class Net:
    """One bridge and its dnsmasq; `hosts` in `folder` takes files of lines like those of /etc/hosts, at once."""

    def __init__(self, number: int, folder: Path) -> None:
        self.number = number
        self.folder = folder / f"net{number}"
        self._dnsmasq: subprocess.Popen[bytes] | None = None

    @property
    def hosts(self) -> Path:
        return self.folder / "hosts"

    def up(self) -> None:
        number, name = self.number, bridge(self.number)
        self.hosts.mkdir(parents=True, exist_ok=True)
        _ip("link", "add", name, "type", "bridge", "forward_delay", "0", "stp_state", "0")
        _ip("link", "set", name, "address", f"02:99:00:00:{number:02x}:01", "up")
        _ip("address", "add", f"{address(number)}/24", "dev", name)
        _ip("address", "add", f"fd99:{number}::1/64", "dev", name, "nodad")
        # What leaves the net is refused at once instead of being lost.
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
        Path("/proc/sys/net/ipv6/conf/all/forwarding").write_text("1")
        self._dnsmasq = subprocess.Popen(
            [
                "dnsmasq",
                "--keep-in-foreground",
                "--conf-file=/dev/null",
                "--user=root",
                "--group=",
                "--pid-file",
                f"--dhcp-leasefile={self.folder}/leases",
                f"--hostsdir={self.hosts}",
                f"--interface={name}",
                "--bind-interfaces",
                "--except-interface=lo",
                "--no-resolv",
                "--no-hosts",
                "--domain=lan",
                "--expand-hosts",
                "--local=/lan/",
                f"--host-record=gateway.lan,{address(number)},fd99:{number}::1",
                "--dhcp-authoritative",
                "--no-ping",
                f"--dhcp-range=10.99.{number}.100,10.99.{number}.199,1h",
                "--enable-ra",
                f"--dhcp-range=fd99:{number}::,ra-stateless,ra-names,64,1h",
                f"--log-facility={self.folder}/log",
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def down(self) -> None:
        if self._dnsmasq is not None:
            self._dnsmasq.terminate()
            self._dnsmasq.wait()
        _ip("link", "delete", bridge(self.number), check=False)


def plug(name: str, number: int, net: int, pid: int) -> None:
    """Put card `number` into the network namespace of `pid`, with its cable on a net."""
    port = f"{name}.{number}"
    digits = hashlib.sha256(port.encode()).hexdigest()
    mac = "02:" + ":".join(digits[at : at + 2] for at in range(0, 10, 2))
    _ip("link", "delete", port, check=False)
    _ip("link", "add", port, "type", "veth", "peer", "name", f"eth{number}", "address", mac, "netns", str(pid))
    _ip("link", "set", port, "master", bridge(net), "up")


def _ip(*arguments: str, check: bool = True) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise RuntimeError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
