"""The rasteriser for processors: numba, one triangle after the other over its own few pixels."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numba
import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from model.raster.fragments import Fragments, check_faces


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile with numba, and keep the result on disk where that is possible.

    numba refuses to cache, with an error, where neither the package nor the user's cache folder can be written.
    Threads are ours and not numba's (`parallel`): its pools die of a fork, and some of a call from a second thread.
    """
    function = inspect.unwrap(function)  # jaxtyping's hook wraps every function of the package
    try:
        return numba.njit(cache=True, nogil=True, error_model="numpy")(function)
    except RuntimeError:
        return numba.njit(nogil=True, error_model="numpy")(function)


def rasterise(
    vertices: Float[Tensor, "*batch V 3"], faces: Int[Tensor, "F 3"], height: int, width: int, cull: bool = False
) -> Fragments:
    """Fragments of a mesh in image space; the rules are those of `model.raster.fragments`.

    Args:
        vertices: x, y in pixels and depth, larger is nearer; float32 or float64 on the CPU.
        cull: leave out triangles seen from their back, those that are clockwise on the screen.

    Raises:
        ValueError: the vertices are not on the CPU, or a face names a vertex that is not there.
    """
    if vertices.device.type != "cpu":
        raise ValueError(f"vertices are on {vertices.device}, this rasteriser runs on the CPU; use model.raster.torch")
    check_faces(faces, vertices.shape[-2])  # the compiled code would read foreign memory
    batch = vertices.shape[:-2]
    points = vertices.detach().double().reshape(-1, *vertices.shape[-2:]).contiguous().numpy()
    corners = faces.contiguous().numpy()
    count = len(points)
    face = np.empty((count, height, width), np.int64)
    barycentric = np.empty((count, height, width, 3), np.float32 if vertices.dtype == torch.float32 else np.float64)
    depth = np.empty((count, height, width))

    def band(image: int, top: int, bottom: int) -> None:
        rows = slice(top, bottom)
        draw(points[image], corners, top, cull, face[image, rows], barycentric[image, rows], depth[image, rows])

    # Bands of one picture share the triangles' set-up, which does not shrink with them: worth it for large ones only.
    workers = min(os.cpu_count() or 1, torch.get_num_threads())
    bands = max(1, min(workers // max(count, 1), height * width // 200_000))
    tops = [height * k // bands for k in range(bands + 1)]
    tasks = [(image, tops[k], tops[k + 1]) for image in range(count) for k in range(bands)]
    if len(tasks) == 1 or workers == 1:
        for task in tasks:
            band(*task)
    else:
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(lambda task: band(*task), tasks))
    return Fragments(
        torch.from_numpy(face).reshape(*batch, height, width),
        torch.from_numpy(barycentric).reshape(*batch, height, width, 3),
        torch.from_numpy(depth).to(vertices.dtype).reshape(*batch, height, width),
    )


@compiled
def _edge(ax: float, ay: float, bx: float, by: float) -> tuple[float, float, float, float, float, bool]:
    """The edge function of a → b, as in `model.raster.reference`, ready for many points.

    It is ``sign (dx (y - oy) - dy (x - ox))`` with the returned (sign, dx, dy, ox, oy); last, whether a pixel whose
    centre lies on the edge belongs to the triangle.
    """
    top_or_left = by < ay or (by == ay and bx > ax)
    if ax > bx or (ax == bx and ay > by):
        return -1.0, ax - bx, ay - by, bx, by, top_or_left
    return 1.0, bx - ax, by - ay, ax, ay, top_or_left


@compiled
def _first_centre(value: float, limit: int) -> int:
    """The first of `limit` pixels whose centre is not before `value`."""
    return int(min(max(np.ceil(value - 0.5), 0.0), float(limit)))


@compiled
def draw(vertices, faces, top, cull, face, barycentric, depth):
    """Draw the rows from `top` on into (h, W) buffers; `vertices` (V, 3) float64, `faces` (F, 3)."""
    height, width = face.shape
    face[:] = -1
    barycentric[:] = 0
    depth[:] = -np.inf
    for index in range(len(faces)):
        i, j, k = faces[index, 0], faces[index, 1], faces[index, 2]
        ax, ay, az = vertices[i, 0], vertices[i, 1], vertices[i, 2]
        bx, by, bz = vertices[j, 0], vertices[j, 1], vertices[j, 2]
        cx, cy, cz = vertices[k, 0], vertices[k, 1], vertices[k, 2]
        if not np.isfinite(ax + ay + az + bx + by + bz + cx + cy + cz):
            continue
        row = _first_centre(min(ay, by, cy) - top, height)
        end_row = height - _first_centre(height - (max(ay, by, cy) - top), height)
        column = _first_centre(min(ax, bx, cx), width)
        end_column = width - _first_centre(width - max(ax, bx, cx), width)
        if row >= end_row or column >= end_column:
            continue
        sign, dx, dy, ox, oy, _ = _edge(ax, ay, bx, by)
        area = sign * (dx * (cy - oy) - dy * (cx - ox))
        if area == 0 or (cull and area > 0):
            continue
        front = area < 0
        if front:
            bx, by, cx, cy = cx, cy, bx, by
        sign_a, dx_a, dy_a, ox_a, oy_a, on_a = _edge(bx, by, cx, cy)
        sign_b, dx_b, dy_b, ox_b, oy_b, on_b = _edge(cx, cy, ax, ay)
        sign_c, dx_c, dy_c, ox_c, oy_c, on_c = _edge(ax, ay, bx, by)
        for r in range(row, end_row):
            y = r + top + 0.5
            row_a, row_b, row_c = dx_a * (y - oy_a), dx_b * (y - oy_b), dx_c * (y - oy_c)
            for c in range(column, end_column):
                x = c + 0.5
                wa = sign_a * (row_a - dy_a * (x - ox_a))
                wb = sign_b * (row_b - dy_b * (x - ox_b))
                wc = sign_c * (row_c - dy_c * (x - ox_c))
                if not (wa >= 0 and wb >= 0 and wc >= 0):
                    continue
                if (wa == 0 and not on_a) or (wb == 0 and not on_b) or (wc == 0 and not on_c):
                    continue
                total = wa + wb + wc
                if not total > 0:
                    continue
                wa, wb, wc = wa / total, wb / total, wc / total
                if front:
                    wb, wc = wc, wb
                z = wa * az + wb * bz + wc * cz
                if z > depth[r, c]:
                    depth[r, c] = z
                    face[r, c] = index
                    barycentric[r, c, 0] = wa
                    barycentric[r, c, 1] = wb
                    barycentric[r, c, 2] = wc
