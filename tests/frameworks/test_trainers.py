"""Each block of docs/trainers.md reads the accepted items of every epoch, in the sampler's order, and no others."""

import csv
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from itertools import chain
from pathlib import Path
from typing import Any

import page_blocks
import pytest
import torch
from accelerate.state import AcceleratorState
from documents import ROOT, blocks_of
from PIL import Image

import rsft

BATCH = 16
LINES = 15
HEADINGS = [
    "Plain DDP",
    "StatefulDataLoader",
    "accelerate",
    "Hugging Face Trainer",
    "TRL",
    "Lightning",
    "timm",
    "skorch",
    "WebDataset",
    "Hugging Face streams",
    "litdata",
]
pytestmark = pytest.mark.filterwarnings("ignore")  # those of the frameworks


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Run in an empty folder, with torch's and accelerate's state as it was."""
    monkeypatch.chdir(tmp_path)
    AcceleratorState._reset_state(reset_partial_state=True)
    with torch.random.fork_rng():
        yield
    AcceleratorState._reset_state(reset_partial_state=True)


def sequence(epoch: int, **options: Any) -> list[int]:
    torch.manual_seed(0)
    names: dict[str, Any] = {}
    exec(page_blocks.under("")[0].code, names)
    sampler = rsft.RejectionSampler(names["acceptance"], rank=0, world_size=1, **options)
    sampler.set_epoch(epoch)
    return list(sampler)


def full(items: list[int]) -> list[int]:
    """Return the items of the full batches."""
    return items[: len(items) // BATCH * BATCH]


def by_ranks(heading: str, folder: Path, *edit: str) -> list[list[int]]:
    """Return the items that each of two processes read."""
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    done = subprocess.run(
        [*launch, page_blocks.__file__, heading, str(folder), *edit],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]


def divided() -> list[list[int]]:
    """Return what each of two ranks gets of two epochs."""
    epochs = [sequence(epoch) for epoch in range(2)]
    return [[item for epoch in epochs for item in epoch[: len(epoch) // 2 * 2][rank::2]] for rank in range(2)]


def test_every_section_is_tested_and_short() -> None:
    shown = [line[3:] for line in (ROOT / page_blocks.PAGE).read_text().splitlines() if line.startswith("## ")]
    assert shown == HEADINGS
    for heading in ("", *HEADINGS):
        assert page_blocks.under(heading)
        for block in page_blocks.under(heading):
            assert len([line for line in block.code.splitlines() if line.strip()]) <= LINES, str(block)


def test_the_versions_on_the_page_are_those_that_run() -> None:
    """What the extra `dev` pins; a library that is not in it is told as it was run last."""
    page = (ROOT / page_blocks.PAGE).read_text()
    for name in ("torchdata", "accelerate", "transformers", "lightning-fabric", "skorch", "webdataset", "datasets"):
        assert f"| {name} {metadata.version(name).split('+')[0]} |" in page


def test_two_processes_of_plain_ddp_divide_the_sequence(tmp_path: Path) -> None:
    assert by_ranks("Plain DDP", tmp_path) == divided()


def test_a_stateful_loader_goes_on_where_it_was_cut_off() -> None:
    names, _ = page_blocks.run("StatefulDataLoader")
    batches = names["seen"] + names["rest"]
    accepted = names["x"][sequence(0)]
    assert torch.equal(torch.cat([inputs for inputs, _ in batches]), accepted)


def test_accelerate_reads_full_batches_of_every_epoch() -> None:
    _, read = page_blocks.run("accelerate")
    assert read == full(sequence(0)) + full(sequence(1))


def test_the_trainer_reads_pictures_and_texts_in_order() -> None:
    _, read = page_blocks.run("Hugging Face Trainer")
    first, second = full(sequence(0)), full(sequence(1))
    planned = min(len(first), len(second))
    pictures, texts = read[: len(read) // 2], read[len(read) // 2 :]
    assert pictures == texts
    assert pictures[: len(first) + planned] == first + second[:planned]
    assert set(pictures) <= {*sequence(0), *sequence(1)}


def test_trl_reads_the_sequence_in_order() -> None:
    pytest.importorskip("trl", reason="TRL is not part of the extra dev")
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({str(number): number for number in range(50)}, unk_token="0"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="1", pad_token="2")
    _, read = page_blocks.run("TRL", {"tokenizer": tokenizer})
    expected = sequence(0) + sequence(1)
    assert read[: 19 * BATCH] == expected[: 19 * BATCH]  # the last batch of an epoch may be short
    assert set(read) <= set(expected)


def test_lightning_reads_every_epoch_to_its_end() -> None:
    pytest.importorskip("lightning", reason="Lightning is not part of the extra dev")
    _, read = page_blocks.run("Lightning", edit=("max_epochs=2", "max_epochs=6"))
    epochs = [sequence(epoch) for epoch in range(6)]
    assert max(map(len, epochs)) > -(-len(epochs[0]) // BATCH) * BATCH  # an epoch of more batches than the first
    assert read == list(chain.from_iterable(epochs))


def test_two_processes_of_lightning_divide_the_sequence(tmp_path: Path) -> None:
    pytest.importorskip("lightning", reason="Lightning is not part of the extra dev")
    assert by_ranks("Lightning", tmp_path, "max_epochs=2", "max_epochs=2, devices=2, accelerator='cpu'") == divided()


def test_a_loader_around_the_dataset_of_timm_reads_the_sequence() -> None:
    pytest.importorskip("timm", reason="timm needs torchvision, whose wheels must match torch's build")
    names, _ = page_blocks.run("timm")
    inputs, labels = zip(*names["loader"], strict=True)
    assert inputs[0].shape == (BATCH, 3, 32, 32)
    assert torch.cat(labels).tolist() == names["y"][full(sequence(0))].tolist()


def test_timm_reads_the_folder_that_a_list_names(tmp_path: Path) -> None:
    """As its training script makes its dataset; no picture of class b is listed."""
    data = pytest.importorskip("timm.data", reason="timm needs torchvision, whose wheels must match torch's build")
    listed = ["c/2.png", "a/0.png", "c, d/3.png"]
    for path in (*listed, "b/1.png"):
        (tmp_path / "faces" / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "faces" / path)
    with open("epoch-0.csv", "w", newline="") as file:
        csv.writer(file).writerows([["id", "path"], *enumerate(listed)])
    Path("classes.txt").write_text("a\nb\nc\nc, d\n")
    (block,) = [block for block in blocks_of("docs/scale.md") if "csv.DictReader" in block.code]
    exec(compile(block.code, str(block), "exec"), {})
    found = data.create_dataset("", root="epoch-0", split="train", is_training=True, class_map="classes.txt")
    read = [(found.filename(item), found[item][1]) for item in range(len(found))]
    assert sorted(read) == [("a/0.png", 0), ("c, d/3.png", 3), ("c/2.png", 2)]


def test_skorch_reads_the_sequence_of_every_epoch() -> None:
    _, read = page_blocks.run("skorch")
    assert read == sequence(0) + sequence(1)


def test_a_webdataset_passes_on_what_is_accepted() -> None:
    names, _ = page_blocks.run("WebDataset")
    everything = [f"{item:06d}" for item in range(len(names["y"]))]
    expected = rsft.RejectionStream(
        everything, lambda name: float(names["acceptance"][int(name)]), key=str, divided=False
    )
    expected.set_epoch(1)
    assert list(expected) == names["names"]
    assert 0 < len(names["names"]) < len(everything)


def test_a_stream_of_hugging_face_goes_on_where_it_was_cut_off() -> None:
    names, _ = page_blocks.run("Hugging Face streams")
    rows = range(len(names["y"]))
    expected = rsft.RejectionStream(rows, lambda row: float(names["acceptance"][row]), key=int, divided=False)
    read = torch.cat(names["seen"] + names["rest"]).tolist()
    assert sorted(read) == list(expected)
    assert 0 < len(read) < len(rows)


def test_litdata_is_read_by_index(tmp_path: Path) -> None:
    caches = pytest.importorskip("litdata.streaming.cache", reason="litdata is not part of the extra dev")
    written = caches.Cache(str(tmp_path / "pool"), chunk_bytes="1KB")
    for item in range(300):
        written[item] = (torch.tensor(item),)
    written.done()
    written.merge()
    names, _ = page_blocks.run("litdata")
    assert [item for (batch,) in names["loader"] for item in batch.tolist()] == sequence(0, window=64)
