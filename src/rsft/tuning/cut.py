"""A model cut where training starts, so that what is frozen can be computed once."""

import copy
import operator
from collections.abc import Callable, Collection

import torch
import torch.fx
from torch import Tensor, nn
from torch.fx import Graph, GraphModule, Node

from rsft.tuning.freezing import evaluating

# Of an item alone against the same item in a batch, as a share of the largest activation.
TOLERANCE = 1e-4


def cut(model: nn.Module, example: Tensor) -> tuple[GraphModule, GraphModule]:
    """Split a model where training starts: `suffix(prefix(x))` is `model(x)`.

    The prefix is all that comes before any parameter which requires a gradient. It gives a tuple of the tensors that
    cross to the suffix, which takes it; both share their weights with the model. Modules whose parameters all train, or
    all do not, stay whole; only those that mix both are traced, so their `forward` must be one `torch.fx` can follow.

    Args:
        model: with frozen and trained parameters, and one input.
        example: (B, ...) inputs to check the result with, B at least 2.

    Raises:
        ValueError: there is no such cut; the message says why.

    >>> model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> _ = model[0].requires_grad_(False)
    >>> prefix, suffix = cut(model, torch.randn(2, 4))
    >>> [tuple(tensor.shape) for tensor in prefix(torch.randn(5, 4))]
    [(5, 3)]
    """
    trains = [parameter.requires_grad for parameter in model.parameters()]
    if all(trains) or not any(trains):
        raise _impossible(f"{sum(trains)} of {len(trains)} parameters train: freeze the first layers, and not the last")
    root, graph = _traced(model)
    with evaluating(model), torch.random.fork_rng():
        values = _values(root, graph, example)
        later = _not_before_training(root, graph)
        # sizes and constants are no activations: they are computed on whichever side needs them
        light = {node for node, value in values.items() if not isinstance(value, Tensor) or node.op == "get_attr"}
        later |= _needed(later, light)
        crossing = [node for node in graph.nodes if node not in later | light and later & node.users.keys()]
        if all(node.op == "placeholder" for node in crossing):
            raise _impossible("training starts at the input: freeze the first layers")
        parts = _prefix(root, graph, crossing), _suffix(root, graph, later, crossing)
        _check(model, *parts, example)
    return parts


class _Tracer(torch.fx.Tracer):
    """Enters only modules that mix frozen and trained parameters."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        trains = [parameter.requires_grad for parameter in m.parameters()]
        return all(trains) or not any(trains)


def _traced(model: nn.Module) -> tuple[nn.Module, Graph]:
    modes = {module: module.training for module in model.modules()}
    graphs = []
    try:
        for mode in (True, False):
            model.train(mode)
            root = copy.copy(model)  # tracing gives it constants as attributes
            graphs.append(_Tracer().trace(root))
    except Exception as error:
        raise _impossible(f"`torch.fx` cannot follow it ({error})") from error
    finally:
        for module, training in modes.items():
            module.training = training
    if str(graphs[0]) != str(graphs[1]):
        raise _impossible("a module with frozen and trained layers behaves otherwise in training: use modules for that")
    return root, graphs[1]


def _values(model: nn.Module, graph: Graph, example: Tensor) -> dict[Node, object]:
    """What each node gives for the example."""
    values: dict[Node, object] = {}

    class Recorder(torch.fx.Interpreter):
        def run_node(self, n: Node) -> object:
            values[n] = super().run_node(n)
            return values[n]

    Recorder(GraphModule(model, graph)).run(example)
    return values


def _not_before_training(model: nn.Module, graph: Graph) -> set[Node]:
    """The nodes that train, those that depend on them, and the output."""
    later: set[Node] = set()
    for node in graph.nodes:
        trained = False
        if node.op == "call_module":
            trained = any(parameter.requires_grad for parameter in model.get_submodule(node.target).parameters())
        elif node.op == "get_attr":
            trained = getattr(operator.attrgetter(node.target)(model), "requires_grad", False)
        if trained or node.op == "output" or later & set(node.all_input_nodes):
            later.add(node)
    return later


def _needed(nodes: Collection[Node], among: Collection[Node]) -> set[Node]:
    """Those among some nodes that others need, and that they need in turn."""
    found: set[Node] = set()
    waiting = list(nodes)
    while waiting:
        new = {node for node in waiting.pop().all_input_nodes if node in among} - found
        found |= new
        waiting += new
    return found


def _prefix(model: nn.Module, graph: Graph, crossing: list[Node]) -> GraphModule:
    kept = _needed(crossing, set(graph.nodes)).union(crossing)
    part, copies = Graph(), dict[Node, Node]()
    for node in graph.nodes:
        if node in kept or node.op == "placeholder":
            copies[node] = part.node_copy(node, copies.__getitem__)
    part.output(tuple(copies[node] for node in crossing))
    return GraphModule(model, part)


def _suffix(model: nn.Module, graph: Graph, kept: set[Node], crossing: list[Node]) -> GraphModule:
    part = Graph()
    taken = part.placeholder("crossing")
    copies = {node: part.call_function(operator.getitem, (taken, index)) for index, node in enumerate(crossing)}
    for node in graph.nodes:
        if node in kept:
            copies[node] = part.node_copy(node, copies.__getitem__)
    return GraphModule(model, part)


def _check(model: nn.Module, prefix: nn.Module, suffix: Callable[[object], object], example: Tensor) -> None:
    given = prefix(example)
    if any(tensor.shape[:1] != example.shape[:1] for tensor in given):
        raise _impossible(f"what crosses the cut has no batch of {len(example)} in front")
    if not all(torch.equal(one, other) for one, other in zip(given, prefix(example), strict=True)):
        raise _impossible("its frozen part is random: take dropout out of it")
    for together, alone in zip(given, prefix(example[:1]), strict=True):
        if (together[:1] - alone).abs().max() > TOLERANCE * together.abs().max():
            raise _impossible("its frozen part mixes the items of a batch, so they cannot be kept one by one")
    if not torch.equal(torch.as_tensor(suffix(given)), model(example)):
        raise _impossible("its two parts do not give what the whole gives")


def _impossible(reason: str) -> ValueError:
    return ValueError(f"`cut(model=...)` finds no part to compute once: {reason}.")
