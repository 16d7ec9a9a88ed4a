"""Sets of pictures with identities, in all supported storage forms."""

import io
import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
from PIL import Image, ImageOps

from rsft.data.archives import expand, is_pattern, list_shards, list_tar
from rsft.data.columns import Coded, Strings, checked_rows, first_part, rises, rows_like, take, true_rows
from rsft.data.fingerprint import set_fingerprint
from rsft.data.folder import list_folder
from rsft.data.huggingface import is_saved, list_saved, list_stream
from rsft.data.listing import SUFFIXES, Listing, text_column
from rsft.data.manifest import list_manifest
from rsft.data.recordio import list_records
from rsft.data.sources import Files, Source, columnar, read_source
from rsft.data.table import TABLES
from rsft.data.verification_set import list_verification_set
from rsft.data.withdrawn import withdrawn_set
from rsft.errors import InputError, UnreadableImageError, WithdrawnDataWarning

MAX_PIXELS = 89_478_485  # the size from which Pillow warns of decompression bombs

READERS: Mapping[str, Callable[[Path], Listing]] = {
    ".tar": list_tar,
    ".rec": list_records,
    **dict.fromkeys(TABLES, list_manifest),
    ".bin": list_verification_set,
}


@dataclass(frozen=True)
class ImageSet:
    """A set of pictures with stable ids; pictures are read one at a time, and several threads may read.

    Ids and attributes become columns, so a picture costs no Python object until it is looked at.

    Attributes:
        root: The folder or file that the pictures were listed from.
        ids: (N,) ids with "/" between the parts. `find_images` sorts them. If there are several parts, the first is the
            identity.
        sources: (N,) places of the bytes of the pictures.
        attributes: Name -> (N,) values, as text; empty if the storage form has no attributes.

    Raises:
        InputError: An id is not valid UTF-8.
    """

    root: Path
    ids: Strings
    sources: Sequence[Source]
    attributes: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ids", text_column(self.ids, self.root))
        shown = {name: Strings.shown(values) for name, values in self.attributes.items()}
        object.__setattr__(self, "attributes", shown)

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def identities(self) -> Coded:
        """(N,) identity of each picture: the first part of its id, or the whole id if it has only one part."""
        return self.ids.coded(first_part)

    @property
    def people(self) -> np.ndarray:
        """(N,) int64 number of the identity of each picture, 0 to C - 1.

        Identities are numbered as they first occur. In a set sorted by id, the pictures of each are therefore one run,
        unless a picture in no folder is named like a folder.
        """
        return self.identities.codes

    @property
    def people_names(self) -> Strings:
        """(C,) names of the identities, in the order of their numbers."""
        return self.identities.names

    def fingerprint(self) -> str:
        """Return 16 hexadecimal digits that tell apart sets of pictures; no picture is read.

        They cover the number of pictures and all ids in their order and, for up to 64 pictures spaced evenly, the size
        of their bytes and, of plain files, the time of their last change. They do not cover the content of pictures,
        the sizes of the others, attributes, or where the set lies.
        """
        return set_fingerprint(self.ids, self.sources)

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
        """Return the set of the pictures at `indices`, in this order.

        Args:
            indices: (n,) whole numbers; negative ones count from the end.

        Raises:
            TypeError: The indices are not whole numbers.
            IndexError: An index is out of range.
        """
        rows = checked_rows(indices, len(self))
        ids, sources = self.ids.take(rows), self.sources
        if isinstance(sources, Files) and sources.paths is self.ids:
            sources = Files(sources.root, ids)  # one copy serves both
        else:
            sources = take(sources, rows)
        attributes = {name: take(values, rows) for name, values in self.attributes.items()}
        return replace(self, ids=ids, sources=sources, attributes=attributes)


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
            `.csv`, `.tsv`, `.txt`, `.jsonl` or `.parquet`, LFW's `people.txt`, a Parquet file with a column of
            pictures, a `.bin` verification set, or an output of Hugging Face's `save_to_disk`. An `ImageSet` is
            returned as it is, after the same checks.
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
    withdrawn = withdrawn_set(root, images.people_names)
    if withdrawn:
        warnings.warn(
            f"'{root}' appears to be {withdrawn}. Its authors have withdrawn this data set: check that you may use it.",
            WithdrawnDataWarning,
            stacklevel=2,
        )
    if labelled:
        loose = true_rows(pc.invert(pc.match_substring(images.ids.array, "/")))
        if len(loose):
            raise InputError(
                f"'{root}' needs one folder per identity, but {len(loose)} pictures lie in none, such as "
                f"'{images.ids[loose[0]]}': "
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
    ids = text_column(listing.ids, root)
    _check_inside(ids, root)
    images = ImageSet(root, ids, columnar(listing.sources), listing.attributes)
    if not rises(ids):
        images = images.subset(pc.array_sort_indices(ids.array).to_numpy())  # UTF-8 sorts as `str` does
    if not rises(images.ids):
        found = pc.value_counts(ids.array)
        most = int(np.argmax(found.field("counts")))
        item, times = found[most]["values"].as_py(), found[most]["counts"].as_py()
        raise InputError(f"'{root}' holds {times} pictures named '{item}': names must be unique.")
    return images


def _list(root: Path) -> Listing:
    """Choose the reader for a path, and list its pictures."""
    if root.is_dir():
        return list_saved(root) if is_saved(root) else list_folder(root)
    if is_pattern(root) and not root.exists():
        return list_shards(expand(root))
    if not root.exists():
        raise InputError(f"'{root}' does not exist.")
    reader = READERS.get(root.suffix.lower())
    if reader is None or not root.is_file():
        raise InputError(f"'{root}' is neither a folder nor a {', '.join(READERS)} of pictures.")
    return reader(root)


def _check_inside(ids: Strings, root: Path) -> None:
    """Check that ids can be paths below a folder when a set is converted."""
    for item in ids.take(rows_like(ids, r"^/|\.\.|\x00")):
        if item.startswith("/") or "/../" in f"/{item}/" or "\0" in item:
            raise InputError(f"'{root}' holds '{item}': the name of a picture must not lead out of it.")
