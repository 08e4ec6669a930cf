"""Where skin touches skin: lips that meet at rest, whoever the head is, and lids that meet when the eye blinks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from model.openhead.cut import HeadMesh
from model.openhead.rings import QuadGraph, concentric_rings

LIP_LINE = (520, 521, 474, 537)  # base mesh: middle of the upper lip's lowest ring, next on it, next outwards, inwards
LID_LINE = (13352, 13353, 6785, 7748)  # base mesh: the left eye's lid margin likewise
LIP_REACH = (1.0, 0.85, 0.6, 0.35, 0.15, 0.05)
LIP_REACH_INWARDS = (0.9, 0.6, 0.3, 0.1)
LID_REACH = (1.0, 0.95, 0.85, 0.72, 0.56, 0.40, 0.25, 0.12, 0.04)
LID_REACH_INWARDS = (1.0, 1.0, 0.6, 0.2)

LIFT = 0.12  # part of the way that the lower lid comes up in a blink
LIP_OVERLAP = 0.0002  # metres that the lips of a closed mouth overlap
OVERLAP, IN_FRONT = 0.0005, 0.0006  # metres that the upper margin goes beyond and before the lower one
BLINK_REACH = 0.031  # metres from the centre of the eyeball
CORNER = 0.004  # metres from the corners of the eye over which both vanish
THICKNESS = (0.0010, 0.0004)  # metres between the ball and the upper and the lower lid


@dataclass(frozen=True)
class Slit:
    """A closed line of skin around an opening, with the rings beside it.

    Attributes:
        upper, lower: vertices of the line from the corner at smaller x to the one at larger x, corners not included.
        rings: all rings, the line first, then outwards, then inwards; (R, n), columns belong together.
        reach: how much of a correction of the line each ring follows.
        is_upper: for every column, whether it belongs to the upper side; corners to neither.
        is_lower: likewise.
    """

    upper: Int[np.ndarray, " _"]
    lower: Int[np.ndarray, " _"]
    rings: Int[np.ndarray, "R n"]
    reach: Float[np.ndarray, " R"]
    is_upper: Int[np.ndarray, " _"]
    is_lower: Int[np.ndarray, " _"]

    def spread(self, count: int, upper: Float[np.ndarray, "u 3"], lower: Float[np.ndarray, "l 3"]) -> np.ndarray:
        """Offsets of all `count` vertices from those of the line, fading over the rings beside it."""
        offsets = np.zeros((count, 3))
        offsets[self.rings[:, self.is_upper]] = self.reach[:, None, None] * upper
        offsets[self.rings[:, self.is_lower]] = self.reach[:, None, None] * lower
        return offsets


def lips(graph: QuadGraph, mesh: HeadMesh) -> Slit:
    """The slit between the lips."""
    return _find_slit(graph, mesh, LIP_LINE, LIP_REACH, LIP_REACH_INWARDS)


def left_lids(graph: QuadGraph, mesh: HeadMesh) -> Slit:
    """The slit between the lids of the subject's left eye."""
    return _find_slit(graph, mesh, LID_LINE, LID_REACH, LID_REACH_INWARDS)


def _find_slit(
    graph: QuadGraph,
    mesh: HeadMesh,
    line: tuple[int, int, int, int],
    outwards: tuple[float, ...],
    inwards: tuple[float, ...],
) -> Slit:
    """The slit whose line and neighbours are given by base-mesh vertices; see `LIP_LINE`."""
    start, towards, out, inside = line
    outer = concentric_rings(graph, start, towards, out, len(outwards))
    inner = concentric_rings(graph, start, towards, inside, 1 + len(inwards))[1:]
    rings = mesh.index_of_source[np.concatenate([outer, inner])]
    x, y = mesh.vertices[rings[0], 0], mesh.vertices[rings[0], 1]
    first, last = int(np.argmin(x)), int(np.argmax(x))
    n = len(x)
    one = (first + 1 + np.arange((last - first) % n - 1)) % n
    two = (first - 1 - np.arange((first - last) % n - 1)) % n
    is_upper, is_lower = (one, two) if y[one].mean() > y[two].mean() else (two, one)
    return Slit(rings[0, is_upper], rings[0, is_lower], rings, np.array([*outwards, *inwards]), is_upper, is_lower)


@dataclass(frozen=True)
class Seal:
    """Closes a slit: a linear map of offset fields, so what is closed stays closed under every mixture of them."""

    slit: Slit
    corners: tuple[int, int]
    count: int
    upper_weights: Float[np.ndarray, "u l2"]  # height of the lower line (corners included) at every upper vertex
    lower_weights: Float[np.ndarray, "l u2"]

    def gap(self, field: Float[np.ndarray, "V 3"]) -> tuple[Float[np.ndarray, " u"], Float[np.ndarray, " l"]]:
        """Height of the upper line over the lower one, metres, at the upper and at the lower vertices."""
        y = field[:, 1]
        a, b = self.corners
        lower = np.concatenate([[y[a]], y[self.slit.lower], [y[b]]])
        upper = np.concatenate([[y[a]], y[self.slit.upper], [y[b]]])
        return y[self.slit.upper] - self.upper_weights @ lower, self.lower_weights @ upper - y[self.slit.lower]

    def closed(
        self, field: Float[np.ndarray, "V 3"], overlap: float = 0.0, share: float = 1.0
    ) -> Float[np.ndarray, "V 3"]:
        """The field (positions or offsets) with both sides moved together, by a share of the gap plus `overlap`."""
        at_upper, at_lower = (share * gap for gap in self.gap(field))
        upper, lower = np.zeros((len(at_upper), 3)), np.zeros((len(at_lower), 3))
        upper[:, 1] = -0.5 * (at_upper + overlap)
        lower[:, 1] = 0.5 * (at_lower + overlap)
        return field + self.slit.spread(self.count, upper, lower)


def seal(slit: Slit, vertices: Float[np.ndarray, "V 3"]) -> Seal:
    """The `Seal` of a slit; points of its two sides belong together where they have the same x on this head."""
    x = vertices[:, 0]
    line = slit.rings[0]
    a, b = int(line[np.argmin(x[line])]), int(line[np.argmax(x[line])])
    upper, lower = x[[a, *slit.upper, b]], x[[a, *slit.lower, b]]
    return Seal(slit, (a, b), len(vertices), interpolation(lower, x[slit.upper]), interpolation(upper, x[slit.lower]))


def meeting(
    slit: Slit, vertices: Float[np.ndarray, "V 3"], unit: Float[np.ndarray, "V 3"], overlap: float, may_open: bool
) -> Float[np.ndarray, "V 3"]:
    """An expression unit (offsets) changed so that the lips do not cross, and do not open either unless they may.

    Closed lips overlap by `overlap` (metres), so that sums of units keep them closed.
    """
    moved = vertices + unit
    at_upper, at_lower = (gap + overlap for gap in seal(slit, moved).gap(moved))
    if may_open:
        at_upper, at_lower = np.minimum(at_upper, 0.0), np.minimum(at_lower, 0.0)
    upper, lower = np.zeros((len(at_upper), 3)), np.zeros((len(at_lower), 3))
    upper[:, 1], lower[:, 1] = -0.5 * at_upper, 0.5 * at_lower
    return unit + slit.spread(len(vertices), upper, lower)


def interpolation(knots: Float[np.ndarray, " k"], at: Float[np.ndarray, " n"]) -> Float[np.ndarray, "n k"]:
    """Matrix of linear interpolation between knots; where these do not ascend, they are taken to stand still."""
    ascending = np.maximum.accumulate(knots)
    return np.stack([np.interp(at, ascending, unit) for unit in np.eye(len(knots))], axis=1)


def closed_blink(
    slit: Slit,
    vertices: Float[np.ndarray, "V 3"],
    blink: Float[np.ndarray, "V 3"],
    centre: Float[np.ndarray, " 3"],
    radius: float,
) -> Float[np.ndarray, "V 3"]:
    """The left blink, corrected so that the lids meet on the eyeball.

    The corners stay. The lower margin rises by `LIFT` of the opening, sliding around the ball; the upper margin comes
    down to it, `OVERLAP` further and `IN_FRONT` before it. Offsets fade over the rings of the lids, which then are kept
    `THICKNESS` outside the ball.
    """
    line = slit.rings[0]
    a, b = int(line[np.argmin(vertices[line, 0])]), int(line[np.argmax(vertices[line, 0])])
    lower, upper = vertices[slit.lower].copy(), vertices[slit.upper].copy()
    top = vertices[[a, *slit.upper, b]]
    lower[:, 1] += LIFT * (np.interp(lower[:, 0], top[:, 0], top[:, 1]) - lower[:, 1])
    lower[:, 2] += _depth(lower, vertices[slit.lower], centre, radius)
    bottom = np.concatenate([vertices[[a]], lower, vertices[[b]]])
    from_corner = np.minimum(upper[:, 0] - bottom[0, 0], bottom[-1, 0] - upper[:, 0])
    share = np.clip(from_corner / CORNER, 0.0, 1.0)
    upper[:, 1] = np.interp(upper[:, 0], bottom[:, 0], bottom[:, 1]) - OVERLAP * share
    upper[:, 2] = np.interp(upper[:, 0], bottom[:, 0], bottom[:, 2]) + IN_FRONT * share
    # The source's blink also moves the lining of the nose.
    near = np.clip((BLINK_REACH - np.linalg.norm(vertices - centre, axis=1)) / (0.2 * BLINK_REACH), 0.0, 1.0)
    blink = blink * near[:, None]
    moved = vertices + blink
    corrected = blink + slit.spread(len(vertices), upper - moved[slit.upper], lower - moved[slit.lower])
    for corner in (a, b):
        column = slit.rings[:, np.flatnonzero(line == corner)[0]]
        corrected[column] -= slit.reach[:, None] * blink[corner]
    return _outside_ball(slit, vertices, corrected, centre, radius)


def _depth(
    points: Float[np.ndarray, "n 3"], rest: Float[np.ndarray, "n 3"], centre: Float[np.ndarray, " 3"], radius: float
) -> Float[np.ndarray, " n"]:
    """Change of z with which points that moved in x and y keep their distance from the ball."""
    reach = np.maximum(((rest - centre) ** 2).sum(axis=1), radius**2)
    flat = ((points[:, :2] - centre[:2]) ** 2).sum(axis=1)
    return centre[2] + np.sqrt(reach - flat) - rest[:, 2]


def _outside_ball(
    slit: Slit,
    vertices: Float[np.ndarray, "V 3"],
    offsets: Float[np.ndarray, "V 3"],
    centre: Float[np.ndarray, " 3"],
    radius: float,
) -> Float[np.ndarray, "V 3"]:
    """Offsets changed so that the outer rings of the lids stay `THICKNESS` outside the ball (radially)."""
    outer = slit.rings[: len(LID_REACH)].ravel()
    arms = vertices[outer] + offsets[outer] - centre
    distance = np.linalg.norm(arms, axis=1, keepdims=True)
    is_upper = np.zeros(slit.rings.shape[1], dtype=bool)
    is_upper[slit.is_upper] = True
    thickness = np.where(np.tile(is_upper, len(LID_REACH)), THICKNESS[0], THICKNESS[1])
    wanted = np.maximum(distance, radius + thickness[:, None])
    corrected = offsets.copy()
    corrected[outer] += arms * (wanted / distance - 1.0)
    return corrected
