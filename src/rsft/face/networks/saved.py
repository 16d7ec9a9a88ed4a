"""Load a model from the folder that stores it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import safetensors.torch
from pydantic import BaseModel, Field
from torch import nn

from rsft.data.reading import read_json, reading
from rsft.errors import InputError
from rsft.face.networks.backbones.checkpoints import ARCHITECTURES, build
from rsft.face.networks.backbones.timm_model import read_timm
from rsft.face.networks.bundle import (
    GRAPH_FILE,
    HUB_WEIGHTS_FILE,
    PART_GRAPH_FILE,
    WEIGHTS_FILE,
    ChangedModelError,
    FaceModel,
    face_model,
    fuse,
)
from rsft.face.networks.names import BUNDLE_FILE, TIMM
from rsft.face.networks.onnx.graph import read_onnx

OF_FUSIONS = ("name", "licence", "source", "thresholds", "parity", "cut")  # the others follow from the parts
MAX_PARTS = 16
MAX_EMBEDDING, MAX_SIZE = 1 << 16, 1 << 12  # width, pixels; above, a few bytes of JSON would ask for gigabytes

Finite = Annotated[float, Field(allow_inf_nan=False)]


class _Declared(BaseModel):
    """The arguments of `face_model` that a bundle may state; other entries are let through, null is as if absent."""

    name: str | None = None
    size: Annotated[int, Field(gt=0, le=MAX_SIZE)] | None = None
    order: str | None = None
    mean: Finite | list[Finite] | None = None
    std: Finite | list[Finite] | None = None
    template: list[tuple[Finite, Finite]] | None = None
    licence: str | None = None
    source: str | None = None
    thresholds: dict[str, Finite] | None = None
    parity: list[list[Finite]] | None = None
    cut: int | None = None


class _Beside(_Declared):
    """What a bundle beside a file may state besides."""

    output: str | None = None  # of a graph
    weights: str | None = None  # of a checkpoint that has several


class _Part(_Declared):
    """What the bundle of a fusion must state of each of its networks."""

    name: str
    size: Annotated[int, Field(gt=0, le=MAX_SIZE)]
    embedding_size: Annotated[int, Field(gt=0, le=MAX_EMBEDDING)]


class _Bundle(_Declared):
    """What the bundle of a model folder must state."""

    name: str
    embedding_size: Annotated[int, Field(gt=0, le=MAX_EMBEDDING)]
    fingerprint: str
    parts: Annotated[list[_Part], Field(max_length=MAX_PARTS)] = []


def read_declared(path: Path) -> dict[str, Any]:
    """Read the arguments of `face_model` that a bundle's JSON file states.

    Args:
        path: The JSON file. Entries that are absent or null are left out.

    Returns:
        Name of the argument -> value.

    Raises:
        InputError: The file cannot be read, is not a JSON object, or an entry has the wrong type or is not finite.
    """
    declared: _Beside = read_json(path, _Beside, "a bundle")
    return declared.model_dump(exclude_none=True)


def load_bundle(folder: Path, network: nn.Module | None = None, *, check: bool = True) -> FaceModel:
    """Load a model that `FaceModel.save` wrote.

    Args:
        folder: Folder that contains `bundle.json`.
        network: Module of the same architecture. It is needed if the saved network is neither built into rsft, nor from
            timm, nor converted from ONNX.
        check: Whether to raise an error if weights, preprocessing, chip size or template do not match the fingerprint.

    Raises:
        InputError: The folder is incomplete or damaged, or `network` is needed and was not given.
        ChangedModelError: The folder does not match its fingerprint.
    """
    bundle: _Bundle = read_json(folder / BUNDLE_FILE, _Bundle, "the bundle of a model")
    declared = bundle.model_dump(exclude_none=True, include=set(_Declared.model_fields))
    of_hub = not (folder / WEIGHTS_FILE).exists() and (folder / HUB_WEIGHTS_FILE).exists()
    file = folder / (HUB_WEIGHTS_FILE if of_hub else WEIGHTS_FILE)
    with reading(file, "the weights of a model"):
        weights = safetensors.torch.load_file(file)
    try:
        if network is None and bundle.parts:
            own = {name: declared[name] for name in OF_FUSIONS if name in declared}
            model = replace(_load_fusion(folder, bundle.parts), **own)
        else:
            graph = _graph(folder, GRAPH_FILE)
            network = _network_of(folder, bundle, graph) if network is None else network
            model = _made(network, graph, declared, folder)
        model.own_stages.load_state_dict(weights)
    except (OSError, TypeError, RuntimeError, OverflowError, MemoryError) as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        raise InputError(f"'{folder}' is not a whole model: {reason}.") from error
    if check and model.fingerprint != bundle.fingerprint:
        raise ChangedModelError(
            f"'{folder}' has weights, preprocessing or a crop that its {BUNDLE_FILE} does not describe: copy the model "
            f"folder again; `rsft models check {folder}` may say what is wrong."
        )
    return model


def _made(network: nn.Module, graph: bytes | None, declared: Mapping[str, Any], folder: Path) -> FaceModel:
    """Call `face_model`, and name the folder in its errors."""
    try:
        return face_model(network, graph=graph, **declared)
    except InputError as error:
        raise InputError(f"'{folder}' is not a whole model: {error}") from error


def _graph(folder: Path, name: str) -> bytes | None:
    return (folder / name).read_bytes() if (folder / name).is_file() else None


def _network_of(folder: Path, described: _Bundle | _Part, graph: bytes | None) -> nn.Module:
    """Return the network that a description names, with any weights."""
    if graph is not None:
        return read_onnx(graph, folder / GRAPH_FILE).network
    if described.name in (*ARCHITECTURES, "dlib"):
        return build(described.name, described.embedding_size)
    if described.name.startswith(TIMM):
        return read_timm(described.name, pretrained=False)[0]
    raise InputError(
        f"'{folder}' holds the weights of '{described.name}', a network of your own: load it in Python as "
        "`load_model(folder, network=...)`, or save it as ONNX."
    )


def _load_fusion(folder: Path, parts: Sequence[_Part]) -> FaceModel:
    """Return the fusion of the networks that the descriptions name, with any weights."""
    models = []
    for index, part in enumerate(parts):
        graph = _graph(folder, PART_GRAPH_FILE.format(index))
        declared = part.model_dump(exclude_none=True, exclude={"embedding_size"})
        models.append(_made(_network_of(folder, part, graph), graph, declared, folder))
    return fuse(models)
