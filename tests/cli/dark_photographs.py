"""Photographs of ORL people, of whom some are dark, in folders for the commands."""

from pathlib import Path

import numpy as np
from PIL import Image

from rsft.face.pictures.orl import orl_faces

# Folder -> places of its people in the alphabet. Those of `target` and `evaluation` are all dark, and half of `pool`.
PARTS = {"pool": range(12), "target": range(12, 18), "evaluation": range(18, 24)}


def draw_photographs(root: Path, pictures: int = 10) -> Path:
    """Draw the folders of `PARTS` below `root`, up to ten pictures of a person, and return `root`."""
    images = orl_faces()
    people = sorted(set(images.identities))
    for part, places in PARTS.items():
        for index, (item, person) in enumerate(zip(images.ids, images.identities, strict=True)):
            if people.index(person) in places and images.identities[:index].count(person) < pictures:
                light = 0.4 if part != "pool" or index % 2 else 1.0
                path = root / part / person / f"{Path(item).stem}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray((images.read(index) * light).astype(np.uint8)).save(path)
    return root
