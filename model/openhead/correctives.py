"""Pose correctives: what the rotation of a joint leaves out of the motion that MakeHuman's artists gave.

A corrective is added to the rest pose, before skinning, and is driven linearly by the entries of R − I of a joint. For
a rotation by θ about x these are cos θ − 1 (yy, zz), −sin θ (yz) and sin θ (zy); about y likewise (xx, zz), (xz), (zx).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from model.openhead.rig import JAW, Hinge

ENTRIES = 9
RIDGE = 0.03  # against 1 − cos θ: what is asked of an eye that turns by about 14 degrees


def entry(joint: int, row: int, column: int) -> int:
    """Column of `posedirs` that the entry (row, column) of R − I of a joint drives."""
    return ENTRIES * (joint - 1) + 3 * row + column


def unskinned(
    offsets: Float[np.ndarray, "V 3"], weights: Float[np.ndarray, "V 5"], joint: int, rotation: Float[np.ndarray, "3 3"]
) -> Float[np.ndarray, "V 3"]:
    """Rest-pose offsets that become `offsets` once `joint` is turned by `rotation` (all others at rest)."""
    share = weights[:, joint, None, None]
    blend = (1.0 - share) * np.eye(3) + share * rotation
    return np.linalg.solve(blend, offsets[..., None])[..., 0]


def jaw_corrective(
    vertices: Float[np.ndarray, "V 3"],
    weights: Float[np.ndarray, "V 5"],
    jaw_open: Float[np.ndarray, "V 3"],
    hinge: Hinge,
) -> Float[np.ndarray, "V 3 36"]:
    """Corrective of the jaw, with which its rotation by the full angle gives `jaw_open` exactly; grows with sin θ."""
    turned = (vertices - hinge.centre) @ hinge.rotation.T + hinge.centre - vertices
    rest = unskinned(jaw_open - weights[:, JAW, None] * turned, weights, JAW, hinge.rotation)
    posedirs = np.zeros((*vertices.shape, 4 * ENTRIES))
    half = 0.5 * rest / np.sin(hinge.angle)
    posedirs[..., entry(JAW, 2, 1)] = half
    posedirs[..., entry(JAW, 1, 2)] = -half
    return posedirs


def gaze_corrective(
    joint: int,
    axis: int,
    positive: tuple[float, Float[np.ndarray, "V 3"]],
    negative: tuple[float, Float[np.ndarray, "V 3"]],
) -> Float[np.ndarray, "V 3 36"]:
    """Corrective of an eye that comes close to given offsets at a positive and a negative angle about x (0) or y (1).

    Fits a·sin θ + b·(1 − cos θ) to the offsets at both angles; `positive` and `negative` are (θ > 0 and θ < 0 rad,
    offsets). 1 − cos θ is small where offsets are given and would be amplified beyond: b is held back by a ridge.
    """
    angles = np.array([positive[0], negative[0]])
    assert angles[0] > 0 > angles[1]
    system = np.stack([np.sin(angles), 1.0 - np.cos(angles)], axis=1)
    solve = np.linalg.solve(system.T @ system + np.diag([0.0, RIDGE**2]), system.T)
    a, b = np.tensordot(solve, np.stack([positive[1], negative[1]]), axes=1)
    posedirs = np.zeros((*a.shape, 4 * ENTRIES))
    # About y the sine stands at (x, z) = +sin θ and (z, x) = −sin θ; about x at (z, y) = +sin θ and (y, z) = −sin θ.
    plus, minus = ((2, 1), (1, 2)) if axis == 0 else ((0, 2), (2, 0))
    still = (1, 1) if axis == 0 else (0, 0)  # this entry answers to the turn about `axis` but not to the other one
    posedirs[..., entry(joint, *plus)] = 0.5 * a
    posedirs[..., entry(joint, *minus)] = -0.5 * a
    posedirs[..., entry(joint, *still)] = -b
    return posedirs
