"""`rsft fit`: tune a model on folders of pictures, evaluate it and write a report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from rsft.data.features import Features
from rsft.disk.whole import discard
from rsft.errors import InputError
from rsft.face.adaptation.gate import within_bound
from rsft.face.adaptation.recipe import Recipe
from rsft.face.adaptation.selection import check_looks, check_target
from rsft.face.adaptation.tune import Tuned, check_identities, total_steps, tune
from rsft.face.adaptation.views import trial_of
from rsft.face.evaluation.groups import group_of_each, rates_of_groups
from rsft.face.evaluation.protocol import RETAIN, TARGET, usable
from rsft.face.evaluation.trials import AnyTrial
from rsft.face.evaluation.verification import VerificationReport, verify
from rsft.face.networks.bundle import FaceModel
from rsft.face.networks.load import ModelLike
from rsft.face.pictures.embedding import face_finder
from rsft.face.pictures.parts import noted_digests
from rsft.face.runs.closer_look import NamedTrial, curves_of, errors_of
from rsft.face.runs.decision import headline_fmr
from rsft.face.runs.embedded_sets import EmbeddedSets, MeasuredSets
from rsft.face.runs.inputs import POOL, FaceInputs, Sources, evaluation_set, read_inputs
from rsft.face.runs.kept_target import faces_of, write_kept_target
from rsft.face.runs.machines import check_shared
from rsft.face.runs.open_pool import Chosen, OpenPool
from rsft.face.runs.progress import Listener, Stages, silent
from rsft.face.runs.pseudonyms import Pseudonyms, new_pseudonyms
from rsft.face.runs.results import Findings, FitResult, PoolUsed, summarise
from rsft.face.runs.run_config import run_config
from rsft.face.runs.run_files import shipped_model, write_run
from rsft.face.runs.same_inputs import check_same_inputs, noted_inputs
from rsft.face.runs.thumbnails import Faces
from rsft.face.runs.trackers import Trackers, beside
from rsft.plan import Plan
from rsft.report.run import HISTORY_FILE
from rsft.run_folder import check_output, writing
from rsft.tuning.distributed import first_enters, is_first, join, on_first
from rsft.tuning.history import History
from rsft.types import PRETRAINED, TUNED, PathLike

CACHE_FOLDER = "cache"
CHECKPOINTS_FOLDER = "checkpoints"

__all__ = ["FitResult", "fit"]


def fit(
    *,
    pool: PathLike,
    target: PathLike,
    evaluation: PathLike,
    out: PathLike,
    model: ModelLike = "dlib",
    evaluation_root: PathLike | None = None,
    retain: PathLike | None = None,
    retain_root: PathLike | None = None,
    recipe: Recipe | None = None,
    seed: int = 0,
    aligned: bool = False,
    landmarks: PathLike | None = None,
    allow_overlap: bool = False,
    drop_overlap: bool = False,
    groups: str | None = None,
    attributes: PathLike | None = None,
    overwrite: bool = False,
    resume: bool = False,
    show_faces: bool = False,
    salt: str | None = None,
    trackers: Sequence[str] = (),
    tracker_folder: PathLike | None = None,
    listener: Listener = silent,
) -> FitResult:
    """Adapt a pretrained face model to the population in `target`, using pictures of a labelled pool.

    Under `torchrun` or `accelerate launch`, each process embeds its part of the pictures and trains on its part of
    every batch. The first process plans, decides, evaluates and writes `out`, which all processes must see.
    `rsft.face.runs.inputs.Sources` describes the inputs.

    Args:
        pool: See `Sources`.
        target: See `Sources`.
        evaluation: See `Sources`.
        out: The run folder to create.
        model: See `Sources`.
        evaluation_root: See `Sources`.
        retain: See `Sources`.
        retain_root: See `Sources`.
        recipe: Settings of the plan, the training and the gate.
        seed: Seed for all random choices.
        aligned: See `Sources`.
        landmarks: See `Sources`.
        allow_overlap: See `Sources`.
        drop_overlap: See `Sources`.
        groups: An attribute of the evaluated pictures. Metrics and model card then have the error rates of its groups.
        attributes: See `Sources`. They are read for `groups`.
        overwrite: Replace an `out` that rsft wrote.
        resume: Reuse what an interrupted run has embedded, and continue its training.
        show_faces: Put some pictures of the pool into the report, and names in place of salted hashes into the run
            folder.
        salt: Salt of these hashes, by default a new random one. Runs with one salt have the same hashes for the same
            names, so that they can be compared.
        trackers: Names of experiment trackers that get the plan, every step, the clipped mass of every epoch and the
            gate; see `rsft.face.runs.trackers`.
        tracker_folder: Folder for what they write. By default OUT.tracked, beside `out`.
        listener: Callback that receives (stage, done, total) as each stage advances.

    Raises:
        InputError: An input or setting cannot be used, or `out` may not be written. The message states what to do.
        InterruptedTrainingError: SIGINT or SIGTERM ended a training. Its state is saved for `resume`.
    """
    recipe, out = recipe or Recipe(), Path(out)
    sources = Sources(
        pool=pool, target=target, model=model, evaluation=evaluation, evaluation_root=evaluation_root, retain=retain,
        retain_root=retain_root, attributes=attributes, landmarks=landmarks, aligned=aligned,
        allow_overlap=allow_overlap, drop_overlap=drop_overlap,
    )  # fmt: skip
    if attributes is not None and groups is None:
        raise InputError("attributes are read for groups: name the attribute to group by.")
    join()
    on_first(lambda: check_output(out, inputs=sources.paths, overwrite=overwrite, resume=resume))
    told = Trackers(trackers, tracker_folder or beside(out), out, inputs=sources.paths)
    stages, inputs = Stages(listener), read_inputs(sources, cut=recipe.cut)
    inputs.check_alike()
    check_identities(inputs.identities, recipe)
    check_looks(len(inputs.sets[POOL]), recipe)
    check_target(len(inputs.sets[TARGET]), recipe)
    group_of = group_of_each(inputs.protocols[TARGET].images, groups, attributes) if groups is not None else None
    with first_enters(writing(out, inputs=sources.paths, overwrite=overwrite, resume=resume)) as folder:
        check_shared(folder)
        run = _Run(inputs, recipe, seed, stages, folder, told)
        features = run.embed()
        opened = run.open_pool(features)
        plan = opened.plan()
        chosen = opened.choose(plan)
        if chosen.promise is not None:
            plan = replace(plan, verdict=chosen.promise.judged(plan.verdict))
        with told.of(plan, chosen, recipe, seed):
            tuned = run.tune(chosen, opened.folds)
            told.gate(tuned.gate)
        with stages.stage("evaluate"):
            tuned = run.within_bound(tuned, features)
            measured = run.evaluate(tuned, features, groups, group_of)
        with stages.stage("write"):
            pseudonym = new_pseudonyms(show=show_faces, salt=salt)
            noted = noted_inputs(
                inputs.sets, protocols=inputs.protocols, model=inputs.model, points=inputs.points, groups=group_of
            )
            config = run_config(sources, recipe, seed=seed, groups=groups, out=out, noted=noted, pseudonym=pseudonym)
            found = run.findings(plan, chosen, opened, tuned, measured, features, config)
            metrics = summarise(found, pseudonym)
            shipped = shipped_model(inputs.model, found, f"rsft, from {inputs.model.name} {inputs.model.fingerprint}")
            given = (found, metrics, shipped, pseudonym, show_faces, opened, features.target)
            on_first(lambda: run.write(*given))
    return FitResult(metrics["verdict"]["text"], metrics, plan, shipped, out)


@dataclass(frozen=True)
class _Run:
    """The steps of a fit, from embedding to writing."""

    inputs: FaceInputs
    recipe: Recipe
    seed: int
    stages: Stages
    folder: Path
    trackers: Trackers

    def embed(self) -> EmbeddedSets:
        """Embed all sets but the pool."""
        cache, inputs = self.folder / CACHE_FOLDER, self.inputs
        given: dict[str, Any] = {"protocols": inputs.protocols, "model": inputs.model, "points": inputs.points}
        on_first(lambda: check_same_inputs(cache, inputs.sets, **given, aligned=inputs.aligned))
        target = inputs.embed(TARGET, self.stages, folder=cache)
        check_target(len(target), self.recipe)  # some may be unreadable or without a face
        return EmbeddedSets(
            target,
            inputs.embed_evaluated(self.stages, cache),
        )

    def open_pool(self, features: EmbeddedSets) -> OpenPool:
        """Open the pool, with what an interrupted run has found."""
        cache = self.folder / CACHE_FOLDER
        return OpenPool(self.inputs, features.target, self.recipe, self.seed, self.stages, cache / POOL)

    def tune(self, chosen: Chosen, folds: int) -> Tuned:
        """Tune the model, with the history and the checkpoints in the run folder."""
        history = History(self.folder / HISTORY_FILE) if is_first() else None
        if history is not None and chosen.promise is not None:
            history({"promise": chosen.promise.to_dict()})
        with self.stages.stage("tune", total_steps(folds, self.recipe)) as advance:

            def on_step(record: dict[str, float]) -> None:
                if history is not None:
                    history(record)
                self.trackers.step(record)
                advance("loss" in record)

            checkpoints = self.folder / CHECKPOINTS_FOLDER
            return tune(
                self.inputs.model,
                chosen.features,
                chosen.candidates,
                self.recipe,
                folds=folds,
                seed=self.seed,
                checkpoints=checkpoints,
                on_step=on_step,
            )

    def within_bound(self, tuned: Tuned, features: EmbeddedSets) -> Tuned:
        """Step back towards the pretrained weights until the retention set loses no more than the recipe allows."""
        if RETAIN not in features.evaluated:
            return tuned

        def loss_at(share: float) -> float | None:
            report = verify([self.trial(RETAIN, features, tuned.line.at(share))], draws=2)
            return report.difference(PRETRAINED, TUNED, headline_fmr(report)).value

        return replace(tuned, gate=on_first(lambda: within_bound(tuned.gate, loss_at, self.recipe.max_retention_loss)))

    def evaluate(
        self, tuned: Tuned, features: EmbeddedSets, groups: str | None, group_of: Mapping[str, str] | None
    ) -> MeasuredSets:
        """Verify on each protocol and look closer and, if groups are asked for, compute their error rates."""
        compared = {
            key: [NamedTrial(self.trial(key, features, tuned.suffix()), features.evaluated[key].ids)]
            for key in features.evaluated
        }
        return on_first(lambda: self._measured(compared, groups, group_of))

    def _measured(
        self, compared: Mapping[str, Sequence[NamedTrial]], groups: str | None, group_of: Mapping[str, str] | None
    ) -> MeasuredSets:
        """Compute what `evaluate` returns; the first process does."""
        seed = self.seed
        reports = {key: verify([one.trial for one in of], seed=seed) for key, of in compared.items()}
        measured = MeasuredSets(
            reports,
            {key: curves_of(of, seed=seed) for key, of in compared.items()},
            {key: errors_of(of, headline_fmr(reports[key]), seed=seed) for key, of in compared.items()},
        )
        if group_of is None:
            return measured
        [target] = compared[TARGET]
        values = [group_of[item] for item in target.ids]
        return replace(measured, groups=_rates(target.trial, reports[TARGET], groups or "", values, seed))

    def findings(
        self,
        plan: Plan,
        chosen: Chosen,
        opened: OpenPool,
        tuned: Tuned,
        measured: MeasuredSets,
        features: EmbeddedSets,
        config: dict[str, Any],
    ) -> Findings:
        """Put together what the run found, in the order of its steps."""
        pool, target = self.inputs.sets[POOL], self.inputs.sets[TARGET]
        left_out = [entry for part in (chosen.features, *features.all) for entry in part.quarantined]
        return Findings(
            title=f"{self.inputs.model.name}, tuned to {target.root.name}",
            config=config,
            seed=self.seed,
            seconds=self.stages.seconds,
            pool=PoolUsed(
                pictures=len(pool),
                ids=chosen.features.ids,
                acceptance=chosen.candidates.acceptance.numpy(),
                log_ratio=chosen.log_ratio,
                accepted=chosen.accepted(self.recipe, self.seed),
            ),
            promise=chosen.promise,
            plans=[plan],
            tuned=[tuned],
            reports=measured.reports,
            groups=measured.groups,
            curves=measured.curves,
            errors=measured.errors,
            features=opened.told(),
            images_decoded=opened.looked_at,
            images_embedded=opened.embedded,
            images_trained=tuned.samples,
            quarantined=[*opened.quarantined, *left_out],
            passed_over=self.inputs.passed_over,
        )

    def trial(self, key: str, features: EmbeddedSets, suffix: nn.Module | None) -> AnyTrial:
        """Score the pretrained and the tuned stages on the pictures of one protocol."""
        evaluated = features.evaluated[key]
        return trial_of({PRETRAINED: None, TUNED: suffix}, usable(self.inputs.protocols[key], evaluated), evaluated)

    def digests(self) -> dict[str, dict[str, str]]:
        """Return the digest of each picture of all sets but the pool; call it in the first process only."""
        cache, sets = self.folder / CACHE_FOLDER, self.inputs.sets
        return {name: noted_digests(cache / name, images) for name, images in sets.items() if name != POOL}

    def write(
        self,
        found: Findings,
        metrics: dict[str, Any],
        shipped: FaceModel,
        pseudonym: Pseudonyms,
        show_faces: bool,
        opened: OpenPool,
        target: Features,
    ) -> None:
        """Write the files of the run, and remove what was kept for resuming."""
        inputs, faces = self.inputs, None
        if show_faces:
            shown = {POOL: POOL, TARGET: evaluation_set(TARGET)}
            faces = {
                key: Faces(
                    inputs.sets[name],
                    face_finder(inputs.model, aligned=inputs.aligned, landmarks=inputs.points[name]),
                )
                for key, name in shown.items()
            }
        licence, used = inputs.model.licence, {POOL: opened.digests, **self.digests()}
        options: dict[str, Any] = {"licence_of_source": licence, "pseudonym": pseudonym, "faces": faces, "used": used}
        write_run(self.folder, found, metrics, shipped, **options)
        how = faces_of(aligned=inputs.aligned, landmarks=inputs.points[TARGET] is not None)
        write_kept_target(self.folder, target, faces=how)
        for finished in (CACHE_FOLDER, CHECKPOINTS_FOLDER):
            discard(self.folder / finished)


def _rates(
    trial: AnyTrial, report: VerificationReport, groups: str, values: list[str], seed: int
) -> dict[str, dict[str, Any] | None]:
    """Compute the error rates of groups for each system."""
    return {
        name: rates_of_groups(trial, name, report.systems[name], groups, values, seed=seed)
        for name in (PRETRAINED, TUNED)
    }
