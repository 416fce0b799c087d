"""State files survive crashes, damage, links and full disks."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import voluptuous as vol
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisor import state
from supervisor.errors import Internal
from supervisor.events import EventBus, StateFileCorrupt
from supervisor.state import StateFile, write_atomic

SCHEMA = vol.Schema({vol.Optional("n", default=0): int, vol.Optional("pad", default=""): str})


SECRET = "grandmother's maiden name"
# A process for every step at which it is killed; they are forked, as to start Python anew takes longer than the rest.
CRASHING_SAVES = """
import asyncio, os, signal, sys
from pathlib import Path
import voluptuous as vol
from supervisor.events import EventBus
from supervisor.state import StateFile

root, secret = Path(sys.argv[1]), len(sys.argv) > 2
count = 0

def audit(event, args):
    global count
    names = [str(arg) for arg in args if isinstance(arg, (str, os.PathLike))]
    touches = any(str(path.parent) in name for name in names)
    if event in ("os.remove", "os.link", "os.rename", "open") and touches:
        count += 1
        if count == crash_at:
            os.kill(os.getpid(), signal.SIGKILL)

async def main():
    file = StateFile(path, vol.Schema({"n": int, "pad": str}), EventBus(), secret=secret)
    sys.addaudithook(audit)
    await file.save({"n": 2, "pad": "x" * 10000})

for crash_at in range(1, 16):
    path = root / f"{crash_at}" / "a.json"
    child = os.fork()
    if not child:
        asyncio.run(main())
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(code)
    if code == 0:
        break
"""


def state_file(path: Path, bus: EventBus | None = None) -> StateFile:
    return StateFile(path, SCHEMA, bus or EventBus())


async def test_what_was_saved_is_loaded_again(tmp_path: Path) -> None:
    file = state_file(tmp_path / "a.json")
    await file.save({"n": 7})
    assert await file.load() == {"n": 7, "pad": ""}
    assert (tmp_path / "a.json").stat().st_mode & 0o777 == 0o600


async def test_without_a_file_the_defaults_are_loaded(tmp_path: Path) -> None:
    assert await state_file(tmp_path / "a.json").load() == {"n": 0, "pad": ""}
    assert not os.listdir(tmp_path)  # noqa: PTH208 - one word


@pytest.mark.parametrize("kind", [(), ("secret",)])
async def test_a_kill_before_any_step_of_a_save_leaves_the_old_or_the_new(
    tmp_path: Path, kind: tuple[str, ...]
) -> None:
    paths = [tmp_path / f"{crash_at}" / "a.json" for crash_at in range(1, 16)]
    for path in paths:
        path.parent.mkdir()
        await state_file(path).save({"n": 0})
        await state_file(path).save({"n": 1})
    command = [sys.executable, "-c", CRASHING_SAVES, str(tmp_path), *kind]
    done = await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True, text=True)
    codes = [int(code) for code in done.stdout.split()]
    outcomes = set()
    for path, code in zip(paths, codes, strict=False):
        bus, news = EventBus(), []
        bus.subscribe(StateFileCorrupt, news.append)
        loaded = await state_file(path, bus).load()
        assert loaded["n"] in {1, 2}
        assert news == []
        outcomes.add((code, loaded["n"]))
        await state_file(path).save({"n": 3})
        assert (await state_file(path).load())["n"] == 3
    assert outcomes >= {(-signal.SIGKILL, 1), (0, 2)}
    assert len(codes) > 5, "the save was not cut off at every step"


async def test_a_damaged_file_is_kept_aside_and_the_last_good_copy_is_used(tmp_path: Path) -> None:
    bus, news = EventBus(), []
    bus.subscribe(StateFileCorrupt, news.append)
    file = state_file(tmp_path / "a.json", bus)
    await file.save({"n": 1})
    await file.save({"n": 2})
    (tmp_path / "a.json").write_text('{"n": 2')
    assert (await file.load())["n"] == 1
    [event] = news
    assert event.recovered
    assert event.kept.read_text() == '{"n": 2'
    assert event.kept.name.startswith("a.json.corrupt-")
    await file.save({"n": 3})
    assert (await state_file(tmp_path / "a.json").load())["n"] == 3


async def test_what_was_taken_out_of_a_file_with_secrets_is_nowhere_any_more(tmp_path: Path) -> None:
    bus, news = EventBus(), []
    bus.subscribe(StateFileCorrupt, news.append)
    file = StateFile(tmp_path / "a.json", SCHEMA, bus, secret=True)
    await file.save({"n": 1, "pad": SECRET})
    await file.save({"n": 2})
    files = [tmp_path / name for name in os.listdir(tmp_path)]  # noqa: PTH208 - one word
    assert len(files) == 2
    for path in files:
        assert (SECRET in path.read_text(), path.stat().st_mode & 0o777) == (False, 0o600)
    # Written over in its place, as some editors do.
    with (tmp_path / "a.json").open("r+") as opened:
        opened.write("nothing that makes sense")
    assert (await file.load())["n"] == 2
    assert [event.recovered for event in news] == [True]


async def test_without_a_last_good_copy_the_defaults_are_used_and_told(tmp_path: Path) -> None:
    bus, news = EventBus(), []
    bus.subscribe(StateFileCorrupt, news.append)
    (tmp_path / "a.json").write_text('{"n": "many"}')
    assert (await state_file(tmp_path / "a.json", bus).load())["n"] == 0
    assert [event.recovered for event in news] == [False]


async def test_when_only_the_last_good_copy_is_left_it_is_used(tmp_path: Path) -> None:
    file = state_file(tmp_path / "a.json")
    await file.save({"n": 1})
    await file.save({"n": 2})
    (tmp_path / "a.json").unlink()
    assert (await file.load())["n"] == 1


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_in_the_file_load_as_something_that_fits_the_schema(content: bytes) -> None:
    folder = Path(f"/dev/shm/state-{os.getpid()}")
    folder.mkdir(exist_ok=True)
    try:
        (folder / "a.json").write_bytes(content)
        loaded = asyncio.run(state_file(folder / "a.json").load())
        assert SCHEMA(loaded) == loaded
    finally:
        for entry in folder.iterdir():
            entry.unlink()
        folder.rmdir()


async def test_saves_at_once_are_written_in_the_order_of_their_calls(tmp_path: Path) -> None:
    file = state_file(tmp_path / "a.json")
    await asyncio.gather(*(file.save({"n": n}) for n in range(20)))
    assert (await file.load())["n"] == 19


async def test_a_save_keeps_the_content_of_its_call(tmp_path: Path) -> None:
    file, data = state_file(tmp_path / "a.json"), {"n": 1}
    saving = asyncio.ensure_future(file.save(data))
    await asyncio.sleep(0)
    data["n"] = 2
    await saving
    assert (await file.load())["n"] == 1


async def test_a_cancelled_save_never_lands_after_a_later_one(tmp_path: Path) -> None:
    file = state_file(tmp_path / "a.json")
    for turn in range(15):
        first = asyncio.ensure_future(file.save({"n": -1, "pad": "x" * 2_000_000}))
        await asyncio.sleep(0.001)
        first.cancel()
        second = asyncio.ensure_future(file.save({"n": turn}))
        await second
        await asyncio.gather(first, return_exceptions=True)
        assert (await file.load())["n"] == turn


async def test_data_that_does_not_fit_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    file = state_file(tmp_path / "a.json")
    await file.save({"n": 1})
    with pytest.raises(vol.Invalid):
        await file.save({"n": "one"})
    assert (await file.load())["n"] == 1


@pytest.mark.parametrize("name", ["a.json", ".a.json.new", ".a.json.link", ".a.json.last-good"])
async def test_a_link_planted_in_the_folder_is_never_written_through(tmp_path: Path, name: str) -> None:
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / name).symlink_to(victim)
    file = state_file(folder / "a.json")
    await file.save({"n": 1})
    await file.save({"n": 2})
    assert victim.read_text() == "untouched"
    assert not (folder / "a.json").is_symlink()
    assert json.loads((folder / "a.json").read_text())["n"] == 2


async def test_a_disk_that_refuses_keeps_the_old_content(tmp_path: Path) -> None:
    file = state_file(tmp_path / "a.json")
    await file.save({"n": 1})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(Internal, match=r"a\.json can't be written"):
            await file.save({"n": 2, "pad": "x" * 5000})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, previous)
    assert (await file.load())["n"] == 1
    await file.save({"n": 3})
    assert (await file.load())["n"] == 3


def test_an_atomic_write_syncs_the_content_before_the_rename_and_the_folder_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    sync, rename = os.fsync, Path.rename

    def spied_sync(descriptor: int) -> None:
        steps.append("folder" if Path(f"/proc/self/fd/{descriptor}").readlink() == tmp_path else "content")
        sync(descriptor)

    def spied_rename(self: Path, target: Path) -> Path:
        steps.append("rename")
        return rename(self, target)

    monkeypatch.setattr(state.os, "fsync", spied_sync)
    monkeypatch.setattr(Path, "rename", spied_rename)
    write_atomic(tmp_path / "file", b"x")
    assert steps == ["content", "rename", "folder"]
