"""Reading and writing of runs: inputs, progress, results and the run folder."""

from rsft.face.runs.evaluated import Evaluated, read_evaluated
from rsft.face.runs.inputs import FaceInputs, Sources, inputs_of, read_inputs
from rsft.face.runs.model_card import write_card
from rsft.face.runs.progress import Listener, Stages, silent
from rsft.face.runs.pseudonyms import Pseudonyms, new_pseudonyms
from rsft.face.runs.recipe_file import read_recipe
from rsft.face.runs.results import Findings, FitResult, headline_fmr, summarise, write_plan
from rsft.face.runs.run_files import shipped_model, write_run
from rsft.face.runs.thumbnails import save_thumbnails
from rsft.face.runs.time_spent import TimeSpent

__all__ = [
    "Evaluated",
    "FaceInputs",
    "Findings",
    "FitResult",
    "Listener",
    "Pseudonyms",
    "Sources",
    "Stages",
    "TimeSpent",
    "headline_fmr",
    "inputs_of",
    "new_pseudonyms",
    "read_evaluated",
    "read_inputs",
    "read_recipe",
    "save_thumbnails",
    "shipped_model",
    "silent",
    "summarise",
    "write_card",
    "write_plan",
    "write_run",
]
