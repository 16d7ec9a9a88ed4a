"""BestWeights: the weights that a training keeps."""

import math
from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

from torch import Tensor, nn

from rsft.tuning.freezing import evaluating
from rsft.tuning.objective import Objective


class BestWeights:
    """The weights with the best validation score; without validation, the latest weights.

    Args:
        objective: Contains the model that is scored and the weights that are kept.
        validate: Function model -> score, higher is better; None for no validation.
        note: Callback that receives `step` and `score` of each validation.

    Attributes:
        score: Best score so far, -inf at the start.
        stale: Number of validations since the best one.
    """

    def __init__(
        self, objective: Objective, validate: Callable[[nn.Module], float] | None, note: Callable[..., None]
    ) -> None:
        self._objective, self._validate, self._note = objective, validate, note
        self._step, self._last = 0, -1
        self._weights: dict[str, dict[str, Tensor]] = {}
        self.score, self.stale = -math.inf, 0

    def look(self, step: int) -> None:
        """Score the weights after `step`, once per step, and keep a copy if the score is the best so far."""
        if self._validate is None or step == self._last:
            return
        with evaluating(self._objective.model):
            score = self._validate(self._objective.model)
        self._note(step=step, score=score)
        self._last, self.stale = step, self.stale + 1
        if score > self.score:
            self.score, self._step, self.stale = score, step, 0
            self._weights = {name: deepcopy(part.state_dict()) for name, part in self._objective.parts().items()}

    def restore(self, step: int) -> int:
        """Load the best weights and return their step; without validation, return `step`."""
        for name, weights in self._weights.items():
            self._objective.parts()[name].load_state_dict(weights)
        return self._step if self._validate else step

    def state_dict(self) -> dict[str, Any]:
        """Return the state as tensors and plain numbers."""
        return {
            "step": self._step,
            "last": self._last,
            "score": self.score,
            "stale": self.stale,
            "weights": self._weights,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state that `state_dict` returned."""
        self._step, self._last, self._weights = state["step"], state["last"], state["weights"]
        self.score, self.stale = state["score"], state["stale"]
