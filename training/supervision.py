"""Losses of codes whose true values are known: rendered faces, and photographs that the landmark fit has explained.

Not in the paper. Each is a mean over the faces that are known, zero where there are none. Differences of codes count by
what they do to the head, in square millimetres: some directions move a face by millimetres and others by nothing.
"""

from __future__ import annotations

import math

import numpy as np
import roma
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from model.asset import HeadAsset
from model.shading import sh_basis

MILLIMETRES = 1000.0


class CodeMetrics(nn.Module):
    """How far apart two codes are on the head: Δᵀ G Δ, a mean square over the face. Buffers only, no state.

    Attributes:
        shape, expression: mm² between vertices of the face, per code².
        light: squared shading of white skin, over directions that face the camera.

    Args:
        asset: the head; vertices count by its region "face", else "skin", else all alike.
    """

    shape: Float[Tensor, "S S"]
    expression: Float[Tensor, "E E"]
    light: Float[Tensor, "9 9"]

    def __init__(self, asset: HeadAsset) -> None:
        super().__init__()
        region = next((asset.regions[name] for name in ("face", "skin") if name in asset.regions), None)
        weight = np.ones(len(asset.template)) if region is None else region.astype(np.float64)
        for name, directions in (("shape", asset.shapedirs), ("expression", asset.exprdirs)):
            flat = np.sqrt(weight / weight.sum())[:, None, None] * directions.astype(np.float64) * MILLIMETRES
            flat = flat.reshape(-1, directions.shape[-1])
            self.register_buffer(name, torch.from_numpy(flat.T @ flat).float(), persistent=False)
        basis = sh_basis(_facing_directions(512))
        self.register_buffer("light", basis.T @ basis / len(basis), persistent=False)


def metric_loss(
    codes: Float[Tensor, "batch N"],
    truth: Float[Tensor, "batch N"],
    metric: Float[Tensor, "N N"],
    known: Bool[Tensor, " batch"],
) -> Float[Tensor, ""]:
    """Δᵀ G Δ, in the unit of the metric G: mm² of shape and expression, squared shading of one colour of light."""
    difference = codes - truth
    return mean_of_known(((difference @ metric) * difference).sum(-1), known)


def code_loss(
    codes: Float[Tensor, "batch N"], truth: Float[Tensor, "batch N"], known: Bool[Tensor, " batch"]
) -> Float[Tensor, ""]:
    """Mean square difference, in squares of the code's unit."""
    return mean_of_known((codes - truth).square().mean(-1), known)


def rotation_loss(
    rotation: Float[Tensor, "batch 3 3"], truth: Float[Tensor, "batch 3 3"], known: Bool[Tensor, " batch"]
) -> Float[Tensor, ""]:
    """2 (1 − cos θ) of the angle θ between two rotations: θ² (rad²) where it is small, and smooth everywhere.

    ‖R − R*‖² = 4 (1 − cos θ) in the Frobenius norm.
    """
    return mean_of_known((rotation - truth).square().sum((-2, -1)) / 2, known)


def axis_angle_loss(
    rotations: Float[Tensor, "batch N"], truth: Float[Tensor, "batch N"], known: Bool[Tensor, " batch"]
) -> Float[Tensor, ""]:
    """`rotation_loss` of one or several axis-angle vectors side by side, their mean."""
    pairs = (vectors.unflatten(-1, (-1, 3)) for vectors in (rotations, truth))
    found, wanted = (roma.rotvec_to_rotmat(vectors) for vectors in pairs)
    return mean_of_known((found - wanted).square().sum((-2, -1)).mean(-1) / 2, known)


def reprojection_loss(
    points: Float[Tensor, "batch N 2"], truth: Float[Tensor, "batch N 2"], known: Bool[Tensor, " batch"]
) -> Float[Tensor, ""]:
    """Mean square distance of projected points, half crops²."""
    return mean_of_known((points - truth).square().sum(-1).mean(-1), known)


def albedo_loss(
    albedo: Float[Tensor, "batch 3 h w"],
    truth: Float[Tensor, "batch 3 h w"],
    mask: Float[Tensor, "h w"],
    known: Bool[Tensor, " batch"],
) -> Float[Tensor, ""]:
    """Mean square difference of RGB over the masked texels."""
    squares = ((albedo - truth).square().mean(1) * mask).sum((-2, -1)) / mask.sum()
    return mean_of_known(squares, known)


def mean_of_known(values: Float[Tensor, " batch"], known: Bool[Tensor, " batch"]) -> Float[Tensor, ""]:
    """The mean where something is known, zero where nothing is."""
    kept = torch.where(known, values, torch.zeros_like(values))
    return kept.sum() / known.sum().clamp(min=1)


def _facing_directions(count: int) -> Float[Tensor, "N 3"]:
    """Unit vectors evenly over the half sphere that faces the camera (Fibonacci's lattice)."""
    place = torch.arange(count) + 0.5
    z = place / count
    angle = place * math.pi * (3 - math.sqrt(5))
    radius = (1 - z * z).sqrt()
    return torch.stack([radius * angle.cos(), radius * angle.sin(), z], dim=-1)
