"""A pickle of plain values, read without the `pickle` module: nothing in it can name code to be run.

The stream is walked opcode by opcode. Lists, tuples, bytes, text, booleans and numbers are built; of the functions that
a pickle may call, those by which numpy and Python 2 store arrays, scalars and bytes are known here by name and replaced
by functions of this module. Everything else is refused.
"""

import pickletools
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from rsft.errors import InputError

MAX_VALUES = 10_000_000
MARK = object()
DTYPE = re.compile(r"[?biuf][1248]?")  # booleans and numbers


class _Function:
    """What stands on the stack for a function or class that a pickle names."""

    def __init__(self, call: Callable[..., Any]) -> None:
        self.call = call


class _Dtype:
    """A numpy type of booleans or numbers, by the text it is pickled with; its byte order comes with the state."""

    def __init__(self, text: Any, *_: Any) -> None:
        if not isinstance(text, str) or not DTYPE.fullmatch(text):
            raise ValueError(f"arrays of '{text}' are not read")
        self.dtype = np.dtype(text)

    def set_state(self, state: Any) -> None:
        self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """An array that is filled by its state, as `ndarray.__reduce__` writes it."""

    def __init__(self, *_: Any) -> None:
        self.values: np.ndarray | None = None

    def set_state(self, state: Any) -> None:
        _, shape, dtype, fortran, content = state
        self.values = _array(content, dtype, shape, "F" if fortran else "C")


def _array(content: bytes, dtype: _Dtype, shape: tuple[int, ...], order: Any = "C") -> np.ndarray:
    return np.frombuffer(content, dtype.dtype).reshape(shape, order=order)


def _scalar(dtype: _Dtype, content: bytes) -> Any:
    return np.frombuffer(content, dtype.dtype)[0].item()


def _no_bytes() -> bytes:
    return b""


def _latin1(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise ValueError(f"text in '{encoding}' is not read")
    return text.encode(encoding)


FUNCTIONS = {
    ("_codecs", "encode"): _Function(_latin1),  # how Python 3 writes bytes for Python 2
    ("__builtin__", "bytes"): _Function(_no_bytes),  # likewise, where there are none
    ("numpy", "ndarray"): _Function(_Array),
    ("numpy", "dtype"): _Function(_Dtype),
    **{
        (f"numpy.{core}.{module}", name): _Function(call)
        for core in ("core", "_core")
        for module, name, call in (
            ("multiarray", "_reconstruct", _Array),
            ("multiarray", "scalar", _scalar),
            ("numeric", "_frombuffer", _array),
        )
    },
}
# Opcodes whose argument is the value itself.
VALUES = {
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "UNICODE",
    "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8",
}  # fmt: skip
PYTHON2_BYTES = {"STRING", "BINSTRING", "SHORT_BINSTRING"}
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def read_plain_pickle(content: bytes, where: str) -> Any:
    """The value of a pickle that holds lists, tuples, bytes, text, booleans, numbers and numpy arrays of these only.

    Args:
        content: the pickle, of any protocol.
        where: named in the error.

    Raises:
        InputError: it holds anything else, is damaged, or stacks more than `MAX_VALUES` values.

    >>> import pickle
    >>> read_plain_pickle(pickle.dumps(([b"a", b"b"], [True])), "it")
    ([b'a', b'b'], [True])
    """
    try:
        return _plain(_walk(content), {})
    except InputError:
        raise
    except Exception as error:
        # a hostile stream can be wrong in any way; none of them may be more than a refusal
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"'{where}' is not a pickle of plain values that can be read: {reason}.") from error


def _walk(content: bytes) -> Any:
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    argument: Any
    made = 0  # bytes
    for number, (opcode, argument, _) in enumerate(pickletools.genops(content)):
        name = opcode.name
        if number > MAX_VALUES:
            raise ValueError(f"it has more than {MAX_VALUES} values")
        if name in VALUES:
            stack.append(argument)
        elif name in PYTHON2_BYTES:
            stack.append(argument.encode("latin1"))
        elif name == "BYTEARRAY8":
            stack.append(bytes(argument))
        elif name in CONSTANTS:
            stack.append(CONSTANTS[name])
        elif name in TUPLES:
            size = TUPLES[name]
            values = [stack.pop() for _ in range(size)]
            stack.append(tuple(reversed(values)))
        elif name == "EMPTY_LIST":
            stack.append([])
        elif name == "MARK":
            stack.append(MARK)
        elif name == "TUPLE":
            stack.append(tuple(_to_mark(stack)))
        elif name == "LIST":
            stack.append(_to_mark(stack))
        elif name == "APPEND":
            value = stack.pop()
            _list_on(stack).append(value)
        elif name == "APPENDS":
            listed = _to_mark(stack)
            _list_on(stack).extend(listed)
        elif name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            memo[argument] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name == "GLOBAL":
            stack.append(_function(*argument.split(" ", 1)))
        elif name == "STACK_GLOBAL":
            attribute, module = stack.pop(), stack.pop()
            stack.append(_function(module, attribute))
        elif name == "REDUCE":
            arguments, function = stack.pop(), stack.pop()
            if not isinstance(function, _Function) or not isinstance(arguments, tuple):
                raise ValueError("it calls something that is no function")
            stack.append(function.call(*arguments))
            # one long text could be turned into bytes again and again
            made += len(stack[-1]) if isinstance(stack[-1], bytes) else 0
            if made > len(content):
                raise ValueError("it repeats bytes until they are longer than itself")
        elif name == "BUILD":
            state, built = stack.pop(), stack[-1]
            if not isinstance(built, _Array | _Dtype):
                raise ValueError("it sets the state of something that is no array")
            built.set_state(state)
        elif name == "STOP":
            (value,) = stack
            return value
        elif name not in ("PROTO", "FRAME"):
            raise ValueError(f"it uses {name}")
    raise ValueError("it has no end")


def _to_mark(stack: list[Any]) -> list[Any]:
    values: list[Any] = []
    while (value := stack.pop()) is not MARK:
        values.append(value)
    return values[::-1]


def _list_on(stack: list[Any]) -> list[Any]:
    if not isinstance(stack[-1], list):
        raise ValueError("it appends to something that is no list")
    return stack[-1]


def _function(module: Any, name: Any) -> _Function:
    if (module, name) not in FUNCTIONS:
        raise ValueError(f"it names '{module}.{name}', which is refused")
    return FUNCTIONS[module, name]


def _plain(value: Any, done: dict[int, Any]) -> Any:
    """The value with arrays in place of what stood for them.

    Args:
        value: of the stream.
        done: id -> result. Each list is gone through once, however often the stream repeats it: nested repeats would
            else take time without end.
    """
    if isinstance(value, _Array):
        return value.values
    if not isinstance(value, list | tuple):
        return value
    if id(value) not in done:
        done[id(value)] = type(value)(_plain(inner, done) for inner in value)
    return done[id(value)]
