"""Adaptation of a network to a target, from features and a plan; no pictures or run folders are read here."""

from rsft.face.adaptation.adaface import AdaFaceLoss
from rsft.face.adaptation.advice import Action, Advice, advise
from rsft.face.adaptation.alike import Compared, choose_compared
from rsft.face.adaptation.candidates import Candidates, all_candidates, deal_people
from rsft.face.adaptation.gate import Gate, decide, within_bound
from rsft.face.adaptation.headroom import Headroom, find_headroom, with_headroom
from rsft.face.adaptation.heads import PrototypeHead, PrototypeLoss, class_means
from rsft.face.adaptation.held_out import Validation
from rsft.face.adaptation.label_noise import label_margin, trusted_labels
from rsft.face.adaptation.losses import CosFaceLoss, make_loss
from rsft.face.adaptation.planning import plan_faces, rank_face_plans
from rsft.face.adaptation.recipe import Recipe, make_recipe
from rsft.face.adaptation.selection import Selection, select
from rsft.face.adaptation.swap import ModelFigures, Swap, judge_models
from rsft.face.adaptation.training import classes_of, train_stages, whitened_stages
from rsft.face.adaptation.trial import FaceTrial, check_comparable
from rsft.face.adaptation.tune import Line, Tuned, check_identities, total_steps, tune
from rsft.face.adaptation.views import AcceptedViews, embed_activations, trial_of
from rsft.face.adaptation.whitening import fold_in, whitening_map, within_person_covariance

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
    "advise",
    "all_candidates",
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
    "with_headroom",
    "within_bound",
    "within_person_covariance",
]
