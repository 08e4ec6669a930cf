"""The light on a photographed face, from its skin: what albedo times shading leaves least wrong."""

from __future__ import annotations

import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from torch import Tensor

from model.head import HeadModel
from model.mesh import vertex_normals
from model.params import Camera, FaceParams
from model.shading import albedo_texture, sh_basis
from model.texture import extract_texture
from model.uv import UVLayout

_MAP = 128
_SPREAD = 0.35
"""How far a harmonic above the first may well lie from what was guessed, in parts of the even light."""
_DOUBT = 0.12
"""Deviation of a colour from albedo times shading from which a texel counts less (Cauchy)."""
_INDEPENDENT = 150.0
"""Texels that count as independent of each other: neighbours err alike."""
_ROUNDS = 5
_PLAIN = ("lips", "left_eyelid", "right_eyelid", "left_brow", "right_brow", "inner_mouth", "scalp", "neck")


@torch.no_grad()
def find_light(
    image: UInt8[ndarray, "H W 3"],
    head: HeadModel,
    params: FaceParams,
    camera: Camera,
    albedo: Float[Tensor, " A"],
    guess: Float[Tensor, "9 3"] | None = None,
) -> Float[Tensor, "9 3"]:
    """Spherical harmonics by colour, camera axes: robust least squares over visible skin, drawn to a guess.

    The level and colour of the light take up what the albedo lacks, so that albedo times shading meets the photograph.

    Args:
        params, camera: of the face on the photograph.
        albedo: coefficients; zero for the mean.
        guess: what a network says; even light of the face's mean colour without.
    """
    asset = head.asset
    layout = UVLayout(asset, _MAP)
    mesh = head.mesh(params)
    picture = torch.from_numpy(image).permute(2, 0, 1).float() / 255
    seen = extract_texture(picture, mesh, camera, layout)
    skin = torch.from_numpy(asset.regions.get("face", asset.regions.get("skin", _ones(head))).astype("float32"))
    for name in _PLAIN:
        if name in asset.regions:
            skin = skin * (1 - torch.from_numpy(asset.regions[name].astype("float32")))
    weight = (seen.visible[0] * (layout.carry(skin[:, None])[0] > 0.95)).flatten()
    used = weight.nonzero()[:, 0]
    colour = seen.colour.flatten(1)[:, used].T
    own = _albedo(head, albedo)[:, used].T
    basis = sh_basis(layout.carry(vertex_normals(mesh)).flatten(1)[:, used].T)
    if len(used) < 60:
        return _even(torch.full((3,), 1.0)) if guess is None else guess
    level = colour.median(0).values / own.median(0).values.clamp(min=0.05)
    start = _even(level)
    if guess is not None:  # the network's shape of the light, at the level of the photograph
        shading = (basis @ guess).median(0).values.clamp(min=0.05)
        start = guess * (level / shading)
    light = start.clone()
    spread = _SPREAD * start[0].abs().mean()
    for channel in range(3):
        rows = own[:, channel, None] * basis
        sure = torch.ones(len(used))
        for _ in range(_ROUNDS):
            share = sure / sure.sum() * _INDEPENDENT / _DOUBT**2
            prior = torch.full((9,), float(1 / spread**2))
            prior[0] = 1e-3
            left = (rows * share[:, None]).T @ rows + prior.diag()
            right = (rows * share[:, None]).T @ colour[:, channel] + prior * start[:, channel]
            light[:, channel] = torch.linalg.solve(left, right)
            sure = 1 / (1 + ((rows @ light[:, channel] - colour[:, channel]) / _DOUBT).square())
    return light


def _ones(head: HeadModel):
    return head.template.new_ones(len(head.template)).numpy()


def _even(level: Float[Tensor, "3"]) -> Float[Tensor, "9 3"]:
    light = torch.zeros(9, 3)
    light[0] = level / float(sh_basis(torch.tensor([0.0, 0.0, 1.0]))[0])
    return light


def _albedo(head: HeadModel, codes: Float[Tensor, " A"]) -> Float[Tensor, "3 texels"]:
    asset = head.asset
    if asset.albedo_mean is None or asset.albedo_basis is None:
        return torch.full((3, _MAP * _MAP), 180 / 255)
    mean, basis = torch.from_numpy(asset.albedo_mean).float(), torch.from_numpy(asset.albedo_basis).float()
    maps = albedo_texture(mean, basis, codes[None])
    return torch.nn.functional.interpolate(maps, (_MAP, _MAP), mode="area")[0].clamp(0.02, 1).flatten(1)
