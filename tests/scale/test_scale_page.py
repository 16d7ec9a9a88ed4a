"""docs/scale.md runs as it stands, and its figures are those of the benchmark."""

import importlib
import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from documents import ROOT
from PIL import Image
from scale_page import PAGE, run_blocks

from rsft.face.networks.load import load_model


def test_the_page_runs_in_one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engines' blocks run in tests/scale/test_engines.py, where there are engines."""
    monkeypatch.chdir(tmp_path)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        names = run_blocks(None)
    accepted = names["table"].accepted(0).tolist()
    assert sorted(names["loader"].sampler) == accepted
    assert sorted(names["paths"]) == sorted(f"{item}.jpg" for item in accepted)
    assert 0 < len(accepted) < len(names["pool"])
    links = [path.readlink() for path in (tmp_path / "epoch-0" / "train").iterdir()]
    assert sorted(links) == sorted(tmp_path / "faces" / f"{item}.jpg" for item in accepted)
    chips = [np.full((150, 150, 3), shade, np.uint8) for shade in (60, 200)]
    files = [io.BytesIO(), io.BytesIO()]
    for chip, file in zip(chips, files, strict=True):
        Image.fromarray(chip).save(file, "PNG")
    found = names["Faces"]()(pa.table({"jpeg": [file.getvalue() for file in files]}))
    with torch.inference_mode():
        assert torch.allclose(
            found, load_model("dlib").network.eval()(torch.from_numpy(np.stack(chips)).permute(0, 3, 1, 2).float())
        )


def test_the_costs_on_the_page_are_those_of_the_benchmark(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    benchmark = importlib.import_module("scale")
    page, found = (ROOT / PAGE).read_text(), json.loads(benchmark.RESULTS.read_text())
    assert [table for table in benchmark.costs(found) if table not in page] == []
    assert all(found[engine]["network"]["ratio"]["high"] < 1.05 for engine in benchmark.ENGINES)  # "it is kept"
