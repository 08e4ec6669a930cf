"""What turns with the head turns about the head's joint; what the lips and wrinkles do stays within reason."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import roma
import torch
from portrait import astronaut_target

from model.head import HeadModel
from model.io.assets import load_head
from model.params import FaceParams
from model.parsing import Part
from reenact.field import Field
from reenact.matte import look_at
from reenact.mouth import Mouth
from reenact.rig import Rig, _rounding
from reenact.target import Target
from reenact.wrinkles import believed

SIDE = 320
ROLL = 0.15


@pytest.fixture(scope="module")
def head() -> HeadModel:
    return HeadModel(load_head())


@pytest.fixture(scope="module")
def target(head) -> Target:
    return astronaut_target(head, SIDE)


@pytest.fixture(scope="module")
def rig(target, head) -> Rig:
    return Rig(target, head)


def rolled(target: Target) -> FaceParams:
    """The head turned in the plane of the picture: a photograph of it would be the same photograph, turned."""
    turn = roma.rotvec_to_rotmat(torch.tensor([0.0, 0.0, ROLL])) @ roma.rotvec_to_rotmat(target.params.pose)
    return replace(target.params, pose=roma.rotmat_to_rotvec(turn))


def about_the_root(rig: Rig, places: np.ndarray) -> np.ndarray:
    """Places of the photograph, px, turned as `rolled` turns what is rigid."""
    camera, root = rig.target.camera, rig.root.numpy()
    s, t = float(camera.s), camera.t.numpy()
    middle = np.array([s * root[0] + t[0], t[1] - s * root[1]])
    cos, sin = np.cos(ROLL), np.sin(ROLL)
    return middle + (places - middle) @ np.array([[cos, -sin], [sin, cos]])


def test_the_head_turns_about_its_root(rig, target):
    after = rig.posed(rolled(target), target.camera).points[:, :2].numpy()
    skull = np.asarray(rig.head.asset.regions["scalp"]) > 0.5
    wanted = about_the_root(rig, rig.photo.points[:, :2].numpy())
    assert np.abs(after - wanted)[skull].max() < 0.1


def test_teeth_of_the_photograph_stay_in_their_mouth_when_the_head_rolls(rig, target):
    mouth = Mouth(rig, look_at(target))
    assert mouth.shown is not None
    places = rig.photo.points[:, :2].numpy().astype(float)
    found = mouth.sources(places, rig.posed(rolled(target), target.camera), rolled(target), target.camera)
    teeth = np.asarray(rig.head.asset.regions["teeth"]) > 0.5
    assert np.abs(found - places)[teeth].max() < 1


def test_hair_rolls_with_the_head(rig, target):
    scene = look_at(target)
    posed = rig.posed(rolled(target), target.camera)
    sources = Field(rig, scene).sources(posed, rolled(target), target.camera)
    origin = np.array([scene.window.x0, scene.window.y0])
    brows = rig.photo.points[np.asarray(rig.head.asset.regions["left_brow"]) > 0.5, 1].min().item() - origin[1]
    rows, columns = np.nonzero(scene.parts[Part.HAIR] > 0.95)
    above = rows < brows - 0.02 * float(target.camera.s)
    places = np.stack([columns, rows], 1)[above] + 0.5
    moved = about_the_root(rig, places + origin) - origin
    inside = ((moved > 2) & (moved < np.array(scene.window.size) - 2)).all(1)
    index = moved[inside].astype(int)
    miss = np.linalg.norm(sources[index[:, 1], index[:, 0]] - places[inside], axis=1)
    length = np.linalg.norm(moved - places, axis=1)[inside]
    assert len(index) > 100
    assert np.median(miss) < 0.15 * np.median(length)


def test_lips_are_rounded_without_being_moved(head):
    found = _rounding(head)
    assert found is not None
    rows, matrix = found
    assert torch.allclose(matrix.sum(1), torch.ones(len(rows)), atol=1e-4)  # what moves as a whole moves as before
    noise = torch.randn(len(rows), generator=torch.Generator().manual_seed(0))
    assert (matrix @ noise).std() < noise.std()


def test_usual_wrinkles_are_believed_and_streaks_are_not():
    map_ = torch.randn(1, 32, 32, generator=torch.Generator().manual_seed(0))
    map_ = map_ / map_.square().mean().sqrt()
    usual, streaks = 5e-5 * map_, 3e-4 * map_
    assert torch.allclose(believed(usual), usual, rtol=0.1)
    assert believed(streaks).square().mean().sqrt() < 2e-5
    both = believed(torch.cat([usual, streaks]))
    assert torch.allclose(both[:1], believed(usual))  # rows do not know of each other
