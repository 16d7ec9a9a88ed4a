"""Shared by all tests."""

import sys
from pathlib import Path

from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent / "laws"))
# The machine's speed is not what is tested.
settings.register_profile("rsft", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("rsft")
