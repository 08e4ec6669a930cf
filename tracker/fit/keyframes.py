"""Which frames of a video the identity is found from."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

POSE_UNIT = 0.3
"""Rotation (rad) that counts as much as `SHAPE_UNIT`."""
SHAPE_UNIT = 2e-3
"""Root mean square motion of the points (m) besides the head's own."""


def choose_keyframes(
    points: Float[Tensor, "N 2 K"], rotation: Float[Tensor, "N 3 3"], rest: Float[Tensor, "N 2 K"], count: int
) -> Int[Tensor, "M"]:
    """Rows, ascending: half evenly spread in time, so that the usual face weighs most, half the most different ones.

    Args:
        points: metres on the head.
        rotation: of the head.
        rest: where the points of the mean head would be; what differs from them is shape and expression.
        count: how many; all where there are no more.
    """
    n = len(points)
    if n <= count:
        return torch.arange(n, device=points.device)
    moved = (points - rest).flatten(1) / (SHAPE_UNIT * points.shape[2] ** 0.5)
    feature = torch.cat([moved, rotation.flatten(1) / POSE_UNIT], 1)
    chosen = torch.linspace(0, n - 1, max(count // 2, 1)).round().long().unique().tolist()
    nearest = torch.cdist(feature, feature[chosen]).amin(1)
    while len(chosen) < count:
        farthest = int(nearest.argmax())
        chosen.append(farthest)
        nearest = torch.minimum(nearest, (feature - feature[farthest]).norm(dim=1))
    return torch.tensor(sorted(set(chosen)), device=points.device)
