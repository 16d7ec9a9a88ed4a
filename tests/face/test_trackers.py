"""Trackers get the plan, the training, the clipped mass of every epoch and the gate, and no name."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import accelerate.tracking
import numpy as np
import pytest
from drawn_people import draw_people, tiny_model

from rsft.errors import InputError
from rsft.face.adaptation.recipe import Recipe
from rsft.face.fit import fit
from rsft.face.runs import trackers
from rsft.face.runs.trackers import accepted_and_clipped

STEPS = 6


class Fake:
    """Stands in for a tracker that is not installed, and keeps what it gets."""

    made: "list[Fake]" = []  # noqa: RUF012
    name = "wandb"

    def __init__(self, project: str, **options: Any) -> None:
        self.options, self.logged = options, list[tuple[dict[str, float], int]]()
        self.settings: dict[str, Any] = {}
        self.ended = False
        Fake.made.append(self)

    def start(self) -> None:
        pass

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        self.settings = values

    def log(self, values: dict[str, float], step: int) -> None:
        self.logged.append((values, step))

    def finish(self) -> None:
        self.ended = True


def test_tensorboard_and_others_get_what_a_run_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    Fake.made.clear()
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setitem(trackers.PACKAGES, "wandb", "json")  # which is there
    monkeypatch.setitem(accelerate.tracking.LOGGER_TYPE_TO_CLASS, "wandb", Fake)
    root = draw_people(tmp_path / "secret")
    result = fit(
        pool=root / "pool",
        target=root / "target",
        evaluation=root / "evaluation",
        model=tiny_model(),
        out=tmp_path / "run",
        recipe=Recipe(steps=STEPS, batch_size=32, views=2, cut=-1, features="covariates"),
        aligned=True,
        trackers=["tensorboard", "wandb"],
    )
    [fake] = Fake.made
    assert fake.ended
    assert (fake.options["mode"], fake.options["name"]) == ("offline", "run")
    told: dict[str, list[tuple[int, float]]] = {}
    for values, step in fake.logged:
        for name, value in values.items():
            told.setdefault(name, []).append((step, value))
    assert told["plan/clipped_mass"] == [(0, pytest.approx(result.plan.envelope.clipped_mass))]
    assert len(told["loss"]) == STEPS
    assert {"fold-0/loss", "fold-1/loss"} <= told.keys()
    assert told["gate/share"] == [(0, result.metrics["validation"]["gates"][0]["share"])]
    assert len(told["clipped_mass"]) == len(told["epoch"]) >= 2
    assert all(0 <= value < 1 for _, value in told["clipped_mass"])
    [file] = (tmp_path / "run.tracked").rglob("rsft/events.out.tfevents.*")
    events = event_accumulator.EventAccumulator(str(file)).Reload()
    assert {"loss", "clipped_mass", "plan/m", "gate/share"} <= set(events.Tags()["scalars"])
    assert [event.step for event in events.Scalars("loss")] == [step for step, _ in told["loss"]]
    for path in (tmp_path / "run.tracked").rglob("*"):
        assert path.is_dir() or not any(word in path.read_bytes() for word in (b"secret", b"pool0", b"evaluation0"))
    assert fake.settings["seed"] == 0
    assert not any("secret" in str(value) for value in fake.settings.values())
    assert not list((tmp_path / "run").rglob("*tfevents*"))


def test_the_accepted_tell_the_clipped_mass_of_all() -> None:
    """Against the sum over all pictures, on average over epochs; leaving out the weights would be far off."""
    generator = np.random.default_rng(0)
    log_ratio = generator.normal(0, 1.5, 4000)
    log_m = 1.0
    ratio, m = np.exp(log_ratio), np.exp(log_m)
    wanted = np.maximum(ratio - m, 0).sum() / ratio.sum()
    found = [
        accepted_and_clipped(log_ratio, np.flatnonzero(generator.random(4000) < ratio / m), log_m)[1] for _ in range(50)
    ]
    assert abs(np.mean(found) - wanted) < 5 * np.std(found) / np.sqrt(50)


def test_trackers_write_beside_the_run_however_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "run" / "deeper").mkdir(parents=True)
    for here, out in (("", "run"), ("run", "."), ("run/deeper", "..")):
        monkeypatch.chdir(tmp_path / here)
        assert trackers.beside(Path(out)) == tmp_path / "run.tracked"


def test_what_is_not_there_is_said_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sets = tmp_path / "sets"
    inputs: Any = {"pool": sets, "target": sets, "evaluation": sets, "out": tmp_path / "run"}
    with pytest.raises(InputError, match=r"unknown tracker 'tensorbord' \(did you mean 'tensorboard'\?\)"):
        fit(**inputs, trackers=["tensorbord"])
    monkeypatch.setattr(trackers, "importlib", SimpleNamespace(util=SimpleNamespace(find_spec=lambda name: None)))
    with pytest.raises(InputError, match="the tracker 'mlflow' is not installed: pip install mlflow"):
        fit(**inputs, trackers=["mlflow"])
    monkeypatch.setattr(trackers, "importlib", sys.modules["importlib"])
    with pytest.raises(InputError, match="lies in the output"):
        fit(**inputs, trackers=["tensorboard"], tracker_folder=tmp_path / "run" / "board")
    assert not (tmp_path / "run").exists()


class Failing(Fake):
    """Fails when it is told of a step."""

    def log(self, values: dict[str, float], step: int) -> None:
        if step:
            raise ConnectionError("the server is gone\nand more")
        super().log(values, step)


class Closed(Fake):
    """Does not start."""

    def start(self) -> None:
        raise ConnectionError("no server at that address.\nand more")


@pytest.fixture
def inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setitem(trackers.PACKAGES, "wandb", "json")  # which is there
    root = draw_people(tmp_path / "faces")
    return {
        **{name: root / name for name in ("pool", "target", "evaluation")},
        "model": tiny_model(),
        "recipe": Recipe(steps=STEPS, batch_size=32, views=2, cut=-1, features="covariates"),
        "aligned": True,
        "out": tmp_path / "run",
        "trackers": ["wandb"],
    }


def test_a_tracker_that_fails_costs_no_training(
    inputs: dict[str, Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    Fake.made.clear()
    monkeypatch.setitem(accelerate.tracking.LOGGER_TYPE_TO_CLASS, "wandb", Failing)
    assert (fit(**inputs).out / "metrics.json").exists()
    said = [record.getMessage() for record in caplog.records if "tracker" in record.getMessage()]
    assert said == ["the tracker 'wandb' failed and gets nothing more: the server is gone"]
    assert {step for _, step in Fake.made[0].logged} == {0}


def test_a_tracker_that_does_not_start_is_told_in_one_line(
    inputs: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(accelerate.tracking.LOGGER_TYPE_TO_CLASS, "wandb", Closed)
    with pytest.raises(
        InputError, match=r"^the tracker 'wandb' does not start: no server at that address\. Mend[^\n]*$"
    ):
        fit(**inputs)
    monkeypatch.setitem(accelerate.tracking.LOGGER_TYPE_TO_CLASS, "wandb", Fake)
    assert fit(**inputs, resume=True).out == inputs["out"]
