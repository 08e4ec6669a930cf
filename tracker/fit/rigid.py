"""Where a head is, before its shape and expression are known: a camera and a rotation by linear least squares."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def rigid_start(
    points: Float[Tensor, "N 2 K"], head: Float[Tensor, "B K 3"], weight: Float[Tensor, "K"]
) -> tuple[Float[Tensor, "N 3 3"], Float[Tensor, "N"], Float[Tensor, "N 2"]]:
    """Rotation, scale (px/m) and image position of the head's origin, from an affine camera made orthographic.

    Args:
        points: px, y down.
        head: the same points of the mean head, metres (one head, or one per frame).
        weight: of the points, any positive unit.
    """
    root = weight.double().sqrt()
    system = torch.nn.functional.pad(head.double(), (0, 1), value=1.0) * root[:, None]  # B K 4
    target = points.double().transpose(1, 2) * root[:, None]  # N K 2
    gram = system.transpose(1, 2) @ system
    affine = torch.linalg.solve(gram, system.transpose(1, 2) @ target).transpose(1, 2)  # N 2 4
    flip = torch.tensor([1.0, -1.0], dtype=torch.float64, device=points.device)[:, None]
    u, s, vt = torch.linalg.svd(affine[:, :, :3] * flip, full_matrices=False)
    rows = u @ vt  # the nearest matrix with orthonormal rows
    rotation = torch.cat([rows, torch.linalg.cross(rows[:, :1], rows[:, 1:])], 1)
    scale = s.mean(1)
    moved = torch.einsum(
        "nij,bkj->nik" if len(head) == 1 else "nij,nkj->nik", rows * scale[:, None, None], head.double()
    )
    residual = points.double() - flip * moved
    shift = (residual * weight.double()).sum(2) / weight.double().sum()
    return rotation.to(points), scale.to(points), shift.to(points)
