"""A small head for tests: an ellipsoid with eyeballs, with every field of a `HeadAsset` filled; quick to make."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from model.asset import HeadAsset, Landmarks, SurfacePoints
from tracker.observation import MEDIAPIPE_OF_IBUG

RADII = np.array([0.075, 0.11, 0.09])
EYE = np.array([0.031, 0.03, 0.068])  # the subject's left; the right eye is its mirror image
IDENTITIES, EXPRESSIONS = 10, 8

# iBUG points 17-67, frontal, (x, y) in metres; the subject's right (negative x) first, as in the numbering.
_BROW = [(-0.053, 0.048), (-0.045, 0.055), (-0.036, 0.057), (-0.026, 0.055), (-0.016, 0.050)]
_NOSE = [(0, 0.03), (0, 0.018), (0, 0.007), (0, -0.004), (-0.013, -0.013), (-0.007, -0.015), (0, -0.017)]
_EYE = [(-0.045, 0.03), (-0.036, 0.036), (-0.027, 0.036), (-0.018, 0.03), (-0.027, 0.025), (-0.036, 0.025)]
_LIPS = [(-0.025, -0.04), (-0.016, -0.034), (-0.006, -0.031), (0, -0.032), (-0.016, -0.049), (-0.009, -0.052)]
_INNER = [(-0.021, -0.041), (-0.007, -0.038), (0, -0.039), (-0.007, -0.044), (0, -0.0445), (0, -0.053)]


@lru_cache
def tiny_head() -> HeadAsset:
    """About 550 vertices, 10 identity and 8 expression directions (named, in [0, 1]), all landmarks, UVs, an albedo."""
    rng = np.random.default_rng(7)
    skull = _ellipsoid(18, 26, RADII, np.zeros(3))
    left = _ellipsoid(5, 8, np.full(3, 0.0145), EYE)
    right = _ellipsoid(5, 8, np.full(3, 0.0145), EYE * (-1, 1, 1))
    template, faces, uv, uv_faces, part = _join(skull, left, right)

    weights = np.zeros((len(template), 5))
    y, z = template[:, 1], template[:, 2]
    weights[:, 2] = _step((-0.03 - y) / 0.012) * _step((z - 0.0) / 0.02)  # chin and lower lip
    weights[:, 1] = (1 - weights[:, 2]) * _step((y + 0.085) / 0.02)
    weights[:, 0] = 1 - weights[:, 1] - weights[:, 2]
    weights[part == 1] = np.eye(5)[3]
    weights[part == 2] = np.eye(5)[4]

    joints = np.array([[0, -0.08, -0.01], [0, -0.06, -0.01], [0, 0, -0.015], EYE, EYE * (-1, 1, 1)])
    regressor = np.stack([_regressor(template, joint) for joint in joints])

    waves = np.sin(template @ (rng.normal(size=(6, 3)) * 20).T)
    shapedirs = np.einsum("vk,kcs->vcs", waves, rng.normal(size=(6, 3, IDENTITIES)) * 8e-4)
    shapedirs[part == 1] = shapedirs[part == 1].mean(0)  # eyeballs stay round
    shapedirs[part == 2] = shapedirs[part == 2].mean(0)
    posedirs = np.einsum("vk,kcp->vcp", waves, rng.normal(size=(6, 3, 36)) * 4e-4) * (part == 0)[:, None, None]
    names, exprdirs = _expressions(template, part)

    albedo = 0.5 + 0.3 * np.sin(np.linspace(0, 12, 32))[:, None, None] * np.cos(np.linspace(0, 9, 32))[None, :, None]
    return HeadAsset(
        name="tiny",
        template=template.astype(np.float32),
        faces=faces,
        shapedirs=shapedirs.astype(np.float32),
        exprdirs=exprdirs.astype(np.float32),
        posedirs=posedirs.astype(np.float32),
        joint_regressor=regressor.astype(np.float32),
        weights=weights.astype(np.float32),
        parents=np.array([-1, 0, 1, 1, 1]),
        expression_names=names,
        expression_range=(0.0, 1.0),
        uv=uv.astype(np.float32),
        uv_faces=uv_faces,
        regions={
            "skin": (part == 0).astype(np.float32),
            "lips": _bump(template, (0, -0.042), 0.02).astype(np.float32) * (part == 0),
            "left_eye": (part == 1).astype(np.float32),
            "right_eye": (part == 2).astype(np.float32),
        },
        landmarks=_landmarks(template, faces, part),
        albedo_mean=(albedo * np.array([1.0, 0.8, 0.7])).astype(np.float32),
        albedo_basis=(rng.normal(size=(5, 16, 16, 3)) * 0.02).astype(np.float32),
        uv_masks={"face_eye": np.pad(np.ones((16, 12), np.float32), ((4, 4), (2, 2)))},
        fixed_displacement=(rng.normal(size=(16, 16)) * 1e-4).astype(np.float32),
    )


def _ellipsoid(lat: int, lon: int, radii: np.ndarray, centre: np.ndarray):
    """Vertices, faces (counter-clockwise from outside), uv, uv faces; u runs with the longitude, 0.5 in front."""
    a = np.linspace(0, np.pi, lat + 2)[1:-1]
    b = np.linspace(-np.pi, np.pi, lon + 1)
    aa, bb = np.meshgrid(a, b[:-1], indexing="ij")
    ring = np.stack([np.sin(aa) * np.sin(bb), np.cos(aa), np.sin(aa) * np.cos(bb)], -1).reshape(-1, 3)
    vertices = np.concatenate([ring, [[0, 1, 0], [0, -1, 0]]]) * radii + centre
    aa, bb = np.meshgrid(a, b, indexing="ij")
    uv = np.stack([bb / (2 * np.pi) + 0.5, 1 - aa / np.pi], -1).reshape(-1, 2)
    uv = np.concatenate([uv, [[0.5, 0.999], [0.5, 0.001]]])
    i, j = (index.ravel() for index in np.meshgrid(np.arange(lat - 1), np.arange(lon), indexing="ij"))
    column = np.arange(lon)

    def quads(width: int, wrap: int, poles: int) -> np.ndarray:
        corner = [(i + di) * width + (j + dj) % wrap for di, dj in ((0, 0), (1, 0), (1, 1), (0, 1))]
        last = (lat - 1) * width
        return np.concatenate(
            [
                np.stack([corner[0], corner[1], corner[2]], -1),
                np.stack([corner[0], corner[2], corner[3]], -1),
                np.stack([np.full(lon, poles), column, (column + 1) % wrap], -1),
                np.stack([np.full(lon, poles + 1), last + (column + 1) % wrap, last + column], -1),
            ]
        )

    return vertices, quads(lon, lon, lat * lon), uv, quads(lon + 1, lon + 2, lat * (lon + 1))


def _join(*parts):
    """One mesh of several; the eyeballs' UVs go into small corners of the map."""
    vertices, faces, uvs, uv_faces, label = [], [], [], [], []
    v = t = 0
    for index, (vertex, face, uv, uv_face) in enumerate(parts):
        faces.append(face + v)
        uv_faces.append(uv_face + t)
        vertices.append(vertex)
        uvs.append(uv * (1, 0.88) if index == 0 else uv * 0.1 + np.array([0.9 if index == 1 else 0.0, 0.9]))
        label.append(np.full(len(vertex), index))
        v, t = v + len(vertex), t + len(uv)
    return *(np.concatenate(x) for x in (vertices, faces, uvs, uv_faces)), np.concatenate(label)


def _step(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(x, -30, 30)))


def _bump(vertices: np.ndarray, xy: tuple[float, float], width: float) -> np.ndarray:
    """A bell around a frontal position; nothing at the back of the head."""
    distance = np.linalg.norm(vertices[:, :2] - np.asarray(xy), axis=1)
    return np.exp(-((distance / width) ** 2)) * _step((vertices[:, 2] - 0.02) / 0.008)


def _regressor(vertices: np.ndarray, joint: np.ndarray) -> np.ndarray:
    """Sparse weights that sum to one: the smallest that give the joint from the vertices near it."""
    chosen = np.argsort(np.linalg.norm(vertices - joint, axis=1))[:120]
    system = np.concatenate([vertices[chosen].T, np.ones((1, len(chosen)))])
    row = np.zeros(len(vertices))
    row[chosen] = np.linalg.lstsq(system, np.append(joint, 1.0), rcond=None)[0]
    return row


def _expressions(template: np.ndarray, part: np.ndarray) -> tuple[tuple[str, ...], np.ndarray]:
    moves = {  # name: (where, bell width, how far), metres
        "browInnerUp": ((0.0, 0.055), 0.03, (0, 0.007, 0)),
        "browDownLeft": ((0.036, 0.055), 0.022, (0, -0.007, 0)),
        "browDownRight": ((-0.036, 0.055), 0.022, (0, -0.007, 0)),
        "mouthSmileLeft": ((0.025, -0.04), 0.02, (0.006, 0.005, -0.002)),
        "mouthSmileRight": ((-0.025, -0.04), 0.02, (-0.006, 0.005, -0.002)),
        "mouthPucker": ((0.0, -0.042), 0.025, (0, 0, 0.008)),
        "eyeBlinkLeft": ((0.031, 0.037), 0.012, (0, -0.006, 0)),
        "eyeBlinkRight": ((-0.031, 0.037), 0.012, (0, -0.006, 0)),
    }
    assert len(moves) == EXPRESSIONS
    columns = [
        (_bump(template, where, width) * (part == 0))[:, None] * np.array(move) for where, width, move in moves.values()
    ]
    return tuple(moves), np.stack(columns, -1)


def _cast(vertices: np.ndarray, faces: np.ndarray, origins: np.ndarray, directions: np.ndarray) -> SurfacePoints:
    """Where rays first meet the mesh (Möller and Trumbore 1997)."""
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    p = np.cross(directions[:, None], (c - a)[None])
    determinant = np.einsum("fc,rfc->rf", b - a, p)
    with np.errstate(divide="ignore", invalid="ignore"):
        s = origins[:, None] - a[None]
        u = np.einsum("rfc,rfc->rf", s, p) / determinant
        q = np.cross(s, (b - a)[None])
        v = np.einsum("rc,rfc->rf", directions, q) / determinant
        t = np.einsum("fc,rfc->rf", c - a, q) / determinant
        hit = (np.abs(determinant) > 1e-14) & (u >= -1e-9) & (v >= -1e-9) & (u + v <= 1 + 1e-9) & (t > 0)
    assert hit.any(1).all()
    face = np.where(hit, t, np.inf).argmin(1)
    u, v = (np.clip(np.take_along_axis(x, face[:, None], 1)[:, 0], 0, 1) for x in (u, v))
    return SurfacePoints(face, np.stack([1 - u - v, u, v], -1).astype(np.float32))


def _landmarks(template: np.ndarray, faces: np.ndarray, part: np.ndarray) -> Landmarks:
    skin, skin_ids = faces[part[faces[:, 0]] == 0], np.flatnonzero(part[faces[:, 0]] == 0)
    mirror = np.array([-1.0, 1.0])

    def frontal(xy: np.ndarray, with_eyes: bool = False) -> SurfacePoints:
        origins = np.concatenate([xy, np.full((len(xy), 1), 1.0)], 1)
        points = _cast(template, faces if with_eyes else skin, origins, np.tile([0.0, 0.0, -1.0], (len(xy), 1)))
        return points if with_eyes else SurfacePoints(skin_ids[points.face], points.barycentric)

    brow, nose, eye, lips, inner = (np.array(points, dtype=float) for points in (_BROW, _NOSE, _EYE, _LIPS, _INNER))
    right_left = [brow, brow[::-1] * mirror]
    nose_points = [nose, nose[[5, 4]] * mirror]
    eyes = [eye, eye[[3, 2, 1, 0, 5, 4]] * mirror]
    outer = [lips[[0, 1, 2, 3]], lips[[2, 1, 0]] * mirror]  # 48-51, 52-54
    outer += [lips[[4, 5]] * mirror, inner[[5]], lips[[5, 4]]]  # 55-56, 57, 58-59
    inside = [inner[[0, 1, 2]], inner[[1, 0]] * mirror, inner[[3]] * mirror, inner[[4]], inner[[3]]]
    static51 = frontal(np.concatenate(right_left + nose_points + eyes + outer + inside))

    # The jaw line in direction (longitude, height); with the yaw the silhouette slides back on one side of the head
    # and forward on the other. Rows as DECA's table: 0..39 degrees, then -1..-39.
    t = np.linspace(-1, 1, 17)
    yaw = np.concatenate([np.arange(40), -np.arange(1, 40)])
    longitude = np.radians(80 * t[None] - yaw[:, None] * np.abs(t)[None])
    height = np.broadcast_to(-1.6 + 1.8 * np.abs(t) ** 2.2, longitude.shape)
    direction = np.stack([np.sin(longitude), height, np.cos(longitude)], -1).reshape(-1, 3)
    cast = _cast(template, skin, np.zeros_like(direction), direction)
    contour = SurfacePoints(skin_ids[cast.face].reshape(79, 17), cast.barycentric.reshape(79, 17, 3))

    full68 = SurfacePoints(
        np.concatenate([contour.face[0], static51.face]),
        np.concatenate([contour.barycentric[0], static51.barycentric]),
    )
    index = np.arange(468)
    radius, angle = 0.9 * np.sqrt((index + 0.5) / 468), index * np.pi * (3 - np.sqrt(5))
    mesh = frontal(np.stack([radius * np.cos(angle), radius * np.sin(angle)], -1) * RADII[:2])
    ring = np.array([[0, 0], [0.0055, 0], [0, 0.0055], [-0.0055, 0], [0, -0.0055]])
    iris = frontal(np.concatenate([EYE[:2] * mirror + ring, EYE[:2] + ring]), with_eyes=True)
    face, barycentric = np.append(mesh.face, iris.face), np.append(mesh.barycentric, iris.barycentric, 0)
    face[MEDIAPIPE_OF_IBUG], barycentric[MEDIAPIPE_OF_IBUG] = full68.face, full68.barycentric
    return Landmarks(static51, contour, full68, SurfacePoints(face, barycentric))
