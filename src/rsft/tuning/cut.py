"""Split of a model where training starts, so that the outputs of its frozen part can be computed once."""

import copy
import operator
from collections.abc import Callable, Collection

import torch
import torch.fx
from torch import Tensor, nn
from torch.fx import Graph, GraphModule, Node

from rsft.tuning.freezing import evaluating
from rsft.tuning.graph_values import node_values

# Largest difference between an item alone and the same item in a batch, as a share of the largest activation.
TOLERANCE = 1e-4


def cut(model: nn.Module, example: Tensor) -> tuple[GraphModule, GraphModule]:
    """Split a model where training starts, so that `suffix(prefix(x))` equals `model(x)`.

    The prefix contains everything that does not depend on a parameter that requires a gradient. It returns a tuple of
    tensors, which is the input of the suffix. Both parts share their weights with the model. Modules whose parameters
    all train, or are all frozen, are kept whole. Only modules with both are traced, so `torch.fx` must be able to trace
    their `forward`.

    Args:
        model: Module with frozen and trained parameters, and one input.
        example: (B, ...) inputs on which the result is checked, with B at least 2.

    Returns:
        Prefix and suffix.

    Raises:
        ValueError: If the model cannot be split in this way; the message states the reason.

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
        values = node_values(GraphModule(root, graph), example)
        later = _not_before_training(root, graph)
        # sizes and constants are not activations, so each side that needs them computes them
        light = {node for node, value in values.items() if not isinstance(value, Tensor) or node.op == "get_attr"}
        later |= _needed(later, light)
        crossing = [node for node in graph.nodes if node not in later | light and later & node.users.keys()]
        if all(node.op == "placeholder" for node in crossing):
            raise _impossible("training starts at the input: freeze the first layers")
        parts = _prefix(root, graph, crossing), _suffix(root, graph, later, crossing)
        _check(model, *parts, example)
    return parts


class _Tracer(torch.fx.Tracer):
    """Tracer that enters only modules with both frozen and trained parameters."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        trains = [parameter.requires_grad for parameter in m.parameters()]
        return all(trains) or not any(trains)


def _traced(model: nn.Module) -> tuple[nn.Module, Graph]:
    modes = {module: module.training for module in model.modules()}
    graphs = []
    try:
        for mode in (True, False):
            model.train(mode)
            root = copy.copy(model)  # tracing stores constants as attributes of the root
            graphs.append(_Tracer().trace(root))
    except Exception as error:
        raise _impossible(f"`torch.fx` cannot follow it ({error})") from error
    finally:
        for module, training in modes.items():
            module.training = training
    if str(graphs[0]) != str(graphs[1]):
        raise _impossible(
            "a module with frozen and trained layers depends on the training mode: use modules such as nn.Dropout"
        )
    return root, graphs[1]


def _not_before_training(model: nn.Module, graph: Graph) -> set[Node]:
    """Return the nodes that train, those that depend on them, and the output."""
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
    """Return the nodes in `among` that `nodes` depend on through nodes of `among`."""
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
        raise _impossible(f"a tensor that crosses the cut has no first dimension of size {len(example)}")
    if not all(torch.equal(one, other) for one, other in zip(given, prefix(example), strict=True)):
        raise _impossible("its frozen part is random: take dropout out of it")
    for together, alone in zip(given, prefix(example[:1]), strict=True):
        if (together[:1] - alone).abs().max() > TOLERANCE * together.abs().max():
            raise _impossible("its frozen part mixes the items of a batch, so they cannot be kept one by one")
    if not torch.equal(torch.as_tensor(suffix(given)), model(example)):
        raise _impossible("its two parts together do not equal the model")


def _impossible(reason: str) -> ValueError:
    return ValueError(f"`cut(model=...)` finds no part to compute once: {reason}.")
