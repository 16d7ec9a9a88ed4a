"""Scorer: a plan as a small function from rows to scored rows, for any engine and any partition."""

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from numbers import Integral
from typing import Any, cast

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from rsft.errors import InputError
from rsft.law import Law
from rsft.plan import Plan
from rsft.sampling.acceptance import acceptance_probability
from rsft.scale.columns import ACCEPTANCE, ACCEPTED, EPOCHS, ID, LOG_RATIO, OUTCOME, PLAN, TYPES, RowOutcome, id_type
from rsft.scale.decisions import accepted_in

# (n rows) -> their features (n, D), or (features, usable) with a mask (n,) bool
Features = Callable[[pa.Table], Any]
BLOCK = 256
CALL = "scale.scorer(features=...)"
NONE = np.empty(0, np.int64)


@dataclass(frozen=True)
class Scorer:
    """A function from a table of rows to a table of scored rows, that can be pickled and does not know the other rows.

    What it says of a row follows from that row alone: not from its partition, its neighbours, the order, the engine or
    how often a row is scored. So a partition that is lost with its worker can be scored again.

    Attributes:
        features: Function from a `pyarrow.Table` of n rows to their (n, D) features, or to (features, usable), with
            usable (n,) bool; or a class whose objects are such functions, made once in each process, as for a model
            that is slow to load.
        law: The frozen rule of the plan.
        seed: Seed for the accept decisions.
        epochs: Number of epochs for which the accept decisions are written.
        items: Number N of items of the pool; None if it is not known.
        plan: Fingerprint of the plan, 16 hexadecimal digits.
        id: Column that says which item a row is: its number in the pool, or its name.
        keep: Further columns that are passed on as they are.
        known: (k,) ascending numbers of items whose log ratio the plan tells, and these (k,) log ratios.
    """

    features: Features | type
    law: Law
    seed: int
    epochs: int
    items: int | None
    plan: str
    id: str
    keep: tuple[str, ...]
    known: tuple[np.ndarray, np.ndarray]

    def __call__(self, rows: pa.Table) -> pa.Table:
        """Return the scored rows, in the order of the rows.

        Returns:
            Table of `id`, the columns of `keep`, `log_ratio` (log target - log pool, -inf for a row that cannot be
            used), `acceptance` in [0, 1], `accepted_epochs` (the ascending epochs in which it is accepted), `epochs`
            (the number of epochs decided), `outcome` (see `RowOutcome`) and `plan`.

        Raises:
            InputError: If a column is missing, an id is missing, or no number in [0, N), or the features have another
                shape than those of the plan.
        """
        if not rows.num_rows:
            return self.schema(rows.schema).empty_table()
        ids = self._ids(rows)
        log_ratio, outcome = self._scored(rows, ids)
        acceptance = acceptance_probability(log_ratio, self.law.log_m).numpy()
        decided = accepted_in(ids, acceptance, self.epochs, seed=self.seed)
        ends = np.concatenate([[0], decided.sum(1).cumsum()]).astype(np.int32)
        count = len(ids)
        values = {
            LOG_RATIO: log_ratio.numpy(),
            ACCEPTANCE: acceptance,
            ACCEPTED: pa.ListArray.from_arrays(ends, np.nonzero(decided)[1].astype(np.int32)),
            EPOCHS: np.full(count, self.epochs, np.int32),
            OUTCOME: outcome,
            PLAN: pa.repeat(self.plan, count),
        }
        kept = {name: rows[name] for name in self.keep}
        return pa.table({ID: ids, **kept, **values}, schema=self.schema(rows.schema))

    def batches(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Yield the scored rows of each batch, as Spark's `mapInArrow` asks for."""
        for batch in batches:
            yield from self(pa.Table.from_batches([batch])).to_batches()

    def schema(self, rows: pa.Schema) -> pa.Schema:
        """Return the schema of the scored rows, for rows of a schema.

        Raises:
            InputError: If a column is missing, or ids are neither integers nor texts.
        """
        if not rows.names:  # an empty partition of Ray has no columns
            return pa.schema({ID: pa.int64(), **TYPES})
        missing = [name for name in (self.id, *self.keep) if name not in rows.names]
        if missing:
            raise InputError(
                f"`scale.scorer(id=..., keep=...)`: the rows have no column '{missing[0]}', only "
                f"{', '.join(rows.names)}."
            )
        twice = next((name for name in (self.id, *self.keep) if rows.names.count(name) > 1), None)
        if twice is not None:
            raise InputError(f"`scale.scorer(id=..., keep=...)`: the rows have two columns '{twice}': rename one.")
        kind = id_type(rows.field(self.id).type, self.id, "`scale.scorer(id=...)`")
        return pa.schema({ID: kind, **{name: rows.field(name).type for name in self.keep}, **TYPES})

    def _ids(self, rows: pa.Table) -> pa.Array:
        """Return the ids: (n,) int64 or string."""
        kind = self.schema(rows.schema).field(ID).type
        try:
            ids = rows[self.id].combine_chunks().cast(kind)
        except pa.ArrowInvalid:  # an unsigned one
            raise InputError(f"`scale.scorer(id='{self.id}')`: a number of an item needs less than 2^63.") from None
        if ids.null_count:
            raise InputError(
                f"`scale.scorer(id='{self.id}')`: {ids.null_count} of {len(ids)} rows of a partition have no id: give "
                "each item its number or name."
            )
        if kind == pa.int64():
            numbers = ids.to_numpy()
            wrong = numbers[(numbers < 0) | (numbers >= (self.items or math.inf))]
            if len(wrong):
                pool = "a pool" if self.items is None else f"a pool of {self.items} items"
                raise InputError(f"`scale.scorer(id='{self.id}')`: {wrong[0]} is no item of {pool}, numbered from 0.")
        return ids

    def _scored(self, rows: pa.Table, ids: pa.Array) -> tuple[Tensor, np.ndarray]:
        """Return the log ratios (n,) float64 and the outcomes (n,) of rows."""
        found = _made(self.features)(rows) if isinstance(self.features, type) else self.features(rows)
        features, usable = found if isinstance(found, tuple) else (found, np.ones(len(ids), bool))
        features, usable = torch.as_tensor(features), np.asarray(usable, bool)
        if features.ndim != 2 or len(features) != len(ids) or usable.shape != (len(ids),):
            raise InputError(
                f"`{CALL}` needs a row of features for each of {len(ids)} rows, from id {ids[0]} on, got "
                f"{tuple(features.shape)} with a mask {usable.shape}."
            )
        finite = torch.isfinite(features).all(1).numpy()
        outcome = np.where(usable, np.where(finite, RowOutcome.SCORED, RowOutcome.NOT_FINITE), RowOutcome.UNUSABLE)
        outcome = outcome.astype(object)
        good = usable & finite
        log_ratio = torch.full((len(ids),), -math.inf, dtype=torch.float64)
        if good.any():
            try:
                log_ratio[good] = _in_blocks(self.law, features[good])
            except ValueError as error:  # of another width than those of the plan
                raise InputError(f"`{CALL}`, from id {ids[0]} on: {error}") from None
        items, values = self.known
        if len(items) and ids.type == pa.int64():
            place = np.minimum(np.searchsorted(items, ids.to_numpy()), len(items) - 1)
            told = items[place] == ids.to_numpy()
            log_ratio[told] = torch.from_numpy(values[place[told]])
            outcome[told] = np.where(np.isneginf(values[place[told]]), RowOutcome.UNUSABLE, RowOutcome.SCORED)
        return log_ratio, outcome


def scorer(
    plan: Plan,
    features: Features | type,
    *,
    id: str = ID,
    epochs: int = 10,
    keep: Sequence[str] = (),
    items: int | None = None,
) -> Scorer:
    """Return the scorer of a plan.

    Ids are the numbers of the items in the pool, 0 to N - 1, the same numbers by which the pilot was drawn, or names.
    Numbers are decided as `RejectionSampler` decides, names as `RejectionStream(key=...)` does. With numbers, an item
    of the pilot keeps the ratio of the models that had not seen it, as in `Plan.sampler`.

    Args:
        plan: A plan from features whose items are accepted singly.
        features: Function from a `pyarrow.Table` of n rows to their (n, D) features, of the kind that the plan was made
            on; or to (features, usable), where usable is (n,) bool and False for a row that cannot be used; or a class
            whose objects are such functions.
        id: Column of the rows that holds the ids. In the table it is called `id`.
        epochs: Number of epochs for which the accept decisions are written.
        keep: Further columns of the rows to write, such as the path of the picture.
        items: Number N of items of the pool. The default is that of the pilot; without a pilot None, not known.

    Raises:
        InputError: If the plan has no law, `epochs` is no positive whole number, or `keep` has a column twice or one of
            the table's own.
    """
    if plan.law is None:
        raise InputError("`scale.scorer(plan=...)` needs a plan from features whose items are accepted singly.")
    if not isinstance(epochs, Integral) or epochs < 1:
        raise InputError(f"`scale.scorer(epochs=...)` needs a whole number, 1 or more, got {epochs}.")
    taken = [name for name in keep if name in (ID, *TYPES)]
    if taken or len(set(keep)) < len(keep):
        raise InputError(
            f"`scale.scorer(keep=...)` needs different columns without {', '.join((ID, *TYPES))}, which the table has "
            f"itself, got {', '.join(keep)}."
        )
    known = NONE, np.empty(0, np.float64)
    if plan.pilot is not None:
        items = plan.pilot.items if items is None else items
        numbers = np.concatenate([plan.pilot.rows, plan.pilot.unusable])
        values = np.concatenate([plan.log_ratio.numpy(), np.full(len(plan.pilot.unusable), -math.inf)])
        order = np.argsort(numbers)
        known = numbers[order], values[order]
    law = replace(plan.law, ratio=plan.law.ratio.frozen())
    return Scorer(features, law, plan.seed, epochs, items, fingerprint(plan), id, tuple(keep), known)


def fingerprint(plan: Plan) -> str:
    """Return 16 hexadecimal digits that tell plans with a law apart: their settings and the ratios of their items."""
    law = plan.law
    assert law is not None
    digest = hashlib.blake2b(digest_size=8)
    digest.update(repr([plan.method, plan.seed, law.log_mean, law.retain_fraction, law.log_m]).encode())
    pilot = (NONE, NONE) if plan.pilot is None else (plan.pilot.rows, plan.pilot.unusable)
    for values in (plan.log_ratio.numpy(), law.ratio.target_log_ratio.numpy(), *pilot):
        digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()


def _in_blocks(law: Law, features: Tensor) -> Tensor:
    """Return log ratios (n,) float64, computed in blocks of one shape.

    The last digits of a matrix product depend on its number of rows. In blocks of one shape, they do not depend on how
    an engine cuts its partitions.
    """
    pieces = [features[start : start + BLOCK] for start in range(0, len(features), BLOCK)]
    missing = BLOCK - len(pieces[-1])
    pieces[-1] = torch.cat([pieces[-1], pieces[-1][:1].expand(missing, -1)])
    return torch.cat([law.log_ratio(piece) for piece in pieces])[: len(features)]


@cache
def _made(features: type) -> Features:
    """Return the object of a class, one in each process."""
    return cast(Features, features())
