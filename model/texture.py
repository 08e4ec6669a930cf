"""A head's texture from a picture of it: colours carried into the UV map, with what the picture really shows."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from model.camera import project_with_depth
from model.mesh import Mesh, vertex_normals
from model.params import Camera
from model.uv import UVLayout, sample
from model.views import look

_FACING = 0.05
"""Least z of a normal (camera axes) of skin that the picture is taken to show."""


@dataclass(frozen=True)
class ExtractedTexture:
    """Colours over the UV map.

    Attributes:
        colour: RGB, shading included; as many channels as the picture had.
        visible: 1 where the picture shows the texel, 0 where it is turned away, hidden, outside the picture or no skin.
    """

    colour: Float[Tensor, "*batch C h w"]
    visible: Float[Tensor, "*batch 1 h w"]


def extract_texture(
    image: Float[Tensor, "*batch C H W"],
    mesh: Mesh,
    camera: Camera,
    layout: UVLayout,
    tolerance: float = 0.002,
) -> ExtractedTexture:
    """Look up every texel of a posed head in a picture of it.

    Args:
        image: RGB in [0, 1], any aspect ratio; further channels (a mask) are looked up with it.
        mesh: camera axes, metres.
        camera: of the picture, px.
        tolerance: metres by which a texel may lie behind the surface that is seen at its place.
    """
    height, width = image.shape[-2:]
    points = layout.carry(project_with_depth(camera, mesh.vertices))
    grid = picture_grid(points[..., :2, :, :], height, width)
    normals = layout.carry(vertex_normals(mesh))
    inside = (grid.abs() <= 1).all(-1)
    # What the picture shows at the texel's pixel. Over a pixel, depth (px) changes by the slope.
    column, row = (points[..., k, :, :].long().clamp(0, size - 1) for k, size in ((0, width), (1, height)))
    surface = look(mesh, camera, height, width)
    seen = surface.fragments.depth.flatten(-2).gather(-1, (row * width + column).flatten(-2)).reshape(row.shape)
    facing = normals[..., 2, :, :]
    slope = (1 - facing.square()).clamp(min=0).sqrt() / facing.clamp(min=_FACING)
    hidden = seen - points[..., 2, :, :] > tolerance * camera.s[..., None, None] + slope
    # At the silhouette, colours of the background would be mixed in.
    unmixed = sample(surface.alpha, grid, outside="zeros")[..., 0, :, :] > 0.999
    visible = inside & unmixed & (facing > _FACING) & ~hidden & (layout.covered > 0)
    return ExtractedTexture(sample(image, grid), visible.to(image.dtype)[..., None, :, :])


def picture_grid(points: Float[Tensor, "*batch 2 h w"], height: int, width: int) -> Float[Tensor, "*batch h w 2"]:
    """Pixels to sampling coordinates of a picture of that size."""
    scale = points.new_tensor([2 / width, 2 / height])
    return points.movedim(-3, -1) * scale - 1
