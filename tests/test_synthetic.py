"""Rendered faces: are their labels true, are they the same every time, and are they faces at all?"""

from __future__ import annotations

import io
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import roma
import torch
from PIL import Image

from model.asset import HeadAsset
from model.camera import project, project_with_depth
from model.head import HeadModel
from model.io.assets import load_head
from model.landmarks import HeadLandmarks
from model.params import Camera
from model.raster import rasterise
from model.render import textured_view
from model.shading import albedo_texture, sh_basis, sh_shading
from tracker.detect import open_detector
from tracker.image import write_image
from tracker.observation import MEDIAPIPE_OF_IBUG, Frame
from training.data.sample import Sample
from training.data.shards import Shards
from training.synthetic.__main__ import main
from training.synthetic.expressions import draw_expression, draw_random
from training.synthetic.light import draw_light, lamp_harmonics
from training.synthetic.make import Recipe, write_faces
from training.synthetic.population import Population, draw_gaze, draw_pose
from training.synthetic.render import PLAIN, Additions, Renderer

SIZE = 112


@pytest.fixture(scope="module")
def openhead() -> HeadAsset:
    return load_head("openhead")


@pytest.fixture(scope="module")
def renderer(openhead: HeadAsset) -> Renderer:
    return Renderer(Population(openhead, seed=5, per_identity=2), SIZE)


@pytest.fixture(scope="module")
def plain(openhead: HeadAsset) -> Renderer:
    return Renderer(Population(openhead, seed=5, per_identity=2), SIZE, additions=PLAIN)


@pytest.fixture(scope="module")
def samples(renderer: Renderer) -> list[Sample]:
    return [renderer.sample(k) for k in range(24)]


def decoded(sample: Sample) -> tuple[np.ndarray, np.ndarray]:
    assert sample.mask is not None
    return np.asarray(Image.open(io.BytesIO(sample.image))), np.asarray(Image.open(io.BytesIO(sample.mask)))


def same(a: Sample, b: Sample) -> bool:
    assert a.labels is not None and b.labels is not None
    codes = [(getattr(s.labels.face, key)) for key in vars(a.labels.face) for s in (a, b)]
    return (
        (a.key, a.identity, a.image, a.mask) == (b.key, b.identity, b.image, b.mask)
        and np.array_equal(a.landmarks, b.landmarks)
        and np.array_equal(a.visible, b.visible)
        and all(torch.equal(x, y) for x, y in zip(codes[::2], codes[1::2], strict=True))
        and torch.equal(a.labels.albedo, b.labels.albedo)
        and torch.equal(a.labels.light, b.labels.light)
    )


def test_labels_give_the_landmarks(openhead: HeadAsset, samples: list[Sample]) -> None:
    points = HeadLandmarks(HeadModel(openhead))
    for sample in samples:
        labels = sample.labels
        assert labels is not None and labels.known and labels.lit and isinstance(labels.camera, Camera)
        expected = project(labels.camera, points.ibug68(labels.face)).numpy()
        np.testing.assert_allclose(sample.landmarks, expected, atol=1e-3)
        assert (sample.landmarks > 0).all() and (sample.landmarks < SIZE).all()
        assert labels.face.neck.abs().max() == 0


def test_labels_give_the_picture_when_nothing_is_added(openhead: HeadAsset, plain: Renderer) -> None:
    assert openhead.albedo_mean is not None and openhead.albedo_basis is not None
    assert openhead.uv is not None and openhead.uv_faces is not None
    mean, basis = torch.from_numpy(openhead.albedo_mean).float(), torch.from_numpy(openhead.albedo_basis).float()
    for k in range(3):
        picture = plain.picture(k)
        labels = picture.labels
        assert isinstance(labels.camera, Camera)
        view = textured_view(
            HeadModel(openhead).mesh(labels.face),
            Camera(2 * labels.camera.s, 2 * labels.camera.t),
            albedo_texture(mean, basis, labels.albedo),
            torch.from_numpy(openhead.uv).float(),
            torch.from_numpy(openhead.uv_faces).long(),
            2 * SIZE,
            2 * SIZE,
            labels.light,
        )
        expected = view.image.clamp(0, 1.2).unflatten(1, (SIZE, 2)).unflatten(3, (SIZE, 2)).mean((2, 4))
        whole = picture.alpha > 0.999
        assert whole.mean() > 0.15
        off = np.abs(picture.image - expected.movedim(0, -1).numpy())[whole]
        assert off.max() < 2e-3 and off.mean() < 1e-4
        assert expected.movedim(0, -1).numpy()[whole].std() > 0.03


def test_mask_is_the_visible_skin(openhead: HeadAsset, plain: Renderer, renderer: Renderer) -> None:
    head = HeadModel(openhead)
    hair = torch.from_numpy(openhead.regions["scalp"] + openhead.regions["inner_mouth"])
    for k in range(6):
        bare, dressed = plain.picture(k), renderer.picture(k)
        camera = bare.labels.camera
        assert isinstance(camera, Camera)
        mesh = head.mesh(bare.labels.face)
        face = rasterise(project_with_depth(camera, mesh.vertices), mesh.faces, SIZE, SIZE).face
        corners = mesh.faces[face.clamp(min=0)]
        no_skin = ((face < 0) | (hair[corners] > 0.99).all(-1)).numpy()
        sure = (face >= 0).numpy() & (hair[corners] < 0.01).all(-1).numpy() & (bare.alpha > 0.999)
        assert not bare.mask[no_skin & (bare.alpha < 0.01)].any()
        assert bare.mask[sure].mean() > 0.97
        # what is worn and held before the face only takes away
        assert not (dressed.mask & ~bare.mask).any()
        assert not dressed.mask[dressed.alpha < 0.2].any()
        assert 0.02 < bare.mask.mean() < 0.6


def test_landmarks_behind_something_are_not_visible(renderer: Renderer, plain: Renderer) -> None:
    hidden_by_things = 0
    for k in range(26):
        bare, dressed = plain.picture(k), renderer.picture(k)
        assert not (dressed.visible & ~bare.visible).any()
        hidden_by_things += int((bare.visible & ~dressed.visible).sum())
        R = roma.rotvec_to_rotmat(bare.labels.face.pose)
        yaw = math.degrees(math.atan2(R[0, 2], R[2, 2]))
        corners = bare.visible[[36, 45]]  # outer corners of the right and of the left eye
        if yaw > 60:  # turned to the subject's left: the right side of the face is towards the camera
            assert tuple(corners) == (True, False)
        elif yaw < -60:
            assert tuple(corners) == (False, True)
        elif abs(yaw) < 15:
            assert corners.all() and bare.visible[27:].mean() > 0.8
    assert hidden_by_things > 30


def test_a_face_depends_on_seed_and_number_alone(openhead: HeadAsset, samples: list[Sample]) -> None:
    again = Renderer(Population(openhead, seed=5, per_identity=2), SIZE)
    assert same(again.sample(17), samples[17])  # without the ones before
    other = Renderer(Population(openhead, seed=6, per_identity=2), SIZE).sample(17)
    assert other.image != samples[17].image and other.key != samples[17].key
    torch.set_num_threads(2)
    try:
        assert same(again.sample(3), samples[3])
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


def test_faces_of_a_person_share_who_they_are(samples: list[Sample], renderer: Renderer) -> None:
    for a, b in zip(samples[::2], samples[1::2], strict=True):
        assert a.identity == b.identity and a.labels is not None and b.labels is not None
        assert torch.equal(a.labels.face.shape, b.labels.face.shape)
        assert torch.equal(a.labels.albedo, b.labels.albedo)
        assert not torch.equal(a.labels.face.pose, b.labels.face.pose)
        assert not torch.equal(a.labels.light, b.labels.light)
    assert len({s.identity for s in samples}) == len(samples) // 2
    assert len({s.key for s in samples}) == len(samples)


def test_jobs_and_interruptions_change_nothing(tmp_path: Path) -> None:
    recipe = Recipe(seed=2, size=64, per_identity=2)
    assert write_faces(tmp_path / "one", 10, recipe) == 10
    assert write_faces(tmp_path / "two", 4, recipe) == 4
    calls: list[tuple[int, int]] = []
    assert write_faces(tmp_path / "two", 10, recipe, jobs=2, report=lambda _, done, of: calls.append((done, of))) == 6
    assert calls == [(i, 6) for i in range(7)]
    assert write_faces(tmp_path / "two", 10, recipe) == 0
    one, two = Shards(tmp_path / "one"), Shards(tmp_path / "two")
    assert len(one) == len(two) == 10 and one.head == load_head("openhead").name
    assert all(same(a, b) for a, b in zip(one, two, strict=True))


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "faces")
    assert main(["--out", out, "--count", "2", "--size", "64"]) == 0
    assert "2 faces, 2 of them new" in capsys.readouterr().out
    for wrong, said in (
        (["--out", out, "--count", "2", "--size", "96"], "use another folder"),
        (["--out", out, "--count", "0"], "count is 0"),
        (["--out", out, "--count", "2", "--jobs", "0"], "jobs is 0"),
        (["--out", out + "2", "--count", "2", "--size", "8"], "size is 8"),
        (["--out", out + "2", "--count", "2", "--per-identity", "0"], "images per identity is 0"),
        (["--out", out, "--count", "2", "--size", "64", "--plain"], "use another folder"),
        (["--out", out + "2", "--count", "2", "--turned", "90"], "most degrees of yaw are 90"),
        (["--out", out + "2", "--count", "2", "--expressions", "wild"], "expected one of acts, random"),
        (["--out", out + "2", "--count", "2", "--backgrounds", str(tmp_path / "none")], "no such folder"),
        (["--out", out + "2", "--count", "2", "--backgrounds", out], "holds no pictures"),
    ):
        assert main(wrong) == 2
        error = capsys.readouterr().err
        assert said in error and error.count("\n") == 1
    assert not Path(out + "2").exists()


def test_plain_faces_show_their_codes_and_nothing_else(tmp_path: Path) -> None:
    recipe = Recipe("openhead", 5, SIZE, 2, plain=True, turned=30.0)
    renderer = recipe.renderer()
    assert renderer.additions == PLAIN
    write_faces(tmp_path / "plain", 2, recipe)
    sample = Shards(tmp_path / "plain")[1]
    assert sample.labels is not None
    torch.testing.assert_close(sample.labels.face.pose, renderer.population.face(1).params.pose)
    full = Recipe("openhead", 5, SIZE, 2).renderer().population.face(1).params
    assert roma.rotvec_geodesic_distance(full.pose, sample.labels.face.pose) > 0.01
    torch.testing.assert_close(full.shape, sample.labels.face.shape)


def test_backgrounds_are_the_users(openhead: HeadAsset, tmp_path: Path) -> None:
    write_image(tmp_path / "green.png", np.full((90, 120, 3), (0, 200, 0), np.uint8))
    additions = Additions(worn=False, covers=False, camera=False)
    renderer = Renderer(Population(openhead, 1), 64, (tmp_path / "green.png",), additions)
    picture = renderer.picture(0)
    np.testing.assert_allclose(picture.image[picture.alpha == 0] - [0, 200 / 255, 0], 0, atol=1e-6)


def test_lamps_shine_as_lamps_do() -> None:
    direction = torch.nn.functional.normalize(torch.tensor([[0.3, 0.5, 0.8]], dtype=torch.float64), dim=-1)
    harmonics = torch.from_numpy(lamp_harmonics(direction.numpy(), np.array([[0.5, 1.0, 2.0]])))
    generator = torch.Generator().manual_seed(0)
    normals = torch.randn(2000, 3, generator=generator, dtype=torch.float64)
    normals = normals / normals.norm(dim=-1, keepdim=True)
    wanted = (normals @ direction[0]).clamp(min=0)[:, None] * torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
    got = sh_shading(normals, harmonics)
    assert (got - wanted).abs().max() < 0.10 * 2 and (got - wanted).abs().mean() < 0.05


def test_light_is_positive_and_varied() -> None:
    normals = torch.randn(3000, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    normals = normals / normals.norm(dim=-1, keepdim=True)
    normals = normals[normals[:, 2] > 0]
    basis = sh_basis(normals).numpy()
    skin = np.array([0.6, 0.45, 0.38])
    sides, greys = [], []
    for seed in range(100):
        shading = basis @ draw_light(np.random.default_rng(seed), skin).harmonics
        assert shading.min() > 0
        left = shading[(normals[:, 0] > 0.6).numpy()].mean()
        sides.append(math.log(left / shading[(normals[:, 0] < -0.6).numpy()].mean()))
        greys.append(float((shading * skin).mean()))
    assert np.quantile(np.abs(sides), 0.9) > 1.0 and abs(np.median(sides)) < 0.5
    assert 0.3 < np.median(greys) < 0.6 and np.std(greys) > 0.06


def test_population_is_like_people(openhead: HeadAsset) -> None:
    names = openhead.expression_names
    rng = np.random.default_rng(0)
    faces = [draw_expression(rng, names) for _ in range(1500)]
    units, jaw = np.stack([face[0] for face in faces]), np.array([face[1] for face in faces])
    assert units.min() >= 0 and units.max() <= 1 and jaw.min() >= 0 and jaw.max() <= 0.45
    assert ((units > 0.1).any(0)).all()  # every unit moves somewhere
    assert 0.05 < ((units < 0.1).all(1) & (jaw < 0.05)).mean() < 0.35  # faces at rest
    assert (units > 0.2).sum(1).mean() < 12

    def correlation(a: str, b: str) -> float:
        return float(np.corrcoef(units[:, names.index(a)], units[:, names.index(b)])[0, 1])

    assert correlation("mouthSmileLeft", "mouthSmileRight") > 0.75
    assert correlation("eyeBlinkLeft", "eyeBlinkRight") > 0.6
    assert correlation("mouthSmileLeft", "cheekSquintLeft") > 0.3
    assert np.corrcoef(jaw, units[:, names.index("mouthLowerDownLeft")])[0, 1] > 0.1

    R = np.stack([draw_pose(rng) for _ in range(2000)])
    yaw = np.rad2deg(np.arctan2(R[:, 0, 2], R[:, 2, 2]))
    np.testing.assert_allclose(R @ R.transpose(0, 2, 1), np.tile(np.eye(3), (2000, 1, 1)), atol=1e-9)
    assert np.abs(yaw).max() < 91 and (np.abs(yaw) > 60).mean() > 0.04 and (np.abs(yaw) < 25).mean() > 0.4
    assert abs(yaw.mean()) < 3

    few = np.stack([draw_pose(rng, 0.25) for _ in range(500)])
    assert 15 < np.abs(np.rad2deg(np.arctan2(few[:, 0, 2], few[:, 2, 2]))).max() < 20.2

    turned = draw_pose(np.random.default_rng(0)) * 0 + roma.rotvec_to_rotmat(torch.tensor([0.0, 0.4, 0.0])).numpy()
    gaze = np.stack([draw_gaze(np.random.default_rng(seed), turned)[0] for seed in range(400)])
    assert gaze[:, 1].mean() < -0.1  # the head to the subject's left, the eyes back to the camera
    assert np.abs(gaze).max() < 0.7


def test_random_units_have_nothing_to_do_with_each_other(openhead: HeadAsset) -> None:
    rng, names = np.random.default_rng(1), openhead.expression_names
    drawn = [draw_random(rng, names) for _ in range(3000)]
    units, jaw = np.stack([units for units, _ in drawn]), np.array([jaw for _, jaw in drawn])
    assert units.min() == 0 and units.max() <= 1 and jaw.min() == 0 and jaw.max() <= 0.45
    free = [i for i, name in enumerate(names) if name != "mouthClose"]
    assert np.abs((units[:, free] > 0).mean(0) - 0.3).max() < 0.04
    apart = np.corrcoef(units[:, free].T) - np.eye(len(free))
    assert np.abs(apart).max() < 0.1
    assert (units[jaw == 0][:, names.index("mouthClose")] == 0).all()


def test_eyes_that_look_down_have_lowered_lids(openhead: HeadAsset) -> None:
    population = Population(openhead, 0)
    faces = [population.face(k).params for k in range(300)]
    down = np.array([float(face.eyes[0]) for face in faces])
    lid = np.array([float(face.expression[openhead.expression_names.index("eyeBlinkLeft")]) for face in faces])
    assert lid[down > 0.15].mean() > lid[np.abs(down) < 0.05].mean() + 0.1
    albedo = torch.stack([population.face(k).albedo for k in range(100)])
    assert albedo.abs().max() <= 2 and albedo[:, 0].std() > 0.9


def test_faces_look_like_faces(openhead: HeadAsset) -> None:
    """MediaPipe, which has seen photographs only, finds them, and its points lie where the labels say."""
    renderer = Renderer(Population(openhead, seed=1), 192)
    found, off = Counter(), []
    with open_detector("mediapipe", static=True) as detector:
        for k in range(22):
            sample = renderer.sample(k)
            assert sample.labels is not None
            R = roma.rotvec_to_rotmat(sample.labels.face.pose)
            if abs(math.atan2(R[0, 2], R[2, 2])) > math.radians(35) or sample.visible[17:].mean() < 0.7:
                continue
            faces = detector.detect(Frame(k, 0.0, decoded(sample)[0].copy()))
            found[bool(faces)] += 1
            if faces:
                distance = np.linalg.norm(faces[0].points[MEDIAPIPE_OF_IBUG][17:] - sample.landmarks[17:], axis=-1)
                off.append(distance[sample.visible[17:]].mean() / np.ptp(sample.landmarks, axis=0).mean())
    assert found[True] >= 9 and found[True] / found.total() > 0.85
    assert np.median(off) < 0.04


def test_a_head_without_names_or_albedo_is_refused(openhead: HeadAsset) -> None:
    from dataclasses import replace

    with pytest.raises(ValueError, match="no named expression units"):
        Population(replace(openhead, expression_names=()))
    with pytest.raises(ValueError, match="no albedo"):
        Renderer(Population(replace(openhead, albedo_mean=None, albedo_basis=None)))
