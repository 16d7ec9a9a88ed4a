"""`rsft models`: list the known models, and check that a model still gives its recorded outputs."""

from typing import Any

from rsft.errors import InputError, install_command
from rsft.face.networks.backbones.checkpoints import ARCHITECTURES
from rsft.face.networks.bundle import ChangedModelError, FaceModel
from rsft.face.networks.load import ModelLike, load_model
from rsft.face.networks.names import KNOWN
from rsft.face.networks.onnx.graph import read_onnx
from rsft.face.networks.parity import compare
from rsft.face.networks.runtime_parity import check_pixels, compare_with_runtime

RECORDED, RUNTIME = "recorded outputs", "onnxruntime"


def list_models() -> dict[str, Any]:
    """List the models that can be loaded by name, and the architectures whose checkpoints can be loaded.

    Returns:
        A dictionary that can be written as JSON. "models" has "name", "licence", "size" (of the chip, in pixels),
        "embedding_size", "present" (whether it is installed) and "install" (the command that installs it) of each
        model. "architectures" has "name", "size", "order", "mean" and "std" of each architecture.
    """
    return {
        "models": [
            {
                "name": name,
                "licence": known.licence,
                "size": known.size,
                "embedding_size": known.embedding_size,
                "present": known.is_present(),
                "install": install_command(known.extra),
            }
            for name, known in KNOWN.items()
        ],
        "architectures": [
            {"name": name, "size": family.size, "order": family.order, "mean": family.mean, "std": family.std}
            for name, family in ARCHITECTURES.items()
        ],
    }


def check_model(model: ModelLike) -> dict[str, Any]:
    """Compare a model's outputs with those recorded with it.

    An ONNX file without recorded outputs is compared with onnxruntime, and of a fusion without them, each network.

    Args:
        model: The model, as for `load_model`.

    Returns:
        A dictionary that can be written as JSON: "model"; "reference", either "recorded outputs" or "onnxruntime";
        "error", the largest distance from the reference outputs, relative to their length; and the "fingerprint" and
        the "licence" of the model.

    Raises:
        InputError: The outputs differ, or there is nothing to compare with. If a mistake in the preprocessing explains
            the difference, the message names it.
        ChangedModelError: The model does not match its fingerprint, though its outputs match.
    """
    try:
        found = load_model(model)
    except ChangedModelError:
        changed = load_model(model, check=False)
        if changed.parity is not None:
            _compare_recorded(changed, str(model))
        raise  # the outputs match, so the change is too small to show in them
    if found.parity is not None:
        reference, error = RECORDED, _compare_recorded(found, str(model))
    elif found.graph is not None:
        converted = read_onnx(found.graph, str(model))
        check_pixels(found, converted)
        reference, error = RUNTIME, compare_with_runtime(found, converted)
    elif found.parts:
        checked = [check_model(part) for part in found.parts]
        reference = " and ".join(dict.fromkeys(part["reference"] for part in checked))
        error = max(part["error"] for part in checked)
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
    """Return the relative error against the recorded outputs, or raise an error that explains the difference."""
    assert model.parity is not None
    parity = compare(model.parity, model.network, model.template, model.size)
    if not parity.matches:
        reason = (
            f"its outputs match with {parity.fits}: correct this where it is stated"
            if parity.fits
            else "no known mistake in crop, colour order or normalisation explains it, so its weights differ"
        )
        raise InputError(f"the outputs of '{name}' differ by {parity.error:.1%} from those recorded with it; {reason}.")
    return parity.error
