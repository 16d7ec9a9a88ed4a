"""A reader for run folders."""

import base64
import tomllib
from pathlib import Path
from typing import Any

from rsft.data.reading import checked, read_json, reading
from rsft.errors import InputError
from rsft.report.direction import isolated
from rsft.report.shapes.base import Shape
from rsft.report.shapes.plan import Plan
from rsft.report.shapes.run import ErrorsOfSets, Metrics, Step

METRICS_FILE = "metrics.json"
ERRORS_FILE = "errors.json"
PLAN_FILE = "plan.json"
CONFIG_FILE = "config.toml"
HISTORY_FILE = "history.jsonl"
ACCEPTED_FILE = "accepted.parquet"
THUMBNAILS_FOLDER = "thumbnails"
PART = "part of a complete run folder (another version of rsft may have written it)"
JPEG, MAX_THUMBNAIL = b"\xff\xd8", 1 << 20  # how a thumbnail begins, and its largest size in bytes


def read_run(folder: Path) -> dict[str, Any]:
    """Read the files of a run folder for the report. The folder may come from anybody: its shape is checked.

    Args:
        folder: The run folder.

    Returns:
        A dictionary with "name" (of the folder), "metrics" and "plan" (the entries that `rsft.report.shapes` declares),
        "config", "history" (a list of records) and "thumbnails" (kind of picture -> pictures, each with "url", a data
        URL, and "told", what its name says of it).

    Raises:
        InputError: A file is missing, damaged or of another shape, so the folder is not a complete run folder of this
            version of rsft.
    """
    if not (folder / CONFIG_FILE).exists():
        raise InputError(f"'{folder}' is not a complete run folder: it has no {CONFIG_FILE}. Give the --out of a run.")
    with reading(folder / CONFIG_FILE, PART):
        config = tomllib.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    return {
        "name": name_of(folder),
        "metrics": read_shaped(folder / METRICS_FILE, Metrics),
        "errors": read_shaped(folder / ERRORS_FILE, ErrorsOfSets),
        "plan": read_shaped(folder / PLAN_FILE, Plan),
        "config": isolated(config),
        "history": _history(folder / HISTORY_FILE),
        "thumbnails": _thumbnails(folder / THUMBNAILS_FOLDER),
    }


def read_shaped(path: Path, shape: type[Shape]) -> dict[str, Any]:
    """Read the declared entries of a JSON file; those that are absent stay absent.

    Raises:
        InputError: The file cannot be read, or has another shape.
    """
    found: Shape = read_json(path, shape, PART)
    told: dict[str, Any] = isolated(found.model_dump(exclude_unset=True))
    return told


def name_of(folder: Path) -> str:
    """Return the name of a folder for its page."""
    name: str = isolated(folder.resolve().name.removesuffix(".partial"))
    return name


def _history(path: Path) -> list[dict[str, Any]]:
    """Read the records of the training, one in a line."""
    with reading(path, PART):
        lines = path.read_text(encoding="utf-8").splitlines()
        return [checked(line, Step).model_dump(exclude_unset=True) for line in lines]


def _thumbnails(folder: Path) -> dict[str, list[dict[str, str]]]:
    """Read files named `<kind>-<number>.jpg` or `<kind>-<number>,<told>.jpg`; see `read_run`.

    A link is refused: what it points to would become part of the page, which may be handed on.
    """
    thumbnails: dict[str, list[dict[str, str]]] = {}
    for path in sorted(folder.glob("*.jpg")):
        with reading(path, PART):
            usual = not path.is_symlink() and path.stat().st_size <= MAX_THUMBNAIL
            content = path.read_bytes() if usual else b""
        if not content.startswith(JPEG):
            raise InputError(f"cannot read '{path}' as {PART}: a small JPEG is needed, and no link.")
        url = "data:image/jpeg;base64," + base64.b64encode(content).decode()
        name, _, told = path.stem.partition(",")
        thumbnails.setdefault(name.rpartition("-")[0], []).append({"url": url, "told": isolated(told)})
    return thumbnails
