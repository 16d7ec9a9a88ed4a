"""What tuning costs beside the same work written by hand; every ratio is measured in one run, alternating.

Times are (wall seconds, processor seconds of this process). Ratios are those of the shortest processor times on one
thread, which other work on the machine disturbs least; all times are written.

    python benchmarks/tuning.py

- cache: an epoch of tuning the last block on cached activations, against a plain loop that computes the frozen stages
  without gradients in every epoch; the first epoch and the later ones.
- loop: `fine_tune` against a hand-written loop on the same tensors.
- embed: pictures a second of `embed`, which decodes files, against a bare loop over batches in memory.
- overlap: where the seconds of `embed` go on photographs in which faces are looked for: processor seconds of the
  threads that read, of the one that computes, and how long that one waits.
- fit, fit_one_fold: seconds of `fit` against its floors: the forward passes and optimiser steps alone, written by hand.
  The floor "once" has the pool's forward pass and the training whose network is kept, "sets" those of the target and of
  the sets evaluated too, "all" also the trainings of the cross-validation.

Writes `benchmarks/results/tuning.json`.
"""

import argparse
import copy
import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from rsft import RejectionSampler, Stopping, fine_tune
from rsft.data import decoding
from rsft.data.images import ImageSet, find_images
from rsft.face.adaptation.heads import PrototypeLoss
from rsft.face.adaptation.recipe import Recipe
from rsft.face.adaptation.tune import KEPT
from rsft.face.demo import draw_faces
from rsft.face.fit import fit
from rsft.face.networks.load import load_model
from rsft.face.pictures import embedding
from rsft.face.pictures.embedding import embed
from rsft.face.pictures.orl import orl_faces
from rsft.tuning.cache import CachedActivations
from rsft.tuning.cut import cut
from rsft.tuning.freezing import train_from

RESULTS = Path(__file__).parent / "results" / "tuning.json"
BATCH_SIZE = 32
LAST_BLOCK = 14
REPETITIONS = 5
EPOCHS = 4
PICTURES = 384
STEPS = 10
FIT_PEOPLE = {"pool": 22, "target": 8, "evaluation": 10, "retention": 10}
FIT_COPIES = 4
WRITTEN_ONLY = {"plain_epoch", "first_epoch", "later_epoch", "by_hand", "fine_tune", "bare", "embed"}


def clock() -> np.ndarray:
    """(2,) wall and processor seconds."""
    return np.array([time.perf_counter(), time.process_time()])


def shortest(times: Sequence[np.ndarray]) -> float:
    """Of the processor times."""
    return min(float(time[1]) for time in times)


def as_lists(times: Sequence[np.ndarray]) -> dict[str, list[float]]:
    return {"wall": [float(time[0]) for time in times], "processor": [float(time[1]) for time in times]}


def pictures(count: int) -> tuple[Tensor, Tensor]:
    """(count, 3, 150, 150) uint8 photographs, and the people in them."""
    photographs = orl_faces()
    chips = [np.array(Image.fromarray(photographs.read(index)).resize((150, 150))) for index in range(count)]
    people = np.unique(photographs.identities[:count], return_inverse=True)[1]
    return torch.from_numpy(np.stack(chips)).permute(0, 3, 1, 2).contiguous(), torch.from_numpy(people)


def as_input(chips: Tensor) -> Tensor:
    return chips.float().contiguous(memory_format=torch.channels_last)


def network() -> nn.Sequential:
    return load_model("dlib").network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def train_by_hand(
    suffix: nn.Module, loss: nn.Module, batches: Sequence[tuple[Tensor, Tensor]], epochs: int
) -> list[np.ndarray]:
    """Times of each epoch, of a loop without anything that can be left out."""
    parameters = [parameter for parameter in suffix.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, 3e-5, weight_decay=0.0, fused=True)
    times = []
    for _ in range(epochs):
        started = clock()
        for inputs, targets in batches:
            value = loss(suffix(inputs), targets)
            optimizer.zero_grad(set_to_none=True)
            value.backward()
            nn.utils.clip_grad_norm_(parameters, 5.0)
            optimizer.step()
            value.item()
        times.append(clock() - started)
    return times


def cache_benchmark() -> dict[str, Any]:
    chips, people = pictures(PICTURES)
    loss = PrototypeLoss(torch.randn(40, 128, generator=torch.Generator().manual_seed(0)))
    sampler = RejectionSampler(torch.ones(PICTURES, dtype=torch.float64), shuffle=False)

    class Plain(nn.Module):
        """The frozen stages without gradients, then those that train."""

        def __init__(self) -> None:
            super().__init__()
            stages = list(network().requires_grad_(False).eval())
            self.prefix = nn.Sequential(*stages[:LAST_BLOCK])
            self.suffix = nn.Sequential(*stages[LAST_BLOCK:]).requires_grad_(True)

        def forward(self, batch: Tensor) -> Tensor:
            with torch.no_grad():
                hidden = self.prefix(as_input(batch))
            return self.suffix(hidden)

    batches = list(zip(chips.split(BATCH_SIZE), people.split(BATCH_SIZE), strict=True))
    first, later, plain = [], [], []
    for _ in range(REPETITIONS):
        plain += [train_by_hand(Plain(), loss, batches, 1)[0]]
        with tempfile.TemporaryDirectory() as folder:
            model, ends = network(), list[tuple[float, np.ndarray]]()
            started = clock()
            train_from(model, LAST_BLOCK)
            prefix, suffix = cut(model, as_input(chips[:2]))
            cached = CachedActivations(Path(folder), prefix, lambda rows: as_input(chips[rows]), people, content="orl")
            fine_tune(
                suffix,
                cached.loader(BATCH_SIZE, sampler),
                loss,
                stop=Stopping(epochs=EPOCHS),
                on_step=partial(_note_end, ends),
            )
            times = list(np.diff([started, *dict(ends).values()], axis=0))
        first.append(times[0])
        later += times[1:]
    faster, slower = shortest(plain) / shortest(later), shortest(first) / shortest(plain)
    return {
        "plain_epoch": as_lists(plain),
        "first_epoch": as_lists(first),
        "later_epoch": as_lists(later),
        "times_faster_later": faster,
        "first_epoch_ratio": slower,
        "target": "at least 10 times faster from the second epoch on, the first at most 1.1 times as long",
        "reached": faster >= 10 and slower <= 1.1,
    }


def _note_end(ends: list[tuple[float, np.ndarray]], record: dict[str, float]) -> None:
    ends.append((record["epoch"], clock()))


def loop_benchmark() -> dict[str, Any]:
    generator = torch.Generator().manual_seed(0)
    suffix = nn.Sequential(*list(network())[Recipe().cut :])
    loss = PrototypeLoss(torch.randn(40, 128, generator=generator))
    batches = [
        (as_input(torch.rand(BATCH_SIZE, 128, 8, 8, generator=generator)), torch.randint(40, (BATCH_SIZE,)))
        for _ in range(STEPS)
    ]
    hand, ours = [], []
    for _ in range(2 * REPETITIONS):
        hand += train_by_hand(copy.deepcopy(suffix), loss, batches, 1)
        started = clock()
        fine_tune(copy.deepcopy(suffix), batches, loss, stop=Stopping(steps=STEPS))
        ours.append(clock() - started)
    overhead = shortest(ours) / shortest(hand) - 1
    return {
        "by_hand": as_lists(hand),
        "fine_tune": as_lists(ours),
        "overhead_fraction": overhead,
        "target": "at most 0.03",
        "reached": overhead <= 0.03,
    }


def time_forward(network: nn.Module, chips: Tensor, views: int) -> np.ndarray:
    """Of a bare loop over batches in memory, each picture in so many views."""
    started = clock()
    with torch.inference_mode():
        for batch in chips.split(BATCH_SIZE):
            network(as_input(torch.cat([batch] * views)))
    return clock() - started


def faces(folder: Path) -> None:
    """The demo's drawn shift, with other people in each part."""
    photographs = orl_faces()
    people = sorted(set(photographs.identities))
    draw_faces(photographs, folder, load_model("dlib"), "night", copies=FIT_COPIES, seed=0, advance=lambda parts: None)
    parts = {"pool": people[:22], "target": people[22:30], "evaluation": people[30:], "retention": people[30:]}
    for part, kept in parts.items():
        for person in (folder / part).iterdir():
            if person.name not in kept:
                for path in person.iterdir():
                    path.unlink()
                person.rmdir()


def embed_benchmark(folder: Path) -> dict[str, Any]:
    images = find_images(folder / "pool")
    images = images.subset(range(PICTURES))
    chips = torch.from_numpy(np.stack([images.read(index) for index in range(PICTURES)])).permute(0, 3, 1, 2)
    bare, ours = [], []
    for _ in range(REPETITIONS):
        bare.append(time_forward(network(), chips, views=2))
        model = load_model("dlib")
        started = clock()
        embed(model, images, aligned=True)
        ours.append(clock() - started)
    ratio, wall = shortest(bare) / shortest(ours), min(time[0] for time in bare) / min(time[0] for time in ours)
    return {
        "bare": as_lists(bare),
        "embed": as_lists(ours),
        "ratio": ratio,
        "ratio_of_wall_seconds": float(wall),
        "target": "at least 0.95",
        "reached": ratio >= 0.95,
    }


def overlap_benchmark() -> dict[str, Any]:
    """Of one call; a second core is idle or not as the machine will have it."""
    spent: dict[str, float] = defaultdict(float)

    def timed(
        stage: str, call: Callable[..., Any], clock: Callable[[], float] = time.thread_time
    ) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **options: Any) -> Any:
            started = clock()
            try:
                return call(*arguments, **options)
            finally:
                spent[stage] += clock() - started

        return wrapped

    def waiting(*arguments: Any) -> Iterator[Any]:
        faces = read_faces(*arguments)
        yield from iter(timed("wait", lambda: next(faces, None), time.perf_counter), None)

    read_faces, reader = embedding._read_faces, embedding.face_reader
    photographs = orl_faces()
    patches = {
        "_read_faces": waiting,
        "face_reader": lambda *arguments, **options: timed("align", reader(*arguments, **options)),
        "covariates": timed("covariates", embedding.covariates),
        "_views": timed("views", embedding._views),
        "_forward": timed("forward", embedding._forward),
        "sum_views": timed("forward", embedding.sum_views),
    }
    with ExitStack() as stack:
        for name, replacement in patches.items():
            stack.enter_context(mock.patch.object(embedding, name, replacement))
        for owner, name in ((ImageSet, "read_bytes"), (decoding, "_pixels")):
            stack.enter_context(mock.patch.object(owner, name, timed("decode", getattr(owner, name))))
        started = time.perf_counter()
        embed(load_model("dlib"), photographs)
    wall = time.perf_counter() - started
    readers = sum(spent[stage] for stage in ("decode", "align", "covariates", "views"))
    return {
        "pictures": len(photographs),
        "wall": wall,
        "seconds": dict(spent),
        "readers_hidden_fraction": 1 - spent["wait"] / readers,
    }


def fit_benchmark(folder: Path, folds: int) -> dict[str, Any]:
    recipe = Recipe(views=2, folds=folds)
    started = clock()
    result = fit(
        pool=folder / "pool",
        target=folder / "target",
        evaluation=folder / "evaluation",
        retain=folder / "retention",
        out=folder / "run",
        recipe=recipe,
        aligned=True,
        overwrite=True,
    )
    wall, total = (clock() - started).tolist()
    counts = {part: len(find_images(folder / part)) for part in FIT_PEOPLE}
    chips = torch.randint(0, 256, (BATCH_SIZE * 6, 3, 150, 150), dtype=torch.uint8)
    per_picture = shortest([time_forward(network(), chips, views=2) for _ in range(3)]) / len(chips)
    history = [json.loads(line) for line in (folder / "run" / "history.jsonl").read_text().splitlines()]
    steps = {"all": len(history), "once": sum(record["fold"] == KEPT for record in history)}
    suffix = nn.Sequential(*list(network())[recipe.cut :])
    batch = (as_input(torch.rand(BATCH_SIZE, 128, 8, 8)), torch.randint(22, (BATCH_SIZE,)))
    per_step = shortest(train_by_hand(suffix, PrototypeLoss(torch.randn(22, 128)), [batch] * STEPS, 3)) / STEPS
    floors = {
        "once": counts["pool"] * per_picture + steps["once"] * per_step,
        "sets": sum(counts.values()) * per_picture + steps["once"] * per_step,
        "all": sum(counts.values()) * per_picture + steps["all"] * per_step,
    }
    return {
        "wall": wall,
        "processor": total,
        "seconds_of_stages": result.metrics["seconds"],
        "pictures": counts,
        "steps": steps,
        "floor_seconds": floors,
        "ratio": {name: total / floor for name, floor in floors.items()},
        "target": "at most 1.15 of the floor once",
        "reached": total / floors["once"] <= 1.15,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=["cache", "loop", "embed", "overlap", "fit", "fit_one_fold"])
    only = parser.parse_args().only
    torch.set_num_threads(1)
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    results |= {"torch": torch.__version__, "repetitions": REPETITIONS}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if only in (None, "embed", "fit", "fit_one_fold"):
            faces(folder)
        parts: dict[str, Callable[[], dict[str, Any]]] = {
            "cache": cache_benchmark,
            "loop": loop_benchmark,
            "embed": lambda: embed_benchmark(folder),
            "overlap": overlap_benchmark,
            "fit": lambda: fit_benchmark(folder, folds=2),
            "fit_one_fold": lambda: fit_benchmark(folder, folds=1),
        }
        for part, measure in parts.items():
            if only in (None, part):
                results[part] = measure()
                figures = {key: value for key, value in results[part].items() if key not in WRITTEN_ONLY}
                print(part, json.dumps(figures, indent=1))
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
