"""The public names of the package and where each is defined; read at run time by `lazy_loader`."""

from .adaface import AdaFaceLoss
from .advice import Action, Advice, advise
from .alike import Compared, choose_compared
from .candidates import Candidates, all_candidates, deal_people
from .gate import Gate, decide, within_bound
from .headroom import Headroom, find_headroom, with_headroom
from .heads import PrototypeHead, PrototypeLoss, class_means
from .held_out import Validation
from .label_noise import label_margin, trusted_labels
from .losses import CosFaceLoss, make_loss
from .planning import plan_faces, rank_face_plans
from .recipe import Recipe, make_recipe
from .selection import Selection, select
from .swap import ModelFigures, Swap, judge_models
from .training import classes_of, train_stages, whitened_stages
from .trial import FaceTrial, check_comparable
from .tune import Line, Tuned, check_identities, total_steps, tune
from .views import AcceptedViews, embed_activations, trial_of
from .whitening import (
    Whitening,
    between_people_covariance,
    fold_in,
    whitening_map,
    whitenings_of,
    within_person_covariance,
)

__all__ = [
    "AcceptedViews",
    "Action",
    "AdaFaceLoss",
    "Advice",
    "Candidates",
    "Compared",
    "CosFaceLoss",
    "FaceTrial",
    "Gate",
    "Headroom",
    "Line",
    "ModelFigures",
    "PrototypeHead",
    "PrototypeLoss",
    "Recipe",
    "Selection",
    "Swap",
    "Tuned",
    "Validation",
    "Whitening",
    "advise",
    "all_candidates",
    "between_people_covariance",
    "check_comparable",
    "check_identities",
    "choose_compared",
    "class_means",
    "classes_of",
    "deal_people",
    "decide",
    "embed_activations",
    "find_headroom",
    "fold_in",
    "judge_models",
    "label_margin",
    "make_loss",
    "make_recipe",
    "plan_faces",
    "rank_face_plans",
    "select",
    "total_steps",
    "train_stages",
    "trial_of",
    "trusted_labels",
    "tune",
    "whitened_stages",
    "whitening_map",
    "whitenings_of",
    "with_headroom",
    "within_bound",
    "within_person_covariance",
]
