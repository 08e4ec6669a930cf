"""Looking at a mesh: rasterise once, then make as many pictures of it as wanted (DECA eq. 3, 4, 5 and 11).

Pictures are ``... C H W``, RGB, black where no mesh is; put them over a background with `composite`. Gradients flow to
geometry, camera, texture and light; which triangle a pixel sees is constant.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from model.camera import project_with_depth
from model.mesh import Mesh, vertex_normals
from model.params import Camera
from model.raster import Fragments, barycentrics, interpolate, rasterise
from model.shading import sh_shading, shape_shading
from model.uv import UVLayout, sample

_SHAPE_VIEW_LIMIT = -0.15
"""Surface whose normal's z (camera axes) is less is left out of the shape view: the inside, seen through the neck."""


@dataclass(frozen=True)
class Surface:
    """What a camera sees of a mesh.

    Attributes:
        mesh: in camera axes.
        normals: unit, of the mesh's vertices.
        fragments: the triangle at every pixel.
        barycentric: where in the triangle; a function of the vertices where they need a gradient.
    """

    mesh: Mesh
    normals: Float[Tensor, "*batch V 3"]
    fragments: Fragments
    barycentric: Float[Tensor, "*batch H W 3"]

    def carry(
        self, attributes: Float[Tensor, "*batch V C"], faces: Int[Tensor, "F 3"] | None = None
    ) -> Float[Tensor, "*batch H W C"]:
        """Vertex attributes at the pixels; `faces` where they belong to other vertices, e.g. those of the texture."""
        faces = self.mesh.faces if faces is None else faces
        return interpolate(attributes, faces, self.fragments, self.barycentric)

    def grid(self, layout: UVLayout) -> Float[Tensor, "*batch H W 2"]:
        """Sampling coordinates of the pixels in UV maps."""
        batch = self.fragments.face.shape[:-2]
        return self.carry(layout.grid.expand(*batch, -1, -1), layout.uv_faces)

    @property
    def alpha(self) -> Float[Tensor, "*batch 1 H W"]:
        """1 where the mesh is, 0 elsewhere."""
        return (self.fragments.face >= 0).to(self.barycentric.dtype)[..., None, :, :]


def look(
    mesh: Mesh, camera: Camera, height: int, width: int, normals: Float[Tensor, "*batch V 3"] | None = None
) -> Surface:
    """Rasterise a mesh (camera axes, metres) for a picture of any aspect ratio.

    Args:
        normals: of the mesh's vertices, where they are known already.
    """
    points = project_with_depth(camera, mesh.vertices)
    fragments = rasterise(points, mesh.faces, height, width)
    needs_gradient = points.requires_grad and torch.is_grad_enabled()
    weights = barycentrics(points, mesh.faces, fragments) if needs_gradient else fragments.barycentric
    return Surface(mesh, vertex_normals(mesh) if normals is None else normals, fragments, weights)


def normal_view(surface: Surface) -> Float[Tensor, "*batch 3 H W"]:
    """Smooth normals in camera axes: the vertices', interpolated and, as in DECA, not made unit length again."""
    return surface.carry(surface.normals).movedim(-1, -3)


def detail_normal_view(
    surface: Surface, normals: Float[Tensor, "*batch 3 h w"], layout: UVLayout
) -> Float[Tensor, "*batch 3 H W"]:
    """Normals of the detailed surface, from their UV map."""
    return sample(normals, surface.grid(layout)) * surface.alpha


def depth_view(surface: Surface) -> Float[Tensor, "*batch 1 H W"]:
    """Z in camera axes, metres, larger is nearer; zero where no mesh is."""
    return surface.carry(surface.mesh.vertices[..., 2:]).movedim(-1, -3)


def shading_view(
    normals: Float[Tensor, "*batch 3 H W"], light: Float[Tensor, "*batch 9 3"]
) -> Float[Tensor, "*batch 3 H W"]:
    """What the light makes of white skin, RGB, not clamped; of a picture of normals or of a UV map of them."""
    shading = sh_shading(normals.movedim(-3, -1).flatten(-3, -2), light)
    return shading.unflatten(-2, normals.shape[-2:]).movedim(-1, -3)


def textured_view(
    surface: Surface,
    normals: Float[Tensor, "*batch 3 H W"],
    albedo: Float[Tensor, "*batch 3 h w"],
    light: Float[Tensor, "*batch 9 3"],
    layout: UVLayout,
) -> Float[Tensor, "*batch 3 H W"]:
    """The lit head: albedo times shading (eq. 3, 4; with the detail's normals eq. 11)."""
    return sample(albedo, surface.grid(layout)) * shading_view(normals, light) * surface.alpha


def shape_view(
    surface: Surface, normals: Float[Tensor, "*batch 3 H W"] | None = None
) -> tuple[Float[Tensor, "*batch 3 H W"], Float[Tensor, "*batch 1 H W"]]:
    """The grey head under five lights, and its alpha.

    Args:
        normals: of the detailed surface; by default the smooth ones of the mesh.
    """
    smooth = normal_view(surface)
    alpha = surface.alpha * (smooth[..., 2:, :, :] > _SHAPE_VIEW_LIMIT)
    grey = shape_shading((smooth if normals is None else normals).movedim(-3, -1))[..., None, :, :] * alpha
    return grey.expand(smooth.shape), alpha


def composite(
    image: Float[Tensor, "*batch C H W"],
    alpha: Float[Tensor, "*batch 1 H W"],
    background: Float[Tensor, "*batch C H W"],
) -> Float[Tensor, "*batch C H W"]:
    """A picture on black put over a background of the same size."""
    return image * alpha + background * (1 - alpha)
