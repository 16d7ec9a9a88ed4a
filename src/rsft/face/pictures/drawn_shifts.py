"""Deployment shifts drawn on aligned face chips: a camera far away, face masks, or a dark entrance.

Each shift takes a (size, size, 3) uint8 RGB chip and a random generator, and returns a new chip of the same shape. The
chip must be warped onto the five-point template of the dlib network, scaled by size / 150. The generator is the only
source of randomness.
"""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

TEMPLATE_SIZE = 150
MASK_COLOURS = ((118, 178, 212), (150, 200, 220), (236, 238, 238), (34, 36, 42), (104, 160, 138), (214, 170, 182))


def low_resolution(chip: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Draw a face far away: reduce the chip to a side of 14 to 21 pixels and enlarge it again.

    Args:
        chip: (size, size, 3) uint8 RGB chip.
        generator: Source of randomness.
    """
    size = chip.shape[0]
    side = int(generator.integers(14, 22))  # pixels, whatever the size of the chip
    small = Image.fromarray(chip).resize((side, side), Image.Resampling.BOX)
    return np.asarray(small.resize((size, size), Image.Resampling.BICUBIC)).copy()


def mask(chip: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Draw a surgical mask from the bridge of the nose to the chin; its colour, height, width and folds vary.

    Args:
        chip: (size, size, 3) uint8 RGB chip on dlib's template.
        generator: Source of randomness.
    """
    size, scale = chip.shape[0], chip.shape[0] / TEMPLATE_SIZE
    top = generator.uniform(62, 76)  # the tip of the nose is at 80
    sag = generator.uniform(4, 12)  # depth of the upper corners below the middle of the upper edge
    half_width = generator.uniform(44, 54)
    bottom = generator.uniform(134, 148)
    chin = generator.uniform(20, 32)
    shift = generator.uniform(-4, 4)
    centre = 76 + shift
    outline = [
        *_curve((centre - half_width, top + sag + 4), (centre, top - sag), (centre + half_width, top + sag + 4)),
        *_curve((centre + half_width, top + sag + 4), (centre + half_width, bottom - 16), (centre + chin, bottom)),
        *_curve((centre + chin, bottom), (centre, bottom + 5), (centre - chin, bottom)),
        *_curve((centre - chin, bottom), (centre - half_width, bottom - 16), (centre - half_width, top + sag + 4)),
    ]
    stencil = Image.new("L", (size, size), 0)
    draw = ImageDraw.Draw(stencil)
    draw.polygon([(x * scale, y * scale) for x, y in outline], fill=255)
    for side in (-1, 1):  # the loops around the ears
        corner = centre + side * half_width
        for y, ear in ((top + sag + 6, top - 2), (bottom - 24, top + 12)):
            line = [(corner * scale, y * scale), ((corner + side * 32) * scale, ear * scale)]
            draw.line(line, fill=255, width=max(1, round(1.5 * scale)))
    alpha = np.asarray(stencil.filter(ImageFilter.GaussianBlur(0.7 * scale)), np.float32)[..., None] / 255
    shade = _cloth_shade(size, centre * scale, top * scale, bottom * scale, generator)
    colour = np.asarray(MASK_COLOURS[generator.integers(len(MASK_COLOURS))], np.float32)
    colour = colour + generator.normal(0, 8, 3).astype(np.float32)
    # The cloth is lit like the face: its brightness follows that of the rows around the template's nose.
    light = np.clip(chip[round(50 * scale) : round(110 * scale)].mean() / 130, 0.5, 1.3)
    cloth = colour * shade[..., None] * light
    return np.clip(chip * (1 - alpha) + cloth * alpha, 0, 255).astype(np.uint8)


def night(chip: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Draw a picture in low light: a few photons per pixel, read noise of the sensor, and amplification.

    Args:
        chip: (size, size, 3) uint8 RGB chip.
        generator: Source of randomness.
    """
    photons = generator.uniform(4, 12)  # expected count of a white pixel
    read_noise = generator.uniform(0.4, 1.0)  # in photons
    level = (chip.astype(np.float32) / 255) ** generator.uniform(1.6, 2.2)
    signal = generator.poisson(level * photons) + generator.normal(0, read_noise, chip.shape)
    brightness = generator.uniform(0.35, 0.6)
    return (255 * brightness * np.clip(signal / photons, 0, 1)).astype(np.uint8)


SHIFTS: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "low-resolution": low_resolution,
    "mask": mask,
    "night": night,
}


def _curve(
    start: tuple[float, float], control: tuple[float, float], end: tuple[float, float]
) -> list[tuple[float, float]]:
    """Return twelve points of the quadratic Bezier curve from `start` to `end`."""
    t = np.linspace(0, 1, 12)[:, None]
    points = (1 - t) ** 2 * np.array(start) + 2 * t * (1 - t) * np.array(control) + t**2 * np.array(end)
    return [(float(x), float(y)) for x, y in points]


def _cloth_shade(size: int, centre: float, top: float, bottom: float, generator: np.random.Generator) -> np.ndarray:
    """Return the (size, size) brightness of the cloth around 1: curved across, with three pleats, darker below."""
    y, x = np.mgrid[:size, :size].astype(np.float32)
    across = (x - centre) / (0.5 * size)
    down = (y - top) / (bottom - top)
    pleats = np.sin(2 * np.pi * (3 * down + generator.uniform(0, 1)) + across**2)
    return 1.05 - 0.35 * across**2 + 0.05 * pleats - 0.12 * down
