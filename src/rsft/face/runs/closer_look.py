"""A closer look at the evaluated systems, for the report: their curves, and the errors that remain."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rsft.face.evaluation.det import DetBand, det_band
from rsft.face.evaluation.hardest import WrongPair, hardest_errors
from rsft.face.evaluation.trials import AnyTrial
from rsft.types import TUNED


@dataclass(frozen=True)
class NamedTrial:
    """Scores of the systems on pictures, and the ids of these pictures."""

    trial: AnyTrial
    ids: Sequence[str]


@dataclass(frozen=True)
class Errors:
    """The widest errors that the tuned network makes on a set.

    Attributes:
        fmr: FMR of the thresholds.
        pairs: "genuine" and "impostor" -> the pairs, the widest margin first.
        compared: What was compared, a trial each.
    """

    fmr: float
    pairs: Mapping[str, Sequence[WrongPair]]
    compared: Sequence[NamedTrial]

    def pictures(self, pair: WrongPair) -> tuple[str, str]:
        """Return the ids of both pictures of a pair."""
        ids = self.compared[pair.trial].ids
        return ids[pair.a], ids[pair.b]

    def to_dict(self, pseudonym: Callable[[str], str]) -> dict[str, Any]:
        """Return a JSON-serialisable dictionary. `pseudonym` replaces the ids of pictures."""
        told = {
            kind: [
                {"pictures": [pseudonym(item) for item in self.pictures(pair)], "score": pair.score}
                | {"threshold": pair.threshold}
                for pair in pairs
            ]
            for kind, pairs in self.pairs.items()
        }
        return {"fmr": f"{self.fmr:g}", **told}


def curves_of(compared: Sequence[NamedTrial], *, seed: int) -> dict[str, DetBand | None]:
    """Return the DET curve of each system, with intervals; None where no FMR is supported."""
    trials = [one.trial for one in compared]
    return {system: det_band(trials, system, seed=seed) for system in trials[0].systems}


def errors_of(compared: Sequence[NamedTrial], fmr: float, *, seed: int) -> Errors:
    """Return the widest errors of the tuned network at its thresholds for an FMR."""
    trials = [one.trial for one in compared]
    return Errors(fmr, hardest_errors(trials, TUNED, fmr, seed=seed), compared)
