"""`rsft rerun`: make a finished run of `rsft fit` again from its folder, and compare the two."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet

from rsft.data.apart import resolved
from rsft.data.archives import expand
from rsft.data.reading import reading
from rsft.data.remote import is_url
from rsft.errors import InputError
from rsft.face.adaptation.recipe import make_recipe
from rsft.face.fit import fit
from rsft.face.networks.load import ModelLike
from rsft.face.networks.names import KNOWN, SEPARATOR
from rsft.face.runs.inputs import Sources, read_inputs
from rsft.face.runs.progress import Listener, silent
from rsft.face.runs.pseudonyms import SALT_FILE, Pseudonyms
from rsft.face.runs.run_config import RunConfig, read_run_config
from rsft.face.runs.run_difference import PartDifference, differences
from rsft.face.runs.same_inputs import change_between
from rsft.face.runs.used_inputs import changed_pictures, read_used
from rsft.report.run import ACCEPTED_FILE, CONFIG_FILE
from rsft.run_folder import check_output, remove
from rsft.tuning.distributed import join, on_first
from rsft.types import PathLike

RERUN = ".rerun"  # what the name of the new folder has more than that of the run
PATHS = ("pool", "target", "evaluation", "evaluation_root", "retain", "retain_root", "attributes", "landmarks")
SHOWN = 3  # names of changed pictures in a sentence


@dataclass(frozen=True)
class Rerun:
    """How a run and its repetition compare.

    Attributes:
        run: Folder of the run.
        out: Folder of the repetition; None if it was removed.
        inputs: A sentence for each input that has changed since.
        conditions: A sentence for everything else that is not as it was: versions, device, processes, threads.
        untold: A sentence for everything that cannot be told.
        parts: The differences of the parts of the runs by name, see `differences`.
    """

    run: Path
    out: Path | None
    inputs: list[str]
    conditions: list[str]
    untold: list[str]
    parts: dict[str, PartDifference]

    @property
    def same(self) -> bool:
        """Whether no input has changed and all parts are the same, to the last bit but for times."""
        return not self.inputs and all(part.same for part in self.parts.values())

    def to_dict(self) -> dict[str, Any]:
        """Return all of it for JSON."""
        return {
            "same": self.same,
            "run": str(self.run),
            "out": None if self.out is None else str(self.out),
            "inputs": self.inputs,
            "conditions": self.conditions,
            "untold": self.untold,
            **{name: part.to_dict() for name, part in self.parts.items()},
        }


def rerun(
    run: PathLike,
    *,
    out: PathLike | None = None,
    model: ModelLike | None = None,
    overwrite: bool = False,
    resume: bool = False,
    listener: Listener = silent,
) -> Rerun:
    """Make a finished run of `fit` again, from the inputs, recipe and seed in its `config.toml`, and compare the two.

    Relative paths are those of the working directory of the run where that is known and still holds them, and of the
    present one otherwise. The new run has the salt of the old one, so that both know pictures by the same hashes.

    Args:
        run: The run folder. It is only read.
        out: The folder to create; it stays. By default, it is the name of the run with ".rerun" after it, beside it,
            and it is removed if nothing differs.
        model: The pretrained model, if it is not to be loaded as `config.toml` says: for one that was moved, or was
            given to `fit` as an object.
        overwrite: As for `fit`.
        resume: Continue a repetition that was interrupted, as `fit` does.
        listener: As for `fit`.

    Raises:
        InputError: `run` is not the folder of a finished run of `fit`, an input is gone or cannot be used, or `out` may
            not be written.
        InterruptedTrainingError: As for `fit`.
    """
    run = Path(run)
    config, hashed = read_run_config(run), _is_hashed(run)
    recipe = make_recipe(config.recipe, f"'{run / CONFIG_FILE}'")
    sources = _sources(config, run, model)
    salt, untold = _salt(run) if hashed else None, list[str]()
    if hashed and salt is None:
        untold.append(
            f"the {SALT_FILE} of the run is gone, so pictures cannot be told by name: inputs are not compared, and the "
            f"rows of {ACCEPTED_FILE} in their order"
        )
    new = Path(out) if out is not None else _beside(run)
    join()
    on_first(lambda: check_output(new, inputs=[run, *sources.paths], overwrite=overwrite, resume=resume))
    fit(
        **vars(sources), out=new, recipe=recipe, seed=config.seed, groups=config.groups, overwrite=overwrite,
        resume=resume, show_faces=not hashed, salt=salt, listener=listener,
    )  # fmt: skip

    def compare() -> Rerun:
        now, comparable = read_run_config(new), not hashed or salt is not None
        if not config.inputs:
            untold.append("the run is of a version of rsft that noted no inputs, so a change of them is not noticed")
        changed = []
        if comparable and config.inputs:
            changed = _changed_lists(config.inputs, now.inputs)
            changed += _changed_pictures(run, new, sources, recipe.cut, Pseudonyms(salt))
            if read_used(run) is None:
                untold.append("the run has no list of the pictures that it read, so a change of them is not noticed")
        conditions = _changed_conditions(config.made_with, now.made_with)
        result = Rerun(run, new, changed, conditions, untold, differences(run, new, named=comparable))
        if out is None and result.same:
            remove(new)
            return Rerun(run, None, changed, conditions, untold, result.parts)
        return result

    return on_first(compare)


def _beside(run: Path) -> Path:
    """Return the path of the new folder beside a run."""
    whole = resolved(run)
    return whole.with_name(whole.name + RERUN)


def _is_hashed(run: Path) -> bool:
    """Return whether a run names pictures by salted hashes."""
    path = run / ACCEPTED_FILE
    with reading(path, "the pictures of a run"):
        return (pyarrow.parquet.read_schema(path).metadata or {}).get(b"ids") == b"hashed"


def _salt(run: Path) -> str | None:
    """Return the salt of a run; None if it was removed, as from a run that was handed on."""
    return Pseudonyms.of_run(run, hashed=True).salt if (run / SALT_FILE).exists() else None


def _sources(config: RunConfig, run: Path, model: ModelLike | None) -> Sources:
    """Return the inputs of a run, where they are now.

    Raises:
        InputError: A path leads nowhere.
    """
    found: dict[str, Any] = {}
    for name in PATHS:
        told = getattr(config, name)
        if told is None:
            continue
        found[name] = _place(told, config, run)
        if found[name] is None:
            raise InputError(
                f"the {name} of '{run}' is gone: there is no '{told}'. Put it back, or run in the folder that the path "
                "is relative to."
            )
    given = _model(config, run) if model is None else model
    options = ("aligned", "allow_overlap", "drop_overlap")
    return Sources(**found, model=given, **{name: getattr(config, name) for name in options})


def _model(config: RunConfig, run: Path) -> str:
    """Return the pretrained model of a run as `load_model` takes it here."""
    if config.model in KNOWN:
        return config.model
    parts = [part if part in KNOWN else _place(part, config, run) or part for part in config.model.split(SEPARATOR)]
    return _place(config.model, config, run) or SEPARATOR.join(parts)


def _place(told: str, config: RunConfig, run: Path) -> str | None:
    """Return a path of `config.toml` as it is to be used here; None if there is nothing."""
    if is_url(told):
        return told
    if config.started_in is not None:
        there = resolved(run / config.started_in)
        if not there.samefile(Path.cwd()) and _exists(there / told):
            return os.path.relpath(there / told) if not Path(told).is_absolute() else told
    return told if _exists(Path(told)) else None


def _exists(path: Path) -> bool:
    return all(part.exists() for part in expand(path))


def _changed_lists(before: Mapping[str, tuple[int, str]], now: Mapping[str, tuple[int, str]]) -> list[str]:
    """Say which lists of pictures, pairs, landmarks and groups, and whether the model, have changed."""
    none = (0, "")
    changes = {name: change_between(before.get(name, none), now.get(name, none)) for name in {**before, **now}}
    return [f"{name} has changed: {how}" for name, how in changes.items() if how is not None]


def _changed_pictures(run: Path, new: Path, sources: Sources, cut: int, pseudonym: Pseudonyms) -> list[str]:
    """Say which pictures that both runs have read have other bytes now."""
    changed = changed_pictures(run, new)
    if not changed:
        return []
    sets = read_inputs(sources, cut=cut).sets  # only its names are needed, but the salt hides them
    told = []
    for name, hashes in changed.items():
        items = [f"'{item}'" for item in sets[name].ids if pseudonym(item) in hashes] if name in sets else []
        more = ", ..." if len(hashes) > SHOWN else ""
        number = f"{len(hashes)} picture{'s' * (len(hashes) > 1)} of the {name}"
        told.append(f"{number} had other bytes then: {', '.join(items[:SHOWN])}{more}")
    return told


def _changed_conditions(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Say what the runs were not made with alike."""
    if not before:
        return ["what the run was made with is not noted in it"]
    return [
        f"{name}: {before.get(name, 'not noted')} then, {now.get(name, 'not noted')} now"
        for name in {**before, **now}
        if before.get(name) != now.get(name)
    ]
