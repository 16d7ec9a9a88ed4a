"""Verification and identification rates of embeddings, in the terms of ISO/IEC 19795, without any network."""

from rsft.face.evaluation.bootstrap import draw_identities, interval
from rsft.face.evaluation.det import DetCurve, det_curve
from rsft.face.evaluation.folds import FoldAccuracy, Folds
from rsft.face.evaluation.groups import Groups, by_group, group_of_each, pictures_with, rates_of_groups
from rsft.face.evaluation.identification import Enrolment, Identification, enrol, identify
from rsft.face.evaluation.pairs import AllPairs, PairList, list_all_pairs
from rsft.face.evaluation.protocol import Protocol, read_protocol, usable, without_overlap
from rsft.face.evaluation.scores import Scores
from rsft.face.evaluation.templates import Templates, read_templates
from rsft.face.evaluation.thresholds import Threshold, thresholds_for
from rsft.face.evaluation.trials import AnyTrial, EmbeddedTrial, Trial, cosine_scores, scored
from rsft.face.evaluation.verification import Verification, VerificationReport, verify

__all__ = [
    "AllPairs",
    "AnyTrial",
    "DetCurve",
    "EmbeddedTrial",
    "Enrolment",
    "FoldAccuracy",
    "Folds",
    "Groups",
    "Identification",
    "PairList",
    "Protocol",
    "Scores",
    "Templates",
    "Threshold",
    "Trial",
    "Verification",
    "VerificationReport",
    "by_group",
    "cosine_scores",
    "det_curve",
    "draw_identities",
    "enrol",
    "group_of_each",
    "identify",
    "interval",
    "list_all_pairs",
    "pictures_with",
    "rates_of_groups",
    "read_protocol",
    "read_templates",
    "scored",
    "thresholds_for",
    "usable",
    "verify",
    "without_overlap",
]
