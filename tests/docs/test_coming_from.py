"""What the page for users of other toolkits promises about their files is what the readers do."""

import re
import tomllib
from pathlib import Path

import pytest
import torch
from documents import ROOT
from torch import nn

from rsft.face.adaptation.recipe import make_recipe
from rsft.face.networks.backbones.checkpoints import SUFFIXES, read_weights, recognise
from rsft.face.networks.backbones.inception import InceptionResnetV1
from rsft.face.networks.backbones.ir import IR
from rsft.face.networks.backbones.iresnet import IResNet

PAGE = (ROOT / "docs" / "coming-from.md").read_text()


def prefixed(network: nn.Module, prefix: str) -> dict[str, torch.Tensor]:
    return {prefix + name: value for name, value in network.state_dict().items()}


@pytest.mark.parametrize(
    ("named", "held", "family"),
    [
        ("`state_dict_backbone`", lambda: {"epoch": 1, "state_dict_backbone": prefixed(IResNet(18, 8), "module."),
                                           "state_dict_softmax_fc": {"weight": torch.ones(5, 8)}}, "iresnet18"),
        ("names that begin with `model.`, BGR", lambda: {"state_dict": prefixed(IR(18, 8), "model.")}, "adaface-ir18"),
        ("names that begin with `net.`, RGB", lambda: prefixed(IR(18, 8), "net."), "cvlface-ir18"),
        ("`logits` is passed over", lambda: {**InceptionResnetV1().state_dict(), "logits.weight": torch.ones(3, 512)},
         "inception-resnet-v1"),
    ],
)  # fmt: skip
def test_a_checkpoint_of_each_toolkit_is_recognised(named: str, held: object, family: str, tmp_path: Path) -> None:
    assert named in PAGE
    path = tmp_path / "theirs.pt"
    torch.save(held(), path)  # type: ignore[operator]
    assert recognise(read_weights(path), path)[0] == family


def test_files_settings_and_columns_named_on_the_page_are_known() -> None:
    models = re.findall(r"`--model (\S+)`", PAGE)
    assert {Path(name).suffix for name in models if ":" not in name} <= {*SUFFIXES, ".onnx"}
    told = re.findall(r"`((?:loss|scale|margin_\w+) = [^`]+)`", PAGE)
    assert len(told) >= 5
    for setting in told:
        make_recipe(tomllib.loads(setting))
    assert "path,x1,y1,...,x5,y5" in PAGE
