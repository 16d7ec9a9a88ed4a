"""Verification sets are read, and any other pickle is rejected without running it."""

import io
import os
import pickle
import struct
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from forms import picture, write_bin
from hypothesis import given
from hypothesis import strategies as st

from rsft.data.pickled import read_plain_pickle
from rsft.data.verification_set import read_verification_set
from rsft.errors import InputError

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.binary() | st.text(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.tuples(inner, inner, inner, inner),
)


@given(PLAIN, st.integers(0, 5))
def test_plain_values_equal_those_of_the_pickle_module(value: Any, protocol: int) -> None:
    assert read_plain_pickle(pickle.dumps(value, protocol=protocol), "it") == value


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("kind", ["u1", "?", "<i4", ">i8", "<f4", "f8"])
def test_numpy_arrays_and_scalars_are_read(protocol: int, kind: str) -> None:
    for array in (np.arange(6).reshape(2, 3).astype(kind), np.asfortranarray(np.arange(6).reshape(2, 3).astype(kind))):
        read, scalars = read_plain_pickle(pickle.dumps((array, list(array[1])), protocol=protocol), "it")
        np.testing.assert_array_equal(read, array)
        assert read.dtype == array.dtype
        assert scalars == array[1].tolist()


def test_bytes_written_by_python_2_are_read() -> None:
    stream = b"\x80\x02]q\x00(U\x03a\xffbq\x01T\x02\x00\x00\x00\xfe\x00q\x02e."
    assert read_plain_pickle(stream, "it") == [b"a\xffb", b"\xfe\x00"]


class Runs:
    """An object that calls a function when it is unpickled, which changes a path."""

    def __init__(self, path: Path, function: Any = os.system) -> None:
        self.path, self.function = path, function

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return self.function, (f"touch '{self.path}'" if self.function is os.system else str(self.path),)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("function", [os.system, os.mkdir, eval, open])
def test_code_is_rejected_and_not_run(protocol: int, function: Any, tmp_path: Path) -> None:
    hostile = Runs(tmp_path / "ran", function)
    content = pickle.dumps(([hostile], [True]), protocol=protocol)
    with pytest.raises(InputError, match=r"it names '.*', which is refused"):
        read_plain_pickle(content, "x.bin")
    assert not list(tmp_path.iterdir())


def test_the_pickle_module_does_run_the_hostile_pickle(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Runs(tmp_path / "ran", os.mkdir)))
    assert (tmp_path / "ran").exists()


def refused(stream: bytes) -> str:
    start = time.process_time()
    with pytest.raises(InputError) as caught:
        read_plain_pickle(stream, "x.bin")
    assert time.process_time() - start < 5
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_other_harmful_opcodes_and_names_are_rejected() -> None:
    codecs = b"c_codecs\nencode\n"
    assert "names 'os.system'" in refused(b"cos\nsystem\n(S'id'\ntR.")
    assert "names 'builtins.eval'" in refused(b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93\x8c\x011\x85R.")
    assert "names 'numpy.core.multiarray._codecs'" in refused(b"cnumpy.core.multiarray\n_codecs\n.")
    assert "names 'numpy.load'" in refused(b"cnumpy\nload\n.")
    assert "text in 'zlib'" in refused(codecs + b"(Vx\nVzlib\ntR.")
    assert "it uses INST" in refused(b"(S'id'\nios\nsystem\n.")
    assert "it uses OBJ" in refused(b"(cnumpy\ndtype\no.")
    assert "it uses NEWOBJ" in refused(b"\x80\x02cnumpy\nndarray\n)\x81.")
    assert "it uses BINPERSID" in refused(b"S'x'\nQ.")
    assert "it uses EXT1" in refused(b"\x80\x02\x82\x01.")
    assert "it uses EMPTY_DICT" in refused(b"}.")
    assert "calls something that is no function" in refused(b"S'x'\n)R.")
    assert "sets the state of something" in refused(codecs + b"(Vx\ntb.")
    assert "appends to something" in refused(codecs + b"Vx\na.")
    assert "arrays of 'O8'" in refused(b"cnumpy\ndtype\n(VO8\nI00\nI01\ntR.")
    assert "arrays of" in refused(b"cnumpy\ndtype\n(V" + b"u1," * 1000 + b"\ntR.")


def test_memory_and_time_bombs_are_harmless() -> None:
    doubling = b"\x80\x02)q\x00" + b"".join(b"h%c\x86q%c" % (n, n + 1) for n in range(60)) + b"."
    start = time.process_time()
    value = read_plain_pickle(doubling, "x.bin")  # 2^60 tuples if written out, but 60 in memory
    assert time.process_time() - start < 1
    assert value[0] is value[1]
    endless = b"\x80\x02]q\x00h\x00a."
    assert "recursion" in refused(endless)
    assert "x.bin" in refused(b"(" * 200_000 + b".")
    assert "recursion" in refused(b"]" * 200_000 + b"a" * 199_999 + b".")
    assert "remain" in refused(b"\x80\x04\x8e" + struct.pack("<Q", 1 << 40) + b"abc.")
    assert "more than 10000000 values" in refused(b"N" * 10_000_002)
    again = b"h\x00(h\x01Vlatin1\ntR"  # each 16 bytes make a million
    assert "longer than itself" in refused(
        b"c_codecs\nencode\nq\x00V" + b"x" * 1_000_000 + b"\nq\x01" + again * 5000 + b"."
    )
    # the C unpickler would reserve 64 GiB for this memo index
    assert read_plain_pickle(b"\x80\x02]r\xff\xff\xff\xff.", "x.bin") == []


@given(st.data())
def test_a_damaged_stream_never_raises_an_unexpected_error(data: st.DataObject) -> None:
    content = bytearray(
        pickle.dumps(([picture(0)[:40], np.arange(3)], np.array([True])), protocol=data.draw(st.integers(0, 5)))
    )
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    damaged = bytes(content[: data.draw(st.integers(0, len(content)))])
    with suppress(InputError):
        read_plain_pickle(damaged, "x.bin")  # any other error fails


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("same", [[True, False], (1, 0), np.array([True, False]), [np.bool_(True), np.bool_(False)]])
@pytest.mark.parametrize("as_arrays", [False, True])
def test_all_layouts_of_verification_sets_are_read(protocol: int, same: Any, as_arrays: bool, tmp_path: Path) -> None:
    pictures = [picture(number) for number in range(4)]
    stored = [np.frombuffer(content, np.uint8) for content in pictures] if as_arrays else pictures
    read, truth = read_verification_set(write_bin(tmp_path / "x.bin", stored, same, protocol))
    assert read == pictures
    assert truth.tolist() == [True, False]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([picture(0)], "a pair of pictures and issame, got a list"),
        (b"x", "got a bytes"),
        (([picture(0)], [True]), "two pictures a pair, got 1 for 1 pairs"),
        (([], []), "two pictures a pair"),
        ((3, [True]), "a list of pictures"),
        (([picture(0), "x"], [True]), "pictures as bytes of a file, got a str"),
        (([picture(0), np.zeros((4, 4, 3), np.uint8)], [True]), "got a ndarray"),
        (([picture(0), picture(1)], ["yes"]), "true or false, got a str"),
        (([picture(0), picture(1)], [0.5]), "true or false, got a float"),
    ],
)
def test_pickles_of_other_values_are_rejected(value: Any, words: str, tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(pickle.dumps(value))
    with pytest.raises(InputError, match=words):
        read_verification_set(tmp_path / "x.bin")


def test_repeated_arrays_larger_than_the_file_are_rejected(tmp_path: Path) -> None:
    """Each array is a view of the same long bytes of the stream and would be copied."""
    base = np.zeros(1_000_000, np.uint8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "rsft.data.verification_set.read_plain_pickle",
            lambda content, where: ([base[:] for _ in range(2000)], [True] * 1000),
        )
        (tmp_path / "x.bin").write_bytes(bytes(1000))
        with pytest.raises(InputError, match="larger than the file"):
            read_verification_set(tmp_path / "x.bin")


def test_the_reader_does_not_use_the_pickle_module(monkeypatch: pytest.MonkeyPatch) -> None:
    content = pickle.dumps(([b"a", b"b"], np.array([True])))

    def forbidden(*_: Any, **__: Any) -> None:
        raise AssertionError

    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, forbidden)
    with pytest.raises(AssertionError):
        pickle.load(io.BytesIO(content))
    assert read_plain_pickle(content, "x.bin")[0] == [b"a", b"b"]
