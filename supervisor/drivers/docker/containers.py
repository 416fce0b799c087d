"""Containers: run, stop, look at, talk to (add-on contract §4.3, §4.7, §4.9)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from docker import APIClient
from docker.errors import APIError

from supervisor.drivers.docker import lifecycle, talk
from supervisor.drivers.docker.devices import allow_device
from supervisor.drivers.docker.link import Link
from supervisor.drivers.docker.logs import LogLine, read_log
from supervisor.drivers.docker.model import (
    ContainerInfo,
    ContainerSummary,
    ExecResult,
    Stats,
    container_info,
    container_summary,
)
from supervisor.drivers.docker.ours import check_name, is_ours
from supervisor.drivers.docker.spec import ContainerSpec
from supervisor.drivers.docker.stats import (
    CGROUP_ROOT,
    PROC_ROOT,
    SHORTEST_SPAN,
    Sample,
    Tracker,
    sample_from_engine,
    sample_from_kernel,
)
from supervisor.errors import Invalid, NotFound

DEFAULT_GRACE = 10


class Containers:
    """The containers of the engine behind `link`.

    `network_name` is the internal network's name there; `cid_files` is the folder whose `<name>.cid` goes with a
    container that is removed.
    """

    def __init__(self, link: Link, *, network_name: str, cid_files: Path | None = None) -> None:
        self._link = link
        self._network_name = network_name
        self._cid_files = cid_files
        self._tracker = Tracker()

    async def inspect(self, name: str) -> ContainerInfo:
        """Look at one container, by its name or full id.

        Raises:
            NotFound: there is none.
        """
        check_name(name)
        raw = await self._link.call(f"Container {name}", APIClient.inspect_container, name)
        info = container_info(raw, network_name=self._network_name)
        if name not in {info.name, info.id}:
            # The engine takes the beginning of an id for a name, too.
            raise NotFound(f"There is no container {name}")
        return info

    async def list_managed(self) -> list[ContainerSummary]:
        """List the containers of ours, running or not, in one question to the engine."""
        entries = await self._link.call("Listing containers", APIClient.containers, all=True)
        summaries = (container_summary(entry, network_name=self._network_name) for entry in entries)
        return [summary for summary in summaries if is_ours(summary.name, summary.labels)]

    async def list_running(self) -> list[ContainerSummary]:
        """List every running container of the engine, ours or not."""
        entries = await self._link.call("Listing containers", APIClient.containers)
        return [container_summary(entry, network_name=self._network_name) for entry in entries]

    async def run(self, spec: ContainerSpec) -> ContainerInfo:
        """Start a new container as `spec` says, in place of any of that name; afterwards its address is known.

        Raises:
            NotFound: the image is not here.
            SupervisorError: of kind DOCKER_PORT_CONFLICT when a port of the host is taken.
            Internal, Conflict, Invalid: the engine refused; nothing of the new container is left behind.
        """
        check_name(spec.name)
        raw = await self._link.change(f"Starting {spec.name}", lifecycle.run, spec, self._network_name)
        return container_info(raw, network_name=self._network_name)

    async def start(self, name: str) -> ContainerInfo:
        """Start an existing container again.

        Raises:
            NotFound: there is none.
            SupervisorError: as `run`; the container stays.
        """
        check_name(name)
        raw = await self._link.change(f"Starting {name}", lifecycle.start, name, self._network_name)
        return container_info(raw, network_name=self._network_name)

    async def stop(self, name: str, *, grace: int = DEFAULT_GRACE, remove: bool = True) -> None:
        """Ask it to end, kill it after `grace` seconds, and remove it; an absent container is fine."""
        check_name(name)
        await self._link.change(f"Stopping {name}", lifecycle.stop, name, grace, self._cid_path(name), remove=remove)

    async def update(
        self, name: str, *, memory: int | None = None, nano_cpus: int | None = None, pids: int | None = None
    ) -> None:
        """Give a container other limits, at once if it runs; None leaves one as it is, `pids` 0 takes it away.

        The engine can't take the others away: give what the machine has. `memory` includes what is swapped out.

        Raises:
            NotFound: there is none.
            SupervisorError: the engine refused; a running one may use more memory than the new limit.
        """
        check_name(name)
        changes = {
            "Memory": memory,
            "MemorySwap": memory,
            "NanoCpus": nano_cpus,
            "PidsLimit": pids,
        }
        given = {key: value for key, value in changes.items() if value is not None}
        await self._link.change(f"Limits of {name}", lifecycle.update, name, given)

    async def allow_device(self, info: ContainerInfo, rule: str) -> None:
        """Let a running container use one more device; see `allow_device` of `devices.py`.

        Raises:
            Unsupported: that is not possible from here; Internal: the kernel refused.
        """
        await asyncio.to_thread(allow_device, info, rule)

    async def remove(self, name: str) -> None:
        """Kill and remove it at once; an absent container is fine."""
        check_name(name)
        await self._link.change(f"Removing {name}", lifecycle.remove, name, self._cid_path(name))

    async def rename(self, name: str, new: str) -> None:
        """Raise NotFound when there is no container `name`, Conflict when there is one called `new`."""
        check_name(name)
        check_name(new)
        await self._link.change(f"Renaming {name}", APIClient.rename, name, new)

    async def stats(self, name: str) -> Stats:
        """Measure a running container. The CPU's share is that since the last call, at least over 0.1 s.

        Raises:
            NotFound: there is none; Invalid: it does not run.
        """
        info = await self.inspect(name)
        if not info.running:
            raise Invalid(f"Container {name} is not running")
        if self._tracker.wants_first(info.id):
            self._tracker.first(info.id, await self._sample(info))
            await asyncio.sleep(SHORTEST_SPAN)
        return self._tracker.add(info.id, await self._sample(info))

    async def exec(self, name: str, command: str | Sequence[str], *, timeout: float) -> ExecResult:  # noqa: ASYNC109 - the time the command gets, then its stream is ended
        """Run a command inside and collect its output (at most `talk.MAX_OUTPUT`); a string is split as a shell would.

        An unknown program is no error of ours: exit code 126 or 127 with the runtime's message as output.

        Raises:
            NotFound, Conflict: there is no such container, or it does not run.
            Timeout: the command took longer; it goes on inside the container, nobody can stop it from outside.
        """
        check_name(name)
        return await talk.execute(self._link, name, command, timeout)

    async def write_stdin(self, name: str, data: bytes) -> None:
        """Write `data` and a line end to the standard input of a container made with `stdin`.

        Raises:
            NotFound, Conflict: there is no such container, or it does not run.
            Timeout: it does not read its input.
        """
        check_name(name)
        await self._link.change(f"Standard input of {name}", talk.write_stdin, name, data)

    def logs(
        self,
        name: str,
        *,
        tail: int | None = None,
        follow: bool = False,
        since: float | None = None,
        until: float | None = None,
    ) -> AsyncIterator[LogLine]:
        """Read the log, oldest line first: the last `tail` lines (None: all), then new ones with `follow`.

        `since` and `until` are seconds since the epoch. Close the iterator (`contextlib.aclosing`) to end it.

        Raises (while iterating):
            NotFound: there is no such container; Busy: too many logs are followed already.
            Unsupported: the container's log driver can't be read back.
        """
        check_name(name)
        return read_log(self._link, name, tail=tail, follow=follow, since=since, until=until)

    async def run_once(self, spec: ContainerSpec, *, timeout: float) -> ExecResult:  # noqa: ASYNC109 - the time the command gets, then it is killed
        """Run a container for its output and exit code; it is removed whatever happens.

        Raises:
            Timeout: it took longer and was killed; else as `run`.
        """
        check_name(spec.name)
        try:
            return await talk.run_once(self._link, spec, self._network_name, timeout)
        finally:
            await asyncio.shield(self.remove(spec.name))

    def forget(self, identity: str) -> None:
        """The container with this id is gone for good."""
        self._tracker.forget(identity)

    def _cid_path(self, name: str) -> Path | None:
        return None if self._cid_files is None else self._cid_files / f"{name}.cid"

    async def _sample(self, info: ContainerInfo) -> Sample:
        return await self._link.call(f"Stats of {info.name}", _sample, info)


def _sample(client: APIClient, info: ContainerInfo) -> Sample:
    sample = sample_from_kernel(
        info.id,
        info.pid,
        host_network=info.network_mode == "host",
        cgroup_root=CGROUP_ROOT,
        proc_root=PROC_ROOT,
    )
    if sample is not None:
        return sample
    try:
        return sample_from_engine(client.stats(info.id, stream=False, one_shot=True))
    except APIError as err:
        if err.status_code == 404:
            raise NotFound(f"There is no container {info.name}") from err
        raise
