"""The internal network that add-ons, plugins and we share (add-on contract §4.2)."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import Any

import attrs
from docker import APIClient
from docker.errors import APIError
from docker.errors import NotFound as Absent
from docker.types import IPAMConfig, IPAMPool

from supervisor.const import NETWORK_NAME, NETWORK_RANGE, NETWORK_SUBNET, NETWORK_SUBNET_V6
from supervisor.drivers.docker.link import Link
from supervisor.drivers.docker.ours import check_name
from supervisor.drivers.docker.translate import explanation_of
from supervisor.errors import Conflict

_LOGGER = logging.getLogger(__name__)

_BRIDGE_OPTION = "com.docker.network.bridge.name"
_MTU_OPTION = "com.docker.network.driver.mtu"
_IPV6_SWITCH = Path("/proc/sys/net/ipv6/conf/all/disable_ipv6")


@attrs.frozen
class Member:
    """A container with a fixed place on the network; `number` counts from the subnet's first address."""

    name: str
    alias: str
    number: int


MEMBERS = (
    Member("hassio_supervisor", "supervisor", 2),
    Member("hassio_observer", "hassio-observer", 6),
    Member("hassio_cli", "hassio-cli", 5),
    Member("hassio_dns", "hassio-dns", 3),
    Member("hassio_audio", "hassio-audio", 4),
)
# With nobody but these attached the network may be made anew.
_REPLACEABLE = frozenset({"hassio_supervisor", "hassio_observer"})


@attrs.frozen(kw_only=True)
class NetworkSettings:
    """The internal network; tests use another name and subnet than a running system."""

    name: str = NETWORK_NAME
    bridge: str = NETWORK_NAME
    subnet: IPv4Network = NETWORK_SUBNET
    range: IPv4Network = NETWORK_RANGE
    subnet_v6: IPv6Network = NETWORK_SUBNET_V6
    members: tuple[Member, ...] = MEMBERS

    def address(self, number: int) -> IPv4Address:
        return self.subnet.network_address + number


class InternalNetwork:
    def __init__(self, link: Link, settings: NetworkSettings) -> None:
        self._link = link
        self.settings = settings

    async def ensure(self, *, ipv6: bool | None = None, mtu: int | None = None) -> bool:
        """Make the network if it is missing, with the known containers attached; `ipv6` None means on.

        Returns:
            Whether the network is as wanted. False: it differs, and containers on it keep it from being replaced until
            the next boot.

        Raises:
            Conflict: another network of this machine uses its addresses.
        """
        return await self._link.change(
            f"Network {self.settings.name}", _ensure, self.settings, wants_ipv6=ipv6 is not False, mtu=mtu
        )

    async def attach(self, name: str, *, aliases: tuple[str, ...] = (), address: IPv4Address | None = None) -> None:
        """Make container `name` a member; one that is already, at that address, stays as it is.

        Raises:
            NotFound: there is no such container or network.
        """
        check_name(name)
        await self._link.change(
            f"Attaching {name} to network {self.settings.name}", _attach, self.settings.name, name, aliases, address
        )

    async def detach(self, name: str) -> None:
        """End the membership; no member is fine."""
        check_name(name)
        await self._link.change(
            f"Detaching {name} from network {self.settings.name}", _detach, self.settings.name, name
        )

    async def gateways(self) -> list[IPv4Address | IPv6Address]:
        """Return the host's own addresses in it.

        Raises:
            NotFound: there is no such network.
        """
        raw = await self._link.call(f"Network {self.settings.name}", APIClient.inspect_network, self.settings.name)
        ours = self.settings
        return [ours.address(1), *([ours.subnet_v6.network_address + 1] if raw.get("EnableIPv6") else ())]

    async def addresses(self) -> Mapping[str, IPv4Address]:
        """Return container name -> address of the running members.

        Raises:
            NotFound: there is no such network.
        """
        raw = await self._link.call(f"Network {self.settings.name}", APIClient.inspect_network, self.settings.name)
        return {name: address for _, name, address in _members(raw) if address is not None}


def _ensure(client: APIClient, settings: NetworkSettings, *, wants_ipv6: bool, mtu: int | None) -> bool:
    # A kernel without IPv6 can't make a network with it.
    ipv6 = wants_ipv6 and _IPV6_SWITCH.exists()
    try:
        present = client.inspect_network(settings.name)
    except Absent:
        _create(client, settings, ipv6=ipv6, mtu=mtu)
        _attach_members(client, settings)
        return True
    if _matches(present, ipv6=ipv6, mtu=mtu):
        return True
    attached = {name for _, name, _ in _members(present)}
    if not attached <= _REPLACEABLE:
        _LOGGER.warning(
            "Network %s: reboot to apply its changed settings, containers are using it now (%s)",
            settings.name,
            ", ".join(sorted(attached - _REPLACEABLE)),
        )
        return False
    return _replace(client, settings, present, ipv6=ipv6, mtu=mtu)


def _replace(
    client: APIClient, settings: NetworkSettings, present: Mapping[str, Any], *, ipv6: bool, mtu: int | None
) -> bool:
    """Make the network anew; when that fails the old one stays, or is made again."""
    removed = False
    try:
        for _, name, _ in _members(present):
            client.disconnect_container_from_network(name, settings.name, force=True)
        client.remove_network(settings.name)
        removed = True
        _create(client, settings, ipv6=ipv6, mtu=mtu)
    except (APIError, Conflict) as err:
        reason = explanation_of(err) if isinstance(err, APIError) else str(err)
        _LOGGER.warning("Network %s keeps its old settings: %s", settings.name, reason)
        if removed:
            _create(client, settings, ipv6=bool(present.get("EnableIPv6")), mtu=_mtu(present))
        _attach_members(client, settings)
        return False
    _attach_members(client, settings)
    return True


def _create(client: APIClient, settings: NetworkSettings, *, ipv6: bool, mtu: int | None) -> None:
    pools = [IPAMPool(subnet=str(settings.subnet), iprange=str(settings.range), gateway=str(settings.address(1)))]
    if ipv6:
        pools.append(IPAMPool(subnet=str(settings.subnet_v6)))
    options = {_BRIDGE_OPTION: settings.bridge}
    if mtu is not None:
        options[_MTU_OPTION] = str(mtu)
    try:
        client.create_network(
            settings.name,
            driver="bridge",
            options=options,
            ipam=IPAMConfig(pool_configs=pools),
            check_duplicate=True,
            enable_ipv6=ipv6,
        )
    except APIError as err:
        if "overlaps" in explanation_of(err):
            raise Conflict(
                f"Network {settings.name} can't be made: another network of this machine uses {settings.subnet}"
            ) from err
        raise
    _LOGGER.info("Network %s is made", settings.name)


def _attach_members(client: APIClient, settings: NetworkSettings) -> None:
    for member in settings.members:
        try:
            _attach(client, settings.name, member.name, (member.alias,), settings.address(member.number))
        except Absent:
            continue
        except APIError as err:
            _LOGGER.critical("%s can't join network %s: %s", member.name, settings.name, explanation_of(err))


def _attach(client: APIClient, network: str, name: str, aliases: tuple[str, ...], address: IPv4Address | None) -> None:
    identity = str(client.inspect_container(name)["Id"])
    for member, called, present in _members(client.inspect_network(network)):
        if member == identity and (address is None or address == present):
            return
        if called == name:
            # Either it moves to another address, or a crashed engine left an endpoint of its name behind.
            client.disconnect_container_from_network(name, network, force=True)
            break
    client.connect_container_to_network(
        identity,
        network,
        ipv4_address=None if address is None else str(address),
        aliases=list(aliases),
    )


def _detach(client: APIClient, network: str, name: str) -> None:
    try:
        client.disconnect_container_from_network(name, network, force=True)
    except Absent:
        return
    except APIError as err:
        if "is not connected" not in explanation_of(err):
            raise


def _members(raw: Mapping[str, Any]) -> Iterable[tuple[str, str, IPv4Address | None]]:
    """Yield (container id, name, address) of the running members."""
    for identity, entry in (raw.get("Containers") or {}).items():
        text = str(entry.get("IPv4Address") or "")
        yield str(identity), str(entry.get("Name") or ""), IPv4Interface(text).ip if text else None


def _matches(raw: Mapping[str, Any], *, ipv6: bool, mtu: int | None) -> bool:
    return bool(raw.get("EnableIPv6")) == ipv6 and (mtu is None or mtu == _mtu(raw))


def _mtu(raw: Mapping[str, Any]) -> int | None:
    text = str((raw.get("Options") or {}).get(_MTU_OPTION) or "")
    return int(text) if text.isdecimal() else None
