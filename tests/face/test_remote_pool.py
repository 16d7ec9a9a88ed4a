"""A run on pools in buckets is the run on their copies on a disk, to the bit, and it holds no signature."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pyarrow.parquet
import pytest
from command_line import rsft
from drawn_people import draw_people, tiny_model
from web_store import WebStore, serving

from rsft.data import retrying
from rsft.data.archives import expand
from rsft.data.convert import convert
from rsft.data.images import find_images
from rsft.data.shard_index import ENDING, index_shards
from rsft.errors import InputError, InterruptedTrainingError
from rsft.face.adaptation.recipe import Recipe
from rsft.face.fit import fit

SIGNATURE = "X-Amz-Signature=5ec2e7"
RECIPE = Recipe(steps=6, batch_size=16, views=2, cut=-1, learning_rate=1e-2, warmup_fraction=0.0, whitening=0.0)
SHARDS = "{0..1}.tar"


@pytest.fixture(scope="module")
def pools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn people: the pool in indexed shards, the target in a manifest, the evaluation set in a folder."""
    root = draw_people(tmp_path_factory.mktemp("people"))
    convert(root / "pool", root / "in" / "pool" / SHARDS)
    convert(root / "target", root / "in" / "target" / "list.csv")
    convert(root / "evaluation", root / "in" / "evaluation")
    index_shards(expand(root / "in" / "pool" / SHARDS))
    return root / "in"


def run(root: Path | str, out: Path, **options: Any) -> dict[str, Any]:
    """Fit on the sets below a place and return the metrics."""
    inputs = {"pool": f"pool/{SHARDS}", "target": "target/list.csv", "evaluation": "evaluation"}
    places = {name: f"{root}/{path}" for name, path in inputs.items()} | options
    return fit(out=out, model=tiny_model(), recipe=RECIPE, aligned=True, salt="1", **places).metrics


@pytest.fixture(scope="module")
def here(pools: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "here"
    run(pools, out)
    return out


def cut_off(stage: str, done: int, total: int) -> None:
    """End the run in the second of its trainings."""
    if (stage, done) == ("tune", 9):
        signal.raise_signal(signal.SIGTERM)


def accepted(folder: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pyarrow.parquet.read_table(folder / "accepted.parquet").to_pylist()
    return rows


def check_same_run(there: Path, here: Path) -> None:
    assert accepted(there) == accepted(here)
    for file in ("history.jsonl", "model/weights.safetensors"):
        assert (there / file).read_bytes() == (here / file).read_bytes(), file


def other_pictures(shard: bytes, pool: str) -> bytes:
    """Return the first shard of a pool with each of its pictures changed, and all places and sizes as they were."""
    other = bytearray(shard)
    for part in find_images(pool).sources:
        if part.path.name == "0.tar":  # type: ignore[union-attr]
            other[part.offset + part.size - 20] ^= 1  # type: ignore[union-attr]
    return bytes(other)


def files_of(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_a_run_on_a_bucket_is_the_run_on_the_disk(pools: Path, here: Path, tmp_path: Path) -> None:
    memory = fsspec.filesystem("memory")
    for name, content in files_of(pools).items():
        memory.pipe_file(f"/bucket/{name}", content)
    run("memory://bucket", tmp_path / "there")
    check_same_run(tmp_path / "there", here)
    assert 'pool = "memory://bucket/pool/{0..1}.tar"' in (tmp_path / "there" / "config.toml").read_text()
    memory.store.clear()


def test_a_run_on_s3_is_the_run_on_the_disk(
    pools: Path, here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("s3fs", reason="s3fs is of the extra remote")
    server = pytest.importorskip("moto.server", reason="moto is not part of the extra dev")
    s3 = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    s3.start()
    address, port = s3.get_host_and_port()
    told = {"ENDPOINT_URL": f"http://{address}:{port}", "ACCESS_KEY_ID": "AKIA1", "SECRET_ACCESS_KEY": "s3cret"}
    for name, value in (told | {"DEFAULT_REGION": "us-east-1"}).items():
        monkeypatch.setenv(f"AWS_{name}", value)
    try:
        store = fsspec.filesystem("s3", skip_instance_cache=True)
        store.mkdir("bucket")
        for name, content in files_of(pools).items():
            store.pipe_file(f"bucket/{name}", content)
        run("s3://bucket", tmp_path / "there")
        check_same_run(tmp_path / "there", here)
        assert not [name for name, content in files_of(tmp_path / "there").items() if b"s3cret" in content]
        with pytest.raises(InputError, match=r"'s3://none/pool.csv' does not exist"):
            find_images("s3://none/pool.csv")
        written = rsft("data", "index", f"s3://bucket/pool/{SHARDS}", "--json")
        assert json.loads(written.stdout)["indexes"][0] == f"s3://bucket/pool/0.tar{ENDING}"
        assert find_images(f"s3://bucket/pool/{SHARDS}").ids == find_images(pools / "pool" / SHARDS).ids
    finally:
        s3.stop()
        fsspec.filesystem("s3").clear_instance_cache()


@pytest.fixture
def store(pools: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WebStore]:
    monkeypatch.setattr(retrying, "WAITS", (0.0, 0.0, 0.0))
    files = files_of(pools / "pool")
    with serving(WebStore(files, signature=SIGNATURE)) as found:
        yield found


def test_a_run_that_was_cut_off_goes_on_and_holds_no_signature(
    pools: Path, here: Path, store: WebStore, tmp_path: Path
) -> None:
    pool = f"{store.url}/{SHARDS}?{SIGNATURE}"

    with pytest.raises(InterruptedTrainingError):
        run(pools, tmp_path / "there", pool=pool, listener=cut_off)
    fetched = sum(count for (method, name), count in store.requests.items() if (method, name[1:]) == ("GET", ".tar"))
    assert 0 < fetched <= 72  # no picture twice
    whole = store.files["0.tar"]
    store.files["0.tar"] = other_pictures(whole, pool)
    with pytest.raises(InputError, match=r"0.tar' is not what its index was made of"):
        run(pools, tmp_path / "there", pool=pool, resume=True)
    store.files["0.tar"] = whole
    store.failing = {"0.tar": [503, 500, 503], "1.tar": [429]}
    run(pools, tmp_path / "there", pool=pool, resume=True)
    check_same_run(tmp_path / "there", here)
    held = [name for name, content in files_of(tmp_path / "there").items() if b"5ec2e7" in content]
    assert not held
    assert f'pool = "{store.url}/{SHARDS}"' in (tmp_path / "there" / "config.toml").read_text()


def test_commands_take_urls_and_print_no_signature(pools: Path, store: WebStore) -> None:
    told = rsft(
        *("plan", "--pool", f"{store.url}/{SHARDS}?{SIGNATURE}", "--target", pools / "target" / "list.csv"),
        *("--aligned", "--json", "--no-swap", "--verbose", "--features", "covariates"),
    )
    assert json.loads(told.stdout)["pilot"]["items"] == 72
    absent = rsft("plan", "--pool", f"{store.url}/none.csv?{SIGNATURE}", "--target", pools, "--verbose", code=2)
    assert f"'{store.url}/none.csv' does not exist" in absent.stderr
    refused = rsft("embed", "--pool", f"{store.url}/0.tar?{SIGNATURE}0", "--out", os.devnull + "x", "--verbose", code=2)
    assert "its store refuses it (403)" in refused.stderr
    out = rsft("plan", "--pool", pools, "--target", pools, "--out", "s3://bucket/plan", code=2)
    assert "'s3://bucket/plan' does not lie on a disk" in out.stderr
    assert "5ec2e7" not in "".join(result.stdout + result.stderr for result in (told, absent, refused, out))
