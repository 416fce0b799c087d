"""Backup archives beside `tar | gzip -6` and beside what the same library and cipher do without any bookkeeping.

The data is half text that shrinks and half random bytes. All ways are measured in turn, and the medians compared. Ours
runs in a process of its own for each measurement, so that its peak of memory is its own.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
from isal import igzip_lib, isal_zlib
from nacl import bindings as sodium
from stage import Daemon, Row, show

from supervisor.drivers.archive.ahead import Ahead
from supervisor.drivers.archive.content import Tree
from supervisor.drivers.archive.deflate import LEVEL
from supervisor.drivers.archive.keys import Keyring
from supervisor.drivers.archive.reader import ArchiveReader, open_chunks
from supervisor.drivers.archive.rules import Rules
from supervisor.drivers.archive.unpack import check, unpack
from supervisor.drivers.archive.work import Work
from supervisor.drivers.archive.writer import ArchiveWriter

MIB = 1024 * 1024
PASSWORD = "bench"
MEMBER = "share.tar.gz"


@attrs.frozen
class Measured:
    seconds: float
    peak: float = 0.0


def make_data(folder: Path, megabytes: int) -> int:
    """Fill `folder`, half with text like that of logs and databases, half with random bytes; return the size."""
    (folder / "text").mkdir(parents=True)
    (folder / "random").mkdir()
    dice = random.Random(1)
    letters = "etaoinshrdlucmfwypvbgkjqxz"
    words = ["".join(dice.choices(letters, range(26, 0, -1), k=dice.randint(2, 11))) for _ in range(20_000)]
    prose = dice.choices(words, [1 / rank for rank in range(1, 20_001)], k=1_000_000)
    half, total, number = megabytes * 1_000_000 // 2, 0, 0
    while total < half:
        size = min(half - total, dice.choice((4_000, 40_000, 400_000, 8_000_000)))
        lines: list[str] = []
        length = 0
        while length < size:
            at = dice.randrange(990_000)
            stamp = f"2026-11-{dice.randint(1, 30):02} {dice.randint(0, 23):02}:{dice.random() * 60:06.3f}"
            line = f"{stamp} INFO ({dice.choice(words)}) {' '.join(prose[at : at + dice.randint(4, 16)])}\n"
            lines.append(line)
            length += len(line)
        (folder / "text" / f"{number}.log").write_text("".join(lines)[:size])
        total += size
        number += 1
    while total < 2 * half:
        size = min(2 * half - total, dice.choice((40_000, 400_000, 8_000_000, 30_000_000)))
        (folder / "random" / f"{number}.jpg").write_bytes(os.urandom(size))
        total += size
        number += 1
    return total


def blocks(paths: list[Path]) -> Iterator[bytes]:
    for path in paths:
        with path.open("rb", buffering=0) as file:
            while block := file.read(MIB):
                yield block


def on_all_cores(work: Callable[[int], None]) -> float:
    """Run `work` once for each core, with its number; return the seconds until all are done."""
    threads = [threading.Thread(target=work, args=(core,)) for core in range(len(os.sched_getaffinity(0)))]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - began


def shares(data: Path) -> list[list[Path]]:
    """Deal the files to the cores, the large ones first, so that each has as much text and as much of the rest."""
    cores = len(os.sched_getaffinity(0))
    dealt: list[list[Path]] = [[] for _ in range(cores)]
    for kind in ("text", "random"):
        sizes = [0] * cores
        for path in sorted((data / kind).iterdir(), key=lambda path: -path.stat().st_size):
            least = sizes.index(min(sizes))
            dealt[least].append(path)
            sizes[least] += path.stat().st_size
    return dealt


def pack_limit(data: Path, folder: Path, *, sealed: bool) -> float:
    """Read, compress, encrypt and write, each core its share into a file of its own."""
    dealt = shares(data)

    def work(core: int) -> None:
        state = sodium.crypto_secretstream_xchacha20poly1305_state()
        sodium.crypto_secretstream_xchacha20poly1305_init_push(state, bytes(32))
        with (folder / f"limit{core}").open("wb", buffering=0) as out:
            for block in blocks(dealt[core]):
                compressor = isal_zlib.compressobj(LEVEL, isal_zlib.DEFLATED, -15)
                for piece in (compressor.compress(block), compressor.flush(isal_zlib.Z_SYNC_FLUSH)):
                    if piece:
                        out.write(sodium.crypto_secretstream_xchacha20poly1305_push(state, piece) if sealed else piece)
            os.fsync(out.fileno())

    return on_all_cores(work)


def unpack_limit(archive: Path, target: Path, *, sealed: bool) -> float:
    """Decrypt, inflate and write what our archive holds as one file, each step in a thread of its own."""
    keyring = Keyring(PASSWORD) if sealed else None
    began = time.perf_counter()
    with ArchiveReader(archive) as reader, target.open("wb", buffering=0) as out:
        _, chunks = open_chunks(reader.inner[MEMBER], keyring)
        decompressor = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
        with Ahead(chunks, "bench") as ahead:
            for chunk in ahead:
                out.write(decompressor.decompress(chunk, MIB))
                while not decompressor.needs_input and not decompressor.eof:
                    out.write(decompressor.decompress(b"", MIB))
    return time.perf_counter() - began


def gzip_six(data: Path, out: Path) -> float:
    began = time.perf_counter()
    subprocess.run(f"tar cf - -C '{data}' . | gzip -6 >'{out}'", shell=True, check=True)
    return time.perf_counter() - began


def peak() -> float:
    """Return the most memory that this process ever had, in MB."""
    return int(re.findall(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[0]) / 1000


def child(action: str, data: Path, folder: Path, *, sealed: bool) -> Measured:
    """Do one thing our way, in this process."""
    archive, keyring = folder / "ours.tar", Keyring(PASSWORD) if sealed else None
    idle, began = peak(), time.perf_counter()
    if action == "pack":
        with ArchiveWriter(archive, compressed=True, password=PASSWORD if sealed else None) as writer:
            writer.add(MEMBER, [Tree(".", data)], Work())
            writer.finish(b"{}")
    else:
        with ArchiveReader(archive) as reader:
            part = reader.inner[MEMBER]
            if action == "unpack":
                unpack(part, keyring, folder / "unpacked", Rules(), Work())
            else:
                check(part, keyring, Rules(), Work())
    return Measured(time.perf_counter() - began, peak() - idle)


def ours(action: str, folder: Path, *, sealed: bool) -> Measured:
    if action == "pack":
        (folder / "ours.tar").unlink(missing_ok=True)
    elif action == "unpack":
        shutil.rmtree(folder / "unpacked", ignore_errors=True)
        (folder / "unpacked").mkdir()
    arguments = ["--folder", str(folder), "--child", action, *(["--sealed"] if sealed else [])]
    done = subprocess.run((sys.executable, __file__, *arguments), check=True, capture_output=True, text=True)
    os.sync()
    return Measured(*json.loads(done.stdout))


def median(values: list[float]) -> float:
    return statistics.median(values)


class Whole:
    """The daemon with the data in its share, asked for a backup as a user asks, and for the restore of it."""

    def __init__(self, folder: Path, data: Path) -> None:
        self._daemon = Daemon(folder)
        (folder / "data").mkdir(parents=True)
        data.rename(folder / "data/share")
        self.packs: dict[bool, list[float]] = {False: [], True: []}
        self.unpacks: dict[bool, list[float]] = {False: [], True: []}
        self.looks: dict[str, float] = {}
        self.peak = 0.0

    def measure(self, rounds: int) -> None:
        self._daemon.start()
        try:
            # A first small one, so that all that is loaded once is there.
            self._round({"folders": ["ssl"], "password": PASSWORD})
            idle = self._daemon.peak
            for _ in range(rounds):
                for sealed in (False, True):
                    wish = {"folders": ["share"], **({"password": PASSWORD} if sealed else {})}
                    packed, unpacked = self._round(wish)
                    self.packs[sealed].append(packed)
                    self.unpacks[sealed].append(unpacked)
            self._look(rounds)
            self.peak = self._daemon.peak - idle
        finally:
            self._daemon.stop()

    def _look(self, rounds: int) -> None:
        """List a folder and get one file: of a backup that was made here, and of one that came from elsewhere."""
        share = self._daemon.folder / "data/share"
        (share / "text/small").write_text("small")
        wish = {"folders": ["share"], "password": PASSWORD}
        made = self._daemon.ask("POST", "/backups/new/partial", wish)["data"]["slug"]
        one = f"/backups/{made}"
        taken: dict[str, list[float]] = {}

        def timed(what: str, path: str) -> None:
            began = time.perf_counter()
            if what.startswith("list"):
                self._daemon.ask("POST", f"{one}/files", {"path": path, "password": PASSWORD})
            else:
                self._daemon.read("POST", f"{one}/content", {"path": path, "password": PASSWORD})
            taken.setdefault(what, []).append(time.perf_counter() - began)

        indexes = self._daemon.folder / "data/backup_indexes"
        for _ in range(rounds):
            timed("list a folder", "share/text")
            timed("get a small file", "share/text/small")
        for _ in range(rounds):
            for index in indexes.iterdir():
                index.unlink()
            timed("list a folder, the first look into a file from elsewhere", "share/text")
            timed("list a folder, a later look into it", "share/text")
            timed("get a small file of it", "share/text/small")
        self._daemon.ask("DELETE", one)
        self.looks = {what: median(seconds) for what, seconds in taken.items()}

    def _round(self, wish: dict[str, Any]) -> tuple[float, float]:
        began = time.perf_counter()
        slug = self._daemon.ask("POST", "/backups/new/partial", wish)["data"]["slug"]
        made = time.perf_counter()
        self._daemon.ask("POST", f"/backups/{slug}/restore/partial", wish)
        restored = time.perf_counter()
        self._daemon.ask("DELETE", f"/backups/{slug}")
        os.sync()
        return made - began, restored - made


def measure(folder: Path, megabytes: int, rounds: int) -> Iterator[Row]:
    data = folder / "data"
    size = make_data(data, megabytes) / 1e6
    os.sync()
    gzips: list[float] = []
    packs: dict[bool, list[tuple[float, Measured]]] = {False: [], True: []}
    unpacks: dict[bool, list[tuple[float, Measured]]] = {False: [], True: []}
    checks: list[float] = []
    for _ in range(rounds):
        gzips.append(gzip_six(data, folder / "gzip.tgz"))
        (folder / "gzip.tgz").unlink()
        os.sync()
        for sealed in (False, True):
            limit = pack_limit(data, folder, sealed=sealed)
            packs[sealed].append((limit, ours("pack", folder, sealed=sealed)))
            limit = unpack_limit(folder / "ours.tar", folder / "limit", sealed=sealed)
            (folder / "limit").unlink()
            os.sync()
            unpacks[sealed].append((limit, ours("unpack", folder, sealed=sealed)))
        checks.append(ours("check", folder, sealed=True).seconds)
    through = Whole(folder / "daemon", data)
    through.measure(rounds)
    whole = median(gzips)
    yield Row(f"tar | gzip -6 of {size:.0f} MB", f"{whole:.1f} s")
    peaks = []
    for sealed, wanted in ((False, 0.09), (True, 0.15)):
        what = "with a password" if sealed else "without a password"
        mine = median([measured.seconds for _, measured in packs[sealed]])
        limit = median([limit for limit, _ in packs[sealed]])
        share = mine / whole
        yield Row(
            f"backup {what}, of tar | gzip -6", f"{share:.1%} ({mine:.2f} s)", f"<= {wanted:.0%}", share <= wanted
        )
        reached = limit / mine
        yield Row(f"backup {what}, of the pipeline limit", f"{reached:.0%} ({limit:.2f} s)", ">= 80%", reached >= 0.8)
        peaks += [measured.peak for _, measured in packs[sealed]]
        mine = median(through.packs[sealed])
        share = mine / whole
        yield Row(
            "the same through the daemon, of tar | gzip -6",
            f"{share:.1%} ({mine:.2f} s)",
            f"<= {wanted:.0%}",
            share <= wanted,
        )
    for sealed, pairs in unpacks.items():
        what = "with a password" if sealed else "without a password"
        mine = median([measured.seconds for _, measured in pairs])
        reached = median([limit for limit, _ in pairs]) / mine
        good = size / mine >= 150 or reached >= 0.8
        value = f"{size / mine:.0f} MB/s, {reached:.0%} of the limit"
        yield Row(f"restore {what}", value, "150 or 80%", good)
        peaks += [measured.peak for _, measured in pairs]
        rate = size / median(through.unpacks[sealed])
        reached = median([limit for limit, _ in pairs]) / median(through.unpacks[sealed])
        good = rate >= 150 or reached >= 0.8
        yield Row("the same through the daemon", f"{rate:.0f} MB/s, {reached:.0%} of the limit", "150 or 80%", good)
    peaks.append(through.peak)
    yield Row("verify with a password", f"{size / median(checks):.0f} MB/s")
    for what, seconds in through.looks.items():
        limit = {"list a folder": 1.0, "get a small file": 1.0, "list a folder, a later look into it": 1.0}.get(what)
        wanted = f"<= {limit:.0f} s" if limit else ""
        yield Row(f"{what}, with a password", f"{seconds:.2f} s", wanted, seconds <= limit if limit else None)
    yield Row("peak of memory above idle", f"{max(peaks):.0f} MB", "< 64 MB", max(peaks) < 64)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--child")
    parser.add_argument("--sealed", action="store_true")
    given = parser.parse_args()
    if given.child:
        print(json.dumps(attrs.astuple(child(given.child, given.folder / "data", given.folder, sealed=given.sealed))))
        return 0
    given.folder.mkdir(parents=True)
    try:
        rows = list(measure(given.folder, 200 if given.quick else 1000, 1 if given.quick else 3))
    finally:
        shutil.rmtree(given.folder, ignore_errors=True)
    return show(rows)


if __name__ == "__main__":
    sys.exit(main())
