"""Train on this process's part of every batch, on its own card, and write the result; started by `torchrun`.

torchrun --nproc-per-node 2 card_ranks.py OUT
"""

import json
import sys
from pathlib import Path

import safetensors.torch
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from rsft import RejectionSampler, Stopping, fine_tune
from rsft.tuning.distributed import is_first, join, leave, rank_and_world_size

BATCH_SIZE = 16


def train(out: Path) -> None:
    join()
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(400, 3, 12, 12, generator=generator)
    targets = torch.randint(5, (400,), generator=generator)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64, 5))
    size = BATCH_SIZE // rank_and_world_size()[1]
    sampler = RejectionSampler(torch.full((400,), 0.5), seed=2)
    loader = DataLoader(TensorDataset(inputs, targets), size, sampler=sampler, drop_last=True)
    result = fine_tune(model, loader, nn.CrossEntropyLoss(), stop=Stopping(steps=11), learning_rate=0.01)
    if is_first():
        safetensors.torch.save_file(model.state_dict(), out / "model.safetensors")
        backend = torch.distributed.get_backend() if torch.distributed.is_initialized() else None
        told = {"steps": result.steps, "accepted": result.accepted, "backend": backend}
        (out / "result.json").write_text(json.dumps(told))


if __name__ == "__main__":
    train(Path(sys.argv[1]))
    leave(0)
