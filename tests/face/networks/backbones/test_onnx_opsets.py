"""A node is computed and converted by the meaning of the opset that its file states."""

import numpy as np
import pytest
import torch
from small_graphs import FLAT, OPSETS, SIZE, graph

from rsft.face.networks.onnx.graph import read_onnx
from rsft.face.networks.onnx.runtime import run_onnx


@pytest.mark.parametrize("name", OPSETS)
def test_a_node_means_what_it_means_in_the_opset_of_the_file(name: str) -> None:
    opset, nodes, constants = OPSETS[name]
    made = graph([*nodes, FLAT], constants, opset=opset)
    pictures = np.random.default_rng(1).normal(size=(3, 3, SIZE, SIZE)).astype(np.float32)
    with torch.inference_mode():
        found = read_onnx(made, "made.onnx").network(torch.from_numpy(pictures)).numpy()
    np.testing.assert_allclose(found, run_onnx(made, pictures), atol=1e-5, rtol=1e-5)
