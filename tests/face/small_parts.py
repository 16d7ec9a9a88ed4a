"""`rsft` with parts of work so small that few pictures make several; a process can be killed in its first.

torchrun --nproc-per-node 2 small_parts.py KILLED ARGUMENTS    (KILLED: the number of a process, or -1)
"""

import os
import signal
import sys
from typing import Any

from rsft.cli.main import run
from rsft.face.pictures import embedding


def die(*arguments: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    embedding.PART_PICTURES = embedding.BATCH_SIZE
    killed = int(sys.argv.pop(1))
    if os.environ["RANK"] == str(killed):
        vars(embedding)["_save_whole"] = die
    run()
