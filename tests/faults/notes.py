"""What runs note for themselves, to go on later or to be compared: a small example of each file, and its readers."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import torch
from drawn_people import tiny_model
from PIL import Image
from torch import Tensor, nn

from rsft.data.features import Features
from rsft.data.images import find_images
from rsft.face.forget import forget
from rsft.face.pictures.looks import Looks
from rsft.face.runs.measured import differ_in, note_measured
from rsft.face.runs.same_inputs import check_same_inputs
from rsft.face.runs.time_spent import TimeSpent
from rsft.face.threshold import write_thresholds
from rsft.tuning.cache import CachedActivations
from rsft.tuning.checkpoint import Checkpoints

PICTURES, KEPT, TIMES, CONFIG = "pictures", "kept", "times.json", {"pool": "a"}
ROWS = [0, 1, 2]


class _AsTuple(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor]:
        return (x.flatten(1),)


def write_notes(root: Path) -> None:
    """Write every kind of note below a folder."""
    features = Features(["ann/1", "bob/1"], np.eye(2, 3), np.eye(2, 3), None, [], "0123456789abcdef", {})
    (root / "embedded").mkdir()
    features.save(root / "embedded")
    (root / "run").mkdir()
    accepted = {"path": ["ann/1", "bob/1"], "identity": ["ann", "bob"], "accepted": [True, False]}
    pyarrow.parquet.write_table(pyarrow.table(accepted), root / "run" / "accepted.parquet")
    (root / "run" / "config.toml").write_text(f'model = "{root}"\n')
    tiny_model().save(root / "model")
    note_measured(root, {"target": features})
    TimeSpent(root / TIMES).note()
    Checkpoints(root / "steps").save(1, {"step": 1, "weights": {"a": torch.ones(2)}}, CONFIG)
    for name in ("ann", "bob"):
        (root / PICTURES / name).mkdir(parents=True)
        Image.new("RGB", (112, 112), "red").save(root / PICTURES / name / "1.png")
    (root / PICTURES / "bob" / "2.png").write_bytes(b"no picture")
    read_notes(root)


def read_notes(root: Path) -> None:
    """Read every kind of note below a folder, as a run that goes on does."""
    forget("ann", [root / "run", root / "embedded"])
    write_thresholds(root / "model", [])
    differ_in(root, root)
    TimeSpent(root / TIMES).note()
    Checkpoints(root / "steps").load(CONFIG)
    images = find_images(root / PICTURES)
    check_same_inputs(root / KEPT, {"pool": images})
    Looks(tiny_model(), images, aligned=True, folder=root / KEPT)(np.arange(3))
    CachedActivations(root / "store", _AsTuple(), _inputs, torch.zeros(len(ROWS)), content="x").__getitems__(ROWS)


def _inputs(rows: Sequence[int]) -> Tensor:
    return torch.ones(len(rows), 2) * torch.tensor(rows)[:, None]
