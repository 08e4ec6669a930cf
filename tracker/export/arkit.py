"""ARKit's 52 face units and the 9 angles that Live Link Face adds, from openhead's units, jaw, gaze and pose.

openhead has ARKit's units but for what moves a joint (`jawOpen`, the eight `eyeLook…`), and has seven of both sides in
halves. Angles are rotations about the head's axes, radians; R = R_y(yaw) R_x(pitch) R_z(roll), so that yaw is positive
to the subject's left, pitch positive downwards and roll positive towards the subject's right shoulder.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float
from roma import rotvec_to_rotmat

from tracker.track import Track

SIDES = ("Left", "Right")
_EYE = ("eyeBlink", "eyeLookDown", "eyeLookIn", "eyeLookOut", "eyeLookUp", "eyeSquint", "eyeWide")
UNITS = (
    *(f"{name}{side}" for side in SIDES for name in _EYE),
    *("jawForward", "jawRight", "jawLeft", "jawOpen"),
    *("mouthClose", "mouthFunnel", "mouthPucker", "mouthRight", "mouthLeft"),
    *(f"mouth{name}{side}" for name in ("Smile", "Frown", "Dimple", "Stretch") for side in SIDES),
    *("mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper"),
    *(f"mouth{name}{side}" for name in ("Press", "LowerDown", "UpperUp") for side in SIDES),
    *("browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight"),
    *("cheekPuff", "cheekSquintLeft", "cheekSquintRight", "noseSneerLeft", "noseSneerRight", "tongueOut"),
)
"""The 52 units in the order of Live Link Face."""
ANGLES = tuple(f"{part}{turn}" for part in ("head", "leftEye", "rightEye") for turn in ("Yaw", "Pitch", "Roll"))
NAMES = UNITS + ANGLES
"""The 61 columns."""

SPLIT = (
    *("browInnerUp", "cheekPuff", "mouthFunnel", "mouthPucker"),
    *("mouthRollLower", "mouthRollUpper", "mouthShrugUpper"),
)
"""Units of both sides that openhead has in halves; ARKit's is the mean of them."""

JAW_OPEN = 0.4255
"""Angle of the jaw at which `jawOpen` is 1: openhead's hinge was fitted to that shape
(`model.openhead.rig`), radians."""
JAW_SIDE = 0.1
"""Angle of the jaw about y that moves the chin as far as `jawLeft` does, radians."""
_DOWN, _UP, _SIDE = math.radians(20), math.radians(14), math.radians(22)
GAZE = (
    *((f"eyeLookDown{side}", eye, (_DOWN, 0.0, 0.0)) for eye, side in enumerate(SIDES)),
    *((f"eyeLookUp{side}", eye, (-_UP, 0.0, 0.0)) for eye, side in enumerate(SIDES)),
    *(("eyeLookOutLeft", 0, (0.0, _SIDE, 0.0)), ("eyeLookInLeft", 0, (0.0, -_SIDE, 0.0))),
    *(("eyeLookInRight", 1, (0.0, _SIDE, 0.0)), ("eyeLookOutRight", 1, (0.0, -_SIDE, 0.0))),
)
"""Unit of gaze, its eyeball (0: the subject's left) and the rotation of the eyeball at which it is 1 (axis-angle; those
for which openhead's lids were made)."""


def arkit_of(track: Track) -> Float[np.ndarray, "T 61"]:
    """The columns `NAMES` of a track of openhead: units in [0, 1], angles in radians.

    Raises:
        ValueError: the track's expression has no names (see `tracker.export.flame`).
    """
    if not track.expression_names:
        raise ValueError(f"head {track.head} has no named units; map it with tracker.export.flame first")
    return columns(track.expression_names, track.expression, track.jaw, track.eyes, track.pose, track.neck)


def columns(
    names: tuple[str, ...],
    expression: Float[np.ndarray, "T E"],
    jaw: Float[np.ndarray, "T 3"],
    eyes: Float[np.ndarray, "T 6"],
    pose: Float[np.ndarray, "T 3"],
    neck: Float[np.ndarray, "T 3"],
) -> Float[np.ndarray, "T 61"]:
    """The columns `NAMES`, from openhead's units and the joints' axis-angles."""
    unit = dict(zip(names, expression.T.astype(np.float64), strict=True))
    nothing = np.zeros(len(expression))
    for whole in SPLIT:
        if whole not in unit:
            unit[whole] = (unit.get(f"{whole}Left", nothing) + unit.get(f"{whole}Right", nothing)) / 2
    opened, sideways = jaw[:, 0] / JAW_OPEN, jaw[:, 1] / JAW_SIDE
    unit["jawOpen"] = opened
    unit["jawLeft"] = unit.get("jawLeft", nothing) + np.maximum(sideways, 0)
    unit["jawRight"] = unit.get("jawRight", nothing) + np.maximum(-sideways, 0)
    for name, eye, turn in GAZE:
        axis = int(np.argmax(np.abs(turn)))
        unit[name] = eyes[:, 3 * eye + axis] / turn[axis]
    values = [np.clip(unit.get(name, nothing), 0, 1) for name in UNITS]
    angles = [_angles(_matrix(pose) @ _matrix(neck)), _angles(_matrix(eyes[:, :3])), _angles(_matrix(eyes[:, 3:]))]
    return np.concatenate([np.stack(values, axis=1), *angles], axis=1)


def _matrix(axis_angle: Float[np.ndarray, "T 3"]) -> Float[np.ndarray, "T 3 3"]:
    return rotvec_to_rotmat(torch.from_numpy(axis_angle.astype(np.float64))).numpy()


def _angles(R: Float[np.ndarray, "T 3 3"]) -> Float[np.ndarray, "T 3"]:
    """Yaw, pitch, roll of R = R_y R_x R_z."""
    yaw = np.arctan2(R[:, 0, 2], R[:, 2, 2])
    pitch = np.arcsin(np.clip(-R[:, 1, 2], -1, 1))
    roll = np.arctan2(R[:, 1, 0], R[:, 1, 1])
    return np.stack([yaw, pitch, roll], axis=1)
