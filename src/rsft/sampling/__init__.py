"""Who is drawn: accept decisions and orders that are pure functions of (seed, epoch, item)."""

from rsft.sampling.acceptance import Stream, accept, acceptance_probability, uniforms
from rsft.sampling.batches import IdentityBatches
from rsft.sampling.full_batches import FullBatches
from rsft.sampling.identities import (
    AcceptBy,
    FloorAcceptance,
    IdentityAcceptance,
    MinimumPerIdentity,
    identity_log_ratio,
    rank_within_group,
)
from rsft.sampling.online import OnlineRejection
from rsft.sampling.quantise import quantise
from rsft.sampling.sampler import RejectionSampler
from rsft.sampling.sharding import check_sharding, gather_updates
from rsft.sampling.stream import RejectionStream

__all__ = [
    "AcceptBy",
    "FloorAcceptance",
    "FullBatches",
    "IdentityAcceptance",
    "IdentityBatches",
    "MinimumPerIdentity",
    "OnlineRejection",
    "RejectionSampler",
    "RejectionStream",
    "Stream",
    "accept",
    "acceptance_probability",
    "check_sharding",
    "gather_updates",
    "identity_log_ratio",
    "quantise",
    "rank_within_group",
    "uniforms",
]
