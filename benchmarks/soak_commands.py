"""The commands that `soak_kill.py` kills, on drawn people with a network of one layer, and what each must leave.

Each function runs a command, or continues it: people and its output -> nothing.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import torch
from PIL import Image
from torch import nn

import rsft.face.demo as demonstration
from rsft.compare import RUNS_FOLDER
from rsft.data.convert import convert
from rsft.data.images import find_images
from rsft.disk.whole import replace_file
from rsft.face.adaptation.recipe import Recipe
from rsft.face.compare import compare_faces
from rsft.face.embed_folder import embed_folder
from rsft.face.export import export
from rsft.face.fit import fit
from rsft.face.forget import forget
from rsft.face.migrate import migrate
from rsft.face.networks.bundle import FaceModel, face_model
from rsft.face.pictures import embedding
from rsft.face.pictures.orl import orl_faces
from rsft.face.plan import plan_folders
from rsft.tuning.cache import CachedActivations
from rsft.tuning.cut import cut

SIDE, PATCHES = 112, 14
LISTS = ("people.csv", "pairs.csv")
RECIPE = Recipe(steps=6, batch_size=16, views=2, validate_every=2, cut=-1, folds=1, features="covariates")
TIMES = {"seconds", "quarantined", "features", "seconds_of_a_picture"}


def tiny_model(seed: int = 0) -> FaceModel:
    """Return a network of random projections of 8 x 8 means."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = nn.Sequential(nn.AvgPool2d(8), nn.Flatten(), nn.Linear(3 * PATCHES**2, 32))
    return face_model(network, name="tiny", cut=-1)


def draw_people(root: Path) -> Path:
    """Draw the folders `pool` (12 people), `target` (4) and `evaluation` (8), with 6 pictures of each person.

    Beside them are two lists, and the folder `gallery` of embeddings of the pool.
    """
    generator = np.random.default_rng(0)
    for part, people in (("pool", 12), ("target", 4), ("evaluation", 8)):
        for person in range(people):
            own = generator.uniform(60, 200, (PATCHES, PATCHES, 3)).repeat(8, 0).repeat(8, 1)
            folder = root / part / f"{part}{person}"
            folder.mkdir(parents=True)
            for picture in range(6):
                light = 0.3 if part != "pool" or picture % 2 else 1.0
                noise = generator.normal(0, 40, own.shape)
                Image.fromarray((light * own + noise).clip(0, 255).astype(np.uint8)).save(folder / f"{picture}.png")
    items = find_images(root / "pool").ids
    rows = {"people.csv": ["path,identity"], "pairs.csv": ["a,b,same"]}
    rows["people.csv"] += [f"{item},{item.split('/')[0]}" for item in items]
    rows["pairs.csv"] += [f"{a},{b},{int(a.split('/')[0] == b.split('/')[0])}" for a, b in pairwise(items)]
    for name in LISTS:
        (root / name).write_text("\n".join(rows[name]) + "\n")
    embed_folder(pool=root / "pool", out=root / "gallery", model=tiny_model(), aligned=True)
    return root


def run_fit(people: Path, out: Path) -> None:
    """`rsft fit --resume`."""
    sets = {"pool": people / "pool", "target": people / "target", "evaluation": people / "evaluation"}
    if not out.exists():
        fit(**sets, out=out, model=tiny_model(), recipe=RECIPE, aligned=True, resume=True)


def run_embed(people: Path, out: Path) -> None:
    """`rsft embed --resume`, in parts of a batch."""
    embedding.PART_PICTURES = embedding.BATCH_SIZE
    if not out.exists():
        embed_folder(pool=people / "pool", out=out, model=tiny_model(), aligned=True, resume=True)


def run_plan(people: Path, out: Path) -> None:
    """`rsft plan --out OUT --overwrite`."""
    sides = {"pool": people / "pool", "target": people / "target"}
    plan_folders(**sides, out=out, model=tiny_model(), against=(), recipe=RECIPE, aligned=True, overwrite=True)


def run_compare(people: Path, out: Path) -> None:
    """`rsft compare`."""
    sets: Any = {"pool": people / "pool", "target": people / "target", "evaluation": people / "evaluation"}
    recipe = RECIPE.model_copy(update={"steps": 2})
    model: Any = tiny_model()
    compare_faces(**sets, out=out, model=model, recipe=recipe, aligned=True, seeds=2)


def run_convert(people: Path, out: Path) -> None:
    """`rsft convert` to a `.rec`, a manifest and shards."""
    out.mkdir(exist_ok=True)
    for name in ("faces.rec", "listed/list.csv", "shard-{0..2}.tar"):
        first = out / name.replace("{0..2}", "0")
        partial = (out / name).with_name((out / name).name + ".partial")
        if partial.exists() or not first.exists():
            convert(people / "pool", out / name)


def run_cache(people: Path, out: Path) -> None:
    """Fill a cache of activations, batch by batch."""
    images = find_images(people / "pool")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Sequential(nn.Conv2d(3, 4, 8, 8), nn.ReLU(), nn.Flatten(), nn.Linear(4 * PATCHES**2, 4))
    network[0].requires_grad_(False)
    prefix, _ = cut(network, torch.zeros(2, 3, SIDE, SIDE))

    def read(rows: Any) -> torch.Tensor:
        return torch.from_numpy(np.stack([images.read(row) for row in rows])).permute(0, 3, 1, 2).float()

    cached = CachedActivations(out, prefix, read, torch.zeros(len(images)), content="drawn")
    for start in range(0, len(images), 8):
        cached.__getitems__(range(start, min(start + 8, len(images))))


def run_demo(people: Path, out: Path) -> None:
    """`rsft demo --quick --overwrite`, with a small network and a third of the photographs."""
    photographs = orl_faces()
    demonstration.QUICK_FOLDS, demonstration.QUICK_COPIES, demonstration.QUICK_STEPS = 2, 1, 2
    demonstration.load_model = lambda name: tiny_model()  # type: ignore[assignment]
    demonstration.orl_faces = lambda: photographs.subset(range(0, len(photographs), 3))  # type: ignore[assignment]
    demonstration.demo(out=out, quick=True, overwrite=True)


def run_export(people: Path, out: Path) -> None:
    """`rsft export --onnx FILE --overwrite`, and `--bundle FOLDER`."""
    out.mkdir(exist_ok=True)
    bundle = None if (out / "bundle").exists() else out / "bundle"
    export(tiny_model(), onnx=out / "tiny.onnx", bundle=bundle, overwrite=True)


def run_forget(people: Path, out: Path) -> None:
    """`rsft forget pool3`, in a list of pictures and one of pairs."""
    out.mkdir(exist_ok=True)
    for name in LISTS:
        if not (out / name).exists():
            replace_file(out / name, (people / name).read_bytes())
    forget("pool3", [people / "gallery"], [out / name for name in LISTS])


def run_migrate(people: Path, out: Path) -> None:
    """`rsft gallery migrate --overwrite`."""
    models: Any = {"model": tiny_model(1), "old_model": tiny_model()}
    probes = people / "evaluation"
    sides = {"pool": people / "pool", "probes": probes}
    migrate(people / "gallery", **sides, **models, out=out, aligned=True, overwrite=True)


# What must be the same: output -> comparable values


def of_run(out: Path) -> dict[str, Any]:
    """What a fit or a plan found: all but names, times and salts."""
    found: dict[str, Any] = {}
    for name in ("metrics.json", "plan.json"):
        if (out / name).exists():
            told = json.loads((out / name).read_text())
            found[name] = {key: value for key, value in told.items() if key not in TIMES}
    table = pyarrow.parquet.read_table(out / "accepted.parquet").to_pydict()
    found["accepted"] = repr({name: values for name, values in table.items() if name not in ("path", "identity")})
    for name in ("history.jsonl", "model/weights.safetensors", "model/bundle.json"):
        found[name] = (out / name).read_bytes() if (out / name).exists() else None
    found["files"] = files_of(out)
    return found


def of_files(out: Path) -> dict[str, Any]:
    """The bytes of all files but the marks."""
    return {name: (out / name).read_bytes() for name in files_of(out) if not name.endswith(".rsft.json")}


def of_comparison(out: Path) -> dict[str, Any]:
    """Each training but those of equal time, whose length depends on the time of the embedding."""
    found = {}
    for path in sorted((out / RUNS_FOLDER).glob("*.json")):
        told = json.loads(path.read_text())
        if "equal-time" not in path.name:
            found[path.name] = {key: value for key, value in told.items() if key != "seconds"}
    return found | {"finished": (out / "comparison.json").exists()}


def files_of(out: Path) -> list[str]:
    """The paths of all files below a folder.

    The lock file of a process that was killed locks nobody out, and stays until the next command that writes there.
    """
    return sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file() and path.suffix != ".lock")


@dataclass(frozen=True)
class Command:
    """A command to kill.

    Attributes:
        run: Runs it, or continues it.
        found: What of its output must be the same.
        is_atomic: Its output appears when it is whole.
    """

    run: Callable[[Path, Path], None]
    found: Callable[[Path], dict[str, Any]]
    is_atomic: bool


COMMANDS = {
    "fit": Command(run_fit, of_run, True),
    "plan": Command(run_plan, of_run, True),
    "embed": Command(run_embed, of_files, True),
    "compare": Command(run_compare, of_comparison, False),
    "convert": Command(run_convert, of_files, False),
    "cache": Command(run_cache, of_files, False),
    "demo": Command(run_demo, of_run, True),
    "export": Command(run_export, of_files, False),
    "forget": Command(run_forget, of_files, False),
    "gallery migrate": Command(run_migrate, of_files, True),
}
