"""Threads for the cores that are really there, which sleep while they wait.

OpenMP's threads, which compute for PyTorch, spin for a while when they wait for one another. If another process runs on
the same cores, they spin in the place of the work. Sleeping threads cost nothing when the machine is free: see
`benchmarks/threads.py`.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

WAITING = "OMP_WAIT_POLICY"
NUMBER = "OMP_NUM_THREADS"
# Most threads that read pictures. On 16 cores 4 read 495 photographs a second and 16 only 332; aligned chips, 844 and
# 767 (2 threads: 1,041). See "Measured" in docs/gpu.md.
MOST_READERS = 4
FAR_READERS = 16  # threads that read pictures from a bucket, which wait for its answers most of the time


def sleep_while_waiting() -> None:
    """Let OpenMP's threads sleep while they wait, unless the user has chosen; only works before PyTorch is imported."""
    os.environ.setdefault(WAITING, "PASSIVE")


def cores() -> int:
    """Return how many cores this process may use, by its affinity and the limits of its container."""
    import joblib

    return int(joblib.cpu_count())


def readers() -> int:
    """Return how many threads are to read pictures ahead of the network: one for each core, up to `MOST_READERS`."""
    return min(cores(), MOST_READERS)


@contextmanager
def reading(*, far: bool = False) -> Iterator[ThreadPoolExecutor]:
    """Yield a pool of threads to read pictures. If the block fails or is interrupted, it does not wait for them.

    Args:
        far: Whether they lie in a bucket, so that threads wait for answers and not for cores.
    """
    pool = ThreadPoolExecutor(max_workers=FAR_READERS if far else readers())
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()


def use_real_cores() -> None:
    """Let PyTorch and OpenCV compute with one thread for each core, unless the user has chosen a number."""
    if NUMBER not in os.environ:
        import torch

        torch.set_num_threads(cores())
