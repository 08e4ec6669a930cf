"""Calibration of iBUG-68 on photographs with annotations by hand: the fitted heads' points follow the annotators."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from model.asset import Landmarks, SurfacePoints
from model.landmarks import CONTOUR_ROWS, yaw_of_row
from training.landmarks.anatomy import Anatomy
from training.landmarks.calibrate import Fitted, common_displacement, residuals, slide_along_rims
from training.landmarks.contour import YAWS, annotated_angles, contour_table, trace_contour
from training.landmarks.embed import place_ibug51
from training.landmarks.schemes import IBUG_SLITS, Slits
from training.landmarks.surface import closest, positions

_ROUNDS = 4  # the heads stay as they are: a round is only for the bend of the surface
_SLITS51: Slits = {
    name: (tuple(i - 17 for i in upper), tuple(i - 17 for i in lower)) for name, (upper, lower) in IBUG_SLITS.items()
}
_EVERY = 3  # slices of the traced contour that are carried to the heads


def calibrate_ibug51(
    anatomy: Anatomy, points: SurfacePoints, fitted: Fitted, seen: Float[np.ndarray, "N 51 2"]
) -> SurfacePoints:
    """Move points 17–67 by what is common to their residuals against the annotations (px)."""
    for _ in range(_ROUNDS):
        step = common_displacement(residuals(anatomy, fitted, points, seen))
        rims = slide_along_rims(anatomy, fitted, _SLITS51, points, seen)
        points = place_ibug51(anatomy, positions(anatomy.vertices, anatomy.faces, points) + step, rims)
    return points


def calibrate_contour(anatomy: Anatomy, fitted: Fitted, seen: Float[np.ndarray, "N 17 2"]) -> SurfacePoints:
    """The contour table whose points lie along the contour where annotators (px) put them, by yaw."""
    traces = trace_contour(anatomy)
    angles, places = traces.angles[::_EVERY], traces.places[::_EVERY]
    flat = closest(anatomy.vertices, anatomy.faces, places.reshape(-1, 3), anatomy.skin)
    face, weights = flat.face.reshape(places.shape[:2]), flat.barycentric.reshape(places.shape)
    columns = _columns(fitted)
    corner = np.stack(
        [vertices[anatomy.faces[face[:, c]]] for vertices, c in zip(fitted.vertices, columns, strict=True)]
    )
    outlines = fitted.project(np.einsum("nsk,nskd->nsd", np.moveaxis(weights, 1, 0)[columns], corner))
    good = fitted.good
    found = annotated_angles(outlines[good], angles, np.degrees(fitted.yaw[good]), seen[good])
    return contour_table(anatomy, traces, found)


def landmark_error(
    anatomy: Anatomy, landmarks: Landmarks, fitted: Fitted, seen: Float[np.ndarray, "N 68 2"]
) -> tuple[float, float]:
    """Mean distance of the heads' points 17–67, and of all 68, to the annotations, over the outer eye distance."""
    row_of = {round(np.degrees(yaw_of_row(row))) - int(YAWS[0]): row for row in range(CONTOUR_ROWS)}
    distances = []
    for n, column in enumerate(_columns(fitted)):
        row, static = row_of[int(column)], landmarks.static51
        points = SurfacePoints(
            np.concatenate([landmarks.contour.face[row], static.face]),
            np.concatenate([landmarks.contour.barycentric[row], static.barycentric]),
        )
        places = positions(fitted.vertices[n].astype(float), anatomy.faces, points)
        image = fitted.chosen(np.array([n])).project(places[None])[0]
        width = np.linalg.norm(seen[n, 36] - seen[n, 45])
        distances.append(np.linalg.norm(image - seen[n], axis=-1) / width)
    every = np.stack(distances)
    return float(every[:, 17:].mean()), float(every.mean())


def _columns(fitted: Fitted) -> np.ndarray:
    """Column of `YAWS` for every head."""
    return np.clip(np.round(np.degrees(fitted.yaw)), YAWS[0], YAWS[-1]).astype(int) - int(YAWS[0])
