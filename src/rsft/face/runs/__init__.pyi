"""The public names of the package and where each is defined; read at run time by `lazy_loader`."""

from .decision import headline_fmr
from .model_card import write_card
from .progress import Listener, Stages, silent
from .pseudonyms import Pseudonyms, new_pseudonyms
from .recipe_file import read_recipe
from .results import Findings, FitResult, summarise, write_plan
from .time_spent import TimeSpent

__all__ = [
    "Findings",
    "FitResult",
    "Listener",
    "Pseudonyms",
    "Stages",
    "TimeSpent",
    "headline_fmr",
    "new_pseudonyms",
    "read_recipe",
    "silent",
    "summarise",
    "write_card",
    "write_plan",
]
