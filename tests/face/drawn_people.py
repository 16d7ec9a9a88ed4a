"""Synthetic people and a network of one layer. A whole `fit` takes two seconds, and half a minute with real faces."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from small_graphs import graph, node
from torch import nn

from rsft.face.networks.bundle import FaceModel, face_model

SIZE = 112
PATCHES = SIZE // 8


def tiny_model(seed: int = 0) -> FaceModel:
    """Return a network of random projections of 8 x 8 means, whose last stage can be tuned."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = nn.Sequential(nn.AvgPool2d(8), nn.Flatten(), nn.Linear(3 * PATCHES**2, 32))
    return face_model(network, name="tiny", cut=-1)


def save_tiny_model(folder: Path) -> None:
    """Write the network of `tiny_model` as `tiny.onnx`, with the bundle `tiny.json` beside it."""
    weight, bias = (parameter.detach().numpy() for parameter in tiny_model().network[-1].parameters())
    layers = [
        node("AveragePool", "x", output="a", kernel_shape=[8, 8], strides=[8, 8]),
        node("Flatten", "a", output="b"),
        node("Gemm", "b", "w", "c", output="y", transB=1),
    ]
    (folder / "tiny.onnx").write_bytes(graph(layers, {"w": weight, "c": bias}, shape=("batch", 3, SIZE, SIZE)))
    (folder / "tiny.json").write_text('{"order": "RGB", "mean": 127.5, "std": 127.5, "licence": "CC0-1.0"}')


def draw_people(root: Path, *, seed: int = 0, pool: int = 12, target: int = 4) -> Path:
    """Draw the folders of the `faces` fixture: `pool` (12 people), `target` (4), `evaluation` and `retention` (8).

    Each person has 6 pictures. The numbers of people in `pool` and `target` can be chosen.

    Half of the pool, the whole target and the whole evaluation set are dark. The retention set holds light pictures of
    the people in the evaluation set, under the same names.
    """
    generator = np.random.default_rng(seed)
    for part, people, pictures in (("pool", pool, 6), ("target", target, 6), ("evaluation", 8, 6)):
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
