"""Checkpoints are recognised by the names and shapes of weights that their authors publish."""

import logging
import pickle
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from rsft.errors import InputError
from rsft.face.export import to_onnx
from rsft.face.networks.backbones.checkpoints import ARCHITECTURES, read_weights, recognise
from rsft.face.networks.bundle import face_model
from rsft.face.networks.load import load_model
from rsft.face.networks.onnx.graph import read_onnx
from rsft.face.networks.onnx.runtime import run_onnx

# Number of tensors, and some names and shapes, in the authors' own modules.
PUBLISHED: dict[str, tuple[int, dict[str, tuple[int, ...]]]] = {
    "iresnet18": (
        187,
        {
            "conv1.weight": (64, 3, 3, 3),
            "prelu.weight": (64,),
            "layer1.0.downsample.1.running_var": (64,),
            "layer4.1.conv2.weight": (512, 512, 3, 3),
            "bn2.weight": (512,),
            "fc.weight": (512, 25088),
            "features.running_mean": (512,),
        },
    ),
    "iresnet34": (331, {"layer3.5.bn3.weight": (256,)}),
    "iresnet50": (475, {"layer3.13.prelu.weight": (256,)}),
    "mobilefacenet": (
        333,
        {
            "layers.0.layers.0.weight": (128, 3, 3, 3),
            "layers.1.layers.0.weight": (128, 2, 3, 3),
            "layers.3.layers.3.layers.1.layers.0.weight": (128, 1, 3, 3),
            "layers.6.layers.2.layers.1.running_mean": (256,),
            "conv_sep.layers.0.weight": (512, 256, 1, 1),
            "features.layers.0.layers.0.weight": (512, 1, 7, 7),
            "features.layers.2.weight": (512, 512),
            "features.layers.3.weight": (512,),
        },
    ),
    "adaface-ir18": (
        179,
        {
            "input_layer.0.weight": (64, 3, 3, 3),
            "body.2.shortcut_layer.0.weight": (128, 64, 1, 1),
            "body.0.res_layer.3.weight": (64,),
            "output_layer.3.weight": (512, 25088),
            "output_layer.4.running_var": (512,),
        },
    ),
    "adaface-ir50": (467, {"body.23.res_layer.5.running_var": (512,)}),
    "inception-resnet-v1": (
        714,
        {
            "conv2d_4b.conv.weight": (256, 192, 3, 3),
            "repeat_1.4.branch2.1.bn.weight": (32,),
            "repeat_2.9.branch1.1.conv.weight": (128, 128, 1, 7),
            "mixed_7a.branch0.1.conv.weight": (384, 256, 3, 3),
            "block8.conv2d.bias": (1792,),
            "last_linear.weight": (512, 1792),
        },
    ),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_networks_have_the_published_names_and_shapes_and_are_recognised(name: str) -> None:
    number, some = PUBLISHED[name]
    with torch.device("meta"):
        state = ARCHITECTURES[name].build(512).state_dict()
    assert len(state) == number
    assert {key: tuple(state[key].shape) for key in some} == some
    filled = {key: torch.zeros(tensor.shape, dtype=tensor.dtype) for key, tensor in state.items()}
    prefix = {"adaface": "model.", "inception": "module."}.get(name.split("-")[0], "")
    found, network = recognise({"": {prefix + key: tensor for key, tensor in filled.items()}}, Path("x.pt"))
    assert found == name
    assert not network.training


def test_cvlface_takes_rgb_and_adaface_bgr_and_heads_are_ignored() -> None:
    state = ARCHITECTURES["adaface-ir18"].build(64).state_dict()
    of_net = {f"net.{key}": tensor for key, tensor in state.items()}
    assert recognise({"": of_net}, Path("x.pt"))[0] == "cvlface-ir18"
    of_model = {f"model.{key}": tensor for key, tensor in state.items()} | {"head.kernel": torch.zeros(64, 10)}
    assert recognise({"": of_model}, Path("x.ckpt"))[0] == "adaface-ir18"
    assert (ARCHITECTURES["cvlface-ir18"].order, ARCHITECTURES["adaface-ir18"].order) == ("RGB", "BGR")


@pytest.fixture(scope="module")
def mobile() -> nn.Module:
    """Return a network whose running statistics differ from their initial values."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = ARCHITECTURES["mobilefacenet"].build(32)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)  # type: ignore[union-attr]
                module.running_var.uniform_(0.5, 1.5)  # type: ignore[union-attr]
    return network.eval()


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_checkpoint_is_loaded_with_the_preprocessing_of_its_family(
    mobile: nn.Module, suffix: str, tmp_path: Path
) -> None:
    path = tmp_path / f"ü {suffix}"
    state = mobile.state_dict()
    safetensors.torch.save_file(state, path) if suffix == ".safetensors" else torch.save({"state_dict": state}, path)
    model = load_model(path)
    assert (model.name, model.embedding_size, model.licence) == ("mobilefacenet", 32, "unknown")
    chips = torch.full((1, 3, 112, 112), 200.0)
    torch.testing.assert_close(model.network(chips), mobile((chips - 127.5) / 127.5))
    path.with_suffix(".json").write_text('{"order": "BGR", "std": 128.0, "licence": "research only"}')
    declared = load_model(path)
    assert declared.preprocess.settings() == {"order": "BGR", "mean": [127.5] * 3, "std": [128.0] * 3}
    assert declared.is_non_commercial
    assert declared.fingerprint != model.fingerprint


def test_an_onnx_export_has_the_same_outputs_and_can_be_read_again(mobile: nn.Module) -> None:
    model = face_model(mobile, name="mobilefacenet")
    graph = to_onnx(model)
    pictures = np.random.default_rng(0).uniform(0, 255, (2, 3, 112, 112)).astype(np.float32)
    with torch.inference_mode():
        expected = model.network(torch.from_numpy(pictures)).numpy()
        again = read_onnx(graph, "export.onnx").network(torch.from_numpy(pictures)).numpy()
    scale = np.abs(expected).max()
    np.testing.assert_allclose(run_onnx(graph, pictures), expected, atol=1e-4 * scale, rtol=0)
    np.testing.assert_allclose(again, expected, atol=1e-4 * scale, rtol=0)


def shifted(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Other weights of the same names."""
    return {name: tensor + 1 if tensor.is_floating_point() else tensor for name, tensor in state.items()}


@pytest.mark.parametrize(
    ("place", "prefix"),
    [
        ("", "module._orig_mod."),
        ("state_dict", ""),
        ("state_dict_backbone", "module."),
        ("model", "backbone."),
        ("ema.module", "_orig_mod."),
        ("state_dict", "model.net.module."),
    ],
)
def test_training_checkpoints_are_read_wherever_the_weights_lie(
    mobile: nn.Module, place: str, prefix: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    saved: dict[str, object] = {prefix + name: tensor.half() for name, tensor in mobile.state_dict().items()}
    saved |= {"head.kernel": torch.zeros(32, 10)}
    for key in reversed(place.split(".") if place else []):
        saved = {key: saved}
    saved |= {"epoch": 3, "state_dict_softmax_fc": {"weight": torch.zeros(10, 32)}}
    saved |= {"optimizer": {"state": {0: {"exp_avg": torch.zeros(2)}}}}
    torch.save(saved, tmp_path / "x.ckpt")
    with caplog.at_level(logging.INFO, "rsft"):
        model = load_model(tmp_path / "x.ckpt")
    chips = torch.full((1, 3, 112, 112), 200.0)
    wanted = mobile((chips - 127.5) / 127.5)
    torch.testing.assert_close(model.network(chips), wanted, atol=2e-2 * float(wanted.detach().abs().max()), rtol=0)
    assert "other tensors passed over (" in caplog.text
    assert "state_dict_softmax_fc.weight" in caplog.text


def test_of_two_networks_in_a_checkpoint_one_is_asked_for_by_name(mobile: nn.Module, tmp_path: Path) -> None:
    path, state = tmp_path / "x.pt", mobile.state_dict()
    torch.save({"state_dict": state, "ema": {key: value.clone() for key, value in state.items()}}, path)
    assert load_model(path).embedding_size == 32  # twice the same
    torch.save({"state_dict": state, "ema": shifted(state)}, path)
    with pytest.raises(InputError, match=r"2 networks \('state_dict', 'ema'\): state which .* \"weights\" in x\.json"):
        load_model(path)
    path.with_suffix(".json").write_text('{"weights": "ema"}')
    found = load_model(path).own_stages.state_dict()
    torch.testing.assert_close(sum(t.sum() for t in found.values()), sum(t.sum() for t in shifted(state).values()))
    path.with_suffix(".json").write_text('{"weights": "nonesuch"}')
    with pytest.raises(InputError, match="has no weights 'nonesuch' of a network: it has 'state_dict', 'ema'"):
        load_model(path)
    both = {f"model.{k}": v for k, v in state.items()} | {f"ema_model.{k}": v for k, v in shifted(state).items()}
    with pytest.raises(InputError, match=r"\('state_dict.model', 'state_dict.ema_model'\)"):
        recognise({"state_dict": both}, path)


def test_the_head_beside_a_network_does_not_say_how_wide_it_is() -> None:
    state = ARCHITECTURES["mobilefacenet"].build(16).state_dict() | {"classifier.weight": torch.zeros(1000, 16)}
    assert recognise({"": state}, Path("x.pt"))[0] == "mobilefacenet"


def test_weights_that_are_no_numbers_are_refused() -> None:
    state = ARCHITECTURES["mobilefacenet"].build(8).state_dict()
    for bad in (torch.full((8,), torch.nan), torch.ones(8, dtype=torch.int8)):
        with pytest.raises(InputError, match=r"weight 'features\.layers\.3\.weight' is not of finite floating-point"):
            recognise({"": state | {"features.layers.3.weight": bad}}, Path("x.pt"))


def test_it_is_said_that_the_order_of_colours_is_not_told(caplog: pytest.LogCaptureFixture) -> None:
    state = ARCHITECTURES["adaface-ir18"].build(8).state_dict()
    recognise({"": {f"module.model.{name}": tensor for name, tensor in state.items()}}, Path("x.pt"))
    assert "BGR" not in caplog.text
    recognise({"": {f"backbone.{name}": tensor for name, tensor in state.items()}}, Path("x.pt"))
    assert "so BGR is assumed" in caplog.text


class Runs:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (Path("ran"),)  # type: ignore[return-value]


def test_invalid_and_unknown_checkpoints_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    hostile = tmp_path / "hostile.pt"
    torch.save({"weight": Runs()}, hostile, pickle_module=pickle)
    with pytest.raises(InputError, match="could run code"):
        read_weights(hostile)
    assert not Path("ran").exists()
    for name in ("damaged.pt", "damaged.safetensors"):
        (tmp_path / name).write_bytes(b"no weights")
        with pytest.raises(InputError, match=r"cannot read|is damaged"):
            read_weights(tmp_path / name)
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(InputError, match="holds no named weights"):
        read_weights(tmp_path / "list.pt")
    with pytest.raises(InputError, match="has the weights of no supported network"):
        recognise({"": {"some.weight": torch.zeros(2)}}, Path("x.pt"))
    state: dict[str, Tensor] = ARCHITECTURES["mobilefacenet"].build(8).state_dict()
    del state["layers.3.layers.0.layers.0.layers.0.weight"]
    with pytest.raises(InputError, match=r"looks like mobilefacenet but is not: .*layers\.3"):
        recognise({"": state}, Path("x.pt"))
