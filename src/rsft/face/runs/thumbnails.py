"""Thumbnails of pool pictures for the report."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.compute as pc
from PIL import Image

from rsft.data.columns import true_rows
from rsft.data.images import ImageSet
from rsft.disk.access import PRIVATE_FOLDER, make_private
from rsft.face.pictures.align import AlignedFace
from rsft.report.run import THUMBNAILS_FOLDER

THUMBNAILS = 16


def save_thumbnails(
    folder: Path,
    images: ImageSet,
    items: Sequence[str],
    times_trained: np.ndarray,
    acceptance: np.ndarray,
    to_face: Callable[[np.ndarray, str], AlignedFace],
) -> None:
    """Write thumbnails of the pictures trained on most often and of those with the lowest acceptance.

    Args:
        folder: The run folder.
        images: The pictures of the pool.
        items: Ids of the pool items (N,).
        times_trained: Number of times each item was trained on (N,), int.
        acceptance: Acceptance probability of each item (N,).
        to_face: Function of a picture and its id that returns the aligned face.
    """
    most = np.argsort(-times_trained, kind="stable")[:THUMBNAILS]
    least = np.argsort(acceptance, kind="stable")[:THUMBNAILS]
    shown = pyarrow.array([items[row] for row in np.union1d(most, least)])
    places = true_rows(pc.is_in(images.ids.array, shown.cast(pyarrow.large_string())))
    place = dict(zip(images.ids.take(places), places.tolist(), strict=True))
    (folder / THUMBNAILS_FOLDER).mkdir(PRIVATE_FOLDER, exist_ok=True)
    for kind, rows in (("accepted", most), ("rejected", least)):
        for number, row in enumerate(rows):
            chip = to_face(images.read(place[items[row]]), items[row]).chip
            Image.fromarray(chip).save(folder / THUMBNAILS_FOLDER / f"{kind}-{number:02d}.jpg", quality=90)
    make_private(folder / THUMBNAILS_FOLDER)
