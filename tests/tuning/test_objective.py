"""Training with several processes, accumulated batches, low precision, compilation and trackers."""

import json
import runpy
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import safetensors.torch
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor, nn

from rsft import Stopping, fine_tune
from rsft.errors import DivergedError
from rsft.tuning.checkpoint import Checkpoints

SCRIPT = Path(__file__).with_name("tuning_ranks.py")
X = torch.randn(64, 3, generator=torch.Generator().manual_seed(0))
Y = X @ torch.tensor([[1.0], [-2.0], [0.5]])


@pytest.fixture(autouse=True)
def _fresh_state() -> Iterator[None]:
    """Reset accelerate, which keeps one precision per process."""
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


def train(out: Path, processes: int, accumulated: int = 1) -> tuple[dict[str, Tensor], list[object]]:
    out.mkdir(exist_ok=True)
    if processes == 1:
        runpy.run_path(str(SCRIPT))["train"](out, accumulated)
    else:
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
        command += [str(SCRIPT), str(out), str(accumulated)]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr
    return safetensors.torch.load_file(out / "model.safetensors"), json.loads((out / "result.json").read_text())


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Tensor], list[object]]:
    return train(tmp_path_factory.mktemp("ranks") / "alone", 1)


@pytest.mark.parametrize(("processes", "accumulated"), [(2, 1), (4, 1), (1, 4), (2, 2)])
def test_several_processes_and_accumulated_batches_equal_one_process(
    processes: int, accumulated: int, alone: tuple[dict[str, Tensor], list[object]], tmp_path: Path
) -> None:
    """The accepted items and their batches are the same, so all results are equal up to float tolerance."""
    weights, (steps, accepted, history) = train(tmp_path / "run", processes, accumulated)
    expected, (expected_steps, expected_accepted, expected_history) = alone
    assert (steps, accepted) == (expected_steps, expected_accepted) == (11, 11 * 16)
    for name in weights:
        torch.testing.assert_close(weights[name], expected[name], rtol=1e-4, atol=1e-6)
    for record, other in zip(history, expected_history, strict=True):  # type: ignore[call-overload]
        assert record == pytest.approx(other, rel=1e-4)
    assert [path.name for path in sorted((tmp_path / "run" / "checkpoints").iterdir())] == [
        "step-00000010",
        "step-00000011",
    ]


def test_a_run_of_two_processes_resumes_with_one(alone: tuple[dict[str, Tensor], list[object]], tmp_path: Path) -> None:
    """The position of the sampler counts the items of all processes together."""
    train(tmp_path, 2)
    shutil.rmtree(tmp_path / "checkpoints" / "step-00000011")
    one, _ = train(tmp_path, 1)
    for name in one:
        torch.testing.assert_close(one[name], alone[0][name], rtol=1e-4, atol=1e-6)


def test_low_precision_trains_on_the_cpu() -> None:
    seen: list[torch.dtype] = []

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        seen.append(outputs.dtype)
        return nn.functional.mse_loss(outputs, targets)

    model = nn.Linear(3, 1)
    accelerator = Accelerator(cpu=True, mixed_precision="bf16")
    result = fine_tune(model, [(X, Y)], loss, stop=Stopping(steps=300), learning_rate=0.05, accelerator=accelerator)
    assert set(seen) == {torch.bfloat16}
    assert model.weight.dtype == torch.float32
    assert result.history[-1]["loss"] < 1e-2
    assert model(X).dtype == torch.float32  # the model itself is unchanged


def half_precision(scale: float) -> Accelerator:
    """Set up accelerate as on a GPU; on a CPU it does not enable fp16 itself."""
    AcceleratorState._reset_state(reset_partial_state=True)
    accelerator = Accelerator(cpu=True, mixed_precision="fp16")
    accelerator.native_amp, accelerator.scaler = True, torch.amp.GradScaler("cpu", init_scale=scale, growth_interval=50)
    return accelerator


def test_half_precision_finds_its_scale_and_resumes_with_it(tmp_path: Path) -> None:
    """A scale that is far too large costs one step per halving; the checkpoint keeps the scale that was found."""
    seen: set[torch.dtype] = set()

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        seen.add(outputs.dtype)
        return nn.functional.mse_loss(outputs.float(), targets)

    def train(folder: Path, *lengths: int) -> tuple[Tensor, list[int], float]:
        skipped = []
        for steps in lengths:
            torch.manual_seed(0)
            model, accelerator = nn.Linear(3, 1), half_precision(2.0**30)
            result = fine_tune(
                model,
                [(X, Y)],
                loss,
                stop=Stopping(steps=200, accepted=steps * len(X)),
                learning_rate=0.05,
                accelerator=accelerator,
                checkpoints=Checkpoints(folder, every=100),
            )
            skipped.append(result.skipped)
        return model.weight.detach(), skipped, accelerator.scaler.get_scale()

    whole, (skipped,), scale = train(tmp_path / "whole", 60)
    assert seen == {torch.float16}
    assert skipped > 10
    assert scale < 2.0**20
    parts, counts, same_scale = train(tmp_path / "parts", 40, 60)
    assert torch.equal(parts, whole)
    assert (counts[-1], same_scale) == (skipped, scale)


def test_half_precision_ends_if_no_scale_helps() -> None:
    with pytest.raises(DivergedError, match="not finite in 5 steps"):
        fine_tune(
            nn.Linear(3, 1),
            [(X, Y)],
            lambda outputs, targets: outputs.float().sum() * torch.nan,
            stop=Stopping(steps=50),
            accelerator=half_precision(2.0**10),
        )


def test_a_compiled_model_gives_the_same_weights() -> None:
    models = []
    for options in ({}, {"dynamo_backend": "eager"}):
        AcceleratorState._reset_state(reset_partial_state=True)
        torch.manual_seed(0)
        model = nn.Linear(3, 1)
        fine_tune(
            model,
            [(X, Y)],
            nn.functional.mse_loss,
            stop=Stopping(steps=5),
            learning_rate=0.1,
            accelerator=Accelerator(cpu=True, **options),
        )
        models.append(model)
    torch.testing.assert_close(models[0].weight, models[1].weight)


def test_channels_last_changes_the_layout_but_not_the_result() -> None:
    pictures, labels = torch.randn(8, 3, 9, 9, generator=torch.Generator().manual_seed(0)), torch.arange(8) % 2
    layouts: list[bool] = []
    models = []
    for channels_last in (False, True):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
        hook = model[0].register_forward_hook(
            lambda module, inputs, output: layouts.append(inputs[0].is_contiguous(memory_format=torch.channels_last))
        )
        fine_tune(
            model,
            [(pictures, labels)],
            nn.CrossEntropyLoss(),
            stop=Stopping(steps=4),
            learning_rate=0.01,
            channels_last=channels_last,
        )
        hook.remove()
        models.append(model)
    assert layouts == [False] * 4 + [True] * 4
    for one, other in zip(models[0].parameters(), models[1].parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_trackers_get_the_history(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accelerator = Accelerator(cpu=True, log_with="tensorboard", project_dir=str(tmp_path))
    result = fine_tune(
        nn.Linear(3, 1),
        [(X, Y)],
        nn.functional.mse_loss,
        stop=Stopping(steps=3),
        accelerator=accelerator,
        validate=lambda model: 0.0,
    )
    accelerator.end_training()
    events = EventAccumulator(str(tmp_path / "rsft"))
    events.Reload()
    losses = [record["loss"] for record in result.history if "loss" in record]
    assert [event.value for event in events.Scalars("loss")] == pytest.approx(losses)
    assert [event.step for event in events.Scalars("score")] == [0, 3]


def test_each_parameter_group_has_its_learning_rate() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 1))
    start = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    # the size of Adam's first step is the learning rate
    fine_tune(
        model,
        [(X, Y)],
        nn.functional.mse_loss,
        stop=Stopping(steps=1),
        learning_rate={"": 1e-3, "1.": 1e-2},
        warmup_fraction=0.0,
    )
    moved = {name: (tensor - start[name]).abs().max().item() for name, tensor in model.state_dict().items()}
    assert [moved["0.weight"], moved["1.weight"]] == pytest.approx([1e-3, 1e-2], rel=1e-3)
    for rates, message in (({"1.": 1e-2}, "no rate for '0.weight'"), ({"": 1e-3, "2.": 1.0}, "names '2.'")):
        with pytest.raises(ValueError, match=message):
            fine_tune(model, [(X, Y)], nn.functional.mse_loss, stop=Stopping(steps=1), learning_rate=rates)


def test_the_error_names_the_items_of_bad_batches() -> None:
    batches = [
        (torch.full((2, 3), torch.nan), torch.zeros(2, 1), [f"{number}-a", f"{number}-b"]) for number in range(8)
    ]
    with pytest.raises(DivergedError, match="0-a, 0-b, 1-a") as caught:
        fine_tune(nn.Linear(3, 1), batches, nn.functional.mse_loss, stop=Stopping(epochs=1))
    assert caught.value.items == [f"{number}-{letter}" for number in range(5) for letter in "ab"]


def test_reaching_the_score_ends_the_training() -> None:
    scores = iter([0.1, 0.4, 0.6, 0.9])
    result = fine_tune(
        nn.Linear(3, 1),
        [(X, Y)],
        nn.functional.mse_loss,
        stop=Stopping(score=0.5),
        validate=lambda model: next(scores),
        validate_every=3,
    )
    assert (result.stopped_by, result.steps, result.best_step) == ("score", 6, 6)
