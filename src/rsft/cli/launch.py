"""The command line under `torchrun` or `accelerate launch`: the first process prints, and all end together."""

import os


def number() -> int:
    """Of this process; 0 without a launcher."""
    return int(os.environ.get("RANK", "0"))


def processes() -> int:
    """How many the launcher started."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def name() -> str:
    """What marks the messages of this process among those of others."""
    return f" (process {number()} of {processes()})" if processes() > 1 else ""


def is_of_others(error: RuntimeError) -> bool:
    """Whether an error tells that another process is gone."""
    text = str(error)
    return processes() > 1 and any(word in text for word in ("gloo", "NCCL", "Connection", "store"))


def leave(code: int) -> None:
    """End with the others; without a launcher, nothing."""
    if processes() > 1:
        from rsft.tuning import distributed as group

        group.leave(code)
