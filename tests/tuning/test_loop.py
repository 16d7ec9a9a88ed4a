import itertools
import math

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from rsft import RejectionSampler, Stopping, fine_tune
from rsft.errors import DivergedError, LowAcceptanceError
from rsft.tuning.freezing import evaluating, interpolate, train_from

GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(256, 3, generator=GENERATOR)
Y = X @ torch.tensor([[1.0], [-2.0], [0.5]])


def batches(size: int = 32) -> DataLoader:
    return DataLoader(TensorDataset(X, Y), size)


def test_training_reduces_the_loss() -> None:
    model = nn.Linear(3, 1)
    result = fine_tune(model, batches(), nn.functional.mse_loss, stop=Stopping(epochs=60), learning_rate=0.05)
    assert nn.functional.mse_loss(model(X), Y).item() < 1e-3
    assert (result.epochs, result.steps, result.accepted) == (60, 480, 60 * 256)


@pytest.mark.parametrize(
    ("stop", "steps", "by"),
    [
        (Stopping(steps=5), 5, "steps"),
        (Stopping(steps=8), 8, "steps"),
        (Stopping(epochs=2), 16, "epochs"),
        (Stopping(accepted=100), 4, "accepted"),
        (Stopping(seconds=1e-9, steps=9), 1, "seconds"),
    ],
)
def test_training_stops_at_the_condition(stop: Stopping, steps: int, by: str) -> None:
    result = fine_tune(nn.Linear(3, 1), batches(), nn.functional.mse_loss, stop=stop)
    assert (result.steps, result.stopped_by) == (steps, by)


def test_patience_keeps_the_best_weights() -> None:
    """The score falls after step 4, so training ends after two more validations with the weights of step 4."""
    model = nn.Linear(3, 1)
    seen: list[Tensor] = []

    def validate(model: nn.Module) -> float:
        assert not model.training
        seen.append(model.weight.detach().clone())  # type: ignore[operator]
        return {0: 0.0, 1: 1.0}.get(len(seen) - 1, 2.0 if len(seen) == 3 else 0.5)

    result = fine_tune(
        model, batches(), nn.functional.mse_loss, stop=Stopping(patience=2), validate=validate, validate_every=2
    )
    assert (result.steps, result.stopped_by, result.best_step) == (8, "patience", 4)
    assert torch.equal(model.weight, seen[2])


def test_the_initial_weights_are_restored_if_no_score_is_better() -> None:
    model = nn.Linear(3, 1)
    start = model.weight.detach().clone()
    scores = iter([1.0, 0.5, 0.2, 0.1])
    result = fine_tune(
        model,
        batches(),
        nn.functional.mse_loss,
        stop=Stopping(steps=3),
        validate=lambda _: next(scores),
        validate_every=1,
    )
    assert result.best_step == 0
    assert torch.equal(model.weight, start)


def test_frozen_layers_and_running_statistics_do_not_change() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    model.get_buffer("1.running_mean").add_(1.0)
    train_from(model, 2)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    fine_tune(model, batches(), nn.functional.mse_loss, stop=Stopping(steps=5), learning_rate=0.01)
    moved = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert moved == {"2.weight", "2.bias", "3.weight", "3.bias", "4.weight", "4.bias"}


def test_the_sampler_draws_anew_in_each_epoch() -> None:
    seen: list[float] = []

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        seen.extend(targets.flatten().tolist())
        return outputs.mean() * 0

    sampler = RejectionSampler(torch.full((256,), 0.3), seed=5)
    loader = DataLoader(TensorDataset(X, torch.arange(256.0)[:, None]), 16, sampler=sampler)
    fine_tune(nn.Linear(3, 1), loader, loss, stop=Stopping(epochs=3))
    expected = []
    for epoch in range(3):
        sampler.set_epoch(epoch)
        expected += list(sampler)
    assert seen == expected


def test_steps_that_are_not_finite_are_skipped_counted_and_end_the_training() -> None:
    model = nn.Linear(3, 1)
    bad = iter([False, True, False])
    result = fine_tune(
        model, batches(), lambda out, y: out.mean() * (math.nan if next(bad) else 1), stop=Stopping(steps=3)
    )
    assert result.skipped == 1
    assert bool(model.weight.isfinite().all())
    with pytest.raises(DivergedError, match="5 steps in a row"):
        fine_tune(model, batches(), lambda out, y: out.mean() * math.nan, stop=Stopping(steps=10))


def test_the_learning_rate_rises_then_falls_to_zero() -> None:
    result = fine_tune(
        nn.Linear(3, 1),
        batches(),
        nn.functional.mse_loss,
        stop=Stopping(steps=20),
        learning_rate=1.0,
        warmup_fraction=0.2,
    )
    rates = [record["learning_rate"] for record in result.history]
    assert rates[:5] == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0])
    assert all(later < earlier for earlier, later in itertools.pairwise(rates[4:]))
    assert rates[-1] < 0.02


def test_parameters_of_the_loss_are_trained_too() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.factor = nn.Parameter(torch.tensor(1.0))

        def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
            return ((outputs * self.factor - targets) ** 2).mean()

    loss = Scaled()
    fine_tune(nn.Linear(3, 1), batches(), loss, stop=Stopping(steps=3), learning_rate=0.1)
    assert loss.factor.item() != 1.0


def test_bad_arguments_and_empty_epochs_raise() -> None:
    frozen = nn.Linear(3, 1).requires_grad_(False)
    with pytest.raises(ValueError, match="unfreeze"):
        fine_tune(frozen, batches(), nn.functional.mse_loss, stop=Stopping(steps=1))
    with pytest.raises(ValueError, match="validate"):
        fine_tune(nn.Linear(3, 1), batches(), nn.functional.mse_loss, stop=Stopping(patience=1))
    with pytest.raises(ValueError, match="at least one"):
        Stopping()
    with pytest.raises(ValueError, match="above 0"):
        Stopping(steps=0)
    with pytest.raises(LowAcceptanceError, match="epoch 0 has no batch"):
        fine_tune(nn.Linear(3, 1), [], nn.functional.mse_loss, stop=Stopping(steps=1))


def test_interpolate_mixes_weights_and_evaluating_restores_modes() -> None:
    model = nn.Sequential(nn.Dropout(), nn.Linear(1, 1))
    start, end = {"w": torch.tensor(0.0), "n": torch.tensor(1)}, {"w": torch.tensor(4.0), "n": torch.tensor(3)}
    assert {k: v.item() for k, v in interpolate(start, end, 0.25).items()} == {"w": 1.0, "n": 3}
    model[1].eval()
    with evaluating(model):
        assert not any(module.training for module in model.modules())
    assert [module.training for module in model.modules()] == [True, True, False]
