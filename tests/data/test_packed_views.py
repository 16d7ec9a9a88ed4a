"""Activations of some views are read like those of all, where they were computed, and nowhere else."""

from pathlib import Path

import numpy as np
import pytest
import torch
from drawn_people import draw_people
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from rsft.data.features import Features, join_features, load_features
from rsft.data.images import ImageSet, find_images
from rsft.data.joined_arrays import JoinedArrays
from rsft.data.packed_views import PackedViews
from rsft.face.networks.bundle import FaceModel, face_model
from rsft.face.pictures import embedding
from rsft.face.pictures.embedding import embed


@st.composite
def some_views(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """All views (N, V, 2) of some pictures, each value another, and which of them are kept: at least one of each."""
    pictures, views = draw(st.integers(1, 7)), draw(st.integers(1, 5))
    masks = st.lists(st.booleans(), min_size=views, max_size=views).filter(any)
    kept = np.array(draw(st.lists(masks, min_size=pictures, max_size=pictures)))
    return np.arange(pictures * views * 2, dtype=np.float16).reshape(pictures, views, 2), kept


def packed_in_parts(dense: np.ndarray, kept: np.ndarray) -> PackedViews:
    """Pack the kept views, in two arrays that are read as one."""
    values = dense[kept]
    return PackedViews(JoinedArrays([values[:1], values[1:]]), kept)


@given(some_views(), st.booleans())
def test_views_that_were_computed_are_those_of_the_dense_array_and_others_are_refused(
    given_views: tuple[np.ndarray, np.ndarray], joined: bool
) -> None:
    dense, kept = given_views
    packed = packed_in_parts(dense, kept) if joined else PackedViews(dense[kept], kept)
    assert (len(packed), packed.shape) == (len(dense), dense.shape)
    rows, views = kept.nonzero()
    backwards = rows[::-1], views[::-1]
    np.testing.assert_array_equal(packed[backwards], dense[backwards])
    assert packed[rows[:0], views[:0]].shape == (0, 2)
    for row, view in zip(*(~kept).nonzero(), strict=True):
        with pytest.raises(IndexError, match="not computed"):
            packed[np.array([rows[0], row]), np.array([views[0], view])]
    for first in range(1, kept.shape[1] + 1):
        whole = np.flatnonzero(kept[:, :first].all(1))
        np.testing.assert_array_equal(packed[whole, :first], dense[whole, :first])
        if len(whole) < len(kept):
            with pytest.raises(IndexError, match="not computed"):
                packed[np.arange(len(kept)), :first]


@given(some_views(), st.data())
def test_some_pictures_in_another_order_keep_their_views(
    given_views: tuple[np.ndarray, np.ndarray], data: st.DataObject
) -> None:
    dense, kept = given_views
    rows = np.array(data.draw(st.lists(st.integers(0, len(dense) - 1))), int)
    taken = packed_in_parts(dense, kept).take(rows)
    assert taken.kept.tolist() == kept[rows].tolist()
    at, views = taken.kept.nonzero()
    np.testing.assert_array_equal(taken[at, views], dense[rows][at, views])


@given(some_views())
def test_for_a_view_that_was_not_computed_the_next_one_in_the_circle_is_taken(
    given_views: tuple[np.ndarray, np.ndarray],
) -> None:
    dense, kept = given_views
    rows, views = (index.ravel() for index in np.indices(kept.shape))
    found = PackedViews(dense[kept], kept).computed(rows, views)
    for row, view, taken in zip(rows, views, found, strict=True):
        while not kept[row, view]:
            view = (view + 1) % kept.shape[1]
        assert taken == view


@given(some_views(), st.data())
def test_saved_and_joined_parts_of_any_size_are_the_whole(
    tmp_path_factory: pytest.TempPathFactory, given_views: tuple[np.ndarray, np.ndarray], data: st.DataObject
) -> None:
    """A part whose pictures could all not be used has no row and no activations."""
    dense, kept = given_views
    cuts = sorted(data.draw(st.lists(st.integers(0, len(dense)), max_size=3)))
    parts = []
    for rows in np.split(np.arange(len(dense)), cuts):
        folder = tmp_path_factory.mktemp("part")
        ids, values = [f"{row}/0" for row in rows], rows[:, None].astype(np.float32)
        packed = PackedViews(dense[rows][kept[rows]], kept[rows]) if len(rows) else None
        Features(ids, values, values, packed, [], "made up").save(folder)
        parts.append(load_features(folder))
    joined = join_features(parts)
    assert isinstance(joined.activations, PackedViews)
    assert joined.activations.kept.tolist() == kept.tolist()
    rows, views = kept.nonzero()
    np.testing.assert_array_equal(joined.activations[rows, views], dense[kept])
    some = joined.subset(np.arange(len(dense))[::-2])
    assert isinstance(some.activations, PackedViews)
    rows, views = some.activations.kept.nonzero()
    np.testing.assert_array_equal(some.activations[rows, views], dense[::-2][rows, views])


# The views of pictures


VIEWS = 5


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> ImageSet:
    return find_images(draw_people(tmp_path_factory.mktemp("people")) / "pool")


@pytest.fixture(scope="module")
def model() -> FaceModel:
    """A network whose frozen stages are a convolution, so that what is computed together could matter."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Sequential(nn.Conv2d(3, 4, 7, 4), nn.ReLU(), nn.AvgPool2d(8), nn.Flatten(), nn.Linear(36, 16))
    return face_model(network, name="convolution", cut=-1)


def test_some_views_of_some_pictures_are_bit_for_bit_those_of_all(
    images: ImageSet, model: FaceModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The moves of a view belong to the picture's number in the pool, whatever else is embedded, and in which parts."""
    whole = embed(model, images, aligned=True, views=VIEWS)
    assert isinstance(whole.activations, JoinedArrays)
    generator = np.random.default_rng(0)
    numbers = np.sort(generator.permutation(len(images))[:40])
    kept = generator.random((40, VIEWS)) < 0.4
    kept[np.arange(40), generator.integers(0, VIEWS, 40)] = True
    monkeypatch.setattr(embedding, "PART_PICTURES", 16)
    for folder in (None, tmp_path):
        some = embed(
            model, images.subset(numbers), aligned=True, views=VIEWS, kept=kept, numbers=numbers, folder=folder
        )
        assert isinstance(some.activations, PackedViews)
        rows, views = kept.nonzero()
        np.testing.assert_array_equal(some.activations[rows, views], whole.activations[numbers[rows], views])
        both = kept[:, :2].all(1)
        np.testing.assert_allclose(some.embeddings[both], whole.embeddings[numbers[both]], rtol=1e-5, atol=1e-4)


def test_other_numbers_move_views_otherwise(images: ImageSet, model: FaceModel) -> None:
    few = images.subset([3, 4])
    one, other = (
        embed(model, few, aligned=True, views=VIEWS, numbers=np.array(numbers)).activations
        for numbers in ([3, 4], [3, 5])
    )
    assert one is not None
    assert other is not None
    first, second = one[np.arange(2), :], other[np.arange(2), :]
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1, :2], second[1, :2])  # the picture and its mirror image are not moved
    assert all((first[1, view] != second[1, view]).any() for view in range(2, VIEWS))


def test_an_embedding_is_the_sum_over_the_first_two_computed_views_or_twice_the_only_one(
    images: ImageSet, model: FaceModel
) -> None:
    kept = np.array([[1, 1, 1, 0, 0], [0, 0, 1, 0, 1], [0, 0, 0, 1, 0]], bool)
    found = embed(model, images.subset([0, 1, 2]), aligned=True, views=VIEWS, kept=kept)
    whole = embed(model, images.subset([0, 1, 2]), aligned=True, views=VIEWS)
    _, suffix = model.split(model.cut)
    activations = whole.activations
    assert activations is not None
    for row, views in enumerate([(0, 1), (2, 4), (3, 3)]):
        both = activations[np.array([row, row]), np.array(views)]
        expected = embedding.sum_views(suffix, both[None])[0]
        np.testing.assert_allclose(found.embeddings[row], expected, rtol=1e-5, atol=1e-4)
