"""One fuzzed input after another: what a parser did with each, and what it did besides."""

import os
import resource
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from mutations import mutate

from rsft.errors import RsftError

Tree = Mapping[str, bytes]  # path below a folder -> content
SECONDS = 3.0  # of processor time for an input, until it hangs
WAIT = 30.0  # seconds for one that waits, which is long where other processes keep the processors busy
ROOM = 2 << 30  # bytes of address space, beside what is in use
MEBIBYTES = 512  # of memory that one input may add to the peak
SPECIAL_FRACTION = 0.02  # of the inputs, in which a file becomes something else
# Events of Python's audit hooks (PEP 578) that no parser may cause at all.
FORBIDDEN = {
    *("socket.connect", "socket.getaddrinfo", "os.system", "subprocess.Popen", "os.exec", "os.posix_spawn", "os.fork"),
    *("os.spawn", "os.startfile", "ctypes.dlopen", "marshal.loads", "pickle.find_class", "urllib.Request"),
}
# Whose code may be compiled and run: literals by `ast.parse`, which runs nothing, and the graph of a network by
# torch.fx, in which each name from a file has become an identifier (see `_free_name` of the converter of ONNX), and the
# annotations of a module that is imported late.
COMPILERS = ("/ast.py", "/torch/fx/graph_module.py", "/typing.py")
OF_TORCH_FX = "<eval_with_key>"


@dataclass(frozen=True)
class Parser:
    """A parser under test.

    Attributes:
        name: Its name in the results.
        seeds: Valid inputs, each a tree of small files.
        read: Function that reads the input below a folder.
        mutated: Ends of the names of the files to mutate; all of them by default.
        slow: How many times fewer inputs it gets than the others, since each takes long.
    """

    name: str
    seeds: Sequence[Tree]
    read: Callable[[Path], object]
    mutated: tuple[str, ...] = ("",)
    slow: int = 1


class HangError(BaseException):
    """An input took longer than `SECONDS` or `WAIT`."""


class Watch:
    """An audit hook that notes what a parser should never do. A hook stays for the life of a process."""

    def __init__(self, root: Path) -> None:
        self.root, self.seen, self.active = str(root), list[str](), False
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.active:
            return
        if event in FORBIDDEN and not _is_import(event):
            self.seen.append(f"{event} {str(arguments)[:80]}")
        elif event == "exec":
            file = getattr(arguments[0], "co_filename", "?")
            if (not os.path.isfile(file) or file.startswith(self.root)) and not file.startswith(OF_TORCH_FX):
                self.seen.append(f"exec {file}")
        elif event == "compile":
            caller = sys._getframe(1).f_code.co_filename
            if not caller.endswith(COMPILERS) and not str(arguments[1]).startswith(sys.prefix):
                self.seen.append(f"compile {str(arguments[1])[:60]} by {caller[-40:]}")
        elif event == "open" and isinstance(arguments[0], str):
            writes = isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
            if writes and not os.path.abspath(arguments[0]).startswith(self.root):
                self.seen.append(f"writes {arguments[0]}")

    @contextmanager
    def watching(self) -> Iterator[list[str]]:
        """Yield the list that fills with what is seen."""
        self.seen, self.active = [], True
        try:
            yield self.seen
        finally:
            self.active = False


def plant(parser: Parser, rng: Random, folder: Path) -> None:
    """Write a mutated seed below a new folder."""
    seed = dict(rng.choice(parser.seeds))
    names = [name for name in seed if name.endswith(parser.mutated)]
    for name in {rng.choice(names) for _ in range(rng.choice((1, 1, 1, 2)))}:
        others = [content for other in parser.seeds for content in other.values()]
        seed[name] = mutate(name, seed[name], rng, others)
    for name, content in seed.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    if rng.random() < SPECIAL_FRACTION:
        replace_by_special(folder / rng.choice(names), rng)


def replace_by_special(path: Path, rng: Random) -> None:
    """Replace a file by a pipe, a folder, or a link to a device, to itself or to nothing."""
    path.unlink()
    kind = rng.randrange(5)
    if kind == 0:
        os.mkfifo(path)
    elif kind == 1:
        path.mkdir()
    else:
        path.symlink_to(("/dev/zero", path, path.with_name("nowhere"))[kind - 2])


def attempt(parser: Parser, rng: Random, folder: Path, watch: Watch) -> str:
    """Give a parser one mutated input; return "accepted", "refused", or what is wrong, beginning with "BAD"."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    plant(parser, rng, folder)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcome, started = "accepted", time.process_time()
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    signal.setitimer(signal.ITIMER_REAL, WAIT)
    try:
        with watch.watching() as seen:
            parser.read(folder)
    except RsftError as error:
        named = str(folder) in str(error) and "\n" not in str(error)
        outcome = "refused" if named else f"BAD message: {str(error)[:150]!r}"
    except HangError:
        outcome = "BAD hang"
    except Exception as error:  # a traceback at the user
        last = error.__traceback__
        while last is not None and last.tb_next is not None:
            last = last.tb_next
        where = "" if last is None else f"{'/'.join(last.tb_frame.f_code.co_filename.split('/')[-2:])}:{last.tb_lineno}"
        outcome = f"BAD {type(error).__name__} at {where}: {' '.join(str(error).split())[:120]}"
    finally:
        for timer in (signal.ITIMER_PROF, signal.ITIMER_REAL):
            signal.setitimer(timer, 0)
    if seen:
        return f"BAD does: {seen[0]}"
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak) / 1024
    if grown > MEBIBYTES:
        return f"BAD memory: {grown:.0f} MiB"
    if time.process_time() - started > SECONDS:
        return "BAD hang"
    return outcome


def _is_import(event: str) -> bool:
    """Return whether an event is the loading of a module's own byte code."""
    return event == "marshal.loads" and sys._getframe(2).f_code.co_filename == "<frozen importlib._bootstrap_external>"


@contextmanager
def limited() -> Iterator[None]:
    """Limit the address space of this process, and ring an alarm at an input that hangs."""
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    before = {bell: signal.signal(bell, _ring) for bell in (signal.SIGALRM, signal.SIGPROF)}
    resource.setrlimit(resource.RLIMIT_AS, (size + ROOM, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        for bell, handler in before.items():
            signal.signal(bell, handler)


def _ring(*_: object) -> None:
    raise HangError


def prepare(parser: Parser, folder: Path) -> None:
    """Read every seed once, which must be accepted, so that all modules are imported before anything is watched."""
    for number, seed in enumerate(parser.seeds):
        root = folder / f"seed-{number}"
        for name, content in seed.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(content)
        parser.read(root)
        shutil.rmtree(root)
