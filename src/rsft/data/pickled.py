"""A reader for pickles of plain values that does not use the `pickle` module, so no pickle can run code.

The stream is walked opcode by opcode. The walker builds lists, tuples, bytes, text, booleans and numbers. NumPy and
Python 2 store arrays, scalars and bytes as calls of certain functions; the walker knows these functions by name and
calls replacements from this module. It rejects everything else.

Overriding `Unpickler.find_class` of the standard library would block foreign functions, but it alone does not stop
memory bombs: a stream of a few bytes can make the unpickler reserve gigabytes, for example by a large memo index. That
is why this walker exists.
"""

import pickletools
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from rsft.errors import InputError

MAX_VALUES = 10_000_000  # opcodes
MARK = object()  # placeholder on the stack where a list or tuple begins
DTYPE = re.compile(r"[?biuf][1248]?")  # booleans and numbers


class _Function:
    """A replacement for a function or class that a pickle names, as an entry of the stack."""

    def __init__(self, call: Callable[..., Any]) -> None:
        self.call = call


class _Dtype:
    """A NumPy type of booleans or numbers, created from its pickled name; its state sets the byte order."""

    def __init__(self, text: Any, *_: Any) -> None:
        if not isinstance(text, str) or not DTYPE.fullmatch(text):
            raise ValueError(f"arrays of '{text}' are not supported")
        self.dtype = np.dtype(text)

    def set_state(self, state: Any) -> None:
        """Set the byte order, the second entry of the state."""
        self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """An array that is created empty and filled by its state, as `ndarray.__reduce__` writes it."""

    def __init__(self, *_: Any) -> None:
        self.values: np.ndarray | None = None

    def set_state(self, state: Any) -> None:
        """Set the values from (version, shape, dtype, whether in Fortran order, bytes)."""
        _, shape, dtype, fortran, content = state
        self.values = _array(content, dtype, shape, "F" if fortran else "C")


def _array(content: bytes, dtype: _Dtype, shape: tuple[int, ...], order: Any = "C") -> np.ndarray:
    """Make an array from its bytes."""
    return np.frombuffer(content, dtype.dtype).reshape(shape, order=order)


def _scalar(dtype: _Dtype, content: bytes) -> Any:
    """Make a Python number from the bytes of a NumPy scalar."""
    return np.frombuffer(content, dtype.dtype)[0].item()


def _no_bytes() -> bytes:
    """Stand in for `bytes()` without arguments."""
    return b""


def _latin1(text: str, encoding: str) -> bytes:
    """Stand in for `_codecs.encode`, for Latin-1 only."""
    if encoding != "latin1":
        raise ValueError(f"text in '{encoding}' is not supported")
    return text.encode(encoding)


FUNCTIONS = {
    ("_codecs", "encode"): _Function(_latin1),  # how Python 3 writes bytes for Python 2
    ("__builtin__", "bytes"): _Function(_no_bytes),  # how Python 3 writes empty bytes for Python 2
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
# Opcodes that push their argument.
VALUES = {
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "UNICODE",
    "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8",
}  # fmt: skip
PYTHON2_BYTES = {"STRING", "BINSTRING", "SHORT_BINSTRING"}
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
PUSHES = VALUES | PYTHON2_BYTES | set(CONSTANTS) | {"BYTEARRAY8"}
TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
CONTAINERS = set(TUPLES) | {"MARK", "TUPLE", "LIST", "EMPTY_LIST", "APPEND", "APPENDS"}
MEMO_PUTS = {"PUT", "BINPUT", "LONG_BINPUT"}
MEMO_GETS = {"GET", "BINGET", "LONG_BINGET"}


def read_plain_pickle(content: bytes, where: str) -> Any:
    """Read a pickle of lists, tuples, bytes, text, booleans, numbers, None and NumPy arrays of booleans or numbers.

    Args:
        content: The pickle, of any protocol.
        where: Name of the source for error messages, such as a path.

    Returns:
        The value. NumPy scalars become Python numbers; a bytearray becomes bytes.

    Raises:
        InputError: The pickle holds anything else, is damaged, or has more opcodes than `MAX_VALUES` allows.

    >>> import pickle
    >>> read_plain_pickle(pickle.dumps(([b"a", b"b"], [True])), "it")
    ([b'a', b'b'], [True])
    """
    try:
        return _plain(_walk(content), {})
    except InputError:
        raise
    except Exception as error:
        # a hostile stream can cause any exception, and each must end as an InputError
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"'{where}' is not a pickle of plain values that can be read: {reason}.") from error


def _walk(content: bytes) -> Any:
    """Run the opcodes of a pickle on a stack, and return the one value that is left at its end."""
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    argument: Any
    made = 0  # bytes returned by calls
    for number, (opcode, argument, _) in enumerate(pickletools.genops(content)):
        name = opcode.name
        if number > MAX_VALUES:
            raise ValueError(f"it has more than {MAX_VALUES} values")
        if name in PUSHES:
            stack.append(_pushed(name, argument))
        elif name in CONTAINERS:
            _build_container(name, stack)
        elif name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif name in MEMO_PUTS:
            memo[argument] = stack[-1]
        elif name in MEMO_GETS:
            stack.append(memo[argument])
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            stack.append(_named_function(name, argument, stack))
        elif name == "REDUCE":
            made += _call(stack)
            # otherwise one long text could be turned into bytes again and again
            if made > len(content):
                raise ValueError("it repeats bytes until they are longer than itself")
        elif name == "BUILD":
            _set_state(stack)
        elif name == "STOP":
            (value,) = stack
            return value
        elif name not in ("PROTO", "FRAME"):
            raise ValueError(f"it uses {name}")
    raise ValueError("it has no end")


def _pushed(name: str, argument: Any) -> Any:
    """Return the value that an opcode of `PUSHES` pushes."""
    if name in VALUES:
        return argument
    if name in PYTHON2_BYTES:
        return argument.encode("latin1")
    return bytes(argument) if name == "BYTEARRAY8" else CONSTANTS[name]


def _build_container(name: str, stack: list[Any]) -> None:
    """Run an opcode of `CONTAINERS`, which begins, makes or extends a list or tuple."""
    if name in TUPLES:
        values = [stack.pop() for _ in range(TUPLES[name])]
        stack.append(tuple(reversed(values)))
    elif name == "MARK":
        stack.append(MARK)
    elif name == "TUPLE":
        stack.append(tuple(_to_mark(stack)))
    elif name == "LIST":
        stack.append(_to_mark(stack))
    elif name == "EMPTY_LIST":
        stack.append([])
    elif name == "APPEND":
        value = stack.pop()
        _list_on(stack).append(value)
    else:
        values = _to_mark(stack)
        _list_on(stack).extend(values)


def _named_function(name: str, argument: Any, stack: list[Any]) -> _Function:
    """Look up the function that GLOBAL names in its argument, or STACK_GLOBAL in two entries of the stack."""
    if name == "GLOBAL":
        return _function(*argument.split(" ", 1))
    attribute, module = stack.pop(), stack.pop()
    return _function(module, attribute)


def _call(stack: list[Any]) -> int:
    """Replace a function and its arguments by the result; return the size of the result if it is bytes, else 0."""
    arguments, function = stack.pop(), stack.pop()
    if not isinstance(function, _Function) or not isinstance(arguments, tuple):
        raise ValueError("it calls something that is no function")
    result = function.call(*arguments)
    stack.append(result)
    return len(result) if isinstance(result, bytes) else 0


def _set_state(stack: list[Any]) -> None:
    """Pop a state and apply it to the array or type below it."""
    state, built = stack.pop(), stack[-1]
    if not isinstance(built, _Array | _Dtype):
        raise ValueError("it sets the state of something that is no array")
    built.set_state(state)


def _to_mark(stack: list[Any]) -> list[Any]:
    """Pop the values down to the last mark and the mark itself; return the values in their order."""
    values: list[Any] = []
    while (value := stack.pop()) is not MARK:
        values.append(value)
    return values[::-1]


def _list_on(stack: list[Any]) -> list[Any]:
    """Return the list on top of the stack."""
    if not isinstance(stack[-1], list):
        raise ValueError("it appends to something that is no list")
    return stack[-1]


def _function(module: Any, name: Any) -> _Function:
    """Return the replacement of a function that a pickle names."""
    if (module, name) not in FUNCTIONS:
        raise ValueError(f"it names '{module}.{name}', which is refused")
    return FUNCTIONS[module, name]


def _plain(value: Any, done: dict[int, Any]) -> Any:
    """Replace each `_Array` in a value by its NumPy array.

    Args:
        value: A value that the walker built.
        done: id -> result of the lists and tuples converted so far. It makes sure that each is converted once, however
            often the stream repeats it; nested repeats would otherwise take exponential time.
    """
    if isinstance(value, _Array):
        return value.values
    if not isinstance(value, list | tuple):
        return value
    if id(value) not in done:
        done[id(value)] = type(value)(_plain(inner, done) for inner in value)
    return done[id(value)]
