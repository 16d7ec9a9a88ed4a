"""Load a face model by name or from a file."""

import json
import logging
import os
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

from torch import nn

from rsft.errors import InputError
from rsft.face.networks.backbones.checkpoints import ARCHITECTURES, read_weights, recognise
from rsft.face.networks.backbones.timm_model import read_timm
from rsft.face.networks.bundle import UNKNOWN_LICENCE, FaceModel, face_model, fuse
from rsft.face.networks.chip_points import ARCFACE, scaled
from rsft.face.networks.hub import hub_file, hub_folder, names_folder
from rsft.face.networks.names import HUB, ONNX, SEPARATOR, SUFFIXES, TIMM, bundle_folder, check_name
from rsft.face.networks.names import KNOWN as KNOWN
from rsft.face.networks.onnx.entry import KINDS
from rsft.face.networks.onnx.file import keep_output, read_file
from rsft.face.networks.onnx.graph import USUAL_SIZE, Converted, read_onnx
from rsft.face.networks.onnx.runtime import NotRunError
from rsft.face.networks.packages import package_file
from rsft.face.networks.preprocess import ORDERS
from rsft.face.networks.runtime_parity import check_pixels, compare_with_runtime
from rsft.face.networks.saved import load_bundle, read_declared

PARITY_FILE = "parity.json"
RAW: dict[str, Any] = {"order": "RGB", "mean": 0.0, "std": 1.0}  # for networks that normalise their input themselves

log = logging.getLogger(__name__)
ModelLike = str | os.PathLike[str] | FaceModel


def load_model(model: ModelLike, network: nn.Module | None = None, *, check: bool = True) -> FaceModel:
    """Load a face model by name, from a bundle or from a file, and log its licence.

    A checkpoint or an ONNX file may have a bundle `NAME.json` beside it that states its size, order, mean, std,
    template and licence. For entries it does not state, the usual values for this kind of weights are used.

    Args:
        model: One of:

            - a key of `KNOWN`, such as "dlib",
            - the folder of a run, or its `model/` folder,
            - an `.onnx` file,
            - a checkpoint of a network in `ARCHITECTURES`,
            - "timm:NAME", a backbone of timm,
            - "hub:ORG/NAME", a model on the Hugging Face hub that `rsft export --hub-folder` wrote,
            - "hub:ORG/NAME/FILE", an ONNX file or checkpoint there,
            - several of these joined by "+", such as "sface+dlib", for their fusion; see `fuse`,
            - a `FaceModel`, which is returned unchanged.
        network: Module of the saved architecture, needed only for the folder of a custom network; see `load_bundle`.
        check: Whether to raise an error if a model folder does not match its fingerprint.

    Raises:
        InputError: There is no such model, its package is not installed, or its file is damaged or not supported.
        ChangedModelError: A model folder does not match its fingerprint.
    """
    if isinstance(model, FaceModel):
        return model
    found = _load(str(model), Path(model), network, check)
    log.info("model %s: licence %s", found.name, found.licence)
    if found.is_non_commercial:
        log.warning("warning: the licence of %s (%s) rules out commercial use.", found.name, found.licence)
    if found.licence == UNKNOWN_LICENCE:
        log.warning("warning: the licence of %s is not stated; ask where its weights came from.", found.name)
    return found


def _load(name: str, path: Path, network: nn.Module | None, check: bool) -> FaceModel:
    """Load a model without logging its licence; see `load_model`."""
    if name in KNOWN:
        return _load_known(name)
    if name.startswith(TIMM):
        return _load_timm(name)
    if name.startswith(HUB):
        if names_folder(name):
            return load_bundle(hub_folder(name), network, check=check)
        return replace(_load_file(hub_file(name)), source=name)
    if (folder := bundle_folder(path)) is not None:
        return load_bundle(folder, network, check=check)
    if path.is_file() and path.suffix.lower() in (ONNX, *SUFFIXES):
        return _load_file(path)
    check_name(name)
    if SEPARATOR in name:
        return fuse([_load(part, Path(part), None, check) for part in name.split(SEPARATOR)])
    raise AssertionError(f"`check_name` lets '{name}' pass.")


def _load_file(path: Path) -> FaceModel:
    """Load an ONNX file or a checkpoint."""
    return _load_onnx(path) if path.suffix.lower() == ONNX else _load_checkpoint(path)


def _load_timm(name: str) -> FaceModel:
    """Load a backbone of timm with insightface's crop, scaled to its input size."""
    network, declared = read_timm(name)
    return face_model(network, template=scaled(ARCFACE, declared["size"] / USUAL_SIZE), source=name, **declared)


def _load_known(name: str) -> FaceModel:
    """Load a model of `KNOWN`."""
    known = KNOWN[name]
    network, graph = known.read(package_file(known.package, known.file, known.sha256))
    return face_model(
        network,
        name=name,
        size=known.size,
        template=known.template,
        licence=known.licence,
        source=Path(known.file).name,
        graph=graph,
        parity=json.loads(resources.files("rsft.face.networks").joinpath(PARITY_FILE).read_text())[name],
        **RAW,
    )


def _load_onnx(path: Path) -> FaceModel:
    """Load an ONNX file with the bundle beside it, and compare it with onnxruntime."""
    graph, declared = read_file(path), _beside(path)
    converted = read_onnx(graph, path, declared.pop("output", None))
    usual: dict[str, Any] = {
        "name": path.stem,
        "size": converted.size,
        "template": scaled(ARCFACE, converted.size / USUAL_SIZE),
        "source": path.name,
    }
    if not {"mean", "std"} <= declared.keys():
        usual["mean"], usual["std"] = _normalisation(converted, path, bool(declared))
    log.info(
        "%s: %d parameters, %d nodes folded, %d initialisers do not train",
        path.name,
        sum(parameter.numel() for parameter in converted.network.parameters()),
        len(converted.folded),
        len(converted.constants),
    )
    model = face_model(converted.network, graph=keep_output(graph, converted.output), **(usual | declared))
    try:
        check_pixels(model, converted)
    except InputError as error:
        log.warning("warning: %s", error)
    try:
        compare_with_runtime(model, converted)
    except NotRunError as error:
        log.warning("warning: '%s' was not compared with its graph: %s", path, error)
    except InputError as error:
        raise InputError(f"'{path}' cannot be used: {error}") from error
    return model


def _normalisation(converted: Converted, path: Path, has_bundle: bool) -> tuple[float, float]:
    """Return the mean and std to use before a graph, by what it does to pixels itself; warn of what is assumed.

    Raises:
        InputError: It cannot be told which pixels the graph takes.
    """
    entry = converted.entry
    kind = "0..255" if converted.takes_bytes else entry.pixels()
    beside = path.with_suffix(".json").name
    if kind is None and (entry.unclear or not entry.is_plain):
        what = f"has a {entry.unclear} before its first layer" if entry.unclear else f"makes {entry.seen()} of 0..255"
        raise InputError(
            f"'{path}' {what}, so it cannot be told which pixels it takes: state order, mean and std in {beside} "
            "beside it."
        )
    if not has_bundle:
        first = f"takes pixels in {kind}" if kind else "has no normalisation of its own"
        kept = {"0..255": "no other normalisation", "0..1": "x / 255"}.get(kind or "", "(x - 127.5) / 127.5")
        turned = " (which it turns to BGR)" if entry.order == ORDERS[1] else ""
        log.warning(
            "warning: '%s' has no %s beside it: its graph %s, so RGB%s, %s and insightface's crop are assumed.",
            path,
            beside,
            first,
            turned,
            kept,
        )
    return KINDS[kind or "-1..1"][1]


def _beside(path: Path) -> dict[str, Any]:
    """Return what the bundle `NAME.json` beside a file states; nothing if there is none."""
    beside = path.with_suffix(".json")
    return read_declared(beside) if beside.is_file() else {}


def _load_checkpoint(path: Path) -> FaceModel:
    """Load a checkpoint with the bundle beside it, if there is one."""
    declared = _beside(path)
    name, network = recognise(read_weights(path), path, declared.pop("weights", None))
    family = ARCHITECTURES[name]
    usual: dict[str, Any] = {
        "size": family.size,
        "order": family.order,
        "mean": family.mean,
        "std": family.std,
        "template": family.template,
        "source": path.name,
    }
    return face_model(network, **(usual | declared | {"name": name}))
