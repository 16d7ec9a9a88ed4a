"""How a model is tuned, as one plain object: what trains, how fast, and what holds it back."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from rsft.tuning.adapters import low_rank
from rsft.tuning.checkpoint import Checkpoints
from rsft.tuning.engine import Loss, Penalty
from rsft.tuning.freezing import AFFINE, train_only
from rsft.tuning.loop import TuningResult, fine_tune
from rsft.tuning.penalties import Distillation, PullToStart
from rsft.tuning.stopping import Stopping

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]


class TuningRecipe(BaseModel):
    """The settings of a training that do not depend on the task; in TOML, keys of a table.

    Attributes:
        trains: of the parameters that require a gradient: "all", those of normalisation layers ("affine"), or low-rank
            adapters beside linear maps and convolutions ("lora").
        lora_rank: of each adapter.
        lora_alpha: an adapter's difference is scaled by this over the square root of the rank.
        learning_rate: largest, of AdamW.
        head_learning_rate: that of the loss's own parameters, such as learnt prototypes; the same by default.
        head_steps: so many steps first in which only the loss's own parameters train.
        weight_decay: of AdamW.
        warmup_fraction: share of the steps in which the learning rate rises.
        clip_norm: largest norm of the gradient, the model's and the loss's each.
        distillation: weight of 1 - cosine to the outputs of the model as it was.
        pull_to_start: weight of the squared distance from the weights as they were.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    trains: Literal["all", "affine", "lora"] = "all"
    lora_rank: Annotated[int, Field(gt=0)] = 8
    lora_alpha: Annotated[int, Field(gt=0)] = 8
    learning_rate: Positive = 3e-5
    head_learning_rate: Positive | None = None
    head_steps: Annotated[int, Field(ge=0)] = 0
    weight_decay: NotNegative = 0.0
    warmup_fraction: Fraction = 0.1
    clip_norm: Positive = 5.0
    distillation: NotNegative = 0.0
    pull_to_start: NotNegative = 0.0


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
    **options: Any,
) -> TuningResult:
    """`fine_tune` as a recipe says, in place; afterwards the model is built as before and the same parameters train.

    Args:
        recipe: the settings.
        model: what is tuned.
        batches: as for `fine_tune`; the stage of the head comes first and takes its own.
        loss: likewise.
        stop: of the training after the stage of the head.
        affine: the layers that "affine" means.
        seed: of the adapters' first weights.
        checkpoints: as for `fine_tune`; the stage of the head has its own folder below.
        **options: further ones of `fine_tune`.

    Returns:
        What the training after the stage of the head did.

    Raises:
        ValueError: `head_steps` or `head_learning_rate` with a loss that has no parameters of its own.
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
    penalties: list[Penalty] = [Distillation(model, recipe.distillation)] if recipe.distillation else []
    with _trained(recipe, model, affine, seed) as trained:
        if recipe.pull_to_start:
            penalties.append(PullToStart(trained, recipe.pull_to_start))
        return fine_tune(
            trained,
            batches,
            loss,
            stop=stop,
            learning_rate={"": recipe.learning_rate} | head_rate,
            penalties=penalties,
            checkpoints=checkpoints,
            **options,
        )


@contextmanager
def _trained(
    recipe: TuningRecipe, model: nn.Module, affine: tuple[type[nn.Module], ...], seed: int
) -> Iterator[nn.Module]:
    """The model to train, with the parameters the recipe names requiring gradients."""
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
    """Afterwards those parameters train that did before."""
    before = {parameter: parameter.requires_grad for parameter in model.parameters()}
    try:
        yield
    finally:
        for parameter, requires_grad in before.items():
            parameter.requires_grad_(requires_grad)
