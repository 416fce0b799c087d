"""The Supervisor's own settings and what it remembers from one run to the next (host contract §53, `config.json`)."""

from __future__ import annotations

import asyncio
from typing import Any

import voluptuous as vol

from supervisor.state import StateFile

LOG_LEVELS = ("debug", "info", "warning", "error", "critical")
FEATURE_FLAGS = ("supervisor_v2_api", "supervisor_websocket_v2_api")

OLD_REPOSITORY_LISTS = ("addons_custom_list", "apps_custom_list")

_text = vol.Any(None, str)


def _sources(value: Any) -> list[str]:
    """Whatever is no text is of no use, and no reason to lose all other settings."""
    return [source for source in value if isinstance(source, str)] if isinstance(value, list) else []


def _known_flags(value: Any) -> dict[str, Any]:
    """Drop the flags of other versions: they must not cost the user everything else."""
    if not isinstance(value, dict):
        raise vol.DictInvalid("expected a dictionary")
    return {flag: value[flag] for flag in FEATURE_FLAGS if flag in value}


CONFIGURATION_SCHEMA = vol.Schema(
    {
        vol.Optional("timezone", default=None): _text,
        vol.Optional("country", default=None): _text,
        vol.Optional("version", default=None): _text,
        vol.Optional("image", default=None): _text,
        vol.Optional("last_boot", default=None): _text,
        vol.Optional("wait_boot", default=5): vol.All(int, vol.Range(1, 60)),
        vol.Optional("logging", default="info"): vol.In(LOG_LEVELS),
        vol.Optional("debug", default=False): bool,
        vol.Optional("debug_block", default=False): bool,
        vol.Optional("diagnostics", default=None): vol.Any(None, bool),
        vol.Optional("detect_blocking_io", default=False): bool,
        vol.Optional("feature_flags", default=dict): vol.All(_known_flags, {str: bool}),
        # Where older systems kept the repositories; the store takes them over.
        **{vol.Optional(key, default=list): _sources for key in OLD_REPOSITORY_LISTS},
        # Ours: which boot of the machine and which run of the engine the add-ons were last running under.
        vol.Optional("last_boot_id", default=None): _text,
        vol.Optional("last_engine_run", default=None): _text,
    },
    extra=vol.REMOVE_EXTRA,
)


class Configuration:
    """Typed reading of `config.json`; `change` stores new values before they count."""

    def __init__(self, state: StateFile) -> None:
        self._state = state
        self._changing = asyncio.Lock()
        self._data: dict[str, Any] = CONFIGURATION_SCHEMA({})

    async def load(self) -> None:
        self._data = await self._state.load()

    async def change(self, **values: Any) -> None:
        """Store the given values.

        Raises:
            vol.Invalid: a value does not fit; nothing is changed.
        """
        async with self._changing:
            data = {**self._data, **values}
            await self._state.save(data)
            self._data = data

    async def forget_old_repositories(self) -> None:
        """Empty the lists of old, once they are kept elsewhere."""
        if self.old_repositories:
            await self.change(**{key: [] for key in OLD_REPOSITORY_LISTS})

    @property
    def old_repositories(self) -> list[str]:
        """Sources of repositories that an older system kept here."""
        return [source for key in OLD_REPOSITORY_LISTS for source in self._data[key]]

    @property
    def timezone(self) -> str | None:
        return self._text("timezone")

    @property
    def country(self) -> str | None:
        return self._text("country")

    @property
    def last_boot_id(self) -> str | None:
        return self._text("last_boot_id")

    @property
    def last_engine_run(self) -> str | None:
        return self._text("last_engine_run")

    @property
    def wait_boot(self) -> int:
        """Seconds that a boot stage lasts at least."""
        return int(self._data["wait_boot"])

    @property
    def logging(self) -> str:
        return str(self._data["logging"])

    @property
    def debug(self) -> bool:
        return bool(self._data["debug"])

    @property
    def debug_block(self) -> bool:
        return bool(self._data["debug_block"])

    @property
    def diagnostics(self) -> bool | None:
        value = self._data["diagnostics"]
        return None if value is None else bool(value)

    @property
    def detect_blocking_io(self) -> bool:
        return bool(self._data["detect_blocking_io"])

    @property
    def feature_flags(self) -> dict[str, bool]:
        stored = self._data["feature_flags"]
        return {flag: bool(stored.get(flag, False)) for flag in FEATURE_FLAGS}

    def _text(self, key: str) -> str | None:
        value = self._data[key]
        return None if value is None else str(value)
