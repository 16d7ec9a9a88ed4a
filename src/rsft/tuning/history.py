"""The history of a run on disk: one JSON object per line, written as it happens."""

import json
from pathlib import Path
from typing import Any


class History:
    """Callable that appends records to a new `.jsonl` file, which is complete after every record."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.write_text("")

    def __call__(self, record: dict[str, Any]) -> None:
        with open(self._path, "a") as file:
            file.write(json.dumps(record) + "\n")
