"""Crops: pictures, landmarks, masks and labels move together; chance changes what it should and nothing else."""

from __future__ import annotations

import math
import pickle
from dataclasses import replace
from pathlib import Path

import faces as make
import numpy as np
import pytest
import torch

from model.asset import HeadAsset
from model.camera import lift, project_crop
from model.crop import Crop
from model.head import HeadModel, Skeleton
from model.landmarks import HeadLandmarks
from model.params import Camera, FaceParams
from model.shading import sh_basis
from model.uv import UVLayout
from model.views import look, normal_view, textured_view
from tracker.image import warp
from training.config import DataConfig, StageConfig
from training.data import augment
from training.data.crops import Cut, cut_labels, evaluation_cut, training_cut, turn_light
from training.data.faces import Faces
from training.data.loader import Crops, loader
from training.data.order import Order
from training.data.sample import Batch, Labels

WILD = DataConfig(held_out=0.0, colour=1.0, degrade=0.7, occlude=0.7, rotate=40.0, shift=0.1)
PLAIN = DataConfig(held_out=0.0)
R = 64


def batch_of(samples: list, folder: Path, asset: HeadAsset, config: DataConfig, *, evaluate: bool = False) -> Batch:
    faces = Faces([make.write(folder, samples)])
    order = Order(faces, config, StageConfig(subjects=len(samples), images=1), seed=0)
    return Crops(faces, order, asset, config, R, seed=5, evaluate=evaluate)[0]


def stacked(labels: list[Labels]) -> Labels:
    def of(records: list) -> object:
        kind = type(records[0])
        return kind(**{name: torch.stack([getattr(r, name) for r in records]) for name in vars(records[0])})

    flat = {name: torch.stack([getattr(e, name) for e in labels]) for name in ("albedo", "light", "known", "lit")}
    return Labels(face=of([e.face for e in labels]), camera=of([e.camera for e in labels]), **flat)  # type: ignore


def test_points_and_pixels_of_a_cut_agree() -> None:
    image = np.zeros((90, 120), np.uint8)
    spot = np.array([70.5, 40.5])
    image[40, 70] = 255
    cut = Cut(np.array([60.0, 45.0]), 50.0, math.radians(30))
    crop = warp(image, cut.matrix(200), (200, 200), smooth=False).astype(float)
    y, x = np.mgrid[:200, :200] + 0.5
    seen = np.array([(x * crop).sum(), (y * crop).sum()]) / crop.sum()
    expected = (cut.points(spot[None])[0] + 1) / 2 * 200
    np.testing.assert_allclose(seen, expected, atol=0.1)
    turned = Cut(np.array([0.0, 0.0]), 2.0, math.pi / 2).points(np.array([[1.0, 0.0]]))
    np.testing.assert_allclose(turned, [[0.0, 1.0]], atol=1e-12)  # clockwise: right goes down


def test_the_papers_crop() -> None:
    landmarks = np.random.default_rng(0).uniform(10, 90, (68, 2))
    landmarks[0], landmarks[1] = (10, 20), (90, 80)  # a box of 80 × 60 at most
    landmarks = landmarks.clip((10, 20), (90, 80))
    cut = evaluation_cut(landmarks)
    np.testing.assert_allclose(cut.centre, [50, 50])
    assert cut.side == pytest.approx(1.6 * 70) and cut.roll == 0
    sides = [training_cut(landmarks, PLAIN, np.random.default_rng(i)) for i in range(300)]
    scale = np.array([cut.side for cut in sides]) / 70
    assert 1.4 <= scale.min() < 1.42 and 1.78 < scale.max() <= 1.8
    assert all(cut.roll == 0 and (cut.centre == 50).all() for cut in sides)
    shaken = [training_cut(landmarks, WILD, np.random.default_rng(i)) for i in range(300)]
    shift = np.array([(cut.centre - 50) / cut.side for cut in shaken])
    rolls = np.degrees([cut.roll for cut in shaken])
    assert 0.09 < np.abs(shift).max() <= 0.1 and 38 < np.abs(rolls).max() <= 40 and abs(rolls.mean()) < 4


def test_light_turns_with_the_normals() -> None:
    random = torch.Generator().manual_seed(0)
    normals = torch.nn.functional.normalize(torch.randn(4, 50, 3, generator=random, dtype=torch.float64), dim=-1)
    light = torch.randn(4, 9, 3, generator=random, dtype=torch.float64)
    angle = torch.tensor([0.3, -1.0, 2.5, 0.0], dtype=torch.float64)
    c, s, zero = angle.cos(), angle.sin(), torch.zeros(4, dtype=torch.float64)
    turn = torch.stack([c, -s, zero, s, c, zero, zero, zero, zero + 1], -1).view(4, 3, 3)
    turned = sh_basis(normals @ turn.transpose(1, 2)) @ turn_light(light, angle)
    torch.testing.assert_close(turned, sh_basis(normals) @ light)


def test_labels_explain_the_landmarks_of_every_crop(tiny_head: HeadAsset, tmp_path: Path) -> None:
    points = HeadLandmarks(HeadModel(tiny_head))
    samples = [make.labelled(seed, tiny_head, f"p{seed}") for seed in range(8)]
    for name, config, evaluate in (("wild", WILD, False), ("plain", PLAIN, False), ("evaluate", WILD, True)):
        batch = batch_of(samples, tmp_path / name, tiny_head, config, evaluate=evaluate)
        seen = project_crop(batch.labels.camera, points.ibug68(batch.labels.face))[..., :2]
        torch.testing.assert_close(seen, batch.landmarks, atol=2e-4, rtol=0)
        inside = (batch.landmarks.abs() <= 1).all(-1)
        assert (batch.visible.bool() <= inside).all()
        assert batch.labels.known.all()
        if evaluate:
            middle = (batch.landmarks.amin(1) + batch.landmarks.amax(1)) / 2
            side = (batch.landmarks.amax(1) - batch.landmarks.amin(1)).mean(-1)
            torch.testing.assert_close(middle, torch.zeros(8, 2), atol=1e-5, rtol=0)
            torch.testing.assert_close(side, torch.full((8,), 2 / 1.6), atol=1e-5, rtol=0)
    assert batch.keys != () and set(batch.keys) == {sample.key for sample in samples}


def render(asset: HeadAsset, face: FaceParams, camera: Camera, albedo: torch.Tensor, light: torch.Tensor, side: int):
    layout = UVLayout(asset, 32)
    surface = look(HeadModel(asset).mesh(face), camera, side, side)
    texture = torch.from_numpy(asset.albedo_mean).movedim(-1, 0)[None].expand(len(albedo), -1, -1, -1)
    return textured_view(surface, normal_view(surface), texture, light, layout), surface.alpha


def test_a_crop_of_a_render_is_the_render_of_its_labels(tiny_head: HeadAsset) -> None:
    labels = stacked([make.labels(seed, len(tiny_head.albedo_basis)) for seed in range(3)])
    light = 0.3 * labels.light
    light[:, 0] += 2.5
    side = 4 * make.SIDE
    labels = replace(labels, light=light, camera=Camera(4 * labels.camera.s, 4 * labels.camera.t))
    picture, alpha = render(tiny_head, labels.face, labels.camera, labels.albedo, light, side)
    cuts = [Cut(np.array([180.0, 200.0]), 260.0, roll) for roll in (0.0, 0.5, -1.2)]
    after = cut_labels(labels, cuts, Skeleton(tiny_head))
    crop = Crop(torch.full((3, 2), 128.0), torch.full((3,), 256.0))
    expected, expected_alpha = render(tiny_head, after.face, lift(after.camera, crop), after.albedo, after.light, 256)
    for i, cut in enumerate(cuts):

        def warped(tensor: torch.Tensor) -> torch.Tensor:
            image = (tensor.clamp(0, 1) * 255).round().byte().movedim(0, -1).numpy()
            return torch.from_numpy(warp(image.squeeze(), cut.matrix(256), (256, 256))).float() / 255  # noqa: B023

        inside = (warped(alpha[i]) == 1) & (expected_alpha[i, 0] == 1)
        assert inside.float().mean() > 0.3
        assert (warped(alpha[i]) - expected_alpha[i, 0]).abs().mean() < 0.01
        difference = (warped(picture[i]) - expected[i].clamp(0, 1).movedim(0, -1)).abs()[inside]
        assert difference.mean() < 0.012, (i, difference.mean())


def test_faces_without_labels_are_zero_and_unknown(tiny_head: HeadAsset, tmp_path: Path) -> None:
    samples = [make.plain("a", "a", seed=1), make.labelled(2, tiny_head, "b")]
    batch = batch_of(samples, tmp_path / "s", tiny_head, WILD)
    first = batch.keys.index("a")
    assert batch.labels.known.tolist() == [key != "a" for key in batch.keys]
    for record in (batch.labels.face, batch.labels.camera):
        for value in vars(record).values():
            assert not value[first].any() and value[1 - first].any() and value.isfinite().all()
    assert not batch.labels.lit[first] and not batch.labels.light[first].any()
    assert batch.labels.face.shape.shape == (2, 10) and batch.labels.light.shape == (2, 9, 3)


def test_masks_are_cut_with_the_picture(tiny_head: HeadAsset, tmp_path: Path) -> None:
    landmarks = np.random.default_rng(0).uniform(20, 76, (68, 2)).clip(20, 76)
    landmarks[:2] = (20, 20), (76, 76)
    mask = np.zeros((make.SIDE, make.SIDE), np.uint8)
    mask[:, make.SIDE // 2 :] = 255
    half = make.plain("half", "a", landmarks=landmarks, mask=make.png(mask))
    none = make.plain("none", "b", landmarks=landmarks + 40)  # reaches out of the picture
    batch = batch_of([half, none], tmp_path / "s", tiny_head, PLAIN, evaluate=True)
    by_key = {key: i for i, key in enumerate(batch.keys)}
    cut = batch.masks[by_key["half"], 0]
    assert not cut[:, : R // 2 - 1].any() and cut[8:-8, R // 2 + 1 : -8].min() == 1
    i = by_key["none"]
    assert batch.masks[i, 0, 2, 2] == 1 and not batch.masks[i, 0, -2, -2]  # nothing is known beyond the picture
    assert not batch.images[i, :, -2, -2].any()
    outside = torch.from_numpy(((landmarks + 40) > make.SIDE).any(1))
    assert batch.images.min() >= 0 and batch.images.max() <= 1 and outside.any()


def test_what_is_covered_is_neither_skin_nor_landmark(
    tiny_head: HeadAsset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = np.zeros((R, R), bool)
    where[: R // 2] = True
    monkeypatch.setattr(augment, "occluder", lambda resolution, random: where)
    samples = [make.plain(str(i), str(i), seed=i) for i in range(4)]
    config = DataConfig(held_out=0.0, occlude=1.0)
    covered = batch_of(samples, tmp_path / "covered", tiny_head, config)
    free = batch_of(samples, tmp_path / "free", tiny_head, PLAIN)
    torch.testing.assert_close(covered.landmarks, free.landmarks)  # the cut does not depend on what covers
    above = free.landmarks[..., 1] < 0
    assert not covered.visible[above].any() and covered.visible[~above].all() and free.visible.all()
    assert not covered.masks[:, :, : R // 2].any() and covered.masks[:, :, R // 2 :].min() > 0.9
    torch.testing.assert_close(covered.images[:, :, R // 2 :], free.images[:, :, R // 2 :])
    assert ((covered.images - free.images)[:, :, : R // 2].abs().mean((1, 2, 3)) > 0.02).all()


def test_occluders_cover_some_and_not_all() -> None:
    shares = [augment.occluder(R, np.random.default_rng(i)).mean() for i in range(200)]
    assert max(shares) < 0.5 and np.median(shares) > 0.02 and np.mean(np.array(shares) > 0) > 0.95


def test_gains_of_colour_are_explained_by_the_light() -> None:
    image = np.random.default_rng(0).integers(0, 120, (20, 20, 3), dtype=np.uint8)
    kinds = set()
    for seed in range(20):
        changed = augment.recolour(image, 0.8, np.random.default_rng(seed))
        kinds.add(changed.linear)
        if changed.linear:
            np.testing.assert_allclose(changed.image, np.minimum(image * changed.gain, 255), atol=0.51)
    assert kinds == {True, False}
    untouched = augment.recolour(image, 0.0, np.random.default_rng(1))
    np.testing.assert_allclose(untouched.image.astype(int), image, atol=1)


def test_lit_faces_are_lit_no_more_where_colours_bend(tiny_head: HeadAsset, tmp_path: Path) -> None:
    samples = [make.labelled(seed, tiny_head, f"p{seed}") for seed in range(12)]
    plain = batch_of(samples, tmp_path / "a", tiny_head, PLAIN)
    coloured = batch_of(samples, tmp_path / "b", tiny_head, replace(PLAIN, colour=1.0))
    assert plain.labels.lit.all() and 0 < coloured.labels.lit.sum() < 12
    lit = coloured.labels.lit
    assert not coloured.labels.light[~lit].any()
    ratio = coloured.labels.light[lit] / plain.labels.light[lit]
    torch.testing.assert_close(ratio, ratio[:, :1].expand_as(ratio))  # one gain for each colour


def test_degraded_pictures_stay_pictures() -> None:
    image = np.random.default_rng(0).integers(80, 176, (R, R, 3), dtype=np.uint8)
    for seed in range(30):
        worse = augment.degrade(image, np.random.default_rng(seed))
        assert worse.shape == image.shape and worse.dtype == np.uint8
        assert 0 < np.abs(worse.astype(int) - image).mean() < 30


def assert_same(a: Batch, b: Batch) -> None:
    assert a.keys == b.keys
    for name in ("images", "landmarks", "visible", "masks", "identity"):
        assert torch.equal(getattr(a, name), getattr(b, name))
    for x, y in ((a.labels.face, b.labels.face), (a.labels.camera, b.labels.camera)):
        assert all(torch.equal(getattr(x, name), getattr(y, name)) for name in vars(x))
    assert torch.equal(a.labels.light, b.labels.light)


@pytest.fixture(scope="module")
def crops(tiny_head: HeadAsset, tmp_path_factory: pytest.TempPathFactory) -> Crops:
    samples = [make.labelled(seed, tiny_head, f"p{seed // 3}") for seed in range(15)]
    faces = Faces([make.write(tmp_path_factory.mktemp("data") / "s", samples)])
    order = Order(faces, WILD, StageConfig(subjects=2, images=2), seed=0)
    return Crops(faces, order, tiny_head, WILD, R, seed=9)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_goes_on_with_the_same_batches(crops: Crops, workers: int) -> None:
    whole = list(loader(crops, 0, 7))
    state = torch.get_rng_state()
    later = list(loader(pickle.loads(pickle.dumps(crops)), 3, 7, workers))
    assert torch.equal(torch.get_rng_state(), state)
    assert len(whole) == 7 and len(later) == 4
    for a, b in zip(whole[3:], later, strict=True):
        assert_same(a, b)
    assert not torch.equal(whole[0].images, whole[1].images)
    for batch in whole:
        assert (batch.identity[0::2] == batch.identity[1::2]).all()


def test_processes_see_the_parts_of_one_batch(tiny_head: HeadAsset, tmp_path: Path) -> None:
    samples = [make.labelled(seed, tiny_head, f"p{seed}") for seed in range(8)]
    faces = Faces([make.write(tmp_path / "s", samples)])
    stage = StageConfig(subjects=4, images=1)
    whole = Crops(faces, Order(faces, WILD, stage, 0), tiny_head, WILD, R, seed=1)[3]
    parts = [Crops(faces, Order(faces, WILD, stage, 0, rank, 2), tiny_head, WILD, R, seed=1)[3] for rank in (0, 1)]
    assert whole.keys == parts[0].keys + parts[1].keys
    assert torch.equal(whole.images, torch.cat([part.images for part in parts]))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_picture_is_named(tiny_head: HeadAsset, tmp_path: Path, workers: int) -> None:
    good = make.plain("good", "a")
    bad = replace(make.plain("photos/bad.jpg", "b"), image=good.image[: len(good.image) // 2])
    faces = Faces([make.write(tmp_path / "s", [good, bad])])
    crops = Crops(faces, Order(faces, PLAIN, StageConfig(subjects=2, images=1), 0), tiny_head, PLAIN, R, seed=0)
    with pytest.raises(ValueError, match=r"faces-00000\.arrow, row 1: picture 'photos/bad\.jpg' is damaged") as caught:
        list(loader(crops, 0, 2, workers))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"scale": (1.8, 1.4)}, r"data\.scale"),
        ({"colour": 2.0}, r"data\.colour"),
        ({"rotate": -1.0}, r"data\.rotate"),
        ({"shift": 0.7}, r"data\.shift"),
    ],
)
def test_settings_out_of_range_are_said(crops: Crops, tiny_head: HeadAsset, wrong: dict, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Crops(crops._faces, crops._order, tiny_head, DataConfig(**wrong), R, seed=0)
