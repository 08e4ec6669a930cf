"""The UV map as a grid of texels: which triangle each texel lies on, and attributes carried from the mesh to the map.

Maps are ``... C H W``; row 0 is v = 1, texels are squares, their centres inside.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import grid_sample

from model.asset import HeadAsset
from model.raster import Fragments, rasterise


class UVLayout(nn.Module):
    """The texture layout of a head and its texels. Buffers only, nothing in a state dict.

    Attributes:
        faces: triangles of the mesh.
        uv_faces: the same triangles as texture vertices.
        grid: texture vertices as sampling coordinates, x right and y down, [−1, 1] over the map. Interpolate these, not
            UVs, where a texture is looked up.
        size: texels on a side.

    Raises:
        ValueError: the head has no texture coordinates.
    """

    faces: Int[Tensor, "F 3"]
    uv_faces: Int[Tensor, "F 3"]
    grid: Float[Tensor, "VT 2"]
    _face: Int[Tensor, "H W"]
    _barycentric: Float[Tensor, "H W 3"]

    def __init__(self, asset: HeadAsset, size: int = 256) -> None:
        super().__init__()
        if asset.uv is None or asset.uv_faces is None:
            raise ValueError(
                f"head {asset.name} has no texture coordinates; for FLAME put head_template.obj beside the model"
            )
        self.size = size
        self.register_buffer("faces", torch.from_numpy(asset.faces).long(), persistent=False)
        self.register_buffer("uv_faces", torch.from_numpy(asset.uv_faces).long(), persistent=False)
        self.register_buffer("grid", grid_coordinates(torch.from_numpy(asset.uv).float()), persistent=False)
        self.set_fragments(rasterise(self.screen(), self.uv_faces, size, size))

    def screen(self) -> Float[Tensor, "VT 3"]:
        """Texture vertices in texels, as the rasterisers take them; everything at depth 0."""
        texels = (self.grid + 1) / 2 * self.size
        return torch.cat([texels, torch.zeros_like(texels[:, :1])], dim=-1)

    def set_fragments(self, fragments: Fragments) -> None:
        """Use these texels, e.g. of another rasteriser."""
        self.register_buffer("_face", fragments.face, persistent=False)
        self.register_buffer("_barycentric", fragments.barycentric.to(self.grid.dtype), persistent=False)

    @property
    def covered(self) -> Float[Tensor, "H W"]:
        """1 where a triangle is."""
        return (self._face >= 0).to(self.grid.dtype)

    def carry(self, attributes: Float[Tensor, "*batch V C"]) -> Float[Tensor, "*batch C H W"]:
        """Attributes of the mesh's vertices on the map, zero where no triangle is; differentiable."""
        # As `raster.interpolate`, but the texels' triangles are the same in the whole batch: rows of one table.
        batch, channels = attributes.shape[:-2], attributes.shape[-1]
        table = attributes.reshape(-1, *attributes.shape[-2:]).movedim(1, 0).flatten(1)
        corners = self.faces[self._face.clamp(min=0).flatten()]
        weights = self._barycentric.flatten(0, 1)
        texels = sum(table.index_select(0, corners[:, k]) * weights[:, k, None] for k in range(3))
        assert isinstance(texels, Tensor)
        return texels.T.reshape(*batch, channels, self.size, self.size)


def grid_coordinates(uv: Float[Tensor, "*points 2"]) -> Float[Tensor, "*points 2"]:
    """UVs in [0, 1], origin at the bottom-left, to sampling coordinates: x right, y down, [−1, 1] over the map."""
    return torch.stack([2 * uv[..., 0] - 1, -(2 * uv[..., 1] - 1)], dim=-1)


def sample(
    image: Float[Tensor, "*batch C H W"], grid: Float[Tensor, "*batch h w 2"], outside: str = "border"
) -> Float[Tensor, "*batch C h w"]:
    """A picture or map at sampling coordinates, bilinear; outside the border continues, or there are ``zeros``."""
    sampled = grid_sample(
        image.reshape(-1, *image.shape[-3:]),
        grid.reshape(-1, *grid.shape[-3:]),
        mode="bilinear",
        padding_mode=outside,
        align_corners=False,
    )
    return sampled.reshape(*image.shape[:-3], *sampled.shape[-3:])


def surface_normals(positions: Float[Tensor, "*batch 3 H W"]) -> Float[Tensor, "*batch 3 H W"]:
    """Normals of a grid of points on a surface, area weighted over the six triangles at each point.

    Every square of texels is split along its rising diagonal. Unit length, but shorter where the triangles are so small
    that their cross products sum to less than 1e-6 (m²), as in DECA.
    """
    p = positions
    a, b, c, d = p[..., :-1, :-1], p[..., :-1, 1:], p[..., 1:, :-1], p[..., 1:, 1:]  # a b over c d
    upper, lower = _cross(c - a, b - a), _cross(d - c, b - c)
    both = upper + lower
    total = torch.zeros_like(p)
    total[..., :-1, :-1] += upper
    total[..., 1:, 1:] += lower
    total[..., :-1, 1:] += both
    total[..., 1:, :-1] += both
    # PyTorch's cross and normalize take 15 times as long along this dimension.
    squares = total.square()
    length = (squares[..., :1, :, :] + squares[..., 1:2, :, :] + squares[..., 2:, :, :]).clamp(min=1e-12).sqrt()
    return total / length


def _cross(u: Tensor, v: Tensor) -> Tensor:
    ux, uy, uz = u.unbind(-3)
    vx, vy, vz = v.unbind(-3)
    return torch.stack([uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx], dim=-3)
