"""A reader for insightface's `.bin` verification sets: pairs of pictures, and whether each pair shows one person."""

from pathlib import Path

import numpy as np

from rsft.data.listing import Listing, suffix_of
from rsft.data.pickled import read_plain_pickle
from rsft.data.regular import read_regular
from rsft.errors import InputError


def read_verification_set(path: Path) -> tuple[list[bytes], np.ndarray]:
    """Read the P pairs of a `.bin` verification set.

    Args:
        path: The file, a pickle of a list of pictures and a list of booleans (`issame`).

    Returns:
        The contents of the 2 P picture files, in which pictures 2 i and 2 i + 1 form pair i, and (P,) bool: whether a
        pair shows the same person.

    Raises:
        InputError: The file cannot be read, is not a verification set, or its pickle holds anything but plain values.
    """
    try:
        stored = read_regular(path)
    except OSError as error:
        raise InputError(f"'{path}' cannot be read: {error.strerror or error}.") from error
    value = read_plain_pickle(stored, str(path))
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise InputError(f"'{path}' needs a pair of pictures and issame, got a {type(value).__name__}.")
    pictures, same = value
    if not isinstance(pictures, list | tuple) or not isinstance(same, list | tuple | np.ndarray):
        raise InputError(f"'{path}' needs a list of pictures and one of issame.")
    if not len(same) or len(pictures) != 2 * len(same):
        raise InputError(f"'{path}' needs two pictures a pair, got {len(pictures)} for {len(same)} pairs.")
    wrong = [type(truth).__name__ for truth in same if not isinstance(truth, int | np.bool_ | np.integer)]
    if wrong:
        raise InputError(f"'{path}' needs issame of true or false, got a {wrong[0]}.")
    # hold a repeated picture once
    different = {id(picture): picture for picture in pictures}
    if sum(len(picture) for picture in different.values() if isinstance(picture, np.ndarray)) > len(stored):
        raise InputError(f"'{path}' repeats its pictures until they are larger than the file.")
    contents = {key: _content(picture, path) for key, picture in different.items()}
    return [contents[id(picture)] for picture in pictures], np.array([bool(truth) for truth in same])


def list_verification_set(path: Path) -> Listing:
    """List the pictures of a `.bin` verification set, without identities.

    A picture is named by its index in the file. Pictures 2 i and 2 i + 1 form pair i.

    Args:
        path: The file.

    Raises:
        InputError: The file is not a verification set, or its pickle holds anything but plain values.
    """
    pictures, _ = read_verification_set(path)
    return Listing([f"{place:08d}{suffix_of(picture)}" for place, picture in enumerate(pictures)], pictures)


def _content(picture: object, path: Path) -> bytes:
    """Return the bytes of a picture that is stored as bytes or as an array (n,) of uint8."""
    if isinstance(picture, bytes):
        return picture
    if isinstance(picture, np.ndarray) and picture.dtype == np.uint8 and picture.ndim == 1:
        return picture.tobytes()
    raise InputError(f"'{path}' needs pictures as bytes of a file, got a {type(picture).__name__}.")
