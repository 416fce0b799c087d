"""AppArmor profiles that add-ons bring along (add-on contract §1.11)."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.errors import Internal, Invalid, SupervisorError
from supervisor.events import EventBus
from supervisor.managers.apparmor import AppArmor
from supervisor.managers.resolution import Resolution, UnsupportedReason
from supervisor.model.apparmor import MAX_PROFILE_BYTES, adjusted_profile, profile_name
from supervisor.paths import DataPaths

SLUG = "abcdef01_lamp"
PROFILE = """\
#include <tunables/global>
# profile commented_out {

@{lamp} = /usr/bin/lamp

profile lamp flags=(attach_disconnected,mediate_deleted) {
  #include <abstractions/base>
  include if exists <local/lamp>

  file,
  signal (send) set=(kill,term,int,hup,cont),
  /dev/{tty,null}* rw,
  deny @{PROC}/{*,**^[0-9*],sys/kernel/shm*} wkx,
  /usr/include/** r, # and what it may include
  /usr/bin/lamp cx -> lamp_child,

  profile lamp_child flags=(attach_disconnected) {
    /data/** rw,
  }
}
"""


def test_the_profile_gets_the_name_of_the_add_on_and_stays_as_it_is_otherwise() -> None:
    adjusted = adjusted_profile(PROFILE.encode(), SLUG)
    assert profile_name(PROFILE) == "lamp"
    assert profile_name(adjusted) == SLUG
    assert adjusted == PROFILE.replace("profile lamp flags", f"profile {SLUG} flags")
    assert adjusted_profile(adjusted.encode(), SLUG) == adjusted


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        ("profile lamp {", f"profile {SLUG} {{"),
        ('profile "my lamp" {', f"profile {SLUG} {{"),
        ("profile lamp\n{", f"profile {SLUG} {{"),
        ("profile lamp (complain) {", f"profile {SLUG} (complain) {{"),
        ("profile lamp /usr/bin/dockerd {", f"profile {SLUG} {{"),
        ("profile lamp /** flags=(complain) {", f"profile {SLUG} flags=(complain) {{"),
        ("profile lamp /usr/bin/x xattrs=(a=b) flags=(complain){", f"profile {SLUG} flags=(complain) {{"),
    ],
)
def test_programs_of_the_host_that_a_profile_would_take_hold_of_are_taken_out(header: str, wanted: str) -> None:
    assert adjusted_profile(f"{header}\n  file,\n}}\n".encode(), SLUG) == f"{wanted}\n  file,\n}}\n"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "exactly one"),
        ("# profile lamp {\n}", "exactly one"),
        ("  profile lamp {\n  file,\n}\n", "exactly one"),
        ("profile a {\n}\nprofile b {\n}\n", "exactly one"),
        ("profile a {\n}\n  profile b {\n}\n", "nothing beside"),
        ("profile a {\n}\n/usr/bin/dockerd {\n  deny /** rwx,\n}\n", "nothing beside"),
        ("/usr/bin/dockerd {\n}\nprofile a {\n}\n", "nothing beside"),
        ("profile a {\n}\n^hat {\n}\n", "nothing beside"),
        ('include "/etc/passwd"\nprofile a {\n}\n', "found 'include"),
        ("include <../../../data/x>\nprofile a {\n}\n", "found 'include"),
        ('profile a {\n  file, include "/x"\n}\n', "found 'include"),
        ("profile a {\n  #include </mnt/data/share/x>\n}\n", "found '#include"),
        ("profile a {\n  include if exists <a/../../x>\n}\n", "found 'include"),
        ("profile a {\n", "as many opening"),
        ("profile a {\n}\n}\n", "as many opening"),
        ("profile /usr/{bin,sbin}/x {\n}\n", "nothing beside"),
    ],
)
def test_a_file_with_anything_but_one_profile_is_refused(text: str, reason: str) -> None:
    with pytest.raises(Invalid, match=reason):
        adjusted_profile(text.encode(), SLUG)


@pytest.mark.parametrize("content", [b"\xff", b"profile a {\0}", b"#" * (MAX_PROFILE_BYTES + 1)])
def test_what_is_no_text_is_refused(content: bytes) -> None:
    with pytest.raises(Invalid):
        adjusted_profile(content, SLUG)


@given(st.binary(max_size=300) | st.text(alphabet='profile ab{}#"@\n/,=()').map(lambda text: text.encode()))
def test_whatever_the_file_holds_it_becomes_the_add_on_s_profile_or_is_refused(content: bytes) -> None:
    try:
        adjusted = adjusted_profile(content, SLUG)
    except Invalid:
        return
    assert profile_name(adjusted) == SLUG


class Loader:
    """A host that loads profiles; `refusal` is what it says to everything."""

    def __init__(self) -> None:
        self.available = True
        self.loaded: dict[Path, str] = {}
        self.refusal: SupervisorError | None = None

    async def load_profile(self, profile: Path, cache: Path) -> None:
        assert cache.name == "cache"
        if self.refusal is not None:
            raise self.refusal
        self.loaded[profile] = self.here(profile).read_text()

    async def unload_profile(self, profile: Path, cache: Path) -> None:
        if self.refusal is not None:
            raise self.refusal
        assert self.here(profile).exists(), "the host reads the file to know what to unload"
        del self.loaded[profile]

    def here(self, profile: Path) -> Path:
        return self.root / profile.relative_to("/mnt/data")

    root: Path


@pytest.fixture
def resolution() -> Resolution:
    return Resolution(EventBus())


@pytest.fixture
def loader(tmp_path: Path) -> Loader:
    loader = Loader()
    loader.root = tmp_path
    return loader


@pytest.fixture
def apparmor(tmp_path: Path, resolution: Resolution, loader: Loader) -> AppArmor:
    paths = DataPaths(tmp_path, Path("/mnt/data"))
    paths.create()
    return AppArmor(paths, resolution, loader)


def named(slug: str, rule: str = "file,") -> str:
    return f"profile {slug} {{\n  {rule}\n}}\n"


HOST = Path("/mnt/data/apparmor")


async def test_a_profile_is_stored_loaded_replaced_and_removed(apparmor: AppArmor, loader: Loader) -> None:
    await apparmor.install(SLUG, named(SLUG))
    assert loader.loaded == {HOST / SLUG: named(SLUG)}
    assert apparmor.profiles == {SLUG}
    await apparmor.install(SLUG, named(SLUG, "network,"))
    assert loader.loaded == {HOST / SLUG: named(SLUG, "network,")}
    assert await apparmor.text(SLUG) == named(SLUG, "network,")
    await apparmor.install(SLUG, None)
    assert (loader.loaded, apparmor.profiles, await apparmor.text(SLUG)) == ({}, frozenset(), None)
    await apparmor.remove(SLUG)


async def test_a_profile_with_the_name_of_another_is_refused(apparmor: AppArmor, loader: Loader) -> None:
    for profile in (named("docker-default"), "nonsense"):
        with pytest.raises(Invalid) as caught:
            await apparmor.install(SLUG, profile)
        assert caught.value.key == "app_apparmor_profile_invalid_error"
    assert (loader.loaded, apparmor.profiles) == ({}, frozenset())


async def test_a_profile_that_can_t_be_loaded_leaves_the_earlier_one(apparmor: AppArmor, loader: Loader) -> None:
    await apparmor.install(SLUG, named(SLUG))
    loader.refusal = Internal("syntax error")
    with pytest.raises(Internal):
        await apparmor.install(SLUG, named(SLUG, "network,"))
    assert await apparmor.text(SLUG) == named(SLUG)
    with pytest.raises(Internal):
        await apparmor.install("other", named("other"))
    assert apparmor.profiles == {SLUG}
    await apparmor.remove(SLUG)
    assert apparmor.profiles == frozenset(), "a host that refuses to unload keeps nobody from uninstalling"


async def test_every_profile_is_loaded_at_the_start(apparmor: AppArmor, loader: Loader, tmp_path: Path) -> None:
    for slug in ("one", "two"):
        (tmp_path / "apparmor" / slug).write_text(named(slug))
    await apparmor.load()
    assert set(loader.loaded) == {HOST / "one", HOST / "two"}
    assert apparmor.profiles == {"one", "two"}
    loader.refusal = Internal("not today")
    await apparmor.load()
    assert apparmor.profiles == {"one", "two"}


async def test_it_is_available_when_the_host_loads_and_is_not_known_to_be_unfit(
    apparmor: AppArmor, loader: Loader, resolution: Resolution, tmp_path: Path
) -> None:
    assert apparmor.available
    resolution.set_unsupported(UnsupportedReason.APPARMOR, True)
    assert not apparmor.available
    resolution.set_unsupported(UnsupportedReason.APPARMOR, False)
    loader.available = False
    assert not apparmor.available
    await apparmor.install(SLUG, named(SLUG))
    assert (loader.loaded, apparmor.profiles) == ({}, {SLUG}), "kept for the day when somebody loads it"
    without = AppArmor(DataPaths(tmp_path, tmp_path), resolution, None)
    await without.load()
    assert (without.available, without.profiles) == (False, {SLUG})


async def test_a_folder_that_can_t_be_written_is_a_clear_error(apparmor: AppArmor, tmp_path: Path) -> None:
    (tmp_path / "apparmor" / SLUG / "in-the-way").mkdir(parents=True)
    with pytest.raises(Internal, match="can't be stored"):
        await apparmor.install(SLUG, named(SLUG))
    assert apparmor.profiles == frozenset()
