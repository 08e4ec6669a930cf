"""The texture map of the shipped head: one seamless, mirror-symmetric chart of the skin, small islands in its corners.

Layout (u to the right of the picture, v up, both in [0, 1]; u → 1 − u is the mirror image of the head)
    The outer skin, from the nose to the nape, is one disk whose rim is the neck border: it has no seam anywhere. The
    face looks out of the map upright and fills its middle; scalp, back and neck are squeezed towards the rim. The
    corners that are left hold the rest, each side in its own: eyeballs and eye sockets below; teeth, tongue and the
    lining of the mouth, cut along the midline, above.

The chart of the skin starts from Tutte's embedding and is relaxed without ever folding (`model.openhead.chart`). Every
triangle has a wanted size, its size on the head times `_resolution`, which gives the face most of the map. Only the
subject's left half is solved; the right half is its mirror image.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from model.openhead.chart import boundary_loops, relax, tutte
from model.openhead.cut import GROUPS, HeadMesh

GRID = 2.0**-16
"""Texture coordinates are multiples of this: 1 − u is exact, and machines that round differently build the same map."""

CHARTS = ("outer", "mouth", "socket", "upper_teeth", "lower_teeth", "tongue", "eye")
"""What a triangle belongs to in the map; "socket" and "mouth" are the linings that the skin turns inwards to."""

# MakeHuman's own texture coordinates tell the linings from the outer skin: boxes u0, v0, u1, v1 of those islands.
_MOUTH_ISLAND = (0.755, 0.0, 0.93, 0.14)
_SOCKET_ISLANDS = (0.0, 0.54, 0.16, 0.64)

# Boxes u0, v0, u1, v1 of the small islands on the subject's left side of the map.
_BOXES = {
    "upper_teeth": (0.885, 0.885, 0.995, 0.995),
    "lower_teeth": (0.945, 0.800, 0.995, 0.870),
    "mouth": (0.800, 0.945, 0.870, 0.995),
    "tongue": (0.955, 0.745, 0.995, 0.787),
    "socket": (0.765, 0.005, 0.805, 0.045),
}
_EYE_FRONT = (0.918, 0.082, 0.075)  # centre and radius in the map
_EYE_BACK = (0.973, 0.205, 0.020)

_RIM_POWER = 2.3  # the rim of the skin is |x|^p + |y|^p = r^p: fuller than a circle, with corners left for the islands
_RIM_RADIUS = 0.495
_FACE_WEIGHT = 20.0  # how much more stretch counts in the face than at the back of the head
_HOLE_WEIGHT = 0.05  # eye and mouth openings are filled while the skin is laid out, and give way
_ITERATIONS = 40


def relay(mesh: HeadMesh) -> tuple[Float[np.ndarray, "VT 2"], Int[np.ndarray, "F 3"]]:
    """Lay the head out in the unit square.

    Args:
        mesh: the cut head, exactly mirror symmetric.

    Returns:
        Texture vertices in [0, 1] (origin bottom-left) and their triangles, parallel to ``mesh.faces``. The first
        texture vertices are those of the outer skin, one per vertex in the order of the vertices.
    """
    kind = chart_of_faces(mesh)
    uv_faces = np.zeros_like(mesh.faces)
    outer = np.flatnonzero(kind == CHARTS.index("outer"))
    used, triangles = np.unique(mesh.faces[outer], return_inverse=True)
    pieces = [_outer_skin(mesh, used, triangles.reshape(-1, 3))]
    uv_faces[outer] = triangles.reshape(-1, 3)
    left = mesh.vertices[mesh.faces].mean(axis=1)[:, 0] > 0

    def place(faces: np.ndarray, points: np.ndarray, triangles: np.ndarray) -> None:
        """An island of the left side, and its mirror image."""
        first, second = sum(map(len, pieces)), sum(map(len, pieces)) + len(points)
        uv_faces[faces] = first + triangles
        image = mesh.mirror_faces[faces]
        corner = (mesh.faces[image][:, :, None] == mesh.mirror[mesh.faces[faces]][:, None, :]).argmax(axis=2)
        uv_faces[image] = second + np.take_along_axis(triangles, corner, axis=1)
        points = _snap(points)
        pieces.extend([points, np.stack([1 - points[:, 0], points[:, 1]], axis=1)])

    for name, box in _BOXES.items():
        faces = np.flatnonzero((kind == CHARTS.index(name)) & left)
        place(faces, *_fitted(mesh, faces, box))
    eye = mesh.faces_of("left_eye")
    centre = mesh.vertices[mesh.vertices_of("left_eye")].mean(axis=0)
    front = mesh.vertices[mesh.faces[eye]].mean(axis=1)[:, 2] > centre[2]
    place(eye[front], *_half_ball(mesh, eye[front], _EYE_FRONT, 1.0))
    place(eye[~front], *_half_ball(mesh, eye[~front], _EYE_BACK, -1.0))
    return np.concatenate(pieces), uv_faces


def chart_of_faces(mesh: HeadMesh) -> Int[np.ndarray, "F"]:
    """Index into `CHARTS` of every triangle."""
    at = mesh.uv[mesh.uv_faces].mean(axis=1)
    kind = np.zeros(len(mesh.faces), dtype=np.int64)
    skin = mesh.face_group == GROUPS.index("skin")
    for name, (u0, v0, u1, v1) in (("mouth", _MOUTH_ISLAND), ("socket", _SOCKET_ISLANDS)):
        kind[skin & (at > [u0, v0]).all(axis=1) & (at < [u1, v1]).all(axis=1)] = CHARTS.index(name)
    for group in ("upper_teeth", "lower_teeth", "tongue"):
        kind[mesh.faces_of(group)] = CHARTS.index(group)
    kind[mesh.faces_of("left_eye", "right_eye")] = CHARTS.index("eye")
    return kind


def smoothstep(low: float, high: float, x: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
    """0 below `low`, 1 above `high`, 3t² − 2t³ between; `low` may be the greater one."""
    t = np.clip((x - low) / (high - low), 0.0, 1.0)
    return t * t * (3 - 2 * t)


def face_angle(mesh: HeadMesh, points: Float[np.ndarray, "*n 3"]) -> Float[np.ndarray, "*n"]:
    """Angle (degrees) between the direction out of the face and that of a point, seen from the middle of the head."""
    eyes = mesh.vertices[mesh.vertices_of("left_eye", "right_eye")].mean(axis=0)
    skin = mesh.vertices[mesh.vertices_of("skin")]
    middle = np.array([0.0, eyes[1] - 0.02, skin[:, 2].min() * 0.5 + skin[:, 2].max() * 0.5])
    d = points - middle
    return np.degrees(np.arccos(d[..., 2] / np.linalg.norm(d, axis=-1)))


def _outer_skin(mesh: HeadMesh, used: np.ndarray, triangles: np.ndarray) -> Float[np.ndarray, "n 2"]:
    """The seamless chart of the outer skin (`used` vertices, `triangles` among them)."""
    vertices, midline = mesh.vertices[used], mesh.mirror[used] == used
    image = np.searchsorted(used, mesh.mirror[used])
    border = np.searchsorted(used, mesh.border)
    filled, all_vertices = [triangles], [vertices]
    for loop in boundary_loops(triangles):
        if np.isin(loop, border).all():
            continue
        centre = len(vertices) + len(filled) - 1
        filled.append(np.stack([np.full(len(loop), centre), np.roll(loop, -1), loop], axis=1))
        all_vertices.append(vertices[loop].mean(axis=0, keepdims=True))
    disk, places = np.concatenate(filled), np.concatenate(all_vertices)
    at = tutte(disk, len(places), border, _rim(vertices[border]))

    # The left half of the disk; openings are filled from centres, of which the mouth's lies on the midline.
    centre_line = np.concatenate([midline, np.abs(places[len(vertices) :, 0]) < 1e-9])
    on_left = centre_line | (places[:, 0] > 0)
    half = disk[on_left[disk].all(axis=1)]
    kept, half = np.unique(half, return_inverse=True)
    half = half.reshape(-1, 3)
    half_at, half_places = at[kept], places[kept]
    half_at[centre_line[kept], 0] = 0.5
    free = np.ones((len(kept), 2), dtype=bool)
    free[centre_line[kept], 0] = False
    free[np.isin(kept, border)] = False
    middle = half_places[half].mean(axis=1)
    size = _resolution(mesh, middle)
    area = 0.5 * np.linalg.norm(
        np.cross(half_places[half[:, 1]] - half_places[half[:, 0]], half_places[half[:, 2]] - half_places[half[:, 0]]),
        axis=1,
    )
    rim_area = 0.5 * np.prod(_rim(vertices[border]).max(axis=0) - _rim(vertices[border]).min(axis=0))
    size *= np.sqrt(0.9 * rim_area / (area * size**2).sum())
    weight = 1 + _FACE_WEIGHT * smoothstep(110.0, 50.0, face_angle(mesh, middle))
    weight[(kept[half] >= len(vertices)).any(axis=1)] *= _HOLE_WEIGHT
    half_at = relax(half_at, half_places, half, size, weight, free, _ITERATIONS)

    at[kept] = _snap(half_at)
    at = at[: len(vertices)]
    mirrored = np.stack([1 - at[image, 0], at[image, 1]], axis=1)
    return np.where((on_left[: len(vertices)])[:, None], at, mirrored)


def _resolution(mesh: HeadMesh, points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n"]:
    """Wanted length in the map per length on the head, but for a factor: full in the face, low behind and below."""
    chin = mesh.vertices[mesh.border, 1].max()
    behind = 1 - 0.65 * smoothstep(50.0, 120.0, face_angle(mesh, points))
    eyes = mesh.vertices[mesh.vertices_of("left_eye", "right_eye"), 1].mean()
    above = 1 - 0.4 * smoothstep(0.02, 0.07, points[:, 1] - eyes)
    below = 1 - 0.4 * smoothstep(0.04, 0.0, points[:, 1] - chin)
    return behind * above * below


def _rim(border: Float[np.ndarray, "R 3"]) -> Float[np.ndarray, "R 2"]:
    """Places of the neck border on the rim: front at the bottom, then by arc length, towards +x first."""
    length = np.linalg.norm(np.roll(border, -1, axis=0) - border, axis=1)
    along = np.concatenate([[0.0], np.cumsum(length)[:-1]]) / length.sum()
    angle = np.pi * (2 * along - 0.5)
    radius = _RIM_RADIUS / (np.abs(np.cos(angle)) ** _RIM_POWER + np.abs(np.sin(angle)) ** _RIM_POWER) ** (
        1 / _RIM_POWER
    )
    return 0.5 + radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def _fitted(
    mesh: HeadMesh, faces: np.ndarray, box: tuple[float, float, float, float]
) -> tuple[Float[np.ndarray, "n 2"], Int[np.ndarray, "f 3"]]:
    """MakeHuman's own layout of some triangles, stretched into a box."""
    used, triangles = np.unique(mesh.uv_faces[faces], return_inverse=True)
    points = mesh.uv[used]
    low, high = np.array(box[:2]), np.array(box[2:])
    points = low + (points - points.min(axis=0)) / np.ptp(points, axis=0) * (high - low)
    return points, triangles.reshape(-1, 3)


def _half_ball(
    mesh: HeadMesh, faces: np.ndarray, disc: tuple[float, float, float], towards: float
) -> tuple[Float[np.ndarray, "n 2"], Int[np.ndarray, "f 3"]]:
    """Half of the left eyeball around its pole at z → ±∞; the iris gets more than an equidistant map would give it."""
    used, triangles = np.unique(mesh.faces[faces], return_inverse=True)
    d = mesh.eye_directions[used - mesh.vertices_of("left_eye")[0]]
    polar = np.arccos(np.clip(towards * d[:, 2], -1.0, 1.0))
    around = d[:, :2] * [towards, 1.0] / np.maximum(np.linalg.norm(d[:, :2], axis=1, keepdims=True), 1e-12)
    radius = (polar / polar.max()) ** 0.8
    return np.array(disc[:2]) + disc[2] * radius[:, None] * around, triangles.reshape(-1, 3)


def _snap(uv: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 2"]:
    return np.round(uv / GRID) * GRID
