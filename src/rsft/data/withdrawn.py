"""Data sets of faces that their makers have withdrawn, recognised by the names that they leave behind."""

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

# Of the name of a file, its folder or the one above.
NAMES = {
    "MS-Celeb-1M": r"ms1m|ms-?celeb|faces_emore|faces_glintasia_ms1m",
    "MegaFace": r"megaface",
    "VGGFace2": r"vgg-?_?face_?2|faces_vgg",
}
# Of the folders that identities have in them: Freebase ids, Flickr ids, numbers of VGG.
IDENTITIES = {
    "MS-Celeb-1M": re.compile(r"m\.0[0-9a-z_]{2,}"),
    "MegaFace": re.compile(r"\d{5,}@N\d{2}"),
    "VGGFace2": re.compile(r"n\d{6}"),
}
# Number of identities, as insightface's `property` beside a `.rec` tells it.
COUNTS = {85164: "MS-Celeb-1M", 85742: "MS-Celeb-1M", 93431: "MS-Celeb-1M", 672057: "MegaFace", 8631: "VGGFace2"}
MOST = 0.9  # of the identities have names of one form
MIN_IDENTITIES = 3
LIST_BYTES = 1 << 16


def withdrawn_set(path: Path, identities: Sequence[str]) -> str | None:
    """The withdrawn data set that pictures seem to be of, and why: "MS-Celeb-1M, by the names of its folders".

    A sign, not a proof: sets are renamed, and others may name their folders likewise.

    Args:
        path: what the pictures were listed from.
        identities: of the pictures.
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
    """The folders that the `.lst` beside a `.rec` names pictures in, of its first `LIST_BYTES`."""
    if path.suffix.lower() != ".rec":
        return set()
    try:
        with open(path.with_suffix(".lst"), "rb") as file:
            lines = file.read(LIST_BYTES).decode("utf-8", "replace").splitlines()[:-1]
    except OSError:
        return set()
    named = (PurePosixPath(field) for line in lines for field in line.split("\t") if "/" in field)
    return {name.parent.name for name in named}


def _property(path: Path) -> int | None:
    """The number of identities that insightface's `property` beside a `.rec` tells: `85742,112,112`."""
    try:
        text = (path.parent / "property").read_text(encoding="ascii") if path.suffix.lower() == ".rec" else ""
        return int(text.split(",")[0])
    except (OSError, ValueError):
        return None
