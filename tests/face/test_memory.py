"""The memory of a run, whose first part is a plan, hardly depends on the size of the pool."""

import os
import subprocess
import sys
from pathlib import Path

from drawn_people import draw_people

BYTES = 1_000  # of peak memory for each further picture, at most
SMALL, LARGE = 1_000, 41_000  # pictures
RUN = """
import resource, sys
sys.path[:0] = {path}
from drawn_people import tiny_model
from rsft.face.adaptation.recipe import Recipe
from rsft.face.fit import fit

root = {root!r}
recipe = Recipe(cut=-1, features="covariates", steps=4, batch_size=16, max_looks=300, siblings=1, judged=40)
given = dict(pool=root + "/pool", target=root + "/target", evaluation=root + "/evaluation", out=root + "/run")
fit(**given, model=tiny_model(), aligned=True, recipe=recipe)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def peak(root: Path, pictures: int) -> int:
    """Return the peak memory in bytes of a run on a pool with a number of pictures, all links to a few."""
    draw_people(root)
    people = sorted((root / "pool").iterdir())
    for number in range(pictures):
        person = people[number % len(people)]
        os.link(person / f"{number // len(people) % 6}.png", person / f"copy-{number:06d}.png")
    code = RUN.format(path=[str(Path(__file__).parent)], root=str(root))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stdout.splitlines()[-1])


def test_peak_memory_hardly_grows_with_the_pool(tmp_path: Path) -> None:
    small, large = (peak(tmp_path / str(pictures), pictures) for pictures in (SMALL, LARGE))
    assert large - small < BYTES * (LARGE - SMALL)
