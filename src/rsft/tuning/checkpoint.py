"""Checkpoints: the complete state of a training on disk, as tensors and plain numbers, without pickle."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from pydantic import BaseModel
from torch import Tensor, nn

from rsft.data.reading import read_json, reading
from rsft.disk.durable import rename_durably, to_disk
from rsft.disk.room import telling_full
from rsft.disk.tensors import save_tensors
from rsft.disk.whole import discard
from rsft.errors import InputError

VERSION = 1
TENSORS_FILE = "tensors.safetensors"
STATE_FILE = "state.json"
PREFIX = "step-"
NAMES_SHOWN = 5


class _Document(BaseModel):
    """The shape of `state.json`."""

    version: int
    config: dict[str, Any] = {}  # another version may have none
    state: dict[str, Any] = {}


@dataclass(frozen=True)
class Checkpoints:
    """Where and how often a training is saved.

    A checkpoint is a folder `step-<number>`. It is written under another name and renamed when complete. If `folder`
    contains a checkpoint, the training continues from the newest one.

    Attributes:
        folder: Folder of one training, created when needed.
        every: Number of steps between checkpoints, at least 1. One more is saved at the end, and at SIGINT or SIGTERM.
        keep: Number of newest checkpoints that are kept, at least 1.
        config: Plain values that must be equal to continue from a checkpoint.

    Raises:
        ValueError: If `every` or `keep` is below 1.
    """

    folder: Path
    every: int = 100
    keep: int = 2
    config: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("every", "keep"):
            if getattr(self, name) < 1:
                raise ValueError(f"`Checkpoints({name}=...)` needs a value above 0, got {getattr(self, name)}.")

    def save(self, step: int, state: Mapping[str, Any], config: Mapping[str, Any]) -> None:
        """Write the state after `step`, and remove all but the newest `keep` checkpoints."""
        partial = self.folder / f".{PREFIX}{step:08d}"
        discard(partial)
        partial.mkdir(parents=True)
        tensors: dict[str, Tensor] = {}
        tree = _without_tensors(state, tensors)
        save_tensors(partial / TENSORS_FILE, tensors)
        document = {"version": VERSION, "config": _plain({**config, **self.config}), "state": tree}
        with telling_full(partial / STATE_FILE):
            (partial / STATE_FILE).write_text(json.dumps(document))
        for path in (*partial.iterdir(), partial):
            to_disk(path)
        final = self.folder / f"{PREFIX}{step:08d}"
        discard(final)
        rename_durably(partial, final)
        for old in self._whole()[: -self.keep]:
            discard(old)

    def load(self, config: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the state of the newest checkpoint, or None if there is none.

        Raises:
            InputError: If the checkpoint has another version or configuration, or a file is damaged.
        """
        whole = self._whole()
        if not whole:
            return None
        newest = whole[-1]
        try:
            document: _Document = read_json(newest / STATE_FILE, _Document, "a checkpoint")
            with reading(newest / TENSORS_FILE, "the tensors of a checkpoint"):
                tensors = safetensors.torch.load_file(newest / TENSORS_FILE)
                state: dict[str, Any] = _with_tensors(document.state, tensors) if document.version == VERSION else {}
        except InputError as error:
            raise InputError(f"{error} Remove '{newest}' to use the checkpoint before.") from error
        if document.version != VERSION:
            raise InputError(
                f"the checkpoint '{newest}' has version {document.version}, this rsft needs {VERSION}: start in an "
                "empty folder."
            )
        differences = _differences(document.config, _plain({**config, **self.config}))
        if differences:
            raise InputError(
                f"the checkpoint '{newest}' has another configuration: {'; '.join(differences)}. Restore these values, "
                "or start in an empty folder."
            )
        return state

    def _whole(self) -> list[Path]:
        return sorted(path for path in self.folder.glob(f"{PREFIX}*") if (path / STATE_FILE).is_file())


def load_weights(module: nn.Module, weights: Mapping[str, Tensor], name: str) -> None:
    """Copy weights into a module.

    Args:
        module: Changed in place.
        weights: State dict with the names and shapes of the module's own.
        name: Names the weights in the message.

    Raises:
        InputError: If names or shapes differ; the message lists some of them.
    """
    own = module.state_dict()
    wrong = {
        "missing": own.keys() - weights.keys(),
        "unexpected": weights.keys() - own.keys(),
        "of another shape": {key for key in own.keys() & weights.keys() if own[key].shape != weights[key].shape},
    }
    if any(wrong.values()):
        text = "; ".join(
            f"{kind}: {', '.join(sorted(names)[:NAMES_SHOWN])}" + (f" and {more} more" if more > 0 else "")
            for kind, names in wrong.items()
            if (more := len(names) - NAMES_SHOWN) > -NAMES_SHOWN
        )
        raise InputError(f"{name} has the weights of another network: {text}. Build the network they were saved from.")
    module.load_state_dict(weights)


def _without_tensors(value: Any, tensors: dict[str, Tensor], path: str = "") -> Any:
    """Return the tree as JSON values: tensors go to `tensors` by path, tuples and non-string keys are marked."""
    if isinstance(value, Tensor):
        # cloned, since safetensors rejects tensors that share memory; contiguous, since it keeps no memory format
        tensors[path] = value.detach().cpu().contiguous().clone()
        return {"__tensor__": path}
    if isinstance(value, Mapping):
        items = {key: _without_tensors(item, tensors, f"{path}/{key}") for key, item in value.items()}
        return (
            items
            if all(isinstance(key, str) for key in items)
            else {"__items__": [list(item) for item in items.items()]}
        )
    if isinstance(value, tuple | list):
        parts = [_without_tensors(item, tensors, f"{path}/{index}") for index, item in enumerate(value)]
        return {"__tuple__": parts} if isinstance(value, tuple) else parts
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(
        f"a checkpoint takes tensors and plain values, got {type(value).__name__} at '{path}': leave it out."
    )


def _with_tensors(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_with_tensors(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    if "__tensor__" in value:
        return tensors[value["__tensor__"]]
    if "__items__" in value:
        return {key: _with_tensors(item, tensors) for key, item in value["__items__"]}
    if "__tuple__" in value:
        return tuple(_with_tensors(item, tensors) for item in value["__tuple__"])
    return {key: _with_tensors(item, tensors) for key, item in value.items()}


def _plain(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration as it comes back from JSON."""
    plain: dict[str, Any] = json.loads(json.dumps(config, default=str))
    return plain


def _differences(saved: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    names = sorted(saved.keys() | now.keys())
    return [
        f"{name} is {saved.get(name)} in the checkpoint and {now.get(name)} now"
        for name in names
        if saved.get(name) != now.get(name)
    ]


def restore_strides(optimizer: torch.optim.Optimizer) -> None:
    """Give the optimiser's tensors the memory layout of their parameters, which they had before they were saved.

    The layout matters, since the order of the elements changes the last bit of sums over them.
    """
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                state[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
