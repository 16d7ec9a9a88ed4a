"""`rsft export`: write a model as ONNX, as a bundle or for the Hugging Face hub; its outputs stay the same."""

import json
import logging
import os
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rsft.data.apart import check_apart, resolved
from rsft.data.images import find_images
from rsft.data.reading import read_json
from rsft.disk.whole import replace_file, whole_folder
from rsft.errors import InputError, NoFaceError, RsftError, UnreadableImageError, how_to_install
from rsft.face.networks.bundle import HUB_WEIGHTS_FILE, WEIGHTS_FILE, FaceModel, rounded
from rsft.face.networks.load import ModelLike, load_model
from rsft.face.networks.onnx.runtime import run_onnx
from rsft.face.networks.parity import MAX_ERROR, drawn_chips, relative_error
from rsft.face.pictures.embedding import chip_reader
from rsft.face.runs.hub_card import HUB_CONFIG_FILE, README_FILE, hub_card, hub_config, run_of
from rsft.face.runs.model_card import CARD_FILE
from rsft.run_folder import check_file
from rsft.types import PathLike

MAX_CHIPS = 16
INPUT, OUTPUT = "chip", "embedding"


def export(
    model: ModelLike,
    *,
    onnx: PathLike | None = None,
    bundle: PathLike | None = None,
    hub_folder: PathLike | None = None,
    base_model: str | None = None,
    pictures: PathLike | None = None,
    aligned: bool = False,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Write a model as ONNX, as a bundle with safetensors weights, or as a folder for the Hugging Face hub.

    The ONNX graph takes chips (batch, 3, size, size), float32, RGB in 0..255, and includes the preprocessing. Its
    metadata and the bundle `NAME.json` beside it state the template, the licence and the thresholds, so that
    `--model NAME.onnx` loads the same model.

    Args:
        model: Model to export, as for `load_model`.
        onnx: ONNX file to write.
        bundle: Folder to write the bundle into. It must not exist.
        hub_folder: Folder to write what the hub shows into: the bundle with `model.safetensors`, `config.json` and
            `README.md`, the card of the run with a header that the hub reads. It must not exist. Once uploaded, as by
            `hf upload`, the model has the name "hub:ORG/NAME".
        base_model: Name on the hub, ORG/NAME, of the pretrained model, for the header of `README.md`; see `hub_card`.
        pictures: Faces on which the graph is compared with the network, in any form that `find_images` reads. The first
            sixteen pictures with a face are used. By default, chips drawn by formula are used.
        aligned: The pictures are aligned chips already.
        overwrite: Replace an ONNX file and its `NAME.json` that `export` wrote.

    Returns:
        A dictionary that can be written as JSON, with the "fingerprint" of the model. With `onnx` it also has "onnx",
        the file; "chips", the number of chips on which graph and network were compared; and "error", their largest
        distance relative to the length of the embedding. With `bundle` it also has "bundle", and with `hub_folder`
        "hub_folder", the folders.

    Raises:
        InputError: Nothing to write is given, `base_model` is no name or is given without `hub_folder`, an output
            exists and may not be replaced, or no picture could be used.
        RsftError: The outputs of the graph in onnxruntime differ from those of the network. No file is written then.
    """
    if onnx is None and bundle is None and hub_folder is None:
        raise InputError("`export` needs `onnx`, a file, or `bundle` or `hub_folder`, a folder, to write.")
    if base_model is not None and hub_folder is None:
        raise InputError("a base model is for the card of the hub: give a hub folder too.")
    for folder, what in ((bundle, "the bundle"), (hub_folder, "the hub")):
        if folder is not None and os.path.lexists(folder):
            raise InputError(f"'{folder}' exists: choose another folder for {what}.")
        if folder is not None:
            check_apart(Path(folder), (model, pictures))
    folders = [resolved(Path(folder)) for folder in (bundle, hub_folder) if folder is not None]
    if len(set(folders)) < len(folders):
        raise InputError(f"'{bundle}' is given for the bundle and for the hub: choose two folders.")
    if onnx is not None:
        check_file(Path(onnx), inputs=(model, pictures), replace=True)
        _check_made_here(Path(onnx), overwrite)
    found = load_model(model)
    result: dict[str, Any] = {"fingerprint": found.fingerprint}
    if onnx is not None:
        chips = drawn_chips(found.template, found.size) if pictures is None else _chips(found, pictures, aligned)
        result |= {"onnx": str(onnx), "chips": len(chips), "error": _write_onnx(found, Path(onnx), chips)}
    if bundle is not None:
        with whole_folder(Path(bundle)) as new:
            found.save_into(new)
            if not isinstance(model, FaceModel) and (Path(model) / CARD_FILE).is_file():
                shutil.copy(Path(model) / CARD_FILE, new / CARD_FILE)
        result["bundle"] = str(bundle)
    if hub_folder is not None:
        card = hub_card(found, run_of(model), base_model)
        with whole_folder(Path(hub_folder)) as new:
            found.save_into(new)
            (new / WEIGHTS_FILE).rename(new / HUB_WEIGHTS_FILE)
            (new / HUB_CONFIG_FILE).write_text(hub_config(found))
            (new / README_FILE).write_text(card, encoding="utf-8")
        result["hub_folder"] = str(hub_folder)
    return result


def _check_made_here(onnx: Path, overwrite: bool) -> None:
    """Raise an error if an ONNX file or its `NAME.json` exists, unless `export` made both and may replace them."""
    described = onnx.with_suffix(".json")
    there = [path for path in (onnx, described) if os.path.lexists(path)]
    if there and not overwrite:
        raise InputError(f"'{there[0]}' exists: pass --overwrite to replace it, or choose another name.")
    # a process that was killed may have left the description alone, which is written first
    if there and (there == [onnx] or not _is_description(described)):
        raise InputError(f"'{there[0]}' was not made by `rsft export`: it is not replaced. Choose another name.")


def _is_description(path: Path) -> bool:
    """Return whether a file is a `NAME.json` that `export` wrote."""
    try:
        return "fingerprint" in read_json(path, dict[str, Any], "the description of a model")
    except InputError:
        return False


def _chips(model: FaceModel, pictures: PathLike, aligned: bool) -> np.ndarray:
    """Return the aligned faces (B, size, size, 3) of the first pictures that can be used, at most `MAX_CHIPS`."""
    images, to_chip = find_images(pictures), chip_reader(model, aligned=aligned)
    chips: list[np.ndarray] = []
    for index in range(len(images)):
        try:
            chips.append(to_chip(images.read(index)))
        except (UnreadableImageError, NoFaceError):
            continue
        if len(chips) == MAX_CHIPS:
            break
    if not chips:
        raise InputError(f"none of the {len(images)} pictures in '{images.root}' shows a face: give other pictures.")
    return np.stack(chips)


def _write_onnx(model: FaceModel, file: Path, chips: np.ndarray) -> float:
    """Write the ONNX file and its description, if the graph agrees with the network; return the relative error."""
    graph = to_onnx(model)
    inputs = torch.from_numpy(chips).permute(0, 3, 1, 2).float()
    with torch.inference_mode():
        wanted = model.network(inputs).numpy()
    error = relative_error(run_onnx(graph, inputs.numpy()), wanted)
    if error > MAX_ERROR:
        raise RsftError(f"the ONNX graph of '{model}' differs from the network by {error:.1%}: it was not written.")
    described = model.describe() | {"order": "RGB", "mean": 0.0, "std": 1.0, "parity": model.parity or rounded(model)}
    text = json.dumps(described | {"fingerprint": model.fingerprint}, indent=2)
    # at no time does a graph lie beside the description of another
    file.unlink(missing_ok=True)
    replace_file(file.with_suffix(".json"), text.encode())
    replace_file(file, graph)
    return error


def to_onnx(model: FaceModel) -> bytes:
    """Convert a model to ONNX, with its preprocessing, for batches of any size.

    Args:
        model: The model. Its input is (batch, 3, size, size) float32, RGB in 0..255.

    Returns:
        The contents of the ONNX file, with the description of the model as metadata.

    Raises:
        InputError: A package of the extra `onnx` is not installed.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401  used by torch's exporter
    except ModuleNotFoundError as error:
        raise InputError(f"writing ONNX needs the package '{error.name}': {how_to_install('onnx')}.") from error
    # Two chips, because the exporter would take a batch of one for a constant.
    example = torch.zeros(2, 3, model.size, model.size)
    with _quiet():
        program = torch.onnx.export(
            model.network.eval(),
            (example,),
            dynamo=True,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            verbose=False,
        )
    assert program is not None
    proto = program.model_proto
    described = model.describe() | {"fingerprint": model.fingerprint}
    onnx.helper.set_model_props(proto, {key: json.dumps(value) for key, value in described.items()})
    return proto.SerializeToString()


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the warnings and messages of torch's exporter."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
