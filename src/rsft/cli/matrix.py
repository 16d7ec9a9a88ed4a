"""`rsft plan` on rows of features in place of pictures."""

from collections.abc import Mapping
from typing import Any

from rsft.cli import show
from rsft.errors import InputError

MATRIX_HELP = "Or an output of `rsft embed`, or rows of features (.npy, .safetensors[:KEY], .parquet[:COLUMN])."


def run_plan(given: Mapping[str, Any], *, of_pictures: Mapping[str, Any], json: bool) -> None:
    """Make a plan for rows of features, and print it.

    Args:
        given: Arguments of `plan_matrix` -> their values, None for those that were not given.
        of_pictures: Options that are for pictures only -> their values, which must be unset.
        json: Print one JSON document instead of tables.

    Raises:
        InputError: An option for pictures was given.
    """
    from rsft.tasks.matrix import plan_matrix

    useless = [name for name, value in of_pictures.items() if value]
    if useless:
        raise InputError(f"{', '.join(useless)} is for pictures, and --pool has rows of features: leave it out.")
    compare = given["compare"]
    made, plans = plan_matrix(**{name: value for name, value in given.items() if value is not None})
    show.print_plans(made.to_dict(), [ranked.to_dict() for ranked in plans], compare=compare, as_json=json)


def refuse_pictures(of_rows: Mapping[str, Any]) -> None:
    """Raise an error if an option that is for rows of features only was given for pictures."""
    useless = [name for name, value in of_rows.items() if value]
    if useless:
        raise InputError(f"{', '.join(useless)} is for rows of features, and --pool has pictures: leave it out.")
