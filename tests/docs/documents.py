"""The pages of the documentation and their blocks of code."""

import ast
import inspect
import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
OUTSIDE = [ROOT / name for name in ("README.md", "README.zh-CN.md", "CONTRIBUTING.md")]
PAGES = [path.relative_to(ROOT).as_posix() for path in (*OUTSIDE, *sorted((ROOT / "docs").rglob("*.md")))]
FENCE = re.compile(r"( *)```(.*)")
MARK = re.compile(r"<!-- not run: (.+) -->")


@dataclass(frozen=True)
class Block:
    """One block of code of a page.

    Attributes:
        page: Path of the page in the repository.
        line: Number of its first line.
        kind: The word after the fence, such as "python".
        code: What it holds.
        mark: Why it is not run, if the page says so.
    """

    page: str
    line: int
    kind: str
    code: str
    mark: str | None

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


@cache
def blocks_of(page: str) -> list[Block]:
    """Return the blocks of a page, in their order."""
    return list(read_blocks((ROOT / page).read_text(encoding="utf-8"), page))


def read_blocks(text: str, page: str) -> Iterator[Block]:
    """Yield the blocks of a text."""
    mark, opened, kind, code = None, None, "", list[str]()
    for number, line in enumerate(text.splitlines(), 1):
        fence = FENCE.fullmatch(line)
        if opened is None and fence:
            opened, kind, code = (number, len(fence[1])), fence[2], []
        elif opened is not None and fence and not fence[2]:
            yield Block(page, opened[0], kind, "\n".join(code) + "\n", mark)
            opened, mark = None, None
        elif opened is not None:
            code.append(line[opened[1] :])
        elif line.strip():
            found = MARK.fullmatch(line)
            mark = found[1] if found else None
    if opened is not None:
        raise ValueError(f"{page}:{opened[0]}: a block without an end")


def commands_of(code: str) -> list[list[str]]:
    """Return the words of each command of a console block; what does not begin with `$ ` is its output."""
    joined = code.replace("\\\n", " ")
    return [shlex.split(line[2:], comments=True) for line in joined.splitlines() if line.startswith("$ ")]


def check_command(words: list[str]) -> None:
    """Raise an error unless a command is one that a reader can type: rsft's are parsed as rsft parses them."""
    words = words[next((place for place, word in enumerate(words) if "=" not in word), 0) :]  # NAME=VALUE before it
    if "-m" in words[:-1] and words[words.index("-m") + 1] == "rsft":  # under a launcher
        words = words[words.index("-m") + 1 :]
    program, *rest = words
    if program == "rsft":
        parse_rsft(rest)
    elif program == "make":
        (target,) = rest
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.M), f"no target {target}"
    elif program in ("python", "pytest"):
        assert (ROOT / rest[0]).exists(), f"no file {rest[0]}"
    else:
        assert words[:2] == ["pip", "install"], f"what is {program}?"


def parse_rsft(words: list[str]) -> None:
    """Parse the words after `rsft` as the program does; raise an error for what it would refuse."""
    from typer.main import get_command

    from rsft.cli.main import app

    command: Any = get_command(app)
    name, left, context = "rsft", list(words), None
    while left or context is None:
        context = command.make_context(name, left, parent=context)
        if not hasattr(command, "commands"):
            return
        name, command, left = command.resolve_command(context, [*context._protected_args, *context.args])


def check_marked(block: Block) -> None:
    """Raise an error unless a Python block that is not run is right as far as can be told: names and arguments."""
    names: dict[str, Any] = {}
    tree = ast.parse(block.code)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("rsft"):
            module = import_module(str(node.module))
            names |= {alias.asname or alias.name: getattr(module, alias.name) for alias in node.names}
    called = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    for node in called:
        if node.func.id in names:  # type: ignore[attr-defined]
            given = {word.arg: None for word in node.keywords if word.arg}
            inspect.signature(names[node.func.id]).bind(*[None] * len(node.args), **given)  # type: ignore[attr-defined]
    assert any(node.func.id in names for node in called), f"{block} calls nothing of rsft"  # type: ignore[attr-defined]


def check_data(block: Block) -> None:
    """Raise an error unless a block of JSON or TOML can be read; a recipe must be one."""
    from rsft.face.adaptation.recipe import make_recipe

    if block.kind == "json":
        json.loads(block.code)
    else:
        make_recipe(tomllib.loads(block.code).get("recipe", {}), str(block))
