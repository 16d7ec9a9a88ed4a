"""The columns that readers know, and names that are meant for one of them but are not its own.

A column that differs from one that is known by its case or by blanks around it is that column. Other names are not
guessed at: what looks like a known column that is absent is refused, since it would otherwise count as an attribute.
"""

from collections.abc import Collection, Sequence
from difflib import get_close_matches
from pathlib import Path

from rsft.errors import InputError

PATH, IDENTITY, CLIP, FOLD, TEMPLATE = "path", "identity", "clip", "fold", "template"
ALIKE = 0.8  # least likeness of two names, by `difflib`, to ask whether one is meant by the other
# What other programs call these columns, in lower case, with blanks and hyphens as underscores.
OTHERS = {
    PATH: (
        "file", "filename", "file_name", "filepath", "file_path", "fname", "image", "image_id", "image_path", "images",
        "img", "img_path", "impath", "name", "photo", "picture", "relpath", "src",
    ),
    IDENTITY: (
        "celebrity", "class", "class_id", "classid", "cls", "face_id", "id", "id_name", "identity_id", "identity_name",
        "identities", "label", "labels", "name", "person", "person_id", "person_name", "personid", "pid", "sid",
        "subject", "subject_id", "subjectid", "who",
    ),
    "a": ("file1", "first", "image1", "image_1", "img1", "img_1", "left", "path1", "path_1", "path_a", "person1"),
    "b": ("file2", "second", "image2", "image_2", "img2", "img_2", "right", "path2", "path_2", "path_b", "person2"),
    "same": ("genuine", "is_same", "issame", "label", "labels", "match", "pair_label", "same_person", "target", "y"),
    FOLD: ("folds", "fold_id", "fold_no", "foldid", "split"),
    TEMPLATE: ("template_id", "templateid", "templates", "tid"),
}  # fmt: skip


def spelled(names: Sequence[str], known: Collection[str], path: Path) -> list[str]:
    """Return the names of columns without blanks around them, those that are known as they are known.

    Args:
        names: Names of all columns of a file.
        known: Names of the columns that its reader knows.
        path: The file, for the message.

    Raises:
        InputError: Two columns have the same name.

    >>> spelled([" Path", "Light "], ["path"], Path("list.csv"))
    ['path', 'Light']
    """
    plain = {name.casefold(): name for name in known}
    found = [plain.get(name.strip().casefold(), name.strip()) for name in names]
    twice = next((name for place, name in enumerate(found) if name in found[:place]), None)
    if twice is not None:
        raise InputError(f"'{path}' needs columns with unique names, but a name occurs twice: '{twice}'.")
    return found


def near_miss(column: str, names: Collection[str]) -> str | None:
    """Return the name that looks most like it is meant for a column which is absent, or None.

    >>> near_miss("identity", ["path", "Person-ID"]), near_miss("identity", ["identty"]), near_miss("path", ["a"])
    ('Person-ID', 'identty', None)
    """
    plain = {name.strip().casefold().replace(" ", "_").replace("-", "_"): name for name in names}
    other = next((plain[name] for name in OTHERS.get(column, ()) if name in plain), None)
    if other is not None or len(column) < 3:
        return other
    return next((plain[name] for name in get_close_matches(column, plain, 1, ALIKE)), None)


def check_columns(names: Sequence[str], required: Sequence[str], optional: Sequence[str], path: Path) -> None:
    """Raise `InputError` if a required column is absent, or an optional one whose place another name seems to take.

    Args:
        names: Names of the columns of a file, as `spelled` returns them.
        required: Columns that must be there.
        optional: Columns that may be absent.
        path: The file, for the message.
    """
    free = [name for name in names if name not in {*required, *optional}]
    absent = [name for name in required if name not in names]
    meant = {column: near_miss(column, free) for column in absent}
    offered = [f"'{name}' to '{column}'" for column, name in meant.items() if name is not None]
    if absent:
        there = ", ".join(names) or "none"
        needs = f"a column '{absent[0]}'" if len(required) == 1 else f"the columns {','.join(required)}"
        lacks = f", got {there}" if len(required) == 1 else f": it lacks {', '.join(absent)}; it has {there}"
        rename = f" Rename {', '.join(offered)}, if that is meant." if offered else ""
        raise InputError(f"'{path}' needs {needs}{lacks}.{rename}")
    for column in optional:
        if column not in names and (name := near_miss(column, free)) is not None:
            raise InputError(
                f"'{path}' has a column '{name}' and none named '{column}': rename it to '{column}' if that is meant, "
                "otherwise to something unlike it."
            )
