"""A run that was interrupted goes on to the same end."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from rsft.errors import InputError, InterruptedTrainingError
from rsft.face.fit import fit
from rsft.face.recipe import Recipe

RECIPE = Recipe(steps=6, batch_size=8, views=2, learning_rate=1e-4, learnt_prototypes=True, margin_ramp_fraction=0.5)


def run(faces: Path, out: Path, **options: Any) -> dict[str, Any]:
    return fit(
        pool=faces / "pool",
        target=faces / "target",
        evaluation=faces / "evaluation",
        retain=faces / "retention",
        out=out,
        recipe=RECIPE,
        aligned=True,
        **options,
    ).metrics


def test_a_fit_interrupted_while_training_resumes_to_the_same_numbers(faces: Path, tmp_path: Path) -> None:
    """The signal comes in the second of three trainings."""
    whole = run(faces, tmp_path / "whole")

    def listener(stage: str, done: int, total: int) -> None:
        if (stage, done) == ("tune", 9):
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(InterruptedTrainingError, match=r"SIGTERM came; step 4 is saved.*--resume"):
        run(faces, tmp_path / "cut", listener=listener)
    saved = {path.parent.name for path in (tmp_path / "cut.partial" / "checkpoints").glob("*/step-*")}
    assert saved == {"fold-0", "fold-1"}
    with pytest.raises(InputError, match="seed is 0 in it and 1 now"):
        run(faces, tmp_path / "cut", resume=True, seed=1)
    resumed = run(faces, tmp_path / "cut", resume=True)
    # pictures go by hashes with a salt of each run
    assert [reason for _, reason in resumed["quarantined"]] == [reason for _, reason in whole["quarantined"]]
    for key in set(whole) - {"seconds", "quarantined"}:
        assert resumed[key] == whole[key], key
    for file in ("history.jsonl", "model/weights.safetensors"):
        assert (tmp_path / "cut" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()
    assert not (tmp_path / "cut" / "checkpoints").exists()
    (gate,) = whole["validation"]["gates"]
    assert json.loads((tmp_path / "whole" / "metrics.json").read_text())["validation"]["gates"] == [gate]
    for name in ("gain", "loss"):
        assert gate[name]["low"] <= gate[name]["value"] <= gate[name]["high"]
    assert "pairs that look like the target gain" in whole["validation"]["text"]


def test_a_retention_set_with_people_of_the_pool_is_refused(faces: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="identities of the pool are also evaluated"):
        fit(
            pool=faces / "pool",
            target=faces / "target",
            evaluation=faces / "evaluation",
            retain=faces / "pool",
            out=tmp_path / "run",
            aligned=True,
        )
