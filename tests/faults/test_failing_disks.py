"""Pictures on a disk that fails for a moment, for ever, slowly, or altogether."""

import errno
import io
import json
import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
from drawn_people import draw_people, tiny_model

from rsft.data import retrying, sources
from rsft.data.features import load_features
from rsft.data.images import find_images
from rsft.data.retrying import retried
from rsft.data.sources import read_source
from rsft.errors import DiskGoneError
from rsft.face.adaptation.recipe import Recipe
from rsft.face.embed_folder import embed_folder
from rsft.face.fit import fit
from rsft.face.pictures import embedding
from rsft.face.plan import plan_folders

RECIPE = Recipe(steps=4, batch_size=16, views=2, cut=-1, folds=1, features="covariates")
OF_A_MOMENT, FOR_EVER, CUT_OFF, VANISHED = "pool1/0.png", "pool2/1.png", "pool3/2.png", "pool4/3.png"
REASONS = {FOR_EVER: "unreadable: Input/output error, in each of 4 tries", CUT_OFF: "", VANISHED: "unreadable: No such"}
Fault = Callable[[str, int], BinaryIO | None]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrying, "WAITS", (0.0, 0.0, 0.0))
    monkeypatch.setattr(retrying, "_streak", retrying._Streak())


@pytest.fixture
def people(tmp_path: Path) -> Path:
    return draw_people(tmp_path / "people", pool=16)


def inject(monkeypatch: pytest.MonkeyPatch, fault: Fault) -> Counter[str]:
    """Let a function of the picture and its number of tries answer in place of the disk; count the tries."""
    opened, tries, lock = sources.open_regular, Counter[str](), threading.Lock()

    def open_faulty(path: Path, buffering: int = -1) -> BinaryIO:
        item = "/".join(Path(path).parts[-2:])
        with lock:
            tries[item] += 1
        return fault(item, tries[item]) or opened(path, buffering)

    monkeypatch.setattr(sources, "open_regular", open_faulty)
    return tries


def failed(number: int) -> OSError:
    return OSError(number, os.strerror(number))


def some_fail(people: Path) -> Fault:
    class CutOff(io.FileIO):
        def read(self, size: int | None = -1) -> bytes:
            return super().read(size)[:200]

    def fault(item: str, tries: int) -> BinaryIO | None:
        if item == OF_A_MOMENT and tries <= 3:
            raise failed((errno.EIO, errno.ETIMEDOUT, errno.ESTALE)[tries - 1])
        if item == FOR_EVER:
            raise failed(errno.EIO)
        if item == VANISHED:
            (people / "pool" / item).unlink(missing_ok=True)
        return CutOff(people / "pool" / item) if item == CUT_OFF else None

    return fault


def check_left_out(told: Iterable[Sequence[str]]) -> None:
    assert {item for item, _ in told} == set(REASONS)
    for item, reason in told:
        assert reason.startswith(REASONS[item]), reason


def test_an_embedding_leaves_out_what_fails_for_ever_by_name_and_nothing_else(
    people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embed_folder(pool=people / "pool", out=tmp_path / "sound", model=tiny_model(), aligned=True)
    inject(monkeypatch, some_fail(people))
    embed_folder(pool=people / "pool", out=tmp_path / "out", model=tiny_model(), aligned=True)
    sound, found = load_features(tmp_path / "sound"), load_features(tmp_path / "out")
    check_left_out(found.quarantined)
    rows = [row for row, item in enumerate(sound.ids) if item not in REASONS]
    assert list(found.ids) == [sound.ids[row] for row in rows]
    np.testing.assert_allclose(found.embeddings, sound.embeddings[rows], rtol=1e-5, atol=1e-5)


def sides(people: Path) -> dict[str, Any]:
    return {"pool": people / "pool", "target": people / "target", "model": tiny_model(), "aligned": True}


def test_a_plan_names_what_fails_for_ever(
    people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    inject(monkeypatch, some_fail(people))
    made = plan_folders(**sides(people), out=tmp_path / "plan", against=(), recipe=RECIPE)
    told = json.loads((tmp_path / "plan" / "plan.json").read_text())
    check_left_out(told["quarantined"])
    assert told["quarantined"] == made.to_dict()["quarantined"]
    assert "left out 3 pictures that cannot be used, such as 'pool2/1.png' (unreadable: Inp" in caplog.text


@pytest.mark.parametrize("features", ["covariates", "embedding"])
def test_a_fit_names_what_fails_for_ever(
    features: str, people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inject(monkeypatch, some_fail(people))
    recipe = RECIPE.model_copy(update={"features": features})
    fit(**sides(people), evaluation=people / "evaluation", out=tmp_path / "run", recipe=recipe, show_faces=True)
    check_left_out(json.loads((tmp_path / "run" / "metrics.json").read_text())["quarantined"])


def test_a_read_is_tried_again_only_where_that_may_help(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.png").write_bytes(b"picture")
    for number, expected in ((errno.ETIMEDOUT, 4), (errno.EACCES, 1), (errno.ENOENT, 1)):

        def fault(item: str, count: int, number: int = number) -> BinaryIO | None:
            raise failed(number)

        with monkeypatch.context() as patch:
            tries = inject(patch, fault)
            with pytest.raises(OSError, match=os.strerror(number)) as caught:
                read_source(tmp_path / "x.png")
        assert caught.value.errno == number
        assert set(tries.values()) == {expected}
    assert read_source(tmp_path / "x.png") == b"picture"


def test_a_disk_that_is_gone_ends_the_embedding_which_then_resumes_to_the_same(
    people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding, "PART_PICTURES", embedding.BATCH_SIZE)
    monkeypatch.setattr(retrying, "STREAK", 20)
    options: Any = {"pool": people / "pool", "model": tiny_model(), "aligned": True}
    embed_folder(**options, out=tmp_path / "sound")
    items = list(find_images(people / "pool").ids)

    def fault(item: str, tries: int) -> BinaryIO | None:
        if items.index(item) >= 40:
            raise failed(errno.EHOSTDOWN)
        return None

    with monkeypatch.context() as patch:
        inject(patch, fault)
        with pytest.raises(DiskGoneError, match=r"the last 20 files .* could not be, such as '.*png' \(Host is down\)"):
            embed_folder(**options, out=tmp_path / "out")
    assert (tmp_path / "out.partial").is_dir()
    embed_folder(**options, out=tmp_path / "out", resume=True)
    found = load_features(tmp_path / "out")
    assert found.quarantined == []
    np.testing.assert_array_equal(found.embeddings, load_features(tmp_path / "sound").embeddings)


def test_a_slow_read_is_spoken_of(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(retrying, "_watch", retrying._Watch())
    monkeypatch.setattr(retrying, "SLOW", 0.05)
    with caplog.at_level(logging.WARNING, logger="rsft"):
        assert retried(lambda: "at once", "quick.png") == "at once"
        retried(lambda: time.sleep(0.5), "slow.png")
    told = [record.getMessage() for record in caplog.records]
    assert 1 <= len(told) <= 4  # each time after twice as long
    assert all(line.startswith("'slow.png' is still being read after 0 s: its disk is slow") for line in told)
