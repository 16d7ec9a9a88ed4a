"""Files of the Hugging Face hub; no code of theirs is run."""

import logging
from pathlib import Path

from rsft.errors import InputError
from rsft.face.backbones.checkpoints import SUFFIXES

PREFIX = "hub:"

log = logging.getLogger(__name__)


def hub_file(name: str) -> Path:
    """Fetch one file into the hub's cache, and the bundle that stands beside it there, if one does.

    Args:
        name: "hub:ORG/NAME/FILE"; the file may lie in folders.

    Returns:
        Where the file lies in the cache.

    Raises:
        InputError: the name is none, huggingface_hub is not installed, or the file is neither there nor in the cache.
    """
    parts = name.removeprefix(PREFIX).split("/", 2)
    if len(parts) < 3 or not all(parts):
        raise InputError(f"'{name}' names no file of the hub: give hub:ORG/NAME/FILE.")
    organisation, repository, file = parts
    if Path(file).suffix.lower() not in (".onnx", *SUFFIXES):
        raise InputError(
            f"'{name}' is no model: the file needs to be an .onnx or a checkpoint ({', '.join(SUFFIXES)})."
        )
    try:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
    except ImportError as error:
        raise InputError(f"'{name}' needs huggingface_hub: pip install 'rsft[hub]'.") from error
    repo_id, bundle = f"{organisation}/{repository}", Path(file).with_suffix(".json").as_posix()
    try:
        path = Path(hf_hub_download(repo_id, file))
        commit = path.parents[file.count("/")].name
        try:
            hf_hub_download(repo_id, bundle, revision=commit)
        except LocalEntryNotFoundError:
            log.warning(
                "warning: the hub did not answer whether '%s' has a %s beside it; none is in the cache.", name, bundle
            )
        except EntryNotFoundError:
            pass  # there is none
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"cannot fetch '{name}' ({type(error).__name__}: {reason}): without a network the file must be in the "
            "hub's cache already."
        ) from error
    return path
