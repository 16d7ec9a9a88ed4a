"""Find files in installed packages without importing the package, and check them."""

import hashlib
import importlib.util
from pathlib import Path

from rsft.errors import InputError, how_to_install

AGAIN = f"{how_to_install('demo')}, with --force-reinstall"


def package_file(package: str, file: str, sha256: str) -> Path:
    """Return the path of a file in an installed package without importing the package.

    Args:
        package: Import name of the package.
        file: Path of the file in the package.
        sha256: Expected SHA-256 of the file, in hexadecimal.

    Raises:
        InputError: The package is not installed, or the file is missing, truncated or altered.
    """
    folder = package_folder(package)
    if folder is None:
        raise InputError(f"the package that ships '{Path(file).name}' is not installed: {how_to_install('demo')}.")
    path = folder / file
    check_file(path, sha256)
    return path


def package_folder(package: str) -> Path | None:
    """Return the folder of an installed package, or None if it is not installed."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0])


def check_file(path: Path, sha256: str) -> None:
    """Raise an error if a file does not have the expected content.

    Args:
        path: The file.
        sha256: Expected SHA-256 of the file, in hexadecimal.

    Raises:
        InputError: The file is missing, truncated or altered.
    """
    if not path.is_file():
        raise InputError(f"'{path}' is missing: {AGAIN}.")
    with open(path, "rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        raise InputError(
            f"'{path}' is truncated or altered (sha256 {found[:8]}..., expected {sha256[:8]}...): {AGAIN}."
        )
