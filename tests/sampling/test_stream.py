import io
import math
import tarfile
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import datasets
import pytest
import torch
from datasets.distributed import split_dataset_by_node
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

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


class Dividing(IterableDataset[int]):
    """The numbers of this worker."""

    def __iter__(self) -> Iterator[int]:
        worker = get_worker_info()
        return iter(range(ITEMS) if worker is None else range(worker.id, ITEMS, worker.num_workers))


def of_hugging_face() -> Any:
    return datasets.Dataset.from_dict({"i": list(range(ITEMS))}).to_iterable_dataset(num_shards=4)


def number(item: Any) -> int:
    return item["i"] if isinstance(item, dict) else item


def likely(item: Any) -> float:
    return number(item) / ITEMS


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # more workers than cores
@pytest.mark.parametrize("make", [Numbers, Dividing, of_hugging_face])
@pytest.mark.parametrize(("world_size", "workers"), [(1, 0), (1, 2), (1, 4), (2, 2)])
def test_streams_that_divide_themselves_are_not_divided_twice(
    make: Callable[[], Any], world_size: int, workers: int
) -> None:
    found = [
        number(item)
        for rank in range(world_size)
        for item in DataLoader(
            RejectionStream(make(), likely, rank=rank, world_size=world_size), None, num_workers=workers
        )
    ]
    u = uniforms(0, 0, 0, ITEMS, Stream.ITEM)
    assert sorted(found) == [i for i in range(ITEMS) if u[i] < likely(i)]


@pytest.mark.parametrize(("world_size", "workers"), [(1, 2), (2, 0), (2, 2)])
def test_with_a_key_the_stream_divides_itself_and_the_set_is_the_same(world_size: int, workers: int) -> None:
    def accepted(divide: Callable[[Any, int], Any], **options: Any) -> list[int]:
        return sorted(
            number(item)
            for rank in range(world_size)
            for item in DataLoader(
                RejectionStream(
                    divide(of_hugging_face(), rank), likely, key=number, rank=rank, world_size=world_size, **options
                ),
                None,
                num_workers=workers,
            )
        )

    alone = sorted(number(item) for item in RejectionStream(of_hugging_face(), likely, key=number))
    assert accepted(lambda rows, rank: split_dataset_by_node(rows, rank, world_size)) == alone
    assert accepted(lambda rows, rank: rows, divided=False) == alone


def own_rank(stream: Any) -> Iterator[Any]:
    """Yield the items of this process, as found out when the first is asked for."""
    rank = torch.distributed.get_rank() if torch.distributed.is_initialized() else 0
    yield from islice(stream, rank, None)


class Ranked(IterableDataset[int]):
    """A stream that asks for its rank."""

    def __iter__(self) -> Iterator[int]:
        return own_rank(range(ITEMS))


def test_streams_that_would_be_divided_twice_or_not_at_all_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    split = split_dataset_by_node(of_hugging_face(), 0, 2)
    with pytest.raises(ValueError, match=r"divides itself among 2 processes.*pass `key`"):
        next(iter(RejectionStream(split, likely, rank=0, world_size=2)))
    with pytest.raises(ValueError, match="gives each of them all items: divide it"):
        next(iter(RejectionStream(of_hugging_face(), likely, key=number, rank=0, world_size=2)))
    with pytest.raises(ValueError, match="cannot be seen from this one: pass divided=True"):
        next(iter(RejectionStream(Numbers(), likely, key=number, rank=0, world_size=2)))
    with pytest.raises(ValueError, match=r"did not ask which of the 2 workers.*pass divided=False"):
        list(DataLoader(RejectionStream(Numbers(), likely, key=number), None, num_workers=2))
    with pytest.raises(ValueError, match=r"key=\.\.\.\)` is required"):
        RejectionStream(Numbers(), likely, divided=True)
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 0)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    with pytest.raises(ValueError, match="asks for its rank"):
        next(iter(RejectionStream(Ranked(), likely)))
    assert list(RejectionStream(Numbers(), likely, rank=0, world_size=1))  # another library divides the items
    early = RejectionStream(Numbers(), likely)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 1)
    with pytest.raises(ValueError, match="made for rank 0 of 2, but this process is rank 1 of 2"):
        next(iter(early))


def test_the_worker_is_known_again_outside_the_stream() -> None:
    seen = list(DataLoader(RejectionStream(Dividing(), in_a_worker), None, num_workers=1))
    assert seen == list(range(ITEMS))


def in_a_worker(item: int) -> float:
    return float(get_worker_info() is not None)
