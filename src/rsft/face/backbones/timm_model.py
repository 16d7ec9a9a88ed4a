"""Any backbone of timm, and what its weights expect."""

from typing import Any

from torch import nn

from rsft.errors import InputError

PREFIX = "timm:"


def read_timm(name: str, *, pretrained: bool = True) -> tuple[nn.Module, dict[str, Any]]:
    """A network of timm without its classifier, and what `face_model` takes of its configuration.

    Args:
        name: "timm:" and the name of a model that timm has.
        pretrained: with its published weights, which timm fetches where they are not in its cache; random otherwise.

    Returns:
        The network, and "size", "mean" and "std" in 0..255, and "licence" where timm knows it.

    Raises:
        InputError: timm does not import, has no such model or no weights of it, they cannot be fetched, or they are
            of pictures that are no squares of three colours.
    """
    try:
        import timm
        from timm.data import resolve_model_data_config
    except (ImportError, RuntimeError) as error:  # a torchvision for another torch ends in the latter
        raise InputError(
            f"'{name}' needs timm, which does not import ({_line(error)}): pip install 'rsft[timm]', with the "
            "torchvision that is made for this torch."
        ) from error
    own = name.removeprefix(PREFIX)
    if not timm.is_model(own):  # nor an address, which `create_model` would also follow
        raise InputError(f"timm has no model '{own}': `timm.list_models()` lists them.")
    try:
        network = timm.create_model(own, pretrained=pretrained, num_classes=0)
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(
            f"timm gives no weights of '{own}' ({_line(error)}): without a network they must be in its cache already."
        ) from error
    data = resolve_model_data_config(network)
    channels, height, width = data["input_size"]
    if channels != 3 or height != width:
        raise InputError(f"'{name}' takes {channels} x {height} x {width}: faces are squares of three colours.")
    declared = {
        "name": name,
        "size": height,
        "mean": [255 * value for value in data["mean"]],
        "std": [255 * value for value in data["std"]],
    }
    licence = network.pretrained_cfg.get("license")
    return network, declared | ({"licence": licence} if licence else {})


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
