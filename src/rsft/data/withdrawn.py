"""Recognition of withdrawn face data sets by the names of their files and identities."""

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from rsft.data.regular import open_regular

# Patterns for the name of the file, of its folder or of the folder above.
NAMES = {
    "MS-Celeb-1M": r"ms1m|ms-?celeb|faces_emore|faces_glintasia_ms1m",
    "MegaFace": r"megaface",
    "VGGFace2": r"vgg-?_?face_?2|faces_vgg",
}
# Patterns for the names of identities: Freebase ids, Flickr ids, VGGFace2's numbers.
IDENTITIES = {
    "MS-Celeb-1M": re.compile(r"m\.0[0-9a-z_]{2,}"),
    "MegaFace": re.compile(r"\d{5,}@N\d{2}"),
    "VGGFace2": re.compile(r"n\d{6}"),
}
# Number of identities that insightface's `property` file beside a `.rec` states.
COUNTS = {85164: "MS-Celeb-1M", 85742: "MS-Celeb-1M", 93431: "MS-Celeb-1M", 672057: "MegaFace", 8631: "VGGFace2"}
MOST = 0.9  # minimum share of the identities whose names match one pattern
MIN_IDENTITIES = 3
LIST_BYTES = 1 << 16


def withdrawn_set(path: Path, identities: Sequence[str]) -> str | None:
    """Guess whether pictures belong to a face data set that its authors have withdrawn.

    The guess uses names only, so it can be wrong: a withdrawn set may have been renamed, and another set may use the
    same kind of names.

    Args:
        path: Path that the pictures were listed from.
        identities: Identities of the pictures.

    Returns:
        The name of the set and the reason, such as "MS-Celeb-1M, by the names of its identities"; None if nothing
        points to a withdrawn set.
    """
    places = " ".join([path.absolute().name, path.absolute().parent.name, path.absolute().parent.parent.name]).lower()
    for name, form in NAMES.items():
        if re.search(form, places):
            return f"{name}, by the name of its file or folder"
    for people, where in ((set(identities), "of its identities"), (_listed(path), "in its .lst")):
        for name, pattern in IDENTITIES.items():
            like = sum(pattern.fullmatch(person) is not None for person in people)
            if len(people) >= MIN_IDENTITIES and like >= MOST * len(people):
                return f"{name}, by the names {where}"
    count = _property(path)
    return f"{COUNTS[count]}, by the number of identities in '{path.parent / 'property'}'" if count in COUNTS else None


def _listed(path: Path) -> set[str]:
    """Return the picture folders that the first `LIST_BYTES` bytes of the `.lst` beside a `.rec` name."""
    if path.suffix.lower() != ".rec":
        return set()
    try:
        with open_regular(path.with_suffix(".lst")) as file:
            lines = file.read(LIST_BYTES).decode("utf-8", "replace").splitlines()[:-1]
    except OSError:
        return set()
    named = (PurePosixPath(field) for line in lines for field in line.split("\t") if "/" in field)
    return {name.parent.name for name in named}


def _property(path: Path) -> int | None:
    """Return the number of identities in insightface's `property` file beside a `.rec`, such as `85742,112,112`."""
    try:
        if path.suffix.lower() != ".rec":
            return None
        with open_regular(path.parent / "property") as file:
            return int(file.read(LIST_BYTES).decode("ascii").split(",")[0])
    except (OSError, ValueError):
        return None
