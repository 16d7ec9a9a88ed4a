"""What the long benchmarks share: where the faces are, what made a result, and what an interrupted run keeps."""

import argparse
import json
import os
import platform
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import rsft
from rsft.disk.whole import replace_file


def read_arguments(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The arguments, with where LFW and MUCT are and what to keep; one thread for each process."""
    data = Path(os.environ["RSFT_DATA"]) if "RSFT_DATA" in os.environ else None
    parser.add_argument("--lfw", type=Path, default=data and data / "lfw-folds1-6.tar")
    parser.add_argument("--muct", type=Path, default=data and data / "muct_32x24.tar")
    parser.add_argument("--work", type=Path, default=Path("evidence"))
    options = parser.parse_args()
    if options.lfw is None:
        parser.error("give --lfw, the folder or archive of LFW, or set RSFT_DATA")
    torch.set_num_threads(1)
    return options


def data_folder(parser: argparse.ArgumentParser) -> Path:
    """The folder with the archives of real faces, which `RSFT_DATA` names."""
    if "RSFT_DATA" not in os.environ:
        parser.error("set RSFT_DATA to the folder with the archives")
    return Path(os.environ["RSFT_DATA"])


def about(**settings: Any) -> dict[str, Any]:
    """What made a result: versions and settings, as in JSON."""
    commit = ""
    if shutil.which("git"):
        words = ["git", "rev-parse", "--short", "HEAD"]
        commit = subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip()
    versions = {"rsft": rsft.__version__, "commit": commit, "torch": torch.__version__}
    return {**versions, "python": platform.python_version(), **json.loads(json.dumps(settings))}


class Kept:
    """Results by key, kept in a file as they come; those of other settings are not used.

    Args:
        path: the file.
        settings: of all results, as JSON has them.

    Attributes:
        results: all there are, by key.
    """

    def __init__(self, path: Path, **settings: Any) -> None:
        self._path, self._settings = path, json.loads(json.dumps(settings))
        known = json.loads(path.read_text()) if path.exists() else {}
        self.results: dict[str, Any] = known["results"] if known.get("settings") == self._settings else {}

    def result(self, key: str, make: Callable[[], Any]) -> Any:
        """The result of a key, made if it is not there."""
        if key not in self.results:
            self.results[key] = make()
            self._path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(self._path, json.dumps({"settings": self._settings, "results": self.results}).encode())
            print(f"done: {key}", flush=True)
        return self.results[key]
