"""A training run that is killed repeatedly with SIGKILL and resumes from its last checkpoint each time."""

import multiprocessing
import os
import signal
import time
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, TensorDataset

from rsft import RejectionSampler

ITEMS, BATCH, EPOCHS = 400, 8, 3
ACCEPTANCE = torch.linspace(0, 1, ITEMS, dtype=torch.float64)


def train(folder: Path, pause: float = 0.0) -> None:
    """Train to the end from the checkpoint in `folder`, if any, and write a checkpoint after every step."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    sampler = RejectionSampler(ACCEPTANCE, seed=3)
    x = torch.randn(ITEMS, 4, generator=torch.Generator().manual_seed(1))
    loader = DataLoader(TensorDataset(torch.arange(ITEMS), x), BATCH, sampler=sampler)
    last = folder / "checkpoint"
    if last.exists():
        saved = torch.load(last)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        sampler.load_state_dict(saved["sampler"])

    def save() -> None:
        parts: dict[str, Any] = {"model": model, "optimizer": optimizer, "sampler": sampler}
        torch.save({name: part.state_dict() for name, part in parts.items()}, folder / "new")
        os.replace(folder / "new", last)  # atomic

    for epoch in range(sampler.epoch, EPOCHS):
        sampler.set_epoch(epoch)
        for items, inputs in loader:
            loss = (model(inputs).squeeze(1) - items / ITEMS).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            sampler.update(items, torch.full((len(items),), 0.5))  # seen items get acceptance 0.5
            save()
            time.sleep(pause)
    (folder / "done").touch()


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """Return the model weights of the last checkpoint."""
    return torch.load(folder / "checkpoint")["model"]


def train_and_kill(folder: Path, moments: list[float], pause: float) -> int:
    """Kill a training after each of `moments` seconds, then train to the end; return the number of effective kills."""
    # The fork server imports torch only once, and has no threads that a fork would lose.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "rsft", "killed"])
    killed = 0
    for moment in moments:
        process = context.Process(target=train, args=(folder, pause))
        process.start()
        time.sleep(moment)
        running = process.is_alive()
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join()
        killed += running and process.exitcode == -signal.SIGKILL
    process = context.Process(target=train, args=(folder,))
    process.start()
    process.join()
    return killed
