"""Landmarks: the contour's rows, and points that agree with the mesh."""

import dataclasses
import math

import pytest
import roma
import torch
from test_head import random_params

from model.asset import HeadAsset
from model.head import HeadModel
from model.landmarks import (
    CONTOUR_ROWS,
    HeadLandmarks,
    contour_row,
    head_rotation,
    ibug68_points,
    on_mesh,
    yaw_of_row,
)


def turned(degrees: float) -> torch.Tensor:
    return roma.rotvec_to_rotmat(torch.tensor([0.0, math.radians(degrees), 0.0], dtype=torch.float64))


@pytest.mark.parametrize(
    ("degrees", "row"),
    [
        (0, 0),
        (0.4, 0),
        (-0.4, 0),
        (0.6, 1),
        (-0.6, 40),
        (10, 10),
        (39, 39),
        (80, 39),
        (-1, 40),
        (-38, 77),
        (-39, 78),
        (-70, 78),
    ],
)
def test_row_of_a_yaw(degrees: float, row: int) -> None:
    assert int(contour_row(turned(degrees))) == row


def test_rows_and_yaws_are_inverse() -> None:
    rotations = torch.stack([turned(math.degrees(yaw_of_row(row))) for row in range(CONTOUR_ROWS)])
    assert contour_row(rotations).tolist() == list(range(CONTOUR_ROWS))
    with pytest.raises(ValueError, match="contour row is 79"):
        yaw_of_row(79)


def test_the_row_ignores_roll(tiny_head: HeadAsset) -> None:
    """Yaw is measured out of the picture's plane, so turning the picture changes nothing."""
    roll = roma.rotvec_to_rotmat(torch.tensor([0.0, 0.0, 1.1], dtype=torch.float64))
    for degrees in (-30.2, 0, 17.3):
        assert contour_row(roll @ turned(degrees)) == contour_row(turned(degrees))


def test_all_landmarks_agree_with_the_mesh(tiny_head: HeadAsset) -> None:
    head = HeadModel(tiny_head).double()
    landmarks, points = HeadLandmarks(head), tiny_head.landmarks
    assert points is not None and points.mediapipe478 is not None
    params = random_params(3, 4, seed=3, angle=0.5)
    vertices = head(params)
    rows = contour_row(head_rotation(params))
    assert len(rows.unique()) > 6
    ibug = landmarks.ibug68(params)
    assert ibug.shape == (3, 4, 68, 3)
    for i in range(3):
        for j in range(4):
            expected = on_mesh(vertices[i, j], head.faces, ibug68_points(points, int(rows[i, j])))
            torch.testing.assert_close(ibug[i, j], expected, atol=1e-8, rtol=0)
    close = {"atol": 1e-8, "rtol": 0}
    torch.testing.assert_close(landmarks.ibug68_fixed(params), on_mesh(vertices, head.faces, points.full68), **close)
    torch.testing.assert_close(landmarks.mediapipe(params), on_mesh(vertices, head.faces, points.mediapipe478), **close)


def test_the_neck_turns_the_contour_too(tiny_head: HeadAsset) -> None:
    head = HeadModel(tiny_head)
    yaw = torch.tensor([0.0, 0.4, 0.0])
    by_neck = dataclasses.replace(head.neutral(), neck=yaw)
    by_pose = dataclasses.replace(head.neutral(), pose=yaw)
    assert contour_row(head_rotation(by_neck)) == contour_row(head_rotation(by_pose)) == 23


def test_the_contour_follows_the_silhouette(tiny_head: HeadAsset) -> None:
    """Turned to the subject's left, that side's jaw line in the picture lies further forward on the head."""
    head = HeadModel(tiny_head)
    landmarks = HeadLandmarks(head)
    params = dataclasses.replace(head.neutral(), pose=torch.tensor([0.0, 0.6, 0.0]))
    seen = landmarks.ibug68(params)[:17]
    fixed = landmarks.ibug68_fixed(params)[:17]
    assert seen[16, 0] > fixed[16, 0] + 0.005  # image right: the outline is further out than the fixed point


def test_gradients_through_the_moving_contour(tiny_head: HeadAsset) -> None:
    head = HeadModel(tiny_head).double()
    landmarks = HeadLandmarks(head)
    params = random_params(2)
    params.pose[:, 1] = torch.tensor([0.2, -0.3]) + 0.001  # off the steps between rows
    values = tuple(getattr(params, f.name).clone().requires_grad_() for f in dataclasses.fields(params))
    assert torch.autograd.gradcheck(lambda *v: landmarks.ibug68(type(params)(*v))[:, ::9], values)


def test_heads_without_landmarks_say_so(tiny_head: HeadAsset) -> None:
    with pytest.raises(ValueError, match="head tiny has no landmarks"):
        HeadLandmarks(HeadModel(dataclasses.replace(tiny_head, landmarks=None)))
    assert tiny_head.landmarks is not None
    without = dataclasses.replace(tiny_head, landmarks=dataclasses.replace(tiny_head.landmarks, mediapipe478=None))
    head = HeadModel(without)
    with pytest.raises(ValueError, match="no mediapipe478 landmarks"):
        HeadLandmarks(head).mediapipe(head.neutral())
