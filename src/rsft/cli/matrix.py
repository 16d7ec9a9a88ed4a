"""`rsft plan` on rows of features in place of pictures."""

from collections.abc import Mapping
from typing import Any

from rsft.cli import show
from rsft.errors import InputError

MATRIX_HELP = "Or rows of features: .npy, .safetensors[:KEY], .parquet[:COLUMN]."


def run_plan(given: Mapping[str, Any], *, of_pictures: Mapping[str, Any], json: bool) -> None:
    """Plan, and print it.

    Args:
        given: the options; those of `plan_matrix`, None where they were not given.
        of_pictures: option -> value of those that only pictures have.
        json: print one JSON document.
    """
    from rsft.tasks.matrix import plan_matrix

    useless = [name for name, value in of_pictures.items() if value]
    if useless:
        raise InputError(f"{', '.join(useless)} is for pictures, and --pool has rows of features: leave it out.")
    compare = given["compare"]
    made, plans = plan_matrix(**{name: value for name, value in given.items() if value is not None})
    if json:
        show.print_json(made.to_dict() | ({"ranking": [ranked.to_dict() for ranked in plans]} if compare else {}))
    else:
        show.print_ranking([ranked.to_dict() for ranked in plans])
        show.print_plan(made.to_dict())


def refuse_pictures(of_rows: Mapping[str, Any]) -> None:
    """Options that only rows of features have were given for pictures: say so."""
    useless = [name for name, value in of_rows.items() if value]
    if useless:
        raise InputError(f"{', '.join(useless)} is for rows of features, and --pool has pictures: leave it out.")
