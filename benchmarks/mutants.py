"""Mutation testing of one module: which small changes of its code do its tests not notice?

    pip install cosmic-ray
    python benchmarks/mutants.py --module src/rsft/face/evaluation/rule_of_30.py --tests tests/face/evaluation

Each mutant has one change by an operator of cosmic-ray, such as `<` -> `<=`; changes of annotations and of messages of
errors do not count. The tests run on each in turn, in a copy of the repository: the working tree is never changed. A
mutant that the tests pass has survived: either it does the same as the original, or a test is missing. One that runs
into the time limit (10 seconds plus five times the time of the original) counts as caught.
"""

import argparse
import ast
import difflib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def behaviour(code: str) -> str:
    """Return the syntax tree of some code without what the tests need not notice."""
    tree = ast.parse(code)
    for node in ast.walk(tree):
        for field in ("annotation", "returns", "exc", "cause"):
            if hasattr(node, field):
                setattr(node, field, None)
    return ast.dump(tree)


def make_mutants(code: str) -> list[dict[str, Any]]:
    """Return the mutants of some code: their operator, line, change (a diff) and code."""
    try:
        from cosmic_ray.mutating import mutate_code
        from cosmic_ray.plugins import get_operator, operator_names
    except ModuleNotFoundError as error:
        raise SystemExit(f"benchmarks/mutants.py needs {error.name}: pip install cosmic-ray") from error
    mutants, known = [], {behaviour(code)}
    for name in sorted(operator_names()):
        if get_operator(name).arguments():  # to be set by the user
            continue
        operator, number = get_operator(name)(), 0
        while (mutated := mutate_code(code, operator, number)) is not None:
            number += 1
            try:
                kept = behaviour(mutated)
            except SyntaxError:
                continue
            if kept not in known:
                known.add(kept)
                diff = list(difflib.unified_diff(code.splitlines(), mutated.splitlines(), lineterm="", n=0))[2:]
                line = int(diff[0].split()[1].lstrip("-").split(",")[0])
                mutants.append(
                    {"operator": name.split("/")[-1], "line": line, "change": "\n".join(diff[1:]), "code": mutated}
                )
    return mutants


def run_tests(copy: Path, tests: list[str], seconds: float | None = None) -> str:
    """Run the tests in a copy of the repository; return "survived", "caught" or "timeout"."""
    environment = {**os.environ, "PYTHONPATH": str(copy / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    with subprocess.Popen(
        command, cwd=copy, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as child:
        try:
            return "survived" if child.wait(seconds) == 0 else "caught"
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            return "timeout"


def examine(module: str, tests: list[str], sample: int, seed: int) -> dict[str, Any]:
    """Run the tests on a random sample of the mutants of a module, and tell which have survived."""
    code = (ROOT / module).read_text()
    mutants = make_mutants(code)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".*", "__pycache__"))
        began = time.perf_counter()
        if run_tests(copy, tests) != "survived":
            raise SystemExit(f"benchmarks/mutants.py needs tests that pass, but these fail: {' '.join(tests)}")
        limit = 10 + 5 * (time.perf_counter() - began)
        chosen = random.Random(seed).sample(mutants, min(sample, len(mutants)))
        for mutant in sorted(chosen, key=lambda mutant: mutant["line"]):
            (copy / module).write_text(mutant.pop("code"))
            mutant["state"] = run_tests(copy, tests, limit)
            if mutant["state"] == "survived":
                print(f"{module}:{mutant['line']} {mutant['operator']}\n{mutant['change']}", flush=True)
    survivors = [mutant for mutant in chosen if mutant["state"] == "survived"]
    return {
        "module": module,
        "tests": tests,
        "seed": seed,
        "made": len(mutants),
        "examined": len(chosen),
        "timeouts": sum(mutant["state"] == "timeout" for mutant in chosen),
        "share_caught": 1 - len(survivors) / max(len(chosen), 1),
        "survivors": survivors,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--module", required=True, help="path of the module in the repository")
    parser.add_argument("--tests", required=True, nargs="+", help="arguments of pytest, fast tests first")
    parser.add_argument("--sample", type=int, default=50, help="number of mutants")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="file to write the result to")
    args = parser.parse_args()
    found = examine(args.module, args.tests, args.sample, args.seed)
    print(f"{found['share_caught']:.1%} of {found['examined']} mutants caught, of {found['made']} made")
    if args.json:
        args.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
