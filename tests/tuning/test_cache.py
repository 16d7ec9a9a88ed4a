"""Cached activations equal the uncached ones, are computed once, are found again, and belong to one prefix."""

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from rsft import RejectionSampler, Stopping, fine_tune
from rsft.errors import InputError, RsftError
from rsft.tuning import cache
from rsft.tuning.cache import CachedActivations
from rsft.tuning.cut import cut
from rsft.tuning.freezing import train_from

ROWS = 60
X = torch.randn(ROWS, 3, 9, 9, generator=torch.Generator().manual_seed(0))
Y = torch.arange(ROWS) % 4


def network(*, channels_last: bool = False) -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.ReLU(), nn.Conv2d(5, 6, 3), nn.ReLU(), nn.Dropout(0.2), nn.Flatten(),
        nn.Linear(150, 4),
    )  # fmt: skip
    train_from(model, 3)
    return model.to(memory_format=torch.channels_last) if channels_last else model  # type: ignore[call-overload]


def store(folder: Path, model: nn.Module, dtype: torch.dtype = torch.float16, **options: Any) -> Any:
    prefix, suffix = cut(model, X[:3])
    read: list[int] = []

    def inputs(rows: Sequence[int]) -> Tensor:
        read.extend(rows)
        return X[list(rows)]

    cached = CachedActivations(folder, prefix, inputs, Y, content=options.pop("content", "x"), dtype=dtype, **options)
    return cached, suffix, read


def sampler() -> RejectionSampler:
    return RejectionSampler(torch.full((ROWS,), 0.5), seed=1)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float16, 2e-3)])
@pytest.mark.parametrize("channels_last", [False, True])
def test_training_on_cached_activations_equals_training_on_pictures(
    dtype: torch.dtype, tolerance: float, channels_last: bool, tmp_path: Path
) -> None:
    """The accepted items, their order, the dropout and the weights are the same, up to the precision on disk."""
    options: dict[str, Any] = {"stop": Stopping(epochs=3), "learning_rate": 0.01, "channels_last": channels_last}
    plain, model = network(channels_last=channels_last), network(channels_last=channels_last)
    cached, suffix, _ = store(tmp_path, model, dtype)
    torch.manual_seed(7)
    expected = fine_tune(plain, DataLoader(TensorDataset(X, Y), 8, sampler=sampler()), nn.CrossEntropyLoss(), **options)
    torch.manual_seed(7)
    found = fine_tune(suffix, cached.loader(8, sampler()), nn.CrossEntropyLoss(), **options)
    assert found.steps == expected.steps
    assert found.accepted == expected.accepted
    for name, tensor in plain.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], tensor, rtol=0, atol=tolerance)


def test_only_accepted_rows_are_read_and_each_once(tmp_path: Path) -> None:
    cached, suffix, read = store(tmp_path, network())
    draws = sampler()
    fine_tune(suffix, cached.loader(8, draws), nn.CrossEntropyLoss(), stop=Stopping(epochs=4))
    accepted = {int(row) for epoch in range(4) for row in draws.accepted(epoch)}
    assert sorted(read) == sorted(accepted)
    assert cached.computed == len(accepted)


def test_the_rounding_error_is_within_its_bound(tmp_path: Path) -> None:
    model = network()
    cached, _, _ = store(tmp_path, model)
    with torch.no_grad():
        exact = model.eval()[:3](X)
    (stored,), targets, rows = cached.__getitems__([5, 3, 5])
    assert torch.equal(targets, Y[rows])
    bound = torch.maximum(exact[rows].abs() * 2**-11, torch.tensor(2.0**-25))
    assert bool(((stored - exact[rows]).abs() <= bound).all())
    assert not torch.equal(stored, exact[rows])


def test_a_later_run_reads_the_computed_rows_from_the_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "SHARD_BYTES", 7 * 5 * 7 * 7 * 2)
    first, _, _ = store(tmp_path, network())
    (before,), _, _ = first.__getitems__(list(range(0, ROWS, 2)))
    again, _, read = store(tmp_path, network())
    (after,), _, _ = again.__getitems__(list(range(ROWS)))
    assert read == [0, 18, 38, 58, *range(1, ROWS, 2)]  # four known rows, to see that the data are the same
    assert again.computed == ROWS // 2
    assert torch.equal(after[::2], before)
    assert len(list(again.folder.glob("shard-*"))) == 9


def test_data_that_changed_under_the_same_content_are_refused(tmp_path: Path) -> None:
    first, _, _ = store(tmp_path, network())
    first.__getitems__([3, 4])
    prefix, _ = cut(network(), X[:3])
    changed = CachedActivations(tmp_path, prefix, lambda rows: -X[list(rows)], Y, content="x")
    with pytest.raises(InputError, match=r"row 3 of the store .* have changed under the same `content`"):
        changed.__getitems__([3, 4])


def test_two_objects_fill_one_store_without_writing_a_row_twice(tmp_path: Path) -> None:
    """As two processes do: both open it while it is empty."""
    (first, _, _), (second, _, read) = store(tmp_path, network()), store(tmp_path, network())
    (before,), _, _ = first.__getitems__([0, 1, 2])
    (after,), _, _ = second.__getitems__([1, 2, 3])
    assert torch.equal(after[:2], before[1:])
    assert read == [1, 2, 3]
    assert first.folder.stat().st_mode & 0o077 == 0
    third, _, read = store(tmp_path, network())
    third.__getitems__([0, 1, 2, 3])
    assert read == [0, 1, 2, 3]  # checked, not computed
    assert third.computed == 0


@pytest.mark.parametrize("name", ["filled.npy", "shard-00000.npy", "store.json"])
def test_a_store_whose_creation_was_killed_is_made_again(name: str, tmp_path: Path) -> None:
    cached, _, _ = store(tmp_path, network())
    (cached.folder / f".{name}.new").write_bytes(b"\x93NUMPY half")
    (expected,), _, _ = cached.__getitems__([5])
    assert not (cached.folder / f".{name}.new").exists()
    (found,), _, _ = store(tmp_path, network())[0].__getitems__([5])
    assert torch.equal(found, expected)


def test_other_weights_content_or_precision_use_another_store(tmp_path: Path) -> None:
    first, *_ = store(tmp_path, network())
    first.__getitems__([0, 1])
    other = network()
    with torch.no_grad():
        other.get_parameter("0.weight")[0, 0, 0, 0] += 1e-6
    moved = network()
    moved.get_buffer("1.running_mean").add_(0.1)
    trained_on = network()
    with torch.no_grad():
        trained_on.get_parameter("3.weight").add_(1.0)
    folders = [
        store(tmp_path, other)[0].folder,
        store(tmp_path, moved)[0].folder,
        store(tmp_path, network(), content="y")[0].folder,
        store(tmp_path, network(), torch.float32)[0].folder,
    ]
    assert len({first.folder, *folders}) == 5
    assert store(tmp_path, trained_on)[0].folder == first.folder  # trained parameters do not matter


def test_values_too_large_for_half_precision_raise_and_are_not_stored(tmp_path: Path) -> None:
    model = network()
    with torch.no_grad():
        model.get_parameter("0.weight").mul_(1e6)
    cached, *_ = store(tmp_path, model)
    with pytest.raises(RsftError, match=r"row 2 reach .* float16 cannot hold: pass `dtype=torch.float32`"):
        cached.__getitems__([2, 4])
    assert cached.computed == 0
    wide, *_ = store(tmp_path, model, torch.float32)
    assert wide.__getitems__([2, 4])[0][0].max() > 65504


def test_a_full_disk_raises_one_line_with_advice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    cached, *_ = store(tmp_path, network())
    with pytest.raises(RsftError, match="no room for 0 MiB of activations"):
        cached.__getitems__([0])
