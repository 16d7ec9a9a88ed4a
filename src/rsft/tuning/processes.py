"""The processes that `torchrun` or `accelerate launch` started, and what one of them does for all.

Without a launcher there is one process, and nothing here imports or waits for anything.
"""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TypeVar

import torch
import torch.distributed

Value = TypeVar("Value")


def launched() -> bool:
    """Whether a launcher started this process beside others."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def on_cpu() -> bool:
    """Whether several processes must meet on the CPU: accelerate would take them for single ones unless it is told."""
    return launched() and not (torch.cuda.is_available() or torch.xpu.is_available())


def join() -> None:
    """Join the others, if a launcher started any; NCCL on CUDA, gloo on the CPU."""
    if launched() and not torch.distributed.is_initialized():
        from accelerate import PartialState

        PartialState(cpu=on_cpu())


def device() -> torch.device:
    """Where this process computes: its CUDA or other device, or the CPU."""
    from accelerate import PartialState

    return PartialState(cpu=on_cpu()).device


def place() -> tuple[int, int]:
    """Number of this process and how many there are; (0, 1) before `join` or without a launcher."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


def is_first() -> bool:
    """Whether this process writes and prints for all."""
    return place()[0] == 0


def wait() -> None:
    """Until all processes are here."""
    if place()[1] > 1:
        torch.distributed.barrier()


def first(compute: Callable[[], Value]) -> Value:
    """What the first process computes, on all processes alike; so is the error, if it ends in one.

    >>> first(lambda: 2)
    2
    """
    if place()[1] == 1:
        return compute()
    from accelerate.utils import broadcast_object_list

    outcome: list[Value | Exception | bool | None] = [None, False]
    if is_first():
        try:
            outcome = [compute(), False]
        except Exception as error:
            outcome = [error, True]
    value, failed = broadcast_object_list(outcome)
    if failed:
        raise value
    return value


@contextmanager
def first_enters(context: AbstractContextManager[Value]) -> Iterator[Value]:
    """Only the first process enters and leaves the context; what it gives is given to all, who wait for its end."""
    with ExitStack() as stack:
        yield first(lambda: stack.enter_context(context))
    wait()


def gather(parts: Sequence[Value]) -> list[Value]:
    """The parts of all processes, on all of them: those of the first, then those of the second, and so on."""
    if place()[1] == 1:
        return list(parts)
    from accelerate.utils import gather_object

    return list(gather_object(list(parts)))


def total(values: torch.Tensor) -> torch.Tensor:
    """The sum over all processes, each of which gives as many values.

    >>> total(torch.ones(2))
    tensor([1., 1.])
    """
    if place()[1] > 1:
        torch.distributed.all_reduce(values)
    return values


def leave(code: int) -> None:
    """End this process with the others, if there are any; a failed one does not wait, so that its launcher ends all.

    Gloo's threads, where the interpreter tears them down under load, end some process with SIGABRT, so that it is left
    without.
    """
    if place()[1] == 1:
        return
    if code == 0:
        wait()
        torch.distributed.destroy_process_group()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
