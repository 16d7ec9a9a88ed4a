"""`rsft evaluate` with several networks: each on the same pairs, and their paired differences."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from rsft.data.features import Features
from rsft.errors import InputError
from rsft.face.evaluation.protocol import RETAIN, TARGET, Protocol, read_protocol, usable
from rsft.face.evaluation.trials import AnyTrial, scored
from rsft.face.evaluation.verification import VerificationReport, verify
from rsft.face.networks.bundle import FaceModel
from rsft.face.networks.load import ModelLike, load_model
from rsft.face.runs.at_hand import same_crop
from rsft.face.runs.evaluation_file import curves_of_each, write_evaluation
from rsft.face.runs.inputs import inputs_of
from rsft.face.runs.progress import Listener, Stages, silent
from rsft.run_folder import writing_if
from rsft.tuning.distributed import first_enters, join, on_first
from rsft.types import PathLike


@dataclass(frozen=True)
class SameSet:
    """Several networks on the pictures of one evaluation set that all of them can use.

    Attributes:
        report: Their rates, and their paired differences: `report.difference(name, reference, fmr)`.
        trial: Their scores on the same pairs.
        pictures: Number of these pictures.
        left_out: Name of each network -> number of pictures that it could not use.
    """

    report: VerificationReport
    trial: AnyTrial
    pictures: int
    left_out: Mapping[str, int]

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-serialisable dictionary. "differences" are of a network from each other one."""
        names = list(self.report.systems)
        return {
            "models": {name: rates.to_dict() for name, rates in self.report.systems.items()},
            "differences": {
                name: {other: self.report.differences(name, other) for other in names if other != name}
                for name in names
            },
            "pictures": self.pictures,
            "left_out": dict(self.left_out),
        }


def evaluate_models(
    *,
    models: Sequence[ModelLike],
    evaluation: PathLike,
    evaluation_root: PathLike | None = None,
    retain: PathLike | None = None,
    retain_root: PathLike | None = None,
    out: PathLike | None = None,
    overwrite: bool = False,
    aligned: bool = False,
    landmarks: PathLike | None = None,
    seed: int = 0,
    listener: Listener = silent,
) -> dict[str, SameSet]:
    """Compare networks on the same pairs, with one bootstrap over identities for all, so that differences are paired.

    Under `torchrun` or `accelerate launch`, each process embeds its part of the pictures, and the first measures.
    A picture that one of the networks cannot use, such as one without a face, is left out for all.
    `rsft.face.runs.inputs.Sources` describes the inputs.

    Args:
        models: Two networks or runs, or more, as for `load_model`; the first is the one in use.
        evaluation: See `Sources`.
        evaluation_root: See `Sources`.
        retain: See `Sources`.
        retain_root: See `Sources`.
        out: Folder to create for `evaluation.json` and `report.html`. By default, nothing is written.
        overwrite: Replace an `out` that rsft wrote.
        aligned: See `Sources`. All networks must then have the same crop.
        landmarks: See `Sources`.
        seed: Seed for the bootstrap.
        listener: Callback that receives (network and set, done, total) as each stage advances.

    Returns:
        "target" and, if given, "retain" -> the networks on this set.

    Raises:
        InputError: There are fewer than two networks, two have the same weights, chips do not have the crop of all, or
            an input cannot be used.
    """
    paths = (evaluation, evaluation_root, retain, retain_root, landmarks, *models)
    join()
    to = None if out is None else Path(out)
    with first_enters(writing_if(to, inputs=paths, overwrite=overwrite)) as folder:
        loaded = _loaded(models, aligned=aligned)
        given = {TARGET: (evaluation, evaluation_root), RETAIN: (retain, retain_root)}
        protocols = {key: read_protocol(path, root) for key, (path, root) in given.items() if path is not None}
        stages, found = Stages(listener), dict[str, SameSet]()
        for key, protocol in protocols.items():
            points = landmarks if key == TARGET else None
            features = dict[str, Features]()
            for name, model in loaded.items():
                named = f"{key}, {name}"
                inputs = inputs_of(model, {named: protocol.images}, landmarks=points, aligned=aligned)
                inputs.check_alike()
                features[name] = inputs.embed(named, stages)
            found[key] = _on_same(features, protocol, seed)

        def write(folder: Path) -> None:
            sets = {
                key: {
                    "systems": (told := same.to_dict())["models"],
                    "differences": told["differences"],
                    "curves": curves_of_each(same.trial, seed),
                    "left_out": told["left_out"],
                }
                for key, same in found.items()
            }
            write_evaluation(folder, sets, list(loaded), seed)

        if folder is not None:
            on_first(lambda: write(folder))
    return found


def _on_same(features: Mapping[str, Features], protocol: Protocol, seed: int) -> SameSet:
    """Compare networks on the pictures that all of them could embed."""
    places = {name: {item: row for row, item in enumerate(of.ids)} for name, of in features.items()}
    first = next(iter(features.values()))
    common = [item for item in first.ids if all(item in place for place in places.values())]
    if not common:
        raise InputError(f"no picture of '{protocol.images.root}' can be used by all of the networks.")
    same = {name: of.subset(np.array([places[name][item] for item in common])) for name, of in features.items()}
    unusable = [entry for of in features.values() for entry in of.quarantined]
    pairs = usable(protocol, replace(next(iter(same.values())), quarantined=unusable))
    trial = scored({name: of.embeddings for name, of in same.items()}, pairs)
    report = on_first(lambda: verify([trial], seed=seed))
    return SameSet(report, trial, len(common), {name: len(of.quarantined) for name, of in features.items()})


def _loaded(models: Sequence[ModelLike], *, aligned: bool) -> dict[str, FaceModel]:
    """Load the networks under short names that differ; raise InputError if they cannot be compared."""
    if len(models) < 2:
        raise InputError(f"a comparison needs two networks or more, got {len(models)}.")
    short = [model.name if isinstance(model, FaceModel) else Path(model).name for model in models]
    names = [name if short.count(name) == 1 else str(model) for name, model in zip(short, models, strict=True)]
    loaded = dict[str, FaceModel]()
    for name, given in zip(names, models, strict=True):
        model = load_model(given)
        for other, before in loaded.items():
            if before.fingerprint == model.fingerprint:
                raise InputError(f"'{name}' has the same weights as '{other}': compare different networks.")
            if aligned and not same_crop(before, model):
                raise InputError(f"chips cannot have the crop of '{other}' and that of '{name}': give the photographs.")
        loaded[name] = model
    if len(loaded) < len(models):
        raise InputError(f"networks of one name cannot be told apart: {', '.join(names)}.")
    return loaded
