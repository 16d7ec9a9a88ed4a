"""What a task is: what an item scores, what can be told of it, what is minimised and what counts in the end."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class Task(Protocol):
    """Any class with these five methods, such as one of your own; `rsft.tasks.conformance.check` tries them.

    An item is a pair (input, target), and the unit that is accepted or rejected: all its pixels or boxes come with it.
    Outputs and targets of a batch are sequences over its items: a tensor (B, ...), or a list of B.

    A task whose items hold several classes may also have `memberships(targets) -> {table: (B, K) counts}`, for
    `rsft.membership_ratio`.
    """

    def collate(self, items: Sequence[tuple[Any, Any]]) -> tuple[Any, Any]:
        """A batch of items: inputs for the model, and targets.

        Raises:
            ValueError: an item cannot be used; the message says which of the batch, and why.
        """

    def covariates(self, inputs: Sequence[Any]) -> Mapping[str, Tensor]:
        """What can be told of inputs without labels and without a model: name -> (B,), each of its own input alone.

        Args:
            inputs: as they are in the items, not collated, so unlabelled pictures of the target will do.
        """

    def score(self, outputs: Any, targets: Any) -> Tensor:
        """How hard each item is: (B,) losses >= 0, each of its own output alone. The gradient passes through."""

    def loss(self, outputs: Any, targets: Any) -> Tensor:
        """What is minimised: a scalar, usually the mean of `score`."""

    def metric(self, outputs: Sequence[Any], targets: Sequence[Any]) -> Mapping[str, float]:
        """What counts: name -> figure over a test set, higher is better, the headline first; NaN where undefined.

        Args:
            outputs: the model's, an entry an item.
            targets: likewise.
        """
