"""Reading and writing of runs: inputs, progress, results and the run folder.

The modules that read pictures (`inputs`, `evaluated`, `thumbnails`, `run_files`) are not re-exported: they need OpenCV,
which commands on tables do without.
"""

from rsft.face.runs.decision import headline_fmr
from rsft.face.runs.model_card import write_card
from rsft.face.runs.progress import Listener, Stages, silent
from rsft.face.runs.pseudonyms import Pseudonyms, new_pseudonyms
from rsft.face.runs.recipe_file import read_recipe
from rsft.face.runs.results import Findings, FitResult, summarise, write_plan
from rsft.face.runs.time_spent import TimeSpent

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
