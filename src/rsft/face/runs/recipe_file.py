"""A reader for the recipe in a `config.toml`."""

import tomllib
from pathlib import Path

from rsft.data.reading import reading
from rsft.errors import InputError, did_you_mean
from rsft.face.adaptation.recipe import Recipe, make_recipe

TABLE = "recipe"
OF_RUN = {"pool", "target", "evaluation", "model", "seed"}  # what the config.toml of a run has


def read_recipe(path: Path) -> Recipe:
    """Read the `[recipe]` table of a TOML file.

    The `config.toml` of a run is read as well: what it says of inputs and versions is left aside.

    Raises:
        InputError: The file is missing or not TOML, a key is unknown or not in the table, or a value is out of range.
    """
    with reading(path, "a recipe (TOML)"):
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    settings = content.get(TABLE, {})
    if not isinstance(settings, dict):
        raise InputError(f"'{path}' needs its settings in a table [{TABLE}], got {TABLE} = {settings!r}.")
    beside = [name for name in content if name != TABLE and not content.keys() >= OF_RUN]
    if beside:
        raise InputError(f"'{path}': {_misplaced(beside[0], content[beside[0]])}.")
    return make_recipe(settings, f"'{path}'")


def _misplaced(name: str, value: object) -> str:
    """Say of an entry outside the table where it belongs, or what is nearest to it."""
    if isinstance(value, dict):
        return f"there is no table [{name}]{did_you_mean(name, [TABLE])}; all settings stand in [{TABLE}]"
    if name in Recipe.model_fields:
        return f"'{name}' stands outside the table: put the line [{TABLE}] before it"
    return f"there is no setting '{name}'{did_you_mean(name, Recipe.model_fields)}; all settings stand in [{TABLE}]"
