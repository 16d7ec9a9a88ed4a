"""A reader for run folders."""

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
    """Read the files of a run folder for the report.

    Args:
        folder: The run folder.

    Returns:
        A dictionary with "name" (of the folder), "metrics", "plan", "config", "history" (a list of records), "items"
        (column -> values of `accepted.parquet`) and "thumbnails" (kind of picture -> data URLs).

    Raises:
        InputError: A file is missing or damaged, so the folder is not a complete run folder.
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
        raise InputError(f"'{folder}' is not a complete run folder: {error}.") from error


def _thumbnails(folder: Path) -> dict[str, list[str]]:
    """Read files named `<kind>-<number>.jpg` as data URLs: kind of picture -> data URLs."""
    thumbnails: dict[str, list[str]] = {}
    for path in sorted(folder.glob("*.jpg")):
        url = "data:image/jpeg;base64," + base64.b64encode(path.read_bytes()).decode()
        thumbnails.setdefault(path.stem.rsplit("-", 1)[0], []).append(url)
    return thumbnails
