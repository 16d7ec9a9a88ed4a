"""The `rsft` program with parts so small that few pictures make several. A process can be killed in its first part.

torchrun --nproc-per-node 2 small_parts.py KILLED ARGUMENTS    (KILLED: number of the process to kill, or -1 for none)
"""

import os
import signal
import sys
from typing import Any

from rsft.cli.main import run
from rsft.face.pictures import embedding


def die(*arguments: Any) -> None:
    """Kill this process in place of saving a part."""
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    embedding.PART_PICTURES = embedding.BATCH_SIZE
    killed = int(sys.argv.pop(1))
    if os.environ["RANK"] == str(killed):
        vars(embedding)["save_part"] = die
    run()
