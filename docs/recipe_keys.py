"""Write the table of all recipe keys into tuning.md, from the code: `python docs/recipe_keys.py`."""

import re
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import annotated_types

from rsft.face.adaptation.recipe import KINDS, Recipe

SIGNS = {annotated_types.Ge: ("ge", ">="), annotated_types.Gt: ("gt", ">"), annotated_types.Le: ("le", "<="),
         annotated_types.Lt: ("lt", "<")}  # fmt: skip

PAGE = Path(__file__).parent / "tuning.md"
BEGIN, END = "<!-- recipe keys -->", "<!-- end of recipe keys -->"


def recipe_keys() -> list[tuple[str, str, str, str]]:
    """Return (key, default, range, meaning) of every setting of a recipe, as text, in the order of the code."""
    meanings = _meanings(*(one.__doc__ or "" for one in Recipe.__mro__ if one.__name__.endswith("Recipe")))
    return [
        (name, _literal(field.default), _range(field.annotation, list(field.metadata)), meanings[name])
        for name, field in Recipe.model_fields.items()
    ]


def table() -> str:
    """Return the keys as a table in Markdown."""
    rows = [f"| `{name}` | {default} | {limits} | {meaning} |" for name, default, limits, meaning in recipe_keys()]
    return "\n".join(["| key | default | range | meaning |", "|---|---|---|---|", *rows])


def _meanings(*docstrings: str) -> dict[str, str]:
    """Return what docstrings say of each attribute, each in one line."""
    found = {}
    for text in docstrings:
        section = text.partition("Attributes:")[2]
        for name, meaning in re.findall(r"^        (\w+): (.*?)(?=^        \w+: |\Z)", section, re.M | re.S):
            found.setdefault(name, " ".join(meaning.split()).replace("|", "\\|"))
    return found


def _literal(value: Any) -> str:
    """Return a default as TOML has it; a setting that is None is left out of a file."""
    if value is None:
        return "left out"
    if isinstance(value, tuple):
        return f"`{list(value)}`"
    return (
        f"`{str(value).lower()}`"
        if isinstance(value, bool)
        else f'`"{value}"`'
        if isinstance(value, str)
        else f"`{value}`"
    )


def _range(annotation: Any, limits: list[Any]) -> str:
    """Return the values that a setting may have."""
    if get_origin(annotation) is Literal:
        return ", ".join(f'`"{word}"`' for word in get_args(annotation))
    parts = [part for part in get_args(annotation) if part not in (type(None), Ellipsis)]
    if parts:
        inner, *more = parts if isinstance(parts[0], type) else [get_args(parts[0])[0], *get_args(parts[0])[1:]]
        many = "a list, each " if get_origin(annotation) is tuple else ""
        return many + _range(inner, [*limits, *(more if not isinstance(parts[0], type) else ())])
    kind = KINDS[{"str": "string"}.get(annotation.__name__, annotation.__name__)]
    told = [
        f"{sign} {getattr(limit, of):.4g}"
        for limit in _flat(limits)
        for one, (of, sign) in SIGNS.items()
        if isinstance(limit, one)
    ]
    return ", ".join([kind, *told])


def _flat(limits: list[Any]) -> list[Any]:
    """Return the limits that pydantic keeps, of which some hold several."""
    return [one for limit in limits for one in (getattr(limit, "metadata", None) or [limit])]


def page(text: str) -> str:
    """Return the text of the page with the table of this code."""
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n{table()}\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
