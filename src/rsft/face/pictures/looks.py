"""Single pictures of a set, looked at when they are asked for: where the face is, and its covariates."""

import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from rsft.data.fetched import FETCHED
from rsft.data.images import ImageSet
from rsft.data.reading import checked
from rsft.data.reading import reading as reading_file
from rsft.data.regular import read_regular
from rsft.data.stamps import Stamp, first_changed, stamp_of
from rsft.disk.room import telling_full
from rsft.errors import NoFaceError, UnreadableImageError
from rsft.face.networks.bundle import FaceModel
from rsft.face.pictures.covariates import covariates
from rsft.face.pictures.embedding import check_inside, face_finder, way_to_faces
from rsft.face.pictures.parts import changed_picture
from rsft.threads import reading
from rsft.tuning.distributed import gather, is_first, on_first, rank_and_world_size

PART_PICTURES = 256  # looked at before what was found is written: some seconds of work
FOUND = "what was found in pictures"
Points = Annotated[list[tuple[float, float]], Field(min_length=5, max_length=5)]
Line = tuple[int, dict[str, float], Points | None, str | None, tuple[int, int, int, str]]  # see `_line`


@dataclass(frozen=True)
class Look:
    """What one look at a picture found.

    Attributes:
        covariates: Name -> value, see `rsft.face.pictures.covariates`; empty if no face was found.
        points: (5, 2) points of the face in the photograph; None for a chip, or without a face.
        reason: Why the picture cannot be used; None if it can.
    """

    covariates: Mapping[str, float]
    points: np.ndarray | None = None
    reason: str | None = None


class Looks:
    """Looks at pictures, each picture once: it is decoded, its face found and aligned, and measured without a network.

    Under a launcher such as `torchrun`, each process looks at its share, and all get the results of all.

    Args:
        model: Model that defines the template and size of the chip.
        images: The pictures.
        aligned: Whether the pictures are chips already.
        landmarks: Id of the picture -> (5, 2) points of the face, used instead of a detector, or None.
        folder: Folder with a file that keeps what was found, one line for each picture; it is continued. Models with
            other chips and other ways to find faces have files of their own. None to keep it in memory.

    Attributes:
        decoded: Number of pictures that were opened.
    """

    def __init__(
        self,
        model: FaceModel,
        images: ImageSet,
        *,
        aligned: bool = False,
        landmarks: Mapping[str, np.ndarray] | None = None,
        folder: Path | None = None,
    ) -> None:
        self._images, self._template = images, np.array(model.template)
        self._find = face_finder(model, aligned=aligned, landmarks=landmarks)
        way = f"{self._template.tolist()} {model.size} {way_to_faces(aligned=aligned, landmarks=landmarks)}"
        file = self._file = None if folder is None else folder / f"looks-{zlib.crc32(way.encode()):08x}.jsonl"
        kept = on_first(lambda: _read(file, images) if file is not None and file.exists() else {})
        self._known = {item: look for item, (look, _) in kept.items()}
        self._stamps = {item: stamp for item, (_, stamp) in kept.items()}
        self.decoded = 0

    def __call__(self, items: np.ndarray) -> list[Look]:
        """Return the looks at some pictures, (n,) integers; those that are not known yet are opened."""
        new = [item for item in items.tolist() if item not in self._known]
        for start in range(0, len(new), PART_PICTURES):
            self._open(new[start : start + PART_PICTURES])
        return [self._known[item] for item in items.tolist()]

    @property
    def known(self) -> np.ndarray:
        """The pictures that were looked at, (n,) int64 ascending."""
        return np.array(sorted(self._known), np.int64)

    def digests(self) -> dict[str, str]:
        """Return id -> digest of the bytes of each picture that was looked at, see `Stamp`; empty without a folder."""
        return {self._images.ids[item]: stamp.digest for item, stamp in sorted(self._stamps.items())}

    def quarantined(self) -> list[tuple[str, str]]:
        """Return the id and the reason of each picture that was looked at and cannot be used."""
        return [
            (self._images.ids[i], look.reason) for i, look in sorted(self._known.items()) if look.reason is not None
        ]

    def points(self, items: np.ndarray) -> dict[str, np.ndarray] | None:
        """Return id -> points of pictures that were looked at; None if they have no points, being chips."""
        told = {self._images.ids[item]: self._known[item].points for item in items.tolist()}
        found = {item: points for item, points in told.items() if points is not None}
        return found or None

    def _open(self, new: list[int]) -> None:
        """Look at pictures that are not known yet, and keep what was found."""
        self.decoded += len(new)
        rank, processes = rank_and_world_size()
        own = new[rank::processes]
        with reading(far=self._images.is_remote) as pool:
            found = dict(gather(list(zip(own, pool.map(self._look, own), strict=True))))
        self._known |= {item: look for item, (look, _) in found.items()}
        self._stamps |= {item: stamp for item, (_, stamp) in found.items() if stamp is not None}
        if self._file is not None and is_first():
            with telling_full(self._file), open(self._file, "a") as file:
                file.writelines(_line(item, *found[item]) for item in new)

    def _look(self, item: int) -> tuple[Look, Stamp | None]:
        """Look at one picture; its stamp is taken first, if what was found is kept."""
        with FETCHED.keeping():
            stamp = None if self._file is None else stamp_of(self._images.sources[item])
            return self._find_in(item), stamp

    def _find_in(self, item: int) -> Look:
        try:
            with self._images.opened(item) as image:
                face = self._find(image, self._images.ids[item])
                if face.points is not None:
                    check_inside(image, face.points)  # or its points could not be used when it is embedded
        except (UnreadableImageError, NoFaceError) as error:
            return Look({}, reason=str(error))
        return Look(covariates(face, self._template), face.points)


def columns(looks: Sequence[Look], names: Iterable[str]) -> np.ndarray:
    """Return covariates of usable pictures as a table: (n, C) float64, one column for each name."""
    return np.array([[look.covariates[name] for name in names] for look in looks])


def _line(item: int, look: Look, stamp: Stamp | None) -> str:
    """Return one look as a line of JSON."""
    points = None if look.points is None else np.asarray(look.points, float).tolist()
    return json.dumps([item, dict(look.covariates), points, look.reason, stamp]) + "\n"


def _read(file: Path, images: ImageSet) -> dict[int, tuple[Look, Stamp]]:
    """Read the lines of a file; one that was cut off is left out, and the file ends before it from then on.

    Raises:
        InputError: The file is damaged, or one of the pictures has changed since.
    """
    found: dict[int, tuple[Look, Stamp]] = {}
    with reading_file(file, FOUND):
        content = read_regular(file)
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        with open(file, "r+b") as cut:
            cut.truncate(len(whole))
    with reading_file(file, FOUND):
        told = [checked(line, Line) for line in whole.splitlines()]
        if not all(0 <= line[0] < len(images.sources) for line in told):
            raise ValueError("a line names no picture of the set")
    changed = first_changed((line[4] for line in told), (images.sources[line[0]] for line in told))
    if changed is not None:
        raise changed_picture(images, told[changed][0], file)
    for item, measured, points, reason, stamp in told:
        look = Look(measured, None if points is None else np.array(points, np.float32), reason)
        found[item] = look, Stamp(*stamp)
    return found
