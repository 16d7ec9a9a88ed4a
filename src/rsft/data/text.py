"""Text files as people's programs save them: in UTF-8, or in UTF-16 or UTF-32 with a mark."""

import codecs
import io
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from rsft.data.regular import open_regular
from rsft.errors import InputError

LINE_END = re.compile(r"\r\n|\r|\n")  # alone: `str.splitlines` also parts at signs that a line may hold
# Mark at the start of a file -> its encoding. That of UTF-16 is the beginning of one of UTF-32.
MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


@contextmanager
def text_file(path: Path) -> Iterator[TextIO]:
    """Open a text file in the encoding that its mark tells, UTF-8 without one; line ends are left as they are.

    Args:
        path: A regular file: a pipe could block, and a device would never end.

    Raises:
        InputError: The file does not exist or cannot be read, there or within the block, or it is in another encoding.
    """
    encoding = "utf-8"
    try:
        with open_regular(path) as file:
            start = file.read(4)
            encoding = next((name for mark, name in MARKS.items() if start.startswith(mark)), encoding)
            file.seek(0)
            with io.TextIOWrapper(file, encoding, newline="") as text:
                yield text
    except UnicodeError as error:
        raise InputError(_not_text(path, encoding)) from error
    except OSError as error:
        raise InputError(f"cannot read '{path}': {error.strerror or error}.") from error


def read_text(path: Path) -> str:
    """Read a text file, with line ends as newlines; see `text_file`."""
    with text_file(path) as file:
        return file.read().replace("\r\n", "\n").replace("\r", "\n")


def without_lines(path: Path, removed: Collection[int], starts: Collection[int]) -> bytes:
    """Return a text file without some of its rows, in its own encoding and otherwise to the byte.

    Args:
        path: The file.
        removed: Lines at which the rows to remove begin, from 1.
        starts: Lines at which any row begins. A row reaches to the next one.
    """
    kept, keep = [], True
    with text_file(path) as file:
        for number, line in enumerate(file, 1):
            keep = number not in removed if number in starts else keep
            if keep:
                kept.append(line)
        return "".join(kept).encode(file.encoding)


def _not_text(path: Path, encoding: str) -> str:
    """Return the message for a file that is not in its encoding, with the first line that is not."""
    if not encoding.startswith("utf-8"):
        return f"cannot read '{path}': its mark says {encoding.upper()}, and it is not. Save it as UTF-8."
    with open_regular(path) as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                byte = f"byte {error.object[error.start]:#04x}"
                return f"cannot read '{path}' line {number}: its {byte} is not of UTF-8. Save the file as UTF-8."
    return f"cannot read '{path}': it is not UTF-8. Save it as UTF-8."
