"""From sightings to an embedding: robust averages on the template, each point on the part of the head it belongs to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment

from model.asset import SurfacePoints
from model.openhead.paint import IRIS
from training.landmarks.anatomy import Anatomy
from training.landmarks.renders import Sighting
from training.landmarks.schemes import IBUG51_IN_MEDIAPIPE, IBUG_MIRROR, IBUG_SLITS, MEDIAPIPE_IRIS, MEDIAPIPE_SLITS
from training.landmarks.surface import closest, geometric_median, positions

_FACING = (0.35, 0.05)  # normals that a sighting needs; the second where the first leaves too few
_ENOUGH = 12  # sightings of a point
_NEAR_SLIT = 0.02  # of the picture of the head: how far from a rim a sighting of a rim point may be


def embed_mediapipe(anatomy: Anatomy, seen: Sequence[Sighting]) -> tuple[SurfacePoints, Int[np.ndarray, " 478"]]:
    """The 478 points on the template, mirror symmetric, and the mirror image of each point.

    Every point is the geometric median of where it was seen, carried to the template and to the nearest place of the
    outer skin; rim points are seen as the nearest place of the rim in the picture; the irises are the head's own.
    """
    places = np.stack([_median_on_skin(anatomy, seen, point) for point in range(478)])
    mirror = mirror_points(places)
    flipped = places[mirror] * np.array([-1.0, 1.0, 1.0])
    embedded = closest(anatomy.vertices, anatomy.faces, 0.5 * (places + flipped), anatomy.skin)
    x = {
        name: np.stack([_median_on_slit(anatomy, seen, name, points, side == 0) for side, points in enumerate(pair)])
        for name, pair in MEDIAPIPE_SLITS.items()
    }
    return place_rims(anatomy, embedded, x, (IRIS, IRIS)), mirror


def place_rims(
    anatomy: Anatomy, points: SurfacePoints, x: dict[str, Float[np.ndarray, "2 _"]], iris: tuple[float, float]
) -> SurfacePoints:
    """MediaPipe's points, with those of lids and inner lips put on the rims, and those of the irises on the eyeballs.

    Args:
        x: template x (metres) of the upper and the lower points of every slit; made symmetric here. An upper and a
            lower lip point that belong together get the same x, so that they touch when the mouth is closed.
            MediaPipe's lid points are not one above the other.
        iris: half width and half height of the irises, metres.
    """
    face, barycentric = points.face.copy(), points.barycentric.copy()

    def put(index: Sequence[int], at: SurfacePoints) -> None:
        face[list(index)], barycentric[list(index)] = at.face, at.barycentric

    lids = 0.5 * (x["left_lids"] - x["right_lids"][:, ::-1])
    lips = 0.5 * (x["lips"] - x["lips"][:, ::-1])
    lips = np.broadcast_to(lips.mean(axis=0), lips.shape)
    even = {"left_lids": lids, "right_lids": -lids[:, ::-1], "lips": lips}
    for name, (upper, lower) in MEDIAPIPE_SLITS.items():
        put(upper, anatomy.on_slit(name, even[name][0], upper=True))
        put(lower, anatomy.on_slit(name, even[name][1], upper=False))
    for side, index in MEDIAPIPE_IRIS.items():
        put(index, anatomy.iris(side, iris))
    return SurfacePoints(face, barycentric)


def mirror_points(places: Float[np.ndarray, "478 3"]) -> Int[np.ndarray, " 478"]:
    """Which of MediaPipe's points are mirror images of each other, from their places on the template.

    Those of rims and irises are facts (blinks and glances blur their places); the others are the assignment with the
    least squared distances.

    Raises:
        ValueError: it is not one-to-one both ways (the points are too scattered to tell).
    """
    mirror = np.full(len(places), -1)
    for right, left in ((MEDIAPIPE_SLITS["right_lids"], MEDIAPIPE_SLITS["left_lids"]), (MEDIAPIPE_SLITS["lips"],) * 2):
        for one, other in zip(right, left, strict=True):
            mirror[list(one)], mirror[list(other)] = other[::-1], one[::-1]
    order = [0, 3, 2, 1, 4]  # left and right of the iris change places
    for one, other in (("right", "left"), ("left", "right")):
        mirror[list(MEDIAPIPE_IRIS[one])] = np.array(MEDIAPIPE_IRIS[other])[order]
    free = np.flatnonzero(mirror < 0)
    flipped = places[free] * np.array([-1.0, 1.0, 1.0])
    cost = ((places[free][:, None] - flipped[None]) ** 2).sum(axis=-1)
    mirror[free] = free[linear_sum_assignment(cost)[1]]
    if not np.array_equal(mirror[mirror], np.arange(len(places))):
        raise ValueError("the points' mirror images are ambiguous; average over more pictures")
    return mirror


def _median_on_skin(anatomy: Anatomy, seen: Sequence[Sighting], point: int) -> Float[np.ndarray, " 3"]:
    allowed = np.isin(np.arange(len(anatomy.faces)), anatomy.skin)
    face = np.array([s.points.face[point] for s in seen])
    facing = np.array([s.facing[point] for s in seen])
    weights = np.stack([s.points.barycentric[point] for s in seen])
    on_skin = (face >= 0) & allowed[face]
    for limit in _FACING:
        good = on_skin & (facing > limit)
        if good.sum() >= _ENOUGH:
            break
    else:
        good = on_skin if on_skin.any() else face >= 0
    if not good.any():
        raise ValueError(f"MediaPipe point {point} never fell on the head in {len(seen)} pictures; draw more")
    found = SurfacePoints(face[good], weights[good])
    return geometric_median(positions(anatomy.vertices, anatomy.faces, found))


def _median_on_slit(
    anatomy: Anatomy, seen: Sequence[Sighting], name: str, points: Sequence[int], upper: bool
) -> Float[np.ndarray, " n"]:
    """Median place (template x, metres) of rim points along one side of a slit."""
    path = anatomy.slits[name].upper if upper else anatomy.slits[name].lower
    rows = []
    for s in seen:
        start, end = s.vertices[path[:-1], :2], s.vertices[path[1:], :2]
        query, along = s.pixels[list(points)][:, None], end - start
        t = np.clip(((query - start) * along).sum(-1) / np.maximum((along**2).sum(-1), 1e-12), 0.0, 1.0)
        distance = np.linalg.norm(start + t[..., None] * along - query, axis=-1)
        edge = distance.argmin(axis=1)
        pick = np.arange(len(edge))
        x = (
            anatomy.vertices[path[:-1], 0][edge] * (1 - t[pick, edge])
            + anatomy.vertices[path[1:], 0][edge] * t[pick, edge]
        )
        size = np.ptp(s.vertices[:, 1])
        rows.append(np.where(distance[pick, edge] < _NEAR_SLIT * size, x, np.nan))
    return np.nanmedian(np.stack(rows), axis=0)


def embed_ibug51(anatomy: Anatomy, mediapipe: SurfacePoints) -> SurfacePoints:
    """iBUG's points 17–67 at MediaPipe's nearest points: a start, which photographs with annotations then move."""
    index = np.array(IBUG51_IN_MEDIAPIPE)
    places = positions(
        anatomy.vertices, anatomy.faces, SurfacePoints(mediapipe.face[index], mediapipe.barycentric[index])
    )
    return place_ibug51(anatomy, places)


def place_ibug51(
    anatomy: Anatomy, places: Float[np.ndarray, "51 3"], rims: dict[str, Float[np.ndarray, "2 _"]] | None = None
) -> SurfacePoints:
    """iBUG's points 17–67 nearest to given places (template, metres), made symmetric; lids and inner lips on the rims,
    an upper and a lower lip point that belong together at the same x."""
    mirror = np.array(IBUG_MIRROR[17:]) - 17
    places = 0.5 * (places + places[mirror] * np.array([-1.0, 1.0, 1.0]))
    found = closest(anatomy.vertices, anatomy.faces, places, anatomy.skin)
    face, barycentric = found.face.copy(), found.barycentric.copy()
    for name, (upper, lower) in IBUG_SLITS.items():
        rows = np.array([upper, lower]) - 17
        x = places[rows, 0]
        if rims is not None:
            other = rims[{"left_lids": "right_lids", "right_lids": "left_lids"}.get(name, name)]
            x = 0.5 * (rims[name] - other[:, ::-1])
        if name == "lips":
            x = np.broadcast_to(x.mean(axis=0), x.shape)
        for side, index in enumerate(rows):
            at = anatomy.on_slit(name, x[side], upper=side == 0)
            face[index], barycentric[index] = at.face, at.barycentric
    return SurfacePoints(face, barycentric)


def joined(first: SurfacePoints, second: SurfacePoints) -> SurfacePoints:
    """Two lists of points, one after the other."""
    return SurfacePoints(
        np.concatenate([first.face, second.face]), np.concatenate([first.barycentric, second.barycentric])
    )
