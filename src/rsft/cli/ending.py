"""The end of a command by Ctrl-C or SIGTERM: one line, within ten seconds, and the exit code that shells expect."""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
GRACE_SECONDS = 8.0  # after which a command that has not ended by itself, such as in a long computation, is ended
OF_SIGNAL = 128  # what shells add to the number of a signal for the exit code
CONTINUED = {
    **dict.fromkeys(("fit", "rerun", "embed"), "run again with --resume to reuse what was embedded"),
    "compare": "what was trained is kept: run again with the same --out to continue",
}


class EndedError(BaseException):
    """A signal asked the command to end. No handler of ordinary errors catches it."""


class Ending:
    """What is known of the end of a command.

    Attributes:
        number: The first of `SIGNALS` that arrived, or None.
    """

    def __init__(self) -> None:
        self.number: int | None = None

    @property
    def code(self) -> int:
        """The exit code: 130 after Ctrl-C, 143 after SIGTERM."""
        return OF_SIGNAL + (self.number or signal.SIGINT)


@contextmanager
def ending_on_signals(tell: Callable[[Ending], object]) -> Iterator[Ending]:
    """Let the first SIGINT or SIGTERM raise `EndedError`, and end the process if that does not end the block in time.

    Signals that the process ignores, as a background job ignores SIGINT, stay ignored.

    Args:
        tell: Prints why the process ends, if it has to be ended.
    """
    ending = Ending()
    if threading.current_thread() is not threading.main_thread():
        yield ending
        return

    raised = False

    def end(number: int, frame: FrameType | None) -> None:
        nonlocal raised
        ending.number = ending.number or number
        if not raised:  # a second signal must not cut short the way out
            raised = True
            raise EndedError

    usual = {number: signal.getsignal(number) for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN}
    done, (reading, writing) = threading.Event(), os.pipe()
    os.set_blocking(writing, False)

    def watch() -> None:
        """Wait for a signal, also while the main thread computes and cannot handle it."""
        while numbers := os.read(reading, 16):
            ending.number = ending.number or next((number for number in numbers if number in usual), None)
            if ending.number is not None and not done.wait(GRACE_SECONDS):
                tell(ending)
                end_now(ending.code)

    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        for number in usual:
            signal.signal(number, end)
        yield ending
    finally:
        done.set()
        for number, handler in usual.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(before)
        os.close(writing)
        watcher.join(1.0)
        os.close(reading)


def end_now(code: int) -> None:
    """End this process and its child processes at once, whatever its threads wait for."""
    for child in multiprocessing.active_children():
        child.kill()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def in_words(ending: Ending, arguments: list[str]) -> str:
    """Say that a command was interrupted, what of it is kept, and how it can be continued.

    Args:
        ending: Its end.
        arguments: Its command line, without the program.
    """
    how = "interrupted by SIGTERM" if ending.number == signal.SIGTERM else "interrupted"
    command = arguments[0] if arguments else ""
    out = _out(arguments[1:]) if command != "convert" else next(iter(arguments[2:3]), None)
    partial = None if out is None else Path(out).with_name(Path(out).name + ".partial")
    kept = partial is not None and partial.exists()
    if command == "convert":
        told = f"'{partial}' is whole: run again to move it into place" if kept else "nothing was written"
    elif command in CONTINUED:
        told = (f"what was finished is kept in '{partial}'; " if kept else "") + CONTINUED[command]
    else:
        told = f"nothing of it is kept: run again, with --overwrite to discard '{partial}'" if kept else ""
    return f"{how}; {told}." if told else f"{how}."


def _out(arguments: list[str]) -> str | None:
    """Return the value of `--out` on a command line."""
    for place, argument in enumerate(arguments):
        if argument == "--out":
            return next(iter(arguments[place + 1 : place + 2]), None)
        if argument.startswith("--out="):
            return argument.removeprefix("--out=")
    return None
