"""`rsft compare` with several networks: each untouched and tuned, side by side."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rsft.baselines import REJECTION
from rsft.compare import COMPARISON, CONFIG_FILE, Comparison
from rsft.data.reading import read_json
from rsft.disk.lock import locked
from rsft.disk.whole import replace_file
from rsft.errors import InputError
from rsft.evaluation.difference import in_words
from rsft.evaluation.seeds import interval_over_seeds
from rsft.face.compare import compare_faces
from rsft.face.networks.load import load_model
from rsft.face.runs.at_hand import same_crop
from rsft.face.runs.measured import differ_in
from rsft.face.runs.progress import Listener, silent
from rsft.report.comparison_page import MODELS_FILE
from rsft.run_folder import adding_to
from rsft.types import PRETRAINED, TUNED, Interval, PathLike


@dataclass(frozen=True)
class ModelsCompared:
    """Several networks, each untouched and tuned by rejection.

    A system is an untouched network, under its name, or tuned, under "NAME, tuned".

    Attributes:
        comparisons: Name of each network -> its comparison of rejection with the baselines.
        unpaired: Name of each network whose evaluated pictures are not those of the first -> the reason. Its
            differences from others have no interval.
    """

    comparisons: Mapping[str, Comparison]
    unpaired: Mapping[str, str] = field(default_factory=dict)

    @property
    def systems(self) -> dict[str, tuple[str, str]]:
        """System -> its network and method: first all untouched, then all tuned."""
        left = {name: (name, PRETRAINED) for name in self.comparisons}
        return left | {f"{name}, {TUNED}": (name, REJECTION) for name in self.comparisons}

    @property
    def metrics(self) -> list[str]:
        """Names of the metrics that all networks have, the headline first."""
        first, *others = self.comparisons.values()
        return [metric for metric in first.metrics if all(metric in other.metrics for other in others)]

    def value(self, system: str, metric: str) -> Interval:
        """Return a metric of a system, with its interval over seeds and people."""
        name, method = self.systems[system]
        return self.comparisons[name].value(method, metric)

    def difference(self, system: str, reference: str, metric: str) -> Interval:
        """Return `system` minus `reference`, paired by seeds and bootstrap draws of people.

        The ends are None, with a note, if the two were measured on different pictures.
        """
        (name, method), (other, of_other) = self.systems[system], self.systems[reference]
        reason = None if name == other else self.unpaired.get(name) or self.unpaired.get(other)
        if reason:
            gain = (self.value(system, metric).value or 0.0) - (self.value(reference, metric).value or 0.0)
            return Interval(gain, None, None, reason)
        measured = self.comparisons[name].measured(method, metric), self.comparisons[other].measured(of_other, metric)
        return interval_over_seeds([a - b for a, b in zip(*measured, strict=True)])

    def best(self, *, tuned: bool) -> str:
        """Return the best tuned or untuned system on the headline metric."""
        of_kind = [name for name, (_, method) in self.systems.items() if (method == REJECTION) == tuned]
        return max(of_kind, key=lambda name: self.value(name, self.metrics[0]).value or 0.0)

    def verdict(self) -> str:
        """Name the best untouched and the best tuned network, with the gain over the best untouched one."""
        metric, untouched, tuned = self.metrics[0], self.best(tuned=False), self.best(tuned=True)
        first = next(iter(self.comparisons))
        swapped = "" if untouched == first else f", {in_words(self.difference(untouched, first, metric), first)}"
        gain = in_words(self.difference(tuned, untouched, metric), f"{untouched} untouched")
        return (
            f"{metric}: the best network without any training is {untouched} at {self.value(untouched, metric)}"
            f"{swapped}; the best tuned one is {tuned} at {self.value(tuned, metric)}, {gain}. A gain counts over the "
            "best network that could simply be taken."
        )

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-serialisable dictionary, without the bootstrap draws."""
        systems, metrics = list(self.systems), self.metrics
        return {
            "models": list(self.comparisons),
            "metrics": metrics,
            "values": {one: {k: self.value(one, k).to_dict() for k in metrics} for one in systems},
            "differences": {
                one: {o: {k: self.difference(one, o, k).to_dict() for k in metrics} for o in systems if o != one}
                for one in systems
            },
            "unpaired": dict(self.unpaired),
            "best_untouched": self.best(tuned=False),
            "best_tuned": self.best(tuned=True),
            "verdict": self.verdict(),
        }


def compare_models(
    *, models: Sequence[PathLike], out: PathLike, aligned: bool = False, listener: Listener = silent, **options: Any
) -> ModelsCompared:
    """Compare rejection with its baselines for each of several networks, and put the networks side by side.

    Each network has the folder of its name in `out`, as `compare_faces` leaves it; an interrupted call continues.
    Differences between networks are paired if they were measured on the same pictures.

    Args:
        models: Two networks or more, as for `load_model`; the first is the one in use.
        out: Folder for the results. `models.json` is written last.
        aligned: All pictures are aligned chips already. All networks must then have the same crop.
        listener: Callback that receives (network and stage, done, total) as each stage advances.
        **options: Further arguments of `compare_faces`.

    Raises:
        InputError: There are fewer than two networks, two have one name, chips do not have the crop of all, `out` holds
            a comparison of one network, or `compare_faces` raises an error.
    """
    names = _names(models, aligned=aligned)
    folder = adding_to(Path(out), inputs=[*options.values(), *models])
    with locked(folder):
        _check_of_several(folder, list(names))
        comparisons = {
            name: compare_faces(
                model=model, out=folder / name, aligned=aligned, listener=_with_name(listener, name), **options
            )
            for name, model in names.items()
        }
        first = next(iter(names))
        told = {name: differ_in(folder / first, folder / name) for name in names}
        compared = ModelsCompared(comparisons, {name: reason for name, reason in told.items() if reason})
        replace_file(folder / MODELS_FILE, json.dumps(compared.to_dict()).encode())
        return compared


def _names(models: Sequence[PathLike], *, aligned: bool) -> dict[str, PathLike]:
    """Return the name of each network's folder -> the network; raise InputError if they cannot be compared."""
    names = {Path(model).name.replace(":", "-"): model for model in models}
    if len(models) < 2 or len(names) < len(models):
        raise InputError(
            f"a comparison of networks needs two or more with different names, got {', '.join(map(str, models))}."
        )
    first, *others = (load_model(model) for model in models)
    for name, other in zip(list(names)[1:], others, strict=True):
        if other.fingerprint == first.fingerprint:
            raise InputError(f"'{name}' has the same weights as '{next(iter(names))}': compare different networks.")
        if aligned and not same_crop(first, other):
            raise InputError(
                f"the chips cannot have the crop of '{next(iter(names))}' and that of '{name}': give the photographs."
            )
    return names


def _check_of_several(folder: Path, names: Sequence[str]) -> None:
    """Note in the folder that it is of several networks, so that no other comparison is put into it.

    Raises:
        InputError: It holds a comparison of one network.
    """
    path = folder / CONFIG_FILE
    known = read_json(path, dict[str, Any], COMPARISON) if path.exists() else {"models": []}
    if not isinstance(known.get("models"), list):
        raise InputError(f"'{folder}' holds a comparison of one network: choose another folder.")
    replace_file(path, json.dumps({"models": sorted({*map(str, known["models"]), *names})}).encode())


def _with_name(listener: Listener, name: str) -> Listener:
    """Return a listener that puts the name of a network before each stage."""
    return lambda stage, done, total: listener(f"{name}: {stage}", done, total)
