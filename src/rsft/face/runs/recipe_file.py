"""A reader for the recipe in a `config.toml`."""

import tomllib
from pathlib import Path

from rsft.errors import InputError
from rsft.face.adaptation.recipe import Recipe, make_recipe


def read_recipe(path: Path) -> Recipe:
    """Read the `[recipe]` table of a TOML file, such as the `config.toml` of a run.

    Raises:
        InputError: The file is missing or not TOML, a key is unknown, or a value is out of range.
    """
    try:
        settings = tomllib.loads(path.read_text()).get("recipe", {})
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"cannot read '{path}': {error}.") from error
    return make_recipe(settings, f"'{path}'")
