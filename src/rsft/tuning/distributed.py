"""Communication between the processes that `torchrun` or `accelerate launch` started.

Without a launcher there is one process: nothing waits, and only `device` imports accelerate.
"""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TypeVar

import torch
import torch.distributed
from torch import nn

from rsft.errors import InputError, RsftError

CPU_CHOSEN = "ACCELERATE_USE_CPU"  # variable of the environment, which accelerate reads too
UNREACHED = "connectFullMesh failed"  # in what gloo says
Value = TypeVar("Value")


def launched() -> bool:
    """Return whether a launcher started this process together with others."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def on_cpu() -> bool:
    """Return whether this process computes on the CPU by choice, or several communicate on it.

    If accelerate does not get the latter as `cpu`, it treats each of them as a single process.
    """
    chosen = os.environ.get(CPU_CHOSEN, "").lower() in ("1", "true", "yes")
    return chosen or (launched() and not (torch.cuda.is_available() or torch.xpu.is_available()))


def use_device(name: str) -> None:
    """Let this process, and those that it starts, compute on a device; call it before anything is computed.

    Args:
        name: "cpu", "cuda" or "mps".

    Raises:
        InputError: PyTorch cannot use this device here.
    """
    if name == "cpu":
        os.environ[CPU_CHOSEN] = "true"
        return
    usable = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not usable[name]:
        raise InputError(
            f"the device '{name}' cannot be used: PyTorch {torch.__version__} finds none here. `rsft doctor` shows "
            "what there is, and 'auto' takes the best of it."
        )
    os.environ.pop(CPU_CHOSEN, None)


def join() -> None:
    """Join the other processes, if a launcher started any; with NCCL on CUDA and gloo on the CPU.

    Raises:
        RsftError: gloo cannot reach another process.
    """
    if launched() and not torch.distributed.is_initialized():
        from accelerate import PartialState

        try:
            PartialState(cpu=on_cpu())
        except RuntimeError as error:
            if UNREACHED not in str(error):
                raise
            raise RsftError(
                f"the processes do not reach each other ({error}). Where it names a loopback address, 127..., set "
                "GLOO_SOCKET_IFNAME on each machine to its network interface, such as eth0."
            ) from error


def device() -> torch.device:
    """Return the device of this process: CUDA, another accelerator, or the CPU."""
    from accelerate import PartialState

    return PartialState(cpu=on_cpu()).device


@contextmanager
def on_device(module: nn.Module) -> Iterator[torch.device]:
    """Move a module with parameters to the device of this process, and back at the end; the value is the device.

    >>> with on_device(nn.Linear(2, 1)) as where:
    ...     where == device()
    True
    """
    where, origin = device(), next(module.parameters()).device
    module.to(where)
    try:
        yield where
    finally:
        module.to(origin)


def rank_and_world_size() -> tuple[int, int]:
    """Return (rank, world_size) of this process; (0, 1) before `join` or without a launcher."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


def is_first() -> bool:
    """Return whether this is the first process, which writes and prints for all."""
    return rank_and_world_size()[0] == 0


def wait() -> None:
    """Wait until all processes have called this function."""
    if rank_and_world_size()[1] > 1:
        torch.distributed.barrier()


def on_first(compute: Callable[[], Value]) -> Value:
    """Call `compute` on the first process only, and return its result, or raise its error, on all processes.

    >>> on_first(lambda: 2)
    2
    """
    if rank_and_world_size()[1] == 1:
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
    """Enter and leave a context on the first process only; all processes get its value, and wait for its end."""
    with ExitStack() as stack:
        yield on_first(lambda: stack.enter_context(context))
    wait()


def gather(parts: Sequence[Value]) -> list[Value]:
    """Return the parts of all processes on every process, in the order of the ranks."""
    if rank_and_world_size()[1] == 1:
        return list(parts)
    from accelerate.utils import gather_object

    return list(gather_object(list(parts)))


def sum_over_processes(values: torch.Tensor) -> torch.Tensor:
    """Return the sum of `values` over all processes, in place; its shape must be the same on all of them.

    >>> sum_over_processes(torch.ones(2))
    tensor([1., 1.])
    """
    if rank_and_world_size()[1] > 1:
        torch.distributed.all_reduce(values)
    return values


def leave(code: int) -> None:
    """End this process together with the others; do nothing if it is the only one.

    A process that failed does not wait for the others, so that its launcher ends them. `os._exit` skips the shutdown of
    the interpreter, in which gloo's threads under load may end a process with SIGABRT.

    Args:
        code: Exit code, 0 for success.
    """
    if rank_and_world_size()[1] == 1:
        return
    if code == 0:
        wait()
        torch.distributed.destroy_process_group()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
