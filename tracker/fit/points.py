"""Which landmarks the fit uses, how precise each is, and the pairs whose distances say more than the points.

Precisions are standard deviations in metres on the head: an image residual is divided by the scale of the camera
first, so the same weights hold at any resolution. The distance between an upper and a lower lid is known far better
than either point (their errors are common), hence the pairs, as the eye-closure and lip losses of DECA (Feng et al.
2021, sec. 4.2) and EMOCA have them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int


@dataclass(frozen=True)
class PointSet:
    """A choice of the points of a landmark scheme.

    Attributes:
        index: the chosen points, among those of the scheme.
        sigma: precision of each, metres.
        pairs: positions within `index` of the two ends of each pair.
        pair_sigma: precision of the difference of a pair's ends, metres.
        inner: which chosen points count in the reported residual (everything but the face oval, cheeks, forehead).
        outer_eyes: positions within `index` of the outer eye corners.
        irises: per eye, positions of the iris; no rows in a scheme without.
        lids: per eye with an iris, seven pairs of positions, upper and lower lid, from corner to corner.
    """

    index: Int[np.ndarray, "K"]
    sigma: Float[np.ndarray, "K"]
    pairs: Int[np.ndarray, "P 2"]
    pair_sigma: Float[np.ndarray, "P"]
    inner: Int[np.ndarray, "I"]
    outer_eyes: tuple[int, int]
    irises: Int[np.ndarray, "eyes I5"]
    lids: Int[np.ndarray, "eyes 7 2"]


_LIPS = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 185, 40, 39, 37, 0, 267, 269, 270, 409)
_INNER_LIPS = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 191, 80, 81, 82, 13, 312, 311, 310, 415)
_LIDS = (
    33, 7, 163, 144, 145, 153, 154, 155, 133, 246, 161, 160, 159, 158, 157, 173,
    263, 249, 390, 373, 374, 380, 381, 382, 362, 466, 388, 387, 386, 385, 384, 398,
)  # fmt: skip
_IRIS = tuple(range(468, 478))
_BROWS = (46, 53, 52, 65, 55, 70, 63, 105, 66, 107, 276, 283, 282, 295, 285, 300, 293, 334, 296, 336)
_NOSE = (168, 6, 197, 195, 5, 4, 1, 19, 94, 2, 98, 327, 97, 326, 64, 294, 48, 278, 115, 344, 129, 358, 198, 420)
_CHEEKS = (50, 280, 205, 425, 101, 330, 117, 346, 206, 426, 207, 427, 216, 436, 203, 423, 187, 411)
_FOREHEAD = (8, 9, 151, 69, 299, 104, 333, 108, 337)
_CHIN = (18, 175, 152, 176, 400, 83, 313, 32, 262)
"""Not 199 and 200, which stay behind by a fifth when the jaw opens."""
_OVAL = (10, 297, 284, 389, 454, 361, 397, 379, 150, 172, 132, 234, 162, 54, 67)

_LID_PAIRS = (
    (246, 7), (161, 163), (160, 144), (159, 145), (158, 153), (157, 154), (173, 155),
    (466, 249), (388, 390), (387, 373), (386, 374), (385, 380), (384, 381), (398, 382),
)  # fmt: skip
_INNER_LIP_PAIRS = ((191, 95), (80, 88), (81, 178), (82, 87), (13, 14), (312, 317), (311, 402), (310, 318), (415, 324))
_LIP_PAIRS = ((0, 13), (17, 14), (37, 82), (267, 312), (84, 87), (314, 317), (61, 291), (78, 308))
_IRIS_PAIRS = ((468, 33), (468, 133), (473, 263), (473, 362), (468, 159), (468, 145), (473, 386), (473, 374))
_BROW_PAIRS = ((107, 336), (105, 159), (334, 386), (66, 158), (296, 385), (107, 133), (336, 362))
_NOSE_LIP_PAIRS = ((2, 0), (98, 40), (327, 270), (129, 61), (358, 291))

_GROUPS = (
    (_LIDS, 1.5e-3), (_IRIS, 1.5e-3), (_LIPS, 2.0e-3), (_INNER_LIPS, 2.0e-3), (_BROWS, 2.4e-3), (_NOSE, 2.2e-3),
    (_CHEEKS, 3.8e-3), (_FOREHEAD, 4.5e-3), (_CHIN, 2.0e-3), (_OVAL, 7.5e-3),
)  # fmt: skip
_PAIR_GROUPS = (
    (_LID_PAIRS, 0.6e-3), (_INNER_LIP_PAIRS, 0.75e-3), (_LIP_PAIRS, 1.2e-3), (_IRIS_PAIRS, 0.9e-3),
    (_BROW_PAIRS, 1.5e-3), (_NOSE_LIP_PAIRS, 1.5e-3),
)  # fmt: skip


def _point_set(groups, pair_groups, inner: set[int], outer_eyes: tuple[int, int], eyes=()) -> PointSet:
    index = [i for group, _ in groups for i in group]
    assert len(set(index)) == len(index), "a landmark is listed twice"
    at = {i: n for n, i in enumerate(index)}
    return PointSet(
        index=np.array(index),
        sigma=np.array([s for group, s in groups for _ in group]),
        pairs=np.array([(at[a], at[b]) for group, _ in pair_groups for a, b in group]),
        pair_sigma=np.array([s for group, s in pair_groups for _ in group]),
        inner=np.array([at[i] for i in index if i in inner]),
        outer_eyes=(at[outer_eyes[0]], at[outer_eyes[1]]),
        irises=np.array([[at[i] for i in iris] for iris, _ in eyes], dtype=int).reshape(len(eyes), 5),
        lids=np.array([[(at[a], at[b]) for a, b in lids] for _, lids in eyes], dtype=int).reshape(len(eyes), 7, 2),
    )


_EYES = ((range(468, 473), _LID_PAIRS[:7]), (range(473, 478), _LID_PAIRS[7:]))
MEDIAPIPE = _point_set(_GROUPS, _PAIR_GROUPS, {*_LIDS, *_LIPS, *_INNER_LIPS, *_BROWS, *_NOSE}, (33, 263), _EYES)
"""About 180 of MediaPipe's 478 points."""

_IBUG_GROUPS = (
    (tuple(range(17)), 6.0e-3), (tuple(range(17, 27)), 2.7e-3), (tuple(range(27, 36)), 2.4e-3),
    (tuple(range(36, 48)), 1.8e-3), (tuple(range(48, 60)), 2.2e-3), (tuple(range(60, 68)), 2.2e-3),
)  # fmt: skip
_IBUG_PAIRS = (
    (((37, 41), (38, 40), (43, 47), (44, 46)), 0.9e-3),
    (((61, 67), (62, 66), (63, 65)), 1.0e-3),
    (((51, 62), (57, 66), (48, 54), (60, 64)), 1.5e-3),
    (((21, 22), (19, 37), (24, 44)), 2.1e-3),
)
IBUG = _point_set(_IBUG_GROUPS, _IBUG_PAIRS, set(range(17, 68)), (36, 45))
"""All 68 iBUG points, the contour with a low weight."""


def points_used(scheme: str) -> Int[np.ndarray, "K"]:
    """The points of a scheme that the fit reads; the others need not be kept.

    Raises:
        ValueError: an unknown scheme.
    """
    sets = {"mediapipe478": MEDIAPIPE, "ibug68": IBUG}
    if scheme not in sets:
        raise ValueError(f"unknown landmark scheme {scheme!r}; the fit knows {' and '.join(sets)}")
    return sets[scheme].index
