"""Read the five points of each face from a file, to use instead of a face detector."""

import hashlib
import os
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow.compute as pc

from rsft.data.column_names import PATH
from rsft.data.columns import BLOCK, Strings, first_rows, join_strings, rises
from rsft.data.composition import composed_names
from rsft.data.fingerprint import add_text
from rsft.data.images import ImageSet
from rsft.data.remote import to_path
from rsft.data.sources import Part, Source
from rsft.data.table import Table, read_table
from rsft.errors import InputError
from rsft.face.pictures.point_order import check_order

# Left eye, right eye, nose, left and right mouth corner, as seen in the picture.
COLUMNS = tuple(f"{axis}{point}" for point in range(1, 6) for axis in "xy")
MIN_SPREAD = 1.0  # least distance in pixels between eyes and mouth


class Landmarks(Mapping[str, np.ndarray]):
    """Id of the picture -> (5, 2) points of its face, for many pictures: ids and points lie in arrays.

    Attributes:
        ids: (N,) ids, sorted and unique.
        points: (N, 5, 2) points.

    >>> told = Landmarks.of(["b", "a"], np.arange(20).reshape(2, 5, 2))
    >>> list(told), "c" in told, told["b"][1].tolist()
    (['a', 'b'], False, [2, 3])
    """

    def __init__(self, ids: Strings, points: np.ndarray):
        self.ids, self.points = ids, points

    @classmethod
    def of(cls, ids: Sequence[str], points: np.ndarray) -> Self:
        """Sort points by id.

        Args:
            ids: (N,) unique ids, in any order.
            points: (N, 5, 2) points.
        """
        names = ids if isinstance(ids, Strings) else Strings.of(ids)
        if rises(names):
            return cls(names, points)
        order = pc.array_sort_indices(names.array).to_numpy()  # UTF-8 sorts as `str` does
        return cls(names.take(order), points[order])

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[str]:
        return iter(self.ids)

    def __getitem__(self, item: str) -> np.ndarray:
        row = bisect_left(self.ids, item)
        if row == len(self) or self.ids[row] != item:
            raise KeyError(item)
        return self.points[row]


def read_landmarks(path: str | os.PathLike[str]) -> Landmarks:
    """Read the five points of each face from a table.

    Args:
        path: File, see `rsft.data.table.read_table`, with the columns `path,x1,y1,...,x5,y5`: the id of a picture, then
            its left eye, right eye, nose, left and right mouth corner as seen in the picture, in pixels of the upright
            picture. It may repeat a row.

    Returns:
        The points of each picture.

    Raises:
        InputError: A column is missing, two rows for a picture contradict each other, a row does not contain the five
            points of a face, or rows name them in another order; see `check_order`.

    Warns:
        InputWarning: A few rows name the points in another order, or faces stand upside down.
    """
    return Landmarks.of(*_read(to_path(path)))


def points_of_sets(
    path: str | os.PathLike[str] | None, sets: Mapping[str, ImageSet], aligned: bool
) -> dict[str, Landmarks | None]:
    """Read the landmarks of several sets of pictures from one file; see `read_landmarks`.

    Args:
        path: The file, or None for no landmarks.
        sets: Name of the set, used in error messages -> its pictures.
        aligned: Whether the pictures are aligned chips.

    Returns:
        Name of the set -> points of its pictures. A set maps to None if the file names none of its pictures (or if
        `path` is None): its faces must then be detected.

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
    ids, points = _read(to_path(path))
    rows = {name: pc.index_in(images.ids.array, ids.array).fill_null(-1).to_numpy() for name, images in sets.items()}
    _check_unambiguous(path, ids, sets, rows)
    if not any((of_set >= 0).any() for of_set in rows.values()):
        every = join_strings([images.ids for images in sets.values()])
        pictures = pc.count_distinct(every.array).as_py()
        raise InputError(f"'{path}' has landmarks for none of the {pictures} pictures, such as '{every[0]}'.")
    # a set gets only the points of its own pictures, so that its stored embeddings do not depend on other sets
    return {name: _of_set(images, points, rows[name]) or None for name, images in sets.items()}


def _of_set(images: ImageSet, points: np.ndarray, rows: np.ndarray) -> Landmarks:
    """Return the points of a set of pictures, of which row `rows` (N,) of `points` belongs to each, or none if -1."""
    told = np.flatnonzero(rows >= 0)
    return Landmarks.of(images.ids if len(told) == len(images) else images.ids.take(told), points[rows[told]])


def points_digest(points: Mapping[str, np.ndarray]) -> str:
    """Return 16 hexadecimal digits that identify a set of landmarks.

    Embeddings stored under this digest are not reused for other landmarks.

    Args:
        points: Id of the picture -> (5, 2) points.
    """
    told = points if isinstance(points, Landmarks) else Landmarks.of(list(points), np.array(list(points.values())))
    digest = hashlib.sha256()
    add_text(digest, told.ids)
    for start in range(0, len(told), BLOCK):
        digest.update(told.points[start : start + BLOCK].astype("<f8").tobytes())
    return digest.hexdigest()[:16]


def _read(path: Path) -> tuple[Strings, np.ndarray]:
    """Read a file of landmarks, see `read_landmarks`: unique ids (N,) and points (N, 5, 2) float32, in its order."""
    table = read_table(path, [PATH, *COLUMNS], others=False)
    points = np.empty((len(table), 5, 2), np.float32)
    with np.errstate(over="ignore"):
        for place, name in enumerate(COLUMNS):
            points[:, place // 2, place % 2] = table.numbers(name)
    unlike = np.flatnonzero(~_like_faces(points))
    if len(unlike):
        raise _no_face(table, int(unlike[0]))
    check_order(points, table.place)
    ids = composed_names(table.paths(PATH))
    first = first_rows(ids)
    again = np.flatnonzero((points != points[first]).any((1, 2)))
    if len(again):
        row = int(again[0])
        raise InputError(
            f"{table.place(row)} names '{ids[row]}' twice, with other points than in {table.place(int(first[row]))}: "
            "give one face per picture."
        )
    kept = np.unique(first)
    return (ids, points) if len(kept) == len(ids) else (ids.take(kept), points[kept])


def _check_unambiguous(
    path: str | os.PathLike[str], ids: Strings, sets: Mapping[str, ImageSet], rows: Mapping[str, np.ndarray]
) -> None:
    """Raise `InputError` if an id that a file of landmarks names stands for different pictures in two sets.

    Args:
        path: The file, for the message.
        ids: (N,) ids that it names.
        sets: Name of the set -> its pictures.
        rows: Name of the set -> for each of its pictures, the place of its id in `ids`, or -1.
    """
    names = list(sets)
    holder, held = np.full(len(ids), -1, np.int16), np.empty(len(ids), np.int64)  # first set with an id; row there
    for number, name in enumerate(names):
        pictures = np.flatnonzero(rows[name] >= 0)
        told = rows[name][pictures]
        again = holder[told] >= 0
        for picture, place in zip(pictures[again].tolist(), told[again].tolist(), strict=True):
            of = names[holder[place]]
            other, source = sets[of].sources[int(held[place])], sets[name].sources[picture]
            if other != source and _place(other) != _place(source):
                raise InputError(
                    f"'{path}' names '{ids[place]}', a picture of the {of} and another of the {name}: landmarks need "
                    "names that differ between the sets."
                )
        holder[told[~again]], held[told[~again]] = number, pictures[~again]


def _place(source: Source) -> object:
    """Return the location of a picture with its path resolved, so that all spellings of a path are equal."""
    if isinstance(source, Path):
        return source.resolve()
    return source._replace(path=source.path.resolve()) if isinstance(source, Part) else source


def _like_faces(points: np.ndarray) -> np.ndarray:
    """Return whether points (N, 5, 2) can be those of faces: (N,) bool."""
    with np.errstate(over="ignore", invalid="ignore"):
        apart = np.linalg.norm(points[:, :2].mean(1) - points[:, 3:].mean(1), axis=1)
    return np.isfinite(points).all((1, 2)) & (apart >= MIN_SPREAD)


def _no_face(table: Table, row: int) -> InputError:
    """Return the error of a row whose values are not the points of a face."""
    try:
        for name in COLUMNS:
            float(table.text(name)[row])
    except ValueError as error:
        return InputError(f"{table.place(row)} needs ten numbers: {error}.")
    return InputError(
        f"{table.place(row)} has no face: it needs left eye, right eye, nose, left and right mouth corner, in pixels."
    )
