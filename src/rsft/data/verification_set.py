"""insightface's `.bin`: pictures in pairs, and whether the two of each pair show one person."""

from pathlib import Path

import numpy as np

from rsft.data.listing import Listing, suffix_of
from rsft.data.pickled import read_plain_pickle
from rsft.errors import InputError


def read_verification_set(path: Path) -> tuple[list[bytes], np.ndarray]:
    """The 2 P pictures of a `.bin` as files, those of a pair one after the other, and (P,) bool: of one person.

    Raises:
        InputError: it is not such a set, or its pickle holds anything but plain values.
    """
    stored = path.read_bytes()
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
    # a picture that is repeated is held once
    different = {id(picture): picture for picture in pictures}
    if sum(len(picture) for picture in different.values() if isinstance(picture, np.ndarray)) > len(stored):
        raise InputError(f"'{path}' repeats its pictures until they are larger than the file.")
    contents = {key: _content(picture, path) for key, picture in different.items()}
    return [contents[id(picture)] for picture in pictures], np.array([bool(truth) for truth in same])


def list_verification_set(path: Path) -> Listing:
    """The pictures of a `.bin`, named by their place in it: those of pair i are 2 i and 2 i + 1."""
    pictures, _ = read_verification_set(path)
    return Listing([f"{place:08d}{suffix_of(picture)}" for place, picture in enumerate(pictures)], pictures)


def _content(picture: object, path: Path) -> bytes:
    if isinstance(picture, bytes):
        return picture
    if isinstance(picture, np.ndarray) and picture.dtype == np.uint8 and picture.ndim == 1:
        return picture.tobytes()
    raise InputError(f"'{path}' needs pictures as bytes of a file, got a {type(picture).__name__}.")
