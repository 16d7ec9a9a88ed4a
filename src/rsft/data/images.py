"""Sets of pictures with identities, in all supported storage forms."""

import io
import itertools
import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from rsft.data.archives import expand, is_pattern, list_shards, list_tar
from rsft.data.huggingface import is_saved, list_saved, list_stream
from rsft.data.listing import SUFFIXES, Listing, Source, identity_of, read_source
from rsft.data.manifest import list_manifest
from rsft.data.recordio import list_records
from rsft.data.verification_set import list_verification_set
from rsft.data.withdrawn import withdrawn_set
from rsft.errors import InputError, UnreadableImageError, WithdrawnDataWarning

MAX_PIXELS = 89_478_485  # the size from which Pillow warns of decompression bombs

READERS: Mapping[str, Callable[[Path], Listing]] = {
    ".tar": list_tar,
    ".rec": list_records,
    ".csv": list_manifest,
    ".parquet": list_manifest,
    ".bin": list_verification_set,
}


@dataclass(frozen=True)
class ImageSet:
    """A set of pictures with stable ids; pictures are read one at a time, and several threads may read.

    Attributes:
        root: The folder or file that the pictures were listed from.
        ids: (N,) ids with "/" between the parts. `find_images` sorts them. If there are several parts, the first is the
            identity.
        sources: (N,) places of the bytes of the pictures.
        attributes: Name -> (N,) values, as text; empty if the storage form has no attributes.
    """

    root: Path
    ids: Sequence[str]
    sources: Sequence[Source]
    attributes: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def identities(self) -> list[str]:
        """(N,) identity of each picture: the first part of its id, or the whole id if it has only one part."""
        return [identity_of(item) for item in self.ids]

    @cached_property
    def people(self) -> np.ndarray:
        names = self.identities
        return np.cumsum([0, *(a != b for a, b in itertools.pairwise(names))])

    @cached_property
    def people_names(self) -> Sequence[str]:
        return list(dict.fromkeys(self.identities))

    def fingerprint(self) -> str:
        return f"{hash(tuple(self.ids)):x}"

    def read_bytes(self, index: int) -> bytes:
        """Read the bytes of the file of picture `index`, without decoding them.

        Raises:
            UnreadableImageError: The file is missing or ends too early.
        """
        try:
            return read_source(self.sources[index])
        except OSError as error:
            raise UnreadableImageError(f"unreadable: {error.strerror or error}") from error  # strerror has no path

    def read(self, index: int) -> np.ndarray:
        """Read and decode picture `index`, upright: (H, W, 3) uint8 RGB.

        Raises:
            UnreadableImageError: The file is missing, or `decode` rejects it.
        """
        return decode(self.read_bytes(index))

    def subset(self, indices: Sequence[int] | np.ndarray) -> "ImageSet":
        """Return the set of the pictures at `indices`, in this order."""
        return replace(
            self,
            ids=[self.ids[i] for i in indices],
            sources=[self.sources[i] for i in indices],
            attributes={name: [values[i] for i in indices] for name, values in self.attributes.items()},
        )


def decode(content: bytes) -> np.ndarray:
    """Decode a picture file, and turn the picture upright by its EXIF orientation.

    Of pixels with 16 bits, the upper 8 bits are kept. Transparency is ignored.

    Args:
        content: The bytes of the file.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        UnreadableImageError: The file is damaged or of an unknown format, its pixels have no known range, or there are
            more than `MAX_PIXELS` of them.
    """
    try:
        with Image.open(io.BytesIO(content)) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ValueError(f"it has {image.width} x {image.height} pixels, which may be a decompression bomb")
            upright = ImageOps.exif_transpose(image)
            if upright.mode.startswith("I"):
                upright = Image.fromarray(_upper_bits(np.asarray(upright)))
            elif upright.mode == "F":
                raise ValueError("its pixels are floating-point numbers")
            elif upright.mode == "P":
                upright = upright.convert("RGBA")
            return np.asarray(upright.convert("RGB"))
    except Exception as error:
        # decoders can raise any exception for a damaged file, and none of them may end a run
        reason = str(error) if str(error) and "BytesIO" not in str(error) else "not an image file"
        raise UnreadableImageError(f"unreadable: {reason}") from error


def _upper_bits(pixels: np.ndarray) -> np.ndarray:
    """Reduce grey levels from 16 to 8 bits. Pillow itself would clip them at 255."""
    if pixels.min() < 0 or pixels.max() > 65535:
        raise ValueError("its pixels have more than 16 bits")
    return (pixels // 256).astype(np.uint8)


def find_images(path: "str | os.PathLike[str] | ImageSet", *, labelled: bool = False) -> ImageSet:
    """List the pictures of a data set in any storage form; docs/data.md describes the forms.

    Args:
        path: A folder, an uncompressed `.tar`, a pattern of shards (`shard-{000..012}.tar`), a `.rec`, a manifest in
            `.csv` or `.parquet`, a Parquet file with a column of pictures, a `.bin` verification set, or an output of
            Hugging Face's `save_to_disk`. An `ImageSet` is returned as it is, after the same checks.
        labelled: Whether every picture must have an identity.

    Returns:
        The pictures, sorted by id.

    Raises:
        InputError: The path does not exist or is damaged, it holds no picture, two pictures have the same id, an id
            cannot be a path, or `labelled` is set and a picture has no identity.

    Warns:
        WithdrawnDataWarning: The pictures appear to belong to a data set that its authors have withdrawn.
    """
    images = path if isinstance(path, ImageSet) else image_set(_list(Path(path)), Path(path))
    root = images.root
    withdrawn = withdrawn_set(root, images.identities)
    if withdrawn:
        warnings.warn(
            f"'{root}' appears to be {withdrawn}. Its authors have withdrawn this data set: check that you may use it.",
            WithdrawnDataWarning,
            stacklevel=2,
        )
    if labelled:
        loose = [item for item in images.ids if "/" not in item]
        if loose:
            raise InputError(
                f"'{root}' needs one folder per identity, but {len(loose)} pictures lie in none, such as '{loose[0]}': "
                "move them into folders named by person."
            )
    return images


def read_dataset(rows: Iterable[Mapping[str, Any]], *, image: str = "image", label: str | None = None) -> ImageSet:
    """Read the pictures of a Hugging Face data set once, into memory; `convert` can write them to disk.

    Args:
        rows: A `datasets.Dataset`, or an `IterableDataset` that streams.
        image: Name of the column of pictures.
        label: Name of the column of identities. By default it is the first of `identity`, `label`, `labels` and `cls`
            that exists; without any, pictures have no identity.

    Returns:
        The pictures, sorted by id; the other columns of text and numbers are attributes.

    Raises:
        InputError: A row has no picture or no column `label`, or there are no rows.
    """
    return image_set(list_stream(rows, image, label), Path(f"{type(rows).__name__} of rows"))


def image_set(listing: Listing, root: Path) -> ImageSet:
    """Make a set of the pictures that a reader found, sorted by id.

    Args:
        listing: The pictures.
        root: The path that they were listed from.

    Raises:
        InputError: There are no pictures, two have the same id, or an id cannot be a path.
    """
    if not listing.ids:
        raise InputError(f"'{root}' holds no picture ({', '.join(sorted(SUFFIXES))}).")
    _check_ids(listing.ids, root)
    order = sorted(range(len(listing.ids)), key=listing.ids.__getitem__)
    return ImageSet(root, listing.ids, listing.sources, listing.attributes).subset(order)


def _list(root: Path) -> Listing:
    """Choose the reader for a path, and list its pictures."""
    if root.is_dir():
        return list_saved(root) if is_saved(root) else _list_folder(root)
    if is_pattern(root) and not root.exists():
        return list_shards(expand(root))
    if not root.exists():
        raise InputError(f"'{root}' does not exist.")
    reader = READERS.get(root.suffix.lower())
    if reader is None or not root.is_file():
        raise InputError(f"'{root}' is neither a folder nor a {', '.join(READERS)} of pictures.")
    return reader(root)


def _list_folder(root: Path) -> Listing:
    """List a folder. Links are followed; a folder with several names is listed once, by its own name if possible."""
    found: list[Path] = []
    seen: set[Path] = set()
    tops = [root]
    for top in tops:  # grows within the loop
        for folder, folders, names in os.walk(top):
            real = Path(folder).resolve()
            if real in seen:
                folders.clear()
                continue
            seen.add(real)
            found += [Path(folder, name) for name in names if PurePosixPath(name).suffix.lower() in SUFFIXES]
            tops += [Path(folder, name) for name in sorted(folders) if Path(folder, name).is_symlink()]
    return Listing([path.relative_to(root).as_posix() for path in found], found)


def _check_ids(ids: Sequence[str], root: Path) -> None:
    """Check that ids can be paths when a set is converted, and unique keys when it is embedded."""
    outside = [item for item in ids if item.startswith("/") or "/../" in f"/{item}/" or "\0" in item]
    if outside:
        raise InputError(f"'{root}' holds '{outside[0]}': the name of a picture must not lead out of it.")
    for item in ids:
        if not item.isascii() and any("\ud800" <= letter <= "\udfff" for letter in item):
            shown = item.encode("utf-8", "backslashreplace").decode()
            raise InputError(f"'{root}' holds '{shown}', a name that is not valid UTF-8: rename it.")
    if len(set(ids)) < len(ids):
        item, times = Counter(ids).most_common(1)[0]
        raise InputError(f"'{root}' holds {times} pictures named '{item}': names must be unique.")
