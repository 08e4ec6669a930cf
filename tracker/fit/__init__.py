"""Fitting the head to landmarks: `fit_face` for one face over a video, `fit_photos` for independent pictures."""

from tracker.fit.config import FitConfig
from tracker.fit.face import FaceFit, Spread, Work, fit_face, fit_photos
from tracker.fit.network import NetworkEstimate
from tracker.fit.result import Appearance

__all__ = ["Appearance", "FaceFit", "FitConfig", "NetworkEstimate", "Spread", "Work", "fit_face", "fit_photos"]
