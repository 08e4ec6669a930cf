"""Fitting the head to landmarks: `fit_face` for one face over a video, `fit_photos` for independent pictures."""

from tracker.fit.config import FitConfig
from tracker.fit.face import FaceFit, fit_face, fit_photos
from tracker.fit.network import NetworkEstimate
from tracker.fit.result import Appearance
from tracker.fit.spread import Spread, Work, in_turn, parts_of, side_by_side

__all__ = [
    "Appearance",
    "FaceFit",
    "FitConfig",
    "NetworkEstimate",
    "Spread",
    "Work",
    "fit_face",
    "fit_photos",
    "in_turn",
    "parts_of",
    "side_by_side",
]
