"""Which versions there are: the version file of our channel (host contract §44)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import attrs
import voluptuous as vol

from supervisor.drivers.http import HttpClient
from supervisor.errors import Unavailable
from supervisor.events import EventBus, VersionsFetched
from supervisor.jobs import JobCondition, JobManager
from supervisor.model.os_release import OsReleases
from supervisor.state import StateFile

_LOGGER = logging.getLogger(__name__)

CHANNELS = ("stable", "beta", "dev")
PLUGINS = ("cli", "dns", "audio", "observer", "multicast")

_text = vol.Any(None, str)

UPDATER_SCHEMA = vol.Schema(
    {
        vol.Optional("channel", default="stable"): vol.In(CHANNELS),
        vol.Optional("auto_update", default=True): bool,
        vol.Optional("supervisor", default=None): _text,
        vol.Optional("homeassistant", default=None): _text,
        vol.Optional("hassos_unrestricted", default=None): _text,
        vol.Optional("hassos_upgrade", default=dict): {str: str},
        **{vol.Optional(plugin, default=None): _text for plugin in PLUGINS},
        vol.Optional("image", default=dict): {str: str},
        vol.Optional("ota", default=None): _text,
    },
    extra=vol.REMOVE_EXTRA,
)

_version_file: dict[Any, Any] = {
    vol.Required("channel"): str,
    vol.Required("supervisor"): str,
    vol.Required("homeassistant"): {str: vol.Coerce(str)},
    vol.Optional("hassos", default=dict): {str: vol.Coerce(str)},
    vol.Optional("hassos-upgrade", default=dict): {vol.Coerce(str): vol.Coerce(str)},
    **{vol.Optional(plugin, default=None): vol.Any(None, vol.Coerce(str)) for plugin in PLUGINS},
    vol.Optional("images", default=dict): {str: str},
    vol.Optional("ota", default=None): _text,
}
VERSION_FILE_SCHEMA = vol.Schema(_version_file, extra=vol.REMOVE_EXTRA)

FETCH_CONDITIONS = (
    JobCondition.ARCHITECTURE_SUPPORTED,
    JobCondition.INTERNET_SYSTEM,
    JobCondition.HOME_ASSISTANT_CORE_SUPPORTED,
    JobCondition.OS_SUPPORTED,
)


@attrs.frozen
class Versions:
    """The newest versions known, None where none was ever learnt."""

    supervisor: str | None = None
    homeassistant: str | None = None
    plugins: dict[str, str | None] = attrs.field(factory=dict)


class Updater:
    """`version_url` holds the version files, one `<channel>.json` each.

    `machine` and `board` answer what this host is, as the version file calls it; None where nobody knows. A host whose
    operating system is not Home Assistant's has no board there.
    """

    def __init__(
        self,
        state: StateFile,
        http: HttpClient,
        jobs: JobManager,
        bus: EventBus,
        *,
        version_url: str,
        machine: Callable[[], str | None],
        board: Callable[[], str | None],
    ) -> None:
        self._state = state
        self._http = http
        self._jobs = jobs
        self._bus = bus
        self._version_url = version_url
        self._machine = machine
        self._board = board
        self._changing = asyncio.Lock()
        self._data: dict[str, Any] = UPDATER_SCHEMA({})

    async def load(self) -> None:
        self._data = await self._state.load()

    @property
    def channel(self) -> str:
        return str(self._data["channel"])

    @property
    def auto_update(self) -> bool:
        return bool(self._data["auto_update"])

    @property
    def versions(self) -> Versions:
        return Versions(
            self._data["supervisor"],
            self._data["homeassistant"],
            {plugin: self._data[plugin] for plugin in PLUGINS},
        )

    @property
    def os_releases(self) -> OsReleases:
        """The Home Assistant Operating System for our board; nothing for a host that has another one."""
        return OsReleases(self._data["hassos_unrestricted"], self._data["hassos_upgrade"], self._data["ota"])

    def image(self, plugin: str) -> str | None:
        """Return where a plugin's images are, with `{arch}` for the architecture; None where that was never learnt."""
        template = self._data["image"].get(plugin)
        return template if isinstance(template, str) and template else None

    async def set_options(self, *, channel: str | None = None, auto_update: bool | None = None) -> None:
        """Store what is given."""
        given = {"channel": channel, "auto_update": auto_update}
        await self._change({key: value for key, value in given.items() if value is not None})

    async def _change(self, values: dict[str, Any]) -> None:
        async with self._changing:
            data = {**self._data, **values}
            await self._state.save(data)
            self._data = data

    async def fetch(self) -> None:
        """Fetch the version file.

        Raises:
            Blocked: no internet, or the system is too unusual.
            Unavailable: the file can't be had or makes no sense.
        """
        async with self._jobs.run("updater_fetch_data", conditions=FETCH_CONDITIONS, lock="updater", wait=True):
            url = f"{self._version_url}/{self.channel}.json"
            try:
                latest = VERSION_FILE_SCHEMA(await self._http.get_json(url))
            except vol.Invalid as err:
                raise Unavailable(f"The version file {url} makes no sense: {err}") from err
            if latest["channel"] != self.channel:
                raise Unavailable(f"The version file {url} is one of channel {latest['channel']}")
            core, board = latest["homeassistant"], self._board()
            news = {
                **{key: latest[key] for key in (*PLUGINS, "supervisor", "ota")},
                "homeassistant": core.get(self._machine() or "default") or core.get("default"),
                "hassos_unrestricted": self._for_board(latest["hassos"], board),
                "hassos_upgrade": latest["hassos-upgrade"],
                "image": latest["images"],
            }
            await self._change(news)
            _LOGGER.info("Fetched the versions of channel %s", self.channel)
            self._bus.publish(VersionsFetched(("supervisor", "core", *(("os",) if board is not None else ()))))

    def _for_board(self, versions: dict[str, str], board: str | None) -> str | None:
        if board is not None and board not in versions:
            _LOGGER.warning(
                "Channel %s has no Home Assistant Operating System for board %s: no updates of it", self.channel, board
            )
        return versions.get(board) if board is not None else None
