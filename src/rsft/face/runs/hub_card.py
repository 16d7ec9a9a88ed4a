"""The model card that the Hugging Face hub shows: `README.md` with a header that the hub reads.

The header is YAML, written as a JSON value for each key, which YAML includes; no package of the hub is needed for it.
"""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

from rsft.data.reading import parsing, read_json, reading
from rsft.errors import InputError
from rsft.face.networks.bundle import UNKNOWN_LICENCE, FaceModel
from rsft.face.networks.names import HUB
from rsft.face.runs.model_card import CARD_FILE
from rsft.report.run import CONFIG_FILE, METRICS_FILE
from rsft.types import TUNED

README_FILE, HUB_CONFIG_FILE = "README.md", "config.json"
# The names of licences that the hub knows by themselves, of those that weights usually have.
LICENCES = {
    "afl-3.0", "agpl-3.0", "apache-2.0", "bsd-2-clause", "bsd-3-clause", "cc-by-4.0", "cc-by-nc-4.0", "cc-by-nc-nd-4.0",
    "cc-by-nc-sa-4.0", "cc-by-sa-4.0", "cc0-1.0", "gpl-3.0", "lgpl-3.0", "mit", "mpl-2.0", "unlicense",
}  # fmt: skip
NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+", re.ASCII)
LOADING = """
## How to load it
```python
from rsft.face.networks.load import load_model

model = load_model("hub:ORG/NAME")  # with your names; or the folder with these files
```

It takes aligned chips of {size} px; `rsft embed --model hub:ORG/NAME` finds and aligns the faces. Compare {comparison}.
"""


def hub_card(model: FaceModel, run: Path | None, base_model: str | None = None) -> str:
    """Return the content of `README.md`: names of nobody, and no path.

    Args:
        model: The model.
        run: Folder of the run that tuned it, whose card and figures are shown; None for a model that no run tuned.
        base_model: Name on the hub, ORG/NAME, of the model it was tuned from. By default that of the run, if it was
            fetched from the hub, and else none is stated.

    Raises:
        InputError: `base_model` is no such name, or a file of the run is damaged.
    """
    if base_model is not None and not NAME.fullmatch(base_model):
        raise InputError(f"'{base_model}' is no name of a model on the hub: give ORG/NAME.")
    metrics = None if run is None else read_json(run / METRICS_FILE, dict[str, Any], "the metrics of a run")
    header: dict[str, Any] = {
        **_licence(model.licence),
        "library_name": "rsft",
        "pipeline_tag": "image-feature-extraction",
        "tags": ["rsft", "face-recognition", "face-verification", "rejection-sampling"],
    }
    if base := base_model or _base(model, run):
        header |= {"base_model": base, "base_model_relation": "finetune"}
    results = []
    if run is not None and metrics is not None:
        with parsing(run / METRICS_FILE, "the metrics of a run", (AttributeError,)):
            results = _results(metrics)
    if results:
        header |= {"metrics": ["tar"], "model-index": [{"name": _plain(model.name), "results": results}]}
    lines = [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in header.items()]
    return "\n".join(["---", *lines, "---", _body(model, run)]) + LOADING.format(
        size=model.size, comparison="the cosine of the sums of the embeddings of a chip and of its mirror image"
    )


def hub_config(model: FaceModel) -> str:
    """Return the content of `config.json`, by which the hub counts downloads; `bundle.json` has the settings."""
    told = {"library_name": "rsft", "architectures": [model.name], "bundle": "bundle.json"}
    return json.dumps(told, indent=2)


def run_of(model: object) -> Path | None:
    """Return the folder of the run that a model was named by, or None if it was named otherwise."""
    path = Path(str(model))
    for folder in (path, path.parent if path.name == "model" else path):
        if (folder / METRICS_FILE).is_file() and (folder / CARD_FILE).is_file():
            return folder
    return None


def _body(model: FaceModel, run: Path | None) -> str:
    """Return the card of the run, without the name of its target, or what there is to say without one."""
    title = f"# {_plain(model.name)}"
    if run is None:
        return f"{title}\n\nWeights: {_plain(model.source)}. Licence: {_plain(model.licence)}.\n"
    with reading(run / CARD_FILE, "the card of a run"):
        own = (run / CARD_FILE).read_text(encoding="utf-8").splitlines()
    rest = own[1:] if own and own[0].startswith("# ") else own
    return "\n".join([f"{title}, tuned by rejection sampling", *rest]) + "\n"


def _licence(told: str) -> dict[str, str]:
    """Return the entries of the header on a licence."""
    if told.lower() in LICENCES or told == UNKNOWN_LICENCE:
        return {"license": told.lower()}
    return {"license": "other", "license_name": re.sub(r"[^a-z0-9.]+", "-", told.lower()).strip("-") or "unnamed"}


def _base(model: FaceModel, run: Path | None) -> str | None:
    """Return the name on the hub of the model that was tuned, if it is from there."""
    named = model.source
    if run is not None:
        with reading(run / CONFIG_FILE, "the config.toml of a run"):
            named = str(tomllib.loads((run / CONFIG_FILE).read_text(encoding="utf-8")).get("model", ""))
    found = NAME.match(named.removeprefix(HUB)) if named.startswith(HUB) else None
    return None if found is None else found[0]


def _results(metrics: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the figures of the tuned network on each set, in the form of the hub's model index."""
    results = []
    for key, figures in metrics[TUNED].items():
        told = [
            {"type": "tar", "value": tar["value"], "name": f"TAR at FMR {fmr}"}
            for fmr, tar in figures["tar_at_fmr"].items()
            if tar["value"] is not None
        ]
        told.append({"type": "eer", "value": figures["eer"], "name": "EER"})
        results.append(
            {
                "task": {"type": "face-verification", "name": "Face verification"},
                "dataset": {"type": "private", "name": f"{key} set, not published"},
                "metrics": told,
            }
        )
    return results


def _plain(text: str) -> str:
    """Return text in one line, without HTML and without what YAML cannot hold."""
    shown = "".join(sign if sign.isprintable() else " " for sign in text)
    return shown.replace("&", "&amp;").replace("<", "&lt;")
