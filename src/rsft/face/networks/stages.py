"""Divide a network into a sequence of stages, so that it can be cut where tuning starts."""

import inspect
import operator
from collections.abc import Sequence

import torch
import torch.fx
from torch import Tensor, nn
from torch.fx import Graph, GraphModule, Node

from rsft.errors import InputError
from rsft.tuning.freezing import evaluating
from rsft.tuning.graph_values import node_values


def in_stages(network: nn.Module, example: Tensor) -> nn.Sequential:
    """Divide a network into a sequence of stages that computes the same function with the same weights.

    A stage ends where the rest of the network needs only a single tensor, as between two residual blocks. A stage
    without a matrix or convolution kernel is merged with the one before. Each parameter keeps its name, prefixed with
    the index of its stage. An `nn.Sequential` is returned unchanged.

    Args:
        network: Module with one input and one output tensor, whose `forward` `torch.fx` can trace. Further inputs keep
            their default values.
        example: (B, ...) example input.

    Raises:
        InputError: The network cannot be traced.

    >>> network = nn.Sequential(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)))
    >>> [len(stage.state_dict()) for stage in in_stages(torch.fx.symbolic_trace(network), torch.zeros(1, 4))]
    [2, 2]
    """
    if isinstance(network, nn.Sequential):
        return network
    with evaluating(network):
        try:
            traced = network if isinstance(network, GraphModule) else _traced(network)
            values = node_values(traced, example)
        except Exception as error:
            raise InputError(
                f"`torch.fx` cannot trace '{type(network).__name__}' ({' '.join(str(error).split())[:200]}): give an "
                "nn.Sequential of its stages instead."
            ) from error
    stages: list[list[Node]] = []
    for segment in _segments(traced.graph, values, len(example)):
        if stages and not (_heavy(traced, stages[-1]) and _heavy(traced, segment)):
            stages[-1] += segment
        else:
            stages.append(segment)
    return nn.Sequential(*(_stage(traced, nodes) for nodes in stages)).train(network.training)


class _OneInput(nn.Module):
    """Module that passes only the first input and leaves the others at their defaults."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x)


def _traced(network: nn.Module) -> GraphModule:
    """Trace a network as a function of its first input."""
    if len(inspect.signature(network.forward).parameters) == 1:
        return torch.fx.symbolic_trace(network)
    graph = torch.fx.Tracer().trace(_OneInput(network))
    for node in graph.nodes:
        if node.op in ("call_module", "get_attr"):
            node.target = str(node.target).removeprefix("network.")
    return GraphModule(network, graph)


def _segments(graph: Graph, values: dict[Node, object], batch: int) -> list[list[Node]]:
    """Divide the graph's nodes, in order, wherever only one tensor, with the batch first, is used afterwards."""
    nodes = [node for node in graph.nodes if node.op not in ("placeholder", "output")]
    place = {node: index for index, node in enumerate(graph.nodes)}
    last_use = {node: max((place[user] for user in node.users), default=-1) for node in graph.nodes}
    segments: list[list[Node]] = [[]]
    alive = {node for node in graph.nodes if node.op == "placeholder"}
    for node in nodes:
        segments[-1].append(node)
        alive = {old for old in alive | {node} if last_use[old] > place[node]}
        value = values[node]
        if alive == {node} and isinstance(value, Tensor) and value.ndim > 1 and len(value) == batch:
            segments.append([])
    return segments[:-1] if not segments[-1] else segments


def _heavy(module: GraphModule, nodes: Sequence[Node]) -> bool:
    """Return whether the nodes hold a matrix or a convolution kernel."""
    held: list[Tensor] = []
    for node in nodes:
        if node.op == "call_module":
            held += module.get_submodule(str(node.target)).parameters()
        elif node.op == "get_attr":
            held.append(operator.attrgetter(str(node.target))(module))
    return any(isinstance(tensor, nn.Parameter) and (torch.tensor(tensor.shape) > 1).sum() > 1 for tensor in held)


def _stage(module: GraphModule, nodes: Sequence[Node]) -> GraphModule:
    """Build a module of one input from consecutive nodes of a traced module."""
    graph, copies = Graph(), dict[Node, Node]()
    x = graph.placeholder("x")
    for node in nodes:
        for source in node.all_input_nodes:
            copies.setdefault(source, x)  # a value from outside the stage is its one input
        copies[node] = graph.node_copy(node, copies.__getitem__)
    graph.output(copies[nodes[-1]])
    return GraphModule(module, graph)
