"""Whether a stream divides itself among workers and processes, and how to read all of it in each of them.

A stream divides itself among the workers of a DataLoader by asking `torch.utils.data.get_worker_info`, as those of
Hugging Face and WebDataset do. It is answered here while, and only while, the stream runs: with None, so that it yields
all of its items in every worker, or with the truth, noting that it asked.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch.distributed
from torch.utils.data import _utils, get_worker_info


class Asked:
    """What a stream asked about where it runs.

    Args:
        truly: If True, the stream is told its worker; otherwise that there are no workers.

    Attributes:
        worker: Whether it asked for its worker.
        rank: Whether it asked `torch.distributed` for its process before its first item.
    """

    def __init__(self, *, truly: bool) -> None:
        self._truly = truly
        self.worker = self.rank = False

    def items_of(self, stream: Iterable[Any]) -> Iterator[Any]:
        """Yield the items of a stream."""
        with self._noting_rank(), self._answering():
            items = iter(stream)
        first = True
        while True:
            with ExitStack() as stack:
                if first:
                    stack.enter_context(self._noting_rank())
                stack.enter_context(self._answering())
                try:
                    item = next(items)
                except StopIteration:
                    return
            first = False
            yield item

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """Answer `get_worker_info` in a worker; in the main process there is nothing to hide."""
        told = get_worker_info()
        if told is None:
            yield
            return
        _utils.worker._worker_info = _Noting(told, self) if self._truly else None  # type: ignore[assignment]
        try:
            yield
        finally:
            _utils.worker._worker_info = told

    @contextmanager
    def _noting_rank(self) -> Iterator[None]:
        """Note whether `torch.distributed` is asked for rank or world size."""
        names = ("get_rank", "get_world_size") if torch.distributed.is_available() else ()
        given = {name: getattr(torch.distributed, name) for name in names}
        for name, function in given.items():
            setattr(torch.distributed, name, self._noted(function))
        try:
            yield
        finally:
            for name, function in given.items():
                setattr(torch.distributed, name, function)

    def _noted(self, function: Callable[..., int]) -> Callable[..., int]:
        def noted(*arguments: Any, **options: Any) -> int:
            self.rank = True
            return function(*arguments, **options)

        return noted


class _Noting:
    """The `WorkerInfo` of a worker that notes whether it is read."""

    def __init__(self, info: Any, asked: Asked) -> None:
        self._info, self._asked = info, asked

    def __getattr__(self, name: str) -> Any:
        if name in ("id", "num_workers"):
            self._asked.worker = True
        return getattr(self._info, name)


def processes_of(stream: Any) -> int | None:
    """Return among how many processes a stream divides itself; None if that cannot be known beforehand.

    It is known of Hugging Face's streams, which `datasets.distributed.split_dataset_by_node` divides, and of
    WebDataset's that have a stage `split_by_node`.
    """
    if type(stream).__module__.partition(".")[0] == "datasets" and hasattr(stream, "_distributed"):
        return int(stream._distributed.world_size) if stream._distributed else 1
    for stage in getattr(stream, "pipeline", ()):
        if getattr(stage, "__name__", "") == "split_by_node":
            from webdataset.utils import pytorch_worker_info

            return int(pytorch_worker_info()[1])
    return None
