"""The Python blocks of docs/scale.md, for one engine or for none."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from documents import blocks_of

PAGE = "docs/scale.md"
OF_ENGINE = {"ray": "import ray\n", "spark": "import SparkSession\n"}  # what only the block of an engine holds
READ = 'read_scored("scored-by-ray"'
ALONE = "scored-by-one.parquet"


def run_blocks(engine: str | None) -> dict[str, Any]:
    """Run the blocks in the working folder and return their names; one process writes the table `ALONE` as well.

    Args:
        engine: "ray" or "spark", whose block is run and whose table is read; None to read what one process wrote.
    """
    names: dict[str, Any] = {"__name__": "__main__"}
    for block in blocks_of(PAGE):
        of = next((name for name, sign in OF_ENGINE.items() if sign in block.code), engine)
        if block.kind == "python" and of == engine:
            if READ in block.code:
                pq.write_table(names["score"](names["rows"]), Path(ALONE))
            written = ALONE if engine is None else f"scored-by-{engine}"
            code = block.code.replace(READ, f'read_scored("{written}"')
            exec(compile(code, str(block), "exec"), names)
    return names
