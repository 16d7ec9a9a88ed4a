"""The settings of a face run, with defaults that are safe."""

import math
import tomllib
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rsft.errors import InputError

Fraction = Annotated[float, Field(ge=0, le=1)]


class Recipe(BaseModel):
    """How the pool is thinned and how the network is tuned.

    Attributes:
        envelope: rule of `choose_envelope`.
        retain_fraction: share of the pool in the target.
        cut: first stage of the network that is tuned; those before are frozen.
        views: of each picture; itself, its mirror image, and so many more moved by up to `MAX_MOVE` pixels.
        steps: of the optimiser; by default so many that a share `TRAINED_FRACTION` of the pool's views is trained on.
        batch_size: samples in a step.
        learning_rate: largest, of AdamW.
        scale: of the cosines.
        margin_rad: ArcFace margin in radians.
        folds: of the pool's identities, for the choice of how far to go towards the tuned weights.
        shares: of the tuned weights to choose from; 0 is the pretrained network.
        max_retention_loss: how much the validation score over all pairs may fall.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    envelope: str = "quantile=0.97"
    retain_fraction: Fraction = 0.5
    cut: Annotated[int, Field(ge=0)] = 11
    views: Annotated[int, Field(ge=2)] = 4
    steps: Annotated[int | None, Field(gt=0)] = None
    batch_size: Annotated[int, Field(gt=1)] = 32
    learning_rate: Annotated[float, Field(gt=0)] = 3e-5
    scale: Annotated[float, Field(gt=0)] = 32.0
    margin_rad: Annotated[float, Field(ge=0, lt=math.pi / 2)] = 0.1
    folds: Annotated[int, Field(ge=2)] = 2
    shares: tuple[Fraction, ...] = (0.0, 0.25, 0.5, 0.75, 1.0)
    max_retention_loss: Fraction = 0.01


def read_recipe(path: Path) -> Recipe:
    """Read the `[recipe]` table of a TOML file, such as the `config.toml` of a run.

    Raises:
        InputError: the file is missing or not TOML, a key is unknown or a value out of range.
    """
    try:
        return Recipe(**tomllib.loads(path.read_text()).get("recipe", {}))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"cannot read '{path}': {error}.") from error
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(f"'{path}', recipe.{first['loc'][0]}: {first['msg']}.") from error
