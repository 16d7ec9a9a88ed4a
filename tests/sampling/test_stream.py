import io
import math
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset

from rsft.sampling.acceptance import Stream, uniforms
from rsft.sampling.stream import RejectionStream

ITEMS = 500


class Numbers(IterableDataset[int]):
    """The numbers 0, 1, 2, ..., the same in every worker."""

    def __iter__(self) -> Iterator[int]:
        return iter(range(ITEMS))


def half(item: int) -> float:
    return item / ITEMS


def read(loader: DataLoader) -> list[int]:
    return torch.cat(list(loader)).tolist()


@pytest.mark.parametrize("world_size", [1, 3])
@pytest.mark.parametrize("workers", [0, 2])
def test_the_accepted_set_is_the_same_for_any_workers_and_ranks(workers: int, world_size: int) -> None:
    found: list[int] = []
    for rank in range(world_size):
        stream = RejectionStream(Numbers(), half, seed=4, rank=rank, world_size=world_size)
        stream.set_epoch(2)
        found += read(DataLoader(stream, 16, num_workers=workers))
    u = uniforms(4, 2, 0, ITEMS, Stream.ITEM)
    assert sorted(found) == [i for i in range(ITEMS) if u[i] < half(i)]


def test_persistent_workers_see_the_epoch() -> None:
    stream = RejectionStream(Numbers(), half)
    loader = DataLoader(stream, 16, num_workers=2, persistent_workers=True)
    epochs = []
    for epoch in (0, 1, 0):
        stream.set_epoch(epoch)
        epochs.append(read(loader))
    assert epochs[0] == epochs[2] != epochs[1]


def test_items_with_a_key_are_accepted_with_their_probability() -> None:
    stream = RejectionStream(range(40_000), lambda item: 0.3, key=lambda item: item)
    accepted = len(list(stream))
    assert abs(accepted / 40_000 - 0.3) < 5 * math.sqrt(0.3 * 0.7 / 40_000)


@pytest.fixture
def shards(tmp_path: Path) -> list[str]:
    """Make four tar files of 50 samples, each with a probability as text and one byte in place of a picture."""
    paths = []
    for shard in range(4):
        paths.append(str(tmp_path / f"{shard}.tar"))
        with tarfile.open(paths[-1], "w") as archive:
            for number in range(shard * 50, shard * 50 + 50):
                for suffix, content in (("txt", f"{number / 200}".encode()), ("bin", bytes([number]))):
                    member = tarfile.TarInfo(f"{number:04}.{suffix}")
                    member.size = len(content)
                    archive.addfile(member, io.BytesIO(content))
    return paths


def name_of(sample: dict[str, Any]) -> str:
    return sample["__key__"]


def probability_of(sample: dict[str, Any]) -> float:
    return float(sample["txt"])


def number_in(sample: dict[str, Any]) -> int:
    return sample["bin"][0]


@pytest.mark.filterwarnings("ignore")  # those of webdataset
@pytest.mark.parametrize("workers", [0, 2, 3])
def test_a_webdataset_gives_the_same_accepted_set_for_any_workers(workers: int, shards: list[str]) -> None:
    import webdataset

    def accepted(**options: Any) -> list[int]:
        source = webdataset.WebDataset(shards, shardshuffle=False, nodesplitter=webdataset.split_by_node)
        stream = RejectionStream(source, probability_of, seed=1, key=name_of)
        return [number_in(sample) for sample in DataLoader(stream, None, **options)]

    alone = accepted()
    assert sorted(accepted(num_workers=workers)) == sorted(alone)
    assert 60 < len(alone) < 140  # 200 items with mean probability 1/2: standard deviation 5.8
    source = webdataset.DataPipeline(
        webdataset.SimpleShardList(shards), webdataset.split_by_worker, webdataset.tarfile_to_samples()
    )
    decoded: list[int] = []

    def decode(sample: dict[str, Any]) -> int:
        decoded.append(number_in(sample))
        return decoded[-1]

    assert [decode(sample) for sample in RejectionStream(source, probability_of, seed=1, key=name_of)] == alone
    assert decoded == alone  # rejected items are never decoded


def test_bad_probabilities_and_ranks_are_rejected() -> None:
    with pytest.raises(ValueError, match=r"got 1\.5 for item 3"):
        list(RejectionStream(range(5), lambda item: item / 2))
    with pytest.raises(ValueError, match="rank"):
        RejectionStream(range(5), half, rank=1, world_size=1)
