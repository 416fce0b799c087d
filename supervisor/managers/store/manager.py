"""The store manager: which repositories there are, and what they offer (contract §2)."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from contextlib import suppress
from typing import Final

from supervisor.const import BUILTIN_REPOSITORIES, REPOSITORY_CORE, REPOSITORY_LOCAL
from supervisor.errors import (
    REPOSITORY_EXISTS,
    REPOSITORY_LOCAL_RESET,
    REPOSITORY_UNKNOWN,
    STORE_ADDON_NOT_FOUND,
    Internal,
    Invalid,
    NotFound,
    SupervisorError,
    Unavailable,
)
from supervisor.events import EventBus, StateFileCorrupt, StoreReloaded
from supervisor.jobs import Job, JobCondition, JobManager
from supervisor.managers.resolution import Resolution
from supervisor.model.assets import AssetKind
from supervisor.model.repository import read_repository_info
from supervisor.paths import DataPaths
from supervisor.state import StateFile
from supervisor.tasks import finish

from .addon import StoreAddon
from .assets import read_asset, read_profile
from .checkouts import Checkouts, GitClient
from .index import Place, Scan, StoreIndex
from .problems import Problems
from .repository import Repository, make_repository, refused_repository, to_state

_LOGGER = logging.getLogger(__name__)

# Whether a remote can be reached is seen by asking it: a repository may lie on this machine or in its network.
FETCH_CONDITIONS: Final = (JobCondition.FREE_SPACE,)
# A store that is newer than the rest of the system may hold what that does not understand.
RELOAD_CONDITIONS: Final = (
    JobCondition.SUPERVISOR_UPDATED,
    JobCondition.OS_SUPPORTED,
    JobCondition.HOME_ASSISTANT_CORE_SUPPORTED,
)
PARALLEL_FETCHES: Final = 3


class StoreManager:
    """Owns `store.json`, the repositories' folders and the map of add-ons.

    Reading is free of cost: `addons` and `repositories` are kept in memory. A repository is fetched by one caller at a
    time. `builtin` maps the sources that are always listed to their slugs; without `with_builtin_remotes` those of them
    that lie elsewhere are fetched only by a reload or repair that names them. `loud` tells whether remarks on every
    manifest are wanted, not only those on local ones.
    """

    def __init__(
        self,
        *,
        paths: DataPaths,
        state: StateFile,
        git: GitClient,
        jobs: JobManager,
        resolution: Resolution,
        bus: EventBus,
        builtin: Mapping[str, str] = BUILTIN_REPOSITORIES,
        with_builtin_remotes: bool = True,
        loud: Callable[[], bool] = lambda: False,
    ) -> None:
        self._paths = paths
        self._state = state
        self._jobs = jobs
        self._bus = bus
        self._builtin = builtin
        self._with_builtin_remotes = with_builtin_remotes
        self._loud = loud
        self._checkouts = Checkouts(paths, git)
        self._index = StoreIndex()
        self._problems = Problems(resolution)
        self._repositories: dict[str, Repository] = {}
        self._addons: dict[str, StoreAddon] = {}
        self._fetching: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._parallel = asyncio.Semaphore(PARALLEL_FETCHES)
        self._listing = asyncio.Lock()
        self._scanning = asyncio.Lock()
        self._away: set[str] = set()
        self._settling: asyncio.Task[None] | None = None

    @property
    def addons(self) -> Mapping[str, StoreAddon]:
        """What can be installed, by full slug."""
        return self._addons

    @property
    def repositories(self) -> Mapping[str, Repository]:
        """Every listed repository by slug, whatever its state."""
        return self._repositories

    def get(self, slug: str) -> StoreAddon:
        """Return an add-on by its full slug.

        Raises:
            NotFound: the store has none.
        """
        try:
            return self._addons[slug]
        except KeyError:
            raise STORE_ADDON_NOT_FOUND(app=slug) from None

    def get_repository(self, slug: str) -> Repository:
        """Return a listed repository.

        Raises:
            NotFound: there is none.
        """
        try:
            return self._repositories[slug]
        except KeyError:
            raise NotFound(f"No repository {slug} in the store") from None

    async def read_file(self, slug: str, kind: AssetKind) -> bytes | None:
        """Return a text or picture of an add-on; None when it has none.

        Raises:
            NotFound: the store has no such add-on.
            Invalid: the file can't be read.
        """
        return await asyncio.to_thread(read_asset, self.get(slug), kind)

    async def read_profile(self, slug: str) -> bytes | None:
        """Return an add-on's AppArmor profile, unchecked; None when it has none.

        Raises:
            NotFound: the store has no such add-on.
            Invalid: the file can't be read.
        """
        return await asyncio.to_thread(read_profile, self.get(slug))

    async def read_text(self, slug: str, kind: AssetKind) -> str | None:
        """As `read_file`, decoded; what is no UTF-8 is replaced."""
        content = await self.read_file(slug, kind)
        return None if content is None else content.decode(errors="replace")

    async def load(self, inherited: Collection[str] = ()) -> None:
        """Offer what is on the disk. Nothing is fetched before this returns; the rest follows in the background.

        `inherited` are further sources, which are in the list from now on.
        """
        damaged: list[StateFileCorrupt] = []
        unsubscribe = self._bus.subscribe(StateFileCorrupt, damaged.append)
        try:
            sources = (await self._state.load())["repositories"]
        finally:
            unsubscribe()
        for text in (*self._builtin, *sources, *inherited):
            repository = self._described(text)
            self._repositories.setdefault(repository.slug, repository)
        # A list that was lost must not cost the user the clones, too.
        whole = not damaged and await asyncio.to_thread(self._state.path.exists)
        if inherited:
            await self._state.save(to_state(self._repositories))
        await self._checkouts.sweep(set(self._repositories) if whole else None)
        if (local := self._repositories.get(REPOSITORY_LOCAL)) is not None:
            await self._checkouts.remember_local(local)
        await self._rescan()
        self._settling = asyncio.create_task(self._settle(), name="store")

    async def stop(self) -> None:
        """End the background work; half a clone does not stay."""
        if self._settling is not None:
            self._settling.cancel()
            with suppress(asyncio.CancelledError):
                await self._settling

    async def reload(self, repository: str | None = None) -> None:
        """Fetch every repository or the one named, then look at all of them.

        One that can't be fetched is logged and doesn't keep the others from being updated.

        Raises:
            NotFound: there is no such repository.
            Blocked: the system is too old; what lies on this machine alone is looked at nevertheless.
            SupervisorError: the one that was named can't be fetched.
        """
        conditions = () if repository == REPOSITORY_LOCAL else RELOAD_CONDITIONS
        run = self._jobs.run(
            "store_manager_reload", reference=repository, conditions=conditions, lock="store", wait=True
        )
        async with run as job:
            if repository is not None:
                chosen = [self.get_repository(repository)]
            else:
                chosen = [known for known in self._repositories.values() if known.followed]
            touched, failures = await self._fetch_all(chosen, self._update, job)
            await self._refresh(touched)
            if repository is not None and failures:
                raise failures[0]

    async def add_repository(self, source: str) -> Repository:
        """Clone a repository, list it and offer what it holds. When it fails, nothing of it stays.

        Raises:
            Blocked: the disk is nearly full, or the system too old.
            Conflict: it is listed already.
            Invalid: the source is not accepted, can't be cloned or is no repository of add-ons.
        """
        conditions = (*FETCH_CONDITIONS, *RELOAD_CONDITIONS)
        async with self._jobs.run("store_manager_add_repository", conditions=conditions) as job:
            repository = make_repository(source, self._paths, self._builtin)
            async with self._fetching[repository.slug]:
                if repository.slug in self._repositories:
                    raise REPOSITORY_EXISTS(url=repository.source)
                job.stage("clone")
                await self._take_in(repository)
            self._problems.fetched(repository)
            _LOGGER.info("Repository %s (%s) is added", repository.slug, repository.source)
            await self._refresh({repository.slug})
        return repository

    async def remove_repository(self, slug: str, *, in_use: Collection[str] = ()) -> None:
        """Take a repository off the list and its clone off the disk. `in_use` holds the slugs that may not go.

        Raises:
            NotFound: there is no such repository.
            Invalid: it is built in or an installed add-on comes from it.
        """
        async with self._jobs.run("store_manager_remove_repository", reference=slug):
            repository = self.get_repository(slug)
            if repository.builtin:
                raise Invalid(f"Repository {slug} is built in and can't be removed")
            if slug in in_use:
                raise Invalid(f"Repository {slug} can't be removed: an installed add-on comes from it")
            async with self._fetching[slug]:
                self.get_repository(slug)
                await finish(self._unlist(repository))
            self._problems.gone(repository)
            _LOGGER.info("Repository %s (%s) is removed", slug, repository.source)
            await self._refresh({slug})

    async def replace_repositories(self, sources: Iterable[str], *, in_use: Collection[str] = ()) -> None:
        """Make `sources` and the built-in ones the list: the missing are added, the stale removed.

        Raises:
            SupervisorError: the first failure, after everything else was done.
        """
        failures: list[SupervisorError] = []
        wanted: dict[str, str] = {}
        for source in sources:
            try:
                wanted[make_repository(source, self._paths, self._builtin).slug] = source
            except Invalid as err:
                failures.append(err)
        steps = [self.add_repository(wanted[slug]) for slug in wanted if slug not in self._repositories]
        stale = [known.slug for known in self._repositories.values() if not known.builtin and known.slug not in wanted]
        removals = [self.remove_repository(slug, in_use=in_use) for slug in stale]
        for step in (*steps, *removals):
            try:
                await step
            except SupervisorError as err:
                failures.append(err)
        if failures:
            raise failures[0]

    async def repair_repository(self, slug: str) -> None:
        """Replace a repository's clone by a fresh one; the old one stays when that can't be had.

        Raises:
            NotFound: there is no such repository.
            Invalid: it is the local one, or the fresh clone is no repository of add-ons.
            Internal: it can't be cloned.
        """
        async with self._jobs.run("store_manager_repair_repository", reference=slug, conditions=FETCH_CONDITIONS):
            repository = self.get_repository(slug)
            if repository.local:
                raise REPOSITORY_LOCAL_RESET(local_repo=slug)
            async with self._fetching[slug]:
                try:
                    await self._checkouts.renew(repository)
                except SupervisorError as err:
                    _LOGGER.error("Repository %s can't be repaired: %s", slug, err)
                    raise REPOSITORY_UNKNOWN(repo=slug) from err
            self._problems.fetched(repository)
            await self._refresh({slug})
            if not repository.valid:
                raise Invalid(f"{repository.source} is not a valid repository of add-ons")

    def _described(self, text: str) -> Repository:
        try:
            repository = make_repository(text, self._paths, self._builtin)
        except Invalid as err:
            repository = refused_repository(text, self._paths)
            _LOGGER.warning("Repository %s (%s) can't be used: %s", repository.slug, repository.source, err)
            self._problems.missing(repository, err)
        else:
            away = repository.builtin and not repository.local
            repository.followed = self._with_builtin_remotes or not away
        return repository

    async def _take_in(self, repository: Repository) -> None:
        """Clone and list it; the list is written when the clone is in place, so a crash leaves an unused folder."""
        try:
            await self._checkouts.renew(repository)
            repository.info = await asyncio.to_thread(read_repository_info, repository.folder)
            repository.valid = True
            await finish(self._list(repository))
        except (Unavailable, Internal) as err:
            raise Invalid(f"{repository.source} can't be added: {err}") from err
        finally:
            if self._repositories.get(repository.slug) is not repository:
                await finish(self._checkouts.remove(repository))

    async def _list(self, repository: Repository) -> None:
        async with self._listing:
            longer = {**self._repositories, repository.slug: repository}
            await self._state.save(to_state(longer))
            self._repositories = longer

    async def _unlist(self, repository: Repository) -> None:
        async with self._listing:
            left = {slug: known for slug, known in self._repositories.items() if known is not repository}
            await self._state.save(to_state(left))
            self._repositories = left
        await self._checkouts.remove(repository)

    async def _settle(self) -> None:
        """After a start: clone what is missing, verify what is there, offer each as soon as it is ready."""
        chosen = [known for known in self._repositories.values() if known.followed and not known.local]
        try:
            await self._fetch_all(chosen, self._ensure, None)
        except Exception:
            _LOGGER.exception("Loading the repositories failed")

    async def _fetch_all(
        self, chosen: Collection[Repository], fetch: Callable[[Repository], Awaitable[bool]], job: Job | None
    ) -> tuple[set[str], list[SupervisorError]]:
        """Run `fetch` for each, a few at a time; return the slugs that changed and what failed."""
        touched: set[str] = set()
        failures: list[SupervisorError] = []
        done = 0

        async def one(repository: Repository) -> None:
            nonlocal done
            try:
                async with self._parallel, self._fetching[repository.slug]:
                    if repository.slug in self._repositories and await fetch(repository):
                        touched.add(repository.slug)
            except SupervisorError as err:
                failures.append(err)
                self._log_away(repository, err)
            else:
                self._away.discard(repository.slug)
            done += 1
            if job is not None:
                job.progress = 100 * done / (len(chosen) + 1)

        async with asyncio.TaskGroup() as group:
            for repository in chosen:
                group.create_task(one(repository))
        return touched, failures

    def _log_away(self, repository: Repository, error: SupervisorError) -> None:
        """Say once that a repository can't be fetched, not at every reload."""
        level = logging.DEBUG if repository.slug in self._away else logging.WARNING
        self._away.add(repository.slug)
        _LOGGER.log(level, "Repository %s: %s", repository.slug, error)

    async def _update(self, repository: Repository) -> bool:
        cloned_before = await self._checkouts.present(repository)
        try:
            if repository.local:
                changed = await self._checkouts.update(repository)
            else:
                name = "git_repo_pull" if cloned_before else "git_repo_clone"
                async with self._jobs.run(name, reference=repository.slug, conditions=FETCH_CONDITIONS):
                    changed = await self._checkouts.update(repository)
        except SupervisorError as err:
            (self._problems.not_updated if cloned_before else self._problems.missing)(repository, err)
            raise
        self._problems.fetched(repository)
        return changed

    async def _ensure(self, repository: Repository) -> bool:
        cloned_before = await self._checkouts.present(repository)
        try:
            # Looking after what is there needs neither space nor network.
            conditions = () if cloned_before else FETCH_CONDITIONS
            run = self._jobs.run(
                "git_repo_clone", reference=repository.slug, conditions=conditions, internal=cloned_before
            )
            async with run:
                changed = await self._checkouts.ensure(repository)
        except SupervisorError as err:
            (self._problems.damaged if cloned_before else self._problems.missing)(repository, err)
            raise
        self._problems.fetched(repository)
        if changed:
            await self._refresh({repository.slug})
        return changed

    async def _refresh(self, touched: Collection[str]) -> None:
        """Look at the disk again and tell who listens what changed; nothing is told when nothing did."""
        changed = {*touched, *await self._rescan()}
        if changed:
            self._bus.publish(StoreReloaded(tuple(sorted(changed))))

    async def _rescan(self) -> set[str]:
        """Rebuild the map of add-ons; return the slugs of the repositories whose part of it changed."""
        async with self._scanning:
            order = sorted(self._repositories.values(), key=_rebuild_order)
            places = [_place(repository, loud=self._loud()) for repository in order]
            scans = await asyncio.to_thread(self._index.scan, places)
            addons: dict[str, StoreAddon] = {}
            for repository in order:
                # It may have been removed while the disk was read.
                if repository.slug in self._repositories:
                    self._scanned(repository, scans[repository.slug], addons)
            before, self._addons = self._addons, addons
        old, new = set(before.values()), set(addons.values())
        return {addon.repository for addon in old ^ new}

    def _scanned(self, repository: Repository, scan: Scan, addons: dict[str, StoreAddon]) -> None:
        if not repository.baked_in:
            repository.info = scan.info or repository.info
            repository.valid = repository.builtin or (scan.present and scan.invalid is None)
        self._problems.scanned(repository, scan)
        for addon in scan.addons:
            if (other := addons.get(addon.slug)) is not None and self._addons.get(addon.slug) is not addon:
                _LOGGER.warning("Add-on %s: %s replaces %s", addon.slug, addon.folder, other.folder)
            addons[addon.slug] = addon


def _place(repository: Repository, *, loud: bool) -> Place:
    return Place(
        repository.slug,
        repository.folder,
        described=not repository.baked_in,
        trusted=repository.builtin,
        loud=loud or repository.local,
    )


def _rebuild_order(repository: Repository) -> tuple[int, str]:
    first = {REPOSITORY_CORE: 0, REPOSITORY_LOCAL: 1}
    return first.get(repository.slug, 2), repository.slug
