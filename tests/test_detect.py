"""Detectors on the astronaut photograph, on mirrored and shrunken versions of it, and on pictures without a face."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest

from tracker.detect import open_detector
from tracker.detect.mediapipe import LEFT_EYE_OUTER, RIGHT_EYE_OUTER, MediaPipeDetector
from tracker.image import warp
from tracker.observation import Detection, Frame

MOUTH_LEFT, MOUTH_RIGHT, NOSE = 291, 61, 1


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    data = pytest.importorskip("skimage.data", reason="scikit-image carries the photograph")
    return data.astronaut()


@pytest.fixture(scope="module")
def video_detector() -> Iterator[MediaPipeDetector]:
    with MediaPipeDetector() as detector:
        yield detector


@pytest.fixture(scope="module")
def photo_detector() -> Iterator[MediaPipeDetector]:
    with MediaPipeDetector(static=True, faces=3) as detector:
        yield detector


@pytest.fixture
def follow(video_detector: MediaPipeDetector) -> MediaPipeDetector:
    video_detector.reset()
    return video_detector


def frame(image: np.ndarray, index: int = 0) -> Frame:
    return Frame(index, index / 25, np.ascontiguousarray(image))


def width(face: Detection) -> float:
    return float(np.linalg.norm(face.points[LEFT_EYE_OUTER] - face.points[RIGHT_EYE_OUTER]))


def moved(
    image: np.ndarray, dx: float, dy: float, scale: float = 1.0, size: tuple[int, int] = (512, 512)
) -> np.ndarray:
    return warp(image, np.array([[scale, 0, dx], [0, scale, dy]]), size, border="edge")


def test_astronaut(follow: MediaPipeDetector, photo: np.ndarray) -> None:
    (face,) = follow.detect(frame(photo))
    assert face.points.shape == (478, 2) and face.scheme == "mediapipe478"
    assert 0.9 < face.confidence <= 1.0
    # Read off the picture by eye: her pupils and the corners of her mouth.
    for index, xy in [(468, (203, 101)), (473, (247, 103)), (MOUTH_RIGHT, (202, 139)), (MOUTH_LEFT, (246, 141))]:
        assert np.linalg.norm(face.points[index] - xy) < 2.5
    np.testing.assert_allclose(face.box, [*face.points.min(axis=0), *face.points.max(axis=0)])
    irises = face.points[468], face.points[473]
    assert irises[0][0] < irises[1][0]  # the subject's right is on the left of the picture
    assert abs(irises[0][1] - irises[1][1]) < 0.2 * width(face)


def test_mirrored_picture_gives_mirrored_points(photo_detector: MediaPipeDetector, photo: np.ndarray) -> None:
    (face,) = photo_detector.detect(frame(photo))
    (mirrored,) = photo_detector.detect(frame(photo[:, ::-1]))
    pairs = [
        (RIGHT_EYE_OUTER, LEFT_EYE_OUTER),
        (MOUTH_RIGHT, MOUTH_LEFT),
        (NOSE, NOSE),
        (468, 473),
        (152, 152),
        (10, 10),
    ]
    for a, b in pairs:
        back = np.array([512, 0]) + mirrored.points[b] * (-1, 1)
        assert np.linalg.norm(face.points[a] - back) < 0.05 * width(face)


def test_points_move_with_the_picture(follow: MediaPipeDetector, photo: np.ndarray) -> None:
    (first,) = follow.detect(frame(photo))
    for index in range(1, 12):
        (face,) = follow.detect(frame(moved(photo, 4 * index, 3 * index), index))
        error = np.linalg.norm(face.points - first.points - (4 * index, 3 * index), axis=1)
        assert error.mean() < 0.02 * width(first)


def test_turned_picture(photo_detector: MediaPipeDetector, photo: np.ndarray) -> None:
    (upright,) = photo_detector.detect(frame(photo))
    c, s = np.cos(0.5), np.sin(0.5)
    T = np.array([[c, -s, 200], [s, c, 0]])
    (face,) = photo_detector.detect(frame(warp(photo, T, (600, 600), border="reflect")))
    error = np.linalg.norm(face.points - (upright.points @ T[:, :2].T + T[:, 2]), axis=1)
    assert error.mean() < 0.03 * width(upright)


@pytest.mark.parametrize("size", [(64, 48), (512, 512), (1280, 720)])
def test_no_face(follow: MediaPipeDetector, size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 255, (size[1], size[0], 3), np.uint8)
    for index, image in enumerate([np.zeros_like(noise), noise, noise // 2 + 60]):
        assert follow.detect(frame(image, index)) == []


def test_odd_and_tiny_pictures(follow: MediaPipeDetector, photo: np.ndarray) -> None:
    assert follow.detect(frame(photo[:7, :3])) == []
    follow.reset()
    assert len(follow.detect(frame(photo[:301, 51:402]))) == 1


def test_far_face_in_a_large_frame(photo_detector: MediaPipeDetector, photo: np.ndarray) -> None:
    """A face of 45 px in 1080p, where the packaged solution finds none."""
    scene = np.full((1080, 1920, 3), 120, np.uint8)
    small = moved(photo, 0, 0, 0.6, (307, 307))
    scene[600:907, 1400:1707] = small
    (face,) = photo_detector.detect(frame(scene))
    (near,) = photo_detector.detect(frame(photo))
    error = np.linalg.norm((face.points - (1400, 600)) / 0.6 - near.points, axis=1)
    assert error.mean() < 0.06 * width(near)


def test_far_face_is_found_in_a_video_within_some_frames(follow: MediaPipeDetector, photo: np.ndarray) -> None:
    scene = np.full((1080, 1920, 3), 120, np.uint8)
    scene[600:907, 1400:1707] = moved(photo, 0, 0, 0.6, (307, 307))
    found = [len(follow.detect(frame(scene, index))) for index in range(30)]
    assert found[-1] == 1 and sum(found) >= 5


def test_two_faces(photo: np.ndarray) -> None:
    head = photo[:256, 80:336]
    both = np.concatenate([head, head[:, ::-1]], axis=1)
    with MediaPipeDetector(faces=2) as detector:
        for index in range(8):
            faces = detector.detect(frame(both, index))
        assert len(faces) == 2
        left, right = sorted(faces, key=lambda face: face.box[0])
        assert left.box[2] < 256 < right.box[0]
    with MediaPipeDetector(faces=1) as detector:
        assert len(detector.detect(frame(both))) == 1


def test_lost_face_is_found_again_elsewhere(follow: MediaPipeDetector, photo: np.ndarray) -> None:
    grey = np.full_like(photo, 128)
    assert len(follow.detect(frame(photo, 0))) == 1
    assert follow.detect(frame(grey, 1)) == []
    (face,) = follow.detect(frame(moved(photo, 150, 100), 2))
    assert 330 < face.points[NOSE, 0] < 430


def test_face_leaving_the_frame_lowers_confidence(follow: MediaPipeDetector, photo: np.ndarray) -> None:
    (whole,) = follow.detect(frame(photo))
    faces: list[Detection] = []
    for index in range(1, 10):
        faces = follow.detect(frame(moved(photo, -30 * index, 0), index))
        if not faces:
            break
    assert not faces or faces[0].confidence < 0.85 * whole.confidence


def test_reset_makes_a_run_repeatable(follow: MediaPipeDetector, photo: np.ndarray) -> None:
    def run() -> list[np.ndarray]:
        follow.reset()
        images = [np.full_like(photo, 128)] + [moved(photo, 3 * t, -2 * t) for t in range(6)]
        return [face.points for t, image in enumerate(images) for face in follow.detect(frame(image, t))]

    for a, b in zip(run(), run(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_precise_points_are_steadier(photo: np.ndarray) -> None:
    """Points less the known motion of the picture: their trembling from frame to frame."""
    shifts = [(1.37 * t, -0.81 * t) for t in range(12)]
    images = [moved(photo, *shift) for shift in shifts]
    trembling = {}
    for precise in (False, True):
        with open_detector(precise=precise) as detector:
            still = [detector.detect(frame(im, t))[0].points - shifts[t] for t, im in enumerate(images)]
        trembling[precise] = float(np.diff(still, axis=0)[1:].std())
    assert 0 < trembling[True] < 0.7 * trembling[False]


def test_open_detector_checks_its_arguments() -> None:
    with pytest.raises(ValueError, match="unknown detector 'dlib'; there are mediapipe and face-alignment"):
        open_detector("dlib")
    with pytest.raises(ValueError, match="faces must be at least 1, got 0"):
        open_detector(faces=0)


def test_process_is_silent_and_ends() -> None:
    """No log lines of the C++ libraries, and no thread that keeps the process alive, closed or not."""
    code = """
import numpy as np
from tracker.detect import open_detector
from tracker.observation import Frame
kept = open_detector()
with open_detector(static=True) as detector:
    print(len(detector.detect(Frame(0, 0.0, np.zeros((64, 64, 3), np.uint8)))))
kept.detect(Frame(0, 0.0, np.zeros((64, 64, 3), np.uint8)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "0\n", "")


def test_face_alignment_without_its_weights_says_where_to_put_them(
    interpreted: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    def offline(*_: object, **__: object) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr("urllib.request.urlopen", offline)
    monkeypatch.setattr("torch.hub.urlopen", offline)
    monkeypatch.setattr("face_alignment.utils.urlopen", offline, raising=False)
    before = torch.hub.get_dir()
    torch.hub.set_dir(str(tmp_path))
    try:
        with pytest.raises(ValueError) as caught:
            open_detector("face-alignment")
        message = str(caught.value)
        assert "no route to host" in message and "\n" not in message
        assert str(tmp_path / "checkpoints") in message and "2DFAN4-11f355bf06.pth.tar" in message
        (tmp_path / "checkpoints" / "s3fd-619a316812.pth").write_bytes(b"half a download")
        with pytest.raises(ValueError, match="damaged"):
            open_detector("face-alignment")
    finally:
        torch.hub.set_dir(before)


@pytest.fixture(scope="module")
def interpreted() -> Iterator[None]:
    """face-alignment's numba functions as plain Python: compiling them takes longer than all that is tested here."""
    numba = pytest.importorskip("numba")
    before, numba.config.DISABLE_JIT = numba.config.DISABLE_JIT, True
    try:
        yield
    finally:
        numba.config.DISABLE_JIT = before


@pytest.fixture(scope="module")
def fan(interpreted: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    """The real package, loaded from files as they would have been downloaded, but with untrained networks."""
    import torch
    from face_alignment.detection.sfd.net_s3fd import s3fd
    from face_alignment.models import FAN

    from tracker.detect.face_alignment import WEIGHTS, _load

    folder = tmp_path_factory.mktemp("hub")
    (folder / "checkpoints").mkdir()
    for name, network in zip(WEIGHTS, (s3fd(), FAN(4)), strict=True):
        torch.save(network.state_dict(), folder / "checkpoints" / name)
    before = torch.hub.get_dir()
    torch.hub.set_dir(str(folder))
    try:
        yield _load(False, "cpu")
    finally:
        torch.hub.set_dir(before)
        for name in WEIGHTS:
            (folder / "checkpoints" / name).unlink()


def test_face_alignment_follows_faces(fan: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The data's way through the package: heat maps with peaks where a face stands in for the trained network's."""
    import torch

    from tracker.detect import face_alignment as backend

    rng = np.random.default_rng(0)
    truth = rng.uniform((200, 90), (250, 150), (68, 2))  # px of the frame
    height = 0.8
    mark = (225, 120)
    searches, crops = [], []

    def find(image: np.ndarray) -> list[np.ndarray]:
        searches.append(image.shape)
        return [np.array([190.0, 70.0, 260.0, 170.0, 0.99])]

    def net(crop: torch.Tensor) -> torch.Tensor:
        crops.append(crop)
        x0, y0 = np.unravel_index(int(crop[0, 0].argmax()), (256, 256))[::-1]  # the only white pixel of the picture
        scale = np.ptp(np.nonzero(crop[0, 1].numpy() > 0.5)[1]) / 100  # a green bar of 100 px
        maps = torch.zeros(1, 68, 64, 64)
        for k, (x, y) in enumerate((truth - mark) * scale + (x0, y0)):
            maps[0, k, int(np.clip(y / 4, 0, 63)), int(np.clip(x / 4, 0, 63))] = height
        return maps

    image = np.zeros((256, 400, 3), np.uint8)
    image[mark[1], mark[0], 0] = 255
    image[118:123, 175:276, 1] = 255
    monkeypatch.setattr(fan.face_detector, "detect_from_image", find)
    monkeypatch.setattr(fan, "face_alignment_net", net)
    monkeypatch.setattr(backend, "_load", lambda *_: fan)
    detector = backend.FaceAlignmentDetector()
    for count in range(3):
        (face,) = detector.detect(frame(image, count))
        assert face.points.shape == (68, 2) and face.scheme == "ibug68"
        assert face.confidence == pytest.approx(height, abs=1e-3)
        assert np.linalg.norm(face.points - truth, axis=1).mean() < 3.0  # a heat map's cell is 4 px of a crop
    assert searches == [(256, 400, 3)]  # the later frames were cropped around the points of the earlier ones
    assert crops[0].shape == (1, 3, 256, 256)
    height = 0.1
    assert detector.detect(frame(image, 3)) == [] and len(searches) == 2  # lost, and looked for again
    detector.close()


def test_landmarks_read_from_the_wire_are_those_asked_point_by_point():
    landmark_pb2 = pytest.importorskip("mediapipe.framework.formats.landmark_pb2")
    from tracker.detect.attention_mesh import _coordinates

    rng = np.random.default_rng(0)
    for fields in (("x", "y", "z"), ("x", "y")):
        message = landmark_pb2.NormalizedLandmarkList()
        for row in rng.uniform(-1, 2, (478, 3)):
            message.landmark.add(**dict(zip(fields, row, strict=False)))
        asked = np.array([(p.x, p.y) for p in message.landmark])
        np.testing.assert_array_equal(_coordinates(message), asked)
