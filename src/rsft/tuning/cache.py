"""Activations of a frozen prefix on disk: computed when an item is first used, and read afterwards."""

import hashlib
import itertools
import json
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.fx import GraphModule
from torch.utils.data import DataLoader, Dataset, Sampler

from rsft.data.reading import read_json, reading
from rsft.disk.access import PRIVATE_FOLDER, make_private
from rsft.disk.lock import locked
from rsft.disk.room import FULL, MIB, free_bytes
from rsft.disk.whole import replace_file
from rsft.errors import DiskFullError, InputError, RsftError
from rsft.tuning.freezing import evaluating

SHARD_BYTES = 2**28
DESCRIPTION_FILE = "store.json"
FILLED_FILE = "filled.npy"
STORE = "part of a store of activations"
CHECKED_ROWS = 4  # of an existing store, spaced evenly over those that it has
TINY = 2**-24  # the smallest value of half precision
MAX_DIFFERENCE = 0.01  # of a row's largest value; the size of a batch and the device change the last bits

Batch = tuple[tuple[Tensor, ...], Tensor, list[int]]


class CachedActivations(Dataset[Batch]):
    """Dataset of the outputs of a frozen prefix, where each row is computed once.

    The rows are stored in memory-mapped shards, in a separate folder for each combination of prefix, weights, content
    and dtype. A later run reads them from there. In half precision a value is rounded by at most 2^-11 of itself, or by
    2^-25 if that is more. Several processes may use one store: a row is written once, under a lock, and a process that
    is killed leaves no half-written row or shard. Only the owner can read the folder.

    Of an existing store, some rows are computed again when it is first used, to notice data that changed under the same
    `content`.

    Args:
        folder: Folder that contains the stores.
        prefix: Module inputs -> tuple of (B, ...) tensors, such as the prefix that `cut` returns. It must not change
            while in use.
        read: Function rows -> (B, ...) inputs. If items have several views, let each row be one view of one item.
        targets: (N,) targets of all rows.
        content: Identifies the data of the rows, such as a hash of their files. Another value is another store.
        dtype: Dtype on disk, `torch.float16` or `torch.float32`.

    Attributes:
        folder: Folder of this store.
        computed: Number of rows computed so far by this object.
    """

    def __init__(
        self,
        folder: Path,
        prefix: nn.Module,
        read: Callable[[Sequence[int]], Tensor],
        targets: Tensor,
        *,
        content: str,
        dtype: torch.dtype = torch.float16,
    ) -> None:
        self._prefix, self._read, self._targets = prefix, read, targets
        self._dtype = np.dtype({torch.float16: "float16", torch.float32: "float32"}[dtype])
        self.folder = folder / _key(prefix, content, len(targets), self._dtype.name)
        self.folder.mkdir(PRIVATE_FOLDER, parents=True, exist_ok=True)
        self._shapes: list[_Shape] = []
        self._shards: dict[int, np.ndarray] = {}
        self._checked = not self._open()
        self.computed = 0

    def __len__(self) -> int:
        return len(self._targets)

    def __getitem__(self, row: int) -> Batch:
        return self.__getitems__([row])

    def __getitems__(self, rows: Sequence[int]) -> Batch:
        """Return (activations, targets, rows) as one batch; compute the missing rows.

        Raises:
            RsftError: If the disk is full, or an activation is not finite or too large for the dtype on disk.
            InputError: If rows of an existing store are not those of the data.
        """
        if not self._checked:
            self._check_some_rows()
        index = np.asarray(rows)
        missing = index[~self._filled[index]] if self._shapes else index
        if len(missing):
            self._compute(np.unique(missing))
        flat = torch.from_numpy(self._gather(index)).float()
        widths = [math.prod(shape.sizes) for shape in self._shapes]
        parts = zip(self._shapes, flat.split(widths, 1), strict=True)
        return tuple(shape.from_flat(part) for shape, part in parts), self._targets[index], list(rows)

    def loader(
        self, batch_size: int, sampler: Sampler[int] | None = None, *, drop_last: bool = False
    ) -> DataLoader[Any]:
        """Return a DataLoader of (activations, targets, rows) batches, to train the suffix with `fine_tune`."""
        return DataLoader(self, batch_size, sampler=sampler, drop_last=drop_last, collate_fn=_as_it_is)

    def _compute(self, rows: np.ndarray) -> None:
        rounded = self._rounded(rows)
        with locked(self.folder, wait=True):
            if not self._shapes and not self._open():
                self._begin()
            new = ~self._filled[rows]  # another process may have written some meanwhile
            for shard, of_shard in self._by_shard(rows[new]):
                self._shard(shard)[rows[new][of_shard] % self._rows_per_shard] = rounded[new][of_shard]
            self._filled[rows] = True
        self.computed += len(rows)

    def _rounded(self, rows: np.ndarray) -> np.ndarray:
        """Compute the values of rows as they are stored: (B, width)."""
        inputs = self._read(rows.tolist())
        own = next(itertools.chain(self._prefix.parameters(), self._prefix.buffers()), inputs)
        with evaluating(self._prefix):
            given = self._prefix(inputs.to(own.device))
        self._given = [_Shape.of(tensor) for tensor in given]
        if self._shapes and [shape.sizes for shape in self._shapes] != [shape.sizes for shape in self._given]:
            raise InputError(f"'{self.folder / DESCRIPTION_FILE}' states other shapes: remove the store.")
        flat = torch.cat([shape.to_flat(tensor) for shape, tensor in zip(self._given, given, strict=True)], 1)
        stored: np.ndarray = flat.cpu().numpy()
        with np.errstate(over="ignore"):
            rounded = stored.astype(self._dtype)
        wrong = ~np.isfinite(rounded).all(1)
        if wrong.any():
            raise RsftError(
                f"activations of row {rows[wrong][0]} reach {np.abs(stored[wrong]).max():g}, which {self._dtype.name} "
                "cannot hold: pass `dtype=torch.float32`, or check the item if the value is not finite."
            )
        return rounded

    def _check_some_rows(self) -> None:
        """Compute some stored rows again, and raise InputError if they have other values than the stored ones."""
        known = np.flatnonzero(self._filled)
        rows = np.unique(known[np.linspace(0, len(known) - 1, min(len(known), CHECKED_ROWS)).astype(int)])
        if len(rows):
            now, before = (values.astype(np.float64) for values in (self._rounded(rows), self._gather(rows)))
            differs = np.abs(now - before).max(1) > MAX_DIFFERENCE * np.abs(before).max(1) + TINY
            if differs.any():
                raise InputError(
                    f"row {rows[differs][0]} of the store '{self.folder}' is not that of the data: they have changed "
                    "under the same `content`. Give another `content`, or remove the store."
                )
        self._checked = True

    def _open(self) -> bool:
        """Open the store, if there is one; it is whole as soon as `FILLED_FILE` is there."""
        if not (self.folder / FILLED_FILE).exists():
            return False
        self._shapes = read_json(self.folder / DESCRIPTION_FILE, list[_Shape], STORE)
        self._filled = _opened(self.folder / FILLED_FILE, (len(self),), np.dtype(bool))
        for shard, _ in self._by_shard(np.flatnonzero(self._filled)):
            if not self._path(shard).exists():
                raise InputError(f"'{self._path(shard)}' is missing: remove the store '{self.folder}'.")
            self._shard(shard)
        return True

    def _begin(self) -> None:
        self._shapes = self._given
        replace_file(self.folder / DESCRIPTION_FILE, json.dumps([vars(shape) for shape in self._shapes]).encode())
        self._filled = _mapped(self.folder / FILLED_FILE, (len(self),), np.dtype(bool))

    def _gather(self, rows: np.ndarray) -> np.ndarray:
        """Return the stored values of rows that are computed: (B, width)."""
        gathered = np.empty((len(rows), self._width), self._dtype)
        for shard, of_shard in self._by_shard(rows):
            gathered[of_shard] = self._shard(shard)[rows[of_shard] % self._rows_per_shard]
        return gathered

    def _by_shard(self, rows: np.ndarray) -> list[tuple[int, np.ndarray]]:
        shards = rows // self._rows_per_shard
        return [(int(shard), np.flatnonzero(shards == shard)) for shard in np.unique(shards)]

    def _path(self, number: int) -> Path:
        return self.folder / f"shard-{number:05d}.npy"

    def _shard(self, number: int) -> np.ndarray:
        if number not in self._shards:
            path = self._path(number)
            rows = min(self._rows_per_shard, len(self) - number * self._rows_per_shard)
            make_or_open = _opened if path.exists() else _mapped
            self._shards[number] = make_or_open(path, (rows, self._width), self._dtype)
        return self._shards[number]

    @property
    def _width(self) -> int:
        return sum(math.prod(shape.sizes) for shape in self._shapes)

    @property
    def _rows_per_shard(self) -> int:
        return max(1, SHARD_BYTES // (self._width * self._dtype.itemsize))


@dataclass(frozen=True)
class _Shape:
    """Shape and memory layout of one tensor that crosses the cut, without the batch dimension."""

    sizes: list[Annotated[int, Field(gt=0)]]
    channels_last: bool

    def __post_init__(self) -> None:
        if self.channels_last and len(self.sizes) != 3:
            raise ValueError("channels can be last in three dimensions only")

    @classmethod
    def of(cls, tensor: Tensor) -> "_Shape":
        last = tensor.ndim == 4 and tensor.is_contiguous(memory_format=torch.channels_last)
        return cls(list(tensor.shape[1:]), last)

    def to_flat(self, tensor: Tensor) -> Tensor:
        return (tensor.permute(0, 2, 3, 1) if self.channels_last else tensor).flatten(1)

    def from_flat(self, flat: Tensor) -> Tensor:
        if not self.channels_last:
            return flat.unflatten(1, self.sizes)
        channels, rows, columns = self.sizes
        return flat.unflatten(1, (rows, columns, channels)).permute(0, 3, 1, 2)


def _as_it_is(batch: Any) -> Any:
    return batch


def _key(prefix: nn.Module, content: str, items: int, dtype: str) -> str:
    """Return 16 hexadecimal digits that identify everything the stored values depend on."""
    code = prefix.code if isinstance(prefix, GraphModule) else repr(prefix)
    digest = hashlib.sha256(json.dumps([code, repr(prefix), content, items, dtype]).encode())
    for name, tensor in prefix.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()[:16]


def _opened(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    """Map an array of a store for reading and writing."""
    with reading(path, STORE):
        array = np.lib.format.open_memmap(path, "r+")
    if array.shape != shape or array.dtype != dtype:
        raise InputError(
            f"'{path}' needs {dtype} of shape {shape}, got {array.dtype} of shape {array.shape}: remove the store "
            f"'{path.parent}'."
        )
    return array


def _mapped(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    """Create an array of zeros on disk with its blocks reserved, so that a full disk is an error now, not a crash.

    It gets its name when it is whole.
    """
    new = path.with_name(f".{path.name}.new")
    array = np.lib.format.open_memmap(new, "w+", dtype, shape)
    try:
        if hasattr(os, "posix_fallocate"):
            with open(new, "r+b") as file:
                os.posix_fallocate(file.fileno(), 0, new.stat().st_size)
        make_private(new)
        new.rename(path)
    except OSError as error:
        new.unlink()
        if error.errno not in FULL:
            raise
        raise DiskFullError(
            f"no room for {array.nbytes / MIB:.0f} MiB of activations in '{path.parent}', where "
            f"{free_bytes(path) / MIB:.0f} MiB are free: free space, choose another folder, or cut later, where "
            "activations are smaller."
        ) from error
    return array
