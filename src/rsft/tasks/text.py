"""Texts as rows of features: hashed n-grams of words, made dense."""

from typing import Any

from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
from sklearn.pipeline import Pipeline, make_pipeline

WORDS = r"\w+|[^\w\s]+"  # words, and runs of other signs


def ngram_features(*, width: int = 64, longest: int = 2, buckets: int = 10_000, seed: int = 0) -> Pipeline:
    """Return a pipeline of scikit-learn from texts to rows for `rsft.plan`.

    The n-grams of each text, in lower case, are hashed into buckets and counted (`HashingVectorizer`, as S. M. Xie et
    al., "Data selection for language models via importance resampling", 2023, do). A bucket counts the less the more
    texts have it, a text has length 1 (`TfidfTransformer`), and the `width` main directions are kept (`TruncatedSVD`).
    Fitted, it can be pickled, so that `rsft.scale` can be given its `transform`.

    Args:
        width: Number of features of a text; fewer than there are texts and `buckets`.
        longest: Words of the longest n-grams, at least 1.
        buckets: Number of buckets.
        seed: Seed of the directions.

    Returns:
        A pipeline whose `fit(texts)` finds the directions and whose `transform(texts)` returns (N, width) float64.

    >>> texts = ["the cat sat", "the dog sat", "a law of large numbers", "numbers and a law"]
    >>> features = ngram_features(width=2).fit(texts)
    >>> features.transform(["the cat and the dog"]).shape
    (1, 2)
    """
    hashed: Any = HashingVectorizer(
        n_features=buckets, ngram_range=(1, longest), token_pattern=WORDS, alternate_sign=False, norm=None
    )
    damped = TfidfTransformer(sublinear_tf=True)
    return make_pipeline(hashed, damped, TruncatedSVD(width, random_state=seed))
