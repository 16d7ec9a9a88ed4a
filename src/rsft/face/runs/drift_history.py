"""The calls of `rsft monitor`, one line of JSON each, in a folder of their own. Lines are only ever added."""

import json
import os
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from rsft.data.reading import checked, reading
from rsft.data.regular import read_regular
from rsft.disk.durable import to_disk
from rsft.disk.lock import locked
from rsft.disk.room import telling_full
from rsft.face.adaptation.drift import Drift
from rsft.run_folder import adding_to

CALLS_FILE = "calls.jsonl"
KIND = "the calls of `rsft monitor`"


class Call(BaseModel):
    """What every line states; lines hold more, see `rsft.face.monitor.Monitored.to_dict`.

    Attributes:
        time: When it was, in UTC, as ISO 8601 with seconds.
        model: Fingerprint of the model.
        against: What the pictures were compared with.
        outcome: The outcome.
    """

    time: datetime
    model: str
    against: str
    outcome: Drift


def add_call(folder: Path, told: dict[str, Any], inputs: Iterable[object]) -> list[Call]:
    """Add a call to a history, and return the earlier ones of the same model against the same, oldest first.

    Two calls at one time wait for each other. What a killed call has left of a line is cut off.

    Args:
        folder: The folder; it is created if it does not exist.
        told: What the call found, with the entries of `Call` but for the time.
        inputs: The paths that the command reads.

    Raises:
        InputError: The folder holds what rsft did not write, overlaps an input, or its file is damaged.
    """
    file = adding_to(folder, inputs=inputs) / CALLS_FILE
    with locked(file, wait=True):
        calls = _read(file)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        with telling_full(file):
            handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
            with os.fdopen(handle, "wb") as out:
                out.write(json.dumps({"time": now, **told}).encode() + b"\n")
        to_disk(file)
    return [call for call in calls if (call.model, call.against) == (told["model"], told["against"])]


def _read(file: Path) -> list[Call]:
    """Read the whole lines of a history, and cut off one that is not whole."""
    if not file.exists():
        return []
    with reading(file, KIND):
        content = read_regular(file)
        whole = content[: content.rfind(b"\n") + 1]
        calls = [checked(line, Call) for line in whole.splitlines()]
    if len(whole) < len(content):
        with open(file, "r+b") as cut:
            cut.truncate(len(whole))
    return calls
