"""Points on a triangle mesh: where they are, the nearest ones to given places, robust averages, paths of edges."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from model.asset import SurfacePoints

_CHUNK = 1 << 20  # point-triangle pairs handled at once


def positions(
    vertices: Float[np.ndarray, "V 3"], faces: Int[np.ndarray, "F 3"], points: SurfacePoints
) -> Float[np.ndarray, "*points 3"]:
    """Places of surface points, in the unit of the vertices."""
    return np.einsum("...k,...kc->...c", points.barycentric, vertices[faces[points.face]])


def frames(
    vertices: Float[np.ndarray, "V 3"], faces: Int[np.ndarray, "F 3"], face: Int[np.ndarray, "*points"]
) -> Float[np.ndarray, "*points 3 3"]:
    """Orthonormal frames of triangles; columns are two tangents (the first as level as it can be) and the normal."""
    corner = vertices[faces[face]]
    normal = np.cross(corner[..., 1, :] - corner[..., 0, :], corner[..., 2, :] - corner[..., 0, :])
    normal = normal / np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-30)
    level = np.cross(np.broadcast_to(np.array([0.0, 1.0, 0.0]), normal.shape), normal)
    level = np.where(np.linalg.norm(level, axis=-1, keepdims=True) > 1e-6, level, np.array([1.0, 0.0, 0.0]))
    level = level / np.linalg.norm(level, axis=-1, keepdims=True)
    return np.stack([level, np.cross(normal, level), normal], axis=-1)


def closest(
    vertices: Float[np.ndarray, "V 3"],
    faces: Int[np.ndarray, "F 3"],
    queries: Float[np.ndarray, "N 3"],
    allowed: Int[np.ndarray, "K"] | None = None,
) -> SurfacePoints:
    """The nearest point of the surface to each query, over all triangles or the `allowed` ones.

    Exhaustive and therefore exact. The case analysis is Ericson's, "Real-Time Collision Detection" (2005), 5.1.5.
    """
    allowed = np.arange(len(faces)) if allowed is None else allowed
    corner = vertices[faces[allowed]]
    best = np.empty(len(queries), dtype=np.int64)
    weights = np.empty((len(queries), 3))
    step = max(1, _CHUNK // len(allowed))
    for start in range(0, len(queries), step):
        query = queries[start : start + step, None]
        bary = _closest_barycentric(query, corner[None])
        place = np.einsum("nkc,kcd->nkd", bary, corner)
        pick = np.argmin(((place - query) ** 2).sum(-1), axis=1)
        best[start : start + step] = pick
        weights[start : start + step] = bary[np.arange(len(pick)), pick]
    return SurfacePoints(face=allowed[best], barycentric=weights)


def _closest_barycentric(
    query: Float[np.ndarray, "N 1 3"], corner: Float[np.ndarray, "1 K 3 3"]
) -> Float[np.ndarray, "N K 3"]:
    a, b, c = corner[..., 0, :], corner[..., 1, :], corner[..., 2, :]
    ab, ac = b - a, c - a
    d1, d2 = ((query - a) * ab).sum(-1), ((query - a) * ac).sum(-1)
    d3, d4 = ((query - b) * ab).sum(-1), ((query - b) * ac).sum(-1)
    d5, d6 = ((query - c) * ab).sum(-1), ((query - c) * ac).sum(-1)
    va, vb, vc = d3 * d6 - d5 * d4, d5 * d2 - d1 * d6, d1 * d4 - d3 * d2

    def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
        safe = np.where(np.abs(denominator) > 1e-30, denominator, 1.0)
        return np.clip(np.where(np.abs(denominator) > 1e-30, numerator / safe, 0.0), 0.0, 1.0)

    total = va + vb + vc
    v, w = ratio(vb, total), ratio(vc, total)
    t_ab, t_ac, t_bc = ratio(d1, d1 - d3), ratio(d2, d2 - d6), ratio(d4 - d3, (d4 - d3) + (d5 - d6))
    zero, one = np.zeros_like(v), np.ones_like(v)
    cases = [
        ((d1 <= 0) & (d2 <= 0), (one, zero, zero)),
        ((d3 >= 0) & (d4 <= d3), (zero, one, zero)),
        ((d6 >= 0) & (d5 <= d6), (zero, zero, one)),
        ((vc <= 0) & (d1 >= 0) & (d3 <= 0), (1 - t_ab, t_ab, zero)),
        ((vb <= 0) & (d2 >= 0) & (d6 <= 0), (1 - t_ac, zero, t_ac)),
        ((va <= 0) & (d4 >= d3) & (d5 >= d6), (zero, 1 - t_bc, t_bc)),
    ]
    conditions = [condition for condition, _ in cases]
    return np.stack(
        [
            np.select(conditions, [weights[i] for _, weights in cases], default=inside)
            for i, inside in enumerate((np.clip(1 - v - w, 0.0, 1.0), v, w))
        ],
        axis=-1,
    )


def geometric_median(places: Float[np.ndarray, "K 3"], *, iterations: int = 50) -> Float[np.ndarray, "3"]:
    """The point with the least sum of distances to `places` (Weiszfeld's iteration), in their unit."""
    centre = np.median(places, axis=0)
    scale = np.median(np.linalg.norm(places - centre, axis=-1)) + 1e-12
    for _ in range(iterations):
        weight = 1.0 / np.maximum(np.linalg.norm(places - centre, axis=-1), 1e-3 * scale)
        centre = (weight[:, None] * places).sum(axis=0) / weight.sum()
    return centre


def closest_on_path(
    vertices: Float[np.ndarray, "V 3"],
    faces: Int[np.ndarray, "F 3"],
    path: Int[np.ndarray, "P"],
    queries: Float[np.ndarray, "N 3"],
) -> SurfacePoints:
    """The nearest point to each query on a path of mesh edges, given by its vertices in order.

    Raises:
        AssertionError: two successive vertices are not joined by an edge.
    """
    start, end = vertices[path[:-1]], vertices[path[1:]]
    along = end - start
    t = ((queries[:, None] - start) * along).sum(-1) / np.maximum((along**2).sum(-1), 1e-30)
    t = np.clip(t, 0.0, 1.0)
    place = start + t[..., None] * along
    pick = np.argmin(((place - queries[:, None]) ** 2).sum(-1), axis=1)
    rows = np.arange(len(queries))
    return on_edges(faces, path[:-1][pick], path[1:][pick], t[rows, pick])


def on_edges(
    faces: Int[np.ndarray, "F 3"],
    start: Int[np.ndarray, "N"],
    end: Int[np.ndarray, "N"],
    t: Float[np.ndarray, "N"],
) -> SurfacePoints:
    """Points at the fraction t from vertex `start` to vertex `end` of an edge."""
    first: dict[tuple[int, int], int] = {}
    for index, triangle in enumerate(faces.tolist()):
        for i in range(3):
            a, b = triangle[i], triangle[(i + 1) % 3]
            first.setdefault((min(a, b), max(a, b)), index)
    face = np.empty(len(start), dtype=np.int64)
    weights = np.zeros((len(start), 3))
    for row, (a, b) in enumerate(zip(start.tolist(), end.tolist(), strict=True)):
        key = (min(a, b), max(a, b))
        assert key in first, f"vertices {a} and {b} are not joined by an edge"
        face[row] = first[key]
        triangle = faces[face[row]].tolist()
        weights[row, triangle.index(a)] += 1.0 - t[row]
        weights[row, triangle.index(b)] += t[row]
    return SurfacePoints(face=face, barycentric=weights)
