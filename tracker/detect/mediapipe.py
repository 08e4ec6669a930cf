"""MediaPipe's face networks, which come inside its wheel: BlazeFace to find, Face Mesh with attention for 478 points.

Only the networks are MediaPipe's. Who is followed, where the crops lie and when to search again is decided here,
because the packaged solution sees the whole frame at 128² when it searches (far faces are lost) and hides how sure
the network is (which the smoother needs).

The landmark network (Grishchenko et al., "Attention Mesh", 2020) reads a 192² crop turned so that the eyes are level;
in a video the crop comes from the previous frame's points, as in the packaged solution.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from tracker.detect.attention_mesh import SIDE, LandmarkNet, cut, import_mediapipe, quiet
from tracker.detect.follow import CropFollower
from tracker.observation import Detection, Frame

POINTS = 478
RIGHT_EYE_OUTER, LEFT_EYE_OUTER = 33, 263  # the subject's

_MARGIN = 1.5  # side of the crop over the extent of the points
_PRESENT = 0.5  # below: no face (MediaPipe's own threshold)
_SAME = 0.3  # overlap (IoU) above which two boxes are one face
_SURE = 0.7  # score of the near finder that needs no support
_SEARCH_EVERY = 5  # frames, while some but not all faces are followed
_JITTER = 0.04  # the crops that are averaged differ by this part of their side


class MediaPipeDetector:
    """478 points per face: 468 of the Face Mesh, then the irises (subject's right 468–472, left 473–477).

    `Detection.confidence` is the network's own face-presence score for the crop, times the part of the points that lie
    inside the frame (points outside are guesses), times min(1, side of the face / 48 px) (fewer pixels than that carry
    less than the network can use). It says that there is a face and how much of it was seen; it is no error bar.

    Args:
        faces: how many faces to follow at most.
        static: frames are unrelated photographs. Every one is searched anew, in tiles too, and the points are the
            average over several crops.
        dither: crops of followed faces are moved a little from frame to frame, see `tracker.detect.follow`; leave it
            off where nothing smooths over time.
        precise: the points are the average over several crops in videos too, and crops are not dithered.

    Raises:
        ValueError: mediapipe is not installed.
    """

    scheme = "mediapipe478"

    def __init__(self, *, faces: int = 1, static: bool = False, dither: bool = True, precise: bool = False) -> None:
        assert faces >= 1
        self._faces = faces
        self._static, self._precise = static, static or precise
        with quiet():
            mediapipe = import_mediapipe()
            self._near = mediapipe.solutions.face_detection.FaceDetection(0.5, model_selection=0)
            self._far = mediapipe.solutions.face_detection.FaceDetection(0.5, model_selection=1)
            self._net = LandmarkNet(mediapipe)
            black = np.zeros((SIDE, SIDE, 3), np.uint8)  # the libraries' remarks come with the first picture
            self._near.process(black)
            self._far.process(black)
            self._net(black)
        self._dither = dither and not precise
        self._followed: list[CropFollower] = []
        self._since_search = 0
        self._tile = 0

    def reset(self) -> None:
        """Forget the previous frames."""
        self._followed = []
        self._since_search = 0
        self._tile = 0

    def detect(self, frame: Frame) -> list[Detection]:
        """The faces of a frame, largest first."""
        if self._static:
            self.reset()
        image = frame.image
        found: list[Detection] = []
        followers: list[CropFollower] = []
        for follower in self._followed:
            look = self._averaged if self._precise else self._landmarks
            face = look(image, follower.crop())
            if face is not None and _is_new(face, found):
                follower.update(_crop_of_points(face.points))
                found.append(face)
                followers.append(follower)
        lost = len(found) < len(self._followed)
        self._since_search += 1
        if len(found) < self._faces and (lost or not found or self._since_search >= _SEARCH_EVERY):
            self._since_search = 0
            for box in self._search(image, len(found)):
                if len(found) == self._faces and not self._static:
                    break
                if all(_overlap(_crop_box(box), known.box) < _SAME for known in found):
                    face = self._first_landmarks(image, box)
                    if face is not None and _is_new(face, found):
                        found.append(face)
                        followers.append(CropFollower(_crop_of_points(face.points), dither=self._dither))
        order = sorted(range(len(found)), key=lambda i: -float(np.prod(found[i].box[2:] - found[i].box[:2])))
        order = order[: self._faces]
        self._followed = [followers[i] for i in order]
        return [found[i] for i in order]

    def _landmarks(self, image: UInt8[np.ndarray, "H W 3"], crop: Float[np.ndarray, "4"]) -> Detection | None:
        points, presence = self._net(*cut(image, crop))
        return _detection(points, presence, image) if presence >= _PRESENT else None

    def _first_landmarks(self, image: UInt8[np.ndarray, "H W 3"], crop: Float[np.ndarray, "4"]) -> Detection | None:
        """Points of a face of which only a rough box is known: the crop is centred by a first look."""
        face = self._landmarks(image, crop)
        if face is None:
            return None
        crop = _crop_of_points(face.points)
        second = self._landmarks(image, crop)
        if second is None or not self._is_face(image, crop, second):
            return None
        if not self._precise:
            return second
        return self._averaged(image, _crop_of_points(second.points)) or second

    def _is_face(self, image: UInt8[np.ndarray, "H W 3"], crop: Float[np.ndarray, "4"], face: Detection) -> bool:
        """Whether a close look agrees: the landmark network alone is sure of itself on clouds and lettering too.

        On the crops of real faces the near finder scores 0.9 and the far one 0.7 or more; on what was mistaken for
        faces in the first search they rarely both pass 0.5.
        """
        part, T_frame_from_crop = cut(image, crop * (1, 1, 1.2, 1))

        def score(finder: Any) -> float:
            best = 0.0
            for other in finder.process(part).detections or []:
                box = other.location_data.relative_bounding_box
                x, y = SIDE * (box.xmin + box.width / 2), SIDE * (box.ymin + box.height / 2)
                centre = T_frame_from_crop @ (x, y, 1.0)
                if (centre > face.box[:2]).all() and (centre < face.box[2:]).all():
                    best = max(best, other.score[0])
            return best

        near = score(self._near)
        return near >= _SURE or (near > 0 and score(self._far) > 0)

    def _averaged(self, image: UInt8[np.ndarray, "H W 3"], crop: Float[np.ndarray, "4"]) -> Detection | None:
        """The mean over crops moved and scaled a little: the network's answer depends on where the crop lies."""
        step = _JITTER * crop[2]
        moves = [(0, 0, 1.0), (step, 0, 1.04), (-step, 0, 0.96), (0, step, 0.96), (0, -step, 1.04)]
        points, presence = [], []
        for dx, dy, zoom in moves:
            p, sure = self._net(*cut(image, crop * (1, 1, zoom, 1) + (dx, dy, 0, 0)))
            points.append(p)
            presence.append(sure)
        mean = float(np.mean(presence))
        return _detection(np.mean(points, axis=0), mean, image) if mean >= _PRESENT else None

    def _search(self, image: UInt8[np.ndarray, "H W 3"], known: int) -> Iterator[Float[np.ndarray, "4"]]:
        """Crops around the faces that BlazeFace finds in the whole frame, then in a tile of it (all in static mode)."""
        height, width = image.shape[:2]
        boxes = self._boxes(self._near, image, (0, 0)) + self._boxes(self._far, image, (0, 0))
        tiles = _tiles(width, height)
        if self._static:
            if not boxes or self._faces > 1:
                for tile in tiles:
                    boxes += self._tile_boxes(image, tile)
        elif tiles and not boxes and not known:
            boxes += self._tile_boxes(image, tiles[self._tile % len(tiles)])
            self._tile += 1
        boxes.sort(key=lambda scored: -scored[0])
        for _, crop in boxes:
            yield crop

    def _tile_boxes(self, image: np.ndarray, tile: tuple[int, int, int]) -> list[tuple[float, np.ndarray]]:
        x, y, side = tile
        part = np.ascontiguousarray(image[y : y + side, x : x + side])
        return self._boxes(self._far, part, (x, y))

    @staticmethod
    def _boxes(finder: Any, image: np.ndarray, origin: tuple[int, int]) -> list[tuple[float, np.ndarray]]:
        """(size, crop) of the faces one BlazeFace finds; crops in full-frame pixels."""
        result = []
        size = np.array([image.shape[1], image.shape[0]], float)
        for found in finder.process(image).detections or []:
            data = found.location_data
            box = data.relative_bounding_box
            corner, extent = np.array([box.xmin, box.ymin]) * size, np.array([box.width, box.height]) * size
            right, left = (
                np.array([data.relative_keypoints[i].x, data.relative_keypoints[i].y]) * size for i in (0, 1)
            )
            eyes = left - right
            centre = corner + extent / 2 + origin
            crop = np.array([*centre, _MARGIN * extent.max(), np.arctan2(eyes[1], eyes[0])])
            result.append((float(extent.max()), crop))
        return result

    def close(self) -> None:
        """Free the networks."""
        self._near.close()
        self._far.close()
        self._net.close()

    def __enter__(self) -> MediaPipeDetector:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _crop_of_points(points: Float[np.ndarray, "478 2"]) -> Float[np.ndarray, "4"]:
    """Square around the points with the eyes level: (cx, cy, side, angle)."""
    eyes = points[LEFT_EYE_OUTER] - points[RIGHT_EYE_OUTER]
    angle = np.arctan2(eyes[1], eyes[0])
    c, s = np.cos(angle), np.sin(angle)
    upright = points @ np.array([[c, -s], [s, c]])
    low, high = upright.min(axis=0), upright.max(axis=0)
    centre = np.array([[c, -s], [s, c]]) @ ((low + high) / 2)
    return np.array([*centre, _MARGIN * (high - low).max(), angle])


def _crop_box(crop: Float[np.ndarray, "4"]) -> Float[np.ndarray, "4"]:
    half = crop[2] / _MARGIN / 2
    return np.array([crop[0] - half, crop[1] - half, crop[0] + half, crop[1] + half])


def _detection(points: Float[np.ndarray, "478 2"], presence: float, image: UInt8[np.ndarray, "H W 3"]) -> Detection:
    size = np.array([image.shape[1], image.shape[0]])
    inside = float(((points >= 0) & (points <= size)).all(axis=1).mean())
    low, high = points.min(axis=0), points.max(axis=0)
    resolved = min(1.0, float((high - low).max()) / 48.0)
    return Detection(points, MediaPipeDetector.scheme, presence * inside * resolved, np.concatenate([low, high]))


def _is_new(face: Detection, found: list[Detection]) -> bool:
    """False where two crops slid onto the same face."""
    return all(_overlap(face.box, known.box) < _SAME for known in found)


def _overlap(a: Float[np.ndarray, "4"], b: Float[np.ndarray, "4"]) -> float:
    """Intersection over union, or over the smaller box where one lies in the other."""
    inner = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None).prod()
    areas = (a[2:] - a[:2]).prod(), (b[2:] - b[:2]).prod()
    return float(max(inner / (sum(areas) - inner + 1e-9), 0.5 * inner / (min(areas) + 1e-9)))


def _tiles(width: int, height: int) -> list[tuple[int, int, int]]:
    """Overlapping squares (x, y, side) of half the frame's shorter side, from the centre outwards."""
    side = min(width, height) // 2
    if side < 96:
        return []
    columns, rows = (max(1, -(-2 * length // side) - 1) for length in (width, height))
    xs = np.linspace(0, width - side, columns).round().astype(int)
    ys = np.linspace(0, height - side, rows).round().astype(int)
    centre = np.array([width - side, height - side]) / 2
    order = sorted(((x, y) for y in ys for x in xs), key=lambda xy: float(np.hypot(*(np.array(xy) - centre))))
    return [(int(x), int(y), side) for x, y in order]
