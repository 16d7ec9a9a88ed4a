"""Pictures and their identities, in whatever form they are stored."""

import io
import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
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

MAX_PIXELS = 89_478_485  # where Pillow begins to warn of decompression bombs

READERS: Mapping[str, Callable[[Path], Listing]] = {
    ".tar": list_tar,
    ".rec": list_records,
    ".csv": list_manifest,
    ".parquet": list_manifest,
    ".bin": list_verification_set,
}


@dataclass(frozen=True)
class ImageSet:
    """Pictures with stable ids, read one at a time; safe to read from several threads.

    Attributes:
        root: the folder or file they lie in.
        ids: (N,) names with "/" between the parts, sorted; the first of several parts is the identity.
        sources: (N,) where the bytes of each lie.
        attributes: name -> (N,) values, as text, where the form of storage has any.
    """

    root: Path
    ids: Sequence[str]
    sources: Sequence[Source]
    attributes: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def identities(self) -> list[str]:
        """(N,) first part of each id; the whole id if it has one part only."""
        return [identity_of(item) for item in self.ids]

    def read_bytes(self, index: int) -> bytes:
        """The file of picture `index`.

        Raises:
            UnreadableImageError: it is missing, or ends too early.
        """
        try:
            return read_source(self.sources[index])
        except OSError as error:
            raise UnreadableImageError(f"unreadable: {error.strerror or error}") from error  # without its path

    def read(self, index: int) -> np.ndarray:
        """Picture `index` upright: (H, W, 3) uint8 RGB.

        Raises:
            UnreadableImageError: it is missing, damaged, or larger than `MAX_PIXELS`.
        """
        return decode(self.read_bytes(index))

    def subset(self, indices: Sequence[int]) -> "ImageSet":
        """The pictures at `indices`, in that order."""
        return replace(
            self,
            ids=[self.ids[i] for i in indices],
            sources=[self.sources[i] for i in indices],
            attributes={name: [values[i] for i in indices] for name, values in self.attributes.items()},
        )


def decode(content: bytes) -> np.ndarray:
    """The bytes of a picture file -> the picture upright: (H, W, 3) uint8 RGB.

    Of 16 bits a channel the upper 8 are kept; transparency is left out.

    Raises:
        UnreadableImageError: they are damaged, of no known format, of numbers without a known range, or of more than
            `MAX_PIXELS` pixels.
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
        # decoders of damaged files raise whatever they stumble over; none of it may end a run
        reason = str(error) if str(error) and "BytesIO" not in str(error) else "not an image file"
        raise UnreadableImageError(f"unreadable: {reason}") from error


def _upper_bits(pixels: np.ndarray) -> np.ndarray:
    """Grey of 16 bits -> of 8. Pillow itself would cut at 255 what goes up to 65535."""
    if pixels.min() < 0 or pixels.max() > 65535:
        raise ValueError("its pixels have more than 16 bits")
    return (pixels // 256).astype(np.uint8)


def find_images(path: "str | os.PathLike[str] | ImageSet", *, labelled: bool = False) -> ImageSet:
    """List the pictures that a path names; see docs/data.md for the forms.

    Args:
        path: a folder, an uncompressed `.tar`, a pattern of shards (`shard-{000..012}.tar`), a `.rec`, a manifest in
            `.csv` or `.parquet`, a `.bin` verification set, or an output of Hugging Face's `save_to_disk`. Or pictures
            that were listed already.
        labelled: whether every picture must have an identity.

    Raises:
        InputError: there is no such path, it is damaged, it holds no picture, or one without identity where `labelled`.
    """
    images = path if isinstance(path, ImageSet) else image_set(_list(Path(path)), Path(path))
    root = images.root
    withdrawn = withdrawn_set(root, images.identities)
    if withdrawn:
        warnings.warn(
            f"'{root}' seems to be of {withdrawn}, which its makers have withdrawn: see that you may use it.",
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
    """The pictures of a Hugging Face data set, read once into memory; `convert` writes them down.

    Args:
        rows: a `datasets.Dataset`, or an `IterableDataset` that streams.
        image: the column of pictures.
        label: the column of identities; by default `identity`, `label`, `labels` or `cls`, if there is one.

    Raises:
        InputError: a row has no picture, or there is none.
    """
    return image_set(list_stream(rows, image, label), Path(f"{type(rows).__name__} of rows"))


def image_set(listing: Listing, root: Path) -> ImageSet:
    """What a reader found, sorted.

    Raises:
        InputError: that is nothing, or an id that no picture can have.
    """
    if not listing.ids:
        raise InputError(f"'{root}' holds no picture ({', '.join(sorted(SUFFIXES))}).")
    _check_ids(listing.ids, root)
    order = sorted(range(len(listing.ids)), key=listing.ids.__getitem__)
    return ImageSet(root, listing.ids, listing.sources, listing.attributes).subset(order)


def _list(root: Path) -> Listing:
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
    """Links are followed; a folder that is reached in several ways is listed once, by its own name if it has one."""
    found: list[Path] = []
    seen: set[Path] = set()
    tops = [root]
    for top in tops:  # grows
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
    """Ids become paths when a set is converted, and keys when it is embedded."""
    outside = [item for item in ids if item.startswith("/") or "/../" in f"/{item}/" or "\0" in item]
    if outside:
        raise InputError(f"'{root}' holds '{outside[0]}': the name of a picture must not lead out of it.")
    for item in ids:
        if not item.isascii() and any("\ud800" <= letter <= "\udfff" for letter in item):
            shown = item.encode("utf-8", "backslashreplace").decode()
            raise InputError(f"'{root}' holds '{shown}', a name that is no UTF-8: rename it.")
    if len(set(ids)) < len(ids):
        item, times = Counter(ids).most_common(1)[0]
        raise InputError(f"'{root}' holds {times} pictures of the name '{item}': names must differ.")
