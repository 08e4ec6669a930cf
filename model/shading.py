"""Light on skin: second-order spherical harmonics as DECA uses them, the grey shape view, and the albedo model."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate, normalize

from model.uv import grid_coordinates, sample

_SH_FACTORS = (
    1 / math.sqrt(4 * math.pi),
    *(2 * math.pi / 3 * math.sqrt(3 / (4 * math.pi)),) * 3,
    *(3 * math.pi / 4 * math.sqrt(5 / (12 * math.pi)),) * 3,
    3 * math.pi / 8 * math.sqrt(5 / (12 * math.pi)),
    math.pi / 8 * math.sqrt(5 / (4 * math.pi)),
)
_SHAPE_LIGHTS = ((-1.0, 1.0, 1.0), (1.0, 1.0, 1.0), (-1.0, -1.0, 1.0), (1.0, -1.0, 1.0), (0.0, 0.0, 1.0))
_SHAPE_INTENSITY = 1.7
_SHAPE_GREY = 180 / 255


def sh_basis(normals: Float[Tensor, "*points 3"]) -> Float[Tensor, "*points 9"]:
    """The nine spherical harmonics 1, x, y, z, xy, xz, yz, x² − y², 3z² − 1, times the factors of a Lambertian surface
    (Basri and Jacobs 2003, as DECA scales them), at unit normals in camera axes."""
    x, y, z = normals.unbind(-1)
    basis = torch.stack([torch.ones_like(x), x, y, z, x * y, x * z, y * z, x**2 - y**2, 3 * z**2 - 1], dim=-1)
    return basis * basis.new_tensor(_SH_FACTORS)


def sh_shading(normals: Float[Tensor, "*batch N 3"], light: Float[Tensor, "*batch 9 3"]) -> Float[Tensor, "*batch N 3"]:
    """Irradiance, RGB, what the albedo is multiplied by; may be negative, as in DECA.

    Args:
        normals: unit, camera axes.
        light: coefficient by colour.
    """
    return sh_basis(normals) @ light


def shape_shading(normals: Float[Tensor, "*points 3"]) -> Float[Tensor, "*points"]:
    """Grey value of the shape view: five white lights from the viewer's side, 1.7 each, averaged; up to about 1.

    Args:
        normals: unit, camera axes (+z to the viewer).
    """
    lights = normalize(normals.new_tensor(_SHAPE_LIGHTS), dim=-1)
    return _SHAPE_GREY * _SHAPE_INTENSITY * (normals @ lights.T).clamp(min=0).mean(-1)


def albedo_texture(
    mean: Float[Tensor, "H W 3"], basis: Float[Tensor, "A h w 3"], codes: Float[Tensor, "*batch A"]
) -> Float[Tensor, "*batch 3 H W"]:
    """The linear albedo model in UV space, RGB, about [0, 1] (not clamped); row 0 is v = 1.

    Args:
        codes: standard deviations.
    """
    size = (mean.shape[0], mean.shape[1])
    offset = torch.einsum("ahwc,...a->...chw", basis, codes)
    if tuple(offset.shape[-2:]) != size:
        flat = offset.reshape(-1, *offset.shape[-3:])
        offset = interpolate(flat, size, mode="bilinear", align_corners=False).reshape(*codes.shape[:-1], 3, *size)
    return mean.movedim(-1, 0) + offset


def sample_texture(
    texture: Float[Tensor, "*batch C H W"], uv: Float[Tensor, "*batch h w 2"]
) -> Float[Tensor, "*batch C h w"]:
    """A texture at UV coordinates (origin at the bottom-left), bilinear; texels are squares, their centres inside.

    Outside [0, 1] the border continues. (DECA's reference fades to black there, which shows as a dark seam.)
    """
    return sample(texture, grid_coordinates(uv))
