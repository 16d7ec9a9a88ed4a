"""Tuning on a CUDA device: the weights of the CPU, lower precisions, layouts, compilation, and resuming."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from devices import Run
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from rsft import RejectionSampler, Stopping, TuningResult, fine_tune
from rsft.face.adaptation.heads import PrototypeLoss
from rsft.face.networks.load import load_model
from rsft.tuning.checkpoint import Checkpoints
from rsft.tuning.random_state import random_state, set_random_state

STEPS, CLASSES = 20, 5
ITEMS = 120
# Both devices sum in float32, in another order. AdamW divides a gradient by its own size, so where a gradient is nearly
# 0 its rounding decides the sign of a whole step. On the CPU, rounding alone (float32 against float64) moves the last
# stages of dlib by 0.0015 of the way in the test below, those of SFace by 0.0002; one step fewer by 0.16, a learning
# rate a fifth higher by 0.2 and more.
WAY = 0.02


class Head(nn.Module):
    """Cross-entropy over learnt prototypes."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(CLASSES, 6))

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return nn.functional.cross_entropy(outputs @ self.weight.T, targets)


def small_parts() -> tuple[nn.Sequential, Head, DataLoader[Any]]:
    """Return a small network of convolutions, a loss that is trained too, and batches of accepted items."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(ITEMS, 3, 12, 12, generator=generator)
    targets = torch.randint(CLASSES, (ITEMS,), generator=generator)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = nn.Sequential(
            nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64, 6)
        )
        head = Head()
    sampler = RejectionSampler(torch.full((ITEMS,), 0.5), seed=3)
    return model, head, DataLoader(TensorDataset(inputs, targets), 16, sampler=sampler, drop_last=True)


def tuned(**options: Any) -> tuple[TuningResult, dict[str, Tensor]]:
    """Tune the small network; return the result, and the weights of network and head."""
    model, head, batches = small_parts()
    settings = dict[str, Any]({"stop": Stopping(steps=STEPS), "learning_rate": 3e-3}) | options
    result = fine_tune(model, batches, head, **settings)
    return result, {**model.state_dict(), "head": head.weight.detach()}


def untuned() -> dict[str, Tensor]:
    model, head, _ = small_parts()
    return {**model.state_dict(), "head": head.weight.detach()}


def way_apart(one: dict[str, Tensor], other: dict[str, Tensor], start: dict[str, Tensor]) -> float:
    """Return the distance between two trainings' weights, as a share of the way from the start to the second."""
    names = [name for name, tensor in start.items() if tensor.is_floating_point()]
    apart, way = (
        torch.stack([(a[name].cpu() - b[name].cpu()).square().sum() for name in names]).sum().sqrt()
        for a, b in ((one, other), (other, start))
    )
    assert way > 0
    return float(apart / way)


def test_the_tuned_weights_are_those_of_the_cpu(device: str, run_on: Run) -> None:
    run_on("cpu")
    expected, weights = tuned(validate=_score, validate_every=5)
    run_on(device)
    found, on_device = tuned(validate=_score, validate_every=5)
    assert (found.steps, found.accepted, found.best_step) == (expected.steps, expected.accepted, expected.best_step)
    for record, other in zip(found.history, expected.history, strict=True):
        assert record == pytest.approx(other, rel=1e-3)
    assert way_apart(on_device, weights, untuned()) < WAY
    assert {tensor.device.type for tensor in on_device.values()} == {"cpu"}


@pytest.mark.parametrize("name", ["dlib", "sface"])
def test_the_last_stages_of_a_face_network_are_tuned_as_on_the_cpu(name: str, device: str, run_on: Run) -> None:
    if name == "sface":
        pytest.importorskip("onnx", reason="SFace is an ONNX file: needs the extra `onnx`")
    generator = torch.Generator().manual_seed(0)
    chips = torch.randint(0, 256, (16, 3, *(load_model(name).size,) * 2), generator=generator).float()
    results = []
    for place in ("cpu", device):
        run_on(place)
        prefix, suffix = load_model(name).split(-5)
        with torch.no_grad():
            hidden = prefix(chips)
            start = {key: tensor.clone() for key, tensor in suffix.state_dict().items()}
            prototypes = suffix(hidden)[:8] + 0.1
        batches = [(hidden[part], torch.arange(8)) for part in (slice(0, 8), slice(8, 16))]
        result = fine_tune(suffix, batches, PrototypeLoss(prototypes), stop=Stopping(steps=6), channels_last=True)
        results.append((result.history, suffix.state_dict()))
    for record, other in zip(results[1][0], results[0][0], strict=True):
        assert record == pytest.approx(other, rel=1e-3, abs=1e-4)
    assert way_apart(results[1][1], results[0][1], start) < WAY


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_mixed_precision_trains_nearly_as_float32(precision: str, device: str, run_on: Run) -> None:
    """bfloat16 keeps 8 bits of each factor, float16 11; weights and optimiser stay in float32."""
    if device == "cpu" and precision == "fp16":
        pytest.skip("accelerate has no fp16 on the CPU")
    run_on(device)
    expected, _ = tuned()
    run_on(device)
    found, weights = tuned(accelerator=Accelerator(mixed_precision=precision))
    assert found.skipped <= 8  # fp16's scale starts at 2^16 and is halved until the gradient fits
    assert {tensor.dtype for tensor in weights.values() if tensor.is_floating_point()} == {torch.float32}
    assert found.history[-1]["loss"] == pytest.approx(expected.history[-1]["loss"], rel=0.1)
    if not found.skipped:
        first = [result.history[0]["loss"] for result in (found, expected)]
        assert first[0] == pytest.approx(first[1], rel=2e-2)


def test_the_memory_format_does_not_matter(device: str, run_on: Run) -> None:
    run_on(device)
    _, usual = tuned()
    _, last = tuned(channels_last=True)
    assert way_apart(last, usual, untuned()) < WAY


@pytest.mark.filterwarnings("ignore")  # the compiler gives advice by warnings
def test_a_compiled_network_is_tuned_alike(device: str, run_on: Run) -> None:
    run_on(device)
    backend = "inductor" if device == "cuda" else "eager"
    if backend == "inductor":
        _skip_unless_it_compiles()
    _, expected = tuned()
    run_on(device)
    result, found = tuned(accelerator=Accelerator(dynamo_backend=backend))
    assert result.steps == STEPS
    assert way_apart(found, expected, untuned()) < WAY


@pytest.mark.parametrize("precision", ["no", "fp16"])
def test_a_resumed_training_ends_at_the_same_weights(precision: str, device: str, run_on: Run, tmp_path: Path) -> None:
    """A training that dies at step 13 and continues from step 10. On CUDA sums may be in another order each time."""
    if device == "cpu" and precision == "fp16":
        pytest.skip("accelerate has no fp16 on the CPU")

    def run(folder: Path, on_step: Callable[[dict[str, float]], None] = lambda record: None) -> Any:
        run_on(device)
        accelerator = Accelerator(mixed_precision=precision)
        return tuned(checkpoints=Checkpoints(folder, every=5), accelerator=accelerator, on_step=on_step)

    def die(record: dict[str, float]) -> None:
        if record["step"] > 13:
            raise ConnectionAbortedError

    expected, weights = run(tmp_path / "whole")
    with pytest.raises(ConnectionAbortedError):
        run(tmp_path / "parts", die)
    assert sorted(path.name for path in (tmp_path / "parts").iterdir())[-1] == "step-00000010"
    found, resumed = run(tmp_path / "parts")
    assert (found.steps, found.accepted, found.skipped) == (expected.steps, expected.accepted, expected.skipped)
    assert way_apart(resumed, weights, untuned()) < (1e-6 if device == "cpu" else WAY)


def test_a_checkpoint_of_the_cpu_continues_on_the_device(device: str, run_on: Run, tmp_path: Path) -> None:
    def die(record: dict[str, float]) -> None:
        if record["step"] > 13:
            raise ConnectionAbortedError

    run_on("cpu")
    _, weights = tuned()
    with pytest.raises(ConnectionAbortedError):
        tuned(checkpoints=Checkpoints(tmp_path, every=5), on_step=die)
    run_on(device)
    _, resumed = tuned(checkpoints=Checkpoints(tmp_path, every=5))
    assert way_apart(resumed, weights, untuned()) < WAY


def test_random_states_of_the_device_are_kept(device: str, run_on: Run) -> None:
    """Dropout draws on the device; a state that was saved gives the same draws again."""
    run_on(device)
    ones = torch.ones(1000, device=device)
    state = random_state()
    first = nn.functional.dropout(ones, 0.5)
    set_random_state(state)
    assert torch.equal(nn.functional.dropout(ones, 0.5), first)
    assert not torch.equal(nn.functional.dropout(ones, 0.5), first)


def _score(model: nn.Module) -> float:
    """Return a score that does not depend on rounding."""
    with torch.no_grad():
        norm = sum(parameter.square().sum().item() for parameter in model.parameters())
    return -round(float(norm), 1)


def _skip_unless_it_compiles() -> None:
    """Skip the test if torch.compile cannot make code for CUDA here, as without a C compiler or Python's headers."""
    try:
        found = torch.compile(lambda x: (x + 1).relu())(torch.zeros(8, device="cuda"))
    except Exception as error:
        pytest.skip(f"torch.compile does not work on this machine: {' '.join(str(error).split())[:200]}")
    np.testing.assert_array_equal(found.cpu().numpy(), np.ones(8))
