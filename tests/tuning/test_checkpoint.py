"""A resumed run equals the uninterrupted run to the last bit, from any step."""

import json
import signal
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from rsft import RejectionSampler, Stopping, TuningResult, fine_tune
from rsft.errors import InputError
from rsft.tuning import epochs
from rsft.tuning.checkpoint import Checkpoints, load_weights

STEPS = 23
PICTURES = torch.randn(40, 3, 6, 6, generator=torch.Generator().manual_seed(0))


class Augmented(Dataset[tuple[Tensor, int]]):
    """Uses the global random generator for every item, as augmentations do."""

    def __len__(self) -> int:
        return len(PICTURES)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return PICTURES[index] + 0.1 * torch.rand(()), index % 4


class Head(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 5))

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return nn.functional.cross_entropy(outputs @ self.weight.T, targets)


def shuffled() -> DataLoader[Any]:
    return DataLoader(Augmented(), 8, shuffle=True)


def shuffled_by_workers() -> DataLoader[Any]:
    return DataLoader(Augmented(), 8, shuffle=True, num_workers=1)


def rejection() -> DataLoader[Any]:
    return DataLoader(Augmented(), 8, sampler=RejectionSampler(torch.full((40,), 0.6), seed=3))


def rejection_by_workers() -> DataLoader[Any]:
    return DataLoader(Augmented(), 8, sampler=RejectionSampler(torch.full((40,), 0.6), seed=3), num_workers=1)


Run = tuple[TuningResult, dict[str, Tensor]]


def run(
    batches: Iterable[Any],
    checkpoints: Checkpoints | None = None,
    on_step: Callable[[dict[str, float]], None] = lambda record: None,
    **options: Any,
) -> Run:
    torch.manual_seed(1)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Dropout(0.3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)
    )
    head = Head()
    options = dict[str, Any]({"stop": Stopping(steps=STEPS), "learning_rate": {"": 0.01, "loss": 0.1}}) | options
    result = fine_tune(
        model,
        batches,
        head,
        validate=lambda model: -model.get_parameter("5.weight").square().sum().item(),
        validate_every=4,
        channels_last=True,
        checkpoints=checkpoints,
        on_step=on_step,
        **options,
    )
    return result, {**model.state_dict(), "head": head.weight.detach()}


def die_after(step: int) -> Callable[[dict[str, float]], None]:
    def on_step(record: dict[str, float]) -> None:
        if record["step"] > step:
            raise ConnectionAbortedError

    return on_step


def same(one: Run, other: Run) -> bool:
    figures = [
        (result.steps, result.epochs, result.accepted, result.best_step, result.skipped, result.history)
        for result, _ in (one, other)
    ]
    return figures[0] == figures[1] and all(torch.equal(one[1][name], other[1][name]) for name in one[1])


@pytest.mark.parametrize("batches", [shuffled, rejection, shuffled_by_workers, rejection_by_workers])
def test_a_run_killed_at_any_step_resumes_to_the_same_bits(
    batches: Callable[[], DataLoader[Any]], tmp_path: Path
) -> None:
    whole = run(batches())
    cuts = np.random.default_rng(0).choice(
        np.arange(1, STEPS), 2 if "workers" in batches.__name__ else 6, replace=False
    )
    for step in cuts.tolist():
        checkpoints = Checkpoints(tmp_path / str(step), every=1)
        with pytest.raises(ConnectionAbortedError):
            run(batches(), checkpoints, on_step=die_after(step))
        assert same(run(batches(), checkpoints), whole), step


def test_steps_after_the_last_checkpoint_are_trained_again(tmp_path: Path) -> None:
    """A run killed at step 17 with a checkpoint every 5 steps resumes from step 15."""
    checkpoints = Checkpoints(tmp_path, every=5)
    with pytest.raises(ConnectionAbortedError):
        run(shuffled(), checkpoints, on_step=die_after(17))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000010", "step-00000015"]
    assert same(run(shuffled(), checkpoints), run(shuffled()))


@pytest.mark.parametrize("forgotten", ["random", "optimizer", "schedule", "epochs"])
def test_a_resume_without_part_of_the_state_gives_another_result(
    forgotten: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative controls of the tests of resuming."""
    checkpoints = Checkpoints(tmp_path, every=1)
    with pytest.raises(ConnectionAbortedError):
        run(shuffled(), checkpoints, on_step=die_after(7))
    if forgotten == "random":
        monkeypatch.setattr(epochs, "set_random_state", lambda state: None)
    elif forgotten == "epochs":
        monkeypatch.setattr(epochs.Epochs, "load_state_dict", lambda self, state: None)
    else:
        owner = {"optimizer": torch.optim.Optimizer, "schedule": torch.optim.lr_scheduler.LambdaLR}[forgotten]
        monkeypatch.setattr(owner, "load_state_dict", lambda self, state: None)
    assert not same(run(shuffled(), checkpoints), run(shuffled()))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_training_after_the_step_with_a_checkpoint(number: signal.Signals, tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, every=100)
    usual = signal.getsignal(number)
    stopped, _ = run(
        rejection(),
        checkpoints,
        on_step=lambda record: signal.raise_signal(number) if record["step"] == 6 and "loss" in record else None,
    )
    assert (stopped.stopped_by, stopped.steps) == (number.name, 7)
    assert signal.getsignal(number) is usual
    assert same(run(rejection(), checkpoints), run(rejection()))


def test_a_second_signal_has_its_usual_effect(tmp_path: Path) -> None:
    def usual(number: int, frame: object) -> None:
        raise ConnectionAbortedError

    def on_step(record: dict[str, float]) -> None:
        seen.append(record["step"])
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)

    seen: list[float] = []
    before = signal.signal(signal.SIGTERM, usual)
    try:
        with pytest.raises(ConnectionAbortedError):
            run(rejection(), Checkpoints(tmp_path), on_step=on_step)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert len(seen) == 1


def test_a_finished_run_is_not_trained_again(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    whole = run(rejection(), checkpoints)
    assert same(run([], checkpoints), whole)


def test_only_the_newest_checkpoints_are_kept_and_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints = Checkpoints(tmp_path, every=1, keep=3)
    run(rejection(), checkpoints)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"step-{step:08d}" for step in (21, 22, 23)]
    # a crash while writing
    monkeypatch.setattr(Path, "write_text", lambda self, text: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        checkpoints.save(24, {"a": torch.zeros(2)}, {})
    assert sorted(tmp_path.glob("step-*"))[-1].name == "step-00000023"


def test_another_configuration_is_rejected_and_the_message_names_the_difference(tmp_path: Path) -> None:
    run(rejection(), Checkpoints(tmp_path, config={"pool": "a"}))
    with pytest.raises(InputError, match=r"pool is a in the checkpoint and b now"):
        run(rejection(), Checkpoints(tmp_path, config={"pool": "b"}))
    with pytest.raises(InputError, match=r"learning_rate is \{'': 0.01, 'loss': 0.1\} in the checkpoint and 0.5 now"):
        run(rejection(), Checkpoints(tmp_path, config={"pool": "a"}), learning_rate=0.5)
    with pytest.raises(InputError, match="steps of the schedule is 23 in the checkpoint and 24 now"):
        run(rejection(), Checkpoints(tmp_path, config={"pool": "a"}), stop=Stopping(steps=24))
    (state,) = tmp_path.glob("*/state.json")
    document = json.loads(state.read_text())
    state.write_text(json.dumps(document | {"version": 0}))
    with pytest.raises(InputError, match="has version 0"):
        Checkpoints(tmp_path).load({})
    state.write_text("{")
    with pytest.raises(InputError, match="cannot read"):
        Checkpoints(tmp_path).load({})


def test_weights_of_another_network_are_rejected_with_their_names() -> None:
    weights = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1)).state_dict()
    with pytest.raises(InputError, match=r"missing: 2.bias, 2.weight; unexpected: 1.bias, 1.weight\."):
        load_weights(nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)), weights, "a file")
    with pytest.raises(InputError, match=r"of another shape: 0.bias, 0.weight\."):
        load_weights(nn.Sequential(nn.Linear(2, 4), nn.Linear(3, 1)), weights, "a file")


def test_a_saved_tree_loads_unchanged(tmp_path: Path) -> None:
    tree = {"a": [torch.arange(3), (1, 2.5, None)], "b": {0: torch.zeros(0), 7: "x"}, "c": float("-inf"), "d": True}
    Checkpoints(tmp_path).save(1, tree, {})
    again = Checkpoints(tmp_path).load({})
    assert again is not None
    assert torch.equal(again["a"][0], torch.arange(3))
    assert again["a"][1] == (1, 2.5, None)
    assert (again["b"].keys(), again["b"][7], again["c"], again["d"]) == ({0, 7}, "x", float("-inf"), True)
    with pytest.raises(TypeError, match="got object at '/a'"):
        Checkpoints(tmp_path).save(2, {"a": object()}, {})
    with pytest.raises(ValueError, match="keep"):
        Checkpoints(tmp_path, keep=0)
