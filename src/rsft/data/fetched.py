"""Bytes of pictures that were fetched from a bucket, kept while there is room, so that a run fetches few twice."""

import threading
from collections import OrderedDict
from collections.abc import Hashable, Iterator
from contextlib import contextmanager

MOST_BYTES = 1 << 28  # that are kept in all


class Fetched:
    """The bytes that were used last, up to `most` of them; threads share it.

    Args:
        most: Number of bytes.
    """

    def __init__(self, most: int) -> None:
        self._most, self._size = most, 0
        self._kept: OrderedDict[Hashable, bytes] = OrderedDict()
        self._lock, self._here = threading.Lock(), threading.local()

    @contextmanager
    def keeping(self) -> Iterator[None]:
        """Let what this thread fetches within the block be kept, and taken from here if it was kept before."""
        self._here.on = True
        try:
            yield
        finally:
            self._here.on = False

    def get(self, source: Hashable) -> bytes | None:
        """Return what was kept of a source; None if nothing was, or outside of a block of `keeping`."""
        if not getattr(self._here, "on", False):
            return None
        with self._lock:
            if source in self._kept:
                self._kept.move_to_end(source)
            return self._kept.get(source)

    def add(self, source: Hashable, content: bytes) -> None:
        """Keep what was fetched, in place of what was used longest ago; nothing outside of a block of `keeping`."""
        if getattr(self._here, "on", False):
            with self._lock:
                self._size += len(content) - len(self._kept.pop(source, b""))
                self._kept[source] = content
                while self._size > self._most:
                    self._size -= len(self._kept.popitem(last=False)[1])

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._kept.clear()
            self._size = 0


FETCHED = Fetched(MOST_BYTES)
