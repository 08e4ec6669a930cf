"""PyTorch3D (Ravi et al. 2020) as a rasteriser, to compare with; install with ``make test-pytorch3d``.

It has another rule for pixels whose centre is exactly on an edge, works in single precision, and adds 1e-8 to the area
of every triangle. Which triangle is seen comes from it; coordinates and depth are computed afresh.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from model.raster.fragments import Fragments, barycentrics, check_faces, interpolate


def rasterise(
    vertices: Float[Tensor, "*batch V 3"], faces: Int[Tensor, "F 3"], height: int, width: int, cull: bool = False
) -> Fragments:
    """Fragments of a mesh in image space, on the vertices' device.

    Args:
        vertices: x, y in pixels and depth, larger is nearer.
        cull: leave out triangles seen from their back, those that are clockwise on the screen.

    Raises:
        ValueError: PyTorch3D is not installed, or a face names a vertex that is not there.
    """
    try:
        from pytorch3d.renderer.mesh import rasterize_meshes  # pyright: ignore[reportMissingImports]
        from pytorch3d.structures import Meshes  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ValueError("PyTorch3D is not installed; pip install decatrack[pytorch3d], with torch 2.12") from error
    check_faces(faces, vertices.shape[-2])
    batch = vertices.shape[:-2]
    points = vertices.detach().float().reshape(-1, *vertices.shape[-2:])
    if not len(faces) or not len(points):
        empty = vertices.new_zeros(*batch, height, width)
        return Fragments((empty - 1).long(), empty[..., None].repeat(*[1] * empty.dim(), 3), empty - torch.inf)

    # Its axes point left, up and away, and the shorter side of the picture is [-1, 1].
    half = min(height, width) / 2
    x = (width / 2 - points[..., 0]) / half
    y = (height / 2 - points[..., 1]) / half
    far = points[..., 2].amax(-1, keepdim=True) - points[..., 2]
    # Behind the picture's plane, but little: its error of the depth grows with the distance.
    z = 0.01 + far / far.amax(-1, keepdim=True).clamp(min=1e-12)
    meshes = Meshes(torch.stack([x, y, z], dim=-1), faces.expand(len(points), -1, -1))
    found, *_ = rasterize_meshes(
        meshes,
        image_size=(height, width),
        blur_radius=0.0,
        faces_per_pixel=1,
        perspective_correct=False,
        cull_backfaces=cull,
    )
    face = found[..., 0]
    face = torch.where(face >= 0, face % len(faces), face)  # it counts on through the batch
    return _fragments(face.reshape(*batch, height, width), vertices, faces)


def _fragments(face: Tensor, vertices: Tensor, faces: Tensor) -> Fragments:
    """Coordinates and depth of the triangles that were found."""
    exact = vertices.detach().double()
    unknown = Fragments(face, exact.new_zeros(*face.shape, 3), exact.new_zeros(face.shape))
    weights = barycentrics(exact, faces, unknown)
    known = Fragments(face, weights, unknown.depth)
    depth = interpolate(exact[..., 2:], faces, known)[..., 0]
    return Fragments(face, weights.to(vertices.dtype), depth.masked_fill(face < 0, -torch.inf).to(vertices.dtype))
