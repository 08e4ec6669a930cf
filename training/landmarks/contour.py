"""The jaw line of iBUG as it is seen under a yaw: 17 points that move over the surface.

Each point keeps to a slice of the face: the half plane that spans from an axis along z, through the middle of the
face, outwards in one direction of the picture, and contains the view's axis when the face looks at the viewer. In its
slice the point is the outermost place in that direction under the yaw: the occluding contour of the cheek on the side
that turns away; on the side that comes into view the slice ends at the jaw's back, where the cheek meets the ear and
the jaw meets the neck, and the point stays there, on the jaw line, as annotators have it.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from scipy.ndimage import gaussian_filter1d

from model.asset import SurfacePoints
from model.landmarks import CONTOUR_ROWS, yaw_of_row
from training.landmarks.anatomy import Anatomy
from training.landmarks.surface import closest, positions

_CENTRE_Y = -0.035  # metres: where the slices' axis passes, about the tip of the nose
_TOP_Y = -0.002  # metres: the first and the last point start at the height of the eyes
_BACK = 0.012  # metres: nothing of the contour lies behind the front of the ears
_ANGLES = 181  # slices that are tried to spread the points
_SMOOTH = 3.0  # degrees of yaw


def embed_contour(anatomy: Anatomy) -> SurfacePoints:
    """The (79, 17) table: one row per degree of yaw (see `model.landmarks.contour_row`), mirror symmetric."""
    angles = contour_angles(anatomy)
    # Right half only (points 0..8) over all yaws; the left half is its mirror image under the opposite yaw.
    yaws = np.arange(-39, 40)
    places = np.stack([_trace(anatomy, angle, np.radians(yaws)) for angle in angles])
    places = gaussian_filter1d(places, _SMOOTH, axis=1, mode="nearest")
    places[8, :, :] = 0.5 * (places[8] + places[8, ::-1] * np.array([-1.0, 1.0, 1.0]))
    table = np.empty((CONTOUR_ROWS, 17, 3))
    for row in range(CONTOUR_ROWS):
        column = round(np.degrees(yaw_of_row(row))) + 39
        table[row, :9] = places[:, column]
        table[row, 9:] = places[7::-1, -1 - column] * np.array([-1.0, 1.0, 1.0])
    return on_face(anatomy, table)


def on_face(anatomy: Anatomy, places: Float[np.ndarray, "*rows 3"]) -> SurfacePoints:
    """The nearest points of the outer skin."""
    flat = closest(anatomy.vertices, anatomy.faces, places.reshape(-1, 3), anatomy.skin)
    shape = places.shape[:-1]
    return SurfacePoints(flat.face.reshape(shape), flat.barycentric.reshape(*shape, 3))


def contour_angles(anatomy: Anatomy) -> Float[np.ndarray, " 9"]:
    """Directions (radians, 0 the subject's left, −π/2 down) of the slices of points 0 to 8: evenly spread in a picture
    of the face from the front, from the height of the eyes on the subject's right to the middle of the chin."""
    tried = np.linspace(-np.pi - 0.6, -np.pi / 2, _ANGLES)
    outline = np.stack([_trace(anatomy, angle, np.zeros(1))[0] for angle in tried])[:, :2]
    keep = outline[:, 1] <= _TOP_Y
    tried, outline = tried[keep], outline[keep]
    length = np.r_[0.0, np.cumsum(np.linalg.norm(np.diff(outline, axis=0), axis=1))]
    return np.interp(np.linspace(0.0, length[-1], 9), length, tried)


def _trace(anatomy: Anatomy, angle: float, yaws: Float[np.ndarray, " Y"]) -> Float[np.ndarray, "Y 3"]:
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
    return places + np.array([0.0, _CENTRE_Y, 0.0])


def fixed_contour(contour: SurfacePoints) -> SurfacePoints:
    """The jaw line of a face that looks at the viewer: what the fixed 68 points have."""
    return SurfacePoints(contour.face[0], contour.barycentric[0])


def places_of(anatomy: Anatomy, contour: SurfacePoints) -> Float[np.ndarray, "79 17 3"]:
    """Template places of the table, metres."""
    return positions(anatomy.vertices, anatomy.faces, contour)
