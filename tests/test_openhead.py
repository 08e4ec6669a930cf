"""The shipped head: properties of the committed asset, and that the builder makes it again (where `anny` is)."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, fields, replace

import numpy as np
import pytest
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from model.asset import JOINTS, HeadAsset
from model.camera import project_with_depth
from model.head import HeadModel
from model.io.assets import load_head
from model.params import Camera, FaceParams
from model.raster import rasterise

ROOT, NECK, JAW, LEFT_EYE, RIGHT_EYE = range(len(JOINTS))
JAW_OPEN = 0.42  # radians, MakeHuman's full opening
MIRROR = np.array([-1.0, 1.0, 1.0])


@dataclass(frozen=True)
class Case:
    """The shipped head, with what the tests look up again and again."""

    asset: HeadAsset
    head: HeadModel
    mirror: np.ndarray
    part: np.ndarray  # connected component of every vertex

    def eyeball(self, joint: int) -> np.ndarray:
        """Vertices of an eyeball."""
        return np.flatnonzero(self.asset.weights[:, joint] == 1.0)

    def expression(self, **units: float) -> torch.Tensor:
        """Coefficients with the named units set."""
        code = torch.zeros(len(self.asset.expression_names))
        for name, value in units.items():
            code[self.asset.expression_names.index(name)] = value
        return code

    def posed(self, params: FaceParams) -> np.ndarray:
        """Vertices as float64."""
        return self.head(params).double().numpy()

    def people(self, count: int, scale: float = 1.0) -> torch.Tensor:
        """Identity codes, always the same."""
        generator = torch.Generator().manual_seed(0)
        return scale * torch.randn(count, self.asset.shapedirs.shape[-1], generator=generator)


@pytest.fixture(scope="module")
def case() -> Case:
    asset = load_head()
    distance, nearest = KDTree(asset.template).query(asset.template * MIRROR)
    assert np.max(distance) < 1e-7
    edges = np.concatenate([asset.faces[:, [0, 1]], asset.faces[:, [1, 2]]])
    count = len(asset.template)
    graph = coo_matrix((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(count, count))
    return Case(asset, HeadModel(asset), np.asarray(nearest), connected_components(graph, directed=False)[1])


def visible(case: Case, vertices: np.ndarray, of: np.ndarray, pitch: float = 0.0) -> int:
    """Pixels, of a third of a millimetre, of the parts that the vertices `of` belong to, seen from the front."""
    c, s = np.cos(pitch), np.sin(pitch)
    turned = torch.from_numpy(vertices @ np.array([[1, 0, 0], [0, c, -s], [0, s, c]]).T).float()
    camera = Camera(torch.tensor(3000.0), torch.tensor([240.0, 180.0]))
    fragments = rasterise(project_with_depth(camera, turned), case.head.faces, 480, 480)
    chosen = np.zeros(len(vertices), dtype=bool)
    chosen[of] = True
    seen = fragments.face.numpy()
    return int(chosen[case.asset.faces[seen[seen >= 0], 0]].sum())


def inside_mouth(case: Case) -> np.ndarray:
    """Vertices of teeth and tongue."""
    return np.flatnonzero(case.asset.regions["teeth"] + case.asset.regions["tongue"] > 0.5)


def test_it_has_what_is_promised(case):
    asset = case.asset
    assert asset.name == "openhead-1"
    assert asset.shapedirs.shape[-1] == 100
    assert len(asset.expression_names) == len(set(asset.expression_names)) == asset.exprdirs.shape[-1] == 50
    assert asset.expression_range == (0.0, 1.0)
    assert not {"jawOpen", "eyeLookUpLeft"} & set(asset.expression_names)
    assert {"eyeBlinkLeft", "browInnerUpRight", "mouthClose", "tongueOut", "jawForward"} <= set(asset.expression_names)
    assert (np.abs(asset.exprdirs).max(axis=(0, 1)) > 1e-3).all()
    np.testing.assert_array_equal(asset.parents, [-1, ROOT, NECK, NECK, NECK])


def test_mirror_image_of_the_mesh_is_the_mesh(case):
    asset, mirror = case.asset, case.mirror
    np.testing.assert_array_equal(mirror[mirror], np.arange(len(mirror)))
    rolled = {tuple(np.roll(face, -int(np.argmin(face)))) for face in asset.faces}
    flipped = mirror[asset.faces][:, ::-1]
    assert {tuple(np.roll(face, -int(np.argmin(face)))) for face in flipped} == rolled
    left_for_right = [ROOT, NECK, JAW, RIGHT_EYE, LEFT_EYE]
    np.testing.assert_array_equal(asset.weights[mirror], asset.weights[:, left_for_right])


def test_triangles_face_outwards_and_the_neck_is_the_only_hole(case):
    asset = case.asset
    corners = asset.template[asset.faces].astype(np.float64)
    volume = np.einsum("ij,ij->i", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) / 6
    skin = case.part == case.part[np.argmax(asset.template[:, 1])]
    for part in (skin, *(case.part == case.part[case.eyeball(joint)[0]] for joint in (LEFT_EYE, RIGHT_EYE))):
        assert volume[part[asset.faces[:, 0]]].sum() > 0
    edges = np.concatenate([asset.faces[:, [0, 1]], asset.faces[:, [1, 2]], asset.faces[:, [2, 0]]])
    known = set(map(tuple, edges.tolist()))
    border = np.array([edge for edge in known if edge[::-1] not in known and skin[edge[0]]])
    assert len(np.unique(border)) == len(border)  # one simple loop or several
    assert len(border) == 42
    ring = asset.template[border[:, 0]].astype(np.float64)
    normal = np.linalg.svd(ring - ring.mean(axis=0))[2][2]
    assert np.abs((ring - ring.mean(axis=0)) @ normal).max() < 0.003
    assert ring[:, 1].max() < asset.template[asset.regions["lips"] > 0.5, 1].min()


def test_weights_and_joints(case):
    asset = case.asset
    assert asset.weights.min() >= 0
    np.testing.assert_allclose(asset.weights.sum(axis=1), 1.0, atol=1e-6)
    assert asset.joint_regressor.min() >= 0
    np.testing.assert_allclose(asset.joint_regressor.sum(axis=1), 1.0, atol=1e-6)
    joints = asset.joint_regressor.astype(np.float64) @ asset.template
    np.testing.assert_allclose(joints[[ROOT, NECK, JAW], 0], 0.0, atol=1e-7)
    np.testing.assert_allclose(joints[LEFT_EYE], joints[RIGHT_EYE] * MIRROR, atol=1e-7)
    assert joints[LEFT_EYE, 0] > 0.025
    assert joints[ROOT, 1] < joints[NECK, 1] < joints[JAW, 1] < joints[LEFT_EYE, 1]
    # An expression may not move a joint.
    moved = np.einsum("jv,vce->jce", asset.joint_regressor.astype(np.float64), asset.exprdirs)
    assert np.abs(moved).max() < 1e-7


def test_identity_directions(case):
    asset = case.asset
    shapedirs = asset.shapedirs.astype(np.float64)
    strength = np.sqrt((shapedirs**2).sum(axis=(0, 1)))
    assert (np.diff(strength) < 1e-4 * strength[:-1]).all()  # strongest first
    image = shapedirs[case.mirror] * MIRROR[:, None]
    even, odd = (np.abs(image - sign * shapedirs).max(axis=(0, 1)) < 2e-5 for sign in (1, -1))
    assert (even ^ odd).all()
    assert even[:5].all() and odd.sum() >= 5
    people = asset.template + np.einsum("vcs,ns->nvc", shapedirs, case.people(200).numpy())
    size = np.sqrt(((people - people.mean(axis=1, keepdims=True)) ** 2).sum(axis=2).mean(axis=1))
    assert 0.025 < size.std() / size.mean() < 0.055


def test_eyeballs_are_spheres_whoever_it_is(case):
    asset = case.asset
    for joint in (LEFT_EYE, RIGHT_EYE):
        ball = case.eyeball(joint)
        assert len(ball) == 146
        for code in case.people(5, 1.5):
            vertices = case.posed(replace(case.head.neutral(), shape=code))
            arms = vertices[ball] - asset.joint_regressor[joint].astype(np.float64) @ vertices
            radius = np.linalg.norm(arms, axis=1)
            assert radius.std() < 5e-5
            assert 0.010 < radius.mean() < 0.019


def test_eyeballs_turn_about_their_centres(case):
    head, asset = case.head, case.asset
    rest = case.posed(head.neutral())
    turned = case.posed(replace(head.neutral(), eyes=torch.tensor([0.3, 0.2, 0.0, 0.0, 0.0, 0.0])))
    ball = case.eyeball(LEFT_EYE)
    centre = asset.joint_regressor[LEFT_EYE].astype(np.float64) @ rest
    np.testing.assert_allclose(turned[ball].mean(axis=0) @ [1, 0, 0], rest[ball].mean(axis=0)[0], atol=2e-3)
    before, after = (np.linalg.norm(v[ball] - centre, axis=1) for v in (rest, turned))
    np.testing.assert_allclose(after, before, atol=1e-6)
    pupil = ball[np.argmax(rest[ball, 2])]
    assert turned[pupil, 1] < rest[pupil, 1] - 0.003  # +x looks down
    assert turned[pupil, 0] > rest[pupil, 0] + 0.002  # +y looks to the subject's left
    moved = np.linalg.norm(turned - rest, axis=1)
    assert moved[case.eyeball(RIGHT_EYE)].max() < 1e-6
    far = np.linalg.norm(rest - centre, axis=1) > 0.05
    assert moved[far].max() < 3e-4
    lids = asset.regions["left_eyelid"] > 0.5
    assert 1e-3 < moved[lids].max() < 8e-3  # the lids follow the gaze


def test_units_of_the_two_sides_are_mirror_images(case):
    asset = case.asset
    for i, name in enumerate(asset.expression_names):
        side = "Left" if name.endswith("Left") else "Right" if name.endswith("Right") else ""
        other = name.removesuffix(side) + {"Left": "Right", "Right": "Left", "": ""}[side]
        j = asset.expression_names.index(other)
        image = asset.exprdirs[case.mirror][..., j] * MIRROR
        np.testing.assert_allclose(asset.exprdirs[..., i], image, atol=1e-5, err_msg=name)
    blink = np.linalg.norm(asset.exprdirs[..., asset.expression_names.index("eyeBlinkLeft")], axis=1)
    assert asset.template[np.argmax(blink), 0] > 0.01


@pytest.mark.parametrize("pitch", [-0.25, 0.0, 0.25])
def test_lids_meet_when_the_eyes_blink(case, pitch):
    eyes = np.concatenate([case.eyeball(LEFT_EYE), case.eyeball(RIGHT_EYE)])
    neutral = case.head.neutral()
    shut = replace(neutral, expression=case.expression(eyeBlinkLeft=1, eyeBlinkRight=1))
    half = replace(neutral, expression=case.expression(eyeBlinkLeft=0.5, eyeBlinkRight=0.5))
    counts = [visible(case, case.posed(p), eyes, pitch) for p in (neutral, half, shut)]
    assert counts[0] > 1500
    assert 0.15 * counts[0] < counts[1] < 0.75 * counts[0]
    assert counts[2] == 0


def test_lids_meet_well_enough_on_other_people(case):
    eyes = np.concatenate([case.eyeball(LEFT_EYE), case.eyeball(RIGHT_EYE)])
    closed = case.expression(eyeBlinkLeft=1, eyeBlinkRight=1)
    left = []
    for code in case.people(10):
        params = replace(case.head.neutral(), shape=code)
        opened = visible(case, case.posed(params), eyes)
        left.append(visible(case, case.posed(replace(params, expression=closed)), eyes) / opened)
    assert np.median(left) < 0.01
    assert max(left) < 0.12


def test_lips_meet_at_rest_whoever_it_is(case):
    mouth = inside_mouth(case)
    neutral = case.head.neutral()
    for code in (torch.zeros(100), *case.people(6)):
        params = replace(neutral, shape=code)
        assert visible(case, case.posed(params), mouth) <= 3
        smile = replace(params, expression=case.expression(mouthSmileLeft=1, mouthSmileRight=1))
        assert visible(case, case.posed(smile), mouth) <= 12
    opened = replace(neutral, jaw=torch.tensor([0.25, 0.0, 0.0]))
    assert visible(case, case.posed(opened), mouth) > 1000


def test_jaw_opens(case):
    asset, neutral = case.asset, case.head.neutral()
    rest = case.posed(neutral)
    opened = case.posed(replace(neutral, jaw=torch.tensor([JAW_OPEN, 0.0, 0.0])))
    teeth = asset.regions["teeth"] > 0.5
    lower = np.flatnonzero(teeth & (asset.weights[:, JAW] > 0.999))
    upper = np.flatnonzero(teeth & (asset.weights[:, JAW] < 0.001))
    assert len(lower) == len(upper) == 68
    np.testing.assert_allclose(opened[upper], rest[upper], atol=1e-6)
    assert (opened[lower, 1] - rest[lower, 1]).mean() < -0.015
    spread = [np.linalg.norm(v[lower] - v[lower[0]], axis=1) for v in (rest, opened)]
    np.testing.assert_allclose(spread[1], spread[0], atol=6e-4)  # rigid, but for what the source left
    np.testing.assert_allclose(opened[case.mirror] * MIRROR, opened, atol=2e-5)
    moved = np.linalg.norm(opened - rest, axis=1)
    assert moved[asset.regions["scalp"] > 0.9].max() < 1e-3
    closed = replace(neutral, jaw=torch.tensor([JAW_OPEN, 0.0, 0.0]), expression=case.expression(mouthClose=1))
    mouth = inside_mouth(case)
    assert visible(case, case.posed(closed), mouth) < 0.02 * visible(case, opened, mouth)


def test_neck_leaves_its_border_in_place(case):
    neutral = case.head.neutral()
    rest = case.posed(neutral)
    turned = case.posed(replace(neutral, neck=torch.tensor([0.0, 0.5, 0.0])))
    moved = np.linalg.norm(turned - rest, axis=1)
    lowest = rest[:, 1] < rest[:, 1].min() + 0.004
    assert moved[lowest].max() < 0.002
    assert moved[np.argmax(rest[:, 2])] > 0.03


@pytest.mark.skipif(importlib.util.find_spec("anny") is None, reason="needs anny: the extra build-head")
def test_builder_makes_the_committed_asset_again(case):
    from model.openhead.build import build_geometry, to_asset
    from model.openhead.learned import FILES, read_learned

    geometry = build_geometry()
    built = to_asset(geometry, read_learned(FILES["open"]))
    for field in fields(HeadAsset):
        ours, theirs = getattr(case.asset, field.name), getattr(built, field.name)
        if isinstance(ours, np.ndarray):
            if ours.dtype.kind == "i":
                np.testing.assert_array_equal(ours, theirs, err_msg=field.name)
            else:
                # Another machine's linear algebra may round the last bit of a float16 the other way.
                np.testing.assert_allclose(ours, theirs.astype(np.float64), rtol=2e-3, atol=1e-6, err_msg=field.name)
        elif field.name not in ("digest", "regions", "landmarks"):
            assert ours == theirs, field.name
    assert sorted(built.regions) == sorted(case.asset.regions)

    # What float16 costs on a strong face: hundredths of a millimetre.
    code, face = case.people(1, 2.0)[0].double().numpy(), np.ones(50)
    exact = geometry.template + geometry.shapedirs @ code + geometry.exprdirs @ face
    stored = case.asset.template + case.asset.shapedirs @ code + case.asset.exprdirs @ face
    assert np.abs(exact - stored).max() < 1e-4

    # The jaw's full angle gives the artist's jawOpen.
    from model.openhead.cut import cut_head
    from model.openhead.morph import carrier
    from model.openhead.source import read_base_mesh, read_face_unit

    base = read_base_mesh()
    carry = carrier(base, cut_head(base))
    wanted = geometry.template + carry.symmetric(carry(read_face_unit("jawOpen")))
    opened = case.posed(replace(case.head.neutral(), jaw=torch.tensor([geometry.hinge.angle, 0.0, 0.0])))
    assert np.abs(opened - wanted).max() < 1e-4
    assert geometry.hinge.residual < 6e-4


def test_missing_sources_are_named(monkeypatch):
    from model.openhead import source

    monkeypatch.setattr(source.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="build-head"):
        source.data_folder()
