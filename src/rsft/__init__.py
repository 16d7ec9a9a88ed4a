"""rsft: rejection sampling fine-tuning for PyTorch, face recognition first."""

from rsft.acceptance import acceptance_probability
from rsft.batches import IdentityBatches
from rsft.envelope import Envelope, choose_envelope
from rsft.minimum import MinimumPerIdentity
from rsft.online import OnlineRejection
from rsft.plan import Plan, Verdict, plan
from rsft.quantise import quantise
from rsft.ratio import fit_ratio
from rsft.ratio.attributes import attribute_ratio
from rsft.ratio.base import DensityRatio
from rsft.ratio.density import density_ratio
from rsft.sampler import RejectionSampler
from rsft.sharding import check_sharding, gather_updates
from rsft.stream import RejectionStream
from rsft.tuning.loop import TuningResult, fine_tune
from rsft.tuning.stopping import Stopping

__version__ = "0.1.0"

__all__ = [
    "DensityRatio",
    "Envelope",
    "IdentityBatches",
    "MinimumPerIdentity",
    "OnlineRejection",
    "Plan",
    "RejectionSampler",
    "RejectionStream",
    "Stopping",
    "TuningResult",
    "Verdict",
    "acceptance_probability",
    "attribute_ratio",
    "check_sharding",
    "choose_envelope",
    "density_ratio",
    "fine_tune",
    "fit_ratio",
    "gather_updates",
    "plan",
    "quantise",
]
