"""Files of the Hugging Face hub; no code of the hub is run."""

import logging
from pathlib import Path, PurePosixPath

from rsft.errors import InputError, how_to_install
from rsft.face.networks.names import HUB, SUFFIXES
from rsft.face.networks.onnx.file import external_files

log = logging.getLogger(__name__)


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
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"cannot fetch '{name}' ({type(error).__name__}: {reason}): without network access the file must be in "
            "the hub's cache already."
        ) from error
    return path
