"""The fifty named expression directions, from the 52 ARKit-named facial actions of the wheel.

The opening of the jaw and the gaze are joints (`jawOpen` and the eight `eyeLook…` are left out: 43 remain); seven
actions of both sides are split in two along the midline, which makes fifty. The jaw's sideways and forward motion
(`jawLeft`, `jawRight`, `jawForward`) are glides, which a rotation cannot express: they stay units, although the jaw
joint can yaw too. `mouthClose` closes the lips of an *open* jaw, as ARKit defines it; at a closed jaw leave it at zero.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from model.openhead.contact import LIP_OVERLAP, Slit, meeting
from model.openhead.cut import GROUPS
from model.openhead.morph import Carrier
from model.openhead.rig import mesh_laplacian, smooth
from model.openhead.source import read_face_unit
from model.openhead.uv import smoothstep

SPLIT = (
    "browInnerUp",
    "cheekPuff",
    "mouthFunnel",
    "mouthPucker",
    "mouthRollLower",
    "mouthRollUpper",
    "mouthShrugUpper",
)
"""Actions of both sides that become a left and a right unit."""
PAIRED = (
    "browDown",
    "browOuterUp",
    "cheekSquint",
    "eyeBlink",
    "eyeSquint",
    "eyeWide",
    "mouthDimple",
    "mouthFrown",
    "mouthLowerDown",
    "mouthPress",
    "mouthSmile",
    "mouthStretch",
    "mouthUpperUp",
    "noseSneer",
    "mouth",
    "jaw",
)
"""Actions that exist as …Left and …Right."""
WHOLE = ("jawForward", "mouthClose", "mouthShrugLower", "tongueOut")
"""Actions of both sides that stay whole."""

BLEND_WIDTH = {"mouthFunnel": 0.024, "mouthPucker": 0.024}
"""Metres from the midline within which a split unit fades into its other half; 0.015 where not named."""

SMOOTHED = {"mouthSmile": 2.0, "cheekPuff": 2.0, "mouthFunnel": 2.0}
"""Units with a crease or a spike in the source, and how strongly they are smoothed along the mesh."""

LOWER_LIP, CHIN = -0.0774, -0.0896
"""Heights on the base head (metres): the edge of the lower lip, and the ball of the chin."""
LOWERED = (1.6, 0.4)
"""`mouthLowerDown` on the lower lip and on the chin, times the source's, which moves both alike by 4 mm.

On people the lip goes down further, bares the teeth, and the chin hardly follows: regressing the landmarks of filmed
people on the scores of an independent network says so. As in the source, bared teeth could not be told from an open
jaw."""
SMILED, CORNERS = 0.45, 0.028
"""`mouthSmile` at the middle of the lips, times the source's, growing to 1 at `CORNERS` (metres) from the midline.

The source lifts the middle of the lower lip by 5–7 mm with the corners' 12 mm; people lift it by a fifth of the way of
the corners, so that here a smile had to be paid for with an open jaw."""
UNDER_NOSE = -0.045
"""Height on the base head (metres) up to which a smile is changed, fading over 10 mm below."""

OPENING = ("mouthFunnel", "mouthLowerDown", "mouthUpperUp", "mouthShrugUpper")
"""Units that part the lips."""
LIPS = (
    *OPENING,
    "cheekPuff",
    "jaw",
    "jawForward",
    "mouth",
    "mouthDimple",
    "mouthFrown",
    "mouthPress",
    "mouthPucker",
    "mouthRollLower",
    "mouthRollUpper",
    "mouthShrugLower",
    "mouthSmile",
    "mouthStretch",
    "noseSneer",
)
"""Units after which the lips are looked at."""


def expression_names() -> tuple[str, ...]:
    """The names of the fifty units, in alphabetical order."""
    sided = [f"{stem}{side}" for stem in SPLIT + PAIRED for side in ("Left", "Right")]
    return tuple(sorted([*sided, *WHOLE]))


def read_units(carry: Carrier, vertices: Float[np.ndarray, "V 3"], lips: Slit) -> dict[str, Float[np.ndarray, "V 3"]]:
    """Offsets (metres) of the fifty units on a head; left and right are exact mirror images, whole units symmetric.

    A few are smoothed, and lips are kept from crossing; `mouthClose` is left as it is.
    """
    laplacian = mesh_laplacian(carry.mesh)

    soft = (carry.mesh.vertex_group != GROUPS.index("upper_teeth"))[:, None]

    def refined(stem: str, unit: Float[np.ndarray, "V 3"]) -> Float[np.ndarray, "V 3"]:
        unit = unit * soft
        if stem in SMOOTHED:
            unit = smooth(unit, laplacian, SMOOTHED[stem])
        unit = unit * _reshaping(stem, carry.mesh.vertices)[:, None]
        if stem in LIPS:
            unit = meeting(lips, vertices, unit, LIP_OVERLAP, may_open=stem in OPENING)
        return unit

    units = {}
    for stem in SPLIT:
        both = carry.symmetric(refined(stem, carry.symmetric(carry(read_face_unit(stem)))))
        left = left_share(carry.mesh.vertices[:, 0], BLEND_WIDTH.get(stem, 0.015))[:, None]
        units[f"{stem}Left"], units[f"{stem}Right"] = left * both, carry.mirrored(left * both)
    for stem in PAIRED:
        one, other = carry(read_face_unit(f"{stem}Left")), carry(read_face_unit(f"{stem}Right"))
        unit = refined(stem, 0.5 * (one + carry.mirrored(other)))
        units[f"{stem}Left"], units[f"{stem}Right"] = unit, carry.mirrored(unit)
    for name in WHOLE:
        units[name] = carry.symmetric(refined(name, carry.symmetric(carry(read_face_unit(name)))))
    return {name: units[name] for name in expression_names()}


def _reshaping(stem: str, vertices: Float[np.ndarray, "V 3"]) -> Float[np.ndarray, " V"]:
    """Factors of the source's unit at every vertex; see `LOWERED` and `SMILED`."""
    x, y = np.abs(vertices[:, 0]), vertices[:, 1]
    if stem == "mouthLowerDown":
        return LOWERED[1] + (LOWERED[0] - LOWERED[1]) * smoothstep(CHIN, LOWER_LIP, y)
    if stem == "mouthSmile":
        middle = smoothstep(CORNERS, 0.0, x) * smoothstep(UNDER_NOSE, UNDER_NOSE - 0.010, y)
        return 1.0 - (1.0 - SMILED) * middle
    return np.ones(len(vertices))


def left_share(x: Float[np.ndarray, " V"], width: float) -> Float[np.ndarray, " V"]:
    """Smooth step from 0 at −width on the subject's right to 1 on the left; the shares of both sides sum to one."""
    t = np.clip(x / width, -1.0, 1.0)
    return 0.5 + 0.25 * t * (3.0 - t * t)
