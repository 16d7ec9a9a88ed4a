"""The settings of a face run, with defaults that are safe."""

import importlib.util
import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator

from rsft.envelope import check_rule
from rsft.errors import InputError
from rsft.face.networks.bundle import DEFAULT_CUT
from rsft.tuning.recipe import Fraction, TuningRecipe

PLANNED = ("features", "method", "envelope", "retain_fraction", "accept_by", "floor")


class Recipe(TuningRecipe):
    """How the pool is thinned and how the network is tuned; beside the settings of `TuningRecipe`, for its last stages.

    Attributes:
        features: what the plan is made on, one of `FEATURES`.
        method: estimator of the ratio, as in `fit_ratio`.
        envelope: rule of `choose_envelope`.
        retain_fraction: share of the pool in the target.
        accept_by: "item" or "identity".
        floor: items that an accepted identity gets at least; in training, views of them.
        cut: first stage of the network that is tuned, or how many of its last are, as a negative number; those before
            are frozen.
        views: of each picture; itself, its mirror image, and so many more moved by up to `MAX_MOVE` pixels.
        steps: of the optimiser; by default so many that a share `TRAINED_FRACTION` of the pool's views is trained on.
        patience: of the trainings that the gate judges: so many validations without a better score on pairs of held-out
            identities that look like the target end them, at the best; the last training then takes as many steps, in
            proportion. None trains all steps.
        validate_every: steps between these validations.
        batch_size: samples in a step.
        learnt_prototypes: whether the prototypes of identities are trained; they start as class means.
        scale: of the cosines.
        loss: "arcface", "cosface" (extra `losses`) or "adaface"; see `rsft.face.adaptation.losses`.
        margin_rad: in radians, of ArcFace and AdaFace; by default none with the one and its paper's 0.4 with the other.
        margin_cosine: of CosFace.
        margin_ramp_fraction: share of the steps in which the margin grows from 0.
        min_label_margin: items whose `label_margin` is below are neither trained on nor used by the gate: their labels
            are doubtful. None trusts all.
        folds: of the pool's identities, for the choice of how far to go towards the tuned weights; then all are trained
            on. With 1 there is one training, on four fifths of them, and the others choose: the fastest, and the least
            sure.
        shares: of the tuned weights to choose from; 0 is the pretrained network. A comparison goes to the largest with
            every method.
        max_retention_loss: how much the validation score of pairs that look unlike the target may fall, and the TAR on
            a retention set.
    """

    features: str = "activations"
    method: str = "classifier"
    envelope: str = "max_tv=0.1"
    retain_fraction: Fraction = 0.5
    accept_by: Literal["item", "identity"] = "item"
    floor: Annotated[int, Field(ge=1)] = 1
    cut: int = DEFAULT_CUT
    views: Annotated[int, Field(ge=2)] = 4
    steps: Annotated[int | None, Field(gt=0)] = None
    patience: Annotated[int | None, Field(gt=0)] = None
    validate_every: Annotated[int, Field(gt=0)] = 20
    batch_size: Annotated[int, Field(gt=1)] = 32
    learnt_prototypes: bool = False
    loss: Literal["arcface", "cosface", "adaface"] = "arcface"
    scale: Annotated[float, Field(gt=0)] = 32.0
    margin_rad: Annotated[float | None, Field(ge=0, lt=math.pi / 2)] = None
    margin_cosine: Annotated[float, Field(ge=0, lt=1)] = 0.1
    margin_ramp_fraction: Fraction = 0.0
    min_label_margin: float | None = None
    folds: Annotated[int, Field(ge=1)] = 2
    shares: tuple[Fraction, ...] = (0.0, 0.25, 0.5, 0.75, 1.0)
    max_retention_loss: Fraction = 0.01

    @field_validator("envelope")
    @classmethod
    def _is_a_rule(cls, rule: str) -> str:
        check_rule(rule)
        return rule

    @field_validator("shares")
    @classmethod
    def _has_the_pretrained(cls, shares: tuple[float, ...]) -> tuple[float, ...]:
        if 0 not in shares:
            raise ValueError("needs 0, the pretrained weights, among the shares")
        return shares

    @field_validator("loss")
    @classmethod
    def _is_installed(cls, loss: str) -> str:
        if loss == "cosface" and importlib.util.find_spec("pytorch_metric_learning") is None:
            raise ValueError('"cosface" needs another package: pip install "rsft[losses]"')
        return loss

    def plan_options(self) -> dict[str, Any]:
        """What `plan_faces` takes of it."""
        return {name: getattr(self, name) for name in PLANNED}


def make_recipe(settings: Mapping[str, Any], source: str = "the settings") -> Recipe:
    """A recipe of plain values.

    Raises:
        InputError: a key is unknown or a value out of range; the message says of what `source`.
    """
    try:
        return Recipe(**settings)
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(f"{source}, recipe.{first['loc'][0]}: {first['msg']}.") from error
