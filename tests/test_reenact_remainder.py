"""What the driver's landmarks do beyond the head model: found, calmed, spread, and nothing where nothing is left."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import roma
import torch

from model.head import HeadModel
from model.io.assets import load_head
from model.landmarks import head_rotation
from reenact.remainder import Remainder, Spread, calmed, load_remainder, remainder_of
from tests.test_reenact_transfer import FRAMES, driver  # noqa: F401 - a fixture
from tracker.fit.slides import read_slides, slide
from tracker.observation import Observations


@pytest.fixture(scope="module")
def head() -> HeadModel:
    return HeadModel(load_head())


def seen_by(head: HeadModel, track, shifts: np.ndarray) -> Observations:
    """What a perfect detector sees of the track's heads when their points are shifted in head space."""
    marks, params = head.asset.landmarks.mediapipe478, track.params()
    vertices = head.mesh(params).vertices.numpy()
    points = np.einsum("pk,tpkc->tpc", marks.barycentric, vertices[:, head.asset.faces[marks.face]])
    points = points + shifts @ roma.rotvec_to_rotmat(params.pose).mT.numpy()
    slid = slide(torch.from_numpy(read_slides()), head_rotation(params)).numpy().transpose(0, 2, 1)
    camera = track.camera[:, None]
    pixels = (points[..., :2] + slid) * camera[..., :1] * (1, -1) + camera[..., 1:]
    return Observations(
        frame=track.frame,
        time=track.time,
        shot=track.shot,
        points=pixels,
        seen=np.ones(len(track), bool),
        confidence=np.ones(len(track)),
        scheme="mediapipe478",
        size=track.size,
    )


def test_a_head_that_explains_its_points_leaves_nothing(head, driver):  # noqa: F811
    left = remainder_of(driver, seen_by(head, driver, np.zeros((FRAMES, 478, 3))), head)
    assert left.shifts.shape == (FRAMES, 468, 3)
    assert np.abs(left.shifts).max() < 2e-5


def test_what_is_the_same_at_rest_and_later_is_no_motion(head, driver):  # noqa: F811
    """A face that is another than the model's, by millimetres, moves nothing."""
    other = np.random.default_rng(0).normal(0, 1e-3, (1, 478, 3)) * (1, 1, 0)
    left = remainder_of(driver, seen_by(head, driver, np.repeat(other, FRAMES, 0)), head)
    assert np.abs(left.shifts).max() > 1e-3
    assert np.abs(left.since(np.arange(10)).shifts[..., :2]).max() < 4e-4  # of its depth nothing is seen: turns show it


def test_a_moving_brow_is_found_and_moves_the_brow_only(head, driver):  # noqa: F811
    brow = [105, 66, 107, 63, 70, 52, 53, 65, 55, 46]
    shifts = np.zeros((FRAMES, 478, 3))
    up = 2e-3 * np.sin(np.linspace(0, np.pi, FRAMES)) ** 2
    shifts[:, brow, 1] = up[:, None]
    left = remainder_of(driver, seen_by(head, driver, shifts), head).since(np.array([0, FRAMES - 1]))
    spread = Spread(head, left.points)
    moved = spread(left.shifts[FRAMES // 2], 0.0).numpy()
    regions = head.asset.regions
    assert moved[regions["right_brow"] > 0.9, 1].mean() > 1e-3
    assert np.abs(moved[regions["left_brow"] > 0.9]).max() < 4e-4
    assert np.abs(moved[regions["lips"] > 0.9]).max() < 2e-4


def test_lips_that_touch_move_together(head):
    points = np.arange(468)
    shifts = np.random.default_rng(1).normal(0, 1e-3, (468, 3))
    spread = Spread(head, points)
    lips = head.asset.regions["lips"] > 0.99
    together, apart = (spread(shifts, contact).numpy()[lips] for contact in (1.0, 0.0))
    assert together.std(0).max() < 1e-6 < apart.std(0).max()


def test_noise_is_calmed_and_motion_is_kept():
    rng = np.random.default_rng(2)
    still = calmed(rng.normal(0, 1e-3, (80, 30, 3)))
    assert still.std() < 0.55e-3
    jump = np.zeros((80, 1, 3))
    jump[38:42] = 4e-3  # as short as a blink
    assert np.abs(calmed(jump + rng.normal(0, 2e-4, jump.shape)) - jump).mean() < 4e-4


def test_shifts_are_bounded(head):
    left = Remainder(np.arange(3), np.array([[[0, 0, 0]] * 3, [[1.0, 0, 0]] * 3], np.float32))
    assert np.linalg.norm(left.since(np.array([0])).shifts, axis=-1).max() <= 0.004 + 1e-6


def test_it_comes_back_from_a_file(tmp_path):
    left = Remainder(np.arange(4), np.random.default_rng(0).normal(0, 1e-3, (5, 4, 3)).astype(np.float32))
    left.save(tmp_path / "a.npz")
    again = load_remainder(tmp_path / "a.npz")
    np.testing.assert_allclose(again.shifts, left.shifts, atol=2e-6)
    (tmp_path / "b.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:90])
    for name in ("b.npz", "c.npz"):
        with pytest.raises(ValueError, match=name):
            load_remainder(tmp_path / name)


def test_gaps_take_the_nearest_row(head, driver):  # noqa: F811
    seen = seen_by(head, driver, np.zeros((FRAMES, 478, 3)))
    points = seen.points.copy()
    points[20:25] = 0
    mask = seen.seen.copy()
    mask[20:25] = False
    left = remainder_of(driver, replace(seen, points=points, seen=mask), head)
    assert np.abs(left.shifts).max() < 1e-3
