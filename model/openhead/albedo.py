"""The built albedo of the shipped head: a mean texture and 50 directions, in the texture map of `model.openhead.uv`.

The first directions are differences of painted faces, one per number of `model.openhead.paint.Look`; `ALBEDO_NAMES`
says which. The rest are smooth random fields of pigment and blood on the skin, most of them mirror symmetric, and
orthogonal to all that come before them. Coefficients are standard deviations. Everything is seeded.

Within ±2 of a single coefficient colours stay (but for a few texels) in [0, 1]; the model is linear, so further out, or
with many large coefficients, they may leave it: clamp the texture, and draw coefficients clipped to ±2.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from jaxtyping import Float, Int
from scipy.ndimage import distance_transform_edt
from scipy.spatial import KDTree

from model.openhead.cut import HeadMesh
from model.openhead.paint import LOOKS, Look, Surface, grain, paint
from model.openhead.uv import CHARTS, chart_of_faces

MEAN_SIZE = 256
BASIS_SIZE = 128
DIRECTIONS = 50
ALBEDO_NAMES = (*LOOKS, *(f"field_{i}" for i in range(DIRECTIONS - len(LOOKS))))
"""What every direction is, in order; the fields have no meaning."""

LID_EDGE = 3
"""Edge rings from the rim of an eye opening to the visible edge of the lid."""

_SYMMETRIC_FIELDS = 15
_SEED = 20
_STEP = 2.0**-13  # directions are multiples of this, a thirtieth of an 8-bit step: the file is half the size


def albedo(
    mesh: HeadMesh,
    uv: Float[np.ndarray, "VT 2"],
    uv_faces: Int[np.ndarray, "F 3"],
    regions: dict[str, Float[np.ndarray, "V"]],
) -> tuple[Float[np.ndarray, "256 256 3"], Float[np.ndarray, "50 128 128 3"]]:
    """Mean (RGB in [0, 1], sRGB-encoded, row 0 is v = 1) and directions (per standard deviation).

    Args:
        mesh: the cut head, in its base shape.
        uv, uv_faces: its layout, from `model.openhead.uv.relay`.
        regions: its regions, from `model.openhead.regions.regions`.
    """
    fine = _Texels(mesh, uv, uv_faces, regions, MEAN_SIZE * 2)
    mean = fine.image(paint(fine.surface, Look()), MEAN_SIZE)
    mean = 0.5 * (mean + mean[:, ::-1])
    coarse = _Texels(mesh, uv, uv_faces, regions, BASIS_SIZE * 2)
    directions = []
    for name in LOOKS:
        up, down = (paint(coarse.surface, replace(Look(), **{name: sign})) for sign in (1.0, -1.0))
        direction = coarse.image(0.5 * (up - down), BASIS_SIZE)
        directions.append(0.5 * (direction + direction[:, ::-1]))
    rng = np.random.default_rng(_SEED)
    for i in range(DIRECTIONS - len(LOOKS)):
        field = coarse.image(_field(coarse.surface, rng, symmetric=i < _SYMMETRIC_FIELDS), BASIS_SIZE)
        directions.append(0.5 * (field + field[:, ::-1]) if i < _SYMMETRIC_FIELDS else field)
    basis = _orthogonalised(np.stack(directions), len(LOOKS))
    basis = np.round(basis / _STEP) * _STEP + 0.0  # adding zero makes −0 one with 0: the same bytes
    return mean.astype(np.float32), basis.astype(np.float32)


def _field(surface: Surface, rng: np.random.Generator, symmetric: bool) -> Float[np.ndarray, "n 3"]:
    """A smooth change of the skin's colour: a random mixture of lightness, blood and pigment over a random field."""
    wave = rng.normal(size=(24, 3)) * rng.uniform(18.0, 70.0, size=(24, 1))  # radians per metre
    phase, share = rng.uniform(0, 2 * np.pi, 24), rng.normal(size=24) / np.sqrt(12)
    ink = 0.007 * rng.normal() * np.array([1.0, 0.68, 0.52]) + 0.003 * rng.normal() * np.array([0.1, -0.8, -0.65])

    def at(points: np.ndarray) -> np.ndarray:
        return np.cos(points @ wave.T + phase) @ share

    value = at(surface.point)
    if symmetric:
        value = (value + at(surface.point * [-1.0, 1.0, 1.0])) / np.sqrt(2)
    skin = surface.region["skin"] * (1 - surface.region["scalp"]) * (surface.chart == CHARTS.index("outer"))
    return (skin * value)[:, None] * ink


def _orthogonalised(directions: Float[np.ndarray, "A h w 3"], first: int) -> Float[np.ndarray, "A h w 3"]:
    """The directions from `first` on, each without its components along all the ones before it (Gram–Schmidt)."""
    flat = directions.reshape(len(directions), -1).copy()
    span = np.linalg.qr(flat[:first].T)[0].T
    for i in range(first, len(flat)):
        for _ in range(2):  # twice is enough for orthogonality to rounding
            flat[i] -= span.T @ (span @ flat[i])
        span = np.concatenate([span, flat[i : i + 1] / np.linalg.norm(flat[i])])
    return flat.reshape(directions.shape)


class _Texels:
    """The texels of a square map that a triangle covers, and what lies there."""

    def __init__(self, mesh: HeadMesh, uv: np.ndarray, uv_faces: np.ndarray, regions: dict[str, np.ndarray], size: int):
        self.size = size
        face, weight = _covered(uv, uv_faces, size)
        self.covered = face >= 0
        face, weight = face[self.covered], weight[self.covered]
        corners = mesh.faces[face]

        def interpolated(values: np.ndarray) -> np.ndarray:
            return np.einsum("nc,nc...->n...", weight, values[corners])

        point = interpolated(mesh.vertices)
        centre = mesh.vertices[mesh.vertices_of("left_eye")].mean(axis=0)
        left, right = point - centre, point - centre * [-1.0, 1.0, 1.0]
        self.surface = Surface(
            point=point,
            chart=chart_of_faces(mesh)[face],
            region={name: interpolated(mask) for name, mask in regions.items()},
            eye=np.where(point[:, :1] > 0, left, right),
            concave=interpolated(_hollows(mesh)),
            lash=_distance_to_lid_edges(mesh, point),
            margin=interpolated(np.interp(rings_of_lids(mesh), [0, 1, 2, LID_EDGE], [1.0, 0.9, 0.6, 0.0])),
            grain=grain(point),
        )

    def image(self, values: Float[np.ndarray, "n 3"], size: int) -> Float[np.ndarray, "size size 3"]:
        """The map at a smaller size: means of covered texels; where there are none, the nearest colour."""
        step = self.size // size
        total, count = np.zeros((self.size, self.size, 3)), self.covered.astype(float)
        total[self.covered] = values
        total = total.reshape(size, step, size, step, 3).sum(axis=(1, 3))
        count = count.reshape(size, step, size, step).sum(axis=(1, 3))
        mean = total / np.maximum(count, 1)[..., None]
        nearest = np.asarray(distance_transform_edt(count == 0, return_distances=False, return_indices=True))
        return mean[nearest[0], nearest[1]]


def _covered(uv: np.ndarray, uv_faces: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The triangle (−1: none) and barycentric coordinates at the centre of every texel; row 0 is v = 1."""
    face = np.full((size, size), -1)
    weight = np.zeros((size, size, 3))
    at = np.stack([uv[:, 0] * size, (1 - uv[:, 1]) * size], axis=1)
    for i, (a, b, c) in enumerate(at[uv_faces]):
        determinant = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
        low = np.ceil(np.minimum(np.minimum(a, b), c) - 0.5).astype(int)
        high = np.floor(np.maximum(np.maximum(a, b), c) - 0.5).astype(int)
        if (high < low).any() or determinant == 0:
            continue
        x, y = np.arange(low[0], high[0] + 1) + 0.5, np.arange(low[1], high[1] + 1)[:, None] + 0.5
        w1 = ((x - a[0]) * (c[1] - a[1]) - (y - a[1]) * (c[0] - a[0])) / determinant
        w2 = ((b[0] - a[0]) * (y - a[1]) - (b[1] - a[1]) * (x - a[0])) / determinant
        inside = (w1 >= 0) & (w2 >= 0) & (w1 + w2 <= 1)
        block = (slice(low[1], high[1] + 1), slice(low[0], high[0] + 1))
        face[block][inside] = i
        weight[block][inside] = np.stack([1 - w1 - w2, w1, w2], axis=-1)[inside]
    return face, weight


def _hollows(mesh: HeadMesh) -> Float[np.ndarray, "V"]:
    """How much of the sky above a vertex the skin itself hides, 0 (open) to 1, from the skin points around it.

    The share of points within 15 mm that rise above the tangent plane, weighted by how steeply: enough to darken
    nostrils, the shell of the ear and the corners of the lids.
    """
    skin = mesh.faces[chart_of_faces(mesh) == CHARTS.index("outer")]
    normals = np.zeros_like(mesh.vertices)
    a, b, c = (mesh.vertices[skin[:, corner]] for corner in range(3))
    product = np.cross(b - a, c - a)
    for corner in range(3):
        np.add.at(normals, skin[:, corner], product)
    used = np.unique(skin)
    normals[used] /= np.linalg.norm(normals[used], axis=1, keepdims=True)
    area = np.zeros(len(mesh.vertices))
    np.add.at(area, skin.ravel(), np.repeat(0.5 * np.linalg.norm(product, axis=1) / 3, 3))
    tree = KDTree(mesh.vertices[used])
    hidden = np.zeros(len(mesh.vertices))
    for v, near in zip(used, tree.query_ball_point(mesh.vertices[used], 0.015), strict=True):
        other = used[near]
        d = mesh.vertices[other] - mesh.vertices[v]
        length = np.maximum(np.linalg.norm(d, axis=1), 1e-3)
        rise = np.maximum((d @ normals[v]) / length, 0.0)
        facing = np.maximum(-(normals[other] * d).sum(axis=1) / length, 0.0)
        hidden[v] = (area[other] * rise * facing / (np.pi * length**2)).sum()
    hidden = np.clip(hidden, 0.0, 1.0)
    return 0.5 * (hidden + hidden[mesh.mirror])


def rings_of_lids(mesh: HeadMesh) -> Int[np.ndarray, "V"]:
    """Steps along MakeHuman's edge rings from the rim of the nearer eye opening (0); `LID_EDGE` + 1 further away.

    The skin is made of quads of which ``mesh.faces[2 i]`` and ``mesh.faces[2 i + 1]`` are the halves, so diagonals can
    be told from edges.
    """
    outer = chart_of_faces(mesh) == CHARTS.index("outer")
    socket = chart_of_faces(mesh) == CHARTS.index("socket")
    ring = np.full(len(mesh.vertices), LID_EDGE + 1)
    ring[np.intersect1d(mesh.faces[outer], mesh.faces[socket])] = 0
    edges = _quad_edges(mesh.faces[outer])
    for step in range(1, LID_EDGE + 1):
        for a, b in (edges.T, edges.T[::-1]):
            reached = b[(ring[a] == step - 1) & (ring[b] > step)]
            ring[reached] = step
    return ring


def _quad_edges(faces: Int[np.ndarray, "F 3"]) -> Int[np.ndarray, "E 2"]:
    """Edges of pairs of triangles that are not shared within the pair, sorted and without repetition."""
    edges = np.sort(np.stack([faces, np.roll(faces, -1, axis=1)], axis=2), axis=2).reshape(-1, 6, 2)
    same = (edges[:, :, None] == edges[:, None]).all(axis=3).sum(axis=2)
    assert (same.sum(axis=1) == 8).all(), "triangles are not pairs of halves of quads"
    return np.unique(edges[same == 1], axis=0)


def _distance_to_lid_edges(mesh: HeadMesh, points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n"]:
    """Distance to the edges of the lids, where skin turns into the margin that touches the eyeball, metres."""
    ring = rings_of_lids(mesh)
    edges = _quad_edges(mesh.faces[chart_of_faces(mesh) == CHARTS.index("outer")])
    edges = edges[(ring[edges] == LID_EDGE).all(axis=1)]
    a, b = mesh.vertices[edges[:, 0]], mesh.vertices[edges[:, 1]]
    return KDTree(np.concatenate([a + t * (b - a) for t in np.linspace(0, 1, 8)])).query(points)[0]
