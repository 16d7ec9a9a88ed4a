"""Pools in buckets and on web servers are those on a disk; what fails is told in one line, without a secret."""

import logging
import os
import pickle
import re
import tarfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from forms import FORMS, PICTURES, add, as_shards, picture
from torch.utils.data import DataLoader, Dataset
from web_store import WebStore, serving

from rsft.data import retrying
from rsft.data.archives import expand
from rsft.data.convert import convert
from rsft.data.fetched import FETCHED, Fetched
from rsft.data.images import ImageSet, find_images
from rsft.data.matrix import read_matrix
from rsft.data.remote import RemotePath, is_url, to_path
from rsft.data.remote_errors import without_secrets
from rsft.data.shard_index import ENDING, index_path, index_shards
from rsft.data.stamps import is_same, stamp_of
from rsft.errors import DiskGoneError, InputError, UnreadableImageError

SIGNATURE = "X-Amz-Signature=5ec2e7&X-Amz-Credential=AKIA"
REMOTE_FORMS = [form for form in FORMS if not form.startswith("rec")]
KIND = {"tar": "members", "shards": "members", "one shard": "members"}


@pytest.fixture(autouse=True)
def _no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrying, "WAITS", (0.0, 0.0, 0.0))


@pytest.fixture
def store() -> Iterator[WebStore]:
    with serving(WebStore()) as found:
        yield found


@pytest.fixture
def memory() -> Iterator[Any]:
    system = fsspec.filesystem("memory")
    yield system
    system.store.clear()
    system.pseudo_dirs[:] = [""]


def sent_to(root: Path, put: Callable[[str, bytes], None]) -> None:
    """Put the files below a folder where they are to lie."""
    for path in root.rglob("*"):
        if path.is_file():
            put(str(path.relative_to(root)), path.read_bytes())


def contents(images: ImageSet) -> list[bytes]:
    return [images.read_bytes(row) for row in range(len(images))]


class Read(Dataset[bytes]):
    def __init__(self, images: ImageSet) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, row: int) -> bytes:
        return self.images.read_bytes(row)


def check_equal(there: ImageSet, here: ImageSet) -> None:
    assert there.ids == here.ids
    assert contents(there) == contents(here)
    assert there.attributes == here.attributes
    assert there.passed_over == here.passed_over


@pytest.mark.parametrize("form", REMOTE_FORMS)
def test_every_form_in_a_bucket_is_the_one_on_the_disk(form: str, tmp_path: Path, memory: Any) -> None:
    made = FORMS[form](tmp_path)
    sent_to(tmp_path, lambda name, content: memory.pipe_file(f"/pool/{name}", content))
    there = f"memory://pool/{made.relative_to(tmp_path)}"
    check_equal(find_images(there), find_images(made))
    check_equal(find_images(Path(there)), find_images(made))  # as a program takes it that knows paths only
    assert str(find_images(there).root) == there


@pytest.mark.parametrize("form", ["tar", "shards", "one shard", "csv", "parquet"])
def test_every_form_that_lists_its_files_is_read_from_a_web_server(form: str, tmp_path: Path, store: WebStore) -> None:
    made = FORMS[form](tmp_path)
    sent_to(tmp_path, store.files.__setitem__)
    check_equal(find_images(f"{store.url}/{made.relative_to(tmp_path)}"), find_images(made))


def shards_in(store: WebStore, folder: Path, count: int = 40, size: int = 6000) -> Path:
    """Make two indexed shards of pictures with labels and put them into a store; return their pattern on the disk."""
    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(2):
        with tarfile.open(folder / f"{number}.tar", "w") as archive:
            for row in range(count):
                add(archive, f"{number}{row:03d}.png", picture(row) + random.bytes(size))
                add(archive, f"{number}{row:03d}.json", f'{{"identity": "p{row % 7}", "light": "{row % 2}"}}'.encode())
    index_shards(expand(folder / "{0..1}.tar"))
    sent_to(folder, store.files.__setitem__)
    return folder / "{0..1}.tar"


def test_members_of_an_indexed_shard_that_are_rejected_are_never_fetched(tmp_path: Path, store: WebStore) -> None:
    here = find_images(shards_in(store, tmp_path / "shards"))
    there = find_images(f"{store.url}/{{0..1}}.tar", labelled=True)
    assert store.sent == sum(len(content) for name, content in store.files.items() if name.endswith(ENDING))
    assert there.ids == here.ids
    assert there.attributes == here.attributes
    accepted = np.flatnonzero(np.random.default_rng(1).random(len(there)) < 0.1).tolist()
    store.forget()
    assert [there.read_bytes(row) for row in accepted] == [here.read_bytes(row) for row in accepted]
    assert store.sent == sum(len(here.read_bytes(row)) for row in accepted)  # to the byte
    assert store.requests.total() == len(accepted)
    stamps = [stamp_of(there.sources[row]) for row in accepted]
    there = find_images(f"{store.url}/{{0..1}}.tar")
    store.forget()
    assert all(is_same(stamp, there.sources[row]) for stamp, row in zip(stamps, accepted, strict=True))
    assert store.requests == {("HEAD", "0.tar"): 1, ("HEAD", "1.tar"): 1}  # when a run goes on


def test_a_shard_without_an_index_is_fetched_once(
    tmp_path: Path, store: WebStore, caplog: pytest.LogCaptureFixture
) -> None:
    shards_in(store, tmp_path / "shards")
    store.files = {name: content for name, content in store.files.items() if not name.endswith(ENDING)}
    with caplog.at_level(logging.WARNING):
        assert len(find_images(f"{store.url}/{{0..1}}.tar")) == 80
    assert store.sent == sum(map(len, store.files.values()))
    assert "has no index" in caplog.text
    assert f"rsft data index '{store.url}/0.tar'" in caplog.text


def test_an_index_is_written_where_the_shard_lies(tmp_path: Path, memory: Any) -> None:
    made = as_shards(tmp_path)
    sent_to(tmp_path, lambda name, content: memory.pipe_file(f"/{name}", content))
    there = f"memory://{made.relative_to(tmp_path)}"
    before = find_images(there)
    written = index_shards(expand(to_path(there)))
    assert all(path.is_file() for path in written)
    check_equal(find_images(there), before)
    index_shards(expand(to_path(there)))  # its own is replaced
    memory.pipe_file("/shard-00.tar" + ENDING, b"notes of somebody")
    with pytest.raises(
        InputError, match=r"cannot read .*shard-00.tar.index.parquet' as the index .* It is not replaced"
    ):
        index_shards(expand(to_path(there)))
    assert memory.cat_file("/shard-00.tar" + ENDING) == b"notes of somebody"


def test_other_bytes_than_the_index_tells_are_never_pixels(tmp_path: Path, store: WebStore) -> None:
    shards_in(store, tmp_path / "shards")
    there = find_images(f"{store.url}/{{0..1}}.tar")
    whole = store.files["0.tar"]
    row = next(row for row in range(len(there)) if there.sources[row].path.name == "0.tar")  # type: ignore[union-attr]
    store.files["0.tar"] = whole.replace(there.read_bytes(row)[-50:], bytes(50))  # of the same size
    with pytest.raises(InputError, match=r"'http.*/0.tar' is not what its index was made of.*rsft data index"):
        there.read_bytes(row)
    store.files["0.tar"] = whole[: len(whole) // 2]
    last = max(row for row in range(len(there)) if there.sources[row].path.name == "0.tar")  # type: ignore[union-attr]
    with pytest.raises(InputError, match=r"is not what its index was made of: of the \d+ bytes from \d+ on, 0 came"):
        there.read_bytes(last)
    with pytest.raises(InputError, match=rf"0.tar' .*\({len(whole)} bytes then, {len(whole) // 2} now\)"):
        find_images(f"{store.url}/{{0..1}}.tar")


def test_an_index_made_of_another_version_is_refused(tmp_path: Path, store: WebStore) -> None:
    shards_in(store, tmp_path / "shards")
    path = to_path(f"{store.url}/0.tar")
    found = pyarrow.parquet.read_table(index_path(tmp_path / "shards" / "0.tar"))
    told = found.schema.metadata[b"rsft.archive"].replace(b'"version":""', b'"version":"of-before"')
    file = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(found.replace_schema_metadata({b"rsft.archive": told}), file)
    store.files["0.tar" + ENDING] = file.getvalue().to_pybytes()
    with pytest.raises(InputError, match=r"0.tar' is not what its index was made of \(its version is another\)"):
        find_images(path)


def test_a_damaged_index_is_refused(tmp_path: Path, store: WebStore) -> None:
    shards_in(store, tmp_path / "shards")
    store.files["0.tar" + ENDING] = store.files["0.tar" + ENDING][:-100]
    with pytest.raises(InputError, match=r"cannot read 'http.*0.tar.index.parquet' as the index of a .tar archive"):
        find_images(f"{store.url}/0.tar")


@pytest.mark.parametrize(
    ("column", "value", "told"),
    [("content", None, "lacks a label"), ("offset", (1 << 63) - 1, "a member does not lie in its archive")],
)
def test_an_index_that_lacks_labels_or_leads_out_is_refused(
    column: str, value: Any, told: str, tmp_path: Path, store: WebStore
) -> None:
    shards_in(store, tmp_path / "shards", count=2)
    index = tmp_path / "shards" / f"0.tar{ENDING}"
    table = pyarrow.parquet.read_table(index)
    place = table.schema.get_field_index(column)
    other = pyarrow.array([value] * len(table), table.schema.field(column).type)
    for changed, message in (
        (table.set_column(place, table.schema.field(column), other), told),
        (table.replace_schema_metadata(), "it does not tell what archive it is of"),
    ):
        pyarrow.parquet.write_table(changed, index)
        store.files[index.name] = index.read_bytes()
        with pytest.raises(InputError, match=message):
            find_images(f"{store.url}/{{0..1}}.tar")


def test_what_fails_for_a_moment_is_asked_for_again(tmp_path: Path, store: WebStore) -> None:
    made = FORMS["csv"](tmp_path)
    sent_to(tmp_path, store.files.__setitem__)
    name = str(made.relative_to(tmp_path))
    store.failing[name] = [503, 500, 503, 500]  # each way to ask for the size is tried
    there = find_images(f"{store.url}/{name}")
    path = there.sources[0].relative_to(to_path(store.url))  # type: ignore[union-attr]
    store.failing[str(path)] = [503, 429, 500]
    assert there.read_bytes(0) == contents(find_images(made))[0]
    store.failing[str(path)] = [503] * 4
    with pytest.raises(UnreadableImageError, match=r"its store is busy or fails \(503\), in each of 4 tries"):
        there.read_bytes(0)


def test_credentials_that_run_out_end_a_run(tmp_path: Path, store: WebStore) -> None:
    made = FORMS["csv"](tmp_path)
    sent_to(tmp_path, store.files.__setitem__)
    there = find_images(f"{store.url}/{made.relative_to(tmp_path)}")
    store.refused = True
    with pytest.raises(DiskGoneError, match=r"refuses it \(403\): see that the credentials are valid.*run again"):
        there.read_bytes(0)


def test_a_server_that_knows_no_ranges_is_refused(tmp_path: Path, store: WebStore) -> None:
    shards_in(store, tmp_path / "shards")
    store.whole = True
    with pytest.raises(InputError, match="sends whole files where a part is asked for"):
        find_images(f"{store.url}/0.tar").read_bytes(0)


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("{url}/none.csv", "'{url}/none.csv' does not exist"),
        ("{url}/none-{{0..1}}.tar", "the shard '{url}/none-0.tar' does not exist"),
        ("memory://none/pool.csv", "'memory://none/pool.csv' does not exist"),
        ("http://127.0.0.1:1/pool.csv", "'http://127.0.0.1:1/pool.csv' cannot be read: its store cannot be reached"),
        (
            "gs://bucket/pool.csv",
            "'gs://bucket/pool.csv' needs a library that is not installed: pip install '.[remote]'",
        ),
        ("dbfs://pool.csv", "'dbfs://pool.csv' "),
        ("s4://bucket/pool.csv", "'s4://' is no scheme that fsspec knows"),
    ],
)
def test_what_is_not_there_is_told_in_one_line(path: str, told: str, store: WebStore) -> None:
    with pytest.raises(InputError, match=re.escape(told.format(url=store.url))) as error:
        find_images(path.format(url=store.url))
    assert "\n" not in str(error.value)


def test_a_store_without_rights_is_told(store: WebStore) -> None:
    store.refused = True
    for name in ("pool.csv", "pool.tar", "{0..1}.tar"):
        with pytest.raises(InputError, match=r"cannot be read: its store refuses it \(403\): see that the credentials"):
            find_images(f"{store.url}/{name}")


def test_what_needs_a_disk_says_so(memory: Any, tmp_path: Path) -> None:
    memory.pipe_file("/train.rec", b"")
    memory.pipe_file("/x.npy", b"")
    for read in (find_images, read_matrix):
        with pytest.raises(InputError, match=r"does not lie on a disk.*give a path on a disk"):
            read("memory://train.rec" if read is find_images else "memory://x.npy")


def test_signatures_and_passwords_are_never_shown(tmp_path: Path, store: WebStore) -> None:
    shards_in(store, tmp_path / "shards")
    store.signature = SIGNATURE
    there = find_images(f"{store.url}/{{0..1}}.tar?{SIGNATURE}")
    assert len(contents(there)) == 80  # the same signature serves each shard and its index
    assert "X-Amz" not in f"{there} {there.root!r} {there.sources[0]!r} {there.fingerprint()}"
    again = pickle.loads(pickle.dumps(there.sources[0]))
    assert again == there.sources[0]
    told = []
    for path in (f"{store.url}/none.csv?{SIGNATURE}", f"{store.url}/0.tar?{SIGNATURE}0"):
        with pytest.raises(InputError) as error:
            find_images(path)
        told += [str(error.value), *map(str, _causes(error.value))]
    shown = to_path("sftp://ann:pw%21@host/pool.csv")
    assert (shown.parent / "a.png")._url() == "sftp://ann:pw%21@host/a.png"  # type: ignore[attr-defined]
    told += [str(shown), repr(shown / "a.png"), without_secrets(f"GET {store.url}/0.tar?{SIGNATURE}, token=5ec2e7 x")]
    assert not re.search("5ec2e7|AKIA|pw%21", " ".join(told))


def test_a_token_is_no_part_of_a_path_either() -> None:
    for url in ("https://5ec2e7@host/pool.csv", "https://ann:p@5ec2e7@host/pool.csv"):
        assert str(to_path(url)) == "https://host/pool.csv"
    assert str(to_path("abfs://container@account/pool.csv")) == "abfs://container@account/pool.csv"
    for url in (f"simplecache::https://host/p.csv?{SIGNATURE}", "zip://a.csv::s3://AKIA:5ec2e7@bucket/a.zip"):
        with pytest.raises(InputError, match="is a chain of URLs") as error:
            to_path(Path(url))
        assert "5ec2e7" not in str(error.value)


def test_a_newer_signature_replaces_an_older_one_and_two_files_are_never_one(store: WebStore, tmp_path: Path) -> None:
    shards_in(store, tmp_path / "shards", count=2)
    for signature in ("sv=1&sig=a", "sv=1&sig=b"):
        store.signature = signature
        assert len(contents(find_images(f"{store.url}/{{0..1}}.tar?{signature}"))) == 4
    to_path(f"{store.url}/list.csv?set=pool")
    with pytest.raises(InputError, match="was given with two queries"):
        to_path(f"{store.url}/list.csv?set=target")


def test_a_manifest_of_urls_is_refused_without_what_signs_them(tmp_path: Path) -> None:
    (tmp_path / "pool.csv").write_text(f"path\nhttps://host/a.png?{SIGNATURE}\n")
    with pytest.raises(InputError, match=r"pool\.csv' line 2 names a URL: paths are relative") as error:
        find_images(tmp_path / "pool.csv")
    assert "X-Amz" not in str(error.value)


def test_a_name_with_a_sign_that_ends_a_url_is_that_of_its_own_picture(store: WebStore) -> None:
    store.files |= {"a": picture(0), "a#1.png": picture(1), "pool.csv": b"path\na#1.png\n"}
    assert contents(find_images(f"{store.url}/pool.csv")) == [picture(1)]


def _causes(error: BaseException | None) -> list[BaseException]:
    """Return the errors that a traceback would show."""
    if error is None:
        return []
    return [error, *_causes(error.__cause__ or (None if error.__suppress_context__ else error.__context__))]


def test_only_urls_are_remote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for path in ("faces", "/faces", "pool.safetensors:embedding", "hub:ann/net", "C:/faces", "a:/b"):
        assert not is_url(path)
        assert to_path(path) == Path(path)
    assert to_path("file:///faces/pool.csv") == to_path("file:/faces/pool.csv") == Path("/faces/pool.csv")
    assert is_url("s3:/bucket/pool.csv")
    (tmp_path / "s3:").mkdir()
    assert not is_url("s3:/bucket/pool.csv")  # there is a folder of that name
    assert is_url("s3://bucket/pool.csv")
    found = to_path("S3://bucket/a b/é?.csv")
    assert isinstance(found, RemotePath)
    assert (str(found), found.name, found.suffix, str(found.parent)) == (
        "s3://bucket/a b/é?.csv",
        "é?.csv",
        ".csv",
        "s3://bucket/a b",
    )
    with pytest.raises(InputError, match="does not lie on a disk"):
        os.fspath(found)


def test_workers_of_a_loader_read_after_a_fork(tmp_path: Path, store: WebStore) -> None:
    shards_in(store, tmp_path / "shards")
    there = find_images(f"{store.url}/{{0..1}}.tar")
    expected = contents(there)  # with threads and connections that the workers do not have
    loader = DataLoader(Read(there), batch_size=None, num_workers=2)
    assert list(loader) == expected


def test_what_is_no_archive_gets_no_index(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w:gz") as archive:
        add(archive, "a.png", picture(0))
    for path in (tmp_path / "a.tar", tmp_path, tmp_path / "none.tar"):
        with pytest.raises(InputError, match=re.escape(f"'{path}'")):
            index_shards([path])
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar"]
    with pytest.raises(InputError, match=r"'\.' is no \.tar archive"):
        index_shards([Path()])


def test_a_picture_is_fetched_once_for_its_stamp_and_its_pixels(tmp_path: Path, store: WebStore) -> None:
    made = FORMS["csv"](tmp_path)
    sent_to(tmp_path, store.files.__setitem__)
    there = find_images(f"{store.url}/{made.relative_to(tmp_path)}")
    store.forget()
    with FETCHED.keeping():
        stamp = stamp_of(there.sources[0])
        there.read_bytes(0)
    assert sum(number for (method, _), number in store.requests.items() if method == "GET") == 1
    assert is_same(stamp, there.sources[0])
    name = str(there.sources[0].relative_to(to_path(store.url)))  # type: ignore[union-attr]
    store.files[name] = picture(9)
    assert not is_same(stamp, there.sources[0])


def test_what_was_used_longest_ago_makes_room() -> None:
    kept = Fetched(10)
    with kept.keeping():
        for name in "abc":
            kept.add(name, name.encode() * 4)
            assert kept.get("a" if name < "c" else "b") is not None or name == "c"
        assert (kept.get("a"), kept.get("b"), kept.get("c")) == (b"aaaa", None, b"cccc")
        kept.add("d", bytes(11))
        assert not any(map(kept.get, "abcd"))
        kept.add("a", b"a")
    assert kept.get("a") is None  # outside of a block, a reader asks for what is there now


def test_threads_read_at_the_same_time(tmp_path: Path, store: WebStore) -> None:
    shards_in(store, tmp_path / "shards")
    there = find_images(f"{store.url}/{{0..1}}.tar")
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(there.read_bytes, range(len(there)))) == contents(there)


def test_a_pool_in_a_bucket_is_converted(tmp_path: Path, memory: Any) -> None:
    made = FORMS["folder"](tmp_path / "here")
    sent_to(tmp_path / "here", lambda name, content: memory.pipe_file(f"/{name}", content))
    convert(f"memory://{made.relative_to(tmp_path / 'here')}", tmp_path / "out" / "pool.csv")
    assert contents(find_images(tmp_path / "out" / "pool.csv")) == contents(find_images(made))
    assert sorted(contents(find_images(made))) == sorted(PICTURES.values())
    with pytest.raises(InputError, match="does not lie on a disk"):
        convert(made, to_path("memory://out.tar"))


def test_features_in_a_bucket_are_rows(memory: Any) -> None:
    file = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(pyarrow.table({"a": [1.0, 2.0], "b": [3.0, 4.0]}), file)
    memory.pipe_file("/rows.parquet", file.getvalue().to_pybytes())
    assert np.asarray(read_matrix("memory://rows.parquet").rows).tolist() == [[1.0, 3.0], [2.0, 4.0]]
