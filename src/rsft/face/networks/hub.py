"""Files of the Hugging Face hub; no code of the hub is run."""

import logging
from pathlib import Path, PurePosixPath

from rsft.errors import InputError, how_to_install
from rsft.face.networks.names import BUNDLE_FILE, HUB, SUFFIXES
from rsft.face.networks.onnx.file import external_files

MODEL_FILES = [BUNDLE_FILE, "*.safetensors", "graph*.onnx"]  # of a whole model

log = logging.getLogger(__name__)


def names_folder(name: str) -> bool:
    """Return whether a name is that of a whole model on the hub, "hub:ORG/NAME"."""
    parts = name.removeprefix(HUB).split("/")
    return len(parts) == 2 and all(parts)


def hub_folder(name: str) -> Path:
    """Fetch a model that `rsft export --hub-folder` wrote into the hub's cache, all its files of one commit.

    Args:
        name: "hub:ORG/NAME".

    Returns:
        Path of its folder in the cache.

    Raises:
        InputError: `huggingface_hub` is not installed, there is no such model on the hub nor in the cache, or rsft did
            not write it.
    """
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise InputError(f"'{name}' needs huggingface_hub: {how_to_install('hub')}.") from error
    try:
        folder = Path(snapshot_download(name.removeprefix(HUB), allow_patterns=MODEL_FILES))
    except (OSError, ValueError) as error:
        raise _not_fetched(name, error) from error
    if not (folder / BUNDLE_FILE).is_file():
        raise InputError(
            f"'{name}' was not written by `rsft export --hub-folder` (it has no {BUNDLE_FILE}): name one of its files, "
            "as hub:ORG/NAME/FILE."
        )
    return folder


def hub_file(name: str) -> Path:
    """Fetch a model file into the hub's cache, with what lies beside it at the same commit.

    That is the files in which an ONNX file keeps its weights, and its bundle `FILE.json` if there is one.
    The bundle has the name of the file with the suffix `.json`. A warning is logged if the hub cannot be asked for it.

    Args:
        name: "hub:ORG/NAME/FILE", where FILE may contain folders and is an `.onnx` file or a checkpoint.

    Returns:
        Path of the file in the cache.

    Raises:
        InputError: The name does not have this form, `huggingface_hub` is not installed, or the file can be found
            neither on the hub nor in the cache.
    """
    parts = name.removeprefix(HUB).split("/", 2)
    if len(parts) < 3 or not all(parts):
        raise InputError(f"'{name}' does not name a file on the hub: give hub:ORG/NAME/FILE.")
    organisation, repository, file = parts
    if Path(file).suffix.lower() not in (".onnx", *SUFFIXES):
        raise InputError(
            f"'{name}' is not a model: the file must be an .onnx file or a checkpoint ({', '.join(SUFFIXES)})."
        )
    try:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
    except ImportError as error:
        raise InputError(f"'{name}' needs huggingface_hub: {how_to_install('hub')}.") from error
    repo_id, bundle = f"{organisation}/{repository}", Path(file).with_suffix(".json").as_posix()
    try:
        path = Path(hf_hub_download(repo_id, file))
        commit = path.parents[file.count("/")].name
        for beside in external_files(path) if path.suffix.lower() == ".onnx" else ():
            hf_hub_download(repo_id, (PurePosixPath(file).parent / beside).as_posix(), revision=commit)
        try:
            hf_hub_download(repo_id, bundle, revision=commit)
        except LocalEntryNotFoundError:
            log.warning(
                "warning: the hub could not be asked whether '%s' has a %s beside it; the cache has none.", name, bundle
            )
        except EntryNotFoundError:
            pass  # the bundle is optional
    except InputError:
        raise
    except (OSError, ValueError) as error:
        raise _not_fetched(name, error) from error
    return path


def _not_fetched(name: str, error: Exception) -> InputError:
    """Return an error that says why something cannot be fetched."""
    reason = " ".join(str(error).split())[:200]
    return InputError(
        f"cannot fetch '{name}' ({type(error).__name__}: {reason}): without network access the file must be in the "
        "hub's cache already."
    )
