"""Slides of MediaPipe's points: their frame, their fit, and a fit of the head that takes them off."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from model.camera import project
from model.head import HeadModel
from model.io.assets import load_head
from model.landmarks import HeadLandmarks
from model.params import Camera
from tracker.fit import fit_photos
from tracker.fit.slides import read_slides, slide, turn_features
from training.landmarks.slides import fit_slides


def test_slides_are_finite_small_and_mirror_symmetric() -> None:
    slides = read_slides()
    assert slides.shape == (478, 2, 2)
    assert np.isfinite(slides).all()
    assert np.abs(slides).max() < 0.02
    # the nose's tip lies on the midline: with yaw it slides sideways only, with pitch up or down only
    np.testing.assert_allclose(slides[4, [0, 1], [1, 0]], 0.0, atol=1e-6)
    right, left = 33, 263  # outer corners of the eyes
    np.testing.assert_allclose(slides[right, 0], slides[left, 0] * [1, -1], atol=1e-6)
    np.testing.assert_allclose(slides[right, 1], slides[left, 1] * [-1, 1], atol=1e-6)


def test_turning_the_picture_turns_the_slide() -> None:
    slides = torch.from_numpy(read_slides())
    rotation = Rotation.from_euler("YX", [0.4, -0.2]).as_matrix()
    roll = Rotation.from_euler("Z", 0.7).as_matrix()
    upright, rolled = (slide(slides, torch.from_numpy(R).float()[None])[0] for R in (rotation, roll @ rotation))
    torch.testing.assert_close(rolled, torch.from_numpy(roll[:2, :2]).float() @ upright)
    sines, _ = turn_features(torch.from_numpy(roll @ rotation).float()[None])
    assert sines[0, 0].item() == pytest.approx(np.sin(0.4), abs=1e-6)


def test_fit_slides_finds_slopes_under_outliers() -> None:
    rng = np.random.default_rng(0)
    mirror = np.array([1, 0, 2])
    truth = np.array([[[3.0, 1.0], [0.5, -2.0]], [[3.0, -1.0], [-0.5, -2.0]], [[4.0, 0.0], [0.0, 1.0]]]) * 1e-3
    sines = rng.uniform(-0.7, 0.7, (200, 2))
    offsets = np.einsum("nf,kfj->nkj", sines, truth) + 1e-3 * np.array([[0.4, 1.0], [-0.4, 1.0], [0.0, 1.0]])
    offsets += 1e-4 * rng.standard_normal(offsets.shape)
    offsets[::10] += 0.05 * rng.standard_normal(offsets[::10].shape)
    np.testing.assert_allclose(fit_slides(offsets, sines, mirror), truth, rtol=0.15, atol=1e-4)


def test_fit_recovers_the_turn_of_a_head_whose_points_slide() -> None:
    head = HeadModel(load_head())
    rotations = Rotation.from_euler("YX", [[0.5, 0.0], [-0.4, 0.2], [0.3, -0.2]])
    params = replace(head.neutral(3), pose=torch.from_numpy(rotations.as_rotvec()).float())
    camera = Camera(torch.full((3,), 1400.0), torch.full((3, 2), 256.0))
    with torch.no_grad():
        still = project(camera, HeadLandmarks(head).mediapipe(params)).numpy()
    moved = slide(torch.from_numpy(read_slides()), torch.from_numpy(rotations.as_matrix()).float()).numpy()
    seen = still + 1400.0 * moved.transpose(0, 2, 1) * [1.0, -1.0]

    def off(points: np.ndarray) -> float:
        pose = fit_photos(points.astype(np.float32), "mediapipe478", head).pose
        return float(np.rad2deg((Rotation.from_rotvec(pose) * rotations.inv()).magnitude()).max())

    assert off(seen) < 1.0
    assert off(still) > 2.0  # taken off where nothing slid, they turn the head
