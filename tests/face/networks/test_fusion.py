"""A fusion compares by the mean of its networks' cosines, each on its own crop, and only its last layer is tuned."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from rsft.errors import InputError
from rsft.face.export import export
from rsft.face.models import check_model
from rsft.face.networks.bundle import FaceModel, face_model, fuse
from rsft.face.networks.chip_points import ARCFACE, DLIB, scaled
from rsft.face.networks.fusion import Crop, common_chip
from rsft.face.networks.load import load_model
from rsft.face.networks.parity import drawn_chips
from rsft.face.pictures.embedding import face_reader
from rsft.face.pictures.orl import orl_faces


def network() -> nn.Sequential:
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(3, 8, 5, stride=4), nn.PReLU(8)), nn.Sequential(nn.Flatten(), nn.Linear(8 * 7 * 7, 16))
    )


def small(seed: int, **options: object) -> FaceModel:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        stages = network()
    return face_model(stages, name=f"small{seed}", size=32, template=scaled(ARCFACE, 32 / 112), **options)  # type: ignore[arg-type]


def test_a_crop_of_a_linear_picture_is_the_picture_at_the_mapped_places() -> None:
    chip = common_chip([(112, ARCFACE), (150, DLIB)])
    y, x = torch.meshgrid(torch.arange(chip.size), torch.arange(chip.size), indexing="ij")
    for size, template, matrix in zip((112, 150), (ARCFACE, DLIB), chip.maps, strict=True):
        found = Crop(size, matrix, chip.size)(torch.stack([x, y]).float()[None])[0]
        rows, columns = np.mgrid[:size, :size]
        wanted = np.stack([columns, rows, np.ones_like(rows)], -1) @ matrix.T
        torch.testing.assert_close(found.permute(1, 2, 0), torch.from_numpy(wanted).float(), atol=1e-3, rtol=0)
        assert wanted.min() >= -1e-6  # nothing of the crop lies outside
        assert wanted.max() <= chip.size - 1 + 1e-6
        points = np.column_stack([np.array(template), np.ones(5)]) @ matrix.T
        assert np.abs(points - np.array(chip.template)).max() < 8  # two templates of a face are not quite similar
    assert min(np.hypot(*matrix[0, :2]) for matrix in chip.maps) == pytest.approx(1, abs=0.02)  # no detail is lost


def test_the_cosine_of_a_fusion_is_the_mean_of_its_networks_cosines() -> None:
    one, other = small(1), small(2, order="BGR", std=100.0)
    fused = fuse([one, other])
    assert (fused.size, fused.embedding_size, fused.name) == (32, 32, "small1+small2")
    chips = 255 * torch.rand(2, 3, 32, 32)
    with torch.inference_mode():
        cosines = [torch.cosine_similarity(*model.network(chips).split(1)) for model in (one, other, fused)]
    torch.testing.assert_close(cosines[2], (cosines[0] + cosines[1]) / 2, atol=1e-5, rtol=0)


@pytest.mark.parametrize("cut", [-5, -1, 0, 1])
def test_the_networks_of_a_fusion_are_never_tuned(cut: int) -> None:
    before, after = fuse([small(1), small(2)]).split(cut)
    assert sum(parameter.numel() for parameter in after.parameters()) == 2 * (16 * 16 + 16)
    assert len(before) == 1


def test_its_last_stage_changes_nothing_at_first_and_then_compares_the_mapped_parts() -> None:
    before, after = fuse([small(1), small(2)]).split(-1)
    maps = [torch.randn(16, 16), torch.randn(16, 16)]
    with torch.inference_mode():
        parts = before(255 * torch.rand(2, 3, 32, 32))
        torch.testing.assert_close(after(parts), parts)
        for linear, matrix in zip(after[0].maps, maps, strict=True):  # type: ignore[arg-type]
            linear.weight.copy_(matrix)
            linear.bias.copy_(matrix.sum(1))
        mapped = [(part + 1) @ matrix.T for part, matrix in zip(parts.split(16, 1), maps, strict=True)]
        cosines = [torch.cosine_similarity(*each.split(1)) for each in (*mapped, after(parts))]
    torch.testing.assert_close(cosines[2], (cosines[0] + cosines[1]) / 2)


def test_a_fusion_is_saved_whole_and_loaded_without_its_parts(tmp_path: Path) -> None:
    """A checkpoint's network stands for one that is built by name, SFace for one with a graph."""
    fused = load_model("sface+dlib")
    with torch.no_grad():
        fused.network[-1].maps[1].weight.mul_(torch.linspace(0.5, 2, 128))  # type: ignore[union-attr, index]
    fused.save(tmp_path / "model")
    again = load_model(tmp_path)
    assert again.fingerprint == fused.fingerprint != load_model("sface+dlib").fingerprint
    assert again.describe() == fused.describe()
    again.save(tmp_path / "again")
    assert load_model(tmp_path / "again").fingerprint == fused.fingerprint
    assert check_model(tmp_path / "again")["error"] < 1e-5
    assert fused.licence == "Apache-2.0 and CC0-1.0"
    (tmp_path / "model" / "graph-0.onnx").unlink()
    with pytest.raises(InputError, match="network of your own"):
        load_model(tmp_path)


def test_its_graph_gives_the_same_embeddings(tmp_path: Path) -> None:
    fused = load_model("sface+dlib")
    assert export(fused, onnx=tmp_path / "fused.onnx")["error"] < 1e-4
    again = load_model(tmp_path / "fused.onnx")
    chips = torch.from_numpy(drawn_chips(fused.template, fused.size)).permute(0, 3, 1, 2).float()
    with torch.inference_mode():
        torch.testing.assert_close(again.network(chips), fused.network(chips), atol=1e-4, rtol=0)


def test_each_network_sees_nearly_its_own_crop_of_a_photograph() -> None:
    fused, photographs = load_model("sface+dlib"), orl_faces()
    wide = face_reader(fused)
    parts = [(load_model(name), face_reader(load_model(name))) for name in ("sface", "dlib")]
    for index in (0, 57):
        picture = photographs.read(index)
        with torch.inference_mode():
            together = _embedded(fused, wide(picture).chip).split(128)
            for (model, read), found in zip(parts, together, strict=True):
                assert torch.cosine_similarity(_embedded(model, read(picture).chip), found, dim=0) > 0.985


def _embedded(model: FaceModel, chip: np.ndarray) -> torch.Tensor:
    return model.network(torch.from_numpy(chip).permute(2, 0, 1)[None].float())[0]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("sface+sface", "two or more different networks"),
        ("dlib+", "no model ''"),
        ("nobody+dlib", "no model 'nobody'"),
    ],
)
def test_what_cannot_be_fused_is_refused(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_model(name)


def test_a_fusion_of_fusions_or_of_one_network_is_refused() -> None:
    fused = fuse([small(1), small(2)])
    for models in ([fused, small(3)], [small(1)]):
        with pytest.raises(InputError, match="not fusions themselves"):
            fuse(models)


def test_a_fusion_of_networks_of_ones_own_is_loaded_with_its_network(tmp_path: Path) -> None:
    fused = fuse([small(1), small(2)])
    fused.save(tmp_path / "model")
    with pytest.raises(InputError, match="network of your own"):
        load_model(tmp_path)
    again = load_model(tmp_path, network=nn.Sequential(*fused.network))
    assert again.fingerprint == fused.fingerprint
