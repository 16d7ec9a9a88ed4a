"""Pictures from cameras and tools become upright 8-bit RGB, or are rejected with a reason."""

import io
import os
import signal
import struct
import threading
import time
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rsft.data import decoding
from rsft.data.decoding import BRIGHT_16, MAX_PIXELS, MAX_SIDE, PixelBudget, decode, decoded
from rsft.errors import UnreadableImageError

# the left half is dark, the right half is bright, and one corner is red
PIXELS = np.zeros((16, 24, 3), np.uint8) + np.where(np.arange(24) < 12, 40, 200).astype(np.uint8)[None, :, None]
PIXELS[:4, :4] = 200, 30, 30


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def colours_of_16_bits(pixels: np.ndarray) -> bytes:
    """Return a PNG of pixels (H, W, 3) uint16, which Pillow reads but does not write."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 16, 2, 0, 0, 0)
    rows = zlib.compress(b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


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
    grey = np.tile(np.arange(256, dtype=np.int32), (4, 1))
    for pixels in (grey, 257 * grey):  # they may mean 8, 16 or 32 bits
        with pytest.raises(UnreadableImageError, match="no known range"):
            decode(saved(Image.fromarray(pixels), "TIFF"))


@pytest.mark.parametrize("bits", [8, 10, 12, 14])
def test_fewer_bits_within_16_are_refused_where_the_file_does_not_tell(bits: int) -> None:
    grey = np.linspace(0, (1 << bits) - 1, 16 * 24).reshape(16, 24).astype(np.uint16)
    for stored in (
        saved(Image.fromarray(grey), "PNG"),
        saved(Image.fromarray(grey), "TIFF"),
        saved(Image.fromarray(grey.astype(">u2")), "TIFF"),
        colours_of_16_bits(np.repeat(grey[:, :, None], 3, 2)),
        b"P5 24 16 65535\n" + grey.astype(">u2").tobytes(),
    ):
        with pytest.raises(UnreadableImageError, match=rf"16 bits, but none is above \d+, which fits into {bits}"):
            decode(stored)
    kind = ">u2" if bits > 8 else "u1"
    told = decode(b"P5 24 16 %d\n" % grey.max() + grey.astype(kind).tobytes())  # its header tells the brightest level
    assert told.max() == 255
    grey[0, 0] = BRIGHT_16
    assert decode(saved(Image.fromarray(grey), "PNG")).max() == 64
    assert decode(saved(Image.fromarray(0 * grey), "PNG")).max() == 0


def test_colours_of_16_bits_keep_their_upper_8() -> None:
    np.testing.assert_array_equal(decode(colours_of_16_bits(PIXELS * np.uint16(257))), PIXELS)


def test_a_tiff_of_12_bits_is_read_in_its_range() -> None:
    levels = np.linspace(0, 4095, 16 * 24).round().astype(int)
    bits = "".join(f"{level:012b}" for level in levels)
    strip = int(bits, 2).to_bytes(len(bits) // 8, "big")
    tags = {256: 24, 257: 16, 258: 12, 259: 1, 262: 1, 273: 8 + 2 + 9 * 12 + 4, 277: 1, 278: 16, 279: len(strip)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    tiff = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + struct.pack("<I", 0) + strip
    np.testing.assert_array_equal(decode(tiff)[:, :, 0], (levels >> 4).reshape(16, 24))


def test_one_bit_and_one_frame_are_pictures_and_several_frames_are_refused() -> None:
    one = Image.fromarray(PIXELS)
    for kind in ("PNG", "TIFF"):
        assert set(decode(saved(one.convert("L").point(lambda level: 255 * (level > 99)).convert("1"), kind)).flat) == {
            0,
            255,
        }
    for kind in ("GIF", "PNG", "WEBP", "TIFF"):
        assert np.abs(decode(saved(one, kind, quality=100)).astype(int) - PIXELS).mean() < 8
        several = saved(one, kind, save_all=True, append_images=[one.transpose(Image.Transpose.FLIP_LEFT_RIGHT)])
        with pytest.raises(UnreadableImageError, match="an animation or has several pages"):
            decode(several)


def test_a_page_that_a_program_would_draw_is_no_picture() -> None:
    """Pillow would run Ghostscript on it."""
    with pytest.raises(UnreadableImageError, match="not an image file"):
        decode(saved(Image.fromarray(PIXELS), "EPS"))


def test_a_large_picture_is_converted_in_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "STRIP_PIXELS", 5 * 24)
    grey = np.linspace(0, 65535, 16 * 24).reshape(16, 24).astype(np.uint16)
    np.testing.assert_array_equal(decode(saved(Image.fromarray(grey), "PNG"))[:, :, 0], grey >> 8)
    for mode in ("RGB", "RGBA", "P"):
        image = Image.fromarray(PIXELS).quantize(8) if mode == "P" else Image.fromarray(PIXELS).convert(mode)
        assert np.abs(decode(saved(image, "PNG")).astype(int) - PIXELS).max() <= 3


@pytest.mark.parametrize("size", [(60_000, 60_000), (60_000, 2), (2, MAX_SIDE + 1)])
def test_a_size_that_cannot_be_used_is_refused_by_the_header(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "_pixels", None)
    with pytest.raises(UnreadableImageError, match=f"{size[0]} x {size[1]} pixels|decompression bomb"):
        decode(b"P5 %d %d 255\n" % size)


def test_threads_hold_no_more_pixels_together_than_the_largest_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight threads open pictures of which two fit."""
    assert decoding.BUDGET.total == MAX_PIXELS
    monkeypatch.setattr(decoding, "BUDGET", PixelBudget(2 * PIXELS[:, :, 0].size + 1))
    content, lock, held, most = saved(Image.fromarray(PIXELS), "PNG"), threading.Lock(), 0, 0

    def read(_: int) -> None:
        nonlocal held, most
        with decoded(content) as picture:
            with lock:
                held += 1
                most = max(most, held)
            time.sleep(0.005)
            assert picture.shape == PIXELS.shape
            with lock:
                held -= 1

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(read, range(24)))
    assert most == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system does not fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_process_does_not_wait_for_threads_that_it_has_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "BUDGET", PixelBudget(PIXELS[:, :, 0].size))
    content = saved(Image.fromarray(PIXELS), "PNG")
    with decoded(content):
        child = os.fork()
        if not child:
            signal.alarm(20)
            decode(content)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0


def test_a_damaged_picture_gives_its_pixels_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "BUDGET", PixelBudget(PIXELS[:, :, 0].size))
    whole = saved(Image.fromarray(PIXELS), "PNG")
    for _ in range(3):
        with pytest.raises(UnreadableImageError):
            decode(whole[:-40])
    assert decode(whole).shape == PIXELS.shape


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
