"""From a displacement map to a detailed surface (Feng et al. 2021, eq. 10 and 11)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import interpolate as resize
from torch.nn.functional import normalize

from model.asset import HeadAsset
from model.mesh import Mesh, vertex_normals
from model.uv import UVLayout, surface_normals


@dataclass(frozen=True)
class DetailMaps:
    """A detailed surface over the UV map; zero where no triangle is.

    Attributes:
        displacement: metres along the coarse normals, mask and fixed displacement included.
        positions: metres, camera axes.
        normals: of the detailed surface where the mask is, of the coarse one elsewhere; camera axes, about unit length.
    """

    displacement: Float[Tensor, "*batch H W"]
    positions: Float[Tensor, "*batch 3 H W"]
    normals: Float[Tensor, "*batch 3 H W"]


class DetailSurface(nn.Module):
    """Displaces a head's surface; topology neutral. Buffers only, nothing in a state dict.

    Attributes:
        mask: where detail shows, [0, 1].
        fixed: displacement that is always there, metres.

    Args:
        layout: texels of the maps that come out.
        curved: round the flat triangles between their corners before displacing (`curved_offset`), and let the normals
            be the smooth ones plus what the displacement changes, so that without displacement the detailed surface
            shades as the coarse one does and its triangles do not show. The published networks were trained without.

    Raises:
        ValueError: the head has no texture coordinates.
    """

    mask: Float[Tensor, "H W"]
    fixed: Float[Tensor, "H W"]

    def __init__(self, asset: HeadAsset, layout: UVLayout, curved: bool = False) -> None:
        super().__init__()
        self.layout = layout
        self.curved = curved
        self.register_buffer("mask", detail_mask(asset, layout), persistent=False)
        fixed = np.zeros((1, 1), np.float32) if asset.fixed_displacement is None else asset.fixed_displacement
        self.register_buffer("fixed", _resized(torch.from_numpy(fixed), layout.size), persistent=False)

    def forward(
        self,
        mesh: Mesh,
        displacement: Float[Tensor, "*batch h w"],
        normals: Float[Tensor, "*batch V 3"] | None = None,
    ) -> DetailMaps:
        """M'_uv = M_uv + (D · mask + fixed) · N_uv and its normals.

        Args:
            mesh: coarse, camera axes.
            displacement: D, metres; resized to the layout's size.
            normals: of the mesh's vertices, where they are known already.
        """
        masked = _resized(displacement, self.layout.size) * self.mask
        normals = vertex_normals(mesh) if normals is None else normals
        carried = self.layout.carry(torch.cat([mesh.vertices, normals], dim=-1))
        positions, smooth = carried[..., :3, :, :], carried[..., 3:, :, :]
        if self.curved:
            positions = positions + curved_offset(mesh.vertices, normals, positions, self.layout)
        displaced = positions + masked[..., None, :, :] * smooth + self.fixed * smooth
        detailed = surface_normals(displaced)
        if self.curved:
            detailed = normalize(smooth + detailed - surface_normals(positions), dim=-3)
        return DetailMaps(masked + self.fixed, displaced, self.mask * detailed + (1 - self.mask) * smooth)


def detail_mask(asset: HeadAsset, layout: UVLayout) -> Float[Tensor, "H W"]:
    """The head's ``face_eye`` mask; without one its skin (and not scalp, ears and neck); without regions everything."""
    if "face_eye" in asset.uv_masks:
        return _resized(torch.from_numpy(asset.uv_masks["face_eye"]), layout.size)
    if "skin" not in asset.regions:
        return layout.covered
    mask = asset.regions["skin"].astype(np.float32)
    for name in ("scalp", "neck", "left_ear", "right_ear", "inner_mouth"):
        mask = mask * (1 - asset.regions.get(name, np.zeros_like(mask)))
    return layout.carry(torch.from_numpy(mask)[:, None])[0]


def curved_offset(
    vertices: Float[Tensor, "*batch V 3"],
    normals: Float[Tensor, "*batch V 3"],
    positions: Float[Tensor, "*batch 3 H W"],
    layout: UVLayout,
) -> Float[Tensor, "*batch 3 H W"]:
    """From the flat triangles to a surface that is rounded by the vertices' normals, metres.

    Phong tessellation (Boubekeur and Alexa 2008, eq. 1 and 2): 3/4 of the way from p to Σ b_k π_k(p), the mean of its
    projections on the corners' tangent planes. π_k(p) − p = n_k n_k · (v_k − p), so the sum comes from carrying the two
    fields n nᵀ and n (n · v) over the triangles.
    """
    outer = normals[..., :, None] * normals[..., None, :]
    along = (normals * vertices).sum(-1, keepdim=True) * normals
    carried = layout.carry(torch.cat([outer.flatten(-2), along], dim=-1))
    matrix = carried[..., :9, :, :].unflatten(-3, (3, 3))
    return 0.75 * (carried[..., 9:, :, :] - (matrix * positions[..., None, :, :, :]).sum(-3))


def _resized(maps: Tensor, size: int) -> Tensor:
    """Maps ``... h w`` at another size."""
    if maps.shape[-2:] == (size, size):
        return maps
    flat = maps.reshape(-1, 1, *maps.shape[-2:])
    return resize(flat, (size, size), mode="bilinear", align_corners=False).reshape(*maps.shape[:-2], size, size)
