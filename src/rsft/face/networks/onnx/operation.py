"""One node of an ONNX graph as its conversion sees it: attributes by the file's opset, and the values of its inputs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

Made = nn.Module | Callable[..., Tensor]


class UnsupportedError(Exception):
    """Raised for a form of an operator that has no counterpart here."""


@dataclass
class Operation:
    """A node whose counterpart in PyTorch is to be built.

    Attributes:
        kind: The operator.
        attributes: Name -> value, with the defaults of the file's opset for those the node does not state.
        stated: Names of the attributes that the node states with another value than the default.
        inputs: The inputs: a constant, or the value computed for an example of one picture; None if absent.
        batch: Dimension of the pictures in each input; None for a constant or an absent input.
        since: Opset that introduced the form of the operator which the file's opset uses.
        output: Index of the output to compute.
        outputs: Number of outputs of the node.
    """

    kind: str
    attributes: dict[str, Any]
    stated: set[str]
    inputs: Sequence[Tensor | None]
    batch: Sequence[int | None]
    since: int
    output: int = 0
    outputs: int = 1
    _read: set[str] = field(default_factory=set)

    def get(self, name: str, default: Any = None) -> Any:
        """Return an attribute, or `default` if neither the node nor its opset states it."""
        self._read.add(name)
        value = self.attributes.get(name)
        return default if value is None else value

    def input(self, index: int) -> Tensor | None:
        """Return an input, or None if it is absent."""
        return self.inputs[index] if index < len(self.inputs) else None

    def given(self, index: int) -> Tensor:
        """Return an input that must be present."""
        value = self.input(index)
        if value is None:
            raise UnsupportedError(f"its input {index} is missing")
        return value

    def numbers(self, name: str, index: int) -> list[int] | None:
        """Return whole numbers that are an attribute in older opsets and an input in newer ones, or None."""
        value = self.input(index)
        if value is not None:
            return [int(number) for number in value.flatten()]
        stated = self.get(name)
        return None if stated is None else [int(number) for number in stated]

    def first_batch(self) -> int:
        """Return the dimension of the pictures in the first input that has one."""
        return next(axis for axis in self.batch if axis is not None)

    def check_all_read(self) -> None:
        """Raise an error if the node states an attribute that its counterpart has not looked at."""
        unread = sorted(self.stated - self._read)
        if unread:
            raise UnsupportedError(f"its attribute '{unread[0]}' = {self.attributes[unread[0]]} is not supported")


def operation(
    node: Any,
    opset: int,
    inputs: Sequence[Tensor | None],
    batch: Sequence[int | None],
    output: int = 0,
) -> Operation:
    """Describe a node of the default domain by the operator's definition in an opset.

    Args:
        node: The node (`onnx.NodeProto`).
        opset: Version of the default operator set that the file states.
        inputs: Value of each input; see `Operation`.
        batch: Dimension of the pictures in each input; see `Operation`.
        output: Index of the output to compute.

    Raises:
        UnsupportedError: The opset has no such operator.
    """
    import onnx

    try:
        schema = onnx.defs.get_schema(node.op_type, opset, "")
    except onnx.defs.SchemaError as error:
        raise UnsupportedError(f"opset {opset} has no such operator") from error
    defaults = {
        name: _value(attribute.default_value)
        for name, attribute in schema.attributes.items()
        if attribute.default_value.type != onnx.AttributeProto.UNDEFINED
    }
    stated = {attribute.name: _value(attribute) for attribute in node.attribute}
    other = {name for name, value in stated.items() if value != defaults.get(name)}
    return Operation(
        node.op_type, defaults | stated, other, inputs, batch, schema.since_version, output, len(node.output)
    )


def _value(attribute: Any) -> Any:
    """Return the value of an attribute; texts as str."""
    from onnx.helper import get_attribute_value

    value = get_attribute_value(attribute)
    return value.decode(errors="replace") if isinstance(value, bytes) else value
