"""Data sets of Hugging Face: by index under a sampler, and as a stream that goes on where it was cut off."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import pyarrow
import pyarrow.parquet
import pytest
import torch
from torch.utils.data import DataLoader
from torchdata.stateful_dataloader import StatefulDataLoader

from rsft import RejectionSampler, RejectionStream

FILES, ROWS = 4, 25
ACCEPTANCE = torch.linspace(0, 1, FILES * ROWS, dtype=torch.float64)
pytestmark = pytest.mark.filterwarnings("ignore:'set_vital'")


def acceptance(row: dict[str, Any]) -> float:
    return float(ACCEPTANCE[row["row"]])


def half(item: int) -> float:
    return 0.5


def name(row: dict[str, Any]) -> str:
    return str(row["row"])


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("parquet")
    for number in range(FILES):
        rows = pyarrow.table({"row": range(number * ROWS, (number + 1) * ROWS)})
        pyarrow.parquet.write_table(rows, root / f"{number}.parquet")
    return root


def stream(files: Path, *, keyed: bool) -> RejectionStream:
    told = {"data_files": str(files / "*.parquet"), "cache_dir": str(files / "cache"), "split": "train"}
    rows = datasets.load_dataset("parquet", streaming=True, **told)
    return RejectionStream(rows, acceptance, seed=3, key=name if keyed else None)


def rows_of(loader: Any) -> list[int]:
    return [row["row"] for row in loader]


def test_a_data_set_by_index_reads_the_accepted_rows_alone() -> None:
    data = datasets.Dataset.from_dict({"row": range(len(ACCEPTANCE))})
    sampler = RejectionSampler(ACCEPTANCE, seed=3)
    for epoch in range(2):
        sampler.set_epoch(epoch)
        assert rows_of(DataLoader(data, batch_size=None, sampler=sampler, num_workers=1)) == list(sampler)


@pytest.mark.parametrize("keyed", [False, True])
@pytest.mark.parametrize("workers", [0, 2])
def test_a_stream_goes_on_where_it_was_cut_off(files: Path, workers: int, keyed: bool) -> None:
    for epoch in (0, 1):
        alone = stream(files, keyed=keyed)
        alone.set_epoch(epoch)
        whole = rows_of(alone)
        ours = stream(files, keyed=keyed)
        ours.set_epoch(epoch)
        loader = StatefulDataLoader(ours, batch_size=None, num_workers=workers)
        rows = iter(loader)
        seen = [next(rows)["row"] for _ in range(11)]
        state = loader.state_dict()
        rest = rows_of(rows)
        assert sorted(seen + rest) == sorted(whole)
        again = stream(files, keyed=keyed)
        resumed = StatefulDataLoader(again, batch_size=None, num_workers=workers)
        resumed.load_state_dict(state)
        again.set_epoch(epoch)
        assert rows_of(resumed) == rest
        for later in (epoch + 1, epoch + 2):  # which begin at the start again
            again.set_epoch(later)
            alone.set_epoch(later)
            assert sorted(rows_of(resumed)) == sorted(rows_of(alone))


def test_neither_a_look_at_a_data_set_nor_another_stream_of_it_moves_where_epochs_begin(files: Path) -> None:
    whole = rows_of(stream(files, keyed=True))
    data = stream(files, keyed=True)._stream
    looks = iter(data)
    for _ in range(11):
        next(looks)

    def of_data() -> RejectionStream:
        return RejectionStream(data, acceptance, seed=3, key=name)

    first, second = of_data(), of_data()
    rows = iter(first)
    seen = [next(rows)["row"] for _ in range(5)]
    state = first.state_dict()
    second.load_state_dict(state)
    assert seen + rows_of(second) == whole
    assert rows_of(of_data()) == rows_of(second) == whole


class Stateful:
    """A stream of whole numbers that begins where its state says, and notes what is read of it."""

    def __init__(self) -> None:
        self.place, self.read = 0, list[int]()

    def __iter__(self) -> Iterator[int]:
        for number in range(self.place, 100):
            self.place = number + 1
            self.read.append(number)
            yield number

    def state_dict(self) -> dict[str, int]:
        return {"place": self.place}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.place = state["place"]


def test_a_stream_with_a_state_is_not_read_again() -> None:
    ours = RejectionStream(Stateful(), half)
    rows = iter(ours)
    seen = [next(rows) for _ in range(7)]
    state = ours.state_dict()
    stream = Stateful()
    again = RejectionStream(stream, half)
    again.load_state_dict(state)
    assert seen + list(again) == list(RejectionStream(range(100), half))
    assert stream.read == list(range(seen[-1] + 1, 100))
    with pytest.raises(ValueError, match="the seed is 0 in the state and 4 now"):
        RejectionStream(Stateful(), half, seed=4).load_state_dict(state)


def test_a_stream_without_a_state_is_read_up_to_its_place() -> None:
    ours = RejectionStream(range(100), half)
    rows = iter(ours)
    seen = [next(rows) for _ in range(7)]
    state = ours.state_dict()
    assert state == {"seed": 0, "epoch": 0, "read": seen[-1] + 1, "stream": None}
    again = RejectionStream(range(100), half)
    again.load_state_dict(state)
    assert again.state_dict() == state
    assert seen + list(again) == list(RejectionStream(range(100), half))
    again.load_state_dict(state)
    again.set_epoch(1)
    later = RejectionStream(range(100), half)
    later.set_epoch(1)
    assert list(again) == list(later)
