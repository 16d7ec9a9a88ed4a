"""The result of a reader: the ids of pictures, and the places of their bytes."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from rsft.data.columns import Strings, join_strings, rows_like
from rsft.data.composition import composed
from rsft.data.formats import picture_suffixes
from rsft.data.passed_over import PassedOver, join_passed_over
from rsft.data.sources import Source, join_sources
from rsft.errors import InputError

STARTS = {  # of the content of a file
    b"\x89PNG": ".png", b"BM": ".bmp", b"P5": ".pgm", b"P6": ".ppm", b"GIF8": ".gif", b"II*\0": ".tif",
    b"MM\0*": ".tif",
}  # fmt: skip


@dataclass(frozen=True)
class Listing:
    """Pictures that a reader found, in the order of the data.

    Attributes:
        ids: (N,) ids with "/" between the parts. If there are several parts, the first is the identity.
        sources: (N,) places of the bytes of the pictures.
        attributes: Name -> (N,) values, as text.
        passed_over: What the reader found beside them and did not list.
    """

    ids: Sequence[str]
    sources: Sequence[Source]
    attributes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    passed_over: PassedOver = field(default_factory=PassedOver)


def identity_of(item: str) -> str:
    """Return the identity of a picture: the first part of its id, or the whole id if it has only one part.

    >>> identity_of("ann/photos/1.png"), identity_of("1.png")
    ('ann', '1.png')
    """
    return item.partition("/")[0]


def picture_rows(names: Strings) -> np.ndarray:
    """Return the rows (n,) of paths whose suffix is that of a picture; a name that is all suffix has none."""
    endings = "|".join(re.escape(suffix[1:]) for suffix in sorted(picture_suffixes()))
    return rows_like(names, rf"(?i)[^/]\.({endings})$")


def item_id(identity: str | None, path: str, where: Path) -> str:
    """Make the id of a picture: its path, below a folder named by its identity.

    Args:
        identity: The identity. If it is None, the path is the id, and its first folder is the identity.
        path: Path of the picture, with "/" between the parts. If it already begins with the identity, it is the id.
        where: Path of the data set, for the error message.

    Raises:
        InputError: The identity cannot be the name of a folder.

    >>> item_id("ann", "ann/1.png", Path()), item_id("ann", "photos/1.png", Path())
    ('ann/1.png', 'ann/photos/1.png')
    """
    if identity is None or composed(path).startswith(f"{composed(identity)}/"):
        return path
    if identity in {"", ".", ".."} or "/" in identity:
        raise InputError(
            f"'{where}': '{path}' needs an identity that can name a folder, without '/', got '{identity}'."
        )
    return f"{identity}/{path}"


def text_column(names: Sequence[str], where: Path) -> Strings:
    """Return names as a column.

    Args:
        names: (N,) names.
        where: Path of the data set, for the error message.

    Raises:
        InputError: A name is not valid UTF-8.
    """
    if isinstance(names, Strings):
        return names
    try:
        return Strings.of(names)
    except UnicodeEncodeError as error:
        raise invalid_name(next(name for name in names if not is_valid(name)), where) from error


def is_valid(name: str) -> bool:
    """Return whether a name is text that UTF-8 can store."""
    return name.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in name)


def invalid_name(name: str, where: Path) -> InputError:
    """Return the error of a data set at `where` that holds a name which is not valid UTF-8."""
    shown = name.encode("utf-8", "backslashreplace").decode()
    return InputError(f"'{where}' holds '{shown}', a name that is not valid UTF-8: rename it.")


def join_listings(pieces: Sequence[Listing]) -> Listing:
    """Concatenate listings; an attribute that one of them lacks is empty there.

    Args:
        pieces: The listings, at least one.
    """
    names = sorted({name for piece in pieces for name in piece.attributes})
    return Listing(
        join_strings([piece.ids for piece in pieces]),
        join_sources([piece.sources for piece in pieces]),
        {name: join_strings([piece.attributes.get(name, [""] * len(piece.ids)) for piece in pieces]) for name in names},
        join_passed_over(piece.passed_over for piece in pieces),
    )


def suffix_of(content: bytes) -> str:
    """Return the file suffix for the format of a picture, or `.jpg` if the format is not recognised.

    Args:
        content: The first bytes of the picture, at least 12 for WebP.

    >>> suffix_of(bytes.fromhex("89504e470d0a1a0a")), suffix_of(b"RIFF....WEBPVP8 ")
    ('.png', '.webp')
    """
    for start, suffix in STARTS.items():
        if content.startswith(start):
            return suffix
    return ".webp" if content[:4] == b"RIFF" and content[8:12] == b"WEBP" else ".jpg"
