"""Settings of a face run, with safe defaults."""

import importlib.util
import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator

from rsft.errors import InputError, did_you_mean, how_to_install
from rsft.face.networks.names import DEFAULT_CUT
from rsft.tuning.settings import Fraction, NotNegative, TuningRecipe

MANY_IDENTITIES = 500
HELD_OUT_PARTS = 5  # with one fold, one of this number of parts is held out
# Kinds of features that a plan can be made on, from cheap to expensive, with the estimator that suits each: a covariate
# may be unlike the target on both sides, which a line cannot tell.
METHODS_OF = {"covariates": "auto", "activations": "classifier", "embedding": "classifier"}
FEATURES = tuple(METHODS_OF)
AUTO = "auto"
KINDS = {"int": "a whole number", "float": "a number", "bool": "true or false", "string": "a text"}
PLANNED = ("features", "method", "envelope", "retain_fraction", "accept_by", "floor")


class Recipe(TuningRecipe):
    """Settings for thinning the pool and for tuning the last stages of the network, on top of `TuningRecipe`.

    Attributes:
        features: Kind of features that the plan is made on; see `plan_faces`. "auto" takes the cheapest kind whose
            accepted pictures are as much like the target as those of the best; see `choose_features`.
        method: Estimator of the ratio; see `fit_ratio`. By default the one of `METHODS_OF` for the features.
        envelope: Rule for the envelope; see `choose_envelope`.
        retain_fraction: Share of the pool in the target, in [0, 1].
        accept_by: Unit that is accepted as a whole, "item" or "identity".
        floor: Minimum number of items of an accepted identity.
        accepted: Number of pictures that one pass accepts for a training. Once they are found, no further picture of
            the pool is looked at, and all passes draw from those that were. More show more of the target, and cost
            more.
        judged: Number of pictures of held-out identities by which the gate judges each fold.
        max_looks: Largest number of pictures that a pilot looks at, and largest number that a pass does, rounded up to
            chunks. Further pictures of people who were found come on top of it.
        siblings: Number of further pictures of an identity: for its prototype, if it has accepted pictures like the
            target, and for the gate, if it is held out.
        chunk: Number of neighbouring pictures that are looked at together; see `rsft.sampling.walk`. With 1, pictures
            are read in random order; longer chunks suit archives on slow disks.
        cut: First stage of the network that is tuned; the stages before it are frozen. A negative number is the number
            of last stages that are tuned.
        views: Number of views of each picture: the picture, its mirror image, and copies of it that are moved by up to
            `MAX_MOVE` pixels.
        whitening: Strength of the whitening of the embedding before the training, in [0, 1); see
            `rsft.face.adaptation.whitening`. With 0 there is none.
        distillation: Weight of 1 - cosine between the embeddings and those of the whitened network (of the pretrained
            one if it is not whitened), which keeps what a training would forget.
        steps: Number of optimiser steps of a training. With 0, whitening is all that is done.
        patience: Number of validations in a row without a better score that ends a training, at its best weights. This
            applies to the trainings that the gate judges, on held-out pairs like the target. The last training then
            takes the same share of its steps. With None, all steps are trained.
        validate_every: Number of steps between these validations.
        batch_size: Number of samples in a step.
        learnt_prototypes: Whether the prototypes of the identities are trained. They start as class means.
        scale: Factor of the cosines.
        loss: "arcface", "cosface" (needs the extra `losses`) or "adaface"; see `rsft.face.adaptation.losses`.
        margin_rad: Margin of ArcFace and AdaFace in radians, in [0, pi / 2). None is no margin for ArcFace, and the 0.4
            of the paper for AdaFace.
        margin_cosine: Margin of CosFace, in [0, 1).
        margin_ramp_fraction: Share of the steps in which the margin grows from 0, in [0, 1].
        min_label_margin: Smallest `label_margin` of a trusted item. Items below it have doubtful labels, and are
            neither trained on nor used by the gate. With None, every item is trusted.
        folds: Number of folds of the pool's identities in which the gate chooses how far to go to the tuned weights.
            All identities are trained on afterwards. With 1, there is a single training on four fifths of the
            identities, and the others are used to choose. By default 1 for `MANY_IDENTITIES` or more, and 2 for fewer.
        shares: Shares of the way to the tuned weights that the gate can choose, in [0, 1]. They must include 0, the
            pretrained network. With whitening and training, the whitened weights are at 0.25. A comparison uses the
            largest share for every method, on the straight way.
        max_retention_loss: Largest allowed fall of the validation score of pairs unlike the target, and of the TAR on a
            retention set, in [0, 1].
    """

    features: str = "auto"
    method: str | None = None
    envelope: str = "max_tv=0.1"
    retain_fraction: Fraction = 0.5
    accept_by: Literal["item", "identity"] = "item"
    floor: Annotated[int, Field(ge=1)] = 1
    accepted: Annotated[int, Field(gt=0)] = 1600
    judged: Annotated[int, Field(gt=0)] = 800
    max_looks: Annotated[int, Field(gt=0)] = 50_000
    siblings: Annotated[int, Field(ge=0)] = 3
    chunk: Annotated[int, Field(gt=0)] = 1
    cut: int = DEFAULT_CUT
    views: Annotated[int, Field(ge=2)] = 4
    whitening: Annotated[float, Field(ge=0, lt=1)] = 0.25
    distillation: NotNegative = 3.0
    steps: Annotated[int, Field(ge=0)] = 200
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
    folds: Annotated[int | None, Field(ge=1)] = None
    shares: tuple[Fraction, ...] = (0.0, 0.25, 0.5, 0.75, 1.0)
    max_retention_loss: Fraction = 0.01

    @field_validator("features")
    @classmethod
    def _are_known(cls, features: str) -> str:
        return _one_of(features, (AUTO, *FEATURES))

    @field_validator("method")
    @classmethod
    def _is_a_method(cls, method: str | None) -> str | None:
        from rsft.ratio import METHODS  # imports PyTorch, for a method that is not the default

        return None if method is None else _one_of(method, (AUTO, *METHODS))

    @field_validator("envelope")
    @classmethod
    def _is_a_rule(cls, rule: str) -> str:
        from rsft.envelope import (  # imports PyTorch, for a rule that is not the default
            RULE_EXAMPLES,
            RULES,
            check_rule,
        )

        name = rule.partition("=")[0].strip()
        if name not in RULES:
            raise ValueError(f"there is no rule '{rule}'{did_you_mean(name, RULES)}: use {RULE_EXAMPLES}")
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
            raise ValueError(f"'cosface' needs another package: {how_to_install('losses')}")
        return loss

    def folds_of(self, identities: int) -> int:
        """Return the number of folds for a number of identities."""
        return self.folds or (1 if identities >= MANY_IDENTITIES else 2)

    def parts(self, identities: int) -> int:
        """Return the number of parts that identities are divided into, of which each fold holds out one."""
        folds = self.folds_of(identities)
        return folds if folds > 1 else HELD_OUT_PARTS

    def plan_options(self) -> dict[str, Any]:
        """Return the settings that are arguments of `plan_faces`."""
        return {name: getattr(self, name) for name in PLANNED}


def _one_of(word: str, choices: Sequence[str]) -> str:
    """Return a word; raise ValueError if it is none of a few choices."""
    if word not in choices:
        raise ValueError(f"'{word}' is not one of {', '.join(choices)}{did_you_mean(word, choices)}")
    return word


def make_recipe(settings: Mapping[str, Any], source: str = "the settings", *, as_options: bool = False) -> Recipe:
    """Make a recipe from plain values.

    Args:
        settings: Name -> value of the settings that differ from the defaults.
        source: Where the settings come from, for the message of an error.
        as_options: The settings are options of the command line, and the message names them so.

    Raises:
        InputError: If a name is unknown or a value is out of range. The message offers the nearest valid name or word.
    """
    try:
        return Recipe(**settings)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = ".".join(map(str, first["loc"]))
        place = f"--{name.replace('_', '-')}" if as_options else f"{source}: recipe.{name}"
        if first["type"] == "extra_forbidden":
            place = f"{source}: there is no setting recipe.{name}"
        raise InputError(f"{place}{_told(name, first)}.") from error


def _told(name: str, error: Any) -> str:
    """Say what is wrong with a setting, without a full stop: an error of pydantic in our words."""
    given, message = error["input"], error["msg"]
    if error["type"] == "extra_forbidden":
        return did_you_mean(name, Recipe.model_fields)
    if error["type"] == "literal_error":
        words = error["ctx"]["expected"].replace("'", "").replace(" or ", ", ").split(", ")
        return f": '{given}' is not one of {', '.join(words)}{did_you_mean(str(given), words)}"
    if error["type"] == "value_error":
        return f": {error['ctx']['error']}".rstrip(".")
    kind = KINDS.get(error["type"].partition("_")[0])
    if kind is not None:
        return f" needs {kind}, got {given!r}"
    return f"{message.removeprefix('Input')}, got {given!r}"
