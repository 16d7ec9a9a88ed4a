"""What is cheap to check is checked before PyTorch is imported: paths, the output, rates, the recipe and the model."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rsft.cli import launch
from rsft.data.remote import is_url
from rsft.errors import InputError, did_you_mean

# Parameter -> how a user names it, for the paths that a command reads
READ = {
    "pool": "--pool", "target": "--target", "evaluation": "--eval", "eval_root": "--eval-root", "retain": "--retain",
    "retain_root": "--retain-root", "landmarks": "--landmarks", "attributes": "--attributes", "shares": "--shares",
    "config": "--config", "embeddings": "--embeddings", "templates": "--templates", "distractors": "--distractors",
    "probes": "--probes", "pictures": "--pictures", "labels": "--labels", "target_groups": "--target-groups",
    "manifest": "--manifest", "against_root": "--against-root", "runs": "RUNS", "run": "RUN", "old": "OLD",
    "source": "SOURCE", "reference": "--reference", "table": "TABLE",
}  # fmt: skip
MODELS = ("model", "old_model")
SETTINGS = ("features", "method", "envelope", "retain_fraction", "accept_by", "floor")  # of the recipe


def check_early(options: Mapping[str, Any]) -> None:
    """Raise an error if the options of a command cannot be used, as far as that can be told in a moment.

    Args:
        options: Parameter of the command -> its value.

    Raises:
        InputError: A path that is read does not exist, there is no such model, a rate or a setting of the recipe is not
            valid, or the output may not be written.
    """
    for name, called in READ.items():
        for path in _several(options.get(name)):
            if isinstance(path, Path) and not is_url(path):
                _check_exists(path, called)
    for rate in _several(options.get("fmr")):
        _check_rate(rate)
    if not 0 < options.get("enrolled_fraction", 1.0) <= 1:
        raise InputError(f"--enrolled-fraction needs a share above 0, 1 at most; got {options['enrolled_fraction']:g}.")
    if options.get("config") is not None:
        from rsft.face.runs.recipe_file import read_recipe

        read_recipe(options["config"])
    for name in SETTINGS:
        for value in _several(options.get(name)):
            from rsft.face.adaptation.recipe import make_recipe

            make_recipe({name: value}, as_options=True)
    models = [model for name in MODELS for model in _several(options.get(name))]
    for model in models + [run for run in _several(options.get("run")) if isinstance(run, str)]:
        from rsft.face.networks.names import check_name

        check_name(model)
    _check_out(options)


def _several(value: Any) -> Sequence[Any]:
    """Return the values of an option that may be given once, repeatedly or not at all."""
    return value if isinstance(value, list) else () if value is None else (value,)


def _check_exists(path: Path, called: str) -> None:
    """Raise an error if a path does not exist; of `FILE:COLUMN` the file counts, of a pattern of shards each shard."""
    from rsft.data.archives import expand

    for one in expand(path) if "{" in path.name else [path]:
        file = one.with_name(one.name.rpartition(":")[0]) if ":" in one.name[1:] else one
        if not (one.exists() or file.exists()):
            near = [other.name for other in one.parent.iterdir()] if one.parent.is_dir() else []
            scheme, slash, _ = str(one).partition(":/")  # a program is given foo:/pool for foo://pool
            of_url = f", nor is there a scheme '{scheme}://' of URLs" if slash else did_you_mean(one.name, near)
            raise InputError(f"{called}: '{one}' does not exist{of_url}.")


def _check_rate(rate: float | str) -> None:
    """Raise an error if a false match rate is not between 0 and 1."""
    try:
        valid = 0 < float(rate) < 1
    except ValueError:
        valid = False
    if not valid:
        raise InputError(f"--fmr needs a rate above 0 and below 1, such as 0.001; got {rate}.")


def _check_out(options: Mapping[str, Any]) -> None:
    """Raise an error if the output folder of a command may not be written."""
    if options.get("out") is None or "overwrite" not in options or launch.processes() > 1:
        return  # of several processes, another may have begun the output
    from rsft.run_folder import check_output

    read = [path for name in (*READ, *MODELS) for path in _several(options.get(name))]
    check_output(options["out"], inputs=read, overwrite=options["overwrite"], resume=options.get("resume"))
