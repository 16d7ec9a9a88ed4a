"""What a reader finds: the ids of pictures, and where the bytes of each lie."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from rsft.errors import InputError

SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})


class Part(NamedTuple):
    """A picture inside a larger file.

    Attributes:
        path: the file.
        offset: where it starts, in bytes.
        size: in bytes.
    """

    path: Path
    offset: int
    size: int


# A file, a part of one, or the content itself.
Source = Path | Part | bytes


@dataclass(frozen=True)
class Listing:
    """Pictures in the order in which they were found.

    Attributes:
        ids: (N,) with "/" between the parts; the first of several parts names the identity.
        sources: (N,) where their bytes lie.
        attributes: name -> (N,) values, as text.
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
    """The id of a picture: its path, below a folder that is named by its identity.

    Args:
        identity: None if it is not told: then the first folder of the path tells, as it does on disk.
        path: with "/" between the parts.
        where: what is being read, for the error.

    Raises:
        InputError: the identity cannot be the name of a folder.

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
    """The bytes of a picture.

    Raises:
        OSError: the file is missing, or shorter than it was.
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
    """The suffix that the first bytes of a picture call for; `.jpg` where they tell nothing.

    >>> suffix_of(bytes.fromhex("89504e470d0a1a0a")), suffix_of(b"RIFF....WEBPVP8 ")
    ('.png', '.webp')
    """
    for suffix, start in {".png": b"\x89PNG", ".bmp": b"BM", ".pgm": b"P5", ".ppm": b"P6", ".tif": b"II*\0"}.items():
        if content.startswith(start):
            return suffix
    return ".webp" if content[:4] == b"RIFF" and content[8:12] == b"WEBP" else ".jpg"
