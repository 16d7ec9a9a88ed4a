"""The devices to test, and the fixtures of this folder.

Its tests run on the CPU, and again on a CUDA device if there is one; `pytest tests/gpu -m gpu` runs the latter only. On
the CPU they show that the tests themselves work, and compare a result with its repetition.
"""

import warnings
from collections.abc import Callable, Iterator

import pytest
import torch
from accelerate.state import AcceleratorState

CARDS = torch.cuda.device_count() if torch.cuda.is_available() else 0
CARD = pytest.param(
    "cuda", marks=[pytest.mark.gpu, pytest.mark.skipif(not CARDS, reason="needs a CUDA device: torch finds none")]
)
Run = Callable[[str], None]  # see `run_on`


@pytest.fixture(params=["cpu", CARD])
def device(request: pytest.FixtureRequest) -> str:
    """The device to test."""
    return str(request.param)


@pytest.fixture
def run_on(monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Function that lets everything after it compute on a device, with accelerate's settings as at the start.

    Products of float32 are computed in float32, and not in TF32, which PyTorch allows for convolutions by default.
    """

    def choose(device: str) -> None:
        monkeypatch.setenv("ACCELERATE_TORCH_DEVICE", device)
        AcceleratorState._reset_state(reset_partial_state=True)

    before = set_tf32(False, False)
    yield choose
    set_tf32(*before)
    AcceleratorState._reset_state(reset_partial_state=True)


def set_tf32(convolutions: bool, products: bool) -> tuple[bool, bool]:
    """Set whether CUDA may compute convolutions and matrix products of float32 in TF32; return the old settings.

    TF32 keeps 10 bits of each factor, float32 23.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some versions of PyTorch announce other names of these settings
        before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = convolutions, products
    return before
