"""Seeded mutations of files: bits, lengths, splices, numbers at their extremes, and some that know the format."""

import io
import json
import re
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

Mutation = Callable[[bytes, Random, Sequence[bytes]], bytes]

WORDS = (0, 1, 2, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 40, (1 << 63) - 1, (1 << 64) - 1)
VALUES: tuple[Any, ...] = (
    *(None, True, 0, -1, 1.5, 2**31, 2**63, -(2**63), 10**400, float("nan"), float("inf"), 1e308, [], {}, "", "x"),
    *([[]], [[1, "a"]], {"a": None}, "<script>alert(1)</script>", "\0", "../../x", "/etc/passwd", "é" * 50, [0] * 50),
)
TEXTS = (
    *(
        "",
        "-1",
        "0",
        "1e999",
        "nan",
        "9" * 400,
        "9" * 5000,
        "null",
        "[]",
        "{}",
        "[" * 2000,
        "true",
        '"',
        "'",
        ",",
        "\t",
    ),
    *(
        "=",
        "[x]",
        "\0",
        "\r",
        "\ufeff",
        "../../x",
        "/etc/passwd",
        "__import__('os').system('x')",
        "$\\frac$",
        "%s",
        "C:\\",
    ),
)
MEMBER_KINDS = (tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE)
MEMBER_NAMES = (
    "../../x.png",
    "/etc/x.png",
    "a/../../x.png",
    "..",
    "",
    "a\0b.png",
    "x" * 99,
    "a//./b.png",
    "\\..\\x.png",
)


def flip(content: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
    """Flip a few bits."""
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 8)) if content else 0):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def truncate(content: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
    """Keep the beginning or the end."""
    cut = rng.choice((0, 1, len(content) - 1, rng.randint(0, len(content)), rng.randint(0, len(content))))
    return content[: max(cut, 0)] if rng.random() < 0.8 else content[max(cut, 0) :]


def repeat(content: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
    """Remove a piece, or write it twice."""
    start, end = sorted(rng.randint(0, len(content)) for _ in range(2))
    return content[:start] + content[start:end] * rng.choice((0, 2)) + content[end:]


def splice(content: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
    """Go on as another file, or end with noise."""
    other = rng.choice(others) if others and rng.random() < 0.8 else rng.randbytes(rng.randint(1, 64))
    return content[: rng.randint(0, len(content))] + other[rng.randint(0, len(other)) :]


def word(content: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
    """Set a field of 1, 2, 4 or 8 bytes to an extreme."""
    size = rng.choice((1, 2, 4, 4, 8))
    if len(content) < size:
        return content
    near = rng.choice((len(content), min(len(content), 64)))  # headers are at the beginning
    at = rng.randrange(max(1, near - size + 1))
    value = (rng.choice(WORDS) & (1 << 8 * size) - 1).to_bytes(size, rng.choice(("little", "big")))
    return content[:at] + value + content[at + size :]


def token(content: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
    """Replace a number, a word or a line of text."""
    found = list(
        re.finditer(rng.choice((rb"-?[0-9][0-9.e+-]*", rb'"[^"\n]*"', rb"[A-Za-z_]+", rb"[^\n]*\n?")), content)
    )
    if not found:
        return content
    place = rng.choice(found)
    text = rng.choice(TEXTS).encode() if rng.random() < 0.8 else rng.choice(found)[0]
    return content[: place.start()] + text + content[place.end() :]


def json_value(content: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
    """Replace, remove or rename a value of a JSON document, or of one line of several."""
    lines = content.split(b"\n") if content.count(b"\n{") else [content]
    number = rng.randrange(len(lines))
    try:
        document = [json.loads(lines[number])]
    except (ValueError, RecursionError):
        return token(content, rng, others)
    places: list[tuple[Any, Any]] = [(document, 0)]
    for holder, key in places:
        inner = holder[key]
        places += (
            [(inner, k) for k in (inner if isinstance(inner, dict) else range(min(len(inner), 9)))]
            if isinstance(inner, dict | list)
            else []
        )
    holder, key = rng.choice(places)
    if rng.random() < 0.2 and isinstance(holder, dict):
        value = holder.pop(key)
        if rng.random() < 0.5:
            holder[rng.choice(TEXTS)] = value
    else:
        holder[key] = rng.choice(VALUES)
    lines[number] = json.dumps(document[0]).encode()
    return b"\n".join(lines)


def safetensors_header(content: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
    """Change the header of a safetensors file and keep its length right."""
    if len(content) < 8 or (size := struct.unpack("<Q", content[:8])[0]) > len(content):
        return flip(content, rng, others)
    header = json_value(content[8 : 8 + size], rng, others)
    return struct.pack("<Q", len(header)) + header + content[8 + size :]


def npy_header(content: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
    """Change the header of a `.npy` file and keep its length right."""
    if content[:7] != b"\x93NUMPY\x01" or len(content) < 10:
        return flip(content, rng, others)
    end = 10 + struct.unpack("<H", content[8:10])[0]
    header = token(content[10:end], rng, others)[:60000]
    kinds = (
        b"'<f4'",
        b"'|O'",
        b"'<c16'",
        b"'>f8'",
        b"[('a', '<f4')]",
        b"'<U99999999'",
        b"'<M8[s]'",
        b"'|V0'",
        b"'<i8'",
    )
    if rng.random() < 0.3:
        header = re.sub(rb"'[<>|=]?[a-zA-Z][0-9]*'", rng.choice(kinds), header, count=1)
    return content[:8] + struct.pack("<H", len(header)) + header + content[end:]


def zip_member(content: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
    """Mutate a member of a `.npz`, or write another beside it; its checksums are right."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, OSError, RuntimeError, ValueError):
        return flip(content, rng, others)
    if members:
        name = rng.choice(list(members))
        members[name] = rng.choice((npy_header, word, truncate))(members[name], rng, others)
    if rng.random() < 0.3:
        members[rng.choice(MEMBER_NAMES[:5])] = rng.choice((b"", bytes(1 << 20), content))
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        for name, inner in members.items():
            archive.writestr(name or "x", inner)
    return file.getvalue()


def tar_member(content: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
    """Change the name, kind, size or link of a member of a tar; its checksum is right."""
    if len(content) < 1024:
        return flip(content, rng, others)
    at = 512 * rng.choice(
        [n for n in range(len(content) // 512) if content[512 * n + 257 : 512 * n + 262] == b"ustar"] or [0]
    )
    header = bytearray(content[at : at + 512])
    choice = rng.randrange(4)
    if choice == 0:
        header[:100] = rng.choice(MEMBER_NAMES).encode()[:100].ljust(100, b"\0")
    elif choice == 1:
        header[156:157] = rng.choice((*MEMBER_KINDS, b"L", b"K", b"x", b"g", b"S", b"V", b"7", b"\xff"))
        header[157:257] = rng.choice(("/dev/zero", "../../x", "x.png", "")).encode().ljust(100, b"\0")
    elif choice == 2:
        header[124:136] = rng.choice(
            (b"77777777777\0", b"-0000000001\0", b"\x80" + b"\xff" * 11, b"00000000000\0", b" " * 12)
        )
    else:
        field = rng.randrange(512)
        header[field : field + 8] = rng.randbytes(len(header[field : field + 8]))
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % (sum(header) & 0o777777)
    return content[:at] + bytes(header) + content[at + 512 :]


ANY: tuple[Mutation, ...] = (flip, flip, truncate, repeat, splice, word, word)
TEXT: tuple[Mutation, ...] = (flip, truncate, repeat, splice, token, token, token, json_value)
OF_SUFFIX: dict[str, tuple[Mutation, ...]] = {
    **dict.fromkeys((".json", ".jsonl"), (*TEXT, json_value, json_value, json_value)),
    **dict.fromkeys((".toml", ".csv", ".txt", ".idx", ".lst"), TEXT),
    ".safetensors": (*ANY, *[safetensors_header] * 6),
    ".npy": (*ANY, *[npy_header] * 6),
    ".npz": (*ANY, *[zip_member] * 6),
    ".pt": (*ANY, *[zip_member] * 2),
    ".tar": (*ANY, *[tar_member] * 12),
}


def mutate(name: str, content: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
    """Return the content of a file after one to three mutations that fit the suffix of its name."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        content = rng.choice(OF_SUFFIX.get(name[name.rfind(".") :], ANY))(content, rng, others)
    return content
