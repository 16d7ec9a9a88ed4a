"""`config.toml` of a run of `rsft fit`: all that it takes to make the run again."""

import json
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from rsft.data.apart import resolved
from rsft.data.reading import checked, reading
from rsft.errors import InputError
from rsft.face.adaptation.recipe import Recipe
from rsft.face.runs.inputs import Sources
from rsft.face.runs.made_with import made_with
from rsft.face.runs.pseudonyms import Pseudonyms
from rsft.report.run import ACCEPTED_FILE, CONFIG_FILE, METRICS_FILE, PLAN_FILE

KIND = "the config.toml of a run of `rsft fit`"


class RunConfig(BaseModel):
    """What `config.toml` holds; entries of other versions of rsft are let through.

    Attributes:
        started_in: The working directory of the run, relative to its folder, if it is that folder or lies above it.
        groups: The attribute whose groups were evaluated.
        inputs: Name of each input -> its number of items and the pseudonym of a digest; see `noted_inputs`.
        made_with: See `rsft.face.runs.made_with`.

    The other attributes are those of `Sources`, the seed and the recipe.
    """

    model_config = ConfigDict(strict=True)

    pool: str
    target: str
    evaluation: str
    model: str
    evaluation_root: str | None = None
    retain: str | None = None
    retain_root: str | None = None
    attributes: str | None = None
    landmarks: str | None = None
    aligned: bool = False
    allow_overlap: bool = False
    drop_overlap: bool = False
    groups: str | None = None
    started_in: str | None = None
    seed: int
    recipe: dict[str, Any]
    inputs: dict[str, tuple[int, str]] = {}
    made_with: dict[str, str | int] = {}


def run_config(
    sources: Sources,
    recipe: Recipe,
    *,
    seed: int,
    groups: str | None,
    out: Path,
    noted: Mapping[str, tuple[int, str]],
    pseudonym: Pseudonyms,
) -> dict[str, Any]:
    """Return the contents of `config.toml`.

    Args:
        sources: The inputs, as they were given.
        recipe: The recipe.
        seed: The seed.
        groups: The attribute whose groups were evaluated, if any.
        out: The run folder.
        noted: What is noted of the inputs, see `noted_inputs`.
        pseudonym: Replaces the digests of the inputs.
    """
    optional = {"groups": groups, "started_in": _started_in(out)}
    return {
        **sources.to_dict(),
        **{name: value for name, value in optional.items() if value is not None},
        "seed": seed,
        "recipe": recipe.model_dump(exclude_none=True),
        "inputs": {name: [count, pseudonym(digest)] for name, (count, digest) in noted.items()},
        "made_with": made_with(),
    }


def read_run_config(run: Path) -> RunConfig:
    """Read the `config.toml` of a finished run of `rsft fit`.

    Raises:
        InputError: The folder is not such a run, it is not finished, or the file is damaged.
    """
    if not run.is_dir():
        raise InputError(f"there is no run folder '{run}'.")
    absent = [name for name in (CONFIG_FILE, METRICS_FILE, PLAN_FILE, ACCEPTED_FILE) if not (run / name).is_file()]
    if run.name.endswith(".partial"):
        raise InputError(f"'{run}' is of a run that is not finished: complete it with `rsft fit --resume` first.")
    if absent:
        raise InputError(f"'{run}' is not the folder of a finished run of `rsft fit`: it has no {absent[0]}.")
    path = run / CONFIG_FILE
    with reading(path, KIND):
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        missing = [name for name in ("pool", "target", "evaluation") if name not in content]
        if missing:
            raise InputError(
                f"'{run}' is not the folder of a run of `rsft fit`: its {CONFIG_FILE} names no {missing[0]}."
            )
        found: RunConfig = checked(json.dumps(content), RunConfig)
    return found


def _started_in(out: Path) -> str | None:
    """Return the working directory relative to a folder, if that takes no name of a folder."""
    way = Path(os.path.relpath(Path.cwd().resolve(), resolved(out)))
    return str(way) if set(way.parts) <= {os.pardir} else None
