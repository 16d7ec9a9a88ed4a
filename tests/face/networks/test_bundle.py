"""A bundle restores all that was saved with the weights, and later changes to it are detected and named."""

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from rsft.data.images import find_images
from rsft.errors import InputError
from rsft.face.models import check_model, list_models
from rsft.face.networks.bundle import ChangedModelError, FaceModel, face_model
from rsft.face.networks.chip_points import ARCFACE, DLIB, scaled
from rsft.face.networks.load import KNOWN, load_model
from rsft.face.networks.parity import MAX_ERROR, compare, drawn_chips, outputs, relative_error
from rsft.face.pictures.embedding import embed

SIZE = 32


def network() -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Sequential(nn.Conv2d(3, 8, 5, stride=2), nn.PReLU(8)),
            nn.Sequential(nn.Conv2d(8, 8, 3, stride=2), nn.PReLU(8)),
            nn.Sequential(nn.Flatten(), nn.Linear(8 * 6 * 6, 16)),
        )


def own_model(**options: Any) -> FaceModel:
    """Return a model of `network`, with other options of `face_model` if given."""
    usual: dict[str, Any] = {"name": "mine", "size": SIZE, "template": scaled(ARCFACE, SIZE / 112)}
    return face_model(network(), **(usual | options))


def changed(folder: Path, **values: Any) -> None:
    """Change values in the `bundle.json` of a folder."""
    path = folder / "bundle.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_a_custom_network_is_saved_and_loaded(tmp_path: Path) -> None:
    model = own_model(order="BGR", mean=[1.0, 2.0, 3.0], std=128.0, licence="CC-BY-NC-4.0", thresholds={"0.001": 0.4})
    model.save(tmp_path / "model")
    again = load_model(tmp_path, network())
    assert again.fingerprint == model.fingerprint
    assert again.describe() == model.describe()
    assert again.parity is not None
    assert relative_error(np.array(again.parity, np.float32), outputs(model.network, model.template, SIZE)) < 1e-6
    with pytest.raises(InputError, match=r"a network of your own: load it in Python as `load_model\(folder, network"):
        load_model(tmp_path)


def test_preprocessing_is_part_of_the_network_and_of_the_fingerprint() -> None:
    plain, model = own_model(mean=0.0, std=1.0), own_model(order="BGR", std=128.0)
    chips = torch.rand(2, 3, SIZE, SIZE) * 255
    torch.testing.assert_close(model.network(chips), plain.network((chips.flip(1) - 127.5) / 128))
    other_crop = face_model(network(), name="mine", size=SIZE, template=scaled(DLIB, SIZE / 150))
    models = [plain, model, own_model(), other_crop]
    assert len({each.fingerprint for each in models}) == 4
    assert [len(each.network) for each in (plain, model)] == [3, 4]


MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "colour order": ({"order": "RGB"}, "its outputs match with BGR: correct"),
    "normalisation": ({"std": 128.0}, r"its outputs match with \(x - 127.5\) / 127.5: correct"),
    "order and normalisation": ({"order": "RGB", "mean": 0.0, "std": 255.0}, r"with BGR and \(x - 127.5\) / 127.5"),
    "crop": ({"template": scaled(DLIB, SIZE / 150)}, "its outputs match with insightface's template"),
    "eyes": (
        {"template": [scaled(ARCFACE, SIZE / 112)[index] for index in (1, 0, 2, 4, 3)]},
        "its outputs match with left and right exchanged",
    ),
}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """Return the folder of a converted network, which loads without code of its own."""
    onnx = pytest.importorskip("onnx")
    weight = np.random.default_rng(0).normal(size=(16, 3 * SIZE * SIZE)).astype(np.float32) / 50
    proto = onnx.helper.make_graph(
        [
            onnx.helper.make_node("Flatten", ["x"], ["flat"]),
            onnx.helper.make_node("Gemm", ["flat", "w"], ["y"], transB=1),
        ],
        "linear",
        [onnx.helper.make_tensor_value_info("x", 1, ("batch", 3, SIZE, SIZE))],
        [onnx.helper.make_tensor_value_info("y", 1, ("batch", 16))],
        [onnx.numpy_helper.from_array(weight, "w")],
    )
    graph = onnx.helper.make_model(proto, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(graph, tmp_path / "linear.onnx")
    declared = {"order": "BGR", "template": scaled(ARCFACE, SIZE / 112), "licence": "Apache-2.0"}
    (tmp_path / "linear.json").write_text(json.dumps(declared))
    load_model(tmp_path / "linear.onnx").save(tmp_path / "saved")
    return tmp_path / "saved"


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_wrong_crop_colour_order_or_normalisation_is_refused_and_named(mistake: str, saved: Path) -> None:
    assert check_model(saved)["error"] < MAX_ERROR
    values, message = MISTAKES[mistake]
    changed(saved, **values)
    with pytest.raises(ChangedModelError, match="rsft models check"):
        load_model(saved)
    with pytest.raises(InputError, match=message):
        check_model(saved)


def test_changed_weights_are_distinguished_from_wrong_preprocessing(saved: Path) -> None:
    model = load_model(saved)
    with torch.no_grad():
        next(model.network.parameters()).mul_(-1)
    parity = compare(model.parity or [], model.network, model.template, model.size)
    assert (parity.matches, parity.fits) == (False, None)
    changed(saved, parity=(np.array(model.parity) * 1.00001).tolist(), fingerprint="0")
    with pytest.raises(ChangedModelError):
        check_model(saved)


def test_drawn_chips_follow_the_template_and_their_channels_differ() -> None:
    chips = drawn_chips(ARCFACE, 112).astype(int)
    left_eye, nose = chips[0, 52, 38], chips[0, 72, 56]
    assert max(left_eye.mean(), nose.mean()) < chips[0, 60, 56].mean() - 30
    larger = drawn_chips(scaled(ARCFACE, 2), 224).astype(int)
    assert abs(larger[:, ::2, ::2] - chips).max() <= 3
    for first, second in ((0, 1), (1, 2), (0, 2)):
        assert abs(chips[..., first] - chips[..., second]).mean() > 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"order": "GBR"}, "'RGB' or 'BGR', got 'GBR'"),
        ({"std": 0.0}, "std not 0"),
        ({"mean": [1.0, 2.0]}, "one number or three"),
        ({"template": [[1, 2]]}, "five points"),
        ({"template": ARCFACE}, "in its chip of 32 px"),
        ({"size": 28}, "does not accept 28 px chips"),
        ({"size": 1.5}, "whole number of pixels"),
    ],
)
def test_invalid_model_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        own_model(**options)


@pytest.mark.parametrize(
    "text", ["", "[]", '{"size": "large"}', '{"mean": [NaN, 1, 1]}', '{"template": 3}', '{"name": null, "order": 3}']
)
def test_an_invalid_bundle_file_is_refused(text: str, saved: Path) -> None:
    (saved / "bundle.json").write_text(text)
    with pytest.raises(InputError, match=r"bundle\.json"):
        load_model(saved)


def test_a_damaged_model_folder_is_refused(saved: Path) -> None:
    (saved / "weights.safetensors").write_bytes(b"none")
    with pytest.raises(InputError, match=r"weights\.safetensors' as the weights of a model"):
        load_model(saved)


def test_a_negative_cut_counts_from_the_end_and_a_cut_past_the_end_is_refused() -> None:
    model = own_model()
    assert [len(part) for part in model.split(-1)] == [3, 1]
    assert [len(part) for part in model.split(-9)] == [0, 4]
    with pytest.raises(InputError, match="has 4 stages: `cut` must be less than that, got 4"):
        model.split(4)


def test_a_cut_behind_the_last_weights_is_refused() -> None:
    """A stage that only normalises the embedding, as of a network of one's own, has none to tune."""
    stages = nn.Sequential(nn.Flatten(), nn.Linear(3 * 112**2, 8), nn.Softmax(1))
    model = face_model(stages, name="own", cut=-1)
    with pytest.raises(InputError, match="'own' has no weights from stage 3 on: `cut` must be less, got -1"):
        model.split(model.cut)
    assert len(model.split(-2)[1]) == 2


def test_licences_are_logged_on_load(saved: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "rsft"):
        load_model(saved)
        changed(saved, licence="CC-BY-NC-4.0")
        load_model(saved)
        changed(saved, licence="unknown")
        load_model(saved)
    levels = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert ("INFO", "model linear: licence Apache-2.0") in levels
    warnings = [message for level, message in levels if level == "WARNING"]
    assert len(warnings) == 2
    assert "rules out commercial use" in warnings[0]
    assert "is not stated" in warnings[1]


def test_embeddings_carry_the_fingerprint_of_their_model(faces: Path) -> None:
    model = own_model()
    images = find_images(faces / "retention").subset([0, 1, 2])
    features = embed(replace(model, cut=-1), images, aligned=True, views=3)
    assert features.fingerprint == model.fingerprint
    assert features.activations is not None
    assert features.activations.shape == (3, 3, 8, 6, 6)
    whole = embed(replace(model, cut=0), images, aligned=True)
    np.testing.assert_allclose(features.embeddings, whole.embeddings, atol=2e-3)
    large = own_model(mean=0.0, std=1e-4)
    with pytest.raises(InputError, match="do not fit into float16"):
        embed(replace(large, cut=2), images, aligned=True)


@pytest.mark.parametrize("name", KNOWN)
def test_named_models_reproduce_the_outputs_of_their_own_runtimes(name: str) -> None:
    """The outputs were recorded with dlib 20.0.1 and, for SFace, onnxruntime 1.32."""
    found = check_model(name)
    assert found["error"] < 1e-5
    listed = {model["name"]: model for model in list_models()["models"]}[name]
    assert listed["present"]
    assert listed["licence"] == found["licence"]
    assert listed["embedding_size"] == load_model(name).embedding_size


def test_a_network_that_brings_its_preprocessing_is_refused() -> None:
    """It would be applied twice, and the fingerprint would not tell."""
    model = face_model(nn.Sequential(nn.AvgPool2d(16), nn.Flatten(), nn.Linear(3 * 7 * 7, 8)), name="tiny")
    with pytest.raises(InputError, match=r"has a `Preprocess` already: give it without, as `model.own_stages`"):
        face_model(model.network, name="again")
    assert face_model(model.own_stages, name="again").fingerprint == model.fingerprint
