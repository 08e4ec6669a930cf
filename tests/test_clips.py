"""The clips with known answers: is the truth that is written beside them true?"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import roma
import torch

from model.asset import HeadAsset
from model.camera import project
from model.head import HeadModel
from model.io.assets import load_head
from tracker.detect import open_detector
from tracker.video import open_video
from training import clips


@pytest.fixture(scope="module")
def openhead() -> HeadAsset:
    return load_head("openhead")


def test_camera_path_is_smooth_and_stays_inside_the_photograph() -> None:
    T = clips.astronaut_path(20.0).T_frame_from_photo
    A, b = T[..., :2], T[..., 2]
    corners = np.array([[0, 0], [clips.SIDE, 0], [0, clips.SIDE], [clips.SIDE, clips.SIDE]], float)
    seen = np.linalg.solve(A[:, None], (corners - b[:, None])[..., None])[..., 0]
    assert seen.min() > 0 and seen.max() < 512
    np.testing.assert_allclose(A @ A.transpose(0, 2, 1), np.linalg.det(A)[:, None, None] * np.eye(2), atol=1e-9)
    face = A @ np.array([225.0, 122.0]) + b
    assert np.abs(np.diff(face, axis=0)).max() < 8  # px a frame
    assert np.abs(np.diff(face, 2, axis=0)).max() < 1.5
    assert np.ptp(face, axis=0).min() > 40


def test_astronaut_moves_as_the_path_says(tmp_path: Path) -> None:
    pytest.importorskip("skimage", reason="scikit-image carries the photograph")
    truth = clips.write_astronaut(tmp_path / "a.mp4", seconds=0.6)
    again = clips.load_astronaut(tmp_path / "a.mp4")
    np.testing.assert_array_equal(truth.T_frame_from_photo, again.T_frame_from_photo)
    video = open_video(tmp_path / "a.mp4")
    with open_detector() as detector:
        faces = [detector.detect(frame) for frame in video]
    np.testing.assert_allclose([frame.time for frame in video], again.time, atol=1e-6)
    assert [len(found) for found in faces] == [1] * len(again.time)
    points = np.stack([found[0].points for found in faces])
    A, b = again.T_frame_from_photo[..., :2], again.T_frame_from_photo[..., 2]
    on_photo = np.linalg.solve(A[:, None], (points - b[:, None])[..., None])[..., 0]
    assert np.linalg.norm(on_photo - on_photo.mean(0), axis=-1).mean() < 0.6  # px of the photograph; her face has 95
    assert np.linalg.norm(points - points.mean(0), axis=-1).mean() > 2  # and she does move


def test_performance_is_within_range_smooth_and_the_same_for_any_length(openhead: HeadAsset) -> None:
    long, short = clips.openhead_motion(openhead, 10.0), clips.openhead_motion(openhead, 1.0)
    for key in ("shape", "expression", "pose", "neck", "jaw", "eyes"):
        torch.testing.assert_close(getattr(long.params, key)[:25], getattr(short.params, key))
    expression = long.params.expression
    assert expression.min() >= 0 and expression.max() <= 1
    for name in (
        "eyeBlinkLeft",
        "eyeBlinkRight",
        "mouthSmileLeft",
        "mouthPuckerRight",
        "browInnerUpLeft",
        "browDownLeft",
    ):
        assert expression[:, openhead.expression_names.index(name)].max() > 0.7
    assert np.rad2deg(long.params.jaw[:, 0].max()) > 10 and long.params.jaw[:, 0].min() >= 0
    yaw, pitch, _ = roma.rotmat_to_euler("YXZ", roma.rotvec_to_rotmat(long.params.pose)).rad2deg().unbind(-1)
    assert 25 < yaw.max() <= 30.1 and -30.1 <= yaw.min() < -25 and 10 < pitch.abs().max() <= 15
    for values, most in ((long.params.pose, 0.08), (long.params.jaw, 0.12), (long.camera.t, 12.0)):
        assert values.diff(dim=0).abs().max() < most
    assert (long.params.pose[0] == 0).all()


def test_rendered_head_is_where_its_parameters_say(openhead: HeadAsset, tmp_path: Path) -> None:
    written = clips.write_openhead(tmp_path / "o.mp4", openhead, seconds=0.12)
    truth = clips.load_openhead(tmp_path / "o.mp4")
    assert truth.head == f"{openhead.name}:{openhead.digest}"
    torch.testing.assert_close(truth.params.pose, written.params.pose)
    torch.testing.assert_close(truth.camera.t, written.camera.t)
    frames = list(open_video(tmp_path / "o.mp4"))
    assert len(frames) == len(truth.time) == 3
    vertices = project(truth.camera, HeadModel(openhead)(truth.params))
    with open_detector(static=True) as detector:
        for frame, points in zip(frames, vertices.numpy(), strict=True):
            (face,) = detector.detect(frame)
            left, right = (points[openhead.regions[f"{side}_eye"] > 0.5].mean(0) for side in ("left", "right"))
            apart = np.linalg.norm(left - right)
            assert np.linalg.norm(face.points[473] - left) < 0.08 * apart  # the irises are where the eyeballs are
            assert np.linalg.norm(face.points[468] - right) < 0.08 * apart


def test_command_reports_mistakes_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert clips.main(["astronaut", "--out", str(tmp_path / "none" / "a.mp4")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "cannot be written" in error
