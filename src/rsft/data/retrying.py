"""Reads of pictures from disks that fail for a moment, are slow or go away, as those of a network may."""

import errno
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from rsft.errors import DiskGoneError

T = TypeVar("T")
log = logging.getLogger(__name__)
# What may be over in a moment: a server that restarts, a cable, a mount that is stale.
PASSING = {
    *(errno.EIO, errno.EAGAIN, errno.EBUSY, errno.ETIMEDOUT, errno.ESTALE, errno.EREMOTEIO, errno.ENOTCONN),
    *(errno.ECONNRESET, errno.ECONNABORTED, errno.ECONNREFUSED, errno.EHOSTDOWN, errno.EHOSTUNREACH),
    *(errno.ENETDOWN, errno.ENETRESET, errno.ENETUNREACH),
}
GONE = {errno.ENOENT, errno.ENODEV, errno.ENXIO}  # what a disk that was taken away gives
WAITS = (0.2, 1.0, 3.0)  # seconds before each further try
STREAK = 100  # reads in a row that fail, from which on the disk has failed and not the pictures
SLOW_WORDS = "'%s' is still being read after %.0f s: its disk is slow, or does not answer"
SLOW = 30.0  # seconds after which a read is spoken of, and again when they have doubled


class _Streak:
    """Counts the reads in a row that failed, in all threads."""

    def __init__(self) -> None:
        self._lock, self._failed = threading.Lock(), 0

    def ended(self) -> None:
        if self._failed:
            with self._lock:
                self._failed = 0

    def goes_on(self) -> int:
        with self._lock:
            self._failed += 1
            return self._failed


@dataclass
class _Read:
    """A read that is going on.

    Attributes:
        name: What is read.
        since: When it began, by `time.monotonic`.
        patience: Seconds after which it is spoken of.
    """

    name: str
    since: float
    patience: float


class _Watch:
    """Speaks of reads that take long, from a thread of its own."""

    def __init__(self) -> None:
        self._lock, self._reads = threading.Lock(), dict[int, _Read]()
        self._thread: threading.Thread | None = None

    @contextmanager
    def watching(self, name: str) -> Iterator[None]:
        """Watch what the block reads, which a message calls `name`."""
        reader = threading.get_ident()
        with self._lock:
            self._reads[reader] = _Read(name, time.monotonic(), SLOW)
            if self._thread is None or not self._thread.is_alive():  # a fork has no threads
                self._thread = threading.Thread(target=self._look, daemon=True, name="slow reads")
                self._thread.start()
        try:
            yield
        finally:
            with self._lock:
                del self._reads[reader]

    def _look(self) -> None:
        while True:
            time.sleep(SLOW / 3)
            now = time.monotonic()
            with self._lock:
                slow = [read for read in self._reads.values() if now - read.since >= read.patience]
            for read in slow:
                read.patience *= 2
                log.warning(SLOW_WORDS, read.name, now - read.since)


_streak, _watch = _Streak(), _Watch()


def retried(read: Callable[[], T], name: str, *, counts: bool = True) -> T:
    """Call a function that reads a file of pictures; call it again, after `WAITS`, if the disk fails for a moment.

    A read that takes long is logged. Of a single file that cannot be read, the error is raised; but if so many in a
    row cannot be read, the disk itself has failed, and to go on would leave out all other pictures.

    Args:
        read: The function.
        name: What it reads, for messages.
        counts: Whether it counts among the reads in a row: what a system remembers of a file does not tell whether its
            disk is there.

    Raises:
        OSError: The file cannot be read. After several tries, the message says how many.
        DiskGoneError: Nor can the `STREAK` files before it.
    """
    for wait in (*WAITS, None):
        try:
            with _watch.watching(name):
                result = read()
        except OSError as error:
            if error.errno in PASSING and wait is not None:
                time.sleep(wait)
                continue
            if counts and error.errno in PASSING | GONE and _streak.goes_on() >= STREAK:
                raise DiskGoneError(
                    f"the last {STREAK} files that were to be read could not be, such as '{name}' "
                    f"({error.strerror}): see that their disk is connected, and run again."
                ) from error
            if error.errno in PASSING:
                told = f"{error.strerror}, in each of {len(WAITS) + 1} tries"
                raise OSError(error.errno, told, error.filename) from error
            raise
        if counts:
            _streak.ended()
        return result
    raise AssertionError("the last try returns or raises")
