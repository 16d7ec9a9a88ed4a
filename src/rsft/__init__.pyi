"""The public names of rsft and where each is defined; read at run time by `lazy_loader`."""

from .baselines import Method, alternatives
from .compare import Comparison, compare
from .draw import draw
from .envelope import Envelope, choose_envelope, price_list
from .pareto import largest_ratio, pareto_k
from .pilot import Pilot
from .pilot_plan import plan_from_pilot
from .plan import Plan, plan, plan_from_ratio
from .promise import Promise
from .ranking import rank_plans
from .ratio import fit_ratio
from .ratio.attributes import attribute_ratio, raked_ratio
from .ratio.base import DensityRatio
from .ratio.combine import mixture_ratio, product_ratio, retain_pool
from .ratio.density import density_ratio
from .ratio.memberships import MembershipRatio, membership_ratio
from .ratio.tilt import band_tilt, exponential_tilt, percentile_tilt
from .sampling.acceptance import acceptance_probability
from .sampling.batches import IdentityBatches
from .sampling.identities import MinimumPerIdentity
from .sampling.lazy import LazyRejectionSampler
from .sampling.online import OnlineRejection
from .sampling.quantise import quantise
from .sampling.sampler import RejectionSampler
from .sampling.sharding import check_sharding, gather_updates
from .sampling.stream import RejectionStream
from .tuning.loop import TuningResult, fine_tune
from .tuning.stopping import Stopping
from .verdict import Outcome, Verdict

__version__: str

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
