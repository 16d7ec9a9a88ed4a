"""A training by a `TuningRecipe`: what trains, how fast, and with which penalties."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from torch import nn

from rsft.tuning.adapters import low_rank
from rsft.tuning.checkpoint import Checkpoints
from rsft.tuning.freezing import AFFINE, train_only
from rsft.tuning.loop import TuningResult, fine_tune
from rsft.tuning.objective import Loss, Penalty
from rsft.tuning.penalties import Distillation, PullToStart
from rsft.tuning.settings import TuningRecipe as TuningRecipe
from rsft.tuning.stopping import Stopping


def tune_by(
    recipe: TuningRecipe,
    model: nn.Module,
    batches: Iterable[Sequence[Any]],
    loss: Loss,
    *,
    stop: Stopping,
    affine: tuple[type[nn.Module], ...] = AFFINE,
    seed: int = 0,
    checkpoints: Checkpoints | None = None,
    penalties: Sequence[Penalty] = (),
    **options: Any,
) -> TuningResult:
    """Run `fine_tune` with the settings of a recipe, in place.

    If `recipe.head_steps` is above 0, a first stage trains only the loss's own parameters (the head). At the end the
    model has its original modules, and the same parameters require a gradient as before.

    Args:
        recipe: Settings of the training.
        model: Model to train.
        batches: Batches as for `fine_tune`. The head stage comes first and iterates over them for its own steps.
        loss: Loss as for `fine_tune`.
        stop: Conditions that end the training after the head stage.
        affine: Types of the layers that "affine" trains.
        seed: Seed for the initial weights of the adapters.
        checkpoints: Checkpoints as for `fine_tune`. The head stage uses the subfolder `head`.
        penalties: Penalties as for `fine_tune`, besides those of the recipe. The head stage has none.
        **options: Further arguments of `fine_tune`.

    Returns:
        Result of the training after the head stage; that of the head stage if a signal ended it.

    Raises:
        ValueError: If `head_steps` or `head_learning_rate` is set and the loss has no parameters of its own.
    """
    has_head = isinstance(loss, nn.Module) and any(parameter.requires_grad for parameter in loss.parameters())
    if not has_head and (recipe.head_steps or recipe.head_learning_rate):
        raise ValueError("`head_steps` and `head_learning_rate` need a loss that trains, such as learnt prototypes.")
    head_rate = {"loss": recipe.head_learning_rate or recipe.learning_rate} if has_head else {}
    options |= {
        "weight_decay": recipe.weight_decay,
        "warmup_fraction": recipe.warmup_fraction,
        "clip_norm": recipe.clip_norm,
    }
    if recipe.head_steps:
        with _gradients_as_before(model):
            model.requires_grad_(False)
            result = fine_tune(
                model,
                batches,
                loss,
                stop=Stopping(steps=recipe.head_steps),
                learning_rate=head_rate,
                checkpoints=checkpoints and replace(checkpoints, folder=checkpoints.folder / "head"),
                **options,
            )
        if result.stopped_by != "steps":
            return result
    all_penalties: list[Penalty] = [
        *penalties,
        *([Distillation(model, recipe.distillation)] if recipe.distillation else []),
    ]
    with _trained(recipe, model, affine, seed) as trained:
        if recipe.pull_to_start:
            all_penalties.append(PullToStart(trained, recipe.pull_to_start))
        return fine_tune(
            trained,
            batches,
            loss,
            stop=stop,
            learning_rate={"": recipe.learning_rate} | head_rate,
            penalties=all_penalties,
            checkpoints=checkpoints,
            **options,
        )


@contextmanager
def _trained(
    recipe: TuningRecipe, model: nn.Module, affine: tuple[type[nn.Module], ...], seed: int
) -> Iterator[nn.Module]:
    """Yield the model to train, in which only the parameters named by the recipe require a gradient."""
    if recipe.trains == "lora":
        with low_rank(model, rank=recipe.lora_rank, alpha=recipe.lora_alpha, seed=seed) as adapted:
            yield adapted
        return
    with _gradients_as_before(model):
        if recipe.trains == "affine":
            train_only(model, affine)
        yield model


@contextmanager
def _gradients_as_before(model: nn.Module) -> Iterator[None]:
    """Restore `requires_grad` of every parameter on exit."""
    before = {parameter: parameter.requires_grad for parameter in model.parameters()}
    try:
        yield
    finally:
        for parameter, requires_grad in before.items():
            parameter.requires_grad_(requires_grad)
