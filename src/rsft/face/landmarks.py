"""Five points of each face from a file, in place of a detector's."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from rsft.data.images import ImageSet
from rsft.data.listing import Part, Source
from rsft.data.manifest import PATH, read_columns
from rsft.errors import InputError

# Left eye, right eye, nose, left and right mouth corner, as seen in the picture.
COLUMNS = tuple(f"{axis}{point}" for point in range(1, 6) for axis in "xy")
MIN_SPREAD = 1.0  # pixels between eyes and mouth: less is no face


def read_landmarks(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Read a CSV or Parquet file `path,x1,y1,...,x5,y5`, in pixels of the upright picture.

    Returns:
        For each path (5, 2) float32.

    Raises:
        InputError: a column is missing, a path occurs twice, or a row has no five points of a face.
    """
    path = Path(path)
    columns = read_columns(path)
    absent = [name for name in (PATH, *COLUMNS) if name not in columns]
    if absent:
        raise InputError(f"'{path}' needs the columns path,x1,y1,...,x5,y5: it lacks {', '.join(absent)}.")
    items = columns[PATH]
    if len(set(items)) < len(items):
        twice = next(item for item in items if items.count(item) > 1)
        raise InputError(f"'{path}' names '{twice}' twice: one face a picture.")
    rows = zip(*(columns[name] for name in COLUMNS), strict=True)
    return {item: _points(row, path, line) for line, (item, row) in enumerate(zip(items, rows, strict=True), 2)}


def points_of(path: str | os.PathLike[str], images: ImageSet, aligned: bool) -> dict[str, np.ndarray]:
    """`read_landmarks` for some pictures; the rows of others are left out.

    Raises:
        InputError: it names none of them, or they are aligned chips, which need no landmarks.
    """
    points = points_of_sets(path, {"": images}, aligned)[""]
    assert points is not None
    return points


def points_of_sets(
    path: str | os.PathLike[str] | None, sets: Mapping[str, ImageSet], aligned: bool
) -> dict[str, dict[str, np.ndarray] | None]:
    """`read_landmarks` for the pictures of several sets; None for a set of which it names none: a detector looks there.

    Args:
        path: the file; without one, all are None.
        sets: by what they are called in messages.
        aligned: whether they are aligned chips.

    Raises:
        InputError: it names no picture of any, or one of two different pictures; or they are aligned chips, which need
            no landmarks.
    """
    if path is None:
        return dict.fromkeys(sets)
    if aligned:
        raise InputError("landmarks are of photographs: aligned chips have none. Leave one of the two out.")
    if not sets:
        raise InputError("landmarks are of pictures, and all that was given is embedded already: leave them out.")
    told = read_landmarks(path)
    known: dict[str, tuple[Source, str]] = {}
    for name, images in sets.items():
        for item, source in zip(images.ids, images.sources, strict=True):
            other, of = known.setdefault(item, (source, name))
            if item in told and other != source and _place(other) != _place(source):
                raise InputError(
                    f"'{path}' names '{item}', a picture of the {of} and another of the {name}: landmarks need names "
                    "that differ between the sets."
                )
    if not told.keys() & known.keys():
        raise InputError(f"'{path}' has landmarks of none of the {len(known)} pictures, such as '{next(iter(known))}'.")
    # only the points of a set's own pictures: what is embedded with them does not hang on the others
    of_sets = {name: {item: told[item] for item in images.ids if item in told} for name, images in sets.items()}
    return {name: points or None for name, points in of_sets.items()}


def points_digest(points: Mapping[str, np.ndarray]) -> str:
    """Of the points of pictures, so that what was made with others is not taken for theirs."""
    digest = hashlib.sha256()
    for item, of_item in sorted(points.items()):
        digest.update(f"{item}\n{of_item.tolist()}\n".encode())
    return digest.hexdigest()[:16]


def _place(source: Source) -> object:
    """Where a picture lies, however its path is spelt."""
    if isinstance(source, Path):
        return source.resolve()
    return source._replace(path=source.path.resolve()) if isinstance(source, Part) else source


def _points(row: Sequence[str], path: Path, line: int) -> np.ndarray:
    try:
        points = np.array([float(value) for value in row], np.float32).reshape(5, 2)
    except ValueError as error:
        raise InputError(f"'{path}' line {line} needs ten numbers: {error}.") from error
    if not np.isfinite(points).all() or np.linalg.norm(points[:2].mean(0) - points[3:].mean(0)) < MIN_SPREAD:
        raise InputError(
            f"'{path}' line {line} has no face: it needs left eye, right eye, nose, left and right mouth corner, in "
            "pixels."
        )
    return points
