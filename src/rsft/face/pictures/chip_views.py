"""Views of a chip: its mirror image, and moved copies."""

import cv2
import numpy as np

MAX_MOVE = 4  # pixels


def views_of(chip: np.ndarray, number: int, views: int) -> np.ndarray:
    """Return (views, size, size, 3): the chip, its mirror image and moved views, with moves seeded by `number`.

    Args:
        chip: (size, size, 3) uint8 picture.
        number: Seed for the moves, of up to `MAX_MOVE` pixels each way.
        views: Number of views, 2 or more. Every second one is mirrored.
    """
    generator = np.random.default_rng(number)
    moved = [move(chip, *generator.integers(-MAX_MOVE, MAX_MOVE + 1, 2)) for _ in range(2, views)]
    pictures = [chip, chip, *moved]
    return np.stack([cv2.flip(picture, 1) if view % 2 else picture for view, picture in enumerate(pictures)])


def move(chip: np.ndarray, down: int, right: int) -> np.ndarray:
    """Move a chip within its frame and repeat its edge where pixels are missing.

    Args:
        chip: (H, W, 3) picture.
        down: Pixels to move down; negative numbers move up.
        right: Pixels to move right; negative numbers move left.

    Returns:
        (H, W, 3) moved picture.
    """
    rows, columns = (np.arange(size) - step for size, step in zip(chip.shape[:2], (down, right), strict=True))
    return chip[rows.clip(0, chip.shape[0] - 1)][:, columns.clip(0, chip.shape[1] - 1)]
