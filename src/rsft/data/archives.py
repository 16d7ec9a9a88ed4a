"""Pictures in uncompressed `.tar` archives: folders of identities, or shards of samples as WebDataset writes them.

Members are never extracted: a picture is read from where it lies in the archive, and its name is no path on disk.
"""

import json
import re
import tarfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from rsft.data.listing import SUFFIXES, Listing, Part, item_id, read_source
from rsft.errors import InputError

RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
LABEL_KEYS = ("identity", "cls", "label")
MAX_SHARDS = 100_000
MAX_LABEL_SIZE = 1 << 20  # bytes of a .cls or .json


def list_tar(path: Path) -> Listing:
    """The pictures of an archive: of its folders, or of its samples if any has a `.cls`."""
    found = _members(path)
    if any(name.endswith(".cls") for name in found):
        return list_shards([path])
    pictures = {name: part for name, part in found.items() if PurePosixPath(name).suffix.lower() in SUFFIXES}
    return Listing(list(pictures), list(pictures.values()))


def is_pattern(path: Path) -> bool:
    """Whether a path names several shards, as in `shard-{000..012}.tar`."""
    return RANGE.search(path.name) is not None


def expand(pattern: Path) -> list[Path]:
    """The paths that a pattern stands for.

    Raises:
        InputError: the range is empty, or longer than `MAX_SHARDS`.

    >>> [path.name for path in expand(Path("shard-{08..10}.tar"))]
    ['shard-08.tar', 'shard-09.tar', 'shard-10.tar']
    """
    match = RANGE.search(pattern.name)
    if match is None:
        return [pattern]
    first, last = (int(number) for number in match.groups())
    if not first <= last < first + MAX_SHARDS:
        raise InputError(f"'{pattern}' needs a range of 1 to {MAX_SHARDS} shards, such as shard-{{000..012}}.tar.")
    names = (
        pattern.name[: match.start()] + f"{number:0{len(match[1])}d}" + pattern.name[match.end() :]
        for number in range(first, last + 1)
    )
    return [path for name in names for path in expand(pattern.with_name(name))]


def list_shards(paths: Sequence[Path]) -> Listing:
    """The samples of shards: members with one name up to the first dot.

    A sample has one picture. Its `.json` is like a row of a manifest: `identity`, `cls` or `label`; `path`; attributes.
    A `.cls` tells the identity where that does not.

    Raises:
        InputError: a shard is missing or damaged, or a sample has two pictures or a label that cannot be read.
    """
    ids, sources, rows = [], [], []
    for path in paths:
        if not path.is_file():
            raise InputError(f"the shard '{path}' does not exist: {len(paths)} are named by the pattern.")
        for key, sample in _samples(path).items():
            pictures = [kind for kind in sample if f".{kind.rpartition('.')[2].lower()}" in SUFFIXES]
            if len(pictures) > 1:
                raise InputError(f"'{path}': the sample '{key}' needs one picture, got {len(pictures)}.")
            if pictures:
                identity, name, row = _row(sample, key, path)
                name = str(PurePosixPath(name or f"{key}.{pictures[0]}"))
                ids.append(item_id(identity, name, path))
                sources.append(sample[pictures[0]])
                rows.append(row)
    names = sorted({name for row in rows for name in row})
    return Listing(ids, sources, {name: [row.get(name, "") for row in rows] for name in names})


def _samples(path: Path) -> dict[str, dict[str, Part]]:
    """Name up to the first dot -> rest of the name -> where the member lies."""
    samples: dict[str, dict[str, Part]] = {}
    for name, part in _members(path).items():
        folder, slash, base = name.rpartition("/")
        stem, _, kind = base.partition(".")
        samples.setdefault(folder + slash + stem, {})[kind] = part
    return samples


def _row(sample: dict[str, Part], key: str, path: Path) -> tuple[str | None, str | None, dict[str, str]]:
    """Identity, path and attributes that the `.json` and the `.cls` of a sample tell, as text."""
    labels = {kind: sample[kind] for kind in ("cls", "json") if kind in sample}
    for kind, part in labels.items():
        if part.size > MAX_LABEL_SIZE:
            raise InputError(f"'{path}': '{key}.{kind}' has {part.size} bytes, which is no label.")
    try:
        row: Any = json.loads(read_source(labels["json"])) if "json" in labels else {}
        label = read_source(labels["cls"]).decode().strip() if "cls" in labels else None
    except (ValueError, RecursionError) as error:
        raise InputError(f"'{path}': the label of '{key}' cannot be read: {error}.") from error
    if not isinstance(row, dict):
        raise InputError(f"'{path}': '{key}.json' needs an object with names and values.")
    told = {name: str(value) for name, value in row.items() if isinstance(value, str | int | float)}
    named = next((name for name in LABEL_KEYS if name in told), None)
    return label if named is None else told.pop(named), told.pop("path", None), told


def _members(path: Path) -> dict[str, Part]:
    """Name -> where it lies, of the regular files in an archive; the last of one name counts, as in tar."""
    try:
        with tarfile.open(path, "r:") as archive:
            found = {
                str(PurePosixPath(member.name)): Part(path, member.offset_data, member.size)
                for member in archive
                if member.isfile()
            }
            ended = archive.offset < path.stat().st_size
    except (tarfile.TarError, UnicodeDecodeError) as error:
        raise InputError(f"'{path}' is not a whole, uncompressed .tar archive: {error}.") from error
    if not ended:
        raise InputError(f"'{path}' is truncated: the mark at the end of a .tar archive is missing. Copy it again.")
    return found
