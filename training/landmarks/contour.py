"""The jaw line of iBUG as it is seen under a yaw: 17 points that move over the surface.

The face is cut into slices: half planes that spread from an axis along z, through the middle of the face, each in one
direction of the frontal picture. The outermost place of a slice in its direction, under some yaw, is a place of the
contour: the occluding contour of the cheek on the side that turns away; on the side that comes into view the slice
ends at the jaw's back, where the cheek meets the ear and the jaw the neck, and the contour stays there, on the jaw
line. Where along this contour the 17 points are is one angle for each point and yaw: evenly spread over the frontal
picture to begin with, then as people who annotated photographs put them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.ndimage import gaussian_filter1d

from model.asset import SurfacePoints
from model.landmarks import CONTOUR_ROWS, yaw_of_row
from training.landmarks.anatomy import Anatomy
from training.landmarks.surface import closest

YAWS = np.arange(-39, 40)
"""Degrees; columns of `Traces.places` and of the angles."""

_CENTRE_Y = -0.035  # metres: where the slices' axis passes, about the tip of the nose
_TOP_Y = -0.002  # metres: the first and the last point start at the height of the eyes
_BACK = 0.012  # metres: nothing of the contour lies behind the front of the ears
_INSET = 0.010  # metres before the end of a slice: there people draw the jaw line of the side that is in view
_REACH = 0.7  # radians above the horizontal up to which there are slices
_SLICES = 121
_SMOOTH = 3.0  # degrees of yaw, over which places are smoothed
_SPREAD = 7.0  # degrees of yaw, over which annotations are pooled


@dataclass(frozen=True)
class Traces:
    """The contour in all slices under all yaws.

    Attributes:
        angles: of the slices, radians in the picture: −π − `_REACH` (above the subject's right), −π/2 (the chin),
            `_REACH`; ascending, mirror symmetric.
        places: template, metres, by slice and yaw (`YAWS`); smooth over the yaw, mirror symmetric.
    """

    angles: Float[np.ndarray, " S"]
    places: Float[np.ndarray, "S 79 3"]

    def at(self, angles: Float[np.ndarray, "79 N"]) -> Float[np.ndarray, "79 N 3"]:
        """Places of the contour at N angles for every yaw."""
        position = np.interp(angles, self.angles, np.arange(len(self.angles)))
        low = np.minimum(position.astype(int), len(self.angles) - 2)
        t = (position - low)[..., None]
        columns = np.arange(len(YAWS))[:, None]
        return self.places[low, columns] * (1 - t) + self.places[low + 1, columns] * t


def trace_contour(anatomy: Anatomy) -> Traces:
    """Trace the contour over the template."""
    right = np.linspace(-np.pi - _REACH, -np.pi / 2, _SLICES // 2 + 1)
    places = np.stack([_outermost(anatomy, angle, np.radians(YAWS)) for angle in right])
    places = gaussian_filter1d(places, _SMOOTH, axis=1, mode="nearest")
    places = gaussian_filter1d(places, 1.0, axis=0, mode="nearest")
    flipped = places[::-1, ::-1] * np.array([-1.0, 1.0, 1.0])
    places[-1] = 0.5 * (places[-1] + flipped[0])
    return Traces(np.r_[right, -np.pi - right[-2::-1]], np.concatenate([places, flipped[1:]]))


def even_angles(traces: Traces) -> Float[np.ndarray, "79 17"]:
    """The same angles under every yaw: points evenly spread along the contour of a face seen from the front."""
    outline = traces.places[:, len(YAWS) // 2, :2]
    keep = outline[:, 1] <= _TOP_Y
    angles, outline = traces.angles[keep], outline[keep]
    length = np.r_[0.0, np.cumsum(np.linalg.norm(np.diff(outline, axis=0), axis=1))]
    return np.tile(np.interp(np.linspace(0.0, length[-1], 17), length, angles), (len(YAWS), 1))


def contour_table(anatomy: Anatomy, traces: Traces, angles: Float[np.ndarray, "79 17"]) -> SurfacePoints:
    """The (79, 17) table, one row per degree of yaw (see `model.landmarks.contour_row`), mirror symmetric."""
    angles = 0.5 * (angles + (-np.pi - angles[::-1, ::-1]))
    columns = [round(np.degrees(yaw_of_row(row))) - int(YAWS[0]) for row in range(CONTOUR_ROWS)]
    places = traces.at(angles)[columns]
    flat = closest(anatomy.vertices, anatomy.faces, places.reshape(-1, 3), anatomy.skin)
    return SurfacePoints(flat.face.reshape(places.shape[:2]), flat.barycentric.reshape(places.shape))


def annotated_angles(
    outlines: Float[np.ndarray, "N S 2"],
    angles: Float[np.ndarray, " S"],
    yaw: Float[np.ndarray, " N"],
    seen: Float[np.ndarray, "N 17 2"],
) -> Float[np.ndarray, "79 17"]:
    """Angles at which annotators put the points: medians over people who look about the same way.

    Args:
        outlines: the traced contour of the heads fitted to the photographs, px.
        angles: of its slices.
        yaw: of the heads, degrees.
        seen: annotated points, px.
    """
    start, end = outlines[:, None, :-1], outlines[:, None, 1:]
    along = end - start
    t = ((seen[:, :, None] - start) * along).sum(-1) / np.maximum((along**2).sum(-1), 1e-9)
    t = np.clip(t, 0.0, 1.0)
    distance = np.linalg.norm(start + t[..., None] * along - seen[:, :, None], axis=-1)
    edge = distance.argmin(axis=-1)
    t = np.take_along_axis(t, edge[..., None], axis=-1)[..., 0]
    found = angles[edge] + t * (angles[edge + 1] - angles[edge])
    # Mirror images of the photographs count too.
    found, yaw = np.concatenate([found, -np.pi - found[:, ::-1]]), np.concatenate([yaw, -yaw])
    near = np.exp(-0.5 * ((yaw - YAWS[:, None]) / _SPREAD) ** 2)
    medians = np.stack([[_weighted_median(found[:, k], w) for k in range(17)] for w in near])
    return gaussian_filter1d(medians, _SMOOTH, axis=0, mode="nearest")


def _weighted_median(values: Float[np.ndarray, " N"], weights: Float[np.ndarray, " N"]) -> float:
    order = np.argsort(values)
    total = np.cumsum(weights[order])
    return float(np.interp(0.5 * total[-1], total - 0.5 * weights[order], values[order]))


def _outermost(anatomy: Anatomy, angle: float, yaws: Float[np.ndarray, " Y"]) -> Float[np.ndarray, "Y 3"]:
    """The outermost place of a slice under each yaw (radians), template metres."""
    line = _slice(anatomy, angle)
    out = np.array([np.cos(angle), np.sin(angle)])
    # Rotation about +y: x' = x cos + z sin.
    reach = out[0] * (np.cos(yaws)[:, None] * line[:, 0] + np.sin(yaws)[:, None] * line[:, 2]) + out[1] * line[:, 1]
    return line[reach.argmax(axis=1)]


def _slice(anatomy: Anatomy, angle: float) -> Float[np.ndarray, "N 3"]:
    """Places along the cut of the face with a half plane; four to every triangle that it crosses."""
    out = np.array([np.cos(angle), np.sin(angle), 0.0])
    across = np.array([-np.sin(angle), np.cos(angle), 0.0])
    corner = anatomy.vertices[anatomy.faces[anatomy.face]] - np.array([0.0, _CENTRE_Y, 0.0])
    side = corner @ across
    crossed = (side.min(axis=1) < 0) & (side.max(axis=1) > 0)
    ends: list[np.ndarray] = []
    for a, b in ((0, 1), (1, 2), (2, 0)):
        sa, sb = side[crossed, a], side[crossed, b]
        cut = (sa < 0) != (sb < 0)
        t = np.where(cut, sa / np.where(cut, sa - sb, 1.0), np.nan)
        ends.append(corner[crossed, a] + t[:, None] * (corner[crossed, b] - corner[crossed, a]))
    edges = np.stack(ends, axis=1)
    order = np.argsort(np.isnan(edges[..., 0]), axis=1, kind="stable")[:, :2]
    pair = np.take_along_axis(edges, order[..., None], axis=1)
    t = np.linspace(0.0, 1.0, 4)[None, :, None]
    places = (pair[:, :1] * (1 - t) + pair[:, 1:] * t).reshape(-1, 3)
    places = places[np.isfinite(places).all(axis=1)]
    places = places[(places @ out > 0) & (places[:, 2] > _BACK)]
    places = places[np.linalg.norm(places - places[places[:, 2].argmin()], axis=1) > _INSET]
    return places + np.array([0.0, _CENTRE_Y, 0.0])
