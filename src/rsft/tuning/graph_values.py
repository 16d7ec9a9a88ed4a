"""The value of every node of a `torch.fx` graph for one input."""

import torch.fx
from torch import Tensor
from torch.fx import GraphModule, Node


def node_values(module: GraphModule, example: Tensor) -> dict[Node, object]:
    """Run a module on an example and return the value of each node of its graph.

    Args:
        module: A module that `torch.fx` has traced, with one input.
        example: The input.

    >>> module = torch.fx.symbolic_trace(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.ReLU()))
    >>> [tuple(value.shape) for value in node_values(module, torch.zeros(2, 3, 4)).values()]
    [(2, 3, 4), (2, 12), (2, 12), (2, 12)]
    """
    values: dict[Node, object] = {}

    class Recorder(torch.fx.Interpreter):
        def run_node(self, n: Node) -> object:
            values[n] = super().run_node(n)
            return values[n]

    Recorder(module).run(example)
    return values
