"""Pictures from bytes to pixels, with a limit of the memory that all threads take together."""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition

import numpy as np
from PIL import Image, ImageOps

from rsft.data.formats import picture_formats
from rsft.errors import UnreadableImageError

MAX_PIXELS = 89_478_485  # the size from which Pillow warns of decompression bombs
MAX_SIDE = 32_766  # pixels, above which OpenCV does not warp a picture
STRIP_PIXELS = 1 << 22  # that are turned into an array at a time, so that a large picture takes less memory
# A picture of 16 bits without a brighter pixel comes from a camera of 10, 12 or 14 bits, or is too dark to show a face.
BRIGHT_16 = 1 << 14
WHITE_IS_ZERO, PHOTOMETRIC = 0, 262  # a value, and the number, of a tag of TIFF
SEVERAL_PICTURES = frozenset({"MPO", "PSD"})  # formats whose first picture is the whole of it

# Pillow keeps large pictures in blocks of this size. Above 32 MiB, glibc gives a block back to the system once it is
# free; of smaller ones, each thread would keep the 360 MB of the largest picture that it ever decoded.
BLOCK_BYTES = 1 << 26
Image.core.set_block_size(BLOCK_BYTES)


class PixelBudget:
    """A number of pixels that threads may have in memory together; a thread waits until its picture fits.

    Attributes:
        total: The number of pixels.
    """

    def __init__(self, total: int):
        self.total = total
        self._begin()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._begin)  # the threads that hold pixels are not in the child

    def _begin(self) -> None:
        self._taken = 0
        self._change = Condition()

    @contextmanager
    def take(self, pixels: int) -> Iterator[None]:
        """Hold a number of pixels, up to `total`, within a `with` statement. It must not be nested in a thread."""
        with self._change:
            self._change.wait_for(lambda: self._taken + pixels <= self.total)
            self._taken += pixels
        try:
            yield
        finally:
            with self._change:
                self._taken -= pixels
                self._change.notify_all()


# Decoding takes 7 bytes a pixel for a moment, and 11 to turn a picture upright. All threads together take as much as
# the largest picture alone.
BUDGET = PixelBudget(MAX_PIXELS)


@contextmanager
def decoded(content: bytes) -> Iterator[np.ndarray]:
    """Decode a picture as `decode` does, and hold its place in the memory of all threads until the block ends.

    Raises:
        UnreadableImageError: See `decode`.
    """
    with _opened(content) as image, BUDGET.take(image.width * image.height):
        with _refusing():
            picture = _pixels(image)
            image.close()
        yield picture


def decode(content: bytes) -> np.ndarray:
    """Decode a picture file, and turn the picture upright by its EXIF orientation.

    Of pixels with 16 bits, the upper 8 bits are kept. Transparency is ignored.

    Args:
        content: The bytes of the file.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        UnreadableImageError: The file is damaged or of an unknown format, it has several frames or pages, its pixels
            have no known range (floats, integers of 32 bits, or 16 bits of which the upper two are not used), there are
            more than `MAX_PIXELS` of them, or one side has more than `MAX_SIDE`.
    """
    with decoded(content) as picture:
        return picture


@contextmanager
def _refusing() -> Iterator[None]:
    """Turn what a decoder raises into `UnreadableImageError`."""
    try:
        yield
    except Exception as error:
        # decoders can raise any exception for a damaged file, and none of them may end a run
        reason = str(error) if str(error) and "BytesIO" not in str(error) else "not an image file"
        raise UnreadableImageError(f"unreadable: {reason}".replace("\n", " ")) from error


@contextmanager
def _opened(content: bytes) -> Iterator[Image.Image]:
    """Open a picture, and check what its header tells."""
    with _refusing():
        image = Image.open(io.BytesIO(content), formats=picture_formats())
    with image:
        with _refusing():
            _check_header(image)
        yield image


def _check_header(image: Image.Image) -> None:
    """Raise `ValueError` if a picture is too large or is not a single one. Nothing is decoded."""
    size = f"{image.width} x {image.height} pixels"
    if image.width * image.height > MAX_PIXELS:
        raise ValueError(f"it has {size}, which may be a decompression bomb")
    if max(image.size) > MAX_SIDE:
        raise ValueError(f"it has {size}, and a side may have {MAX_SIDE}")
    if getattr(image, "is_animated", False) and image.format not in SEVERAL_PICTURES:
        raise ValueError("it is an animation or has several pages: save the one that is meant as a picture")


def _pixels(image: Image.Image) -> np.ndarray:
    """Decode a picture that `_check_header` passed: (H, W, 3) uint8 RGB."""
    stored = _stored_as(image)
    _check_range(image, stored)
    ImageOps.exif_transpose(image, in_place=True)
    image.load()
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    rows = max(1, STRIP_PIXELS // image.width)
    grey, brightest = image.mode.startswith("I"), 0
    for top in range(0, image.height, rows):
        strip = image if rows >= image.height else image.crop((0, top, image.width, min(top + rows, image.height)))
        if grey:
            levels = np.asarray(strip)
            pixels[top : top + rows] = _upper_bits(levels, 12 if ";12" in stored else 16)[:, :, None]
            brightest = max(brightest, int(levels.max()))
        else:
            pixels[top : top + rows] = np.asarray(_as_rgb(strip))
    if grey and ";12" not in stored:
        _check_bright(brightest)
    elif ";16" in stored and not stored.startswith("CMYK"):
        _check_bright(int(pixels.max()) << 8 | 255)
    return pixels


def _as_rgb(image: Image.Image) -> Image.Image:
    """Return a picture in the mode RGB, without transparency."""
    if image.mode in ("P", "PA"):
        image = image.convert("RGBA")
    return image if image.mode == "RGB" else image.convert("RGB")


def _stored_as(image: Image.Image) -> str:
    """Return how the file stores pixels, in Pillow's words, such as "RGB" or "I;16B"; empty if that is not known."""
    for tile in getattr(image, "tile", ()):
        told = tile[3][0] if isinstance(tile[3], tuple) and tile[3] else tile[3]
        if isinstance(told, str):
            return told
    return ""


def _check_range(image: Image.Image, stored: str) -> None:
    """Raise `ValueError` if the range of pixels is not known."""
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers: save it with 8 bits")
    if not image.mode.startswith("I"):
        return
    if image.mode == "I" and not (stored.startswith("I;16") and "S" not in stored) and image.format != "PPM":
        raise ValueError(
            "its pixels are integers of more than 16 bits, or with a sign, of no known range: save it with 8"
        )
    if image.format == "TIFF" and getattr(image, "tag_v2", {}).get(PHOTOMETRIC) == WHITE_IS_ZERO:
        raise ValueError("its pixels have 16 bits, of which 0 is white: save it with 8 bits")


def _upper_bits(pixels: np.ndarray, bits: int) -> np.ndarray:
    """Reduce grey levels from 12 or 16 bits to 8. Pillow itself would clip them at 255."""
    if pixels.min() < 0 or pixels.max() >= 1 << bits:
        raise ValueError(f"its pixels have more than {bits} bits")
    return (pixels >> (bits - 8)).astype(np.uint8)


def _check_bright(most: int) -> None:
    """Raise `ValueError` if the brightest pixel of 16 bits tells that fewer bits are used."""
    if 0 < most < BRIGHT_16:
        raise ValueError(
            f"its pixels have 16 bits, but none is above {most}, which fits into {most.bit_length()}: their range "
            "is not known. Scale it to 16 bits, or save it with 8"
        )
