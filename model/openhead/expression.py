"""The fifty named expression directions, from the 52 ARKit-named facial actions of the wheel.

The opening of the jaw and the gaze are joints (`jawOpen` and the eight `eyeLook…` are left out: 43 remain); seven
actions of both sides are split in two along the midline, which makes fifty. The jaw's sideways and forward motion
(`jawLeft`, `jawRight`, `jawForward`) are glides, which a rotation cannot express: they stay units, although the jaw
joint can yaw too. `mouthClose` closes the lips of an *open* jaw, as ARKit defines it; at a closed jaw leave it at zero.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from model.openhead.morph import Carrier
from model.openhead.source import read_face_unit

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

BLEND_WIDTH = 0.015
"""Metres from the midline within which a split unit fades into its other half."""


def expression_names() -> tuple[str, ...]:
    """The names of the fifty units, in alphabetical order."""
    sided = [f"{stem}{side}" for stem in SPLIT + PAIRED for side in ("Left", "Right")]
    return tuple(sorted([*sided, *WHOLE]))


def read_units(carry: Carrier) -> dict[str, Float[np.ndarray, "V 3"]]:
    """Offsets (metres) of the fifty units; left and right are exact mirror images, whole units symmetric."""
    left = left_share(carry.mesh.vertices[:, 0])[:, None]
    units = {}
    for stem in SPLIT:
        both = carry.symmetric(carry(read_face_unit(stem)))
        units[f"{stem}Left"], units[f"{stem}Right"] = left * both, (1.0 - left) * both
    for stem in PAIRED:
        one, other = carry(read_face_unit(f"{stem}Left")), carry(read_face_unit(f"{stem}Right"))
        units[f"{stem}Left"] = 0.5 * (one + carry.mirrored(other))
        units[f"{stem}Right"] = 0.5 * (other + carry.mirrored(one))
    for name in WHOLE:
        units[name] = carry.symmetric(carry(read_face_unit(name)))
    return {name: units[name] for name in expression_names()}


def left_share(x: Float[np.ndarray, "V"]) -> Float[np.ndarray, "V"]:
    """Smooth step from 0 on the subject's right to 1 on the left; the shares of the two sides sum to one."""
    t = np.clip(x / BLEND_WIDTH, -1.0, 1.0)
    return 0.5 + 0.25 * t * (3.0 - t * t)
