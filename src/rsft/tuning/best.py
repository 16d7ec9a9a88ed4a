"""The weights that are kept: the best scored, or the latest where none is."""

import math
from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

from torch import Tensor, nn

from rsft.tuning.engine import Objective
from rsft.tuning.freezing import evaluating


class Best:
    """Keeps the weights with the best score; without a score, the latest."""

    def __init__(
        self, objective: Objective, validate: Callable[[nn.Module], float] | None, note: Callable[..., None]
    ) -> None:
        self._objective, self._validate, self._note = objective, validate, note
        self._step, self._last = 0, -1
        self._weights: dict[str, dict[str, Tensor]] = {}
        self.score, self.stale = -math.inf, 0

    def look(self, step: int) -> None:
        """Score the weights after `step`, once, and remember them if they are better than any before."""
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
        """Put the best weights back; returns their step, which is `step` without validation."""
        for name, weights in self._weights.items():
            self._objective.parts()[name].load_state_dict(weights)
        return self._step if self._validate else step

    def state_dict(self) -> dict[str, Any]:
        """All of it, as tensors and plain numbers."""
        return {
            "step": self._step,
            "last": self._last,
            "score": self.score,
            "stale": self.stale,
            "weights": self._weights,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict()`."""
        self._step, self._last, self._weights = state["step"], state["last"], state["weights"]
        self.score, self.stale = state["score"], state["stale"]
