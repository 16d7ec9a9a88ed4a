"""The help of a command: in which panel each option stands, and what of it fits a terminal of 80 columns."""

import copy
import enum
import inspect
from typing import Annotated, get_args, get_origin

from rich.markup import escape
from typer.models import ArgumentInfo, OptionInfo

DATA, METHOD, OUTPUT, RUNNING = "Pictures and models", "What to do", "Output", "Running"
PANELS = {
    DATA: (
        "pool", "target", "evaluation", "eval_root", "retain", "retain_root", "model", "old_model", "against_root",
        "landmarks", "aligned", "embeddings", "templates", "distractors", "probes", "pictures", "manifest", "labels",
        "target_groups", "attributes", "shares", "identity", "reference",
    ),
    METHOD: (
        "config", "whiten_only", "shift", "quick", "features", "method", "envelope", "retain_fraction", "accept_by",
        "floor", "epochs", "epoch", "column", "items", "compare", "against", "no_swap", "oracle", "peers", "seeds",
        "identification", "enrolled_fraction", "groups",
        "fmr", "safe", "allow_overlap", "drop_overlap", "seed",
    ),
    OUTPUT: (
        "out", "history", "det", "write", "onnx", "bundle", "hub_folder", "base_model", "overwrite", "resume",
        "show_faces", "tracker", "tracker_folder", "json",
    ),
    RUNNING: ("device", "workers", "quiet", "verbose", "help"),
}  # fmt: skip
PANEL_OF = {name: panel for panel, names in PANELS.items() for name in names}


def in_panels(parameters: list[inspect.Parameter]) -> list[inspect.Parameter]:
    """Put the options of a command into their panels, in the order of `PANELS`; arguments come first as they are.

    Types are left out, since the names and the help tell them, and brackets are no markup.
    """
    order = list(PANEL_OF)
    shown = [parameter.replace(annotation=_shown(parameter)) for parameter in parameters]
    options = [one for one in shown if isinstance(_info(one), OptionInfo)]
    return [one for one in shown if one not in options] + sorted(options, key=lambda one: order.index(one.name))


def _info(parameter: inspect.Parameter) -> OptionInfo | ArgumentInfo | None:
    """Return what typer is told of a parameter; None for its own, such as the context."""
    found = get_args(parameter.annotation)[1:] if get_origin(parameter.annotation) is Annotated else ()
    return next((one for one in found if isinstance(one, OptionInfo | ArgumentInfo)), None)


def _shown(parameter: inspect.Parameter) -> object:
    """Return the annotation of a parameter, with its panel and a help that fits."""
    info = _info(parameter)
    if info is None:
        return parameter.annotation
    info, kind = copy.copy(info), get_args(parameter.annotation)[0]
    info.help = escape(info.help or "")
    if isinstance(info, OptionInfo):
        info.rich_help_panel = PANEL_OF[parameter.name]
        if not (isinstance(kind, type) and issubclass(kind, enum.Enum)):
            info.metavar = ""
    return Annotated[kind, info]
