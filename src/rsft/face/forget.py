"""`rsft forget`: find the runs that used a person, and remove the person from manifests."""

import io
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.compute
import pyarrow.parquet

from rsft.data.column_names import IDENTITY, PATH, spelled
from rsft.data.composition import spellings
from rsft.data.features import DESCRIPTION_FILE, Description
from rsft.data.listing import identity_of
from rsft.data.reading import read_json, reading
from rsft.data.table import column_names, read_table
from rsft.data.text import without_lines
from rsft.disk.whole import replace_file
from rsft.errors import InputError, did_you_mean
from rsft.face.runs.pseudonyms import Pseudonyms
from rsft.report.run import ACCEPTED_FILE, CONFIG_FILE
from rsft.types import PathLike

OF_RUN = "part of the output of a run"
NAMED_COLUMNS = (PATH, "a", "b")  # columns with pictures, in a manifest or in a list of pairs


def forget(
    identity: str, runs: Sequence[PathLike], manifests: Sequence[PathLike] = ()
) -> dict[str, list[dict[str, Any]]]:
    """Find the runs that used a person, and remove the person from manifests.

    Weights cannot be made to forget: a model that was tuned on the person must be tuned again without the person. A run
    does not record the people that were only evaluated, so they are not found.

    Args:
        identity: Name of the person, as in the pool.
        runs: Run folders, and outputs of `rsft plan --out` or `rsft embed`.
        manifests: Tables with the columns `path[,identity]`, or pairs `a,b`. A file that names the person
            is rewritten without these rows. An interruption leaves either the old file or the new one. All files are
            read before the first is written.

    Returns:
        A dictionary that can be written as JSON. "runs" has an entry for each run: "run", its path; "pictures", the
        number of pictures of the person in its pool; "accepted", the number of them accepted in the first epoch;
        "trained", the number of times they were trained on; and "through", the earlier run that this run started from,
        if that one used the person. "accepted" and "trained" are None if the folder does not record them. "manifests"
        has an entry for each manifest: "manifest", its path, and the numbers of rows "removed" and "kept".

    Raises:
        InputError: `identity` is empty or has a "/", nothing names the person, a folder is not such an output, its salt
            cannot be read, or a manifest cannot be read or would become empty. If nothing names the person, the message
            offers near names; of a run with hashes it only can try the spellings of `_variants`.
    """
    if not identity or "/" in identity:
        raise InputError(f"`identity` must be a name as in the pool, without '/', got '{identity}'.")
    if not runs and not manifests:
        raise InputError("name the runs to look into, or the manifests to rewrite.")
    told = [_use(identity, Path(run)) for run in runs]
    written = [(Path(manifest), *_without(identity, Path(manifest))) for manifest in manifests]
    if not any(use["pictures"] or use["through"] for use in told) and not any(removed for _, _, removed, _ in written):
        raise InputError(_nobody(identity, [Path(run) for run in runs], [Path(manifest) for manifest in manifests]))
    for path, content, removed, _ in written:
        if removed:
            replace_file(path, content)
    return {
        "runs": told,
        "manifests": [{"manifest": str(path), "removed": removed, "kept": kept} for path, _, removed, kept in written],
    }


def _use(identity: str, run: Path) -> dict[str, Any]:
    """Return how a run used a person: one entry of "runs" in the result of `forget`."""
    spelt = spellings(identity)
    if (run / ACCEPTED_FILE).is_file():
        with reading(run / ACCEPTED_FILE, OF_RUN):
            rows = pyarrow.parquet.read_table(run / ACCEPTED_FILE)
            pseudonyms = _pseudonyms(rows, run)
            named = pyarrow.array({pseudonyms(name) for name in spelt}, rows.schema.field(IDENTITY).type)
            mine = rows.filter(pyarrow.compute.is_in(rows[IDENTITY], value_set=named))
            trained = sum(mine["times_trained"].to_pylist()) if "times_trained" in mine.column_names else None
            use = {"pictures": len(mine), "accepted": sum(mine["accepted"].to_pylist()), "trained": trained}
    elif (run / DESCRIPTION_FILE).is_file():
        items = read_json(run / DESCRIPTION_FILE, Description, OF_RUN).items
        use = {"pictures": sum(identity_of(item) in spelt for item in items), "accepted": None, "trained": None}
    else:
        raise InputError(f"'{run}' is not the output of a run: it has neither {ACCEPTED_FILE} nor {DESCRIPTION_FILE}.")
    return {"run": str(run), **use, "through": _through(identity, run)}


def _nobody(identity: str, runs: Sequence[Path], manifests: Sequence[Path]) -> str:
    """Say that nothing names a person, with near names of those that are there."""
    names, hashed = set[str](), 0
    for run in runs:
        if (run / ACCEPTED_FILE).is_file():
            rows = pyarrow.parquet.read_table(run / ACCEPTED_FILE)
            pseudonyms, there = _pseudonyms(rows, run), set(map(str, rows[IDENTITY].to_pylist()))
            hashed += pseudonyms.salt is not None
            names |= {name for name in _variants(identity) if pseudonyms(name) in there} if pseudonyms.salt else there
        else:
            names |= set(map(identity_of, read_json(run / DESCRIPTION_FILE, Description, OF_RUN).items))
    for path in manifests:
        header = spelled(column_names(path), NAMED_COLUMNS, path)
        named = [name for name in NAMED_COLUMNS if name in header]
        table = read_table(path, named, [IDENTITY] if PATH in named else [])
        if IDENTITY in table.columns:
            names |= set(table.labels(IDENTITY))
        else:
            names |= {identity_of(item) for name in named for item in table.paths(name)}
    of = f"{len(runs)} runs and {len(manifests)} manifests"
    unseen = f" {hashed} of the runs have hashes for names: no near name can be found in them." if hashed else ""
    return f"no such person: none of the {of} names '{identity}'{did_you_mean(identity, names, 3)}.{unseen}"


def _variants(identity: str) -> set[str]:
    """Return other spellings of a name: in capitals or not, and with other signs between its words."""
    words = [identity.replace(" ", sign).replace("_", sign).replace("-", sign) for sign in " _-"]
    return {variant for word in (identity, *words) for variant in (word, word.lower(), word.upper(), word.title())}


def _pseudonyms(rows: pyarrow.Table, run: Path) -> Pseudonyms:
    """Return the mapping from names to the names used in a run."""
    return Pseudonyms.of_run(run, hashed=(rows.schema.metadata or {}).get(b"ids") == b"hashed")


def _through(identity: str, run: Path) -> str | None:
    """Return the run that this run started from, if that one used the person itself or through another run."""
    if not (run / CONFIG_FILE).exists():
        return None
    with reading(run / CONFIG_FILE, OF_RUN):
        model = Path(tomllib.loads((run / CONFIG_FILE).read_text(encoding="utf-8")).get("model", ""))
        start = model.parent if model.name == "model" else model
        if not (start / ACCEPTED_FILE).is_file() or start.resolve() == run.resolve():
            return None
    before = _use(identity, start)
    return str(start) if before["trained"] or before["through"] else None


def _without(identity: str, path: Path) -> tuple[bytes, int, int]:
    """Return a manifest without the rows that name a person, and the numbers of rows removed and kept."""
    header = spelled(column_names(path), NAMED_COLUMNS, path)
    named = [name for name in NAMED_COLUMNS if name in header]
    if not named:
        raise InputError(f"'{path}' names no pictures: it has none of the columns {', '.join(NAMED_COLUMNS)}.")
    # of a list of pairs, no column says who is in a picture
    table = read_table(path, named, [IDENTITY] if PATH in named else [])
    # a person may be named like a missing value, so the text counts too
    told = [table.labels(IDENTITY), table.text(IDENTITY)] if IDENTITY in table.columns else []
    items, spelt = [table.paths(name) for name in named], spellings(identity)

    def names(row: int) -> bool:
        if told:
            return any(name[row] in spelt for name in told)
        return any(identity_of(of_column[row]) in spelt for of_column in items)

    keep = [not names(row) for row in range(len(table))]
    if keep and not any(keep):
        raise InputError(f"'{path}' names '{identity}' in all of its {len(keep)} rows: remove the file itself.")
    if table.lines is None:
        output = io.BytesIO()
        pyarrow.parquet.write_table(pyarrow.parquet.read_table(path).filter(pyarrow.array(keep)), output)
        return output.getvalue(), len(keep) - sum(keep), sum(keep)
    removed = {line for row, line in enumerate(table.lines) if not keep[row]}
    return without_lines(path, removed, set(table.lines)), len(keep) - sum(keep), sum(keep)
