"""Recipes: which parameters train, with which penalties, and that the model is restored afterwards."""

import copy
import math

import pytest
import torch
from torch import Tensor, nn

from rsft import Stopping
from rsft.tuning.adapters import low_rank
from rsft.tuning.freezing import train_only
from rsft.tuning.objective import Objective
from rsft.tuning.penalties import Distillation, PullToStart
from rsft.tuning.recipe import TuningRecipe, tune_by

X = torch.randn(32, 3, 6, 6, generator=torch.Generator().manual_seed(0))
Y = torch.arange(32) % 4


class Head(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 5))

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return nn.functional.cross_entropy(outputs @ self.weight.T, targets)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4), nn.Flatten(),
        nn.Linear(16, 5),
    )  # fmt: skip
    model[0].requires_grad_(False)
    model[1].requires_grad_(False)
    return model


def tune(recipe: TuningRecipe, model: nn.Module, loss: nn.Module | None = None, steps: int = 5) -> set[str]:
    """Tune the model and return the names of the entries of its state that changed."""
    before = copy.deepcopy(model.state_dict())
    flags = [parameter.requires_grad for parameter in model.parameters()]
    tune_by(recipe, model, [(X, Y)], loss or Head(), stop=Stopping(steps=steps))
    assert [parameter.requires_grad for parameter in model.parameters()] == flags
    assert model.state_dict().keys() == before.keys()
    return {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}


AFFINE = {"4.weight", "4.bias"}
MAPS = {"3.weight", "6.weight"}


@pytest.mark.parametrize(
    ("trains", "moved"),
    [("all", AFFINE | MAPS | {"3.bias", "6.bias"}), ("affine", AFFINE), ("lora", MAPS)],
)
def test_only_the_parameters_named_by_the_recipe_change(trains: str, moved: set[str]) -> None:
    """Running statistics and frozen parameters never change."""
    assert tune(TuningRecipe.model_validate({"trains": trains, "learning_rate": 0.01}), network()) == moved


def test_the_head_stage_trains_only_the_head() -> None:
    model, head = network(), Head()
    before, start = copy.deepcopy(model.state_dict()), head.weight.detach().clone()
    seen: list[bool] = []

    def on_step(record: dict[str, float]) -> None:
        seen.append(all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items()))
        assert not torch.equal(head.weight, start)

    recipe = TuningRecipe(head_steps=3, learning_rate=0.01, head_learning_rate=0.1)
    tune_by(recipe, model, [(X, Y)], head, stop=Stopping(steps=2), on_step=on_step)
    assert seen == [True, True, True, False, False]
    with pytest.raises(ValueError, match="a loss that trains"):
        tune_by(recipe, model, [(X, Y)], nn.CrossEntropyLoss(), stop=Stopping(steps=2))


def test_adapters_start_at_zero_have_low_rank_and_are_merged_into_the_weights() -> None:
    model = network().eval()
    before, outputs = copy.deepcopy(model.state_dict()), model(X)
    with low_rank(model, rank=1, alpha=4, seed=1) as adapted:
        torch.testing.assert_close(adapted(X), outputs)
        with torch.no_grad():
            for parameter in adapted.parameters():
                if parameter.requires_grad:
                    parameter.add_(0.3)
        during = adapted(X)
    torch.testing.assert_close(model(X), during)
    assert torch.linalg.matrix_rank(model.state_dict()["6.weight"] - before["6.weight"], rtol=1e-4) == 1
    with pytest.raises(RuntimeError), low_rank(model, rank=1, alpha=4) as adapted:  # noqa: PT012
        adapted.get_parameter("base_model.model.6.lora_B.default.weight").data.add_(1.0)
        raise RuntimeError
    torch.testing.assert_close(model(X), during)
    with pytest.raises(ValueError, match="no linear layer"), low_rank(network().requires_grad_(False), rank=1, alpha=1):
        pass


def test_the_initial_weights_of_adapters_depend_only_on_the_seed() -> None:
    drawn, models = [], [network(), network(), network()]
    for seed, model in zip((0, 0, 1), models, strict=True):
        before = torch.get_rng_state()
        with low_rank(model, rank=2, alpha=2, seed=seed) as adapted:
            drawn.append(adapted.get_parameter("base_model.model.6.lora_A.default.weight").detach().clone())
        assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_distillation_is_one_minus_the_cosine_to_the_initial_outputs() -> None:
    model = nn.Linear(3, 2, bias=False)
    penalty = Distillation(model, weight=2.0)
    inputs = torch.eye(3)
    assert penalty(model, inputs, model(inputs)).item() == pytest.approx(0.0, abs=1e-6)
    a, b = torch.tensor(0.4), torch.tensor(1.3)
    with torch.no_grad():
        model.weight.copy_(torch.stack([a.cos(), a.sin()])[:, None].expand(2, 3))
    penalty = Distillation(model, weight=2.0)
    with torch.no_grad():
        model.weight.copy_(3 * torch.stack([b.cos(), b.sin()])[:, None].expand(2, 3))
    assert penalty(model, inputs, model(inputs)).item() == pytest.approx(2 * (1 - math.cos(0.9)), rel=1e-5)
    assert not any(parameter.requires_grad for parameter in penalty.parameters())


def test_the_pull_is_the_squared_distance_of_the_trained_parameters() -> None:
    model = network()
    penalty = PullToStart(model, weight=0.5)
    with torch.no_grad():
        model.get_parameter("0.weight").add_(7.0)  # frozen, so it does not count
        model.get_parameter("6.bias").add_(torch.tensor([1.0, 2.0, 0.0, 0.0, 0.0]))
    assert penalty(model, X, model(X)).item() == pytest.approx(0.5 * 5.0)


@pytest.mark.parametrize("penalty", ["distillation", "pull_to_start"])
def test_a_penalty_keeps_the_model_near_its_start(penalty: str) -> None:
    distances = []
    for weight in (0.0, 1e4):
        model = network().eval()
        before = model(X)
        tune(TuningRecipe.model_validate({penalty: weight, "learning_rate": 0.003}), model, steps=20)
        distances.append((1 - nn.functional.cosine_similarity(model(X), before)).mean().item())
    assert distances[1] < 0.1 * distances[0]


def test_penalties_move_with_the_model_but_are_not_part_of_its_state() -> None:
    model = network()
    objective = Objective(model, nn.CrossEntropyLoss(), [Distillation(model, 1.0), PullToStart(model, 1.0)])
    objective.to(torch.float64)
    assert objective(X.double(), Y).dtype == torch.float64
    assert objective.parts().keys() == {"model", "loss"}


def test_a_model_without_layers_of_the_given_kinds_is_rejected() -> None:
    with pytest.raises(ValueError, match=r'no layer to train of the kinds .*trains = "all"'):
        train_only(nn.Sequential(nn.Linear(2, 2)))


def test_recipes_reject_unknown_keys_and_values_out_of_range() -> None:
    for bad in ({"speed": 1}, {"trains": "some"}, {"distillation": -1.0}, {"lora_rank": 0}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            TuningRecipe.model_validate(bad)
