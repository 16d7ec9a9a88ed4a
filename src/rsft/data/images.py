"""Sets of pictures with identities, in all supported storage forms."""

import logging
import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

from rsft.data.archives import expand, is_pattern, list_shards, list_tar
from rsft.data.columns import Coded, Strings, checked_rows, first_part, rises, rows_like, take, true_rows
from rsft.data.composition import composed_names
from rsft.data.decoding import MAX_PIXELS as MAX_PIXELS
from rsft.data.decoding import decode as decode
from rsft.data.decoding import decoded
from rsft.data.fetched import FETCHED
from rsft.data.fingerprint import set_fingerprint
from rsft.data.folder import list_folder
from rsft.data.huggingface import is_saved, list_saved, list_stream
from rsft.data.lance import LANCE, list_lance
from rsft.data.listing import Listing, text_column
from rsft.data.manifest import list_manifest
from rsft.data.passed_over import PassedOver
from rsft.data.recordio import list_records
from rsft.data.remote import RemotePath, to_path
from rsft.data.sources import Files, Source, columnar, read_source
from rsft.data.table import TABLES
from rsft.data.verification_set import list_verification_set
from rsft.data.withdrawn import withdrawn_set
from rsft.errors import InputError, UnreadableImageError, WithdrawnDataWarning

log = logging.getLogger(__name__)

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
        passed_over: What was found beside the pictures when they were listed; a subset keeps it.

    Raises:
        InputError: An id is not valid UTF-8.
    """

    root: Path
    ids: Strings
    sources: Sequence[Source]
    attributes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    passed_over: PassedOver = field(default_factory=PassedOver)

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

    @property
    def is_remote(self) -> bool:
        """Whether the pictures lie in a bucket or on a web server, so that reading one is waiting for an answer."""
        return isinstance(self.root, RemotePath)

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
            UnreadableImageError: The file is missing, is not a regular file, is too large or ends too early.
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

    @contextmanager
    def opened(self, index: int) -> Iterator[np.ndarray]:
        """Read picture `index` as `read` does, within a `with` statement.

        All threads together open only as many pixels as the largest picture may have, so a picture should be let go of
        when the block ends, and a thread must open one picture at a time.
        """
        with decoded(self.read_bytes(index)) as picture:
            yield picture

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
    images = path if isinstance(path, ImageSet) else _listed(to_path(path))
    root = images.root
    if images.passed_over and images is not path:
        log.warning("'%s': passed over %s", root, images.passed_over)
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
        beside = f": passed over {listing.passed_over}" if listing.passed_over else ""
        raise InputError(f"'{root}' holds no picture{beside}.")
    told = text_column(listing.ids, root)
    ids = composed_names(told)
    _check_inside(ids, root)
    images = ImageSet(root, ids, columnar(listing.sources), listing.attributes, listing.passed_over)
    if not rises(ids):
        images = images.subset(pc.array_sort_indices(ids.array).to_numpy())  # UTF-8 sorts as `str` does
    if not rises(images.ids):
        found = pc.value_counts(ids.array)
        most = int(np.argmax(found.field("counts")))
        item, times = found[most]["values"].as_py(), found[most]["counts"].as_py()
        raise InputError(
            f"'{root}' holds {times} pictures named '{item}': names must be unique{_spelt(told, ids, item)}."
        )
    if ids is not told:
        _tell_joined(told, images.people_names, root)
    return images


def _spelt(told: Strings, ids: Strings, item: str) -> str:
    """Say that the composition of letters is all in which the names of pictures of one id differ, if it is."""
    spellings = set(told.take(true_rows(pc.equal(ids.array, item))))
    if len(spellings) < 2:
        return ""
    return f", and these differ only in how Unicode composes their letters ({', '.join(map(ascii, sorted(spellings)))})"


def _tell_joined(told: Strings, people: Strings, root: Path) -> None:
    """Log the identities that are one person because they differ only in how Unicode composes their letters."""
    before = told.coded(first_part).names
    if len(before) > len(people):
        now = composed_names(before)
        twice = {name for name, count in Counter(now).items() if count > 1}
        log.warning(
            "'%s': %d identities are spelt in several ways that Unicode holds to be equal, such as %r; each is "
            "one person",
            root,
            len(twice),
            min(twice),
        )


def _listed(root: Path) -> ImageSet:
    """List the pictures of a path."""
    if not isinstance(root, RemotePath):
        return image_set(_list(root), root)
    FETCHED.clear()  # a new listing is of what is there now
    try:
        return image_set(_list(root), root)
    except OSError as error:
        raise InputError(f"'{error.filename or root}' cannot be read: {error.strerror or error}.") from None


def _list(root: Path) -> Listing:
    """Choose the reader for a path, and list its pictures."""
    if root.suffix.lower() == LANCE:
        return list_lance(root)
    if is_pattern(root) and (isinstance(root, RemotePath) or not root.exists()):
        return list_shards(expand(root))
    if root.is_dir():
        return list_saved(root) if is_saved(root) else list_folder(root)
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
