"""FAN, the landmark network of the DECA paper (Bulat & Tzimiropoulos 2017), through the face-alignment package.

The package downloads its networks (S3FD to find faces, 2D-FAN-4 for 68 points) at the first use; they do not come with
it. In a video S3FD, the slower of the two, runs only while a face is missing: known faces are cropped around the
previous frame's points.
"""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from jaxtyping import Float

from tracker.observation import Detection, Frame

WEIGHTS = ("s3fd-619a316812.pth", "2DFAN4-11f355bf06.pth.tar")
SOURCE = "https://www.adrianbulat.com/downloads/python-fan/"

_LOST = 0.2  # mean height of the heat maps' peaks below which there is no face; faces have 0.4 to 0.9
_SAME = 0.3  # IoU above which two boxes are one face
_SEARCH_EVERY = 25  # frames, while some but not all faces are followed
_FOREHEAD = 0.2  # S3FD's boxes reach above the brows by this part of the points' height


class FaceAlignmentDetector:
    """68 iBUG points per face by 2D-FAN-4.

    `Detection.confidence` is the mean height of the 68 heat maps' peaks, which FAN was trained to make 1 on the point.

    Args:
        faces: how many faces to follow at most.
        static: frames are unrelated photographs: every one is searched anew, and seen twice, once mirrored.
        device: torch device, e.g. ``cpu`` or ``cuda``.

    Raises:
        ValueError: the package is not installed, or its networks can neither be found nor downloaded; says where to
            put them.
    """

    scheme = "ibug68"

    def __init__(self, *, faces: int = 1, static: bool = False, device: str = "cpu") -> None:
        assert faces >= 1
        self._faces = faces
        self._static = static
        self._network: Any = _load(static, device)
        self._boxes: list[np.ndarray] = []
        self._since_search = 0

    def reset(self) -> None:
        """Forget the previous frames."""
        self._boxes = []
        self._since_search = 0

    def detect(self, frame: Frame) -> list[Detection]:
        """The faces of a frame, largest first."""
        if self._static:
            self.reset()
        found = self._align(frame, self._boxes)
        lost = len(found) < len(self._boxes)
        self._since_search += 1
        if len(found) < self._faces and (lost or not found or self._since_search >= _SEARCH_EVERY):
            self._since_search = 0
            boxes = [np.asarray(box[:4], float) for box in self._network.face_detector.detect_from_image(frame.image)]
            new = [box for box in boxes if all(_overlap(box, face.box) < _SAME for face in found)]
            new.sort(key=lambda box: -float(np.prod(box[2:] - box[:2])))
            found += self._align(frame, new[: self._faces - len(found)])
        found.sort(key=lambda face: -float(np.prod(face.box[2:] - face.box[:2])))
        self._boxes = [_box_of_points(face.points) for face in found]
        return found

    def _align(self, frame: Frame, boxes: list[Float[np.ndarray, "4"]]) -> list[Detection]:
        if not boxes:
            return []
        points, scores, _ = self._network.get_landmarks_from_image(
            frame.image, detected_faces=boxes, return_landmark_score=True
        )
        peak = 2.0 if self._static else 1.0  # the maps of the picture and of its mirror image are added up
        found: list[Detection] = []
        for face, score in zip(points, scores, strict=True):
            confidence = float(np.clip(np.mean(score) / peak, 0.0, 1.0))
            face = np.asarray(face, float)
            box = np.concatenate([face.min(axis=0), face.max(axis=0)])
            if confidence >= _LOST and all(_overlap(box, other.box) < _SAME for other in found):
                found.append(Detection(face, self.scheme, confidence, box))
        return found

    def close(self) -> None:
        """Free the networks."""
        self._network = None

    def __enter__(self) -> FaceAlignmentDetector:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _load(static: bool, device: str) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import face_alignment
    except ImportError as error:
        raise ValueError(
            f"face-alignment cannot be imported ({error}); install it: pip install face-alignment"
        ) from None
    import torch

    folder = Path(torch.hub.get_dir()) / "checkpoints"
    by_hand = f"put {' and '.join(WEIGHTS)} from {SOURCE} into {folder}, or use the mediapipe detector"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return face_alignment.FaceAlignment(
                face_alignment.LandmarksType.TWO_D, device=device, flip_input=static, face_detector="sfd", compile=False
            )
    except (RuntimeError, pickle.UnpicklingError, EOFError, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        if "CUDA" in reason or "device" in reason:
            raise ValueError(f"face-alignment cannot use the device '{device}': {reason}") from None
        raise ValueError(f"face-alignment's networks in {folder} are damaged ({reason}); {by_hand}") from None
    except OSError as error:  # URLError is one
        reason = getattr(error, "reason", error)
        raise ValueError(f"face-alignment's networks cannot be downloaded ({reason}); {by_hand}") from None


def _box_of_points(points: Float[np.ndarray, "68 2"]) -> Float[np.ndarray, "4"]:
    """What S3FD would have drawn around the points."""
    low, high = points.min(axis=0), points.max(axis=0)
    return np.array([low[0], low[1] - _FOREHEAD * (high[1] - low[1]), high[0], high[1]])


def _overlap(a: Float[np.ndarray, "4"], b: Float[np.ndarray, "4"]) -> float:
    inner = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None).prod()
    return float(inner / ((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - inner + 1e-9))
