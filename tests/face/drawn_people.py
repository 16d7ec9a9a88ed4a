"""People of noise and a network of one layer: a whole `fit` in a second or two, where real faces take half a minute."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from rsft.face.networks.bundle import FaceModel, face_model

SIZE = 112
PATCHES = SIZE // 8


def tiny_model(seed: int = 0) -> FaceModel:
    """Random projections of 8 x 8 means; the last stage can be tuned."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = nn.Sequential(nn.AvgPool2d(8), nn.Flatten(), nn.Linear(3 * PATCHES**2, 32))
    return face_model(network, name="tiny")


def draw_people(root: Path, *, seed: int = 0) -> Path:
    """Folders as the `faces` fixture has: `pool` of 12 people, `target` of 4, `evaluation` and `retention` of 8.

    Half of the pool is dark, and all of the target and the evaluation set. The retention set holds light pictures of
    the people evaluated, under the same names.
    """
    generator = np.random.default_rng(seed)
    for part, people, pictures in (("pool", 12, 6), ("target", 4, 6), ("evaluation", 8, 6)):
        for person in range(people):
            own = generator.uniform(60, 200, (PATCHES, PATCHES, 3)).repeat(8, 0).repeat(8, 1)
            for picture in range(pictures):
                dark = part != "pool" or picture % 2 == 0
                _save(own, 0.3 if dark else 1.0, root / part / f"{part}{person}" / f"{picture}.png", generator)
                if part == "evaluation":
                    _save(own, 1.0, root / "retention" / f"{part}{person}" / f"{picture}.png", generator)
    return root


def _save(own: np.ndarray, light: float, path: Path, generator: np.random.Generator) -> None:
    noise = generator.normal(0, 40, (PATCHES, PATCHES, 3)).repeat(8, 0).repeat(8, 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((light * own + noise).clip(0, 255).astype(np.uint8)).save(path)
