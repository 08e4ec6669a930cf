"""PyTorch3D's rasteriser as the reference of DECA used it, in single precision with its own small constant.

PyTorch3D divides by the triangle's area + 1e-8, so the barycentric coordinates of a small triangle do not sum to one;
and as the reference moves the mesh to z = 10, the depth of small triangles is off by up to a hundredth: at a fold it
shows the surface behind. `model.raster` does neither. To compare everything else with the reference's numbers,
parity.py draws by these rules. They were found by comparison with `pytorch3d.renderer.mesh.rasterize_meshes`, whose
faces and coordinates these are, bit by bit.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from model.raster.cpu import compiled
from model.raster.fragments import Fragments

_EPSILON = np.float32(1e-8)
_DISTANCE = np.float32(10)  # what the reference adds to z


def rasterise(image: Float[Tensor, "batch V 3"], faces: Int[Tensor, "F 3"], size: int) -> Fragments:
    """Fragments of a mesh in image axes: x right, y down, z away, [−1, 1] over the picture.

    The barycentric coordinates are PyTorch3D's own, their sum is not exactly one.
    """
    points = image.detach().float().numpy() + np.array([0, 0, _DISTANCE], np.float32)
    face = np.full((len(points), size, size), -1, np.int64)
    barycentric = np.zeros((len(points), size, size, 3), np.float32)
    depth = np.full((len(points), size, size), np.inf, np.float32)
    for k, vertices in enumerate(points):
        _draw(np.ascontiguousarray(vertices), faces.numpy(), face[k], barycentric[k], depth[k])
    return Fragments(*(torch.from_numpy(array) for array in (face, barycentric, -depth)))


@compiled
def _edge(px, py, ax, ay, bx, by):
    return (px - ax) * (by - ay) - (py - ay) * (bx - ax)


@compiled
def _draw(vertices, faces, face, barycentric, depth):
    size = face.shape[0]
    centres = np.empty(size, np.float32)
    for k in range(size):
        centres[k] = np.float32(-1) + (np.float32(2 * k) + np.float32(1)) / np.float32(size)
    for index in range(len(faces)):
        a, b, c = vertices[faces[index, 0]], vertices[faces[index, 1]], vertices[faces[index, 2]]
        # Its axes point left and up.
        ax, ay, bx, by, cx, cy = -a[0], -a[1], -b[0], -b[1], -c[0], -c[1]
        area = _edge(cx, cy, ax, ay, bx, by)
        if abs(area) <= _EPSILON:
            continue
        area = area + _EPSILON
        low_x, high_x = min(ax, bx, cx), max(ax, bx, cx)
        low_y, high_y = min(ay, by, cy), max(ay, by, cy)
        first_x = max(0, int((low_x + 1) / 2 * size) - 1)
        last_x = min(size, int((high_x + 1) / 2 * size) + 2)
        first_y = max(0, int((low_y + 1) / 2 * size) - 1)
        last_y = min(size, int((high_y + 1) / 2 * size) + 2)
        for i in range(first_y, last_y):
            y = centres[i]
            for j in range(first_x, last_x):
                x = centres[j]
                wa = _edge(x, y, bx, by, cx, cy) / area
                wb = _edge(x, y, cx, cy, ax, ay) / area
                wc = _edge(x, y, ax, ay, bx, by) / area
                if not (wa > 0 and wb > 0 and wc > 0):
                    continue
                z = wa * a[2] + wb * b[2] + wc * c[2]
                row, column = size - 1 - i, size - 1 - j
                if z < depth[row, column]:
                    depth[row, column] = z
                    face[row, column] = index
                    barycentric[row, column, 0] = wa
                    barycentric[row, column, 1] = wb
                    barycentric[row, column, 2] = wc
