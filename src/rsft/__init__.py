"""rsft: rejection sampling fine-tuning for PyTorch, face recognition first."""

from rsft.acceptance import acceptance_probability
from rsft.envelope import Envelope, choose_envelope
from rsft.online import OnlineRejection
from rsft.plan import Plan, Verdict, plan
from rsft.ratio import fit_ratio
from rsft.ratio.attributes import attribute_ratio
from rsft.ratio.base import DensityRatio
from rsft.ratio.density import density_ratio
from rsft.sampler import RejectionSampler
from rsft.tuning.loop import TuningResult, fine_tune
from rsft.tuning.stopping import Stopping

__version__ = "0.1.0"

__all__ = [
    "DensityRatio",
    "Envelope",
    "OnlineRejection",
    "Plan",
    "RejectionSampler",
    "Stopping",
    "TuningResult",
    "Verdict",
    "acceptance_probability",
    "attribute_ratio",
    "choose_envelope",
    "density_ratio",
    "fine_tune",
    "fit_ratio",
    "plan",
]
