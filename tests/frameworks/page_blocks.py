"""Runs one block of docs/trainers.md and notes which items its loaders read, in their order.

torchrun --nproc_per_node 2 page_blocks.py HEADING FOLDER
"""

import json
import os
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch.utils.data._utils.fetch import _MapDatasetFetcher

sys.path.append(str(Path(__file__).parents[1] / "docs"))

from documents import Block, blocks_of

PAGE = "docs/trainers.md"


def under(heading: str) -> list[Block]:
    """Return the blocks of a section of the page; "" for what all blocks share."""
    lines = (Path(__file__).parents[2] / PAGE).read_text(encoding="utf-8").splitlines()
    above = {b.line: next((t[3:] for t in lines[b.line :: -1] if t.startswith("## ")), "") for b in blocks_of(PAGE)}
    return [block for block in blocks_of(PAGE) if above[block.line] == heading]


def run(heading: str, given: dict[str, Any] | None = None, edit: tuple[str, str] = ("", "")) -> tuple[Any, list[int]]:
    """Return the names that a section defines, and the items that DataLoaders of this process read.

    Args:
        heading: That of the section.
        given: Names that the page leaves to its reader.
        edit: A part of the code, and what a reader writes there with several processes.
    """
    read: list[int] = []
    fetch = _MapDatasetFetcher.fetch

    def noting(self: _MapDatasetFetcher, indices: Any) -> Any:
        read.extend(indices if isinstance(indices, list) else [indices])
        return fetch(self, indices)

    torch.manual_seed(0)
    names: dict[str, Any] = {"__name__": "__main__", **(given or {})}
    with patch.object(_MapDatasetFetcher, "fetch", noting):
        for block in under("") + under(heading):
            exec(compile(block.code.replace(*edit) if edit[0] else block.code, str(block), "exec"), names)
    return names, read


def main() -> None:
    heading, folder, *edit = sys.argv[1:]
    _, read = run(heading, edit=(edit[0], edit[1]) if edit else ("", ""))
    Path(folder, f"{os.environ['RANK']}.json").write_text(json.dumps(read))


if __name__ == "__main__":
    main()
    os._exit(0)  # the shutdown of gloo's threads under load may end a process with SIGABRT
