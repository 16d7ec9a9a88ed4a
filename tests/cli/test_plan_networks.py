"""`rsft plan` on photographs of real faces: the networks at hand side by side, and the advice."""

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from command_line import refused, rsft
from dark_photographs import draw_photographs

from rsft.face.networks.load import KNOWN
from rsft.types import Interval

RECIPE = '[recipe]\nfeatures = "covariates"\n'


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = draw_photographs(tmp_path_factory.mktemp("photographs"))
    (root / "recipe.toml").write_text(RECIPE)
    return root


def inputs(photographs: Path) -> list[str | Path]:
    return [
        "plan", "--pool", photographs / "pool", "--target", photographs / "target", "--config",
        photographs / "recipe.toml",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def planned(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    out = tmp_path_factory.mktemp("planned") / "plan"
    return out, rsft(*inputs(photographs), "--out", out).stdout


def test_the_networks_at_hand_stand_side_by_side(planned: tuple[Path, str]) -> None:
    """In plan.json, and in 80 columns."""
    folder, printed = planned
    plan: dict[str, Any] = json.loads((folder / "plan.json").read_text())
    found = plan["models"]
    assert [model["name"] for model in found["compared"]] == ["dlib", "sface", "sface+dlib"]
    assert [model["licence"] for model in found["compared"][:2]] == [KNOWN[name].licence for name in ("dlib", "sface")]
    assert found["left_out"] == {}
    assert found["people"] >= 5
    assert 0 < found["pictures"]["alike"] <= 150
    assert 0 < found["pictures"]["usual"] <= 450
    first, *others = found["compared"]
    assert first["alike_gain"] is first["usual_gain"] is None
    for kind, other in itertools.product(("alike", "usual"), others):
        gain = other[f"{kind}_gain"]
        assert gain["value"] == pytest.approx(other[kind]["value"] - first[kind]["value"])
        assert gain["low"] <= gain["value"] <= gain["high"]
        for told in (str(Interval(**first[kind])), str(Interval(**other[kind])), Interval(**gain).signed()):
            assert told in printed
    assert all(model["milliseconds"] > 0 for model in found["compared"])
    text = " ".join(printed.split())
    assert found["caveat"] in text
    assert f"Advice: {plan['advice']['action']}. {plan['advice']['reason']}. Next: {plan['advice']['next']}." in text
    assert set(plan["advice"]) == {"action", "reason", "next"}
    assert all(len(line) <= 80 for line in printed.splitlines())
    assert "…" not in printed[printed.index("Networks on") :]  # a name is there to be given to --model


def test_nobody_looks_for_another_network_if_that_is_asked_for(photographs: Path) -> None:
    plan = json.loads(rsft(*inputs(photographs), "--no-swap", "--json").stdout)
    assert plan["models"]["compared"] == []
    assert plan["models"]["reason"] == "none to compare with"
    assert plan["advice"]["action"] in {"tune", "leave", "collect"}


def test_networks_that_cannot_be_compared_are_refused_before_any_work(photographs: Path) -> None:
    line = inputs(photographs)
    assert "no model 'absent'" in refused(*line, "--against", "absent")
    assert "'dlib' is there twice" in refused(*line, "--against", "dlib")
    assert "leave it or --no-swap out" in refused(*line, "--against", "sface", "--no-swap")


def test_a_network_that_is_not_installed_is_left_out_by_default(
    photographs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rsft.errors import InputError
    from rsft.face.runs import at_hand

    def load(name: str) -> None:
        raise InputError(f"the package that ships '{name}' is not installed.")

    monkeypatch.setattr(at_hand, "load_model", load)
    printed = " ".join(rsft(*inputs(photographs)).stdout.split())
    assert "Other networks: none to compare with." in printed
    assert "sface was not compared: the package that ships 'sface' is not installed." in printed
    assert ".." not in printed
    assert "not installed" in refused(*inputs(photographs), "--against", "sface")
