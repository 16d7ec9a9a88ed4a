"""What a GPU gives: parity with the CPU, pictures a second, the cost of a whole `fit` and where its time goes.

    python benchmarks/gpu.py [--pool FOLDER] [--out FILE] [--pictures 2000] [--repetitions 3]

Takes some minutes with one card. Without `--pool` the pictures are the ORL faces of the extra `demo`, repeated up to
`--pictures`; a `--pool` has a folder for each identity. On a machine without CUDA everything is measured on the CPU,
which only shows that the script works.

- parity: distance of embeddings and of tuned weights from those of the CPU, in float32 and TF32, relative.
- network: pictures a second of the network alone, in two views, on chips in memory: by layout and precision.
- reading: pictures a second of decoding, aligning and describing alone, by number of threads, and in processes.
- embed: `embed` against a bare loop that reads with as many threads, then runs the network, batch by batch.
- tune: `fine_tune` against a loop written by hand on the same batches; by precision, layout and compiled.
- fit: `fit` against its floor: bare loops that read as many pictures, embed as many, and take as many steps.

Every ratio is of two measurements in this run, alternating, each the shortest of some. Writes
`benchmarks/results/gpu.json`.
"""

import argparse
import copy
import json
import multiprocessing
import os
import platform
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
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
from rsft.data.images import ImageSet, find_images
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
from rsft.run_folder import replace_file
from rsft.threads import cores

RESULTS = Path(__file__).parent / "results" / "gpu.json"
PARITY_PICTURES = 64
STEPS, CLASSES = 30, 32
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
    """The shortest seconds of each work; they take turns."""
    times = [[seconds(work) for work in works] for _ in range(repetitions)]
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
            expected = embed(load_model(name), few).embeddings
            weights, start = short_training(name)
        for allowed in (False, True):
            with running_on(CARD), tf32(allowed):
                found = embed(load_model(name), few).embeddings
                tuned, _ = short_training(name)
            way = float((weights - start).norm())
            result.setdefault(name, {})["tf32" if allowed else "float32"] = {
                "embeddings": relative_error(found, expected),
                "least_cosine": float(nn.functional.cosine_similarity(*map(torch.from_numpy, (found, expected))).min()),
                "tuned_weights_of_the_way": float((tuned - weights).norm()) / way,
            }
    return {"pictures": len(few), "steps": STEPS, **result}


def short_training(name: str) -> tuple[Tensor, Tensor]:
    """Tune the last stages on drawn activations; return the weights at the end and at the start, as one row each."""
    suffix, batches, loss = parts_of_training(name)
    start = weights_of(suffix)
    fine_tune(suffix, batches, loss, stop=Stopping(steps=STEPS), channels_last=True)
    return weights_of(suffix), start


def weights_of(suffix: nn.Module) -> Tensor:
    return torch.cat([parameter.detach().cpu().reshape(-1) for parameter in suffix.parameters()])


@cache
def hidden_shape(name: str) -> tuple[int, ...]:
    model = load_model(name)
    with torch.inference_mode():
        return tuple(model.split(CUT)[0](torch.zeros(1, 3, model.size, model.size)).shape[1:])


def parts_of_training(name: str) -> tuple[nn.Sequential, list[tuple[Tensor, Tensor]], PrototypeLoss]:
    generator = torch.Generator().manual_seed(0)
    model = load_model(name)
    batches = [
        (
            as_input(torch.rand(BATCH_SIZE, *hidden_shape(name), generator=generator)),
            torch.randint(CLASSES, (BATCH_SIZE,), generator=generator),
        )
        for _ in range(STEPS)
    ]
    loss = PrototypeLoss(torch.randn(CLASSES, model.embedding_size, generator=generator))
    return copy.deepcopy(model.split(CUT)[1]), batches, loss


# The network alone


def network_alone(model: FaceModel, chips: np.ndarray, repetitions: int) -> dict[str, float]:
    """Pictures a second, in two views, by layout and precision; from arrays in memory to arrays in memory."""
    settings = [("float32", False), ("float32", True), ("bf16", True), ("fp16", True)]
    if CARD == "cpu":
        settings = settings[:3]
    works = {}
    for precision, last in settings:
        network = copy.deepcopy(model.network).eval().to(CARD)
        if last:
            network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        works[f"{precision}, {'channels last' if last else 'contiguous'}"] = partial(
            forward_all, network, chips, PRECISIONS[precision], last
        )
    for work in works.values():
        work()
    times = shortest(repetitions, *works.values())
    return {name: len(chips) / time for name, time in zip(works, times, strict=True)}


def forward_all(network: nn.Module, chips: np.ndarray, dtype: torch.dtype | None, last: bool) -> None:
    with torch.inference_mode(), torch.autocast(CARD, dtype or torch.bfloat16, enabled=dtype is not None):
        for start in range(0, len(chips), BATCH_SIZE):
            views = np.repeat(chips[start : start + BATCH_SIZE], VIEWS, 0)
            pictures = torch.from_numpy(views).to(CARD).permute(0, 3, 1, 2).float()
            layout = torch.channels_last if last else torch.contiguous_format
            network(pictures.contiguous(memory_format=layout)).float().cpu()


# Reading alone


class Reader:
    """What embedding does with a picture before the network; each thread and process can have one."""

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


OF_PROCESS: dict[str, Reader] = {}


def start_process(images: ImageSet, aligned: bool) -> None:
    cv2.setNumThreads(1)
    OF_PROCESS["reader"] = Reader(load_model("dlib"), images, aligned)


def read_in_process(indices: Sequence[int]) -> np.ndarray:
    """Views of some pictures; they travel back to the first process."""
    reader = OF_PROCESS["reader"]
    found = [views for index in indices if (views := reader(index)) is not None]
    return np.concatenate(found) if found else np.empty(0, np.uint8)


def reading_alone(model: FaceModel, images: ImageSet, aligned: bool, repetitions: int) -> dict[str, Any]:
    """Pictures a second, by number of threads, and in as many processes as there are cores."""
    reader, result = Reader(model, images, aligned), {}
    for workers in sorted({1, 2, 4, 8, cores()} - set(range(cores() + 1, 9))):
        with ThreadPoolExecutor(workers) as pool:
            (time,) = shortest(
                repetitions if workers > 1 else 1, lambda pool=pool: list(pool.map(reader, range(len(images))))
            )  # type: ignore[misc]
        result[f"{workers} threads"] = len(images) / time
    parts = [range(start, min(start + BATCH_SIZE, len(images))) for start in range(0, len(images), BATCH_SIZE)]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(cores(), context, start_process, (images, aligned)) as pool:
        list(pool.map(read_in_process, parts[: cores()]))  # all have started by then, or soon
        (time,) = shortest(repetitions, lambda: list(pool.map(read_in_process, parts)))
    result[f"{cores()} processes"] = len(images) / time
    return result


# Embedding


def embedding_against_bare(model: FaceModel, images: ImageSet, aligned: bool, repetitions: int) -> dict[str, Any]:
    """Pictures a second of `embed`, of a bare loop with threads and of one without."""
    bare = partial(bare_embed, model, images, aligned)

    def ours() -> None:
        embed(model, images, aligned=aligned)

    few = images.subset(np.arange(min(len(images), 2 * BATCH_SIZE)))
    embed(model, few, aligned=aligned)
    bare_embed(model, few, aligned, cores())
    times = shortest(repetitions, ours, lambda: bare(cores()))
    (one_thread,) = shortest(1, lambda: bare(1))
    rates = [len(images) / time for time in (*times, one_thread)]
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
    """The share of `embed`'s time in which the network waits for pictures."""
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
    """Steps a second, by precision and layout and compiled, and by hand."""
    settings: dict[str, dict[str, Any]] = {
        "float32": {},
        "float32, channels last": {"channels_last": True},
        "bf16, channels last": {"channels_last": True, "mixed_precision": "bf16"},
        "fp16, channels last": {"channels_last": True, "mixed_precision": "fp16"},
        "compiled, channels last": {"channels_last": True, "dynamo_backend": "inductor"},
    }
    if CARD == "cpu":
        del settings["fp16, channels last"], settings["compiled, channels last"]
    times: dict[str, list[float]] = {}
    losses: dict[str, float] = {}
    left_out: dict[str, str] = {}
    for _ in range(repetitions + 1):  # the first warms up
        for name, options in settings.items():
            suffix, batches, loss = parts_of_training("dlib")
            with running_on(CARD):
                kinds = {key: value for key, value in options.items() if key != "channels_last"}
                last = options.get("channels_last", False)

                def train(suffix=suffix, batches=batches, loss=loss, kinds=kinds, last=last, name=name) -> None:  # type: ignore[no-untyped-def]
                    result = fine_tune(
                        suffix,
                        batches,
                        loss,
                        stop=Stopping(steps=STEPS),
                        channels_last=last,
                        accelerator=Accelerator(**kinds),
                    )
                    losses[name] = result.history[-1]["loss"]

                if name in left_out:
                    continue
                try:
                    times.setdefault(name, []).append(seconds(train))
                except Exception as error:  # a compiler may be missing
                    if "compiled" not in name:
                        raise
                    left_out[name] = " ".join(str(error).split())[:300]
        suffix, batches, loss = parts_of_training("dlib")
        times.setdefault("by hand", []).append(seconds(partial(by_hand, suffix, batches, loss)))
    rates = {name: STEPS / min(of_one[1:]) for name, of_one in times.items() if len(of_one) > 1}
    return {
        "steps_a_second": rates,
        "last_loss": losses,
        "left_out": left_out,
        "batch_size": BATCH_SIZE,
        "ratio_to_by_hand": rates["float32, channels last"] / rates["by hand"],
    }


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


def whole_run(folder: Path) -> dict[str, Any]:
    """A `fit` on chips, and the bare loops of what it did."""
    model, recipe = load_model("dlib"), Recipe(views=VIEWS, folds=1)
    sets = {part: folder / part for part in ("pool", "target", "evaluation")}

    def run() -> Any:
        with running_on(CARD):
            return fit(
                **sets, retain=folder / "retention", out=folder / "run", recipe=recipe, aligned=True, overwrite=True
            )  # type: ignore[arg-type]

    run()  # warms up
    began = time.perf_counter()
    result = run()
    whole = time.perf_counter() - began
    metrics = result.metrics
    counts = {part: len(find_images(folder / part)) for part in FIT_PEOPLE}
    others = sum(counts[part] for part in FIT_PEOPLE if part != "pool")
    lines = (folder / "run" / "history.jsonl").read_text().splitlines()
    steps = sum("loss" in json.loads(line) for line in lines)
    pool = find_images(folder / "pool")
    looked_at, embedded = metrics["images_decoded"], metrics["images_embedded"]
    reader = Reader(model, pool, aligned=True)
    with ThreadPoolExecutor(cores()) as threads:
        look = seconds(lambda: list(threads.map(reader, range(len(pool))))) / len(pool)
    of_embedding = seconds(lambda: bare_embed(model, pool, True, cores())) / len(pool)
    suffix, batches, loss = parts_of_training("dlib")
    by_hand(suffix, batches, loss)
    step = seconds(lambda: by_hand(suffix, batches, loss)) / len(batches)
    floor = {"look": looked_at * look, "embed": (embedded + others) * of_embedding, "steps": steps * step}
    return {
        "seconds": whole,
        "seconds_of_stages": metrics["seconds"],
        "pictures": counts,
        "looked_at": looked_at,
        "embedded": embedded + others,
        "steps": steps,
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
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--only", nargs="+", help="Measure only these parts.")
    options = parser.parse_args()
    warnings.simplefilter("once")
    photographs = orl_faces() if options.pool is None else find_images(options.pool, labelled=True)
    images, model = repeated(photographs, options.pictures), load_model("dlib")
    results: dict[str, Any] = about(machine=machine(), pictures=len(images), repetitions=options.repetitions)
    results["pool"] = "ORL faces" if options.pool is None else options.pool.name
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        draw_sets(folder)
        found = find_images(folder / "pool")
        chips = repeated(found, options.pictures)
        array = np.stack([found.read(row % len(found)) for row in range(min(options.pictures, 1024))])
        times = options.repetitions
        parts: dict[str, Callable[[], dict[str, Any]]] = {
            "parity": lambda: parity(photographs),
            "network": lambda: network_alone(model, array, times),
            "reading photographs": lambda: reading_alone(model, images, False, times),
            "reading chips": lambda: reading_alone(model, chips, True, times),
            "embed photographs": lambda: on_card(lambda: embedding_against_bare(model, images, False, times)),
            "embed chips": lambda: on_card(lambda: embedding_against_bare(model, chips, True, times)),
            "tune": lambda: tuning(times),
            "fit": lambda: whole_run(folder),
        }
        for part, measure in parts.items():
            if options.only is None or part in options.only:
                began = time.perf_counter()
                results[part] = measure()
                took = time.perf_counter() - began
                print(f"{part} ({took:.0f} s)", json.dumps(results[part], indent=1), flush=True)
                options.out.parent.mkdir(parents=True, exist_ok=True)
                replace_file(options.out, json.dumps(results, indent=1).encode())
    print(f"written: {options.out}")


def on_card(measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    with running_on(CARD):
        return measure()


if __name__ == "__main__":
    main()
