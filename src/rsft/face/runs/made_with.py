"""What a run was made with that is no input, and yet may change its last bits."""

import importlib.metadata
import os
import platform
from typing import Any

import cv2
import torch

from rsft.tuning.distributed import device, rank_and_world_size

PACKAGES = ("rsft", "torch", "numpy", "scikit-learn", "scipy", "pillow", "pyarrow")
PRECISION = "ACCELERATE_MIXED_PRECISION"  # set by `accelerate launch --mixed_precision`


def made_with() -> dict[str, Any]:
    """Return the versions, the device, the precision and the numbers of processes and threads, for `config.toml`.

    It holds no path and no name of a machine.
    """
    where = device()
    _, processes = rank_and_world_size()
    return {
        **{name: importlib.metadata.version(name) for name in PACKAGES},
        "opencv": cv2.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "device": torch.cuda.get_device_name(where) if where.type == "cuda" else where.type,
        "precision": os.environ.get(PRECISION, "no"),
        "processes": processes,
        "threads": torch.get_num_threads(),
    }
