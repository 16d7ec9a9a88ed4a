"""Backbones of timm, with the preprocessing that their weights expect."""

from typing import Any

from torch import nn

from rsft.errors import InputError, how_to_install
from rsft.face.networks.names import TIMM


def read_timm(name: str, *, pretrained: bool = True) -> tuple[nn.Module, dict[str, Any]]:
    """Create a timm network without its classifier, and the arguments of `face_model` from its configuration.

    Args:
        name: "timm:" followed by the name of a timm model.
        pretrained: Whether to load the published weights, which timm downloads if they are not in its cache. Otherwise
            the weights are random.

    Returns:
        The network, and a dict with "name", "size" in pixels, "mean" and "std" per channel in 0..255, and "licence" if
        timm states one.

    Raises:
        InputError: timm cannot be imported; it has no such model or no weights for it; the weights cannot be fetched;
            or the input of the network is not a square with three channels.
    """
    try:
        import timm
        from timm.data import resolve_model_data_config
    except (ImportError, RuntimeError) as error:  # a torchvision built for another torch raises RuntimeError
        raise InputError(
            f"'{name}' needs timm, which cannot be imported ({_line(error)}): {how_to_install('timm')}, with the "
            "torchvision that is built for this torch."
        ) from error
    own = name.removeprefix(TIMM)
    if not timm.is_model(own):  # this also refuses addresses, which `create_model` would follow
        raise InputError(f"timm has no model '{own}': `timm.list_models()` lists them.")
    try:
        network = timm.create_model(own, pretrained=pretrained, num_classes=0)
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(
            f"timm cannot load weights of '{own}' ({_line(error)}): without network access they must be in its cache."
        ) from error
    data = resolve_model_data_config(network)
    channels, height, width = data["input_size"]
    if channels != 3 or height != width:
        raise InputError(f"'{name}' takes {channels} x {height} x {width}: face chips are square with three channels.")
    declared = {
        "name": name,
        "size": height,
        "mean": [255 * value for value in data["mean"]],
        "std": [255 * value for value in data["std"]],
    }
    licence = network.pretrained_cfg.get("license")
    return network, declared | ({"licence": licence} if licence else {})


def _line(error: Exception) -> str:
    """Return the type and the first 200 characters of an error on one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
