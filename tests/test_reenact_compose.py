"""The composite: at rest it is the photograph, what is far away never moves, nothing is invented where all is seen."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import roma
import torch
from portrait import astronaut_target

from model.head import HeadModel
from model.io.assets import load_head
from model.params import Camera
from model.uv import UVLayout
from reenact.compose import Composer
from reenact.field import identity
from reenact.kernels import over, resolve
from reenact.light import find_light
from reenact.matte import guided
from reenact.rig import Rig
from reenact.sampling import look_up
from reenact.target import Target, within
from reenact.texture import mirrored
from reenact.views import grid, written

SIDE = 320


@pytest.fixture(scope="module")
def head() -> HeadModel:
    return HeadModel(load_head())


@pytest.fixture(scope="module")
def target(head) -> Target:
    return astronaut_target(head, SIDE)


@pytest.fixture(scope="module")
def rig(target, head) -> Rig:
    return Rig(target, head)


@pytest.fixture(scope="module")
def composer(rig) -> Composer:
    return Composer(rig)


def drawn(composer: Composer, rig: Rig, opening: float = 0.0, **changes) -> np.ndarray:
    params = replace(rig.target.params, **changes)
    return composer.draw(rig.posed(params, rig.target.camera), params, rig.target.camera, opening)


def turned(target: Target, yaw: float) -> torch.Tensor:
    turn = roma.rotvec_to_rotmat(torch.tensor([0.0, yaw, 0.0])) @ roma.rotvec_to_rotmat(target.params.pose)
    return roma.rotmat_to_rotvec(turn)


def test_features_of_the_aligned_head_lie_on_the_photographs(rig, target, head):
    marks = head.asset.landmarks.mediapipe478
    points = rig.photo.points[:, :2].numpy()
    there = np.einsum("pk,pkc->pc", marks.barycentric, points[head.asset.faces[marks.face]])
    miss = np.linalg.norm(there - target.face.points, axis=1)
    lips_and_lids = [13, 14, 61, 291, 159, 145, 386, 374, 33, 263]
    assert miss[lips_and_lids].mean() < 0.02 * np.linalg.norm(target.face.points[33] - target.face.points[263])


def test_at_rest_it_is_the_photograph(composer, rig, target):
    assert (drawn(composer, rig) == target.image).all()


def test_a_head_that_only_moves_within_the_picture_keeps_its_pixels(composer, rig, target):
    """By whole pixels: nothing of the face is relit, filled in or blurred."""
    moved = Camera(target.camera.s, target.camera.t + torch.tensor([5.0, 0.0]))
    picture = composer.draw(rig.posed(target.params, moved), target.params, moved, 0.0)
    x, y = target.face.points.mean(0).astype(int)
    assert (
        np.abs(
            picture[y - 20 : y + 20, x - 15 : x + 25].astype(int) - target.image[y - 20 : y + 20, x - 20 : x + 20]
        ).max()
        <= 2
    )


def test_the_photograph_is_not_changed(composer, rig, target):
    before = target.image.copy()
    drawn(composer, rig, pose=turned(target, 0.2))
    assert (target.image == before).all()


def test_outside_the_window_and_in_the_far_background_nothing_moves(composer, rig, target):
    window = composer.window
    picture = drawn(composer, rig, pose=turned(target, 0.25))
    outside = np.ones(picture.shape[:2], bool)
    outside[window.y0 : window.y1, window.x0 : window.x1] = False
    assert (picture[outside] == target.image[outside]).all()
    rest = drawn(composer, rig)
    assert np.abs(picture[:20, :20].astype(int) - rest[:20, :20]).mean() < 1.0


def test_a_turned_head_moves_its_face(composer, rig, target):
    """The nose goes where the head model's nose goes: found by matching its patch."""
    nose = rig.head.asset.landmarks.static51
    pose = turned(target, 0.2)
    params = replace(target.params, pose=pose)
    corners = rig.head.asset.faces[nose.face[13]]
    old, new = (
        (nose.barycentric[13] @ p.points[:, :2].numpy()[corners]).astype(int)
        for p in (rig.photo, rig.posed(params, target.camera))
    )
    picture = drawn(composer, rig, pose=pose)
    patch = target.image[old[1] - 8 : old[1] + 9, old[0] - 8 : old[0] + 9]
    near = picture[new[1] - 20 : new[1] + 21, new[0] - 20 : new[0] + 21]
    _, _, _, best = cv2.minMaxLoc(cv2.matchTemplate(near, patch, cv2.TM_CCOEFF_NORMED))
    assert abs(new[0] - old[0]) > 6
    assert np.abs(np.array(best) - 12).max() <= 4


def test_the_inside_of_the_mouth_shows_only_where_it_is_open(composer, rig, target):
    """A shut mouth has no pixels of teeth; an open one has, and they lie within the lips."""
    shown = []
    for opening in (0.0, 0.3):
        params = replace(target.params, jaw=torch.tensor([opening, 0.0, 0.0]))
        if opening == 0.0:
            params = replace(params, expression=torch.zeros_like(params.expression))
        posed = rig.posed(params, target.camera)
        points = posed.points - posed.points.new_tensor([composer.window.x0, composer.window.y0, 0])
        box = composer._box(points, composer._fine[0])
        attributes = composer._attributes(posed, params, target.camera, opening)
        shown.append(int((composer._on_mesh(points, attributes, None, box, 1).carried[..., 4] > 0.5).sum()))
    assert shown[0] <= 0.05 * shown[1] and shown[1] > 60


def test_the_field_is_zero_at_rest_and_follows_the_head(composer, rig, target):
    field, window = composer._field, composer.window
    still = field.sources(rig.photo, target.params, target.camera) - identity(*window.size)
    assert np.abs(still).max() < 1e-3
    moved = Camera(target.camera.s, target.camera.t + torch.tensor([6.0, -4.0]))
    source = field.sources(rig.posed(target.params, moved), target.params, moved) - identity(*window.size)
    middle = target.face.points.mean(0).astype(int) - (window.x0, window.y0)
    np.testing.assert_allclose(source[middle[1], middle[0]], (-6, 4), atol=0.7)
    folds = np.gradient(source[..., 0], axis=1).min(), np.gradient(source[..., 1], axis=0).min()
    assert min(folds) > -1  # neighbours stay in order: nothing is turned inside out


def test_the_texture_is_complete(composer, head):
    covered = UVLayout(head.asset, composer.texture.shape[0]).covered.numpy() > 0
    colour, seen = composer.texture[..., :3], composer.texture[..., 3]
    assert np.isfinite(composer.texture).all()
    assert seen.min() >= -1e-6 and seen.max() <= 1 + 1e-6
    face = np.asarray(head.asset.regions["face"], np.float32)
    skin = UVLayout(head.asset, len(colour)).carry(torch.from_numpy(face)[:, None])[0].numpy() > 0.99
    assert (colour[skin & covered].mean(-1) > 5).mean() > 0.99


def test_the_mirror_is_its_own_inverse(head):
    other = mirrored(head.asset)
    assert (other[other] == np.arange(len(other))).all()
    np.testing.assert_allclose(head.asset.template[other], head.asset.template * (-1, 1, 1), atol=1e-6)


def test_a_known_light_is_found_again(head):
    """A head drawn with its mean albedo under a light: the light's shading of the face comes back."""
    from model.shading import sh_shading
    from model.views import look, normal_view, textured_view
    from reenact.target import MAP

    layout = UVLayout(head.asset, MAP)
    light = torch.zeros(9, 3)
    light[0], light[1], light[3] = torch.tensor([2.6, 2.4, 2.2]), 0.5, torch.tensor([0.3, 0.25, 0.2])
    params, camera = head.neutral(), Camera(torch.tensor(1400.0), torch.tensor([128.0, 128.0]))
    with torch.no_grad():
        surface = look(head.mesh(params), camera, 256, 256)
        albedo = torch.from_numpy(head.asset.albedo_mean).permute(2, 0, 1).float()
        image = textured_view(surface, normal_view(surface), albedo, light, layout)
    picture = (image.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).contiguous().numpy()
    found = find_light(picture, head, params, camera, torch.zeros(len(head.asset.albedo_basis)))
    z = torch.nn.functional.normalize(torch.tensor([[0.0, 0, 1], [0.5, 0, 1], [-0.5, 0, 1], [0, 0.5, 1]]), dim=1)
    torch.testing.assert_close(sh_shading(z, found), sh_shading(z, light), rtol=0.08, atol=0.03)


def test_looking_up_every_pixel_at_its_own_place_changes_nothing():
    picture = np.random.default_rng(0).integers(0, 255, (20, 30, 3)).astype(np.uint8)
    for way in ("linear", "cubic"):
        assert (look_up(picture, identity(30, 20), way) == picture).all()


def test_over_is_the_plain_formula():
    rng = np.random.default_rng(1)
    a, b = (rng.integers(0, 256, (7, 9, 3)).astype(np.uint8) for _ in range(2))
    matte = rng.random((7, 9, 1)).astype(np.float32)
    out = np.zeros_like(a)
    over(np.dstack([a * matte, matte]), b, out)
    assert np.abs(out - (a * matte + b * (1 - matte.astype(float)))).max() <= 0.501


def test_samples_of_one_kind_are_not_averaged():
    """Where all is the photograph's and side by side, the single sample stays; across an edge the mean is taken."""
    fine = np.arange(4 * 4 * 4, dtype=np.float32).reshape(4, 4, 4)
    source = np.ascontiguousarray(identity(4, 4) / 2)
    own = np.ones((4, 4), np.float32)
    out = np.full((2, 2, 4), -1.0, np.float32)
    resolve(fine, source, own, out, 0, 0)
    assert (out == -1).all()
    own[0, 0] = 0
    resolve(fine, source, own, out, 0, 0)
    np.testing.assert_allclose(out[0, 0], fine[:2, :2].mean((0, 1)))
    assert (out[1] == -1).all()


def test_what_the_background_lacks_of_the_picture_makes_it_whole(composer, target):
    scene, window = composer._scene, composer.window
    out = np.zeros_like(scene.background)
    over(scene.person(window.of(target.image)), scene.background, out)
    assert (out == window.of(target.image)).all()


def test_open_lids_are_the_photographs_and_shut_ones_have_lashes(composer, rig, target):
    """Down a line through a shut eye: where the lids meet it is darker than the skin below."""
    names = rig.head.asset.expression_names
    expression = target.params.expression.clone()
    expression[[names.index("eyeBlinkLeft"), names.index("eyeBlinkRight")]] = 1.0
    picture = drawn(composer, rig, expression=expression).astype(float).mean(2)
    points = target.face.points
    for upper, lower, outer, inner in ((159, 145, 33, 133), (386, 374, 263, 362)):
        x = int(points[[outer, inner], 0].mean())
        top, low = points[upper, 1], points[lower, 1]
        tall = low - top
        strip = picture[:, x - 3 : x + 4].mean(1)
        lash = strip[int(top) : int(low + 0.4 * tall) + 1].min()
        skin = np.median(strip[int(low + 0.6 * tall) : int(low + 1.5 * tall)])
        assert lash < 0.9 * skin
        eye = target.image[int(top) : int(low), x - 3 : x + 4].astype(float).mean(2)
        assert strip[int(top + 0.2 * tall) : int(low)].min() > eye.min() - 5  # no pupil shines through


def test_the_guided_filter_keeps_a_step_that_the_guide_has():
    step = np.zeros((40, 40), np.float32)
    step[:, 20:] = 1
    noise = np.random.default_rng(2).normal(0, 0.2, step.shape).astype(np.float32)
    smooth = guided(step + noise, step, 4, 1e-4)
    assert smooth[:, :17].std() < 0.1 and abs(smooth[:, 21].mean() - smooth[:, 18].mean()) > 0.8


def test_a_label_is_small_and_readable():
    picture = np.full((200, 300, 3), 90, np.uint8)
    marked = written(picture, "synthetic")
    changed = (marked != picture).any(-1)
    assert 0 < changed.mean() < 0.05 and changed[:150].sum() == 0
    assert int(marked.max()) - int(marked.min()) > 200


def test_a_grid_has_a_cell_for_each_picture():
    cells = grid({name: np.zeros((50, 80, 3), np.uint8) for name in ("target", "composite", "shape")})
    assert cells.shape == (384, 3 * 384, 3)


@pytest.mark.parametrize(("size", "wanted"), [((601, 400), (600, 400)), ((3000, 4000), (1080, 1440))])
def test_pictures_have_sides_that_videos_take(size, wanted):
    image = within(np.zeros((size[1], size[0], 3), np.uint8))
    assert image.shape[1::-1] == wanted
