"""A run folder -> a dictionary of what the page shows."""

import base64
import json
import tomllib
from pathlib import Path
from typing import Any

import pyarrow.parquet

from rsft.errors import InputError

METRICS_FILE = "metrics.json"
PLAN_FILE = "plan.json"
CONFIG_FILE = "config.toml"
HISTORY_FILE = "history.jsonl"
ACCEPTED_FILE = "accepted.parquet"
THUMBNAILS_FOLDER = "thumbnails"
REPORT_FILE = "report.html"


def read_run(folder: Path) -> dict[str, Any]:
    """All that a run left in its folder.

    Raises:
        InputError: it is not the folder of a run.
    """
    try:
        return {
            "name": folder.resolve().name.removesuffix(".partial"),
            "metrics": json.loads((folder / METRICS_FILE).read_text()),
            "plan": json.loads((folder / PLAN_FILE).read_text()),
            "config": tomllib.loads((folder / CONFIG_FILE).read_text()),
            "history": [json.loads(line) for line in (folder / HISTORY_FILE).read_text().splitlines()],
            "items": pyarrow.parquet.read_table(folder / ACCEPTED_FILE).to_pydict(),
            "thumbnails": _thumbnails(folder / THUMBNAILS_FOLDER),
        }
    except (OSError, ValueError) as error:
        raise InputError(f"'{folder}' is not the whole folder of a run: {error}.") from error


def _thumbnails(folder: Path) -> dict[str, list[str]]:
    """Kind of picture -> data URLs, from files named `<kind>-<number>.jpg`."""
    thumbnails: dict[str, list[str]] = {}
    for path in sorted(folder.glob("*.jpg")):
        url = "data:image/jpeg;base64," + base64.b64encode(path.read_bytes()).decode()
        thumbnails.setdefault(path.stem.rsplit("-", 1)[0], []).append(url)
    return thumbnails
