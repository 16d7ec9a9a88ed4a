"""Thumbnails for the report: pictures of the pool by their acceptance, and the pairs that remain wrong."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.compute as pc
from PIL import Image

from rsft.data.columns import true_rows
from rsft.data.images import ImageSet
from rsft.disk.access import PRIVATE_FOLDER, make_private
from rsft.face.pictures.align import AlignedFace
from rsft.face.runs.closer_look import Errors
from rsft.report.run import THUMBNAILS_FOLDER

SHOWN = 16

ToFace = Callable[[np.ndarray, str], AlignedFace]


@dataclass(frozen=True)
class Faces:
    """Pictures of a set, and the function that aligns one of them, given its id."""

    images: ImageSet
    to_face: ToFace


def save_thumbnails(
    folder: Path, pool: Faces, items: Sequence[str], times_trained: np.ndarray, acceptance: np.ndarray
) -> None:
    """Write thumbnails of pictures of the pool: accepted ones, borderline ones and rejected ones.

    Accepted are those trained on most often. Borderline are those whose acceptance is nearest to one half, or to half
    of the largest if no item reaches one half. Rejected are those with the lowest acceptance.

    Args:
        folder: The run folder.
        pool: The pictures of the pool.
        items: Ids of the pool items (N,).
        times_trained: Number of times each item was trained on (N,), int.
        acceptance: Acceptance probability of each item (N,).
    """
    half = min(0.5, float(acceptance.max()) / 2)
    kinds = {
        "accepted": np.lexsort([-acceptance, -times_trained])[:SHOWN],
        "borderline": np.argsort(np.abs(acceptance - half), kind="stable")[:SHOWN],
        "rejected": np.argsort(acceptance, kind="stable")[:SHOWN],
    }
    named = [
        (f"{kind}-{number:02d},{acceptance[row]:.3f}", items[row])
        for kind, rows in kinds.items()
        for number, row in enumerate(rows)
    ]
    _save(folder, pool, named)


def save_errors(folder: Path, evaluated: Faces, errors: Errors) -> None:
    """Write thumbnails of both pictures of each pair that is decided wrongly.

    Args:
        folder: The run folder.
        evaluated: The evaluated pictures.
        errors: The pairs.
    """
    named = [
        (f"error-{kind}-{number}-{side}", item)
        for kind, pairs in errors.pairs.items()
        for number, pair in enumerate(pairs)
        for side, item in enumerate(errors.pictures(pair))
    ]
    _save(folder, evaluated, named)


def _save(folder: Path, faces: Faces, named: Sequence[tuple[str, str]]) -> None:
    """Write the aligned face of each (name, id) as a JPEG into the folder of thumbnails."""
    place = _places(faces.images, {item for _, item in named})
    (folder / THUMBNAILS_FOLDER).mkdir(PRIVATE_FOLDER, exist_ok=True)
    for name, item in named:
        chip = faces.to_face(faces.images.read(place[item]), item).chip
        Image.fromarray(chip).save(folder / THUMBNAILS_FOLDER / f"{name}.jpg", quality=90)
    make_private(folder / THUMBNAILS_FOLDER)


def _places(images: ImageSet, items: Iterable[str]) -> Mapping[str, int]:
    """Return id -> number of the picture; a pool may have 10^8 of them."""
    shown = pyarrow.array(sorted(items), pyarrow.large_string())
    places = true_rows(pc.is_in(images.ids.array, shown))
    return dict(zip(images.ids.take(places), places.tolist(), strict=True))
