"""The result of a reader: the ids of pictures, and the places of their bytes."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from rsft.errors import InputError

SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})


class Part(NamedTuple):
    """A picture inside a larger file.

    Attributes:
        path: Path of the larger file.
        offset: Offset of the picture in the file, in bytes.
        size: Size of the picture, in bytes.
    """

    path: Path
    offset: int
    size: int


# A picture as a file, as part of a file, or as its bytes.
Source = Path | Part | bytes


@dataclass(frozen=True)
class Listing:
    """Pictures that a reader found, in the order of the data.

    Attributes:
        ids: (N,) ids with "/" between the parts. If there are several parts, the first is the identity.
        sources: (N,) places of the bytes of the pictures.
        attributes: Name -> (N,) values, as text.
    """

    ids: Sequence[str]
    sources: Sequence[Source]
    attributes: dict[str, list[str]] = field(default_factory=dict)


def identity_of(item: str) -> str:
    """Return the identity of a picture: the first part of its id, or the whole id if it has only one part.

    >>> identity_of("ann/photos/1.png"), identity_of("1.png")
    ('ann', '1.png')
    """
    return item.partition("/")[0]


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
    if identity is None or path.startswith(f"{identity}/"):
        return path
    if identity in {"", ".", ".."} or "/" in identity:
        raise InputError(
            f"'{where}': '{path}' needs an identity that can name a folder, without '/', got '{identity}'."
        )
    return f"{identity}/{path}"


def read_source(source: Source) -> bytes:
    """Read the bytes of a picture.

    Args:
        source: A file, a part of a file, or the bytes themselves.

    Raises:
        OSError: The file is missing, or is shorter than it was when the picture was listed.
    """
    if isinstance(source, bytes):
        return source
    if isinstance(source, Path):
        return source.read_bytes()
    with open(source.path, "rb") as file:
        file.seek(source.offset)
        content = file.read(source.size)
    if len(content) < source.size:
        raise OSError(f"'{source.path.name}' ends within the picture")
    return content


def suffix_of(content: bytes) -> str:
    """Return the file suffix for the format of a picture, or `.jpg` if the format is not recognised.

    Args:
        content: The first bytes of the picture, at least 12 for WebP.

    >>> suffix_of(bytes.fromhex("89504e470d0a1a0a")), suffix_of(b"RIFF....WEBPVP8 ")
    ('.png', '.webp')
    """
    for suffix, start in {".png": b"\x89PNG", ".bmp": b"BM", ".pgm": b"P5", ".ppm": b"P6", ".tif": b"II*\0"}.items():
        if content.startswith(start):
            return suffix
    return ".webp" if content[:4] == b"RIFF" and content[8:12] == b"WEBP" else ".jpg"
