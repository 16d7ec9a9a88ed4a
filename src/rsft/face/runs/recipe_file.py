"""A reader for the recipe in a `config.toml`."""

import tomllib
from pathlib import Path

from rsft.data.reading import reading
from rsft.face.adaptation.recipe import Recipe, make_recipe


def read_recipe(path: Path) -> Recipe:
    """Read the `[recipe]` table of a TOML file, such as the `config.toml` of a run.

    Raises:
        InputError: The file is missing or not TOML, a key is unknown, or a value is out of range.
    """
    with reading(path, "a recipe (TOML)"):
        settings = tomllib.loads(path.read_text(encoding="utf-8")).get("recipe", {})
    return make_recipe(settings, f"'{path}'")
