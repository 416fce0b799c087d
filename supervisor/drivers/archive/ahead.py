"""A stage of a pipeline: an iterator that runs ahead of its consumer, in a thread of its own."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from types import TracebackType
from typing import Final, Generic, TypeVar

T = TypeVar("T")
DEPTH: Final = 4


class Ahead(Generic[T]):
    """Iterate `source` in a thread, at most `DEPTH` items ahead; its errors come out where its items would.

    Leaving the context ends the thread and waits for it.
    """

    def __init__(self, source: Iterator[T], name: str) -> None:
        self._source = source
        self._items: queue.Queue[tuple[T] | BaseException | None] = queue.Queue(DEPTH)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def __enter__(self) -> Iterator[T]:
        self._thread.start()
        return self._iterate()

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self._ended.set()
        # A stage that waits for room finds some, sees the end and stops.
        while self._thread.is_alive():
            try:
                self._items.get(timeout=0.01)
            except queue.Empty:
                self._thread.join(0.01)
        self._thread.join()

    def _iterate(self) -> Iterator[T]:
        while True:
            item = self._items.get()
            if item is None:
                return
            if isinstance(item, BaseException):
                raise item
            yield item[0]

    def _run(self) -> None:
        try:
            for item in self._source:
                self._items.put((item,))
                if self._ended.is_set():
                    return
        except BaseException as err:  # noqa: BLE001 - it is raised again where the items are taken
            self._items.put(err)
        else:
            self._items.put(None)
