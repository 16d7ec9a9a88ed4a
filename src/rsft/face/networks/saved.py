"""Load a model from the folder that stores it."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import nn

from rsft.errors import InputError
from rsft.face.networks.backbones.checkpoints import ARCHITECTURES, build
from rsft.face.networks.backbones.timm_model import PREFIX as TIMM
from rsft.face.networks.backbones.timm_model import read_timm
from rsft.face.networks.bundle import (
    BUNDLE_FILE,
    GRAPH_FILE,
    PART_GRAPH_FILE,
    WEIGHTS_FILE,
    ChangedModelError,
    FaceModel,
    face_model,
    fuse,
)
from rsft.face.networks.onnx.graph import read_onnx

DECLARED = ("name", "size", "order", "mean", "std", "template", "licence", "source", "thresholds", "parity", "cut")
OF_FUSIONS = ("name", "licence", "source", "thresholds", "parity", "cut")  # the others follow from the parts


def read_declared(path: Path) -> dict[str, Any]:
    """Read the arguments of `face_model` that a bundle's JSON file states.

    Args:
        path: The JSON file. Entries that are absent or null are left out.

    Returns:
        Name of the argument -> value.

    Raises:
        InputError: The file cannot be read, is not a JSON object, or an entry has the wrong type or is not finite.
    """
    try:
        return _declared_in(json.loads(path.read_text(encoding="utf-8")), path)
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"'{path}' is not a bundle: {error}.") from error


def _declared_in(bundle: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Return the arguments of `face_model` that a description states."""
    found = {key: bundle[key] for key in DECLARED if bundle.get(key) is not None}
    kinds: dict[str, tuple[type, ...]] = {
        "size": (int,),
        "cut": (int,),
        "thresholds": (dict,),
        "template": (list,),
        "parity": (list,),
    }
    kinds |= {"mean": (int, float, list), "std": (int, float, list)}
    for key, value in found.items():
        if not isinstance(value, kinds.get(key, (str,))) or not _finite(value):
            raise InputError(f"'{path}': {key} cannot be {str(value)[:80]}.")
    return found


def _finite(value: Any) -> bool:
    """Return whether all numbers in a JSON value are finite."""
    if isinstance(value, dict | list):
        return all(map(_finite, value.values() if isinstance(value, dict) else value))
    return isinstance(value, str) or (isinstance(value, int | float) and math.isfinite(value))


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
    declared = read_declared(folder / BUNDLE_FILE)
    try:
        bundle = json.loads((folder / BUNDLE_FILE).read_text(encoding="utf-8"))
        weights = safetensors.torch.load_file(folder / WEIGHTS_FILE)
        graph = _graph(folder, GRAPH_FILE)
        if network is None and bundle.get("parts"):
            own = {key: declared[key] for key in OF_FUSIONS if key in declared}
            model = replace(_load_fusion(folder, bundle["parts"]), **own)
        else:
            network = _network_of(folder, bundle, graph) if network is None else network
            model = face_model(network, graph=graph, **declared)
        model.own_stages.load_state_dict(weights)
        expected = bundle["fingerprint"]
    except (OSError, KeyError, TypeError, RuntimeError, safetensors.SafetensorError) as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        raise InputError(f"'{folder}' is not a whole model: {reason}.") from error
    if check and model.fingerprint != expected:
        raise ChangedModelError(
            f"'{folder}' has weights, preprocessing or a crop that its {BUNDLE_FILE} does not describe: copy the model "
            f"folder again; `rsft models check {folder}` may say what is wrong."
        )
    return model


def _graph(folder: Path, name: str) -> bytes | None:
    return (folder / name).read_bytes() if (folder / name).is_file() else None


def _network_of(folder: Path, described: Mapping[str, Any], graph: bytes | None) -> nn.Module:
    """Return the network that a description names, with any weights."""
    name = described["name"]
    if graph is not None:
        return read_onnx(graph, folder / GRAPH_FILE).network
    if name in (*ARCHITECTURES, "dlib"):
        return build(name, described["embedding_size"])
    if name.startswith(TIMM):
        return read_timm(name, pretrained=False)[0]
    raise InputError(
        f"'{folder}' holds the weights of '{name}', a network of your own: load it in Python as "
        "`load_model(folder, network=...)`, or save it as ONNX."
    )


def _load_fusion(folder: Path, parts: Sequence[Mapping[str, Any]]) -> FaceModel:
    """Return the fusion of the networks that the descriptions name, with any weights."""
    models = []
    for index, part in enumerate(parts):
        graph = _graph(folder, PART_GRAPH_FILE.format(index))
        network = _network_of(folder, part, graph)
        models.append(face_model(network, graph=graph, **_declared_in(part, folder / BUNDLE_FILE)))
    return fuse(models)
