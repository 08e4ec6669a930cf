"""Transfer: identity never spills, rest is rest wherever the clip begins, lips that touch touch, heads stay near."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from model.head import HeadModel
from model.io.assets import load_head
from model.params import Camera, FaceParams
from reenact.lips import Lips
from reenact.transfer import Gains, TransferConfig, calibrated_neutral, neutral_at, transfer
from tracker.finish import head_id
from tracker.track import Track

FRAMES = 60


@pytest.fixture(scope="module")
def head() -> HeadModel:
    return HeadModel(load_head())


def unit(head: HeadModel, name: str) -> int:
    return head.asset.expression_names.index(name)


@pytest.fixture(scope="module")
def driver(head) -> Track:
    """At rest (a face with a slight smile and raised brows) for a third of the clip, between it talks and turns."""
    rng = np.random.default_rng(3)
    count = len(head.asset.expression_names)
    rest = np.zeros(count)
    rest[unit(head, "mouthSmileLeft")], rest[unit(head, "browInnerUpLeft")] = 0.12, 0.2
    busy = (np.arange(FRAMES) % 30 >= 10)[:, None]
    expression = np.clip(rest + busy * rng.uniform(0, 0.5, (FRAMES, count)) * (rng.random((FRAMES, count)) < 0.2), 0, 1)
    still = np.zeros((FRAMES, 3))
    turn = 0.1 * np.sin(np.arange(FRAMES) / 5)[:, None] * np.array([0.3, 1.0, 0.1])
    return Track(
        head=head_id(head),
        video="driver.mp4",
        fps=25.0,
        size=(512, 512),
        face=np.zeros(FRAMES, int),
        frame=np.arange(FRAMES),
        time=np.arange(FRAMES) / 25,
        shot=np.zeros(FRAMES, int),
        valid=np.ones(FRAMES, bool),
        confidence=np.ones(FRAMES),
        shape=np.tile(rng.normal(size=head.asset.shapedirs.shape[-1]), (FRAMES, 1)),
        expression=expression,
        pose=turn + np.array([0.1, -0.05, 0.02]),
        neck=still,
        jaw=busy * np.array([0.08, 0, 0]),
        eyes=np.tile([0.02, 0.05, 0, 0.02, 0.05, 0], (FRAMES, 1)),
        camera=np.array([1500.0, 256, 240]) + turn * np.array([40, 30, 20]),
        landmarks=np.zeros((FRAMES, 68, 2)),
        box=np.zeros((FRAMES, 4)),
        expression_names=head.asset.expression_names,
    )


@pytest.fixture(scope="module")
def target(head) -> tuple[FaceParams, Camera]:
    random = torch.Generator().manual_seed(1)
    params = head.neutral()
    expression = params.expression.clone()
    expression[unit(head, "eyeBlinkLeft")] = 0.2
    shape = torch.randn(params.shape.shape, generator=random)
    return replace(params, shape=shape, expression=expression, pose=torch.tensor([0.05, 0.2, 0.0])), Camera(
        torch.tensor(2000.0), torch.tensor([300.0, 280.0])
    )


def test_the_shape_stays_the_targets(driver, target, head):
    motion = transfer(driver, *target, head)
    assert (motion.params.shape == target[0].shape).all()
    other = replace(driver, shape=driver.shape + 1)
    again = transfer(other, *target, head, TransferConfig(contact=False))
    plain = transfer(driver, *target, head, TransferConfig(contact=False))
    torch.testing.assert_close(again.params.expression, plain.params.expression)


def test_a_resting_driver_leaves_the_target_as_it_is(driver, target, head):
    motion = transfer(driver, *target, head, TransferConfig(contact=False))
    torch.testing.assert_close(motion.params.expression[0], target[0].expression, atol=1e-5, rtol=0)
    torch.testing.assert_close(motion.params.jaw[0], target[0].jaw, atol=1e-5, rtol=0)


def test_where_the_clip_begins_makes_no_difference(driver, target, head):
    """A driver whose first frame is in the middle of a word moves the target as one that begins at rest."""
    order = np.r_[15:FRAMES, 0:15]
    rolled = replace(driver.select(order), frame=driver.frame, time=driver.time)
    assert np.abs(rolled.expression[0] - driver.expression[0]).max() > 0.05
    first, second = transfer(driver, *target, head), transfer(rolled, *target, head)
    for name in ("expression", "jaw", "pose", "eyes"):
        torch.testing.assert_close(getattr(first.params, name)[order], getattr(second.params, name))
    torch.testing.assert_close(first.camera.t[order], second.camera.t)


def test_the_neutral_is_not_moved_by_grimaces(driver):
    loud = driver.expression.copy()
    loud[40:50] = 1.0
    before, after = calibrated_neutral(driver), calibrated_neutral(replace(driver, expression=loud))
    torch.testing.assert_close(before.expression, after.expression)


def test_a_whole_blink_is_whole_and_open_eyes_stay_the_targets(driver, target, head):
    blink = driver.expression.copy()
    column = unit(head, "eyeBlinkLeft")
    blink[:, column] = 0.3
    blink[20, column] = 1.0
    motion = transfer(replace(driver, expression=blink), *target, head)
    assert float(motion.params.expression[20, column]) == pytest.approx(1.0, abs=1e-5)
    assert float(motion.params.expression[0, column]) == pytest.approx(0.2, abs=1e-5)


def test_faces_alike_at_rest_take_changes_whole_and_smiles_do_not_add_up(driver, target, head):
    params, camera = target
    smile = unit(head, "mouthSmileRight")
    expression = driver.expression.copy()
    expression[:, smile] = np.where(np.arange(FRAMES) % 30 >= 10, 0.6, 0.0)
    moved = replace(driver, expression=expression)
    for own, least, most in ((0.2, 0.8, 0.8), (0.7, 0.85, 0.999)):
        photo = params.expression.clone()
        photo[smile] = own
        result = transfer(moved, replace(params, expression=photo), camera, head).params.expression[:, smile]
        assert least - 1e-3 <= result.max() <= most + 1e-3


def test_strength_and_gains(driver, target, head):
    none = transfer(driver, *target, head, TransferConfig(strength=0.0, contact=False))
    torch.testing.assert_close(none.params.expression, target[0].expression.expand(FRAMES, -1))
    still = transfer(driver, *target, head, TransferConfig(gains=Gains(brows=0.0), contact=False))
    brow = unit(head, "browInnerUpLeft")
    assert (still.params.expression[:, brow] == target[0].expression[brow]).all()
    assert not (still.params.expression == target[0].expression).all()


def test_absolute_takes_the_drivers_values(driver, target, head):
    motion = transfer(driver, *target, head, TransferConfig(mode="absolute", contact=False))
    torch.testing.assert_close(motion.params.expression, driver.params().expression)
    torch.testing.assert_close(motion.params.jaw, driver.params().jaw)


def test_from_its_own_frame_a_track_returns_itself(driver, head):
    """The self-reenactment of the benchmark: the target is a row of the driver."""
    row = 3
    params, camera = driver.params(row), driver.cameras(row)
    free = replace(driver, pose=driver.pose)
    motion = transfer(free, params, camera, head, TransferConfig(contact=False), neutral_at(driver, row))
    torch.testing.assert_close(motion.params.expression, driver.params().expression, atol=1e-5, rtol=0)
    torch.testing.assert_close(motion.params.pose, driver.params().pose, atol=1e-5, rtol=0)
    torch.testing.assert_close(motion.camera.t, driver.cameras().t, atol=1e-2, rtol=0)


def test_lips_that_touch_in_the_driver_touch_in_the_target(driver, target, head):
    """The target smiles with its mouth open; where the driver's lips meet, its do."""
    params, camera = target
    smiling = params.expression.clone()
    for side in ("Left", "Right"):
        smiling[unit(head, f"mouthUpperUp{side}")] = smiling[unit(head, f"mouthLowerDown{side}")] = 0.5
    smiling = replace(params, expression=smiling, jaw=torch.tensor([0.05, 0.0, 0.0]))
    lips = Lips(head)
    shut = transfer(driver, smiling, camera, head)
    apart = transfer(driver, smiling, camera, head, TransferConfig(contact=False))
    touching = shut.contact > 0.99
    assert touching[0] and not touching.all()
    assert (lips.gap(apart.params)[:10] > 0.004).all()
    assert (lips.gap(shut.params)[touching] < 0.0012).all()
    free = shut.contact == 0
    torch.testing.assert_close(shut.params.expression[free], apart.params.expression[free])


def test_heads_stay_within_bounds(driver, target, head):
    wild = replace(driver, pose=driver.pose * 12, camera=driver.camera + np.linspace(0, 900, FRAMES)[:, None])
    motion = transfer(wild, *target, head)
    shift = (motion.camera.t - target[1].t).norm(dim=1) / target[1].s
    assert float(shift.max()) <= 0.0601
    calm = transfer(wild, *target, head, TransferConfig(damping=1.0))
    torch.testing.assert_close(calm.params.pose, target[0].pose.expand(FRAMES, 3), atol=1e-5, rtol=0)


@pytest.mark.parametrize("pose", ["target", "none"])
def test_a_head_that_does_not_follow(driver, target, head, pose):
    motion = transfer(driver, *target, head, TransferConfig(head=pose))
    assert (motion.params.pose == motion.params.pose[0]).all()
    wanted = target[0].pose if pose == "target" else torch.zeros(3)
    torch.testing.assert_close(motion.params.pose[0], wanted, atol=1e-5, rtol=0)
    assert (motion.camera.t == target[1].t).all()


def test_settings_out_of_range():
    with pytest.raises(ValueError, match="damping"):
        TransferConfig(damping=1.5)
    with pytest.raises(ValueError, match="strength"):
        TransferConfig(strength=-1.0)
