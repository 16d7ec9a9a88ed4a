"""The networks at hand: which are compared, on which pictures, and when it cannot be told."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from drawn_people import draw_people, tiny_model

from rsft.data.images import ImageSet, find_images
from rsft.errors import InputError
from rsft.face.adaptation.alike import FMR
from rsft.face.adaptation.recipe import Recipe
from rsft.face.networks.bundle import FaceModel
from rsft.face.networks.chip_points import ARCFACE, DLIB, scaled
from rsft.face.pictures.embedding import embed
from rsft.face.plan import plan_folders
from rsft.face.runs import at_hand, open_pool
from rsft.face.runs.at_hand import find_models, same_crop
from rsft.face.runs.results import PlanResult

RECIPE = Recipe(cut=-1, features="covariates", method="classifier", siblings=2)


def other_model(**changes: Any) -> FaceModel:
    return replace(tiny_model(seed=1), name="other", **changes)


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pool of 24 people, 144 pictures, and a target of 60, all dark."""
    return draw_people(tmp_path_factory.mktemp("people"), pool=24, target=10)


def planned(people: Path, pool: Path | None = None, **options: Any) -> PlanResult:
    given: dict[str, Any] = {"model": tiny_model(), "against": [other_model()], "recipe": RECIPE, "aligned": True}
    return plan_folders(pool=pool or people / "pool", target=people / "target", **(given | options))


def test_every_network_has_the_figures_of_the_same_few_pictures(people: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are those of the whole pool's embeddings at these pictures."""
    kept: list[Any] = []
    draw, choose = open_pool.OpenPool.draw_alike, at_hand.choose_compared

    def draw_alike(*arguments: Any) -> Any:
        kept.append(draw(*arguments))
        return kept[-1]

    def choose_compared(*arguments: Any, **options: Any) -> Any:
        kept.append(choose(*arguments, **options))
        return kept[-1]

    monkeypatch.setattr(open_pool.OpenPool, "draw_alike", draw_alike)
    monkeypatch.setattr(at_hand, "choose_compared", choose_compared)
    monkeypatch.setattr(at_hand, "MOST_ALIKE", 20)
    monkeypatch.setattr(at_hand, "MOST_USUAL", 60)
    result = planned(people)
    drawn, compared = kept[-2:]
    assert (result.swap.alike, result.swap.usual) == (compared.alike, compared.usual)
    assert 0 < compared.alike <= 20
    assert 0 < compared.usual <= 60
    images = find_images(people / "pool", labelled=True)
    items = [images.ids[item] for item in drawn.items[compared.rows].tolist()]
    assert all(int(Path(item).stem) % 2 == 0 for item in items[: compared.alike])  # the dark ones are like the target
    embeddings = {}
    for model in (tiny_model(), other_model()):
        whole = embed(model, images, aligned=True)
        place = {item: row for row, item in enumerate(whole.ids)}
        embeddings[model.name] = whole.embeddings[[place[item] for item in items]]
    reports = compared.verify(embeddings, seed=result.plan.seed)
    assert [model.name for model in result.swap.models] == ["tiny", "other"]
    for told in result.swap.models:
        for kind, value in (("alike", told.alike), ("usual", told.usual)):
            assert value == reports[kind].systems[told.name].tar_at_fmr[FMR]
    assert result.swap.models[1].alike_gain == reports["alike"].difference("other", "tiny", FMR)
    assert result.swap.models[1].usual_gain == reports["usual"].difference("other", "tiny", FMR)


def test_each_picture_is_opened_once_by_each_network(people: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = Counter[str]()
    original = ImageSet.read_bytes

    def read(images: ImageSet, index: int) -> bytes:
        counts[images.ids[index]] += 1
        return original(images, index)

    monkeypatch.setattr(ImageSet, "read_bytes", read)
    planned(people, against=())
    before = counts.copy()
    counts.clear()
    planned(people)
    more = {item: counts[item] - before[item] for item in counts}
    assert set(more.values()) <= {0, 2}
    assert sum(more.values()) > 0


def test_too_few_people_like_the_target_cannot_tell(people: Path, tmp_path: Path) -> None:
    """Four people have dark pictures; the others have light ones only."""
    for number, person in enumerate(sorted((people / "pool").iterdir())):
        (tmp_path / "pool" / person.name).mkdir(parents=True)
        for path in person.iterdir():
            if number < 4 or int(path.stem) % 2:
                (tmp_path / "pool" / person.name / path.name).symlink_to(path)
    result = planned(people, tmp_path / "pool")
    assert result.swap.people is not None
    assert result.swap.people < 5
    assert result.swap.models == ()
    assert f"cannot be told: {result.swap.people} people" in (result.swap.reason or "")
    assert result.advice.action == "collect"


def test_only_networks_with_the_same_crop_share_chips() -> None:
    double = other_model(size=224, template=scaled(ARCFACE, 2))
    assert same_crop(tiny_model(), double)
    assert not same_crop(tiny_model(), other_model(size=150, template=DLIB))
    first = tiny_model()
    found = find_models(first, first, [other_model(size=150, template=DLIB)], aligned=True)
    assert list(found.models) == ["tiny"]
    assert "another" in found.left_out["other"]
    assert list(find_models(first, first, [double], aligned=True).models) == ["tiny", "other"]


def test_a_network_is_not_compared_with_itself() -> None:
    first = tiny_model()
    with pytest.raises(InputError, match="'tiny' is there twice"):
        find_models(first, first, [first], aligned=True)
    with pytest.raises(InputError, match="'same' is there twice"):
        find_models(first, first, [replace(first, name="same")], aligned=True)
    assert find_models(first, first, [], aligned=True).left_out == {}


def test_the_best_plan_of_a_ranking_is_advised_on_too(people: Path) -> None:
    result = planned(people, compare=True)
    assert result.plan is result.ranking[0].plan
    assert [model.name for model in result.swap.models] == ["tiny", "other"]
    assert result.to_dict()["advice"] == result.advice.to_dict()
