"""Rasterisers: which triangle is seen at every pixel, and where in it. All give the same pixels."""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor

from model.raster.fragments import Fragments, barycentrics, interpolate

__all__ = ["Fragments", "barycentrics", "interpolate", "rasterise"]


def rasterise(
    vertices: Float[Tensor, "*batch V 3"], faces: Int[Tensor, "F 3"], height: int, width: int, cull: bool = False
) -> Fragments:
    """Fragments of a mesh in image space, by the rasteriser for the vertices' device.

    Args:
        vertices: x, y in pixels and depth, larger is nearer; see `model.camera.project_with_depth`.
        cull: leave out triangles seen from their back, those that are clockwise on the screen.

    Raises:
        ValueError: a face names a vertex that is not there.
    """
    if vertices.device.type == "cpu":
        from model.raster.cpu import rasterise as backend  # numba takes half a second to import
    else:
        from model.raster.torch import rasterise as backend
    return backend(vertices, faces, height, width, cull)
