"""The state of all global random generators, to put a run back where it was."""

import random
from typing import Any

import numpy as np
import torch


def random_state() -> dict[str, Any]:
    """What Python, numpy and torch would draw next, as tensors and plain numbers."""
    name, keys, *rest = np.random.get_state()  # noqa: NPY002  the global one may be in use by the data
    state = {
        "python": random.getstate(),
        "numpy": (name, np.asarray(keys).tolist(), *rest),
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def set_random_state(state: dict[str, Any]) -> None:
    """Put back what `random_state` gave."""
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])  # noqa: NPY002
    torch.set_rng_state(state["torch"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
