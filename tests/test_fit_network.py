"""The network's word in the fit: worth what its errors are, nothing where it is wrong, much where points are poor."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
import roma
import torch
from test_fit import Clip, correlation, make_clip, pose_error

from model.asset import HeadAsset
from model.errors import NetworkErrors
from model.head import HeadModel
from model.landmarks import HeadLandmarks
from tracker.fit import FaceFit, FitConfig, NetworkEstimate, fit_face, fit_photos
from tracker.fit.network import informed, landmarks_left
from tracker.fit.rig import Pose
from tracker.fit.told import CodeMeasurement
from tracker.observation import FaceCodes

CAMERA = (1650.0, 330.0, 250.0)  # of `make_clip`


@pytest.fixture(autouse=True)
def still(monkeypatch: pytest.MonkeyPatch) -> None:
    """The points of these tests are places of the skin, which a detector's are not (tests/test_slides.py)."""
    monkeypatch.setattr("tracker.fit.problem.read_slides", lambda: np.zeros((478, 2, 2), np.float32))
    monkeypatch.setattr("tracker.fit.problem.with_slides", lambda rig, *_: rig)


@pytest.fixture(scope="module")
def head(tiny_head: HeadAsset) -> HeadModel:
    return HeadModel(tiny_head)


def codes_of(clip: Clip, noise: float = 0.0) -> FaceCodes:
    """What a network that knows the clip would say, with errors on pose and units."""
    rng = np.random.default_rng(8)
    face, n = clip.params, len(clip.points)
    shape = face.shape.numpy()

    def off(x: torch.Tensor) -> np.ndarray:
        return (x.numpy() + noise * rng.normal(size=x.shape)).astype(np.float32)

    return FaceCodes(
        encoded=np.ones(n, bool),
        shape=np.repeat(shape, n // len(shape), 0),
        expression=off(face.expression).clip(0, 1),
        pose=off(face.pose),
        jaw=face.jaw.numpy(),
        eyes=face.eyes.numpy(),
        camera=np.tile(np.array(CAMERA, np.float32), (n, 1)),
        albedo=rng.normal(size=(n, 5)).astype(np.float32),
        light=rng.normal(size=(n, 9, 3)).astype(np.float32),
        size=np.full(n, 180.0, np.float32),
        detail=rng.normal(size=(n, 6)).astype(np.float32),
        detailed=np.arange(n) % 3 == 0,
    )


def errors_of(head: HeadModel, size: float) -> NetworkErrors:
    """The same relative error everywhere; 1 is nothing learned."""
    s, c = head.asset.shapedirs.shape[2], head.asset.exprdirs.shape[2] + 7
    spread = np.full(c, 0.3)
    return NetworkErrors(
        yaw=np.array([15.0, 45.0, 75.0]),
        pose=np.full((3, 3), 0.3 * size),
        camera=np.full((3, 3), 0.05 * size),
        face=np.tile(size * spread, (3, 1)),
        face_mean=np.full(c, 0.1),
        face_spread=spread,
        shape=np.full(s, size),
        shape_mean=np.zeros(s),
        shape_spread=np.ones(s),
    )


def estimate(head: HeadModel, codes: FaceCodes, size: float) -> NetworkEstimate:
    return NetworkEstimate(codes, errors_of(head, size), 128)


def same(a: FaceFit, b: FaceFit) -> None:
    for field in fields(FaceFit):
        if field.name not in ("appearance", "believed"):
            np.testing.assert_array_equal(getattr(a, field.name), getattr(b, field.name), err_msg=field.name)


@pytest.mark.parametrize("photos", [False, True])
def test_a_network_that_is_not_believed_changes_no_bit(head: HeadModel, photos: bool) -> None:
    """Heads that lie beside the face, and heads turned away from a face that looks ahead."""
    clip = make_clip(head, 8, people=8 if photos else 1, noise=0.3)
    codes = codes_of(clip)
    beside = replace(codes, camera=codes.camera + np.array([0, 60, 0], np.float32))
    away = replace(codes, pose=codes.pose + np.array([0, 0, 2], np.float32))
    for wrong in (beside, away):
        if photos:
            plain = fit_photos(clip.points, "mediapipe478", head)
            fit = fit_photos(clip.points, "mediapipe478", head, network=estimate(head, wrong, 0.01))
        else:
            plain = fit_face(clip.observations(), head)
            fit = fit_face(clip.observations(), head, network=estimate(head, wrong, 0.01))
            assert fit.appearance is None
        assert fit.believed < 0.5
        same(fit, plain)


def test_a_network_that_learned_nothing_but_pose_hardly_matters(head: HeadModel) -> None:
    clip = make_clip(head, 12, noise=0.3)
    plain = fit_face(clip.observations(), head)
    fit = fit_face(clip.observations(), head, network=estimate(head, codes_of(clip, 0.03), 1.0))
    frontal = np.abs(clip.params.pose[:, 1].numpy()) < np.deg2rad(25)
    np.testing.assert_allclose(fit.expression[frontal], plain.expression[frontal], atol=0.03)
    np.testing.assert_allclose(fit.pose[frontal], plain.pose[frontal], atol=0.01)
    assert fit.believed == 1


def test_without_landmarks_the_network_is_the_answer(head: HeadModel) -> None:
    """By weight (landmarks that say nothing) and by choice (no fit)."""
    clip = make_clip(head, 9)
    seen, codes = clip.observations(), codes_of(clip)
    config = FitConfig(noise=1e4, network_noise=1.0)
    drawn = fit_face(seen, head, config, estimate(head, codes, 1e-3))
    alone = fit_face(seen, head, FitConfig(landmarks=False), estimate(head, codes, 0.5))
    for fit, exact in ((drawn, 2e-2), (alone, 1e-4)):
        np.testing.assert_allclose(fit.expression, codes.expression, atol=exact)
        np.testing.assert_allclose(fit.pose, codes.pose, atol=exact)
        np.testing.assert_allclose(fit.jaw, codes.jaw, atol=exact)
        np.testing.assert_allclose(fit.shape, codes.shape, atol=exact)
        np.testing.assert_allclose(fit.camera, codes.camera, rtol=0.01, atol=100 * exact)
    assert np.nanmax(alone.error) < 1e-3
    with pytest.raises(ValueError, match="give weights"):
        fit_face(seen, head, FitConfig(landmarks=False))


def test_photographs_keep_their_own_identities(head: HeadModel) -> None:
    clip = make_clip(head, 6, people=6)
    codes = codes_of(clip)
    alone = fit_photos(
        clip.points, "mediapipe478", head, FitConfig(landmarks=False), network=estimate(head, codes, 0.5)
    )
    np.testing.assert_array_equal(alone.shape, codes.shape)
    np.testing.assert_allclose(alone.camera, codes.camera, rtol=1e-4, atol=0.05)
    plain = fit_photos(clip.points, "mediapipe478", head)
    both = fit_photos(clip.points, "mediapipe478", head, network=estimate(head, codes, 0.2))
    errors = [np.abs(fit.shape - codes.shape).mean() for fit in (plain, both)]
    assert errors[1] < 0.6 * errors[0]
    assert both.appearance is not None
    np.testing.assert_array_equal(both.appearance.albedo, codes.albedo)


def test_profiles_are_drawn_to_the_network_and_frontal_faces_are_not(head: HeadModel) -> None:
    """Landmarks that make a profile less turned than it is; a network that is right there and wrong in front."""
    clip = make_clip(head, 12)
    yaw = np.repeat([0.0, 1.3], 6)
    pose = torch.from_numpy(np.stack([np.zeros(12), yaw, np.zeros(12)], 1)).float()
    params = replace(clip.params, pose=pose)
    shown = replace(params, pose=pose * torch.tensor([1.0, 0.8, 1.0]))
    points = HeadLandmarks(head).mediapipe(shown).double().numpy()[..., :2] * [1650.0, -1650.0] + [330.0, 250.0]
    turned = Clip(params, points)
    codes = codes_of(turned)
    codes.pose[:6, 1] += 0.15
    plain = pose_error(fit_face(turned.observations(), head), turned)
    fit = pose_error(fit_face(turned.observations(), head, network=estimate(head, codes, 0.3)), turned)
    assert plain[6:].mean() > 10 and fit[6:].mean() < 0.4 * plain[6:].mean()
    assert fit[:6].mean() < plain[:6].mean() + 1.5 < np.rad2deg(0.15)


def test_units_that_landmarks_do_not_show_come_from_the_network(head: HeadModel) -> None:
    """mouthPucker of this head moves along the line of sight."""
    clip = make_clip(head, 40, noise=0.5)
    i = head.asset.expression_names.index("mouthPucker")
    truth = clip.params.expression[:, i].numpy()
    plain = fit_face(clip.observations(), head)
    fit = fit_face(clip.observations(), head, network=estimate(head, codes_of(clip, 0.05), 0.15))
    assert correlation(fit.expression[:, i], truth) > max(0.9, correlation(plain.expression[:, i], truth))
    assert np.median(fit.error) < 1.5 * np.median(plain.error)


def test_frames_that_are_wrong_do_not_spoil_the_others(head: HeadModel) -> None:
    clip = make_clip(head, 12)
    codes = codes_of(clip)
    codes.shape[:4], codes.albedo[:4], codes.camera[:4, 1] = 9.0, 50.0, 900.0
    fit = fit_face(clip.observations(), head, network=estimate(head, codes, 0.2))
    assert fit.believed == pytest.approx(8 / 12)
    assert np.abs(fit.shape[0] - clip.params.shape[0].numpy()).mean() < 0.3
    assert fit.appearance is not None
    albedo, light, detail = fit.appearance.albedo, fit.appearance.light, fit.appearance.detail
    assert np.abs(albedo).max() < 3 and np.ptp(albedo, 0).max() == 0 == np.ptp(detail, 0).max()
    np.testing.assert_array_equal(light[4:], codes.light[4:])
    np.testing.assert_array_equal(light[:4], codes.light[[4] * 4])


def test_an_estimate_counts_by_what_it_adds_to_the_population() -> None:
    told, error, mean, spread = (
        np.array([[0.9, 0.9, 0.9]]),
        np.array([[0.1, 0.5, 0.6]]),
        np.full(3, 0.3),
        0.5 * np.ones(3),
    )
    value, precision = informed(told, error, mean, spread)
    assert (precision[0, 1:] == 0).all()
    # Knowing the population first and then being told gives the estimate and its error back.
    posterior = precision[0, 0] + spread[0] ** -2
    assert posterior == pytest.approx(error[0, 0] ** -2)
    assert (precision[0, 0] * value[0, 0] + mean[0] * spread[0] ** -2) / posterior == pytest.approx(told[0, 0])


def test_landmarks_lose_weight_with_yaw_and_distance() -> None:
    yaw = np.array([0.0, 29.0, 40.0, 50.0, 60.0, 90.0])
    left = landmarks_left(yaw, np.full(6, 200.0))
    assert (left[:2] == 1).all() and (np.diff(left[1:5]) < 0).all() and left[4] == left[5] > 0
    np.testing.assert_allclose(landmarks_left(np.zeros(2), np.array([24.0, 12.0])), [1 / 4, 1 / 16])


def test_told_gradient_is_the_derivative_of_its_cost() -> None:
    rng = torch.Generator().manual_seed(0)

    def normal(*size: int) -> torch.Tensor:
        return torch.randn(*size, generator=rng, dtype=torch.float64)

    def pose(turn: float) -> Pose:
        return Pose(normal(3, 5), roma.rotvec_to_rotmat(turn * normal(3, 3)), normal(3, 3))

    told_pose = pose(0.5)
    near = roma.rotvec_to_rotmat(1e-4 * normal(3, 3)) @ told_pose.rotation
    at = replace(pose(0.5), rotation=near)
    parts = [normal(3, n).square() for n in (5, 3, 3)]
    told = CodeMeasurement(told_pose, *parts, torch.ones(3, dtype=torch.float64))
    matrix, gradient = torch.zeros(3, 11, 11, dtype=torch.float64), torch.zeros(3, 11, dtype=torch.float64)
    told.add_to(matrix, gradient, at)
    assert torch.equal(matrix.diagonal(dim1=1, dim2=2), torch.cat(parts, 1))
    for i in range(11):
        step = torch.zeros(3, 11, dtype=torch.float64)
        step[:, i] = 1e-6
        slope = (told.cost(at.moved(step)) - told.cost(at.moved(-step))) / 2e-6
        torch.testing.assert_close(gradient[:, i], slope, atol=1e-6, rtol=1e-3)
