"""Scans against heads: rigid alignment, the face area, and the distance from a scan to a surface.

Everything is in millimetres. Sources: Feng et al. 2018 (FG, "Evaluation of Dense 3D Reconstruction from 2D Face Images
in the Wild") for landmarks and face area; Sanyal et al. 2019 (CVPR, RingNet, section 5) for NoW.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import trimesh
from jaxtyping import Bool, Float, Int
from scipy.spatial.transform import Rotation

LANDMARKS = ("right outer eye", "right inner eye", "left inner eye", "left outer eye", "nose bottom", "right mouth",
             "left mouth")  # fmt: skip
"""The seven landmarks of both protocols, in the order of their files; right is the subject's."""

IBUG_OF_SEVEN = (36, 39, 42, 45, 33, 48, 54)
"""The same points in iBUG's numbering."""


@dataclass(frozen=True)
class Similarity:
    """x → scale · rotation x + shift."""

    scale: float
    rotation: Float[np.ndarray, "3 3"]
    shift: Float[np.ndarray, "3"]

    def __call__(self, points: Float[np.ndarray, "*batch 3"]) -> Float[np.ndarray, "*batch 3"]:
        """Points moved."""
        return self.scale * points @ self.rotation.T + self.shift

    def inverse(self) -> Similarity:
        """The way back."""
        rotation = self.rotation.T
        return Similarity(1 / self.scale, rotation, -(rotation @ self.shift) / self.scale)


@dataclass(frozen=True)
class Scan:
    """What was measured of a face.

    Attributes:
        points: vertices of the scan, mm.
        landmarks: the seven, mm.
    """

    points: Float[np.ndarray, "N 3"]
    landmarks: Float[np.ndarray, "7 3"]


@dataclass(frozen=True, eq=False)
class Head:
    """A predicted surface.

    Attributes:
        vertices: mm, or any unit where the alignment finds the scale.
        faces: triangles.
        landmarks: the seven, in the same unit.
    """

    vertices: Float[np.ndarray, "V 3"]
    faces: Int[np.ndarray, "F 3"]
    landmarks: Float[np.ndarray, "7 3"]

    @cached_property
    def surface(self) -> trimesh.Trimesh:
        """With its search tree, which is built at the first question."""
        return trimesh.Trimesh(self.vertices, self.faces, process=False)


@dataclass(frozen=True)
class Comparison:
    """A head laid over a scan.

    Attributes:
        distance: from every scan point of the face area to the nearest point of the surface, mm.
        kept: which points of the scan lie in the face area.
        T_scan_head: where the head was laid.
        landmark_error: root mean square of the seven after the alignment by landmarks, mm; some millimetres for a face,
            much more where landmarks are wrong or in another order.
    """

    distance: Float[np.ndarray, "K"]
    kept: Bool[np.ndarray, "N"]
    T_scan_head: Similarity
    landmark_error: float


def compare(scan: Scan, head: Head, *, radius: float, scaled: bool, refined: bool) -> Comparison:
    """Lay a head over a scan and measure the distances in the face area.

    Args:
        radius: of the face area, see `face_area`.
        scaled: whether the alignment may scale the head.
        refined: whether the alignment by landmarks is refined by the distances (NoW).

    Raises:
        ValueError: no point of the scan lies in the face area.
    """
    kept = face_area(scan.points, scan.landmarks, radius)
    if not kept.any():
        raise ValueError("no point of the scan lies around its landmarks; are both in millimetres and of one scan?")
    placed = align_landmarks(head.landmarks, scan.landmarks, scaled)
    error = float(np.sqrt(np.square(placed(head.landmarks) - scan.landmarks).sum(1).mean()))
    points = scan.points[kept]
    if refined:
        placed = align_surface(points, head, placed, scaled)
    return Comparison(distances(points, head, placed), kept, placed, error)


def align_landmarks(
    moving: Float[np.ndarray, "N 3"], fixed: Float[np.ndarray, "N 3"], scaled: bool = True
) -> Similarity:
    """The similarity (rigid motion where not `scaled`) of the least squared distances (Umeyama 1991)."""
    x, y = moving - moving.mean(0), fixed - fixed.mean(0)
    u, spread, vt = np.linalg.svd(y.T @ x)
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])  # a rotation, not a reflection
    rotation = (u * sign) @ vt
    scale = float((spread * sign).sum() / np.square(x).sum()) if scaled else 1.0
    return Similarity(scale, rotation, fixed.mean(0) - scale * rotation @ moving.mean(0))


def face_area(
    points: Float[np.ndarray, "N 3"], landmarks: Float[np.ndarray, "7 3"], radius: float
) -> Bool[np.ndarray, "N"]:
    """Which points lie in the ball around the face's centre.

    Its centre is at nose bottom + 0.3 (nose bridge − nose bottom), the bridge being amid the inner eye corners; its
    radius is `radius` · (distance of the outer eye corners + distance of bridge and bottom). `radius` is 1.2 / 2 in
    Feng et al. 2018 and 0.7 in Sanyal et al. 2019.
    """
    bottom, bridge = landmarks[4], (landmarks[1] + landmarks[2]) / 2
    centre = bottom + 0.3 * (bridge - bottom)
    size = np.linalg.norm(landmarks[0] - landmarks[3]) + np.linalg.norm(bridge - bottom)
    return np.linalg.norm(points - centre, axis=1) <= radius * size


def distances(points: Float[np.ndarray, "N 3"], head: Head, T_scan_head: Similarity) -> Float[np.ndarray, "N"]:
    """From each point (mm) to the nearest point of the head's surface, mm."""
    return T_scan_head.scale * _nearest(T_scan_head.inverse()(points), head)[1]


def align_surface(
    points: Float[np.ndarray, "N 3"],
    head: Head,
    start: Similarity,
    scaled: bool,
    samples: tuple[int, ...] = (1000, 10_000),
    steps: int = 30,
) -> Similarity:
    """Refine an alignment: least squared distance of scan points to the head's surface, by Levenberg-Marquardt.

    The gradient of a point's distance is the direction from its nearest surface point, so every step is a linear
    problem with one row per point (point-to-plane; Chen and Medioni 1992).

    Args:
        samples: how many of the points are used, one number after the other (the same points every time).
        steps: at most, with each.
    """
    order = np.random.default_rng(0).permutation(len(points))
    placed = start
    for count in samples:
        placed = _solve(points[order[:count]], head, placed, scaled, steps)
        if count >= len(points):
            break
    return placed


def _solve(points: Float[np.ndarray, "N 3"], head: Head, start: Similarity, scaled: bool, steps: int) -> Similarity:
    placed, damping = start, 1e-4
    residual, rows = _linear(points, head, placed, scaled)
    for _ in range(steps):
        gram = rows.T @ rows
        step = np.linalg.solve(gram + damping * np.diag(np.diag(gram) + 1e-12), rows.T @ residual)
        moved = _moved(placed, step, points.mean(0))
        new_residual, new_rows = _linear(points, head, moved, scaled)
        old, new = np.square(residual).sum(), np.square(new_residual).sum()
        if new >= old:
            damping *= 10
            if damping > 1e3:
                break
            continue
        placed, residual, rows, damping = moved, new_residual, new_rows, max(damping / 10, 1e-9)
        if old - new < 1e-5 * old:
            break
    return placed


def _linear(
    points: Float[np.ndarray, "N 3"], head: Head, placed: Similarity, scaled: bool
) -> tuple[Float[np.ndarray, "N"], Float[np.ndarray, "N D"]]:
    """Signed distances, and what they lose when the head turns, shifts and grows about the points' centre."""
    nearest, distance, triangle = _nearest(placed.inverse()(points), head)
    nearest, distance = placed(nearest), placed.scale * distance
    normal = head.surface.face_normals[triangle] @ placed.rotation.T
    apart = distance > 1e-6
    direction = np.where(apart[:, None], (points - nearest) / np.where(apart, distance, 1.0)[:, None], normal)
    sign = np.where(np.einsum("nc,nc->n", direction, normal) < 0, -1.0, 1.0)
    direction = direction * sign[:, None]
    arm = nearest - points.mean(0)
    columns = [np.cross(arm, direction), direction]
    if scaled:
        columns.append(np.einsum("nc,nc->n", arm, direction)[:, None])
    return sign * distance, np.concatenate(columns, axis=1)


def _moved(placed: Similarity, step: np.ndarray, centre: np.ndarray) -> Similarity:
    """The head turned by step[:3] rad about `centre`, shifted by step[3:6] mm and grown by exp(step[6])."""
    rotation = Rotation.from_rotvec(step[:3]).as_matrix()
    growth = float(np.exp(step[6])) if len(step) > 6 else 1.0
    shift = growth * rotation @ (placed.shift - centre) + centre + step[3:6]
    return Similarity(growth * placed.scale, rotation @ placed.rotation, shift)


def _nearest(
    points: Float[np.ndarray, "N 3"], head: Head, batch: int = 20_000
) -> tuple[Float[np.ndarray, "N 3"], Float[np.ndarray, "N"], Int[np.ndarray, "N"]]:
    """Nearest points of the surface, distances and triangles, in the head's own frame."""
    parts = [trimesh.proximity.closest_point(head.surface, points[i : i + batch]) for i in range(0, len(points), batch)]
    nearest, distance, triangle = (np.concatenate(part) for part in zip(*parts, strict=True))
    return nearest, distance, triangle
