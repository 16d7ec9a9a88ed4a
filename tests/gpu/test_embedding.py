"""Embedding on a CUDA device gives the embeddings of the CPU, and leaves the network where it was."""

from pathlib import Path

import numpy as np
import pytest
import torch
from devices import Run, set_tf32
from drawn_people import draw_people, tiny_model

from rsft import threads
from rsft.data.features import Features
from rsft.data.images import ImageSet, find_images
from rsft.face.adaptation.views import embed_activations
from rsft.face.networks.load import load_model
from rsft.face.networks.parity import relative_error
from rsft.face.pictures import embedding
from rsft.face.pictures.embedding import embed
from rsft.face.pictures.orl import orl_faces

PICTURES = 12
# Activations are rounded to float16 at the cut, by up to 2^-11 of each. Where the float32 values of two devices differ
# in their last bits, some activations are rounded to the other neighbour, which moves an embedding by less than this.
EXACT = 5e-4
# TF32 rounds each factor of a convolution's products by up to 2^-11, in each of some 30 layers.
TF32 = 1e-2


@pytest.fixture(scope="module")
def photographs() -> ImageSet:
    return orl_faces().subset(range(PICTURES))


def embedded(name: str, images: ImageSet, **options: object) -> Features:
    return embed(load_model(name), images, views=3, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["dlib", "sface"])
def test_embeddings_are_those_of_the_cpu(name: str, device: str, run_on: Run, photographs: ImageSet) -> None:
    if name == "sface":
        pytest.importorskip("onnx", reason="SFace is an ONNX file: needs the extra `onnx`")
    run_on("cpu")
    expected = embedded(name, photographs)
    run_on(device)
    found = embedded(name, photographs)
    assert list(found.ids) == list(expected.ids)
    assert found.quarantined == expected.quarantined
    for covariate, values in expected.covariates.items():  # no network takes part
        np.testing.assert_array_equal(found.covariates[covariate], values)
    assert relative_error(found.embeddings, expected.embeddings) < EXACT
    assert relative_error(found.nuisances, expected.nuisances) < EXACT
    assert relative_error(_flat(found), _flat(expected)) < EXACT
    if device != "cpu":
        set_tf32(True, True)  # `run_on` takes it back
        assert relative_error(embedded(name, photographs).embeddings, expected.embeddings) < TF32


def test_a_second_run_gives_the_same_bits(device: str, run_on: Run, photographs: ImageSet) -> None:
    run_on(device)
    first, second = (embedded("dlib", photographs) for _ in range(2))
    np.testing.assert_array_equal(first.embeddings, second.embeddings)
    np.testing.assert_array_equal(_flat(first), _flat(second))


def test_the_number_of_threads_that_read_does_not_matter(
    device: str, run_on: Run, photographs: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_on(device)
    monkeypatch.setattr(embedding, "READ_AHEAD", 3)
    found = []
    for count in (1, 5):
        monkeypatch.setattr(threads, "readers", lambda count=count: count)
        found.append(embedded("dlib", photographs))
    np.testing.assert_array_equal(found[0].embeddings, found[1].embeddings)
    np.testing.assert_array_equal(_flat(found[0]), _flat(found[1]))


def test_the_network_is_back_on_its_device(
    device: str, run_on: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After embedding, after embedding from activations, and after an error. Meanwhile it is on the device."""
    run_on(device)
    model, images = tiny_model(), find_images(draw_people(tmp_path) / "target")
    before = {name: tensor.clone() for name, tensor in model.network.state_dict().items()}
    forward, seen = embedding._forward, set[str]()

    def note(prefix: torch.nn.Module, views: list[np.ndarray], where: torch.device) -> np.ndarray:
        seen.add(next(model.network.parameters()).device.type)
        return forward(prefix, views, where)

    monkeypatch.setattr(embedding, "_forward", note)
    features = embed(model, images, aligned=True, views=2)
    suffix = model.split(model.cut)[1]
    direct = embed_activations(suffix, features)
    assert seen == {device}
    assert relative_error(direct, features.embeddings) < EXACT

    def fail(pictures: int) -> None:
        if pictures:  # the first call counts stored pictures
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embed(model, images, aligned=True, progress=fail)
    for name, tensor in model.network.state_dict().items():
        assert tensor.device.type == "cpu"
        assert torch.equal(tensor, before[name])


def _flat(features: Features) -> np.ndarray:
    """Return the activations as float32 rows, one for each view."""
    assert features.activations is not None
    stored = features.activations[np.arange(len(features)), :]
    return stored.reshape(stored.shape[0] * stored.shape[1], -1).astype(np.float32)
