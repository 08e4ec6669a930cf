"""Cutting the head out of MakeHuman's base mesh: skin down to a closed loop of the neck, teeth, tongue, and eyeballs.

The neck is cut along an edge loop of the quad mesh that runs once around it, so the border is a smooth closed curve of
mesh edges. MakeHuman's eyeballs have eight segments only; they are replaced by finer exact spheres of the same centre
and radius, with the pole at the pupil.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from model.openhead.rings import quad_graph
from model.openhead.source import BaseMesh, read_target

GROUPS = ("skin", "upper_teeth", "lower_teeth", "tongue", "left_eye", "right_eye")
"""Parts of the head, in the order of their vertices and triangles."""

HELPERS = {"upper_teeth": "helper-upper-teeth", "lower_teeth": "helper-lower-teeth", "tongue": "helper-tongue"}
NECK_LOOP_FRONT = 815  # base-mesh vertex at the front of the loop of the cut: below the larynx, above the collar bones
CROWN = 881  # base-mesh vertex on the top of the skull, inside the loop

EYE_SEGMENTS = 16
EYE_RINGS = (10.0, 20.0, 30.0, 41.0, 53.0, 67.0, 85.0, 110.0, 140.0)  # degrees from the pupil


@dataclass(frozen=True)
class HeadMesh:
    """The head as cut out of the base mesh, exactly mirror symmetric.

    Attributes:
        vertices: metres, head space of the *base* mesh (see `head_origin`), before any identity.
        faces: triangles, counter-clockwise from outside.
        uv, uv_faces: MakeHuman's texture layout (the eyeballs: polar, pupil in the middle of [0, 1]²).
        source_vertex: index of every vertex in the base mesh, −1 for the eyeballs.
        mirror: index of the mirror image of every vertex.
        mirror_faces: index of the mirror image of every triangle.
        uv_mirror: index of the texture vertex at the mirror place of the mesh, for every texture vertex.
        face_group: index into `GROUPS` of every triangle.
        vertex_group: index into `GROUPS` of every vertex.
        border: vertices of the neck border, in order around the neck, starting at the front.
        eye_directions: unit vectors from the centre of an eyeball to its vertices (the same for the left eye and, in
            mirrored order of x, the right eye).
    """

    vertices: Float[np.ndarray, "V 3"]
    faces: Int[np.ndarray, "F 3"]
    uv: Float[np.ndarray, "VT 2"]
    uv_faces: Int[np.ndarray, "F 3"]
    source_vertex: Int[np.ndarray, " V"]
    mirror: Int[np.ndarray, " V"]
    mirror_faces: Int[np.ndarray, " F"]
    uv_mirror: Int[np.ndarray, " VT"]
    face_group: Int[np.ndarray, " F"]
    vertex_group: Int[np.ndarray, " V"]
    border: Int[np.ndarray, " _"]
    eye_directions: Float[np.ndarray, "E 3"]

    @property
    def index_of_source(self) -> Int[np.ndarray, " N"]:
        """Index in the head of every vertex of the base mesh up to the last one used, −1 where it is not."""
        known = np.flatnonzero(self.source_vertex >= 0)
        index = np.full(self.source_vertex.max() + 1, -1)
        index[self.source_vertex[known]] = known
        return index

    def vertices_of(self, *groups: str) -> Int[np.ndarray, " _"]:
        """Indices of the vertices of the named groups."""
        return np.flatnonzero(np.isin(self.vertex_group, [GROUPS.index(group) for group in groups]))

    def faces_of(self, *groups: str) -> Int[np.ndarray, " _"]:
        """Indices of the triangles of the named groups."""
        return np.flatnonzero(np.isin(self.face_group, [GROUPS.index(group) for group in groups]))


def cut_head(base: BaseMesh) -> HeadMesh:
    """Skin above the neck loop, teeth, tongue and new eyeballs; triangles and indices are deterministic."""
    graph = quad_graph(base.quads["body"])
    border = graph.loop(NECK_LOOP_FRONT, max(graph.neighbours[NECK_LOOP_FRONT], key=lambda v: base.vertices[v, 0]))
    inside = graph.flood(CROWN, border)
    kept = np.isin(base.quads["body"], inside).all(axis=1)
    parts = {"skin": (base.quads["body"][kept], base.uv_quads["body"][kept])}
    parts |= {name: (base.quads[helper], base.uv_quads[helper]) for name, helper in HELPERS.items()}

    source, vertex_group, faces, uv_faces, face_group = [], [], [], [], []
    for name, (quads, uv_quads) in parts.items():
        triangles, uv_triangles = _split_symmetrically(base, quads, uv_quads)
        used = np.unique(quads)
        source.append(used)
        vertex_group.append(np.full(len(used), GROUPS.index(name)))
        faces.append(triangles)
        uv_faces.append(uv_triangles)
        face_group.append(np.full(len(triangles), GROUPS.index(name)))
    source_vertex = np.concatenate(source)
    to_head = np.full(len(base.vertices), -1)
    to_head[source_vertex] = np.arange(len(source_vertex))
    uv_used, uv_flat = np.unique(np.concatenate(uv_faces), return_inverse=True)
    mirror = to_head[base.mirror[source_vertex]]
    assert (mirror >= 0).all(), "the cut is not mirror symmetric"

    # Eyeballs: the left one, then its mirror image with reversed winding.
    directions, eye_triangles = eyeball()
    size, first = len(directions), len(source_vertex)
    flipped = directions * np.array([-1.0, 1.0, 1.0])
    centre, radius = fit_sphere(base.vertices[np.unique(base.quads["helper-l-eye"])])
    vertices = np.concatenate(
        [base.vertices[source_vertex], centre + radius * directions, centre * [-1.0, 1.0, 1.0] + radius * flipped]
    )
    left, right = first + np.arange(size), first + size + np.arange(size)
    eye_uv, eye_uv_triangles = _polar_uv(directions, eye_triangles)
    uv_count, uv_size = len(uv_used), len(eye_uv)
    all_faces = np.concatenate(
        [to_head[np.concatenate(faces)], first + eye_triangles, first + size + eye_triangles[:, ::-1]]
    )
    all_uv_faces = np.concatenate(
        [
            uv_flat.reshape(-1, 3),
            uv_count + eye_uv_triangles,
            uv_count + uv_size + eye_uv_triangles[:, ::-1],
        ]
    )
    all_uv = np.concatenate([base.uv[uv_used], eye_uv, eye_uv * [-1.0, 1.0] + [1.0, 0.0]])
    eye_groups = [np.full(len(eye_triangles), GROUPS.index(name)) for name in ("left_eye", "right_eye")]
    all_mirror = np.concatenate([mirror, right, left])
    mirror_faces, uv_mirror = _mirror_of_faces(all_faces, all_uv_faces, all_mirror, len(all_uv))
    return HeadMesh(
        vertices=vertices - head_origin(base),
        faces=all_faces,
        uv=all_uv,
        uv_faces=all_uv_faces,
        source_vertex=np.concatenate([source_vertex, np.full(2 * size, -1)]),
        mirror=all_mirror,
        mirror_faces=mirror_faces,
        uv_mirror=uv_mirror,
        face_group=np.concatenate([*face_group, *eye_groups]),
        vertex_group=np.concatenate([*vertex_group, np.full(size, 4), np.full(size, 5)]),
        border=to_head[border],
        eye_directions=directions,
    )


def head_origin(base: BaseMesh) -> Float[np.ndarray, " 3"]:
    """Origin of head space: midline, height of the eyeballs' centres, depth of the middle of the ears."""
    ears = read_target("ears/l-ear-scale-incr").vertex
    return np.array([0.0, base.centre("joint-l-eye")[1], base.vertices[ears, 2].mean()])


def fit_sphere(points: Float[np.ndarray, "n 3"]) -> tuple[Float[np.ndarray, " 3"], float]:
    """Centre and radius of the sphere nearest to the points (linear least squares on |p|² = 2 p·c + r² − |c|²)."""
    middle = points.mean(axis=0)
    p = points - middle
    solution = np.linalg.lstsq(np.c_[2 * p, np.ones(len(p))], (p**2).sum(axis=1), rcond=None)[0]
    return middle + solution[:3], float(np.sqrt(solution[3] + solution[:3] @ solution[:3]))


def eyeball() -> tuple[Float[np.ndarray, "E 3"], Int[np.ndarray, "_ 3"]]:
    """Unit directions (pupil +z first, then rings, then −z) and outward triangles of a ball."""
    angles = np.arange(EYE_SEGMENTS) * (2 * np.pi / EYE_SEGMENTS)
    polar = np.radians(EYE_RINGS)[:, None]
    rings = np.stack(
        [
            np.sin(polar) * np.cos(angles),
            np.sin(polar) * np.sin(angles),
            np.broadcast_to(np.cos(polar), (len(polar), EYE_SEGMENTS)),
        ],
        axis=-1,
    )
    directions = np.concatenate([[[0.0, 0.0, 1.0]], rings.reshape(-1, 3), [[0.0, 0.0, -1.0]]])
    here = np.arange(EYE_SEGMENTS)
    after = (here + 1) % EYE_SEGMENTS
    triangles = [np.stack([np.zeros_like(here), 1 + here, 1 + after], axis=1)]
    for ring in range(len(EYE_RINGS) - 1):
        a, b = 1 + ring * EYE_SEGMENTS, 1 + (ring + 1) * EYE_SEGMENTS
        triangles.append(np.stack([a + here, b + here, b + after], axis=1))
        triangles.append(np.stack([a + here, b + after, a + after], axis=1))
    last = 1 + (len(EYE_RINGS) - 1) * EYE_SEGMENTS
    triangles.append(np.stack([last + here, np.full_like(here, len(directions) - 1), last + after], axis=1))
    return directions, np.concatenate(triangles)


def _polar_uv(
    directions: Float[np.ndarray, "E 3"], triangles: Int[np.ndarray, "n 3"]
) -> tuple[Float[np.ndarray, "E 2"], Int[np.ndarray, "n 3"]]:
    """Azimuthal equidistant layout of the ball around the pupil; the back pole is put beside its last ring."""
    polar = np.arccos(np.clip(directions[:, 2], -1.0, 1.0))
    around = directions[:, :2] / np.maximum(np.linalg.norm(directions[:, :2], axis=1, keepdims=True), 1e-12)
    return 0.5 + 0.5 * around * (polar / np.pi)[:, None], triangles.copy()


def _split_symmetrically(
    base: BaseMesh, quads: Int[np.ndarray, "Q 4"], uv_quads: Int[np.ndarray, "Q 4"]
) -> tuple[Int[np.ndarray, "F 3"], Int[np.ndarray, "F 3"]]:
    """Two triangles of every quad, along its shorter diagonal; mirrored quads get mirrored diagonals.

    Lengths are compared with a margin, so that rounding cannot decide differently on the two sides; near ties take the
    diagonal that holds the vertex nearest to the midline (then the lowest).
    """
    p = base.vertices[quads]
    d02, d13 = np.linalg.norm(p[:, 0] - p[:, 2], axis=1), np.linalg.norm(p[:, 1] - p[:, 3], axis=1)
    score = np.round(np.abs(p[..., 0]), 7) + np.round(p[..., 1] * 1e-3, 10)
    tie = np.minimum(score[:, 0], score[:, 2]) <= np.minimum(score[:, 1], score[:, 3])
    first = np.where(np.abs(d02 - d13) < 1e-3 * (d02 + d13), tie, d02 < d13)
    corners = np.where(first[:, None], [0, 1, 2, 0, 2, 3], [1, 2, 3, 1, 3, 0])
    pick = np.take_along_axis
    return pick(quads, corners, axis=1).reshape(-1, 3), pick(uv_quads, corners, axis=1).reshape(-1, 3)


def _mirror_of_faces(
    faces: Int[np.ndarray, "F 3"], uv_faces: Int[np.ndarray, "F 3"], mirror: Int[np.ndarray, " V"], uv_count: int
) -> tuple[Int[np.ndarray, " F"], Int[np.ndarray, " VT"]]:
    """Mirror image of every triangle, and from their corners of every texture vertex."""
    place = {tuple(sorted(face)): i for i, face in enumerate(faces.tolist())}
    mirror_faces = np.array([place[tuple(sorted(face))] for face in mirror[faces].tolist()])
    uv_mirror = np.full(uv_count, -1)
    for i, j in enumerate(mirror_faces.tolist()):
        corner_of = {v: k for k, v in enumerate(faces[j].tolist())}
        for k in range(3):
            uv_mirror[uv_faces[i, k]] = uv_faces[j, corner_of[int(mirror[faces[i, k]])]]
    return mirror_faces, uv_mirror
