"""Tests of copies among target pictures, and of people whom pool and target share."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_pools import features_of

from rsft.data.features import Features
from rsft.data.images import find_images
from rsft.face.adaptation.planning import target_groups
from rsft.face.adaptation.sameness import MIN_POOL, copies, nearest, people_met
from rsft.face.runs.inputs import with_clips


def pictures(people: np.ndarray, seed: int, *, of: int = 0, spread: float = 0.4) -> Features:
    """Pictures of people, each a random direction plus a spread; `of` chooses the people."""
    faces = np.random.default_rng(1000 + of).normal(size=(people.max() + 1, 64))
    generator = np.random.default_rng(seed)
    made = features_of(faces[people] + spread * generator.normal(size=(len(people), 64)), people)
    looks = {name: generator.normal(100, 20, len(people)) for name in ("brightness", "contrast")}
    return replace(made, covariates=looks)


def frames(target: Features, times: int, noise: float) -> Features:
    """Each picture as often as a clip has frames, which differ by noise of the embedding and of the light."""
    rows = np.repeat(np.arange(len(target)), times)
    generator = np.random.default_rng(5)
    moved = target.subset(rows)
    lengths = np.linalg.norm(moved.embeddings, axis=1, keepdims=True)
    step = noise * lengths * generator.normal(size=moved.embeddings.shape) / 8
    looks = {name: values + generator.normal(0, 1, len(rows)) for name, values in moved.covariates.items()}
    return replace(moved, embeddings=moved.embeddings + step, covariates=looks)


def test_frames_are_one_and_pictures_of_one_person_are_not() -> None:
    target = pictures(np.arange(60) // 3, 0)
    assert len(np.unique(copies(target))) == 60
    found = copies(frames(target, 10, 0.1))
    np.testing.assert_array_equal(found, np.repeat(np.arange(60), 10))


def test_the_one_picture_of_a_camera_that_hangs_is_one() -> None:
    target = pictures(np.arange(40), 0)
    hanging = target.subset(np.r_[np.zeros(60, np.int64), np.arange(1, 21)])
    rounding = 1 + 1e-7 * np.random.default_rng(0).normal(size=hanging.embeddings.shape)
    hanging = replace(hanging, embeddings=hanging.embeddings * rounding.astype(hanging.embeddings.dtype))
    np.testing.assert_array_equal(copies(hanging), np.r_[np.zeros(60, np.int64), np.arange(1, 21)])
    assert len(np.unique(copies(hanging.subset(np.arange(60))))) == 1


def test_equal_embeddings_in_another_light_are_not_copies() -> None:
    target = pictures(np.arange(40), 0)
    twice = target.subset(np.tile(np.arange(40), 2))
    dark = {"brightness": twice.covariates["brightness"] - np.repeat([0, 60], 40)}
    assert len(np.unique(copies(twice))) == 40
    assert len(np.unique(copies(replace(twice, covariates={**twice.covariates, **dark})))) >= 75
    assert len(np.unique(copies(replace(twice, covariates={})))) == 80  # nothing tells a look


def test_copies_do_not_depend_on_the_scale_of_the_embeddings_or_on_the_order() -> None:
    target = frames(pictures(np.arange(30), 0), 4, 0.1)
    order = np.random.default_rng(0).permutation(120)
    larger = replace(target, embeddings=7 * target.embeddings)
    np.testing.assert_array_equal(copies(target), copies(larger))
    assert len(np.unique(copies(target.subset(order)))) == 30


def test_clips_join_what_is_not_alike() -> None:
    target = replace(pictures(np.arange(20), 0), clips=np.arange(20) // 5)
    np.testing.assert_array_equal(target_groups(target), np.arange(20) // 5)
    np.testing.assert_array_equal(target_groups(target.subset(np.arange(10, 20))), np.arange(10) // 5)


def test_clips_come_from_the_manifest_of_a_target(tmp_path: Path) -> None:
    for name in ("a", "b", "c", "d"):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{name}.png")
    (tmp_path / "target.csv").write_text("path,clip\na.png,one\nb.png,\nc.png,one\nd.png,\n")
    images = find_images(tmp_path / "target.csv")
    some = replace(pictures(np.arange(3), 0), ids=["a.png", "c.png", "d.png"])  # b could not be used
    clips = with_clips(some, images).clips
    assert clips is not None
    assert clips[0] == clips[1] != clips[2]
    assert with_clips(some, replace(images, attributes={})).clips is None
    whole = with_clips(replace(pictures(np.arange(4), 0), ids=list(images.ids)), images).clips
    assert whole is not None
    assert len(np.unique(whole)) == 3  # a picture without a clip is alone


def test_the_nearest_picture_is_that_of_a_plain_search() -> None:
    pool, target = pictures(np.arange(50) // 5, 0), pictures(np.arange(7), 1, of=1)
    unit = pool.embeddings / np.linalg.norm(pool.embeddings, axis=1, keepdims=True)
    strangers = [
        max(u @ v for v, p in zip(unit, pool.people, strict=True) if p != q)
        for u, q in zip(unit, pool.people, strict=True)
    ]
    np.testing.assert_allclose(nearest(pool.embeddings, pool.embeddings, (pool.people, pool.people)), strangers)
    assert nearest(target.embeddings, pool.embeddings).shape == (7,)


@pytest.mark.parametrize("seed", range(5))
def test_people_of_the_pool_are_met_in_the_target_and_others_are_not(seed: int) -> None:
    pool = pictures(np.arange(400) // 4, seed)
    strangers = pictures(np.arange(200) // 4, seed + 10, of=1)
    assert people_met(pool, strangers) == []
    known = pictures(np.arange(200) // 4, seed + 20)
    (note,) = people_met(pool, known)
    assert int(note.split()[1]) > 180
    half = replace(
        strangers,
        embeddings=np.concatenate([known.embeddings[:100], strangers.embeddings[100:]]),
    )
    (note,) = people_met(pool, half)
    assert 90 <= int(note.split()[1]) <= 110


def test_a_small_pool_does_not_tell_whom_it_shows() -> None:
    pool = pictures(np.arange(MIN_POOL - 1) // 3, 0)
    assert people_met(pool, pool) == []
    assert people_met(replace(pool, embeddings=np.empty((len(pool), 0), np.float32)), pool) == []
