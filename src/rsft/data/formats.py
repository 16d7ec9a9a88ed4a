"""The formats of pictures that the installed Pillow decodes, and the suffixes of their files."""

from functools import lru_cache

from PIL import Image, ImageFile

# Formats that Pillow opens but that are not decoded here. Ghostscript would run the programme in an EPS file; of an
# MPEG file Pillow reads the header alone; and the others hold a file of any other format, whose size their header does
# not tell.
UNFIT = frozenset({"EPS", "MPEG", "BLP", "ICNS", "ICO", "IPTC"})
FIRST = ("JPEG", "PNG")  # looked for before the others
SAME_READER = {"MPO": "JPEG"}  # JPEG files with further pictures behind the first


def picture_formats() -> tuple[str, ...]:
    """Return Pillow's names of the formats that are decoded.

    A format of which another package registers a reader with Pillow, such as HEIC, is one of them from then on.

    >>> picture_formats()[:2], "EPS" in picture_formats()
    (('JPEG', 'PNG'), False)
    """
    Image.init()
    return _formats(tuple(Image.OPEN))


def picture_suffixes() -> frozenset[str]:
    """Return the suffixes of the files that are decoded, in lower case.

    >>> sorted({".jfif", ".gif", ".eps", ".txt"} & picture_suffixes())
    ['.gif', '.jfif']
    """
    return _suffixes(picture_formats(), len(Image.EXTENSION))


@lru_cache(maxsize=8)
def _formats(registered: tuple[str, ...]) -> tuple[str, ...]:
    stubs = {
        name
        for name, (reader, _) in Image.OPEN.items()
        if isinstance(reader, type) and issubclass(reader, ImageFile.StubImageFile)
    }
    return FIRST + tuple(name for name in registered if name not in UNFIT | stubs | set(FIRST))


@lru_cache(maxsize=8)
def _suffixes(formats: tuple[str, ...], extensions: int) -> frozenset[str]:
    return frozenset(suffix for suffix, name in Image.EXTENSION.items() if SAME_READER.get(name, name) in formats)
