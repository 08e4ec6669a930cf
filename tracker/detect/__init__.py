"""Detectors: a picture to `Detection` records; one file per backend."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol, runtime_checkable

from tracker.observation import Detection, Frame

BACKENDS = ("mediapipe", "face-alignment")


@runtime_checkable
class Detector(Protocol):
    """Finds faces in the frames of a video, one after the other; a context manager that frees its networks.

    Attributes:
        scheme: what the points are, as in `Detection`.
    """

    scheme: str

    def detect(self, frame: Frame) -> list[Detection]:
        """The faces of a frame, largest first. May use the previous frames; see `reset`."""
        ...

    def reset(self) -> None:
        """Forget the previous frames: the next one is the first after a cut, or of another video."""
        ...

    def close(self) -> None:
        """Free what the detector holds; it cannot be used afterwards."""
        ...

    def __enter__(self) -> Detector: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def open_detector(
    name: str = "mediapipe",
    *,
    faces: int = 1,
    static: bool = False,
    dither: bool = False,
    precise: bool = False,
    device: str = "cpu",
) -> Detector:
    """A detector by name.

    Args:
        name: ``mediapipe`` (478 points with iris; comes with the package) or ``face-alignment`` (68 points; its
            networks are downloaded at the first use).
        faces: how many faces to follow at most, at least 1.
        static: the frames are unrelated photographs: every one is searched anew, and more carefully.
        dither: for what is smoothed over time: errors of the crop alternate instead of drifting (mediapipe only).
        precise: points are the mean over several crops, which takes five times as long (mediapipe only).
        device: torch device of face-alignment.

    Raises:
        ValueError: an unknown name, or the backend cannot be had; says what to do.
    """
    if faces < 1:
        raise ValueError(f"faces must be at least 1, got {faces}")
    if name == "mediapipe":
        from tracker.detect.mediapipe import MediaPipeDetector

        return MediaPipeDetector(faces=faces, static=static, dither=dither, precise=precise)
    if name == "face-alignment":
        from tracker.detect.face_alignment import FaceAlignmentDetector

        return FaceAlignmentDetector(faces=faces, static=static, device=device)
    raise ValueError(f"unknown detector '{name}'; there are {' and '.join(BACKENDS)}")
