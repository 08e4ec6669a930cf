"""Finding the face of a photograph, and whether what was found can be believed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from tracker.detect import Detector
from tracker.image import warp
from tracker.observation import MEDIAPIPE_OF_IBUG, Detection, Frame
from training.prepare.config import PrepareConfig
from training.prepare.quality import MIRRORED, box_side, eye_distance, sharpness

_SECOND, _ROOM, _ROLL, _SHIFT = 256, 2.2, np.radians(8.0), (0.08, -0.06)
"""The second crop: its side, px; over the face; its roll; its shift over the face's side."""


class UnusableError(Exception):
    """Why a picture is left out; the text is short, and the same for all pictures that are left out for that."""


@dataclass(frozen=True)
class Sight:
    """A face that was found.

    Attributes:
        points: what the head is fitted to, px.
        scheme: of `points`, as in `Detection`.
        confidence: [0, 1].
        ibug: the 68 nearest of the detector's points, px; the user's where they are given.
        own: whether `ibug` are the user's.
    """

    points: Float[np.ndarray, "N 2"]
    scheme: str
    confidence: float
    ibug: Float[np.ndarray, "68 2"]
    own: bool = False


def ibug_of(points: Float[np.ndarray, "N 2"]) -> Float[np.ndarray, "68 2"]:
    """The 68 of a detector's points."""
    return points if len(points) == 68 else points[MEDIAPIPE_OF_IBUG]


def find_face(
    image: UInt8[np.ndarray, "H W 3"],
    detector: Detector,
    second: Detector,
    config: PrepareConfig,
    box: tuple[float, float, float, float] | None = None,
    own: Float[np.ndarray, "68 2"] | None = None,
) -> Sight:
    """The face that is meant: the one with the user's `own` points, the one in the `box`, or the largest.

    The user's points are believed. The head is fitted to the detector's where it finds that face too, since it has more
    of them.

    Args:
        detector: for photographs.
        second: looks once more, at another crop; one for videos will do, and is quicker.

    Raises:
        UnusableError: there is none that can be believed.
    """
    try:
        sight = _detected(image, detector, second, config, box, own)
    except UnusableError:
        if own is None:
            raise
        sight = Sight(own, "ibug68", 1.0, own, own=True)
    if box_side(sight.ibug) < config.smallest:
        raise UnusableError("face too small")
    if sharpness(image, sight.ibug) < config.sharpness:
        raise UnusableError("blurred")
    return sight


def _detected(
    image: UInt8[np.ndarray, "H W 3"],
    detector: Detector,
    second: Detector,
    config: PrepareConfig,
    box: tuple[float, float, float, float] | None,
    own: Float[np.ndarray, "68 2"] | None,
) -> Sight:
    found = detector.detect(Frame(0, 0.0, image))
    if not found:
        raise UnusableError("no face found")
    if own is not None:
        near = 0.08 * eye_distance(own)
        found = [f for f in found if np.linalg.norm(ibug_of(f.points)[17:] - own[17:], axis=1).mean() < near]
        if not found:
            raise UnusableError("no face at the given landmarks")
    elif box is not None:
        found = [face for face in found if _inside(face, box)]
        if not found:
            raise UnusableError("no face in the given box")
    elif len(found) > 1 and config.several == "drop":
        raise UnusableError("several faces")
    face = found[0]
    ibug = ibug_of(face.points)
    if face.confidence < config.confidence:
        raise UnusableError("detector unsure")
    if disagreement(image, second, ibug) > config.disagreement:
        raise UnusableError("landmarks of two crops disagree")
    return Sight(face.points, face.scheme, face.confidence, ibug if own is None else own, own is not None)


def _inside(face: Detection, box: tuple[float, float, float, float]) -> bool:
    """Whether the middle of a face lies in a box of about its size."""
    low, high = np.array(box[:2]), np.array(box[2:])
    middle, side = (face.box[:2] + face.box[2:]) / 2, (face.box[2:] - face.box[:2]).mean()
    return bool((middle > low).all() and (middle < high).all() and side > 0.3 * (high - low).mean())


def disagreement(image: UInt8[np.ndarray, "H W 3"], detector: Detector, ibug: Float[np.ndarray, "68 2"]) -> float:
    """Mean distance of points 17–67 to those found in another crop, over the outer eye distance.

    The other crop is mirrored, rolled, shifted and of another scale; infinite where no face is found in it.
    """
    low, high = ibug.min(axis=0), ibug.max(axis=0)
    side = box_side(ibug)
    c, s = np.cos(_ROLL), np.sin(_ROLL)
    turn = _SECOND / (_ROOM * side) * np.array([[-c, s], [s, c]])  # the first row is negated: mirrored
    shift = _SECOND / 2 - turn @ ((low + high) / 2 + side * np.array(_SHIFT))
    crop = warp(image, np.concatenate([turn, shift[:, None]], axis=1), (_SECOND, _SECOND))
    detector.reset()
    found = detector.detect(Frame(0, 0.0, crop))
    if not found:
        return float("inf")
    again = ((ibug_of(found[0].points) - shift) @ np.linalg.inv(turn).T)[MIRRORED]
    return float(np.linalg.norm(again[17:] - ibug[17:], axis=1).mean()) / eye_distance(ibug)
