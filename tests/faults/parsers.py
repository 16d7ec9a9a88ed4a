"""The parsers under test, each with small valid inputs."""

import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from unittest.mock import patch

import forms
import numpy as np
import onnx
import pyarrow
import pyarrow.parquet
import torch
from attempts import Parser, Tree
from dlib_stream import read_thin, write_thin
from drawn_people import tiny_model
from notes import read_notes, write_notes
from onnx import TensorProto, helper, numpy_helper
from rerun_files import NETWORK_FILES, read_networks, read_runs, write_networks, write_runs
from safetensors.numpy import save_file
from small_run import COMPARISON, evaluation, plan, write_run
from torch import nn

import rsft
from rsft.data.features import Features, load_features
from rsft.data.images import find_images
from rsft.data.manifest import read_attributes
from rsft.data.matrix import read_labels, read_matrix
from rsft.data.packed_views import PackedViews
from rsft.data.shares import read_shares
from rsft.errors import UnreadableImageError
from rsft.face.evaluation.protocol import read_protocol
from rsft.face.networks.backbones.checkpoints import read_weights
from rsft.face.networks.backbones.dlib import read_dlib_resnet
from rsft.face.networks.load import KNOWN, load_model
from rsft.face.networks.packages import package_file
from rsft.face.networks.saved import load_bundle
from rsft.face.pictures.landmarks import read_landmarks
from rsft.face.runs.recipe_file import read_recipe
from rsft.report import style
from rsft.report.comparison_page import write_comparison_page
from rsft.report.evaluation_page import write_evaluation_page
from rsft.report.page import render
from rsft.report.plan_page import write_plan_page
from rsft.report.run import read_run
from rsft.report.run_page import run_data
from rsft.scale import Scorer, read_scored, scorer

PICTURES_READ = 4
NOTES = (".json", ".jsonl", ".npy", ".safetensors", ".toml", ".parquet")
ROWS = np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3)
PAIRS = "a,b,same,fold\n10/a.png,10/deep/b.png,1,0\n10/a.png,9/a.png,0,1\n"
POINTS = ",".join(f"{axis}{number}" for number in range(1, 6) for axis in "xy")


def tree(make: Callable[[Path], object]) -> Tree:
    """Return the files that a function writes into a folder."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make(root)
        return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def look(path: Path) -> None:
    """List the pictures of a set and read a few."""
    images = find_images(path, labelled=True)
    for row in range(min(len(images), PICTURES_READ)):
        with suppress(UnreadableImageError):  # a picture is left out, not the set
            images.read(row)


def pictures(name: str, *makes: Callable[[Path], Path], mutated: tuple[str, ...] = ("",), slow: int = 1) -> Parser:
    """Return the parser of one storage form of pictures."""
    with tempfile.TemporaryDirectory() as folder:
        file = makes[0](Path(folder)).name
    return Parser(name, [tree(make) for make in makes], lambda root: look(root / file), mutated, slow)


def features(packed: bool) -> Tree:
    kept = np.array([[True, True], [False, True]])
    views = np.zeros((3, 2), np.float16)
    whole = np.zeros((2, 2, 2), np.float16)
    stored = Features(
        ["a/1", "a/2"],
        ROWS[:2],
        ROWS[:2],
        PackedViews(views, kept) if packed else whole,
        [("a/3", "no face")],
        "0123456789abcdef",
        {"light": np.zeros(2), "noise": np.ones(2)},
    )
    return tree(stored.save)


def matrix_files(root: Path) -> None:
    np.save(root / "x.npy", ROWS)
    save_file({"x": ROWS}, root / "x.safetensors")
    pyarrow.parquet.write_table(pyarrow.table({"e": list(ROWS), "light": ["day"] * 4}), root / "x.parquet")
    np.save(root / "y.npy", np.arange(4))
    (root / "y.csv").write_text("label\na\nb\na\nb\n")


def graph(root: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["a", "s", "s", "s", "s"], ["b"]),
        helper.make_node("PRelu", ["b", "p"], ["c"]),
        helper.make_node("Flatten", ["c"], ["d"]),
        helper.make_node("Gemm", ["d", "g"], ["y"]),
    ]
    shapes = {"w": (2, 3, 3, 3), "s": (2,), "p": (2, 1, 1), "g": (128, 4)}
    proto = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("batch", 3, 8, 8))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.ones(shape, np.float32), name) for name, shape in shapes.items()],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(proto, opset_imports=opset, ir_version=8), root / "x.onnx")


def checkpoint(root: Path) -> None:
    state = nn.Linear(3, 2).state_dict()
    torch.save({"state_dict": state, "epoch": 3}, root / "x.pt")
    save_file({name: value.numpy() for name, value in state.items()}, root / "x.safetensors")


def dlib_stream(root: Path) -> None:
    known = KNOWN["dlib"]
    (root / "x.dat").write_bytes(package_file(known.package, known.file, known.sha256).read_bytes())


def saved(root: Path) -> None:
    """Write what `save_to_disk` of Hugging Face's library writes."""
    stored = [{"bytes": content, "path": None} for content in forms.PICTURES.values()]
    kinds = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": ["ann", "bob"]}}
    table = pyarrow.table(
        {
            "image": pyarrow.array(stored, pyarrow.struct({"bytes": pyarrow.binary(), "path": pyarrow.string()})),
            "label": [number % 2 for number in range(len(stored))],
            "light": pyarrow.array(["day", None, *["night"] * (len(stored) - 2)]),
        }
    ).replace_schema_metadata({"huggingface": json.dumps({"info": {"features": kinds}})})
    (root / "saved").mkdir()
    for name in ("0.arrow", "1.arrow"):
        file = pyarrow.OSFile(str(root / "saved" / name), "wb")
        with file, pyarrow.ipc.new_stream(file, table.schema) as writer:
            writer.write_table(table)
    files = [{"filename": name} for name in ("0.arrow", "1.arrow")]
    (root / "saved" / "state.json").write_text(json.dumps({"_data_files": files, "_split": "train"}))
    pyarrow.parquet.write_table(table, root / "x.parquet")


def lfw_lists(root: Path) -> None:
    for name, count in (("Ann_Lee", 2), ("Bob_Day", 3)):
        (root / name).mkdir()
        for number in range(1, count + 1):
            (root / name / f"{name}_{number:04d}.jpg").write_bytes(forms.picture(number))
    (root / "people.txt").write_text("2\n1\nAnn_Lee\t2\n1\nBob_Day\t3\n")
    (root / "pairs.txt").write_text("1\t1\nAnn_Lee\t1\t2\nAnn_Lee\t1\tBob_Day\t1\n")


def tables(root: Path) -> None:
    forms.as_csv(root)
    (root / "pairs.csv").write_text(PAIRS)
    (root / "wide.csv").write_text(PAIRS.replace(",", "\t"), encoding="utf-16")
    people = ({"path": f"faces/{item}", "identity": item.split("/")[0], "light": "day"} for item in forms.PICTURES)
    (root / "faces.jsonl").write_text("".join(json.dumps(row) + "\n" for row in people))
    rows = [f"{item},30,40,70,40,50,60,35,80,65,80" for item in forms.PICTURES]
    (root / "points.csv").write_text("\n".join([f"path,{POINTS}", *rows]) + "\n")
    pyarrow.parquet.write_table(pyarrow.table({"path": ["a", "b"], "light": ["day", None]}), root / "x.parquet")


def labels(root: Path) -> None:
    for name in ("y.npy", "y.csv"):
        read_labels(root / name)


def of_file(read: Callable[[Path], object], name: str) -> Callable[[Path], object]:
    return lambda root: read(root / name)


def report(root: Path) -> None:
    """Read a run folder and render its page."""
    page = render("run.html", run_data(read_run(root / "run")))
    assert page.count("<script") == 1, "unescaped"


def scored_tables() -> Iterator[Parser]:
    """Yield the parsers of scored tables, one with numbers and one with names as ids."""
    generator = torch.Generator().manual_seed(0)
    pool, target = torch.randn(60, 2, generator=generator), torch.randn(40, 2, generator=generator) + 1
    made = rsft.plan(pool, target, envelope="max_tv=0.02")
    for kind, ids in (("numbers", list(range(60))), ("names", [f"a/{item}" for item in range(60)])):
        one = scorer(made, lambda rows: pool[rows["row"].to_pylist()], epochs=2, items=60)
        rows = one(pyarrow.table({"id": ids, "row": range(60)}))

        def write(root: Path, rows: pyarrow.Table = rows) -> None:
            for number, compression in enumerate(("none", "snappy")):
                part = rows.slice(30 * number, 30)
                pyarrow.parquet.write_table(part, root / f"part-{number}.parquet", compression=compression)

        yield Parser(f"scored table ({kind})", [tree(write)], partial(whole_table, one), (".parquet",), slow=2)


def whole_table(one: Scorer, root: Path) -> None:
    """Read all of a scored table, in each way."""
    table = read_scored(root, one)
    table.outcomes()
    table.accepted(0)
    list(table.stream())
    if not table.named:
        table.acceptance()


def undrawn(read: Callable[[Path], object]) -> Callable[[Path], object]:
    """Return a reader that does all but draw its figures, which takes a hundred times as long."""

    def found(root: Path) -> None:
        with patch.object(style, "draw_svg", _no_figure):
            read(root)

    return found


def _no_figure(draw: object, size: object, text: float = 0) -> str:
    return "<svg></svg>"


def parsers() -> list[Parser]:
    """Return all parsers under test."""
    model = tiny_model()
    network = nn.Sequential(*model.own_stages)
    matrices, tabled, checkpoints, graphs = (tree(make) for make in (matrix_files, tables, checkpoint, graph))
    huggingface, lfw = tree(saved), tree(lfw_lists)
    run = tree(lambda root: write_run(root / "run"))
    compared: Tree = {"comparison.json": json.dumps(COMPARISON).encode()}
    evaluated: Tree = {"evaluation.json": json.dumps(evaluation()).encode()}
    planned: Tree = {"plan.json": json.dumps(plan()).encode()}
    tomls: Tree = {
        "shares.toml": b'[light]\nday = 0.3\nnight = 0.7\n["of age"]\nold = 1.0\n',
        "recipe.toml": b'[recipe]\nsteps = 4\nlearning_rate = 3e-5\nshares = [0.0, 0.5, 1.0]\ntrains = "lora"\n',
    }
    photographs: list[Tree] = [
        {"x/p/x.jpg": forms.picture(1, kind)} for kind in ("PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP")
    ]
    return [
        pictures(
            "RecordIO", forms.as_rec, forms.as_rec_with_header, forms.as_rec_with_list, mutated=(".rec", ".idx", ".lst")
        ),
        Parser(
            ".bin", [tree(partial(bin_file, protocol)) for protocol in (0, 2, 4, 5)], of_file(read_protocol, "x.bin")
        ),
        pictures("tar", forms.as_tar, mutated=(".tar",)),
        pictures("shard", forms.as_one_shard),
        pictures("manifest (CSV)", forms.as_csv, mutated=(".csv",)),
        pictures("manifest (Parquet)", forms.as_parquet, mutated=(".parquet",)),
        Parser("manifest (JSON lines)", [tabled], of_file(look, "faces.jsonl"), (".jsonl",)),
        Parser("Hugging Face (saved)", [huggingface], of_file(look, "saved"), (".arrow", "state.json"), slow=2),
        Parser("Hugging Face (Parquet)", [huggingface], of_file(look, "x.parquet"), (".parquet",), slow=2),
        Parser("LFW's people.txt", [lfw], of_file(look, "people.txt"), ("people.txt",)),
        Parser("LFW's pairs.txt", [lfw], of_file(read_protocol, "pairs.txt"), ("pairs.txt",)),
        pictures("folder", forms.as_folder),
        Parser("picture", photographs, of_file(look, "x")),
        Parser("pairs", [tabled], lambda root: read_protocol(root / "pairs.csv", root / "faces"), ("pairs.csv",)),
        Parser(
            "pairs (UTF-16)", [tabled], lambda root: read_protocol(root / "wide.csv", root / "faces"), ("wide.csv",)
        ),
        Parser("landmarks", [tabled], of_file(read_landmarks, "points.csv"), ("points.csv",)),
        Parser("attributes", [tabled], lambda root: read_attributes(root / "x.parquet", ["a", "b"]), ("x.parquet",)),
        Parser("shares (TOML)", [tomls], of_file(read_shares, "shares.toml"), ("shares.toml",)),
        Parser("recipe (TOML)", [tomls], of_file(read_recipe, "recipe.toml"), ("recipe.toml",)),
        Parser("features", [features(False), features(True)], load_features),
        *(
            Parser(f"matrix ({suffix})", [matrices], of_file(whole_matrix, f"x{suffix}"), (f"x{suffix}",))
            for suffix in (".npy", ".safetensors", ".parquet")
        ),
        *scored_tables(),
        Parser("labels", [matrices], labels, ("y.npy", "y.csv")),
        Parser("run folder", [run], of_file(read_run, "run")),
        Parser("notes of runs", [tree(write_notes)], read_notes, NOTES, slow=10),
        Parser("report", [run], undrawn(report), slow=4),
        Parser("report with figures", [run], report, slow=100),
        Parser("plan", [planned], undrawn(write_plan_page), slow=4),
        Parser("evaluation", [evaluated], undrawn(write_evaluation_page), slow=2),
        Parser("comparison", [compared], undrawn(write_comparison_page)),
        Parser("comparison with its figure", [compared], write_comparison_page, slow=100),
        Parser("runs to compare", [tree(write_runs)], read_runs, slow=4),
        Parser("comparison of networks", [tree(write_networks)], read_networks, NETWORK_FILES, slow=2),
        Parser(
            "bundle",
            [tree(lambda root: model.save(root / "model"))],
            lambda root: load_bundle(root / "model", network),
            slow=2,
        ),
        *(
            Parser(f"checkpoint ({suffix})", [checkpoints], of_file(read_weights, f"x{suffix}"), (f"x{suffix}",))
            for suffix in (".pt", ".safetensors")
        ),
        Parser("ONNX", [graphs], of_file(load_model, "x.onnx"), slow=4),
        Parser("dlib stream", [tree(write_thin)], read_thin),
        Parser("dlib's own file", [tree(dlib_stream)], of_file(read_dlib_resnet, "x.dat"), slow=500),
    ]


def whole_matrix(path: Path) -> None:
    """Read a matrix and touch all of its rows."""
    np.asarray(read_matrix(path).rows, dtype=float).sum()


def bin_file(protocol: int, root: Path) -> None:
    forms.write_bin(root / "x.bin", [forms.picture(n) for n in range(4)], [True, False], protocol)
