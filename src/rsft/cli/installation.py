"""What this installation has: versions, devices, threads, models and extras, and how to get what is missing."""

import importlib.metadata
import os
import platform
import shutil
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

from rsft.errors import install_command
from rsft.threads import NUMBER, cores

PACKAGE = "rsft"
DATA_VARIABLE = "RSFT_DATA"  # where the benchmarks and some tests find real faces
SHOWN = ("torch", "numpy", "pyarrow", "scikit-learn", "opencv-python-headless", "onnxruntime", "timm")
DEVELOPMENT = ("dev", "bench")  # extras that no user needs


def examine() -> dict[str, Any]:
    """Return what this installation has. It holds no path and no value of the environment but numbers.

    Returns:
        A dictionary that can be written as JSON: "rsft" and "python", versions; "packages", name -> version or None;
        "devices", name and memory in GiB of each CUDA device; "cores", which this process may use; "threads", of
        PyTorch; "threads_chosen", whether the user has chosen their number; "free_gib" of disk in the working
        directory; "extras", name -> "missing" (requirements that are not met) and "install"; "data", whether
        `RSFT_DATA` names a folder, or None if it is not set.
    """
    import torch

    data = os.environ.get(DATA_VARIABLE)
    cuda = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    return {
        "rsft": importlib.metadata.version(PACKAGE),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in SHOWN},
        "devices": [{"name": device.name, "memory_gib": round(device.total_memory / 2**30, 1)} for device in cuda],
        "cores": cores(),
        "threads": torch.get_num_threads(),
        "threads_chosen": NUMBER in os.environ,
        "free_gib": round(shutil.disk_usage(Path.cwd()).free / 2**30, 1),
        "extras": extras(importlib.metadata.requires(PACKAGE) or [], importlib.metadata.metadata(PACKAGE)),
        "data": None if data is None else Path(data).is_dir(),
    }


def extras(requirements: list[str], metadata: Any) -> dict[str, dict[str, Any]]:
    """Return which requirements of each extra are not met, and how to install it.

    Args:
        requirements: The requirements of the package, as its metadata have them.
        metadata: The metadata, of which `Provides-Extra` is read.
    """
    found = {}
    for extra in metadata.get_all("Provides-Extra") or []:
        if extra in DEVELOPMENT:
            continue
        wanted = [Requirement(text) for text in requirements]
        of_extra = [each for each in wanted if each.marker and not each.marker.evaluate({"extra": ""})]
        missing = [
            f"{each.name}{each.specifier}"
            for each in of_extra
            if each.marker and each.marker.evaluate({"extra": extra}) and not _is_met(each)
        ]
        found[extra] = {"missing": missing, "install": install_command(extra)}
    return found


def _is_met(requirement: Requirement) -> bool:
    version = _version(requirement.name)
    return version is not None and requirement.specifier.contains(version, prereleases=True)


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
