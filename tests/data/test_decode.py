"""Pictures from cameras and tools become upright 8-bit RGB, or are rejected with a reason."""

import io
import struct
import warnings
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rsft.data.images import decode
from rsft.errors import UnreadableImageError

# the left half is dark, the right half is bright, and one corner is red
PIXELS = np.zeros((16, 24, 3), np.uint8) + np.where(np.arange(24) < 12, 40, 200).astype(np.uint8)[None, :, None]
PIXELS[:4, :4] = 200, 30, 30


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def test_16_bit_pictures_keep_their_upper_8_bits() -> None:
    """Pillow's own conversion would clip all values above 255 to white."""
    grey = np.linspace(0, 65535, 16 * 24).reshape(16, 24).astype(np.uint16)
    expected = (grey >> 8).astype(np.uint8)
    for kind in ("PNG", "TIFF"):
        read = decode(saved(Image.fromarray(grey), kind))
        np.testing.assert_array_equal(read, np.repeat(expected[:, :, None], 3, 2))
    pgm = b"P5 24 16 65535\n" + grey.astype(">u2").tobytes()
    np.testing.assert_array_equal(decode(pgm)[:, :, 0], expected)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "CMYK", "P", "YCbCr"])
def test_colours_survive_in_every_mode(mode: str) -> None:
    image = Image.fromarray(PIXELS).quantize(8) if mode == "P" else Image.fromarray(PIXELS).convert(mode)
    kind = {"CMYK": "TIFF", "YCbCr": "TIFF"}.get(mode, "PNG")
    read = decode(saved(image, kind))
    assert np.abs(read.astype(int) - PIXELS).max() <= 3


def test_a_cmyk_jpeg_is_not_inverted() -> None:
    read = decode(saved(Image.fromarray(PIXELS).convert("CMYK"), "JPEG", quality=95))
    assert np.abs(read.astype(int) - PIXELS).mean() < 4


def test_a_palette_with_transparency_is_read_without_a_warning() -> None:
    image = Image.fromarray(PIXELS).quantize(8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read = decode(saved(image, "PNG", transparency=bytes(range(8))))
    assert np.abs(read.astype(int) - PIXELS).max() <= 8


@pytest.mark.parametrize(
    ("orientation", "turned"),
    [
        (1, PIXELS),
        (2, PIXELS[:, ::-1]),
        (3, PIXELS[::-1, ::-1]),
        (4, PIXELS[::-1]),
        (5, PIXELS.swapaxes(0, 1)),
        (6, np.rot90(PIXELS, -1)),
        (7, PIXELS[::-1, ::-1].swapaxes(0, 1)),
        (8, np.rot90(PIXELS)),
    ],
)
def test_exif_orientation_is_applied(orientation: int, turned: np.ndarray) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    np.testing.assert_array_equal(decode(saved(Image.fromarray(PIXELS), "PNG", exif=exif)), turned)


def test_pixels_without_a_known_range_are_rejected() -> None:
    for pixels in (np.ones((4, 4), np.float32), np.full((4, 4), 70_000, np.int32), np.full((4, 4), -1, np.int32)):
        with pytest.raises(UnreadableImageError, match=r"floating-point|more than 16 bits"):
            decode(saved(Image.fromarray(pixels), "TIFF"))


def test_a_decompression_bomb_is_rejected() -> None:
    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    with pytest.raises(UnreadableImageError, match="decompression bomb"):
        decode(bomb)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP", "BMP", "PPM"])
@pytest.mark.filterwarnings("ignore")
def test_damaged_files_never_raise_an_unexpected_error(kind: str) -> None:
    whole = saved(Image.fromarray(PIXELS), kind)
    generator = np.random.default_rng(0)
    refused = 0
    for trial in range(150):
        damaged = bytearray(whole)
        for place in generator.integers(0, min(len(whole), 120) if trial % 2 else len(whole), 3):
            damaged[place] = int(generator.integers(256))
        try:
            assert decode(bytes(damaged)).shape[2] == 3
        except UnreadableImageError:
            refused += 1
    assert refused > 0
