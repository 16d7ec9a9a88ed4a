"""Under `torchrun`, torch, torchdata, accelerate and Fabric give each process its exact part of the sequence."""

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from rsft import RejectionSampler

SCRIPT = Path(__file__).parent / "ranks.py"
ITEMS, BATCH, EPOCHS = 301, 4, 2
WORLD_SIZES = [2, 4]
ACCEPTANCE = torch.linspace(0, 1, ITEMS, dtype=torch.float64)


@cache
def run(world_size: int, folder: Path) -> list[dict[str, Any]]:
    """Return the results of all ranks."""
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(world_size)]
    done = subprocess.run(
        [*launch, str(SCRIPT), str(folder)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads((folder / f"{rank}-{world_size}.json").read_text()) for rank in range(world_size)]


@pytest.fixture(params=WORLD_SIZES)
def ranks(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return run(request.param, tmp_path_factory.getbasetemp())


def sequence(epoch: int) -> list[int]:
    sampler = RejectionSampler(ACCEPTANCE)
    sampler.set_epoch(epoch)
    return list(sampler)


def batched(items: list[int]) -> list[list[int]]:
    return [items[first : first + BATCH] for first in range(0, len(items), BATCH)]


@pytest.mark.parametrize("loader", ["torch", "stateful", "fabric"])
def test_each_of_n_ranks_takes_every_nth_item_of_one_sequence(ranks: list[dict[str, Any]], loader: str) -> None:
    n = len(ranks)
    for epoch in range(EPOCHS):
        whole = sequence(epoch)
        whole = whole[: len(whole) // n * n]
        for rank, results in enumerate(ranks):
            assert results[loader][epoch] == batched(whole[rank::n])


def test_accelerate_distributes_the_batches_of_one_sequence(ranks: list[dict[str, Any]]) -> None:
    n = len(ranks)
    for epoch in range(EPOCHS):
        full = [batch for batch in batched(sequence(epoch)) if len(batch) == BATCH]
        full = full[: len(full) // n * n]
        for rank, results in enumerate(ranks):
            assert results["accelerate"][epoch] == full[rank::n]


def test_the_trainer_distributes_the_batches_of_one_sequence(tmp_path_factory: pytest.TempPathFactory) -> None:
    results = run(2, tmp_path_factory.getbasetemp())
    expected: list[list[int]] = [[], []]
    steps = 0
    for epoch in range(EPOCHS):
        full = [batch for batch in batched(sequence(epoch)) if len(batch) == BATCH]
        full = full[: len(full) // 2 * 2]
        steps = steps or len(full) // 2  # the Trainer uses the number of steps of the first epoch
        for rank in range(2):
            expected[rank] += [index for batch in full[rank::2][:steps] for index in batch]
    assert [rank["trainer"] for rank in results] == expected


def test_updates_of_all_ranks_take_effect_on_every_rank(ranks: list[dict[str, Any]]) -> None:
    n = len(ranks)
    sampler = RejectionSampler(ACCEPTANCE)
    seen = torch.tensor(sequence(0))
    seen = seen[: len(seen) // n * n]
    sampler.update(seen, ACCEPTANCE[seen] / 4)
    sampler.set_epoch(1)
    whole = list(sampler)
    for rank, results in enumerate(ranks):
        assert results["updates"][1] == batched(whole[: len(whole) // n * n][rank::n])


def test_all_ranks_end_with_the_same_weights(ranks: list[dict[str, Any]]) -> None:
    assert all(results["weights"] == ranks[0]["weights"] for results in ranks)


def test_gathered_updates_are_exact_and_equal_on_all_ranks(ranks: list[dict[str, Any]]) -> None:
    indices, values = [], []
    for rank in range(len(ranks)):
        indices += [2**53 + 1 + 2 * rank, *range(rank)]
        values += [0.1 + rank, *([1 / 3] * rank)]
    assert all(results["gathered"] == [indices, values] for results in ranks)


def test_a_wrong_division_among_ranks_raises_and_the_message_names_the_remedy(ranks: list[dict[str, Any]]) -> None:
    for results in ranks:
        assert "after `init_process_group`" in results["early"]
        assert "BatchSamplerShard: make the sampler with rank=0, world_size=1" in results["twice"]
        assert "DistributedSamplerWrapper: pass use_distributed_sampler=False" in results["wrapped"]
        assert f"all {len(ranks)} ranks get the same items" in results["undivided"]
