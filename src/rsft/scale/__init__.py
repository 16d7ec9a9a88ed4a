"""Scoring on an engine that runs already, such as Ray or Spark, and drawing from what it wrote."""

from rsft.scale.accepted_list import write_accepted
from rsft.scale.columns import RowOutcome
from rsft.scale.engines import score_with_ray, score_with_spark
from rsft.scale.scorer import Scorer, fingerprint, scorer
from rsft.scale.summary import Summary, summarise
from rsft.scale.table import ScoredTable, read_scored

__all__ = [
    "RowOutcome",
    "ScoredTable",
    "Scorer",
    "Summary",
    "fingerprint",
    "read_scored",
    "score_with_ray",
    "score_with_spark",
    "scorer",
    "summarise",
    "write_accepted",
]
