"""Passages of several kinds of text from Debian's packages of documentation, for `text.py`.

Unpack the packages into a folder, and let `RSFT_TEXT` name it; nothing is installed:

    apt-get download manpages manpages-dev perl-doc python3.11-doc dict-foldoc dict-jargon fortunes
    for package in *.deb; do dpkg-deb -x $package texts; done
    export RSFT_TEXT=$PWD/texts
"""

import gzip
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

TOKENS = re.compile(r"\w+|[^\w\s]+")
SHORTEST, LONGEST = 110, 220  # tokens of a passage; DSIR takes documents of 100 tokens or more
TUTORIALS = ("tutorial", "howto", "faq", "whatsnew")  # the prose of Python's documentation: the target


def man(content: str) -> list[str]:
    """Paragraphs of a manual page in troff."""
    lines = []
    for line in content.splitlines():
        if line.startswith((".PP", ".P", ".SH", ".TP", ".IP", ".SS")) and not line.startswith(".TP"):
            lines.append("")
        elif re.match(r"[.'](B|I|BR|BI|IR|RB|RI|IB)\b", line):
            lines.append(line.split(" ", 1)[1] if " " in line else "")
        elif not line.startswith((".", "'")):
            lines.append(line)
    text = re.sub(r"\\f.|\\&|\\\||\\%|\\/", "", "\n".join(lines))
    return re.sub(r"\\\-|\\\(en|\\\(em", "-", text).replace('"', "").split("\n\n")


def perl(content: str) -> list[str]:
    """Paragraphs of Perl's plain old documentation."""
    kept = [part for part in content.split("\n\n") if not part.startswith("=")]
    return [re.sub(r"[A-Z]<+ ?(.*?) ?>+", r"\1", part) for part in kept]


def python(content: str) -> list[str]:
    """Paragraphs of reStructuredText."""
    text = re.sub(r":[a-z:]+:`[~!.]?([^`<]*)[^`]*`", r"\1", content)
    return [part for part in text.split("\n\n") if not part.lstrip().startswith("..")]


def entries(content: str) -> list[str]:
    """Entries of a dictionary, each a head and an indented body."""
    return re.split(r"\n(?=\S)", content)


def sayings(content: str) -> list[str]:
    """Fortune cookies."""
    return content.split("\n%\n")


SOURCES: dict[str, tuple[str, Callable[[str], list[str]]]] = {
    "manual pages": ("usr/share/man/man[1-8]/*.gz", man),
    "Perl": ("usr/share/perl/*/pod/*.pod", perl),
    "Python, reference": ("usr/share/doc/python3*/html/_sources/*/*.txt", python),
    "dictionary": ("usr/share/dictd/foldoc.dict.dz", entries),
    "jargon": ("usr/share/dictd/jargon.dict.dz", entries),
    "sayings": ("usr/share/games/fortunes/*", sayings),
}
TARGET = "Python, tutorials"


def passages(root: Path) -> dict[str, list[tuple[str, str]]]:
    """Return kind of text -> (file, passage) of each of its passages; none comes twice."""
    found: dict[str, list[tuple[str, str]]] = {name: [] for name in (*SOURCES, TARGET)}
    seen: set[str] = set()
    for name, (pattern, parse) in SOURCES.items():
        for path in sorted(root.glob(pattern)):
            if path.is_symlink() or path.suffix in (".dat", ".u8") or not path.is_file():
                continue
            packed = path.read_bytes()
            content = (gzip.decompress(packed) if path.suffix in (".gz", ".dz") else packed).decode("utf-8", "replace")
            kind = TARGET if path.parent.name in TUTORIALS else name
            for passage in joined(parse(content)):
                if passage not in seen:
                    seen.add(passage)
                    found[kind].append((str(path.relative_to(root)), passage))
    return found


def joined(paragraphs: Sequence[str]) -> Iterator[str]:
    """Yield passages of `SHORTEST` to `LONGEST` tokens, of neighbouring paragraphs; what is left over is left out."""
    waiting: list[str] = []
    for paragraph in paragraphs:
        waiting += TOKENS.findall(paragraph)
        while len(waiting) >= SHORTEST:
            yield " ".join(waiting[:LONGEST])
            waiting = waiting[LONGEST:]


def dealt(files: Sequence[str], parts: int, seed: int) -> np.ndarray:
    """Deal passages out to parts by their files, so that no file is in two: (N,) int in 0 ... parts - 1."""
    names, number = np.unique(files, return_inverse=True)
    return np.random.default_rng(seed).permutation(np.arange(len(names)) % parts)[number]
