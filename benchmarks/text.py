"""Selection of text for a target domain, side by side with DSIR: the same hashed n-grams, budget, pool and target.

    RSFT_TEXT=texts python benchmarks/text.py

`passages.py` says where the texts are from. Needs `pip install data-selection==1.0.3 nltk`, whose own code selects.

The target is prose of Python's documentation (tutorials, how-tos, questions, what is new). Of its files a third are the
target's sample, a third lie in the pool among passages of six other kinds, and a third are held out. For each dealing:
the divergence of the held-out n-grams from the selected ones, the share of the selected that is of the target's kind,
and the loss of a language model of the selected passages (bigrams, interpolated Kneser-Ney) on the held-out ones. All
are trained on as many tokens: those of the selection that has the fewest.
Writes `benchmarks/results/text.json`.
"""

import argparse
import contextlib
import io
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import data_selection.hashed_ngram_dsir as dsir
import numpy as np
import scipy.sparse
import scipy.stats
import torch
from passages import TARGET, dealt, passages
from runs import about

import rsft
from rsft.tasks.text import ngram_features

RESULTS = Path(__file__).parent / "results" / "text.json"
MOST, OF_TARGET = 2000, (300, 600)  # passages: of each other kind; of the target's kind in the pool, and held out
SAMPLES = {"main": (600, 8), "larger sample": (1000, 4)}  # passages of the target's sample, and dealings
BUDGET, EPOCHS = 0.1, 4
BUCKETS, WIDTH = 10_000, 64
DISCOUNT, SMOOTHING = 0.75, 0.1
plain_counts = dsir.get_ngram_counts
Choose = Callable[[], np.ndarray]  # numbers of the selected passages of the pool


@dataclass(frozen=True)
class Dealing:
    """Passages dealt out: texts of the pool and of the target's sample, held-out texts, and whose kind each is."""

    pool: list[str]
    target: list[str]
    held_out: list[str]
    of_target: np.ndarray  # (N,) bool


def deal(found: dict[str, list[tuple[str, str]]], seed: int, sample: int) -> Dealing:
    """Deal out the files of the target's kind, and draw the passages of all kinds, `sample` of the target's."""
    generator = np.random.default_rng(seed)

    def some(texts: Sequence[str], most: int) -> list[str]:
        return [texts[row] for row in generator.permutation(len(texts))[:most]]

    files, texts = zip(*found[TARGET], strict=True)
    part = dealt(files, 3, seed)
    target, own, held_out = (
        some([text for text, of in zip(texts, part, strict=True) if of == number], most)
        for number, most in enumerate((sample, *OF_TARGET))
    )
    others = [text for kind, those in found.items() if kind != TARGET for text in some([t for _, t in those], MOST)]
    return Dealing([*others, *own], target, held_out, np.arange(len(others) + len(own)) >= len(others))


class Counts:
    """The hashed n-grams of each text, by DSIR's function, counted once."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def __call__(self, line: str, n: int = 2, num_buckets: int = BUCKETS, counts: Any = None, **_: Any) -> np.ndarray:
        """Take the place of DSIR's function, with its arguments."""
        if line not in self._known:
            told = plain_counts(line, n=n, num_buckets=num_buckets)
            self._known[line] = (np.flatnonzero(told), told[told > 0])
        rows, values = self._known[line]
        counts = np.zeros(num_buckets, int) if counts is None else counts
        counts[rows] += values
        return counts

    def matrix(self, texts: Sequence[str]) -> scipy.sparse.csr_matrix:
        """Return the counts of texts, (N, BUCKETS)."""
        for text in texts:
            self(text)
        told = [self._known[text] for text in texts]
        ends = np.cumsum([0, *(len(rows) for rows, _ in told)])
        rows, values = (np.concatenate([one[side] for one in told]) for side in (0, 1))
        return scipy.sparse.csr_matrix((values, rows, ends), (len(texts), BUCKETS))


class Dsir:
    """DSIR on a pool and a target: its importance weights, and its selections."""

    def __init__(self, dealing: Dealing, folder: Path) -> None:
        paths = {name: folder / f"{name}.jsonl" for name in ("pool", "target")}
        for name, path in paths.items():
            path.write_text("".join(json.dumps({"text": text}) + "\n" for text in vars(dealing)[name]))
        self._folder, self._place = folder, {text: row for row, text in enumerate(dealing.pool)}
        with contextlib.redirect_stderr(io.StringIO()):
            self._made = dsir.HashedNgramDSIR([str(paths["pool"])], [str(paths["target"])], str(folder), num_proc=1)
            self._made.fit_importance_estimator(num_tokens_to_fit="all")
            self._made.compute_importance_weights()
        self.log_weight = np.load(folder / "log_importance_weights" / "0.npy")

    def select(self, number: int, seed: int, *, top: bool = False) -> np.ndarray:
        """Return the passages that DSIR samples, or takes from the top."""
        np.random.seed(seed)  # noqa: NPY002  it draws from the global generator
        out = self._folder / f"{number}-{seed}-{top}"
        with contextlib.redirect_stderr(io.StringIO()):
            self._made.resample(str(out), number, str(out) + ".cache", top_k=top)
        lines = next(out.glob("*.jsonl")).read_text().splitlines()
        return np.array(sorted(self._place[json.loads(line)["text"]] for line in lines))


def gumbel_top(log_weight: np.ndarray, number: int, seed: int) -> np.ndarray:
    """Return a sample without replacement by importance weights, as DSIR draws it."""
    noise = np.random.default_rng(seed).gumbel(size=len(log_weight))
    return np.sort(np.argpartition(-(log_weight + noise), number)[:number])


def divergence(held_out: np.ndarray, selected: np.ndarray) -> float:
    """Return the Kullback-Leibler divergence of the n-grams of held-out texts from those of selected ones, in nats."""
    p, q = (counts + SMOOTHING for counts in (held_out, selected))
    p, q = p / p.sum(), q / q.sum()
    return float((p * np.log(p / q)).sum())


def loss(training: Sequence[np.ndarray], test: Sequence[np.ndarray], words: int) -> float:
    """Return the nats per word of test texts under an interpolated Kneser-Ney model of bigrams.

    Args:
        training: Texts, each (n,) int64 numbers of words.
        test: Others.
        words: Number of words there are.
    """
    pairs = [np.concatenate([text[:-1] * words + text[1:] for text in texts]) for texts in (training, test)]
    kinds, counts = np.unique(pairs[0], return_counts=True)
    after = np.bincount(kinds % words, minlength=words)  # after how many different words a word comes
    once = np.maximum(after - DISCOUNT, 0) + DISCOUNT * (after > 0).sum() / words
    lower = once / after.sum()
    total = np.bincount(kinds // words, weights=counts, minlength=words)
    followers = np.bincount(kinds // words, minlength=words)
    first, second = np.divmod(pairs[1], words)
    place = np.minimum(np.searchsorted(kinds, pairs[1]), len(kinds) - 1)
    seen = np.where(kinds[place] == pairs[1], counts[place] - DISCOUNT, 0.0)
    known = np.maximum(total[first], 1)
    share = np.where(total[first] > 0, DISCOUNT * followers[first] / known, 1.0)
    return float(-np.log(seen / known + share * lower[second]).mean())


def some_tokens(texts: Sequence[np.ndarray], most: int, seed: int) -> list[np.ndarray]:
    """Return texts in random order until there are `most` tokens."""
    order = np.random.default_rng(seed).permutation(len(texts))
    ends = np.cumsum([len(texts[row]) for row in order])
    return [texts[row] for row, end in zip(order, ends, strict=True) if end <= most]


def compare(dealing: Dealing, counts: Counts, seed: int) -> dict[str, Any]:
    """Select by each method from one dealing, as many passages each, and measure what was selected."""
    of_pool, of_target, of_held_out = (
        counts.matrix(texts) for texts in (dealing.pool, dealing.target, dealing.held_out)
    )
    began = time.process_time()
    features = ngram_features(width=WIDTH, seed=seed)[1:].fit(scipy.sparse.vstack([of_pool, of_target]))
    rows = [features.transform(of) for of in (of_pool, of_target)]
    plan = rsft.plan(*rows, envelope=f"rate={BUDGET}", seed=seed)
    seconds = time.process_time() - began
    chosen = np.sort(plan.accepted(0))
    number = len(chosen)
    with tempfile.TemporaryDirectory() as folder:
        theirs = Dsir(dealing, Path(folder))
        weights = torch.from_numpy(theirs.log_weight)
        with_weights = rsft.plan_from_ratio(weights, envelope=f"rate={BUDGET}", seed=seed)
        selected = {
            "uniform": np.sort(np.random.default_rng(seed).permutation(len(dealing.pool))[:number]),
            "rsft": chosen,
            "rsft's ratio, DSIR's draw": gumbel_top(plan.log_ratio.numpy(), number, seed),
            "DSIR's weights, rsft's draw": np.sort(with_weights.accepted(0)),
            "DSIR": theirs.select(number, seed),
            "DSIR, top": theirs.select(number, seed, top=True),
        }
        again = {
            "rsft": np.unique(np.concatenate([plan.accepted(epoch) for epoch in range(EPOCHS)])),
            "DSIR": np.unique(np.concatenate([theirs.select(number, seed + 1000 * e) for e in range(EPOCHS)])),
        }
    vocabulary: dict[str, int] = {}
    for text in (*dealing.pool, *dealing.target):
        for word in text.lower().split():
            vocabulary.setdefault(word, len(vocabulary) + 1)  # 0 is any other
    numbered = [np.array([vocabulary.get(word, 0) for word in text.lower().split()]) for text in dealing.pool]
    test = [np.array([vocabulary.get(word, 0) for word in text.lower().split()]) for text in dealing.held_out]
    held_out = np.asarray(of_held_out.sum(0)).ravel()
    fewest = min(sum(len(numbered[row]) for row in rows) for rows in selected.values())
    told = {
        name: {
            "selected": len(rows),
            "tokens": int(sum(len(numbered[row]) for row in rows)),
            "of_the_target": float(dealing.of_target[rows].mean()),
            "divergence": divergence(held_out, np.asarray(of_pool[rows].sum(0)).ravel()),
            "loss": loss(some_tokens([numbered[row] for row in rows], fewest, seed), test, len(vocabulary) + 1),
        }
        for name, rows in selected.items()
    }
    law = {
        name: {
            "log_m": one.envelope.log_m,
            "clipped_mass": one.envelope.clipped_mass,
            "certain": float((one.acceptance == 1).double().mean()),
        }
        for name, one in (("rsft", plan), ("DSIR's weights", with_weights))
    }
    return {
        "methods": told, "law": law, "auc_after": plan.diagnostics["arrival_auc"], "seconds_of_a_plan": seconds,
        "distinct_in_epochs": {name: len(rows) / number for name, rows in again.items()},
    }  # fmt: skip


def summary(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return means over dealings, and paired differences from rsft with 95 % intervals."""
    told: dict[str, Any] = {}
    for name in runs[0]["methods"]:
        told[name] = {}
        for figure in runs[0]["methods"][name]:
            values = [run["methods"][name][figure] for run in runs]
            differences = [run["methods"][name][figure] - run["methods"]["rsft"][figure] for run in runs]
            half = scipy.stats.t.ppf(0.975, len(runs) - 1) * statistics.stdev(differences) / len(runs) ** 0.5
            middle = statistics.mean(differences)
            told[name][figure] = {"mean": statistics.mean(values), "from_rsft": [middle, middle - half, middle + half]}
    return told


def main() -> None:
    """Compare on some dealings, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    if "RSFT_TEXT" not in os.environ:
        parser.error("set RSFT_TEXT to the folder with the unpacked packages; see passages.py")
    torch.set_num_threads(1)
    began, counts = time.monotonic(), Counts()
    dsir.get_ngram_counts = counts  # so that each text is counted once; all else of DSIR is its own
    found = passages(Path(os.environ["RSFT_TEXT"]))
    settings = {}
    for name, (sample, dealings) in SAMPLES.items():
        runs = []
        for seed in range(dealings):
            runs.append(compare(deal(found, seed, sample), counts, seed))
            print(name, seed, {name: [round(of["divergence"], 3), round(of["loss"], 3)]
                               for name, of in runs[-1]["methods"].items()}, flush=True)  # fmt: skip
        settings[name] = {"target": sample, "methods": summary(runs), "runs": runs}
    results = {
        "about": about(threads=1, data_selection="1.0.3", budget=BUDGET, buckets=BUCKETS),
        "passages": {kind: len(those) for kind, those in found.items()},
        "settings": settings,
        "seconds": round(time.monotonic() - began),
    }
    options.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
