"""The writing pipeline: whoever fills blocks, the cores that compress them, and the one that encrypts and writes.

Memory is bounded by the number of blocks, which go round.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Final, Self

from isal import isal_zlib

from supervisor.drivers.archive.cipher import Encryptor
from supervisor.drivers.archive.deflate import BLOCK, HEADER, Bytes, Checksum, Deflated, deflate
from supervisor.errors import BackupFatalIOError

MAX_WORKERS: Final = 4
_MAX_PIECES: Final = 512


def workers() -> int:
    """Return how many cores may compress."""
    return max(1, min(MAX_WORKERS, len(os.sched_getaffinity(0))))


def write_all(descriptor: int, pieces: Sequence[Bytes]) -> int:
    """Write every byte of `pieces`; return how many those are.

    Raises:
        BackupFatalIOError: the disk refused; how much it took is unknown.
    """
    total = 0
    try:
        for start in range(0, len(pieces), _MAX_PIECES):
            views = [memoryview(piece) for piece in pieces[start : start + _MAX_PIECES]]
            while views:
                written = os.writev(descriptor, views)
                total += written
                while views and written >= len(views[0]):
                    written -= len(views.pop(0))
                if written:
                    views[0] = views[0][written:]
    except OSError as err:
        raise BackupFatalIOError(f"The backup can't be written: {err.strerror}") from err
    return total


class BlockWriter:
    """Takes the plain bytes of one inner archive and writes them to `descriptor`, compressed and encrypted if wished.

    Use it as a context: leaving it waits for the last byte; leaving it by an error leaves the file as it is by then.
    `stored` is the number of bytes written, `packed` those before encryption.
    """

    def __init__(
        self,
        descriptor: int,
        pool: ThreadPoolExecutor | None,
        encryptor: Encryptor | None,
        heard: Callable[[Deflated, int], None] | None = None,
    ) -> None:
        """Compress in `pool`, or not at all without one.

        `heard` is called in another thread with each block and where it begins in the stream before encryption.
        """
        self._descriptor = descriptor
        self._pool = pool
        self._encryptor = encryptor
        self._heard = heard
        self._free: queue.SimpleQueue[bytearray] = queue.SimpleQueue()
        # One is being filled, one waits for the disk, and each core has one in work and one in reserve.
        count = 2 + 2 * (workers() if pool is not None else 1)
        for _ in range(count):
            self._free.put(bytearray(BLOCK))
        self._filled: queue.SimpleQueue[tuple[bytearray, Future[Deflated]] | None] = queue.SimpleQueue()
        self._block = self._free.get()
        self._at = 0
        self._problem: BaseException | None = None
        self._thread = threading.Thread(target=self._drain, name="backup-write", daemon=True)
        self.plain = 0
        self.packed = 0
        self.stored = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        try:
            if kind is None and self._at:
                self._hand_over()
        finally:
            # What is handed over may meet a full disk, and the thread with its blocks must not wait for ever.
            self._filled.put(None)
            self._thread.join()
        if kind is None and self._problem is not None:
            raise self._problem

    def write(self, data: Bytes) -> None:
        with memoryview(data) as view:
            at = 0
            while at < len(view):
                taken = min(len(view) - at, BLOCK - self._at)
                self._block[self._at : self._at + taken] = view[at : at + taken]
                at += taken
                self._filled_up(taken)

    def fill(self, size: int, read_into: Callable[[memoryview], int]) -> int:
        """Take up to `size` bytes straight from `read_into`; return fewer when that has no more."""
        taken = 0
        while taken < size:
            with memoryview(self._block) as view:
                count = read_into(view[self._at : min(BLOCK, self._at + size - taken)])
            if not count:
                break
            taken += count
            self._filled_up(count)
        return taken

    def _filled_up(self, count: int) -> None:
        self._at += count
        self.plain += count
        if self._at == BLOCK:
            self._hand_over()

    def _hand_over(self) -> None:
        if self._problem is not None:
            raise self._problem
        view = memoryview(self._block)[: self._at]
        if self._pool is not None:
            future = self._pool.submit(deflate, view)
        else:
            future = Future()
            checksum = isal_zlib.crc32(view) if self._heard is not None else 0
            future.set_result(Deflated((view,), checksum, len(view)))
        self._filled.put((self._block, future))
        self._block = self._free.get()
        self._at = 0

    def _drain(self) -> None:
        """Encrypt and write the blocks in their order; after a problem only let them pass."""
        checksum = Checksum()
        ended = False
        try:
            if self._encryptor is not None:
                self.stored += write_all(self._descriptor, (bytes(len(self._encryptor.header)),))
            if self._pool is not None:
                self._put((HEADER,))
            while (item := self._filled.get()) is not None:
                block, future = item
                deflated = future.result()
                if self._heard is not None:
                    self._heard(deflated, self.packed)
                self._put(deflated.pieces)
                checksum.add(deflated)
                self._free.put(block)
            # What stands at the end may find the disk full, too, and no block comes any more then.
            ended = True
            if self._pool is not None:
                self._put((checksum.trailer(),))
            if self._encryptor is not None:
                self.stored += write_all(self._descriptor, (self._encryptor.finish(),))
        except BaseException as err:  # noqa: BLE001 - it is raised again by whoever fills the blocks
            self._problem = err
            # Whoever waits for a free block gets one, and sees the problem with it.
            self._free.put(bytearray(BLOCK))
            while not ended and (item := self._filled.get()) is not None:
                item[1].cancel()
                self._free.put(item[0])

    def _put(self, pieces: Sequence[Bytes]) -> None:
        self.packed += sum(len(piece) for piece in pieces)
        if self._encryptor is not None:
            pieces = [sealed for piece in pieces if (sealed := self._encryptor.update(piece))]
        self.stored += write_all(self._descriptor, pieces)
