"""What tuning more stages of dlib's network costs: the time of a step, and the room of a kept view.

    python benchmarks/cuts.py

Steps of the cuts take turns on one thread; the median of the processor seconds. Writes `benchmarks/results/cuts.json`.
"""

import json
import time
from pathlib import Path

import numpy as np
import torch
from runs import about

from rsft.face.networks.load import load_model

RESULTS = Path(__file__).parent / "results" / "cuts.json"
CUTS = (-5, -8, -12)
BATCH_SIZE, STEPS = 64, 9


def main() -> None:
    torch.set_num_threads(1)
    model = load_model("dlib")
    model.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    pictures = torch.zeros(BATCH_SIZE, 3, model.size, model.size).contiguous(memory_format=torch.channels_last)
    trained, seconds = {}, {cut: [] for cut in CUTS}
    for cut in CUTS:
        prefix, suffix = model.split(cut)
        with torch.no_grad():
            kept = prefix(pictures)
        trained[cut] = suffix, kept, torch.optim.AdamW(suffix.parameters(), 1e-9)
    for _ in range(STEPS):
        for cut, (suffix, kept, optimizer) in trained.items():
            began = time.process_time()
            optimizer.zero_grad()
            suffix(kept).square().sum().backward()
            optimizer.step()
            seconds[cut].append(time.process_time() - began)
    first = np.median(seconds[CUTS[0]])
    costs = {
        str(cut): {
            "step": float(np.median(seconds[cut]) / first),
            "kilobytes": trained[cut][1][0].numel() * torch.float16.itemsize / 1000,
        }
        for cut in CUTS
    }
    RESULTS.write_text(json.dumps({"about": about(batch_size=BATCH_SIZE, steps=STEPS), "cuts": costs}, indent=1))
    print(json.dumps(costs, indent=1))


if __name__ == "__main__":
    main()
