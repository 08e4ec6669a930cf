"""What a landmark fit returns: one row per frame, ready for the track."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.spatial.transform import Rotation, Slerp


@dataclass(frozen=True)
class Appearance:
    """How a face looks, as a network sees it; rows as those of the fit.

    Attributes:
        albedo, detail: the same on all rows of a video.
        light: spherical harmonics by colour, camera axes.
    """

    albedo: Float[np.ndarray, "T A"]
    light: Float[np.ndarray, "T 9 3"]
    detail: Float[np.ndarray, "T D"]


@dataclass(frozen=True)
class FaceFit:
    """The fitted head, one row per frame (or photograph), in the units of `params.npz`.

    Attributes:
        shape: identity, standard deviations; the same on all rows of a video.
        expression: [0, 1] for openhead, standard deviations for FLAME.
        pose, neck, jaw: axis-angle, radians; the neck is zero.
        eyes: left, right eyeball, axis-angle, radians.
        camera: s (px/m), tx, ty (px) of the full frame.
        error_px: mean distance between the head's and the detector's inner points, px; NaN where not seen.
        error: the same over the distance of the outer eye corners on the head.
        confidence: [0, 1], the detector's, lowered where the head does not reach the points; 0 where not seen.
        seen: false where the row was interpolated.
        appearance: None without a network, or where it was not believed.
        believed: share of the frames in which the network was; NaN without one.
    """

    shape: Float[np.ndarray, "T S"]
    expression: Float[np.ndarray, "T E"]
    pose: Float[np.ndarray, "T 3"]
    neck: Float[np.ndarray, "T 3"]
    jaw: Float[np.ndarray, "T 3"]
    eyes: Float[np.ndarray, "T 6"]
    camera: Float[np.ndarray, "T 3"]
    error_px: Float[np.ndarray, "T"]
    error: Float[np.ndarray, "T"]
    confidence: Float[np.ndarray, "T"]
    seen: Bool[np.ndarray, "T"]
    appearance: Appearance | None = None
    believed: float = float("nan")


_COLUMNS = tuple(field.name for field in fields(FaceFit) if field.name not in ("appearance", "believed"))


def joined(parts: list[FaceFit]) -> FaceFit:
    """The rows of all parts in order, without appearance."""
    return replace(parts[0], **{name: np.concatenate([getattr(part, name) for part in parts]) for name in _COLUMNS})


def row_of(fit: FaceFit, row: int) -> FaceFit:
    """One row alone, without appearance."""
    columns = {name: getattr(fit, name)[row : row + 1] for name in _COLUMNS}
    return replace(fit, **columns, appearance=None)


def spread_linearly(x: Float[np.ndarray, "R C"], rows: Int[np.ndarray, "R"], total: int) -> Float[np.ndarray, "T C"]:
    """Values of some rows over all rows: linear between them, held at the ends."""
    every = np.arange(total)
    return np.stack([np.interp(every, rows, column) for column in x.T], 1).astype(np.float32)


def fill_gaps(fit: FaceFit, rows: Int[np.ndarray, "R"], total: int) -> FaceFit:
    """Spread the fitted rows over all frames: linear between seen frames, slerp for the pose, held at the ends."""
    if len(rows) == total:
        return fit
    every = np.arange(total)
    nearest = np.clip(every, rows[0], rows[-1])

    def linear(x: np.ndarray) -> np.ndarray:
        return spread_linearly(x, rows, total)

    pose = fit.pose[np.zeros(total, int)]
    if len(rows) > 1:
        pose = Slerp(rows, Rotation.from_rotvec(fit.pose))(nearest).as_rotvec().astype(np.float32)

    def spread(x: np.ndarray, value: float) -> np.ndarray:
        out = np.full(total, value, np.float32)
        out[rows] = x
        return out

    return FaceFit(
        shape=fit.shape[np.zeros(total, int)],
        expression=linear(fit.expression),
        pose=pose,
        neck=np.zeros((total, 3), np.float32),
        jaw=linear(fit.jaw),
        eyes=linear(fit.eyes),
        camera=linear(fit.camera),
        error_px=spread(fit.error_px, np.nan),
        error=spread(fit.error, np.nan),
        confidence=spread(fit.confidence, 0.0),
        seen=np.isin(every, rows),
    )
