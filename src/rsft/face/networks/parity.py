"""Check a network's crop, colour order and normalisation against its recorded outputs.

The outputs are recorded for chips that are drawn by formula around the five points of the template. The chips show no
real person, are the same on every machine, and differ for another crop.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from rsft.face.networks.chip_points import ARCFACE, TEMPLATES, Template, scaled, similarity_transform
from rsft.face.networks.preprocess import ORDERS, Preprocess

CHIPS = 2
# Distance to the recorded output, relative to its norm; float32 differs between machines by less than 1e-5.
MAX_ERROR = 1e-3
NORMALISATIONS: dict[str, tuple[float | list[float], float | list[float]]] = {
    "(x - 127.5) / 127.5": (127.5, 127.5),
    "(x - 127.5) / 128": (127.5, 128.0),
    "x / 255": (0.0, 255.0),
    "values left in 0..255": (0.0, 1.0),
    "ImageNet's mean and std": ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375]),
}


@dataclass(frozen=True)
class Parity:
    """Result of a comparison with recorded outputs.

    Attributes:
        error: Largest distance between an output and the recorded one, relative to the norm of the recorded one.
        matches: Whether the error is at most `MAX_ERROR`.
        fits: Name of the preprocessing with which the network reproduces the recorded outputs. None if the network
            matches already or if no known mistake explains the difference.
    """

    error: float
    matches: bool
    fits: str | None


def drawn_chips(template: Template, size: int) -> np.ndarray:
    """Draw face-like chips around the points of a template, the same on every machine.

    Args:
        template: Five points in pixels of the chip.
        size: Side of the chip in pixels.

    Returns:
        (CHIPS, size, size, 3) uint8 RGB pictures.
    """
    canonical = np.array(ARCFACE) / 112
    to_chip = similarity_transform(canonical, np.array(template))
    back = np.linalg.inv(np.vstack([to_chip, [0, 0, 1]]))
    pixels = np.stack([*np.mgrid[:size, :size][::-1], np.ones((size, size))], -1)
    x, y, _ = np.moveaxis(pixels @ back.T, -1, 0)
    return np.stack([_drawn(x, y, canonical, number) for number in range(CHIPS)])


def _drawn(x: np.ndarray, y: np.ndarray, points: np.ndarray, number: int) -> np.ndarray:
    """Draw an oval lit from one side, with darker spots at the points; its colours differ between channels."""
    face = 1 / (1 + np.exp(12 * (np.hypot((x - 0.5) / 0.38, (y - 0.56) / 0.5) - 1)))
    light = 0.75 + 0.35 * (x - 0.5) * (-1) ** number + 0.1 * np.sin(9 * y + number)
    spots = sum(np.exp(-((x - px) ** 2 + (y - py) ** 2) / 0.003) for px, py in points)
    background = np.stack([80 + 60 * np.sin(7 * x + c + number) * np.cos(5 * y + 2 * c) for c in range(3)], -1)
    skin = np.array([[215, 160, 130], [120, 85, 65]][number]) * light[..., None] - 70 * spots[..., None] * (0.9, 1, 0.8)
    return (background + face[..., None] * (skin - background)).round().clip(0, 255).astype(np.uint8)


def outputs(network: nn.Module, template: Template, size: int) -> np.ndarray:
    """Compute a network's outputs for the chips of `drawn_chips`.

    Args:
        network: Module (B, 3, size, size) RGB in 0..255 -> (B, D).
        template: Five points in pixels of the chip.
        size: Side of the chip in pixels.

    Returns:
        (CHIPS, D) float32 embeddings.
    """
    pictures = torch.from_numpy(drawn_chips(template, size)).permute(0, 3, 1, 2).float()
    with torch.inference_mode():
        return network(pictures).numpy()


def compare(recorded: Sequence[Sequence[float]], network: nn.Sequential, template: Template, size: int) -> Parity:
    """Compare a network's outputs with recorded ones; if they differ, look for a known mistake that explains it.

    Known mistakes are another colour order, normalisation or template, and two of these together.

    Args:
        recorded: (CHIPS, D) outputs that `outputs` returned when the network was known to be correct.
        network: Stages (B, 3, size, size) RGB in 0..255 -> (B, D). The first stage may be a `Preprocess`.
        template: Five points in pixels of the chip.
        size: Side of the chip in pixels.

    Returns:
        The error and, if it is too large, the preprocessing that fits.
    """
    wanted = np.asarray(recorded, np.float32)
    error = relative_error(outputs(network, template, size), wanted)
    if error <= MAX_ERROR:
        return Parity(error, True, None)
    for name, other, other_template in _mistakes(network, template, size):
        if relative_error(outputs(other, other_template, size), wanted) <= MAX_ERROR:
            return Parity(error, False, name)
    return Parity(error, False, None)


def relative_error(found: np.ndarray, wanted: np.ndarray) -> float:
    """Return the largest distance between corresponding rows, relative to the norm of the expected row.

    Args:
        found: (N, D) outputs.
        wanted: (N, D) expected outputs.

    Returns:
        The relative distance; infinity if the shapes differ or there are values that are not finite.
    """
    if found.shape != wanted.shape or not np.isfinite(found).all() or not np.isfinite(wanted).all():
        return math.inf
    found, wanted = found.astype(np.float64), wanted.astype(np.float64)  # whose squares do not overflow
    lengths = np.linalg.norm(wanted, axis=1)
    distances = np.linalg.norm(found - wanted, axis=1)
    if not lengths.all():
        return math.inf if distances.any() else 0.0
    return float((distances / lengths).max())


def _mistakes(network: nn.Sequential, template: Template, size: int) -> Iterator[tuple[str, nn.Module, Template]]:
    """Yield the name, network and template of each known mistake: first single mistakes, then pairs."""
    first = next(iter(network))
    own = first if isinstance(first, Preprocess) else Preprocess()
    rest = list(network)[1:] if isinstance(first, Preprocess) else list(network)
    orders = {own.order: None} | {order: order for order in ORDERS if order != own.order}
    settings = {None: own.settings()} | {
        name: Preprocess(own.order, *numbers).settings() for name, numbers in NORMALISATIONS.items()
    }
    left, right, nose, mouth_left, mouth_right = template
    templates = {None: template, "left and right exchanged": (right, left, nose, mouth_right, mouth_left)}
    templates |= {name: scaled(points, size / side) for name, (points, side) in TEMPLATES.items()}
    tried = itertools.product(orders.items(), settings.items(), templates.items())
    for (order, order_name), (name, numbers), (crop, points) in sorted(tried, key=_changes):
        mean, std = numbers["mean"], numbers["std"]
        words = [word for word in (order_name, name, crop) if word]
        if words and len(words) < 3:
            yield " and ".join(words), nn.Sequential(Preprocess(order, mean, std), *rest), points  # type: ignore[arg-type]


def _changes(tried: tuple[tuple[str, str | None], tuple[str | None, object], tuple[str | None, object]]) -> int:
    """Return how many of order, normalisation and crop differ from the network's own."""
    (_, order), (normalisation, _), (crop, _) = tried
    return sum(word is not None for word in (order, normalisation, crop))
