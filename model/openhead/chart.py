"""Flattening a piece of surface: Tutte's embedding, then relaxation that never folds a triangle."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from jaxtyping import Bool, Float, Int
from scipy.sparse.linalg import spsolve


def boundary_loops(faces: Int[np.ndarray, "F 3"]) -> list[np.ndarray]:
    """The closed boundaries of a triangle mesh: vertices in the direction of the triangles' own edges."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    known = set(map(tuple, edges.tolist()))
    following = {a: b for a, b in known if (b, a) not in known}
    loops = []
    while following:
        start, at = following.popitem()
        loop = [start]
        while at != start:
            loop.append(at)
            at = following.pop(at)
        loops.append(np.array(loop))
    return sorted(loops, key=lambda loop: int(loop.min()))


def tutte(
    faces: Int[np.ndarray, "F 3"], count: int, rim: Int[np.ndarray, "R"], rim_at: Float[np.ndarray, "R 2"]
) -> Float[np.ndarray, "V 2"]:
    """A disk in a convex polygon without folds: inner vertices are means of their neighbours (Tutte, 1963)."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    edges = np.concatenate([edges, edges[:, ::-1]])
    adjacency = sp.coo_matrix((np.ones(len(edges)), edges.T), (count, count)).tocsr()
    adjacency.data[:] = 1.0  # an edge is one spring, however many triangles share it
    laplacian = sp.csr_matrix(sp.diags(np.asarray(adjacency.sum(1)).ravel()) - adjacency)
    inner = np.setdiff1d(np.arange(count), rim)
    at = np.zeros((count, 2))
    at[rim] = rim_at
    at[inner] = spsolve(laplacian[inner][:, inner].tocsc(), -(laplacian[inner][:, rim] @ rim_at))
    return at


def relax(
    at: Float[np.ndarray, "V 2"],
    vertices: Float[np.ndarray, "V 3"],
    faces: Int[np.ndarray, "F 3"],
    size: Float[np.ndarray, "F"],
    weight: Float[np.ndarray, "F"],
    free: Bool[np.ndarray, "V 2"],
    iterations: int,
) -> Float[np.ndarray, "V 2"]:
    """Lower the symmetric Dirichlet energy ``Σ weight · area · (|J|² + |J⁻¹|²)`` of a map that has no folds.

    Reweighted least squares (Rabinovich et al., "Scalable Locally Injective Mappings", ACM TOG 2017, section 3). J
    takes a triangle of the surface, scaled by `size`, to the plane; the energy is infinite where one degenerates.

    Args:
        at: start, without folds: every triangle counter-clockwise.
        vertices: the surface.
        faces: its triangles.
        size: wanted length in the plane per length on the surface, of every triangle.
        weight: how much a triangle matters, per wanted area.
        free: coordinates that may move.
        iterations: steps; fewer are taken once the energy stays.

    Returns:
        The relaxed map; coordinates that are not free are untouched.
    """
    gradient, area = _gradients(vertices, faces, size)
    area = area * weight
    columns = np.flatnonzero(free.T.ravel())
    count = len(at)
    energy = _energy(_jacobians(at, faces, gradient), area)
    for _ in range(iterations):
        J = _jacobians(at, faces, gradient)
        u, sigma, vt = np.linalg.svd(J)
        # singular values of 1 give 0/0, whose limit is 2
        proxy = np.sqrt((sigma - sigma**-3) / np.where(np.abs(sigma - 1) < 1e-7, np.inf, sigma - 1))
        proxy = np.where(np.abs(sigma - 1) < 1e-7, 2.0, proxy)
        W = np.einsum("fij,fj,fkj->fik", u, proxy, u) * np.sqrt(area)[:, None, None]
        target = W @ (u @ vt)
        # rows: (face, i, k) of  Σ_j W_ij J_jk ,  J_jk = Σ_c at[faces_c, j] · gradient[c, k]
        value = np.einsum("fij,fck->fikjc", W, gradient)
        rows = np.broadcast_to(np.arange(len(faces) * 4).reshape(-1, 2, 2, 1, 1), value.shape)
        cols = faces[:, None, None, None, :] + count * np.arange(2)[None, None, None, :, None]
        cols = np.broadcast_to(cols, value.shape)
        A = sp.coo_matrix((value.ravel(), (rows.ravel(), cols.ravel())), (len(faces) * 4, 2 * count)).tocsc()
        residual = target.ravel() - A @ at.T.ravel()
        A = A[:, columns]
        normal = A.T @ A
        normal += sp.identity(normal.shape[0], format="csc") * (1e-10 * normal.diagonal().mean())
        step = np.zeros(2 * count)
        step[columns] = spsolve(normal, A.T @ residual)
        step = step.reshape(2, count).T
        length = min(1.0, 0.8 * _first_fold(at, step, faces))
        previous = energy
        while True:
            energy = _energy(_jacobians(at + length * step, faces, gradient), area)
            if energy < previous or length < 1e-9:
                break
            length *= 0.5
        if energy >= previous:
            break
        at = at + length * step
        if previous - energy < 1e-5 * previous:
            break
    return at


def signed_areas(at: Float[np.ndarray, "V 2"], faces: Int[np.ndarray, "F 3"]) -> Float[np.ndarray, "F"]:
    """Areas of the triangles in the plane, negative where clockwise."""
    a, b = at[faces[:, 1]] - at[faces[:, 0]], at[faces[:, 2]] - at[faces[:, 0]]
    return 0.5 * (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0])


def stretch(
    at: Float[np.ndarray, "V 2"], vertices: Float[np.ndarray, "V 3"], faces: Int[np.ndarray, "F 3"]
) -> Float[np.ndarray, "F 2"]:
    """Largest and smallest length in the plane per length on the surface, of every triangle."""
    gradient, _ = _gradients(vertices, faces, np.ones(len(faces)))
    return np.linalg.svd(_jacobians(at, faces, gradient), compute_uv=False)


def _gradients(vertices: np.ndarray, faces: np.ndarray, size: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gradients (F, corner, 2) of the hat functions in the plane of each scaled triangle, and the scaled areas."""
    e1 = (vertices[faces[:, 1]] - vertices[faces[:, 0]]) * size[:, None]
    e2 = (vertices[faces[:, 2]] - vertices[faces[:, 0]]) * size[:, None]
    x1 = np.linalg.norm(e1, axis=1)
    x2 = (e1 * e2).sum(1) / x1
    y2 = np.linalg.norm(np.cross(e1, e2), axis=1) / x1
    zero = np.zeros_like(x1)
    g1 = np.stack([1 / x1, -x2 / (x1 * y2)], 1)
    g2 = np.stack([zero, 1 / y2], 1)
    return np.stack([-g1 - g2, g1, g2], 1), 0.5 * x1 * y2


def _jacobians(at: np.ndarray, faces: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    return np.einsum("fcj,fck->fjk", at[faces], gradient)


def _energy(J: np.ndarray, area: np.ndarray) -> float:
    determinant = J[:, 0, 0] * J[:, 1, 1] - J[:, 0, 1] * J[:, 1, 0]
    if (determinant <= 0).any():
        return float("inf")
    square = (J**2).sum((1, 2))
    return float((area * square * (1 + 1 / determinant**2)).sum())


def _first_fold(at: np.ndarray, step: np.ndarray, faces: np.ndarray) -> float:
    """The smallest positive t at which a triangle of ``at + t · step`` has no area."""
    d1, d2 = at[faces[:, 1]] - at[faces[:, 0]], at[faces[:, 2]] - at[faces[:, 0]]
    s1, s2 = step[faces[:, 1]] - step[faces[:, 0]], step[faces[:, 2]] - step[faces[:, 0]]
    c = d1[:, 0] * d2[:, 1] - d1[:, 1] * d2[:, 0]
    b = d1[:, 0] * s2[:, 1] - d1[:, 1] * s2[:, 0] + s1[:, 0] * d2[:, 1] - s1[:, 1] * d2[:, 0]
    a = s1[:, 0] * s2[:, 1] - s1[:, 1] * s2[:, 0]
    root = b * b - 4 * a * c
    # the stable form 2c / (−b ± √…) also covers a = 0
    with np.errstate(divide="ignore", invalid="ignore"):
        s = np.sqrt(root)
        t = np.stack([2 * c / (-b + s), 2 * c / (-b - s)])
    t = t[np.isfinite(t) & (t > 0)]
    return float(t.min()) if len(t) else float("inf")
