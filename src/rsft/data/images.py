"""Pictures and their identities, from a folder or an uncompressed `.tar` of folders."""

import io
import os
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image, ImageOps

from rsft.errors import InputError, UnreadableImageError

SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})


@dataclass(frozen=True)
class ImageSet:
    """Pictures with stable ids, read one at a time; safe to read from several threads.

    Attributes:
        root: the folder or `.tar` they lie in.
        ids: (N,) paths below `root`, with "/" between the parts, sorted.
        offsets: for a `.tar`, (offset, size) of each picture in it.
    """

    root: Path
    ids: Sequence[str]
    offsets: Sequence[tuple[int, int]] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def identities(self) -> list[str]:
        """(N,) name of the folder below `root` that each picture lies in; the picture's own name if it lies in none."""
        return [PurePosixPath(item).parts[0] for item in self.ids]

    def read_bytes(self, index: int) -> bytes:
        """The file of picture `index`."""
        if self.offsets is None:
            return (self.root / self.ids[index]).read_bytes()
        offset, size = self.offsets[index]
        with open(self.root, "rb") as archive:
            archive.seek(offset)
            return archive.read(size)

    def read(self, index: int) -> np.ndarray:
        """Picture `index` upright: (H, W, 3) uint8 RGB.

        Raises:
            UnreadableImageError: it is missing, damaged, or larger than Pillow's limit against decompression bombs.
        """
        try:
            with Image.open(io.BytesIO(self.read_bytes(index))) as image:
                return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            reason = str(error) if str(error) and "BytesIO" not in str(error) else "not an image file"
            raise UnreadableImageError(f"unreadable: {reason}") from error

    def subset(self, indices: Sequence[int]) -> "ImageSet":
        """The pictures at `indices`, in that order."""
        return replace(
            self,
            ids=[self.ids[i] for i in indices],
            offsets=None if self.offsets is None else [self.offsets[i] for i in indices],
        )


def find_images(path: str | os.PathLike[str], *, labelled: bool = False) -> ImageSet:
    """List the pictures in a folder or an uncompressed `.tar`, at any depth.

    Args:
        path: the folder or `.tar`.
        labelled: whether every picture must lie in a folder that names its identity.

    Raises:
        InputError: there is no such path, it holds no picture, or one without identity where `labelled`.
    """
    root = Path(path)
    if root.is_dir():
        found = _in_folder(root)
        images = ImageSet(root, found)
    elif root.is_file() and root.suffix == ".tar":
        members = _in_tar(root)
        images = ImageSet(root, list(members), list(members.values()))
    elif root.exists():
        raise InputError(f"'{root}' is neither a folder nor a .tar of pictures.")
    else:
        raise InputError(f"'{root}' does not exist.")
    if not images.ids:
        raise InputError(f"'{root}' holds no picture ({', '.join(sorted(SUFFIXES))}).")
    if labelled:
        loose = [item for item in images.ids if "/" not in item]
        if loose:
            raise InputError(
                f"'{root}' needs one folder per identity, but {len(loose)} pictures lie in none, such as '{loose[0]}': "
                "move them into folders named by person."
            )
    return images


def _in_folder(root: Path) -> list[str]:
    return sorted(
        Path(folder, name).relative_to(root).as_posix()
        for folder, _, names in os.walk(root)
        for name in names
        if Path(name).suffix.lower() in SUFFIXES
    )


def _in_tar(path: Path) -> dict[str, tuple[int, int]]:
    try:
        with tarfile.open(path, "r:") as archive:
            members = {
                str(PurePosixPath(member.name)): (member.offset_data, member.size)
                for member in archive
                if member.isfile() and PurePosixPath(member.name).suffix.lower() in SUFFIXES
            }
    except tarfile.TarError as error:
        raise InputError(f"'{path}' is not an uncompressed .tar archive: {error}.") from error
    return dict(sorted(members.items()))
