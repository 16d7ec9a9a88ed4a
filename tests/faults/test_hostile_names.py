"""Names that look like markup are printed and written as they are, on the terminal and in the model card."""

from pathlib import Path
from typing import Any

import pytest
from drawn_people import tiny_model
from small_run import SOME, metrics, plan

from rsft.cli import show
from rsft.errors import InputError
from rsft.face.runs.model_card import write_card
from rsft.plan import plan_from_ratio

NAME = "[/bold] [red]ann[/red] [link=file:///etc]x"
FIGURES = {"expected_accepted": 12.0, "pool_items": 102.0, "unsupported_fraction": 0.0, "mean_ratio": 1.0}


def on_one_line(text: str) -> str:
    return " ".join(text.replace("│", " ").replace("┃", " ").split())


def test_names_are_no_markup_of_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    told = metrics() | {"title": NAME, "verdict": metrics()["verdict"] | {"reason": NAME}, "promise": None}
    show.print_metrics(told, f"run {NAME}")
    assert on_one_line(capsys.readouterr().out).count(NAME) == 3
    planned: dict[str, Any] = plan() | {"notes": [NAME], "verdict": {"outcome": "worth trying", "reason": NAME}}
    planned["diagnostics"] = FIGURES | {"mean_ratio_error": 0.1}
    planned["pilot"]["like_target"] = 30.0
    covariate = planned["arrival"]["covariates"][0] | {"name": NAME}
    planned["arrival"] = {"before": {"auc": SOME}, "after": None, "covariates": [covariate], "unsupported": [NAME]}
    show.print_plan(planned)
    assert on_one_line(capsys.readouterr().out).count(NAME) == 4


def test_names_are_no_html_of_the_card(tmp_path: Path) -> None:
    import json
    from dataclasses import replace

    import torch

    hostile = "<img src=x onerror=alert(1)>"
    (tmp_path / "plan.json").write_text(json.dumps(plan()))
    told = metrics() | {"title": hostile, "doubtful_labels": 0}
    made = plan_from_ratio(torch.zeros(50, dtype=torch.float64))
    write_card(tmp_path, told, made, replace(tiny_model(), name=hostile, licence=hostile, source=hostile))
    card = (tmp_path / "model_card.md").read_text()
    assert "<" not in card
    assert card.count("&lt;img src=x onerror=alert(1)>") == 4


def test_an_error_is_one_line_of_printable_signs_whatever_a_file_calls_things() -> None:
    assert str(InputError("no 'a\n\x1b[2J\udcff é'")) == r"no 'a\n\x1b[2J\udcff é'"
