"""TuningRecipe: the settings of a training as one plain object. Nothing here imports PyTorch."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]


class TuningRecipe(BaseModel):
    """Settings of a training that do not depend on the task; in TOML, the keys of a table.

    Attributes:
        trains: Which of the parameters that require a gradient are trained: "all", those of normalisation layers
            ("affine"), or low-rank adapters of linear layers and convolutions ("lora").
        lora_rank: Rank of each adapter.
        lora_alpha: The difference of an adapter is scaled by `lora_alpha` / sqrt(`lora_rank`).
        learning_rate: Peak learning rate of AdamW.
        head_learning_rate: Peak learning rate of the loss's own parameters, such as learnt prototypes; by default
            `learning_rate`.
        head_steps: Number of steps of a first stage in which only the loss's own parameters train.
        weight_decay: Weight decay of AdamW.
        warmup_fraction: Share of the steps in which the learning rate rises, in [0, 1].
        clip_norm: Largest norm of the gradient. The model and the loss are clipped separately.
        distillation: Weight of 1 - cosine between the outputs and those of the initial model.
        pull_to_start: Weight of the squared distance of the weights from their initial values.
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
