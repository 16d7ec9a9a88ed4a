"""A pool that is read as it is needed: the law of its pictures, what is opened, interruptions, and what is told."""

import json
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest
import torch
from drawn_people import draw_people, tiny_model

from rsft.data.features import Features
from rsft.data.images import ImageSet, find_images
from rsft.data.packed_views import PackedViews
from rsft.errors import InputError
from rsft.face.adaptation import selection
from rsft.face.adaptation.recipe import Recipe
from rsft.face.evaluation.protocol import TARGET
from rsft.face.fit import fit
from rsft.face.pictures import embedding, looks
from rsft.face.pictures.embedding import embed
from rsft.face.plan import plan_folders
from rsft.face.runs import open_pool
from rsft.face.runs.inputs import POOL, inputs_of
from rsft.face.runs.open_pool import Chosen, OpenPool
from rsft.face.runs.progress import Stages, silent
from rsft.pilot import pilot_items
from rsft.plan import Plan
from rsft.ranking import Ranked
from rsft.sampling.acceptance import accept_at, acceptance_probability
from rsft.sampling.identities import mind_identities
from rsft.verdict import Outcome

PILOT = 48
SETTINGS: dict[str, Any] = {
    "accepted": 20, "judged": 24, "siblings": 2, "steps": 4, "batch_size": 8, "views": 3, "cut": -1,
    "learning_rate": 1e-2, "features": "covariates", "method": "classifier",
}  # fmt: skip


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pool of 24 people, 144 pictures, and a target of 60."""
    return draw_people(tmp_path_factory.mktemp("people"), pool=24, target=10)


@pytest.fixture(scope="module")
def target(people: Path) -> Features:
    return embed(tiny_model(), find_images(people / "target"), aligned=True)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pool is three times its pilot, and is walked through and kept in small parts."""
    monkeypatch.setattr(open_pool, "PILOT_SIZES", (PILOT,))
    monkeypatch.setattr(open_pool, "COMPARED_ITEMS", 36)
    monkeypatch.setattr(open_pool, "ALIKE_ITEMS", 12)
    monkeypatch.setattr(selection, "BLOCK_ITEMS", 16)
    for module, name in ((looks, "PART_PICTURES"), (embedding, "PART_PICTURES"), (embedding, "READ_AHEAD")):
        monkeypatch.setattr(module, name, 8)


@pytest.fixture
def changed(people: Path, tmp_path: Path) -> Path:
    """A copy of the pool that a test may change."""
    shutil.copytree(people / "pool", tmp_path / "changed")
    return tmp_path / "changed"


class Reads:
    """How often each picture was opened, in all and up to each stage; the run can be stopped at one of these times."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.counts, self.stages = Counter[str](), dict[str, int]()
        self.stop_at: int | None = None
        original = ImageSet.read_bytes

        def read(images: ImageSet, index: int) -> bytes:
            if self.stop_at is not None and self.total >= self.stop_at:
                self.stop_at = None
                raise KeyboardInterrupt
            self.counts[images.ids[index]] += 1
            return original(images, index)

        monkeypatch.setattr(ImageSet, "read_bytes", read)

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    def listen(self, stage: str, done: int, total: int) -> None:
        self.stages.setdefault(stage, self.total)


def open_one(
    pool: Path, target: Features, folder: Path | None = None, *, listener: Callable[..., None] = silent, **options: Any
) -> OpenPool:
    inputs = inputs_of(tiny_model(), {POOL: find_images(pool, labelled=True), TARGET: find_images(pool)}, aligned=True)
    seed = options.pop("seed", 0)
    return OpenPool(inputs, target, Recipe(**(SETTINGS | options)), seed, Stages(listener), folder)


def whole_run(*arguments: Any, **options: Any) -> tuple[OpenPool, Plan, Chosen]:
    opened = open_one(*arguments, **options)
    made = opened.plan()
    return opened, made, opened.choose(made)


def assert_same(first: tuple[OpenPool, Plan, Chosen], second: tuple[OpenPool, Plan, Chosen]) -> None:
    """Assert that two runs found the same, bit for bit."""
    assert first[1].to_dict() == second[1].to_dict()
    one, other = first[2], second[2]
    assert list(one.features.ids) == list(other.features.ids)
    np.testing.assert_array_equal(one.features.embeddings, other.features.embeddings)
    packed = one.features.activations, other.features.activations
    assert isinstance(packed[0], PackedViews)
    assert isinstance(packed[1], PackedViews)
    np.testing.assert_array_equal(packed[0].kept, packed[1].kept)
    np.testing.assert_array_equal(packed[0].array, packed[1].array)
    np.testing.assert_array_equal(one.log_ratio, other.log_ratio)
    for name, values in vars(one.candidates).items():
        np.testing.assert_array_equal(values, getattr(other.candidates, name), err_msg=name)
    assert (one.reach, one.promise) == (other.reach, other.promise)
    for name in ("looked_at", "embedded", "quarantined", "kind"):
        assert getattr(first[0], name) == getattr(second[0], name), name


# The law


@pytest.mark.parametrize("features", ["covariates", "activations"])
def test_pictures_of_the_pilot_keep_their_held_out_ratios_and_others_get_those_of_the_law(
    people: Path, target: Features, features: str
) -> None:
    """Whatever is looked at together. Pictures that only serve the gate or a prototype are never accepted."""
    _, made, chosen = whole_run(people / "pool", target, features=features)
    assert made.pilot is not None
    assert made.law is not None
    assert made.pilot.rows.tolist() == pilot_items(144, PILOT, seed=0).tolist()
    whole = embed(tiny_model(), find_images(people / "pool"), aligned=True)
    table = whole.nuisances if features == "activations" else np.column_stack(list(whole.covariates.values()))
    expected = made.law.log_ratio(table).numpy()
    expected[made.pilot.rows] = made.log_ratio.numpy()
    numbers, known = chosen.candidates.numbers, ~np.isnan(chosen.log_ratio)
    np.testing.assert_allclose(chosen.log_ratio[known], expected[numbers[known]], atol=1e-6)
    assert [whole.ids[number] for number in numbers] == list(chosen.features.ids)
    visited = pilot_items(144, chosen.reach, seed=0)
    acceptance = acceptance_probability(torch.from_numpy(expected), made.envelope.log_m).numpy()
    acceptance[np.setdiff1d(np.arange(144), visited)] = 0.0
    np.testing.assert_allclose(chosen.candidates.acceptance.numpy(), acceptance[numbers], atol=1e-6)
    assert chosen.promise is not None
    assert chosen.promise.items == len(np.setdiff1d(visited, made.pilot.rows))
    assert chosen.promise.mean_ratio.value == pytest.approx(
        np.exp(expected[np.setdiff1d(visited, made.pilot.rows)]).mean(), rel=1e-5
    )


def test_the_same_seed_finds_the_same_and_another_seed_others(people: Path, target: Features) -> None:
    runs = [whole_run(people / "pool", target, features="auto", seed=seed) for seed in (3, 3, 4)]
    assert_same(runs[0], runs[1])
    assert list(runs[0][2].features.ids) != list(runs[2][2].features.ids)


def test_no_more_is_opened_than_is_needed(people: Path, target: Features, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each picture once to look at it, and at most once for each pass of the network: for headroom and for training."""
    reads = Reads(monkeypatch)
    opened, _, chosen = whole_run(people / "pool", target)
    assert opened.looked_at == len(reads.counts) < 144
    assert set(chosen.features.ids) <= set(reads.counts)
    assert max(reads.counts.values()) <= 3
    assert len(chosen.features) <= opened.embedded < opened.looked_at
    few = open_one(people / "pool", target, max_looks=30, features="auto")
    reads.counts.clear()
    pilot = few.plan().pilot
    assert pilot is not None
    assert pilot.looked_at == 30
    assert few.looked_at - 30 <= 12 * (SETTINGS["siblings"] + 1)  # beside them, for the headroom


# Pictures that cannot be used


def break_picture(pool: Path, number: int) -> str:
    item = find_images(pool).ids[number]
    (pool / item).write_bytes(b"no picture")
    return str(item)


def test_a_broken_picture_is_quarantined_and_the_law_of_the_others_is_untouched(
    people: Path, changed: Path, target: Features
) -> None:
    _, made, chosen = whole_run(people / "pool", target)
    assert made.pilot is not None
    candidates = chosen.candidates
    trained = candidates.numbers[accept_at(candidates.acceptance.numpy(), candidates.numbers, seed=0)]
    number = next(int(item) for item in trained if item not in made.pilot.rows)
    item = break_picture(changed, number)
    opened, without, others = whole_run(changed, target)
    assert opened.quarantined == [(item, "unreadable: not an image file")]
    np.testing.assert_array_equal(without.log_ratio, made.log_ratio)
    assert without.envelope == made.envelope
    assert number not in others.candidates.numbers
    shared = np.intersect1d(candidates.numbers, others.candidates.numbers)
    assert len(shared) > 0.8 * len(candidates)
    of_one, of_other = (
        each.candidates.acceptance.numpy()[np.isin(each.candidates.numbers, shared)] for each in (chosen, others)
    )
    both = (of_one > 0) & (of_other > 0)  # a walk that misses one may go further
    np.testing.assert_allclose(of_one[both], of_other[both], rtol=1e-6)  # the law is computed on others beside them


def test_a_pilot_knows_its_broken_pictures(changed: Path, target: Features, monkeypatch: pytest.MonkeyPatch) -> None:
    number = int(pilot_items(144, PILOT, seed=0)[5])
    break_picture(changed, number)
    made = open_one(changed, target).plan()
    assert made.pilot is not None
    assert made.pilot.unusable.tolist() == [number]
    assert (made.pilot.looked_at, len(made.log_ratio)) == (PILOT, PILOT - 1)
    expected = float(made.acceptance.sum()) * 144 / PILOT
    assert made.diagnostics["expected_accepted"] == pytest.approx(expected)
    monkeypatch.setattr(open_pool, "PILOT_SIZES", (200,))
    whole = open_one(changed, target).plan().pilot
    assert whole is not None
    assert whole.is_whole
    assert whole.acceptance_rate.low == whole.acceptance_rate.high


def test_a_pool_without_a_usable_picture_is_refused_with_a_reason(tmp_path: Path, target: Features) -> None:
    for person in "abcd":
        (tmp_path / "pool" / person).mkdir(parents=True)
        (tmp_path / "pool" / person / "0.jpg").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"no picture of .* could be used \('a/0.jpg': unreadable: not an image file"):
        open_one(tmp_path / "pool", target).plan()


# Interruptions


@pytest.mark.parametrize("features", ["covariates", "activations"])
def test_a_run_that_is_stopped_anywhere_finds_the_same_and_opens_little_again(
    people: Path, target: Features, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, features: str
) -> None:
    """In the pilot, in the walk, and twice in the embedding; only the part under way is opened again."""
    reads = Reads(monkeypatch)
    whole = whole_run(people / "pool", target, tmp_path / "whole", listener=reads.listen, features=features)
    total, walk, chosen = reads.total, reads.stages["look at pictures"], reads.stages["embed pool"]
    assert 30 < walk < walk + 10 < chosen < chosen + 20 < total
    stops = {"pilot": [30], "late pilot": [walk - 3], "walk": [walk + 10], "embedding": [chosen + 3, total - 3]}
    for name, times in stops.items():
        reads.counts.clear()
        for time in times:
            reads.stop_at = max(time, reads.total)
            with pytest.raises(KeyboardInterrupt):
                whole_run(people / "pool", target, tmp_path / name, features=features)
        assert_same(whole_run(people / "pool", target, tmp_path / name, features=features), whole)
        assert total <= reads.total <= total + 24 * len(times), name  # a part, and what was read ahead of it
        again = reads.total
        whole_run(people / "pool", target, tmp_path / name, features=features)
        assert reads.total == again


def test_a_pool_that_has_changed_is_refused_and_what_was_found_is_kept(
    people: Path, changed: Path, target: Features, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "kept"
    reads = Reads(monkeypatch)
    before = whole_run(changed, target, folder)
    content = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    shutil.copy(changed / "pool0" / "0.png", changed / "pool0" / "9.png")
    with pytest.raises(InputError, match="the pool changed since the run was interrupted"):
        open_one(changed, target, folder)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == content
    (changed / "pool0" / "9.png").unlink()
    reads.counts.clear()
    assert_same(whole_run(changed, target, folder), before)
    assert reads.total == 0


def test_a_fit_that_is_stopped_in_its_pool_resumes_to_the_same_metrics(
    people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = Reads(monkeypatch)
    whole = run(people, tmp_path / "whole", listener=reads.listen)
    reads.counts.clear()
    reads.stop_at = reads.stages["look at pictures"] + 10
    with pytest.raises(KeyboardInterrupt):
        run(people, tmp_path / "cut")
    resumed = run(people, tmp_path / "cut", resume=True)
    for key in set(whole) - {"seconds"}:
        assert resumed[key] == whole[key], key
    weights = [(tmp_path / name / "model" / "weights.safetensors").read_bytes() for name in ("whole", "cut")]
    assert weights[0] == weights[1]


# What a run tells


def run(people: Path, out: Path, *, pool: str = "pool", changes: dict[str, Any] | None = None, **options: Any) -> Any:
    """Fit the tiny model and return its metrics."""
    return fit(
        pool=people / pool,
        target=people / "target",
        evaluation=people / "evaluation",
        out=out,
        model=tiny_model(),
        recipe=Recipe(**(SETTINGS | (changes or {}))),
        aligned=True,
        **options,
    ).metrics


def unlike_the_rest(items: int, size: int, *, seed: int) -> np.ndarray:
    """Return a pilot that holds every light picture of a pool, and of the dark ones those of three people."""
    numbers = np.arange(items)
    return numbers[(numbers % 2 == 1) | (numbers < 18)]


def test_a_pilot_that_is_unlike_the_rest_breaks_its_promise(
    people: Path, target: Features, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of the rest are dark, like the target, and the plan expected few such pictures."""
    monkeypatch.setattr("rsft.promise.MIN_MET", 40)
    _, made, honest = whole_run(people / "pool", target, accepted=100)
    assert honest.promise is not None
    assert honest.promise.items >= 40
    assert honest.promise.broken is None
    assert honest.promise.judged(made.verdict) == made.verdict
    monkeypatch.setattr("rsft.pilot_plan.pilot_items", unlike_the_rest)
    metrics = run(people, tmp_path / "run", changes={"accepted": 100})
    assert metrics["promise"]["items"] >= 40
    assert metrics["promise"]["mean_ratio"]["low"] > 1.2
    assert "the part of the pool that the plan was made from is unlike the rest" in metrics["promise"]["broken"]
    verdict = json.loads((tmp_path / "run" / "plan.json").read_text())["verdict"]
    assert verdict == {"outcome": str(Outcome.NOT_ESTIMABLE), "reason": metrics["promise"]["broken"]}
    page = " ".join((tmp_path / "run" / "report.html").read_text().split())
    assert f"The plan was made from {len(unlike_the_rest(144, 0, seed=0))} pictures." in page
    assert "The plan is not kept: the mean ratio of the" in page


@pytest.mark.parametrize("rule", [{"accept_by": "identity"}, {"floor": 3}])
def test_a_rule_for_identities_reads_the_whole_pool_and_names_what_it_accepts(
    people: Path, tmp_path: Path, rule: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = Reads(monkeypatch)
    with pytest.raises(InputError, match=r"looks at all 144 pictures, and recipe\.max_looks is 143"):
        run(people, tmp_path / "refused", changes=rule | {"max_looks": 143})
    assert reads.total == 0
    metrics = run(people, tmp_path / "run", changes=rule | {"envelope": "rate=0.5"})
    assert (metrics["images_decoded"], metrics["pool_pictures"], metrics["promise"]) == (144, 144, None)
    rows = pyarrow.parquet.read_table(tmp_path / "run" / "accepted.parquet").to_pydict()
    acceptance = torch.tensor(rows["acceptance"], dtype=torch.float64)
    names = np.unique(rows["identity"], return_inverse=True)[1]
    recipe = Recipe(**rule)
    expected = mind_identities(acceptance, torch.from_numpy(names), recipe.accept_by, recipe.floor)
    assert expected is not None
    assert np.flatnonzero(rows["accepted"]).tolist() == expected.accepted(0, 0).tolist()
    assert 0 < sum(rows["accepted"]) < len(names)
    compared = plan_folders(
        pool=people / "pool",
        target=people / "target",
        model=tiny_model(),
        against=(),
        recipe=Recipe(**(SETTINGS | rule)),
        compare=True,
        aligned=True,
    )
    assert compared.plan is compared.ranking[0].plan
    assert len(compared.plan.acceptance) == 144


@pytest.mark.parametrize("retain_fraction", [0.0, 0.5])
def test_a_pilot_without_a_picture_like_the_target_says_so_and_keeps_the_weights(
    people: Path, tmp_path: Path, retain_fraction: float
) -> None:
    """The target is dark, and all pictures of the pool are light."""
    for path in (people / "pool").glob("*/*.png"):
        if int(path.stem) % 2:
            (tmp_path / "light" / path.parent.name).mkdir(parents=True, exist_ok=True)
            shutil.copy(path, tmp_path / "light" / path.parent.name)
    for name in ("target", "evaluation"):
        (tmp_path / name).symlink_to(people / name)
    changes = {"features": "activations", "retain_fraction": retain_fraction}
    metrics = run(tmp_path, tmp_path / "run", pool="light", changes=changes)
    verdict = json.loads((tmp_path / "run" / "plan.json").read_text())["verdict"]
    assert verdict["outcome"] in {str(Outcome.PILOT_TOO_SMALL), str(Outcome.TOO_LITTLE_SUPPORT)}
    assert metrics["verdict"]["outcome"] == "kept"
    json.loads((tmp_path / "run" / "metrics.json").read_text(), parse_constant=pytest.fail)


@pytest.mark.parametrize("kind", ["covariates", "activations"])
def test_the_plan_is_made_on_the_chosen_kind(
    people: Path, target: Features, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """It is the plan that this kind would have given by itself, on the same pilot."""

    def choose(ranking: Sequence[Ranked]) -> Ranked:
        return next(ranked for ranked in ranking if ranked.features == kind)

    monkeypatch.setattr(open_pool, "choose_features", choose)
    opened = open_one(people / "pool", target, features="auto")
    made, direct = opened.plan(), open_one(people / "pool", target, features=kind).plan()
    assert opened.kind == kind
    np.testing.assert_array_equal(made.log_ratio, direct.log_ratio)
    assert made.to_dict() == direct.to_dict()


def test_the_chosen_kind_and_its_cost_are_told(people: Path, target: Features) -> None:
    opened = open_one(people / "pool", target, features="auto")
    opened.plan()
    told = opened.told()
    assert {kind["features"] for kind in told["compared"]} == {"covariates", "activations", "embedding"}
    assert told["kind"] in {kind["features"] for kind in told["compared"]}
    cost = {kind["features"]: kind["seconds_of_a_picture"] for kind in told["compared"]}
    assert 0 < cost["covariates"] < cost["activations"] == cost["embedding"] < 1


def test_the_pilot_grows_by_the_kind_that_is_chosen(
    people: Path, target: Features, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Covariates would tell enough from the smallest pilot, and the chosen kind never does."""
    module = "rsft.face.runs.open_pool"
    monkeypatch.setattr(f"{module}.PILOT_SIZES", (40, 60))
    monkeypatch.setattr(
        f"{module}.choose_features", lambda ranking: next(r for r in ranking if r.features != "covariates")
    )
    opened = open_one(people / "pool", target, features="auto")
    monkeypatch.setattr("rsft.pilot.Pilot.is_enough", property(lambda pilot: opened.kind == "covariates"))
    made = opened.plan()
    assert opened.kind != "covariates"
    assert made.pilot is not None
    assert len(made.pilot.rows) + len(made.pilot.unusable) == 60
