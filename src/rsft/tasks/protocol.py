"""The protocol of a task: how its items are batched, described, scored, trained on and evaluated."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class Task(Protocol):
    """Protocol of a task; any class with these five methods is one. `rsft.tasks.conformance.check` tests a class.

    An item is a pair (input, target). It is the unit that is accepted or rejected, with all its pixels or boxes. The
    outputs and the targets of a batch are sequences over its items: a tensor (B, ...), or a list of length B.

    A task whose items can hold several classes may also have a method
    `memberships(targets) -> {table: (B, K) counts}`, for `rsft.membership_ratio`.
    """

    def collate(self, items: Sequence[tuple[Any, Any]]) -> tuple[Any, Any]:
        """Make a batch from B items.

        Args:
            items: B (input, target) pairs.

        Returns:
            The inputs for the model, and the targets.

        Raises:
            ValueError: An item cannot be used. The message gives its index in the batch and the reason.
        """

    def covariates(self, inputs: Sequence[Any]) -> Mapping[str, Tensor]:
        """Measure inputs without labels and without a model.

        Args:
            inputs: B inputs as they are in items, not collated. They may be unlabelled inputs of the target.

        Returns:
            Name -> (B,) values. Each value depends only on its own input.
        """

    def score(self, outputs: Any, targets: Any) -> Tensor:
        """Measure how hard each item is for the model.

        Args:
            outputs: Outputs of the model for a batch of B items.
            targets: Targets of the batch, from `collate`.

        Returns:
            (B,) losses of at least 0, differentiable with respect to the outputs. Each depends only on the output and
            the target of its own item.
        """

    def loss(self, outputs: Any, targets: Any) -> Tensor:
        """Compute the training loss, usually the mean of `score`.

        Args:
            outputs: Outputs of the model for a batch of B items.
            targets: Targets of the batch, from `collate`.

        Returns:
            A scalar, differentiable with respect to the outputs.
        """

    def metric(self, outputs: Sequence[Any], targets: Sequence[Any]) -> Mapping[str, float]:
        """Evaluate the outputs over a test set.

        Args:
            outputs: Output of the model for each item.
            targets: Target of each item.

        Returns:
            Name -> value, the main metric first. Higher is better; a value is NaN where it is undefined.
        """
