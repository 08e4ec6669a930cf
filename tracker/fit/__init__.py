"""Fitting the head to landmarks: `fit_face` for one face over a video, `fit_photos` for independent pictures."""

from tracker.fit.config import FitConfig
from tracker.fit.face import FaceFit, fit_face, fit_photos

__all__ = ["FaceFit", "FitConfig", "fit_face", "fit_photos"]
