import re
from pathlib import Path

from rsft.face.model import KNOWN

PAGE = (Path(__file__).parents[1] / "docs" / "models.md").read_text()


def test_the_examples_run() -> None:
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.S):
        exec(block, names)
    assert names["model"].embedding_size == 64  # type: ignore[attr-defined]


def test_the_table_of_models_is_the_one_in_the_code() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (\S+) \|", PAGE, re.M))
    assert rows == {name: known.licence for name, known in KNOWN.items()}
