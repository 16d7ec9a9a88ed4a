"""The command line under `torchrun` or `accelerate launch`. The first process prints, and all end together."""

import os


def number() -> int:
    """Return the number of this process; 0 without a launcher."""
    return int(os.environ.get("RANK", "0"))


def processes() -> int:
    """Return the number of processes that the launcher started; 1 without a launcher."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def name() -> str:
    """Return a text that identifies this process in its messages; empty if it is the only one."""
    return f" (process {number()} of {processes()})" if processes() > 1 else ""


def is_of_others(error: RuntimeError) -> bool:
    """Return whether an error was caused by the end of another process."""
    text = str(error)
    return processes() > 1 and any(word in text for word in ("gloo", "NCCL", "Connection", "store"))


def leave(code: int) -> None:
    """End this process together with the others; do nothing without a launcher."""
    if processes() > 1:
        from rsft.tuning import distributed as group

        group.leave(code)
