"""What all processes of a launcher must see alike, since they may run on several machines."""

import time
import uuid
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

from rsft.disk.whole import NEW
from rsft.errors import InputError
from rsft.tuning.distributed import gather, on_first, rank_and_world_size

ALIKE = ("rsft", "torch", "numpy")  # packages whose version the results depend on
PATIENCE_SECONDS = 10.0  # after which a file of another machine counts as unseen; network file systems lag behind


def check_alike(noted: Mapping[str, tuple[int, str]]) -> None:
    """Raise an error on all processes unless they were given the same inputs; do nothing if there is only one.

    Args:
        noted: What this process notes of its inputs, see `rsft.face.runs.same_inputs.noted_inputs`.

    Raises:
        InputError: Those of a process differ from those of the first. The message names the process and the input.
    """
    if rank_and_world_size()[1] == 1:
        return
    versions = {f"the version of {package}": (1, metadata.version(package)) for package in ALIKE}
    told = gather([{**noted, **versions}])
    for rank, other in enumerate(told):
        for name in {**told[0], **other}:
            first, own = told[0].get(name), other.get(name)
            if first != own:
                raise InputError(
                    f"the processes were not given the same: process 0 {_in_words(name, first)}, process {rank} "
                    f"{_in_words(name, own)}. Give all machines the same command, files and packages."
                )


def check_shared(folder: Path) -> None:
    """Raise an error on all processes unless they see one folder; do nothing if there is only one process.

    Args:
        folder: A folder that the first process has created.

    Raises:
        InputError: A process does not see it. The message names the process.
    """
    if rank_and_world_size()[1] == 1:
        return
    token = folder / on_first(lambda: f".{uuid.uuid4().hex}{NEW}")  # a name that `sweep` removes if nobody else does
    on_first(token.touch)
    seen = gather([_appears(token)])
    on_first(token.unlink)
    if not all(seen):
        raise InputError(
            f"process {seen.index(False)} does not see '{folder}', which process 0 writes: choose an --out in a folder "
            "that all machines share."
        )


def _in_words(name: str, noted: tuple[int, str] | None) -> str:
    """Describe what a process noted of an input."""
    if noted is None:
        return f"lacks {name}"
    number, digest = noted
    return f"has {name} {digest}" if number == 1 else f"has {name} with {number} items ({digest})"


def _appears(file: Path) -> bool:
    """Wait until a file is there, and return whether it came in time."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not file.exists():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True
