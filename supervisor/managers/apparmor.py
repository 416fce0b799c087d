"""The AppArmor profiles of add-ons: kept in `apparmor/`, loaded into the kernel by the host (add-on contract §1.11)."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Protocol

from supervisor.errors import ADDON_PROFILE_INVALID, Internal, Invalid, SupervisorError
from supervisor.managers.resolution import Resolution, UnsupportedReason
from supervisor.model.apparmor import profile_name
from supervisor.paths import DataPaths
from supervisor.state import write_atomic

_LOGGER = logging.getLogger(__name__)


class ProfileLoader(Protocol):
    """Who can load profiles into the kernel; paths are as the host sees them."""

    @property
    def available(self) -> bool:
        """Whether it can be asked now."""

    async def load_profile(self, profile: Path, cache: Path) -> None:
        """Load or replace one.

        Raises:
            SupervisorError: it could not.
        """

    async def unload_profile(self, profile: Path, cache: Path) -> None:
        """Take one out of the kernel.

        Raises:
            SupervisorError: it could not.
        """


class AppArmor:
    """A profile's file bears the slug of its add-on. Without a loader profiles are kept, and containers unconfined."""

    def __init__(self, paths: DataPaths, resolution: Resolution, loader: ProfileLoader | None) -> None:
        self._paths = paths
        self._folder = paths.apparmor
        self._resolution = resolution
        self._loader = loader
        self.profiles: frozenset[str] = frozenset()

    @property
    def available(self) -> bool:
        """Whether the engine may be asked for a profile."""
        if self._loader is None or not self._loader.available:
            return False
        return UnsupportedReason.APPARMOR not in self._resolution.unsupported

    async def load(self) -> None:
        """Learn which profiles there are and load each, where that is possible. One that fails is logged."""
        self.profiles = await asyncio.to_thread(_file_names, self._folder)
        for slug in sorted(self.profiles):
            try:
                await self._load(slug)
            except SupervisorError as err:
                _LOGGER.error("%s: its AppArmor profile is not loaded: %s", slug, err, extra={"ADDON": slug})

    async def text(self, slug: str) -> str | None:
        """Return the stored profile of an add-on; None when it has none."""
        if slug not in self.profiles:
            return None
        try:
            return await asyncio.to_thread((self._folder / slug).read_text)
        except (OSError, UnicodeDecodeError) as err:
            self._resolution.judge_disk(err.errno if isinstance(err, OSError) else None)
            _LOGGER.error("%s: its AppArmor profile can't be read: %s", slug, err, extra={"ADDON": slug})
            return None

    async def install(self, slug: str, profile: str | None) -> None:
        """Make `profile` (see `adjusted_profile`) the add-on's; None removes it. On failure the earlier one stays.

        Raises:
            Invalid: it is no profile, or bears another name.
            Internal: it can't be stored; or what the host says why it could not load it.
        """
        if profile is None:
            await self.remove(slug)
            return
        _require_name(profile, slug)
        before = await self.text(slug)
        if before == profile:
            return
        await self._write(slug, profile)
        try:
            await self._load(slug)
        except BaseException:
            await asyncio.shield(self._put_back(slug, before))
            raise
        _LOGGER.info("%s: its AppArmor profile is stored", slug, extra={"ADDON": slug})

    async def remove(self, slug: str) -> None:
        """Unload and forget an add-on's profile; none is fine. What the host can't unload is forgotten all the same."""
        if slug not in self.profiles:
            return
        if self._loader is not None and self._loader.available:
            try:
                await self._loader.unload_profile(*self._on_host(slug))
            except SupervisorError as err:
                _LOGGER.warning("%s: its AppArmor profile stays loaded: %s", slug, err, extra={"ADDON": slug})
        await self._forget(slug)

    async def _load(self, slug: str) -> None:
        if self._loader is not None and self._loader.available:
            await self._loader.load_profile(*self._on_host(slug))

    async def _put_back(self, slug: str, before: str | None) -> None:
        if before is None:
            await self._forget(slug)
            return
        await self._write(slug, before)

    async def _write(self, slug: str, profile: str) -> None:
        try:
            await asyncio.to_thread(write_atomic, self._folder / slug, profile.encode(), 0o644)
        except OSError as err:
            self._resolution.judge_disk(err.errno)
            raise Internal(f"The AppArmor profile of add-on {slug} can't be stored: {err.strerror or err}") from err
        self.profiles |= {slug}

    async def _forget(self, slug: str) -> None:
        await asyncio.to_thread((self._folder / slug).unlink, missing_ok=True)
        self.profiles -= {slug}

    def _on_host(self, slug: str) -> tuple[Path, Path]:
        return self._paths.on_host(self._folder / slug), self._paths.on_host(self._folder / "cache")


def _require_name(profile: str, slug: str) -> None:
    try:
        name = profile_name(profile)
    except Invalid as err:
        raise ADDON_PROFILE_INVALID(app=slug, reason=str(err)) from err
    if name != slug:
        raise ADDON_PROFILE_INVALID(app=slug, reason=f"it is called {name[:80]}")


def _file_names(folder: Path) -> frozenset[str]:
    try:
        return frozenset(entry.name for entry in folder.iterdir() if entry.is_file() and not entry.name.startswith("."))
    except FileNotFoundError:
        return frozenset()
