"""Views that have the target's own nuisances: its light, contrast, blur and noise, as measured on its pictures."""

from collections.abc import Callable

import cv2
import numpy as np

from rsft.data.features import Features
from rsft.face.pictures.align import AlignedFace
from rsft.face.pictures.covariates import covariates

NUISANCES = ("brightness", "contrast", "sharpness", "noise")
MIN_SIDE, MAX_NOISE, HALVINGS = 6, 40.0, 7
COLOURED = 0.3  # part of the noise that differs between the colours


def like_target(target: Features, template: np.ndarray) -> Callable[[np.ndarray, np.random.Generator], np.ndarray]:
    """Return a change (chip, generator) -> chip that gives a chip the nuisances of a random picture of the target.

    Light and contrast are set, the chip is made smaller and larger again until it is no sharper, and noise is added
    until it is no cleaner. A chip is never made sharper or cleaner.

    Args:
        target: The target's pictures, of which covariates are known.
        template: (5, 2) points of the chips.
    """
    wanted = np.column_stack([target.covariates[name] for name in NUISANCES])

    def measured(chip: np.ndarray, name: str) -> float:
        return covariates(AlignedFace(chip), template)[name]

    def change(chip: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        brightness, contrast, sharpness, noise = wanted[generator.integers(len(wanted))]

        def softened(side: float) -> np.ndarray:
            return _lit(_smaller(chip, round(side)), brightness, contrast)

        side = _last(lambda side: measured(softened(side), "sharpness") <= sharpness, MIN_SIDE, len(chip))
        soft = softened(side)
        grains = generator.normal(size=(*chip.shape[:2], 1)) * (1 - COLOURED)
        grains = grains + COLOURED * generator.normal(size=chip.shape)

        def grainy(level: float) -> np.ndarray:
            return np.clip(soft + level * grains, 0, 255).astype(np.uint8)

        return grainy(_last(lambda level: measured(grainy(level), "noise") <= noise, 0.0, MAX_NOISE))

    return change


def _last(holds: Callable[[float], bool], low: float, high: float) -> float:
    """Return about the largest number in [low, high] at which something still holds; `low` if it never does."""
    if holds(high):
        return high
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def _smaller(chip: np.ndarray, side: int) -> np.ndarray:
    """Make a chip smaller and as large as before."""
    small = cv2.resize(chip, (side, side), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, chip.shape[:2], interpolation=cv2.INTER_CUBIC)


def _lit(chip: np.ndarray, brightness: float, contrast: float) -> np.ndarray:
    """Give the grey levels of a chip a mean and a standard deviation, but for what is cut off at black and white."""
    grey = cv2.cvtColor(chip, cv2.COLOR_RGB2GRAY)
    lit = (chip - grey.mean()) * (contrast / max(float(grey.std()), 1.0)) + brightness
    return np.clip(lit, 0, 255).astype(np.uint8)
