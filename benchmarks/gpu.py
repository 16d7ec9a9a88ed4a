"""What a GPU gives: parity with the CPU, pictures a second, the cost of a whole `fit` and where its time goes.

    python benchmarks/gpu.py [--pool FOLDER] [--out FILE] [--pictures 1000] [--repetitions 3] [--seconds 220]

Takes two or three minutes with one card, and never more than `--seconds`: a part repeats its measurements only while
its share lasts, one that would begin too late is left out, and at the end of the time the run says where it is and
ends. Each finished part is in the file by then. Without `--pool` the pictures are the ORL faces of the extra `demo`,
repeated up to `--pictures`; a `--pool` has a folder for each identity. On a machine without CUDA everything is measured
on the CPU, which only shows that the script works.

The parts, in the order of what is most worth knowing:

- parity: distance of embeddings and of tuned weights from those of the CPU, in float32 and TF32, relative; and how
  many signs of the first gradient differ, which is what AdamW's first step depends on.
- network: pictures a second of the network alone, in two views, on chips in memory: by batch, layout and precision.
- embed: `embed` against a bare loop that reads with as many threads, then runs the network, batch by batch.
- fit: `fit` against its floor: bare loops that read as many pictures, embed as many, and take as many steps.
- tune: `fine_tune` against a loop written by hand on the same batches, by precision and layout.
- reading: pictures a second of decoding, aligning and describing alone, by number of threads.
- rounding: how far float32 is from float64 on the CPU, beside which parity is to be seen.
- compile: `fine_tune` of a compiled network, as in `tune`, and how long its first steps take.

Every ratio is of two measurements in this run, alternating, each the shortest of some. Writes
`benchmarks/results/gpu.json`.
"""

import argparse
import copy
import faulthandler
import json
import os
import platform
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from runs import about
from torch import Tensor, nn

from rsft import Stopping, fine_tune
from rsft.data.features import Features
from rsft.data.images import ImageSet, find_images
from rsft.disk.whole import replace_file
from rsft.face.adaptation.heads import PrototypeLoss
from rsft.face.adaptation.recipe import Recipe
from rsft.face.demo import draw_faces
from rsft.face.fit import fit
from rsft.face.networks.bundle import FaceModel
from rsft.face.networks.halves import as_input
from rsft.face.networks.load import load_model
from rsft.face.networks.parity import relative_error
from rsft.face.pictures import embedding
from rsft.face.pictures.covariates import covariates
from rsft.face.pictures.embedding import BATCH_SIZE, embed, face_finder
from rsft.face.pictures.orl import orl_faces
from rsft.threads import cores, readers

RESULTS = Path(__file__).parent / "results" / "gpu.json"
PARITY_PICTURES = 64
STEPS, CLASSES = 30, 32
ROUNDING_STEPS = 8
PART_SECONDS = 20  # a part repeats its measurements no longer than this
PICTURES_PER_THREAD = 100
VIEWS = 2
CUT = Recipe().cut
FIT_PEOPLE = {"pool": 22, "target": 8, "evaluation": 10, "retention": 10}
PRECISIONS = {"float32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
CARD = "cuda" if torch.cuda.is_available() else "cpu"


@contextmanager
def running_on(device: str) -> Iterator[None]:
    """Let rsft compute on a device, with accelerate's settings as at the start."""
    before = os.environ.get("ACCELERATE_TORCH_DEVICE")
    os.environ["ACCELERATE_TORCH_DEVICE"] = device
    AcceleratorState._reset_state(reset_partial_state=True)
    try:
        yield
    finally:
        os.environ.pop("ACCELERATE_TORCH_DEVICE")
        if before is not None:
            os.environ["ACCELERATE_TORCH_DEVICE"] = before
        AcceleratorState._reset_state(reset_partial_state=True)


@contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """Allow TF32 for convolutions and matrix products, or not. By default PyTorch allows it for convolutions."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


def wait() -> None:
    if CARD == "cuda":
        torch.cuda.synchronize()


def seconds(work: Callable[[], object]) -> float:
    wait()
    began = time.perf_counter()
    work()
    wait()
    return time.perf_counter() - began


def shortest(repetitions: int, *works: Callable[[], object]) -> list[float]:
    """The shortest seconds of each work; they take turns, again only while a part's time lasts."""
    began, times = time.perf_counter(), [[seconds(work) for work in works]]
    while len(times) < repetitions and time.perf_counter() - began < PART_SECONDS:
        times.append([seconds(work) for work in works])
    return [min(of_one) for of_one in zip(*times, strict=True)]


def repeated(images: ImageSet, count: int) -> ImageSet:
    """The first `count` pictures of a set, which is repeated as often as needed, with other names."""
    rows = np.arange(count) % len(images)
    found = images.subset(rows)
    ids = [
        f"{item.rpartition('/')[0]}/{row // len(images)}-{item.rpartition('/')[2]}"
        for row, item in enumerate(found.ids)
    ]
    return ImageSet(found.root, ids, found.sources)


# Parity


def parity(images: ImageSet) -> dict[str, Any]:
    """Distance of the embeddings of a few pictures and of a short training from those of the CPU."""
    few, result = images.subset(np.arange(min(PARITY_PICTURES, len(images)))), {}
    for name in ("dlib", "sface"):
        try:
            load_model(name)
        except Exception as error:  # SFace needs the extra `onnx`
            result[name] = {"left_out": str(error)}
            continue
        with running_on("cpu"):
            features = embed(load_model(name), few, views=VIEWS)
            expected, hidden = features.embeddings, hidden_batches(features)
            weights, start, loss = short_training(name, hidden)
        gradient = first_gradient(name, hidden, "cpu")
        for allowed in (False, True):
            with running_on(CARD), tf32(allowed):
                found = embed(load_model(name), few).embeddings
                tuned, _, last_loss = short_training(name, hidden)
                signs = first_gradient(name, hidden, CARD).sign() != gradient.sign()
            way = float((weights - start).norm())
            result.setdefault(name, {})["tf32" if allowed else "float32"] = {
                "embeddings": relative_error(found, expected),
                "least_cosine": float(nn.functional.cosine_similarity(*map(torch.from_numpy, (found, expected))).min()),
                "first_signs_that_differ_fraction": float(signs.double().mean()),
                "tuned_weights_of_the_way": float((tuned - weights).norm()) / way,
                "last_loss": abs(last_loss - loss) / loss,
            }
    return {"pictures": len(few), "steps": STEPS, **result}


def hidden_batches(features: Features) -> list[Tensor]:
    """The activations of pictures at the cut, in batches, as many as steps."""
    assert features.activations is not None
    views = torch.from_numpy(np.concatenate(features.activations[np.arange(len(features)), :]))
    batches = views[: len(views) // BATCH_SIZE * BATCH_SIZE].split(BATCH_SIZE)
    return [as_input(batches[step % len(batches)]) for step in range(STEPS)]


def drawn_batches(name: str) -> list[Tensor]:
    """Random numbers in place of activations: the time of a step does not depend on the values."""
    generator = torch.Generator().manual_seed(0)
    model = load_model(name)
    with torch.inference_mode():
        shape = model.split(CUT)[0](torch.zeros(1, 3, model.size, model.size)).shape[1:]
    return [as_input(torch.rand(BATCH_SIZE, *shape, generator=generator)) for _ in range(STEPS)]


def parts_of_training(
    name: str, hidden: Sequence[Tensor]
) -> tuple[nn.Sequential, list[tuple[Tensor, Tensor]], PrototypeLoss]:
    """The last stages, batches with drawn classes, and a loss with drawn prototypes."""
    generator = torch.Generator().manual_seed(0)
    model = load_model(name)
    batches = [(inputs, torch.randint(CLASSES, (len(inputs),), generator=generator)) for inputs in hidden]
    loss = PrototypeLoss(torch.randn(CLASSES, model.embedding_size, generator=generator))
    return copy.deepcopy(model.split(CUT)[1]), batches, loss


def short_training(name: str, hidden: Sequence[Tensor]) -> tuple[Tensor, Tensor, float]:
    """Tune the last stages; return the weights at the end and at the start, as one row each, and the last loss."""
    suffix, batches, loss = parts_of_training(name, hidden)
    start = weights_of(suffix)
    result = fine_tune(suffix, batches, loss, stop=Stopping(steps=STEPS), channels_last=True)
    return weights_of(suffix), start, result.history[-1]["loss"]


def first_gradient(name: str, hidden: Sequence[Tensor], device: str) -> Tensor:
    """The gradient of the first batch of `short_training`, as one row."""
    suffix, batches, loss = parts_of_training(name, hidden[:1])
    suffix = suffix.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    inputs, targets = (part.to(device) for part in batches[0])
    loss.to(device)(suffix(inputs), targets).backward()
    return torch.cat([parameter.grad.cpu().reshape(-1) for parameter in suffix.parameters()])  # type: ignore[union-attr]


def weights_of(suffix: nn.Module) -> Tensor:
    return torch.cat([parameter.detach().cpu().reshape(-1) for parameter in suffix.parameters()])


# Rounding alone


def rounding() -> dict[str, Any]:
    """How far rounding alone moves a training on drawn activations, on the CPU: in float32 against float64.

    What two devices differ by is to be seen beside this.
    """
    found = {}
    for name in ("dlib", "sface"):
        hidden = [batch[: BATCH_SIZE // 2] for batch in drawn_batches(name)[:ROUNDING_STEPS]]
        (start, *exact), gradient = weights_by_step(name, hidden, torch.float64)
        (_, *rounded), other = weights_by_step(name, hidden, torch.float32)
        apart = [float((one - true).norm() / (true - start).norm()) for one, true in zip(rounded, exact, strict=True)]
        farthest = (rounded[-1] - exact[-1]).abs().topk(1000).indices
        found[name] = {
            "first_signs_that_differ_fraction": float((gradient.sign() != other.sign()).double().mean()),
            "first_gradients_of_0_fraction": float((gradient == 0).double().mean()),
            "first_gradient_median": float(gradient.abs().median()),
            "first_gradient_median_of_the_farthest_1000": float(gradient[farthest].abs().median()),
            "weights_of_the_way_by_step": apart,
        }
    return {"batch_size": BATCH_SIZE // 2, **found}


def weights_by_step(name: str, hidden: Sequence[Tensor], dtype: torch.dtype) -> tuple[list[Tensor], Tensor]:
    """The weights at the start and after each step, and the first gradient, as float64 rows.

    `PrototypeLoss` computes in float32, so its loss is written out.
    """
    suffix, batches, loss = parts_of_training(name, hidden)
    suffix, prototypes = suffix.to(dtype), loss.prototypes.detach().to(dtype)
    parameters = list(suffix.parameters())
    optimizer = torch.optim.AdamW(parameters, 3e-5, weight_decay=0.0)
    weights, gradient = [weights_of(suffix).double()], torch.empty(0)
    for inputs, targets in batches:
        cosine = nn.functional.normalize(suffix(inputs.to(dtype))) @ prototypes.T
        optimizer.zero_grad()
        nn.functional.cross_entropy(loss.scale * cosine, targets).backward()
        nn.utils.clip_grad_norm_(parameters, 5.0)
        if not gradient.numel():
            gradient = torch.cat([parameter.grad.double().reshape(-1) for parameter in parameters])  # type: ignore[union-attr]
        optimizer.step()
        weights.append(weights_of(suffix).double())
    return weights, gradient


# The network alone


def network_alone(model: FaceModel, chips: np.ndarray, repetitions: int) -> dict[str, float]:
    """Pictures a second, in two views; from arrays in memory to arrays in memory.

    If a card is no faster with larger batches or in lower precision, it waits for what starts its work.
    """
    works = {}
    for precision, last, size in (
        ("float32", False, BATCH_SIZE),
        ("float32", True, BATCH_SIZE),
        ("bf16", True, BATCH_SIZE),
        ("fp16", True, BATCH_SIZE),
        ("float32", True, 8 * BATCH_SIZE),
        ("bf16", True, 8 * BATCH_SIZE),
    ):
        if precision == "fp16" and CARD == "cpu":
            continue
        network = copy.deepcopy(model.network).eval().to(CARD)
        if last:
            network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        name = f"{precision}, {'channels last' if last else 'contiguous'}, batches of {size}"
        works[name] = partial(forward_all, network, chips, PRECISIONS[precision], last, size)
    for work in works.values():
        work()
    times = shortest(repetitions, *works.values())
    return {name: len(chips) / time for name, time in zip(works, times, strict=True)}


def forward_all(network: nn.Module, chips: np.ndarray, dtype: torch.dtype | None, last: bool, size: int) -> None:
    with torch.inference_mode(), torch.autocast(CARD, dtype or torch.bfloat16, enabled=dtype is not None):
        for start in range(0, len(chips), size):
            views = np.repeat(chips[start : start + size], VIEWS, 0)
            pictures = torch.from_numpy(views).to(CARD).permute(0, 3, 1, 2).float()
            layout = torch.channels_last if last else torch.contiguous_format
            network(pictures.contiguous(memory_format=layout)).float().cpu()


# Reading alone


class Reader:
    """What embedding does with a picture before the network."""

    def __init__(self, model: FaceModel, images: ImageSet, aligned: bool) -> None:
        self._images, self._template = images, np.array(model.template)
        self._find = face_finder(model, aligned=aligned)

    def __call__(self, index: int) -> np.ndarray | None:
        try:
            face = self._find(self._images.read(index), self._images.ids[index])
        except embedding.NoFaceError:
            return None
        covariates(face, self._template)
        return embedding._views(face.chip, index, VIEWS)


def reading_alone(model: FaceModel, images: ImageSet, aligned: bool, repetitions: int) -> dict[str, float]:
    """Pictures a second, by number of threads: what processes could add is what these miss to the number of cores."""
    reader, result = Reader(model, images, aligned), {}
    for workers in sorted({1, 2, 4, 8, cores()} - set(range(cores() + 1, 9))):
        count = min(len(images), PICTURES_PER_THREAD * workers)
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(reader, range(min(count, 4 * workers))))  # each thread makes its own detector
            read = partial(read_all, pool, reader, count)
            (time,) = shortest(repetitions, read)
        result[f"{workers} threads"] = count / time
    return result


def read_all(pool: ThreadPoolExecutor, reader: Reader, count: int) -> None:
    for _ in pool.map(reader, range(count)):
        pass


# Embedding


def embedding_against_bare(model: FaceModel, images: ImageSet, aligned: bool, repetitions: int) -> dict[str, Any]:
    """Pictures a second of `embed`, of a bare loop with threads and of one without."""
    bare = partial(bare_embed, model, images, aligned)

    def ours() -> None:
        embed(model, images, aligned=aligned)

    few = images.subset(np.arange(min(len(images), 8 * BATCH_SIZE)))
    embed(model, few, aligned=aligned)
    bare_embed(model, few, aligned, readers())
    times = shortest(repetitions, ours, lambda: bare(readers()))
    one_thread = seconds(lambda: bare_embed(model, few, aligned, 1))
    rates = [*(len(images) / time for time in times), len(few) / one_thread]
    waited = waiting(model, images, aligned)
    return {
        "pictures": len(images),
        "embed": rates[0],
        "bare_with_threads": rates[1],
        "bare": rates[2],
        "ratio_to_bare_with_threads": rates[0] / rates[1],
        "ratio_to_bare": rates[0] / rates[2],
        "network_waited_fraction": waited,
    }


def bare_embed(model: FaceModel, images: ImageSet, aligned: bool, workers: int) -> np.ndarray:
    """The same decoding, aligning, describing and forward, batch after batch, without anything else."""
    reader, found = Reader(model, images, aligned), []
    network = copy.deepcopy(model.network).eval().to(CARD, memory_format=torch.channels_last)  # type: ignore[call-overload]
    with ThreadPoolExecutor(workers) as pool, torch.inference_mode():
        for start in range(0, len(images), BATCH_SIZE):
            batch = range(start, min(start + BATCH_SIZE, len(images)))
            views = [
                read for read in (pool.map(reader, batch) if workers > 1 else map(reader, batch)) if read is not None
            ]
            if views:
                pictures = torch.from_numpy(np.concatenate(views)).to(CARD).permute(0, 3, 1, 2)
                found.append(network(as_input(pictures)).unflatten(0, (-1, VIEWS)).sum(1).cpu().numpy())
    return np.concatenate(found)


def waiting(model: FaceModel, images: ImageSet, aligned: bool) -> float:
    """The share of `embed`'s time in which its loop waits for pictures; the card may be idle in the rest as well."""
    read_faces, spent = embedding._read_faces, 0.0

    def timed(*arguments: Any) -> Iterator[Any]:
        nonlocal spent
        faces = read_faces(*arguments)
        while True:
            began = time.perf_counter()
            face = next(faces, None)
            spent += time.perf_counter() - began
            if face is None:
                return
            yield face

    embedding._read_faces = timed  # type: ignore[assignment]
    try:
        whole = seconds(lambda: embed(model, images, aligned=aligned))
    finally:
        embedding._read_faces = read_faces
    return spent / whole


# Tuning


def by_hand(suffix: nn.Module, batches: Sequence[tuple[Tensor, Tensor]], loss: nn.Module) -> None:
    """The same steps as `fine_tune`, of a loop without anything that can be left out."""
    suffix, loss = suffix.to(CARD, memory_format=torch.channels_last), loss.to(CARD)  # type: ignore[call-overload]
    parameters = list(suffix.parameters())
    optimizer = torch.optim.AdamW(parameters, 3e-5, weight_decay=0.0, fused=True)
    for inputs, targets in batches:
        value = loss(suffix(inputs.to(CARD)), targets.to(CARD))
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        nn.utils.clip_grad_norm_(parameters, 5.0)
        optimizer.step()
        value.item()


def tuning(repetitions: int) -> dict[str, Any]:
    """Steps a second, by precision and layout, and by hand."""
    settings: dict[str, dict[str, Any]] = {
        "float32": {},
        "float32, channels last": {},
        "bf16, channels last": {"mixed_precision": "bf16"},
        "fp16, channels last": {"mixed_precision": "fp16"},
    }
    if CARD == "cpu":
        del settings["fp16, channels last"]
    works: dict[str, Callable[[], object]] = {
        name: partial(train, "channels last" in name, options) for name, options in settings.items()
    }
    works["by hand"] = hand_work
    for work in works.values():  # warms up
        work()
    times = shortest(repetitions, *works.values())
    rates = {name: STEPS / time for name, time in zip(works, times, strict=True)}
    return {
        "steps_a_second": rates,
        "batch_size": BATCH_SIZE,
        "ratio_to_by_hand": rates["float32, channels last"] / rates["by hand"],
    }


def compiled(repetitions: int) -> dict[str, Any]:
    """Steps a second of a compiled network, and of one that is not, with the seconds of the first training."""
    options = {"dynamo_backend": "inductor"}
    first = seconds(lambda: train(True, options))
    train(True, {})
    times = shortest(repetitions, lambda: train(True, options), lambda: train(True, {}))
    names = ("compiled, channels last", "float32, channels last")
    return {
        "first_seconds": first,
        "steps_a_second": {name: STEPS / time for name, time in zip(names, times, strict=True)},
    }


@cache
def drawn_parts() -> tuple[nn.Sequential, list[tuple[Tensor, Tensor]], PrototypeLoss]:
    return parts_of_training("dlib", drawn_batches("dlib"))


def train(channels_last: bool, options: dict[str, Any]) -> None:
    suffix, batches, loss = drawn_parts()
    with running_on(CARD):
        fine_tune(
            copy.deepcopy(suffix),
            batches,
            copy.deepcopy(loss),
            stop=Stopping(steps=STEPS),
            channels_last=channels_last,
            accelerator=Accelerator(**options),
        )


def hand_work() -> None:
    suffix, batches, loss = drawn_parts()
    by_hand(copy.deepcopy(suffix), batches, copy.deepcopy(loss))


# A whole run


def draw_sets(folder: Path) -> None:
    """The demo's drawn shift on the ORL faces, with other people in each part."""
    photographs = orl_faces()
    people = sorted(set(photographs.identities))
    draw_faces(photographs, folder, load_model("dlib"), "night", copies=4, seed=0, advance=lambda parts: None)
    parts = {"pool": people[:22], "target": people[22:30], "evaluation": people[30:], "retention": people[30:]}
    for part, kept in parts.items():
        for person in (folder / part).iterdir():
            if person.name not in kept:
                for path in person.iterdir():
                    path.unlink()
                person.rmdir()


def whole_run(folder: Path, steps: int) -> dict[str, Any]:
    """A `fit` on chips, and the bare loops of what it did."""
    model, recipe = load_model("dlib"), Recipe(views=VIEWS, folds=1, steps=steps)
    sets = {part: folder / part for part in ("pool", "target", "evaluation")}

    def run(recipe: Recipe) -> Any:
        with running_on(CARD):
            return fit(
                **sets, retain=folder / "retention", out=folder / "run", recipe=recipe, aligned=True, overwrite=True
            )  # type: ignore[arg-type]

    run(Recipe(views=VIEWS, folds=1, steps=min(steps, recipe.validate_every)))  # warms up
    began = time.perf_counter()
    result = run(recipe)
    whole = time.perf_counter() - began
    metrics = result.metrics
    counts = {part: len(find_images(folder / part)) for part in FIT_PEOPLE}
    others = sum(counts[part] for part in FIT_PEOPLE if part != "pool")
    lines = (folder / "run" / "history.jsonl").read_text().splitlines()
    taken = sum("loss" in json.loads(line) for line in lines)
    pool = find_images(folder / "pool")
    looked_at, embedded = metrics["images_decoded"], metrics["images_embedded"]
    reader = Reader(model, pool, aligned=True)
    with ThreadPoolExecutor(readers()) as threads:
        look = seconds(lambda: list(threads.map(reader, range(len(pool))))) / len(pool)
    of_embedding = seconds(lambda: bare_embed(model, pool, True, readers())) / len(pool)
    hand_work()
    step = seconds(hand_work) / STEPS
    floor = {"look": looked_at * look, "embed": (embedded + others) * of_embedding, "steps": taken * step}
    return {
        "seconds": whole,
        "seconds_of_stages": metrics["seconds"],
        "pictures": counts,
        "looked_at": looked_at,
        "embedded": embedded + others,
        "steps": taken,
        "floor_seconds": floor,
        "ratio": whole / sum(floor.values()),
    }


def machine() -> dict[str, Any]:
    """The card, if there is one, and the processor."""
    told: dict[str, Any] = {"device": CARD, "cores": cores(), "processor": platform.processor() or platform.machine()}
    told |= {"opencv": cv2.__version__, "numpy": np.__version__}
    if CARD == "cuda":
        told |= {"card": torch.cuda.get_device_name(), "cards": torch.cuda.device_count(), "cuda": torch.version.cuda}
        told["cudnn"] = torch.backends.cudnn.version()
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--pool", type=Path, help="Photographs in a folder for each identity; by default the ORL faces."
    )
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--pictures", type=int, default=1000)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--steps", type=int, default=200, help="Steps of the part `fit`.")
    parser.add_argument("--seconds", type=float, default=220, help="The run ends after this time at the latest.")
    parser.add_argument("--only", nargs="+", help="Measure only these parts.")
    options = parser.parse_args()
    began = time.perf_counter()
    faulthandler.dump_traceback_later(options.seconds, exit=True)
    warnings.simplefilter("once")
    photographs = orl_faces() if options.pool is None else find_images(options.pool, labelled=True)
    images, model = repeated(photographs, options.pictures), load_model("dlib")
    results: dict[str, Any] = about(machine=machine(), pictures=len(images), repetitions=options.repetitions)
    results["pool"] = "ORL faces" if options.pool is None else options.pool.name
    results["seconds"] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        @cache
        def chips() -> ImageSet:
            draw_sets(folder)
            return repeated(find_images(folder / "pool"), options.pictures)

        def stacked() -> np.ndarray:
            found = chips()
            return np.stack([found.read(row) for row in range(min(len(found), 1024))])

        times = options.repetitions
        parts: dict[str, Callable[[], object]] = {
            "parity": lambda: parity(photographs),
            "draw chips": lambda: {"pictures": len(set(chips().sources))},
            "network": lambda: network_alone(model, stacked(), times),
            "embed photographs": lambda: on_card(lambda: embedding_against_bare(model, images, False, times)),
            "embed chips": lambda: on_card(lambda: embedding_against_bare(model, chips(), True, times)),
            "fit": lambda: chips() and whole_run(folder, options.steps),
            "tune": lambda: tuning(times),
            "reading photographs": lambda: reading_alone(model, images, False, times),
            "reading chips": lambda: reading_alone(model, chips(), True, times),
            "rounding": rounding,
            "compile": lambda: compiled(times),
        }
        failed = False
        for part, measure in parts.items():
            if options.only is not None and part not in options.only:
                continue
            started = time.perf_counter()
            if started - began > options.seconds - PART_SECONDS:
                results[part] = {"left_out": "no time was left"}
            else:
                try:
                    results[part] = measure()
                except Exception as error:  # the other parts are worth having
                    failed = True
                    traceback.print_exc()
                    results[part] = {"failed": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}
            results["seconds"][part] = round(time.perf_counter() - started, 1)
            print(f"{part} ({results['seconds'][part]} s)", json.dumps(results[part], indent=1), flush=True)
            options.out.parent.mkdir(parents=True, exist_ok=True)
            replace_file(options.out, json.dumps(results, indent=1).encode())
    print(f"written: {options.out}")
    sys.exit(failed)


def on_card(measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    with running_on(CARD):
        return measure()


if __name__ == "__main__":
    main()
