"""Read an ONNX file into one that is whole in itself: weights beside it packed in, functions put in their place."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rsft.data.reading import reading
from rsft.data.regular import open_regular, read_regular
from rsft.errors import InputError, how_to_install

MIN_OPSET = 7  # before, operators were broadcast by another rule; onnxruntime reads none of those either
MAX_NODES = 50_000
MAX_DEPTH = 50  # of functions that use functions


def read_file(path: Path) -> bytes:
    """Read an ONNX file, with the weights that it keeps in other files of its folder.

    Args:
        path: The file.

    Returns:
        The graph with all its weights, as `rsft.face.networks.onnx.graph.read_onnx` takes it.

    Raises:
        InputError: `onnx` is not installed; the file cannot be read or is damaged; or weights lie outside its folder,
            are missing or truncated.
    """
    with reading(path, "an ONNX file"):
        graph = read_regular(path)
    model = parse(graph, path)
    outside = [tensor for tensor in _tensors(model.graph) if tensor.data_location == tensor.EXTERNAL]
    outside += [tensor for function in model.functions for tensor in _tensors(function) if tensor.data_location]
    if not outside:
        return graph
    for tensor in outside:
        _pack(tensor, path)
    try:
        return model.SerializeToString()
    except Exception as error:  # protobuf's errors have no common base
        raise InputError(f"'{path}' is larger than 2 GB with its weights, which is not supported.") from error


def external_files(path: Path) -> list[str]:
    """Return the names of the files in which an ONNX file keeps its weights, relative to its folder."""
    model = parse(read_regular(path), path)
    found = [_place(tensor).get("location", "") for tensor in _tensors(model.graph) if tensor.data_location]
    return sorted({name for name in found if _is_inside(name)})


def parse(graph: bytes, source: str | Path) -> Any:
    """Parse the content of an ONNX file.

    Returns:
        The `onnx.ModelProto`.

    Raises:
        InputError: `onnx` is not installed, or the content is not a graph.
    """
    try:
        import onnx
    except ModuleNotFoundError as error:
        raise InputError(f"reading ONNX needs the package 'onnx': {how_to_install('onnx')}.") from error
    try:
        model = onnx.load_model_from_string(graph)
    except Exception as error:  # protobuf's errors have no common base
        raise InputError(f"'{source}' is not an ONNX file, or is truncated.") from error
    if not model.graph.node or not model.graph.output:
        raise InputError(f"'{source}' is not an ONNX file, or is truncated.")
    return model


def whole(model: Any, source: str | Path, known: set[str]) -> Any:
    """Return a model whose nodes are operators only, after checks of what can be told without computing.

    Args:
        model: The parsed model.
        source: Name of the file, used in error messages.
        known: Operators that are converted as they are; others that ONNX defines by simpler ones are taken apart.

    Raises:
        InputError: A weight lies in another file, the opset is missing or too old, or there are too many nodes.
    """
    import onnx
    from onnx import inliner

    for tensor in _tensors(model.graph):
        if tensor.data_location == tensor.EXTERNAL:
            raise InputError(
                f"'{source}' keeps weight '{tensor.name}' in another file (external_data): load it by its path with "
                "that file beside it, or export with external_data=False."
            )
    version, newest = opset(model), onnx.defs.onnx_opset_version()
    if not MIN_OPSET <= version <= newest:
        raise InputError(
            f"'{source}' is of opset {version or 'none'}: {MIN_OPSET} to {newest} are read by the installed onnx."
        )
    try:
        if model.functions and _expanded(model) <= MAX_NODES:
            model = inliner.inline_local_functions(model)
        composed = sorted({node.op_type for node in _live(model.graph) if _is_composed(node, version, known)})
        if composed:
            ids = [(domain, name) for name in composed for domain in ("", "ai.onnx")]
            model = inliner.inline_selected_functions(model, ids, inline_schema_functions=True)
    except Exception as error:  # errors of the C++ library have no common base
        raise InputError(f"the functions of '{source}' cannot be put in their place: {short(error)}.") from error
    if (nodes := _expanded(model)) > MAX_NODES:
        raise InputError(f"'{source}' has {nodes} nodes: at most {MAX_NODES} are read.")
    return model


def _expanded(model: Any) -> int:
    """Return the number of nodes of a graph once its functions are in their place."""
    functions = {(function.domain, function.name): function for function in model.functions}
    sizes: dict[tuple[str, str], int] = {}

    def size(key: tuple[str, str], within: tuple[tuple[str, str], ...]) -> int:
        if key not in functions or key in within:
            return 1
        if len(within) > MAX_DEPTH:
            return MAX_NODES + 1
        if key not in sizes:
            nodes = functions[key].node
            sizes[key] = sum(size((node.domain, node.op_type), (*within, key)) for node in nodes)
        return sizes[key]

    return sum(size((node.domain, node.op_type), ()) for node in model.graph.node)


def _live(graph: Any) -> list[Any]:
    """Return the nodes that depend on more of the input than its shape."""
    live = {value.name for value in graph.input} - {tensor.name for tensor in graph.initializer}
    found = []
    for node in graph.node:
        if node.op_type not in ("Shape", "Size") and live & {*node.input, *inner_names(node)}:
            live |= set(node.output)
            found.append(node)
    return found


def _is_composed(node: Any, version: int, known: set[str]) -> bool:
    """Return whether a node is an unknown operator that ONNX defines by simpler ones."""
    import onnx

    if node.domain not in ("", "ai.onnx") or node.op_type in known:
        return False
    try:
        schema: Any = onnx.defs.get_schema(node.op_type, version, "")
    except onnx.defs.SchemaError:
        return False
    return bool(schema.has_function or schema.has_context_dependent_function)


def opset(model: Any) -> int:
    """Return the version of the default operator set that a model states, 0 if none."""
    return max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=0)


def keep_output(graph: bytes, output: str) -> bytes:
    """Return a graph with one of its outputs and the nodes and weights that it needs."""
    import onnx

    model = onnx.load_model_from_string(graph)
    names = needed_names(model.graph.node, [output])
    kept = {
        "node": [node for node in model.graph.node if names & set(node.output)],
        "output": [value for value in model.graph.output if value.name == output],
        "initializer": [tensor for tensor in model.graph.initializer if tensor.name in names],
    }
    # a listed input may be unused or be an initialiser
    weights = {tensor.name for tensor in kept["initializer"]}
    kept["input"] = [value for value in model.graph.input if value.name in names - weights]
    for field, values in kept.items():
        copies = [type(value).FromString(value.SerializeToString()) for value in values]
        model.graph.ClearField(field)
        getattr(model.graph, field).extend(copies)
    return bytes(model.SerializeToString())


def needed_names(nodes: Any, outputs: list[str]) -> set[str]:
    """Return the names that outputs of a graph depend on."""
    makers = {name: node for node in nodes for name in node.output}
    found: set[str] = set()
    waiting = list(outputs)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += [*makers[name].input, *inner_names(makers[name])] if name in makers else []
    return found


def inner_names(node: Any) -> list[str]:
    """Return the names that the graphs within a node use."""
    names: list[str] = []
    for attribute in node.attribute:
        for graph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
            names += [value.name for value in graph.output]
            for inner in graph.node:
                names += [*inner.input, *inner_names(inner)]
    return names


def short(error: Exception) -> str:
    """Return the first 200 characters of an error on one line, without a final full stop."""
    return " ".join(str(error).split())[:200].rstrip(".")


def _tensors(graph: Any) -> Iterator[Any]:
    """Yield the tensors of a graph or function and of the graphs within it."""
    yield from getattr(graph, "initializer", ())
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _tensors(inner)


def _place(tensor: Any) -> dict[str, str]:
    """Return where the values of a tensor lie: "location", "offset" and "length" as texts."""
    return {entry.key: entry.value for entry in tensor.external_data}


def _is_inside(name: str) -> bool:
    """Return whether a name of a file stays in its folder."""
    return bool(name) and not Path(name).is_absolute() and ".." not in Path(name).parts and "\\" not in name


def _pack(tensor: Any, path: Path) -> None:
    """Read the values of a tensor from the file beside `path` into the tensor."""
    import onnx

    place = _place(tensor)
    name = place.get("location", "")
    # the hub's cache has links beside the graph, to files that all lie in one folder
    folders = (path.parent.resolve(), path.resolve().parent)
    if not _is_inside(name) or not any((path.parent / name).resolve().is_relative_to(folder) for folder in folders):
        raise InputError(f"'{path}' keeps weight '{tensor.name}' in '{name}', outside its folder, which is not read.")
    file = path.parent / name
    if not file.is_file():
        raise InputError(
            f"'{path}' keeps its weights in '{name}' (external_data), which is not beside it: put it there, or export "
            "with external_data=False."
        )
    try:
        width = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
        wanted = math.prod(tensor.dims) * width
        offset, length = int(place.get("offset", 0)), int(place.get("length", wanted))
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"'{path}' does not say well where weight '{tensor.name}' lies in '{name}'.") from error
    size = file.stat().st_size
    if min(tensor.dims, default=0) < 0 or offset < 0 or length < 0 or offset + length > size or length > wanted:
        raise InputError(
            f"'{file}' has {size} bytes, but '{path}' expects weight '{tensor.name}' of {wanted} bytes at byte "
            f"{offset} in it: it is truncated or belongs to another graph."
        )
    with reading(file, "the weights of an ONNX file"), open_regular(file) as data:
        data.seek(offset)
        tensor.raw_data = data.read(length)
    tensor.data_location = tensor.DEFAULT
    del tensor.external_data[:]
