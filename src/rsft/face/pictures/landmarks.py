"""Read the five points of each face from a file, to use instead of a face detector."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from rsft.data.images import ImageSet
from rsft.data.manifest import PATH, read_columns
from rsft.data.sources import Part, Source
from rsft.errors import InputError

# Left eye, right eye, nose, left and right mouth corner, as seen in the picture.
COLUMNS = tuple(f"{axis}{point}" for point in range(1, 6) for axis in "xy")
MIN_SPREAD = 1.0  # least distance in pixels between eyes and mouth


def read_landmarks(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Read the five points of each face from a CSV or Parquet file.

    Args:
        path: File with the columns `path,x1,y1,...,x5,y5`: the id of a picture, then its left eye, right eye, nose,
            left and right mouth corner as seen in the picture, in pixels of the upright picture.

    Returns:
        Id of the picture -> (5, 2) float32 points.

    Raises:
        InputError: A column is missing, a picture occurs twice, or a row does not contain the five points of a face.
    """
    path = Path(path)
    columns = read_columns(path)
    absent = [name for name in (PATH, *COLUMNS) if name not in columns]
    if absent:
        raise InputError(f"'{path}' needs the columns path,x1,y1,...,x5,y5: it lacks {', '.join(absent)}.")
    items = columns[PATH]
    if len(set(items)) < len(items):
        twice = next(item for item in items if items.count(item) > 1)
        raise InputError(f"'{path}' names '{twice}' twice: give one face per picture.")
    rows = zip(*(columns[name] for name in COLUMNS), strict=True)
    return {item: _points(row, path, line) for line, (item, row) in enumerate(zip(items, rows, strict=True), 2)}


def points_of_sets(
    path: str | os.PathLike[str] | None, sets: Mapping[str, ImageSet], aligned: bool
) -> dict[str, dict[str, np.ndarray] | None]:
    """Read the landmarks of several sets of pictures from one file; see `read_landmarks`.

    Args:
        path: The file, or None for no landmarks.
        sets: Name of the set, used in error messages -> its pictures.
        aligned: Whether the pictures are aligned chips.

    Returns:
        Name of the set -> id of the picture -> (5, 2) float32 points. A set maps to None if the file names none of its
        pictures (or if `path` is None): its faces must then be detected.

    Raises:
        InputError: The file names no picture of any set; it names an id that stands for different pictures in two
            sets; there are no sets; the pictures are aligned chips, which have no landmarks; or the file is invalid.
    """
    if path is None:
        return dict.fromkeys(sets)
    if aligned:
        raise InputError("landmarks are for photographs, and aligned chips have none: leave one of the two out.")
    if not sets:
        raise InputError("landmarks are for pictures, and all inputs are embedded already: leave them out.")
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
        raise InputError(
            f"'{path}' has landmarks for none of the {len(known)} pictures, such as '{next(iter(known))}'."
        )
    # a set gets only the points of its own pictures, so that its stored embeddings do not depend on other sets
    of_sets = {name: {item: told[item] for item in images.ids if item in told} for name, images in sets.items()}
    return {name: points or None for name, points in of_sets.items()}


def points_digest(points: Mapping[str, np.ndarray]) -> str:
    """Return 16 hexadecimal digits that identify a set of landmarks.

    Embeddings stored under this digest are not reused for other landmarks.

    Args:
        points: Id of the picture -> (5, 2) points.
    """
    digest = hashlib.sha256()
    for item, of_item in sorted(points.items()):
        digest.update(f"{item}\n{of_item.tolist()}\n".encode())
    return digest.hexdigest()[:16]


def _place(source: Source) -> object:
    """Return the location of a picture with its path resolved, so that all spellings of a path are equal."""
    if isinstance(source, Path):
        return source.resolve()
    return source._replace(path=source.path.resolve()) if isinstance(source, Part) else source


def _points(row: Sequence[str], path: Path, line: int) -> np.ndarray:
    """Return the (5, 2) float32 points of a row; raise `InputError` if they cannot be those of a face."""
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
