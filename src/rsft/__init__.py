"""Rejection sampling fine-tuning for PyTorch, with face recognition as the first application."""

from rsft.threads import sleep_while_waiting

sleep_while_waiting()  # before anything imports PyTorch

from rsft.baselines import Method, alternatives
from rsft.compare import Comparison, compare
from rsft.draw import draw
from rsft.envelope import Envelope, choose_envelope, price_list
from rsft.pareto import largest_ratio, pareto_k
from rsft.pilot import Pilot
from rsft.pilot_plan import plan_from_pilot
from rsft.plan import Plan, plan, plan_from_ratio
from rsft.promise import Promise
from rsft.ranking import rank_plans
from rsft.ratio import fit_ratio
from rsft.ratio.attributes import attribute_ratio, raked_ratio
from rsft.ratio.base import DensityRatio
from rsft.ratio.combine import mixture_ratio, product_ratio, retain_pool
from rsft.ratio.density import density_ratio
from rsft.ratio.memberships import MembershipRatio, membership_ratio
from rsft.ratio.tilt import band_tilt, exponential_tilt, percentile_tilt
from rsft.sampling.acceptance import acceptance_probability
from rsft.sampling.batches import IdentityBatches
from rsft.sampling.identities import MinimumPerIdentity
from rsft.sampling.lazy import LazyRejectionSampler
from rsft.sampling.online import OnlineRejection
from rsft.sampling.quantise import quantise
from rsft.sampling.sampler import RejectionSampler
from rsft.sampling.sharding import check_sharding, gather_updates
from rsft.sampling.stream import RejectionStream
from rsft.tuning.loop import TuningResult, fine_tune
from rsft.tuning.stopping import Stopping
from rsft.verdict import Outcome, Verdict

__version__ = "0.1.0"

__all__ = [
    "Comparison",
    "DensityRatio",
    "Envelope",
    "IdentityBatches",
    "LazyRejectionSampler",
    "MembershipRatio",
    "Method",
    "MinimumPerIdentity",
    "OnlineRejection",
    "Outcome",
    "Pilot",
    "Plan",
    "Promise",
    "RejectionSampler",
    "RejectionStream",
    "Stopping",
    "TuningResult",
    "Verdict",
    "acceptance_probability",
    "alternatives",
    "attribute_ratio",
    "band_tilt",
    "check_sharding",
    "choose_envelope",
    "compare",
    "density_ratio",
    "draw",
    "exponential_tilt",
    "fine_tune",
    "fit_ratio",
    "gather_updates",
    "largest_ratio",
    "membership_ratio",
    "mixture_ratio",
    "pareto_k",
    "percentile_tilt",
    "plan",
    "plan_from_pilot",
    "plan_from_ratio",
    "price_list",
    "product_ratio",
    "quantise",
    "raked_ratio",
    "rank_plans",
    "retain_pool",
]
