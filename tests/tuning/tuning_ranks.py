"""Train on this process's part of every batch and write the result; started by `torchrun`.

torchrun --nproc-per-node 2 tuning_ranks.py OUT ACCUMULATED
"""

import json
import os
import sys
from pathlib import Path

import safetensors.torch
import torch
from accelerate import Accelerator
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from rsft import RejectionSampler, Stopping, fine_tune
from rsft.tuning.checkpoint import Checkpoints

BATCH_SIZE = 16
STEPS = 11  # within one epoch: accumulated batches may continue into the next epoch, single batches do not


def train(out: Path, accumulated: int) -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(400, 6, generator=generator), torch.randint(3, (400,), generator=generator)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=accumulated)
    sampler = RejectionSampler(torch.full((400,), 0.5), seed=2)
    size = BATCH_SIZE // accelerator.num_processes // accumulated
    loader = DataLoader(TensorDataset(x, y), size, sampler=sampler, drop_last=True)
    result = fine_tune(
        model,
        loader,
        nn.CrossEntropyLoss(),
        stop=Stopping(steps=STEPS),
        learning_rate=0.01,
        accelerator=accelerator,
        checkpoints=Checkpoints(out / "checkpoints", every=5),
    )
    if accelerator.is_main_process:
        safetensors.torch.save_file(model.state_dict(), out / "model.safetensors")
        (out / "result.json").write_text(json.dumps([result.steps, result.accepted, result.history]))


if __name__ == "__main__":
    train(Path(sys.argv[1]), int(sys.argv[2]))
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
    os._exit(0)  # the shutdown of gloo's threads under load may end a process with SIGABRT
