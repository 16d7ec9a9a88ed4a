"""Shared by all tests."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image

from rsft.face.demo import draw_faces
from rsft.face.networks.load import load_model
from rsft.face.pictures.orl import orl_faces

sys.path[:0] = [
    str(Path(__file__).parent / part)
    for part in ("browser", "cli", "data", "docs", "face", "faults", "frameworks", "gpu", "laws", "scale", "tasks")
]
pytest_plugins = ["browser_fixture", "devices", "pages"]  # fixtures of the folders browser, gpu and docs
# The machine's speed is not what is tested.
settings.register_profile("rsft", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("rsft")


@pytest.fixture(scope="session")
def development_data() -> Path:
    """The folder of real development faces."""
    if "RSFT_DATA" not in os.environ:
        pytest.skip("RSFT_DATA names no folder of development faces")
    return Path(os.environ["RSFT_DATA"])


@pytest.fixture(scope="session")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Aligned chips of 20 ORL people: 10 in `pool/`, 4 in `target/`, 6 in `evaluation/` and `retention/`."""
    root = tmp_path_factory.mktemp("faces")
    photographs = orl_faces()
    people = sorted(set(photographs.identities))
    parts = {"pool": people[:10], "target": people[10:14], "evaluation": people[14:20], "retention": people[14:20]}
    used = [index for index, person in enumerate(photographs.identities) if person in people[:20]]
    draw_faces(
        photographs.subset(used), root, load_model("dlib"), "night", copies=1, seed=0, advance=lambda pictures: None
    )
    for part, kept in parts.items():
        for person in people[:20]:
            if person not in kept:
                for path in sorted((root / part / person).iterdir()):
                    path.unlink()
                (root / part / person).rmdir()
    # a picture without a face and one that is no picture
    Image.fromarray(np.zeros((50, 50, 3), np.uint8)).save(root / "pool" / people[0] / "black.png")
    (root / "pool" / people[0] / "broken.jpg").write_bytes(b"no picture")
    return root
