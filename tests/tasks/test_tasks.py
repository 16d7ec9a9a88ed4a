"""Scores, shares, losses and metrics of the tasks, and the input that they reject."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from sklearn.metrics import accuracy_score, balanced_accuracy_score, jaccard_score
from small_tasks import CLASSES, SIDE, SMALL, classification, decode, detection, loss_of_each, segmentation
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, IterableDataset

import rsft
from rsft.baselines import alternatives
from rsft.compare import Batches
from rsft.errors import InputError
from rsft.tasks.classification import Classification
from rsft.tasks.compare import evaluate, trainer
from rsft.tasks.conformance import NotATaskError, check
from rsft.tasks.describe import describe, unlabelled
from rsft.tasks.detection import Detection, average_precision
from rsft.tasks.pictures import covariates
from rsft.tasks.protocol import Task
from rsft.tasks.segmentation import Segmentation

each_task = pytest.mark.parametrize("small", SMALL.values(), ids=SMALL)
Small = Callable[[], tuple[Any, nn.Module, list[Any]]]


@each_task
def test_each_task_follows_the_protocol(small: Small) -> None:
    task, model, items = small()
    check(task, model, items)


@each_task
def test_each_task_can_be_planned_tuned_and_compared(small: Small) -> None:
    task, model, items = small()
    pool = items * 20
    told = describe(task, pool, model, batch_size=7)
    assert told.table().shape == (120, 5)
    assert told.scores is not None
    assert told.scores.shape == (120,)
    torch.testing.assert_close(told.scores[:6], told.scores[6:12])
    ratio = rsft.membership_ratio(told.memberships, {"class": {2: 0.5}}, least_effective=10)
    plan = rsft.plan_from_ratio(rsft.product_ratio(ratio.log_ratio, rsft.percentile_tilt(told.scores, 0.5)))
    data: Any = pool
    batches: Any = DataLoader(data, 8, sampler=plan.sampler(), collate_fn=task.collate, drop_last=True)
    before = [parameter.clone() for parameter in model.parameters()]
    rsft.fine_tune(model, batches, task.loss, stop=rsft.Stopping(steps=3), learning_rate=1e-2)
    assert any(not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    comparison = rsft.compare(
        trainer(task, model, pool),
        lambda tuned: evaluate(task, tuned, items, draws=3),
        alternatives(plan),
        start=model,
        steps=2,
        batch_size=4,
        learning_rates=[1e-3],
        seeds=2,
    )
    assert set(comparison.runs) >= {"rejection", "uniform", "weighted sampling", "loss weights"}
    assert comparison.metrics == list(task.metric(*_outputs(task, model, items)))


def _outputs(task: Any, model: nn.Module, items: list[Any]) -> tuple[list[Any], list[Any]]:
    inputs, targets = task.collate(items)
    with torch.no_grad():
        return list(model(inputs)), list(targets)


def test_weights_scale_the_loss_of_their_items() -> None:
    task, model, items = classification()

    class Given:
        def __init__(self, weights: Tensor | None) -> None:
            self.weights = weights

        def __len__(self) -> int:
            return 1

        def __iter__(self) -> Any:
            yield torch.tensor([0, 1]), self.weights

    def tuned(weights: Tensor | None) -> list[Tensor]:
        train = trainer(task, model, items, warmup_fraction=0.0)
        return list(train(Given(weights), 0.1, 0).parameters())  # type: ignore[arg-type]

    plain, ones, one = (tuned(w) for w in (None, torch.ones(2), torch.tensor([0.0, 1.0])))
    assert all(torch.equal(a, b) for a, b in zip(plain, ones, strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(plain, one, strict=True))


def test_training_leaves_the_model_and_the_random_state_as_they_were() -> None:
    task, model, items = classification()
    state, before = torch.get_rng_state(), [parameter.clone() for parameter in model.parameters()]
    plan = rsft.plan_from_ratio(torch.zeros(len(items)))
    method = alternatives(plan)["rejection"]
    trainer(task, model, items)(Batches(method, 2, 3, 0), 0.1, 0)
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_memberships_count_items_pixels_and_boxes() -> None:
    assert Classification(3).memberships(torch.tensor([2, 0]))["class"].tolist() == [[0, 0, 1], [1, 0, 0]]
    masks = torch.tensor([[[0, 1], [1, 255]], [[255, 255], [255, 255]]])
    assert Segmentation(3).memberships(masks)["class"].tolist() == [[1, 2, 0], [0, 0, 0]]
    task, _, items = detection()
    _, objects = task.collate(items)
    counts = task.memberships(objects)
    assert counts["class"].tolist()[:3] == [[0, 0, 0], [0, 1, 0], [0, 0, 2]]
    areas = [(3 + n) * 5.0 for n in range(6)]  # area of each box of picture n; the edges are 20 and 30
    expected = [[(n % 3) * (a < 20), (n % 3) * (20 <= a < 30), (n % 3) * (a >= 30)] for n, a in enumerate(areas)]
    assert counts["size"].tolist() == expected


def test_pixels_without_a_label_do_not_count() -> None:
    task, model, items = segmentation()
    inputs, targets = task.collate(items)
    outputs = model(inputs)
    scores = task.score(outputs, targets)
    assert scores[1] == 0  # all pixels are ignored
    changed = outputs.detach().clone()
    changed[0, :, :4] += torch.randn(CLASSES, 4, SIDE)
    torch.testing.assert_close(task.score(changed, targets), scores)
    assert task.metric(list(changed), list(targets)) == task.metric(list(outputs), list(targets))
    expected = functional.cross_entropy(outputs[0, :, 4:].flatten(1).T, targets[0, 4:].flatten())
    torch.testing.assert_close(scores[0], expected)
    nothing = task.metric([outputs[1]], [targets[1]])
    assert all(math.isnan(value) for value in nothing.values())


def test_metrics_agree_with_scikit_learn() -> None:
    generator = torch.Generator().manual_seed(0)
    logits, truth = torch.randn(60, 4, generator=generator), torch.randint(3, (60,), generator=generator)
    found = Classification(4).metric(list(logits), list(truth))  # class 3 is predicted but never true
    labels = logits.argmax(1)
    assert found["accuracy"] == pytest.approx(accuracy_score(truth, labels))
    with pytest.warns(UserWarning, match="y_pred contains classes not in y_true"):
        expected = balanced_accuracy_score(truth, labels)
    assert found["balanced_accuracy"] == pytest.approx(expected)
    maps, masks = torch.randn(5, 3, 8, 8, generator=generator), torch.randint(3, (5, 8, 8), generator=generator)
    ious = jaccard_score(masks.flatten(), maps.argmax(1).flatten(), average=None)
    told = Segmentation(3).metric(list(maps), list(masks))
    assert told["miou"] == pytest.approx(ious.mean())
    assert [told[f"iou_{k}"] for k in range(3)] == pytest.approx(ious)
    assert math.isnan(Segmentation(4).metric(list(functional.pad(maps, (0, 0, 0, 0, 0, 1))), list(masks))["iou_3"])


def scene(seed: int, jitter: float) -> tuple[list[dict[str, Tensor]], list[dict[str, Tensor]]]:
    """Make boxes of all sizes in 20 pictures, and detections near them."""
    generator = torch.Generator().manual_seed(seed)
    truth, found = [], []
    for _ in range(20):
        count = int(torch.randint(0, 5, (1,), generator=generator))
        corner, size = 200 * torch.rand(count, 2, generator=generator), 150 * torch.rand(count, 2, generator=generator)
        boxes, labels = torch.cat([corner, corner + size + 4], 1), torch.randint(2, (count,), generator=generator)
        truth.append({"boxes": boxes, "labels": labels})
        near = boxes + jitter * torch.randn(count, 4, generator=generator)
        near[:, 2:] = torch.maximum(near[:, 2:], near[:, :2] + 1)
        found.append({"boxes": near, "labels": labels, "scores": torch.rand(count, generator=generator)})
    return found, truth


@pytest.mark.filterwarnings("ignore")
def test_average_precision_agrees_with_pycocotools(capsys: pytest.CaptureFixture[str]) -> None:
    found, truth = scene(0, 5.0)
    ours = average_precision(found, truth, 2, (32.0**2, 96.0**2))

    def rows(objects: list[dict[str, Tensor]]) -> list[dict[str, Any]]:
        result: list[dict[str, Any]] = []
        for image, one in enumerate(objects):
            for n, (box, label) in enumerate(zip(one["boxes"].tolist(), one["labels"].tolist(), strict=True)):
                width, height = box[2] - box[0], box[3] - box[1]
                row = {"image_id": image, "category_id": label, "bbox": [*box[:2], width, height], "iscrowd": 0}
                score = {"score": float(one["scores"][n])} if "scores" in one else {}
                result.append(row | {"area": width * height, "id": len(result) + 1} | score)
        return result

    coco = COCO()
    images, categories = [{"id": n} for n in range(20)], [{"id": 0}, {"id": 1}]
    coco.dataset = {"images": images, "categories": categories, "annotations": rows(truth)}
    coco.createIndex()
    evaluation = COCOeval(coco, coco.loadRes(rows(found)), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    capsys.readouterr()
    assert list(ours.values()) == pytest.approx([evaluation.stats[place] for place in (0, 1, 3, 4, 5)])
    assert 0 < ours["map"] < 1


def test_average_precision_of_perfect_missing_and_undefined_detections() -> None:
    found, truth = scene(0, 0.0)
    assert average_precision(found, truth, 2, (1024.0, 9216.0))["map"] == pytest.approx(1)
    nothing = [{name: one[name][:0] for name in one} for one in found]
    missed = average_precision(nothing, truth, 2, (1.0, 9216.0))
    assert missed["map"] == missed["map_large"] == 0
    assert math.isnan(missed["map_small"])
    empty = average_precision(found, [{name: one[name][:0] for name in one} for one in truth], 2, (1024.0, 9216.0))
    assert all(math.isnan(value) for value in empty.values())


def test_covariates_respond_to_what_they_are_named_after() -> None:
    generator = torch.Generator().manual_seed(0)
    plain = functional.interpolate(torch.rand(8, 1, 4, 4, generator=generator), SIDE, mode="bilinear")
    noisy = plain + 0.2 * torch.randn(plain.shape, generator=generator)
    blurred = functional.avg_pool2d(plain, 5, 1, 2, count_include_pad=False)
    of = {name: covariates(p) for name, p in {"plain": plain, "noisy": noisy, "blurred": blurred}.items()}
    assert (of["noisy"]["noise"] > 3 * of["plain"]["noise"]).all()
    assert (of["blurred"]["sharpness"] < of["plain"]["sharpness"]).all()
    torch.testing.assert_close(covariates(plain + 1)["brightness"], of["plain"]["brightness"] + 1)
    torch.testing.assert_close(covariates(2 * plain)["contrast"], 2 * of["plain"]["contrast"])
    assert covariates([torch.rand(3, 4, 9, generator=generator)])["size"].item() == 6
    with pytest.raises(ValueError, match="picture 1 is"):
        covariates([plain[0], plain[0, 0]])


def test_covariates_select_items_for_an_unlabelled_target() -> None:
    generator = torch.Generator().manual_seed(0)
    plain = functional.interpolate(torch.rand(600, 1, 4, 4, generator=generator), SIDE, mode="bilinear")
    noisy = torch.arange(600) % 5 == 0
    shifted = plain + 0.1 * torch.randn(plain.shape, generator=generator) * noisy[:, None, None, None]
    task = Classification(CLASSES)
    pool = [(picture, 0) for picture in shifted[:500]]
    target = plain[500:] + 0.1 * torch.randn(100, 1, SIDE, SIDE, generator=generator)
    plan = rsft.plan(describe(task, pool).table(), unlabelled(task, list(target)), envelope="max_tv=0.05")
    assert noisy[plan.accepted()].double().mean() > 0.9  # their share of the pool is 0.2


def test_the_bootstrap_is_paired_over_models_and_draws_items() -> None:
    task, model, items = classification(30)
    first, again = (evaluate(task, model, items, draws=400) for _ in range(2))
    accuracy = first["accuracy"]
    assert np.array_equal(accuracy, again["accuracy"])
    p = accuracy[0]
    # the standard deviation of 400 draws has a relative error of 1 / sqrt(800); 5 of these are 0.18
    assert accuracy[1:].std() == pytest.approx(math.sqrt(p * (1 - p) / 30), rel=0.18)
    other = evaluate(task, model, items, draws=400, seed=1)
    assert not np.array_equal(accuracy, other["accuracy"])


PICTURE = torch.rand(1, SIDE, SIDE)
OBJECTS = {"boxes": torch.tensor([[1.0, 1.0, 5.0, 5.0]]), "labels": torch.tensor([0])}
NOTHING: Any = {"boxes": [], "labels": []}
DETECTION = Detection(CLASSES, loss_of_each, decode)


@pytest.mark.parametrize(
    ("task", "item", "message"),
    [
        (Classification(3), (PICTURE, 3), "classes 0 to 2; item 1 of the batch has 3"),
        (Classification(3), (PICTURE, -1), "has -1"),
        (Classification(3), (torch.rand(3, SIDE, SIDE), 0), "same number of channels; item 1 of the batch"),
        (Segmentation(3), (PICTURE, torch.zeros(4, 4)), r"item 1 of the batch is \(4, 4\) for \(16, 16\)"),
        (Segmentation(3), (PICTURE, torch.full((SIDE, SIDE), 7)), r"item 1 of the batch has \[7\]"),
        (DETECTION, (PICTURE, OBJECTS | {"labels": torch.tensor([5])}), r"classes 0 to 2, got \[5\]"),
        (DETECTION, (PICTURE, OBJECTS | {"labels": torch.tensor([0, 0])}), r"\(n, 4\) boxes and n labels"),
        (DETECTION, (PICTURE, OBJECTS | {"boxes": torch.tensor([[1.0, 1, 1, 5]])}), "left < right"),
        (DETECTION, (PICTURE, OBJECTS | {"boxes": torch.tensor([[1.0, 1, 50, 5]])}), "16 x 16 pixels"),
        (DETECTION, (PICTURE, OBJECTS | {"boxes": torch.tensor([[1.0, 1, math.nan, 5]])}), "left < right"),
    ],
)
def test_the_error_for_an_unusable_item_gives_its_index(task: Any, item: Any, message: str) -> None:
    good = {Classification: 0, Segmentation: torch.zeros(SIDE, SIDE), Detection: OBJECTS}[type(task)]
    with pytest.raises(ValueError, match=message):
        task.collate([(PICTURE, good), item])
    with pytest.raises(InputError, match=r"items 2 to 3 of the pool: .*item 1"):
        describe(task, [(PICTURE, good)] * 3 + [item], batch_size=2)


def test_padding_of_pictures_of_different_sizes_does_not_count() -> None:
    small, large = torch.rand(1, 6, 8), torch.rand(1, 9, 5)
    inputs, masks = Segmentation(3).collate([(small, torch.ones(6, 8)), (large, torch.zeros(9, 5))])
    assert inputs.shape == (2, 1, 9, 8)
    assert Segmentation(3).memberships(masks)["class"].tolist() == [[0, 48, 0], [45, 0, 0]]
    inputs, objects = DETECTION.collate([(small, OBJECTS), (large, NOTHING)])
    assert inputs.shape == (2, 1, 9, 8)
    assert objects[0]["boxes"].tolist() == OBJECTS["boxes"].tolist()
    assert objects[1]["boxes"].shape == (0, 4)
    told = describe(Segmentation(3), [(small, torch.ones(6, 8)), (large, torch.zeros(9, 5))])
    torch.testing.assert_close(told.covariates["brightness"], torch.stack([small.mean(), large.mean()]))


def test_a_stream_and_an_empty_pool_are_rejected() -> None:
    class Stream(IterableDataset[Any]):
        def __iter__(self) -> Any:
            yield PICTURE, 0

    task, model, _ = classification()
    for call in (
        describe,
        lambda task, data: trainer(task, model, data),
        lambda task, data: evaluate(task, model, data),
    ):
        with pytest.raises(TypeError, match="RejectionStream"):
            call(task, Stream())
        with pytest.raises(InputError, match="needs at least one item"):
            call(task, [])


def _wrong(**methods: Any) -> Any:
    """Make a classification task with some methods replaced."""
    return type("Wrong", (), {**vars(Classification), **methods})(CLASSES)


@pytest.mark.parametrize(
    ("methods", "message"),
    [
        ({"score": lambda self, o, t: functional.cross_entropy(o, t)}, r"`score` must return \(6,\)"),
        ({"score": lambda self, o, t: functional.cross_entropy(o, t, reduction="none") / len(o)}, "alone in its"),
        ({"loss": lambda self, o, t: functional.cross_entropy(o, t, reduction="none")}, "`loss` must return one"),
        ({"loss": lambda self, o, t: (o.argmax(1) != t).float().mean()}, "no gradient"),
        ({"covariates": lambda self, x: {"mean": torch.tensor(0.0)}}, r"\(6,\) finite numbers as 'mean'"),
        ({"covariates": lambda self, x: {"rank": torch.arange(len(x)).double()}}, "'rank' of an input depends"),
        ({"memberships": lambda self, t: {"class": t}}, r"\(6, K\) counts as 'class'"),
        ({"metric": lambda self, o, t: torch.tensor(1.0)}, "names and floats"),
        ({"metric": lambda self, o, t: {"first": float(t[0])}}, "'first' depends on the items' order"),
        (
            {"covariates": lambda self, x: {"mean": torch.stack([p.mul_(2).mean() for p in x])}},
            "changes the items|depends",
        ),
        ({"metric": lambda self, o, t: {"chance": float(torch.rand(1)) * 0}}, "global random state"),
    ],
)
def test_each_violation_of_the_protocol_is_detected(methods: dict[str, Any], message: str) -> None:
    _, model, items = classification()
    check(_wrong(), model, items)
    with pytest.raises(NotATaskError, match=message):
        check(_wrong(**methods), model, items)


def test_the_error_for_missing_methods_names_them() -> None:
    class Half:
        def collate(self, items: Any) -> Any:
            return items

    _, model, items = classification()
    with pytest.raises(NotATaskError, match="Half has no covariates, score, loss, metric"):
        check(Half(), model, items)
    assert isinstance(Classification(3), Task)
    with pytest.raises(ValueError, match="at least 3 items"):
        check(Classification(3), model, items[:2])
