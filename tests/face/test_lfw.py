"""Accuracy of the pretrained network on development faces that are not in the repository."""

from pathlib import Path

import pytest

from rsft.face.evaluate import evaluate_folders


def test_pretrained_accuracy_on_lfw(development_data: Path) -> None:
    """The accuracy on folds 1-6 of the official pairs is within half a point of the published 98.9 % over 10 folds."""
    result = evaluate_folders(
        evaluation=development_data / "lfw-pairs-folds1-6.csv", evaluation_root=development_data / "lfw-folds1-6.tar"
    )["target"]
    assert result["accuracy"]["value"] == pytest.approx(0.989, abs=0.005)
    assert (result["pairs_genuine"], result["pairs_impostor"]) == (1800, 1800)
