"""Facts about the two landmark schemes: which points lie on rims, and where iBUG's points are among MediaPipe's."""

from __future__ import annotations

MEDIAPIPE_SLITS = {
    "right_lids": ((246, 161, 160, 159, 158, 157, 173), (7, 163, 144, 145, 153, 154, 155)),
    "left_lids": ((398, 384, 385, 386, 387, 388, 466), (382, 381, 380, 374, 373, 390, 249)),
    "lips": ((191, 80, 81, 82, 13, 312, 311, 310, 415), (95, 88, 178, 87, 14, 317, 402, 318, 324)),
}
"""Points on the rims, upper and lower ones in pairs, in order of x (subject's right to left)."""

MEDIAPIPE_IRIS = {"right": (468, 471, 470, 469, 472), "left": (473, 476, 475, 474, 477)}
"""Pupil, then image left, top, right, bottom of the iris."""

IBUG_SLITS = {
    "right_lids": ((37, 38), (41, 40)),
    "left_lids": ((43, 44), (47, 46)),
    "lips": ((61, 62, 63), (67, 66, 65)),
}

IBUG_MIRROR = (
    *range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, 35, 34, 33, 32, 31,
    45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40,
    54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65,
)  # fmt: skip
"""The mirror image of every iBUG point."""

IBUG51_IN_MEDIAPIPE = (
    70, 63, 105, 66, 107, 336, 296, 334, 293, 300,
    168, 197, 195, 4, 240, 97, 2, 326, 460,
    33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380,
    61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181,
    78, 82, 13, 312, 308, 317, 14, 87,
)  # fmt: skip
"""MediaPipe's point nearest to each of iBUG's points 17–67."""
