"""glTF: our vertices come out of the file, the validator has nothing to say, three.js in Chromium shows our head."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from acted import acted_track
from browser import node, require_browser, require_node
from gltf_reader import GLTF

from model.asset import HeadAsset
from model.head import HeadModel
from model.io.assets import load_head
from model.views import look
from tracker.export.arkit import GAZE, JAW_OPEN, UNITS
from tracker.export.job import ExportConfig, export
from tracker.export.scene import Scene, scene_of
from tracker.export.surface import split_seams
from tracker.image import read_image
from tracker.track import Track

MILLIMETRES = 1e3


@pytest.fixture(scope="module")
def openhead() -> HeadAsset:
    return load_head("openhead")


@pytest.fixture(scope="module")
def acted(openhead, tmp_path_factory):
    """Two faces of openhead, and the file of them."""
    track = acted_track(openhead, frames=5, faces=2)
    path = tmp_path_factory.mktemp("gltf") / "acted.glb"
    assert export(track, openhead, str(path), ExportConfig()) == [path]
    return track, path


def placed(track: Track, asset: HeadAsset, scene: Scene) -> np.ndarray:
    """Our vertices in the scene, frame by frame, of the split mesh."""
    motion = scene.motion(track)
    vertices = HeadModel(asset).double()(track.params(dtype=torch.float64)).numpy()
    vertices = vertices * motion.scale[:, None, None] + motion.translation[:, None]
    return vertices[:, split_seams(asset).source]


def worst(file: GLTF, track: Track, asset: HeadAsset, scene: Scene) -> float:
    """Largest distance between the file's vertices and ours, mm."""
    name = f"face{track.face[0]}_head"
    found = np.stack([file.vertices(name, time) for time in track.time])
    return MILLIMETRES * float(np.abs(found - placed(track, asset, scene)).max())


def test_the_file_gives_our_vertices(acted, openhead):
    track, path = acted
    file, scene = GLTF(path), scene_of(track)
    for face in track.faces:
        assert worst(file, track.of_face(face), openhead, scene) < 0.1


@pytest.mark.parametrize("settings", [{}, {"still": True}, {"distance": 1.5}])
def test_any_head_in_any_scene(tiny_head, tmp_path, settings):
    # The small head's joints move with its expression, and all of its joints have correctives.
    track = acted_track(tiny_head)
    export(track, tiny_head, str(tmp_path / "a.glb"), ExportConfig(**settings))
    file = GLTF(tmp_path / "a.glb")
    assert worst(file, track, tiny_head, scene_of(track, **settings)) < 0.1


def test_a_head_without_names_or_texture(tiny_head, tmp_path):
    bare = replace(tiny_head, expression_names=(), expression_range=None, uv=None, uv_faces=None)
    track = replace(acted_track(bare), head="flame:0")
    export(track, bare, str(tmp_path / "a.glb"), ExportConfig())
    file = GLTF(tmp_path / "a.glb")
    assert worst(file, track, bare, scene_of(track)) < 0.1
    assert file.document["meshes"][0]["extras"]["targetNames"][0] == "expression000"


def test_vertices_may_hang_on_all_five_joints(tiny_head, tmp_path):
    rng = np.random.default_rng(0)
    weights = rng.dirichlet(np.ones(5), len(tiny_head.template)).astype(np.float32)
    head = replace(tiny_head, weights=weights)
    track = acted_track(head, frames=4)
    export(track, head, str(tmp_path / "a.glb"), ExportConfig())
    file = GLTF(tmp_path / "a.glb")
    assert worst(file, track, head, scene_of(track)) < 0.1
    assert "JOINTS_1" in file.document["meshes"][0]["primitives"][0]["attributes"]


def test_cameras_show_the_head_where_the_video_does(tiny_head):
    track = acted_track(tiny_head)
    s, tx, ty = track.camera.T
    for distance in (None, 2.0):
        scene = scene_of(track, distance)
        motion = scene.motion(track)
        x, y, z = motion.translation.T
        pixels = scene.reference if distance is None else scene.focal / (scene.camera_z - z)
        np.testing.assert_allclose(pixels * x + 160, tx, atol=1e-3)
        np.testing.assert_allclose(120 - pixels * y, ty, atol=1e-3)
        np.testing.assert_allclose(pixels * motion.scale, s, rtol=1e-5)


def test_targets_have_arkits_names_and_shapes(acted, openhead):
    _, path = acted
    file = GLTF(path)
    names = file.document["meshes"][0]["extras"]["targetNames"]
    assert set(UNITS) <= set(names)
    assert len(set(names)) == len(names)
    track = acted[0].of_face(0)
    head = HeadModel(openhead).double()
    person = replace(head.neutral(), shape=track.params(0, torch.float64).shape)
    source = split_seams(openhead).source
    opened = head(replace(person, jaw=torch.tensor([JAW_OPEN, 0, 0], dtype=torch.float64)))[source].numpy()
    assert MILLIMETRES * np.abs(file.vertices("face0_head", 0, {"jawOpen": 1.0}) - opened).max() < 0.01
    name, eye, turn = GAZE[0]
    eyes = torch.zeros(6, dtype=torch.float64)
    eyes[3 * eye : 3 * eye + 3] = torch.tensor(turn)
    looking = head(replace(person, eyes=eyes))[source].numpy()
    assert MILLIMETRES * np.abs(file.vertices("face0_head", 0, {name: 1.0}) - looking).max() < 0.01


def test_frames_at_one_time_are_one_key(tiny_head, tmp_path):
    track = acted_track(tiny_head)
    track.time[3] = track.time[2]
    export(track, tiny_head, str(tmp_path / "a.glb"), ExportConfig())
    file = GLTF(tmp_path / "a.glb")
    times = file.array(file.document["animations"][0]["samplers"][0]["input"])
    assert len(times) == len(track) - 1
    assert (np.diff(times) > 0).all()


def test_a_head_that_does_not_move_needs_no_animation(tiny_head, tmp_path):
    track = acted_track(tiny_head, frames=2)
    moved = ("expression", "pose", "neck", "jaw", "eyes")
    track = replace(track, **{name: np.zeros_like(getattr(track, name)) for name in moved})
    export(track, tiny_head, str(tmp_path / "a.glb"), ExportConfig(still=True))
    assert "animations" not in GLTF(tmp_path / "a.glb").document


@pytest.mark.parametrize("kind", ["openhead", "tiny", "bare"])
def test_the_validator_finds_nothing(acted, tiny_head, tmp_path, kind):
    require_node()
    path = tmp_path / "a.glb"
    if kind == "openhead":
        path = acted[1]
    elif kind == "tiny":
        export(acted_track(tiny_head, faces=2), tiny_head, str(path), ExportConfig(distance=1.0))
    else:
        bare = replace(tiny_head, expression_names=(), expression_range=None, uv=None, uv_faces=None)
        export(replace(acted_track(bare), head="flame:0"), bare, str(path), ExportConfig())
    issues = node("validate.mjs", path)["issues"]
    assert issues["numErrors"] == issues["numWarnings"] == issues["numInfos"] == issues["numHints"] == 0, issues


def test_three_js_plays_it_as_we_draw_it(acted, openhead, tmp_path):
    require_browser()
    track, path = acted
    rows = [1, 2, 4]  # of the first face; the second is there from frame 1 on
    times = track.of_face(0).time[rows]
    told = node("play.mjs", path, tmp_path, *track.size, *times)
    assert not told["errors"]
    scene, head = scene_of(track), HeadModel(openhead)
    for i, time in enumerate(times):
        drawn = np.zeros((track.size[1], track.size[0]), bool)
        for k, face in enumerate(track.faces):
            own = track.of_face(face)
            row = int(np.argmin(np.abs(own.time - time)))
            found = np.fromfile(tmp_path / f"vertices_{i}_{k}.f64").reshape(-1, 3)
            expected = placed(own.select(slice(row, row + 1)), openhead, scene)[0]
            assert MILLIMETRES * np.abs(found - expected).max() < 0.1
            drawn |= look(head.mesh(own.params(row)), own.cameras(row), *drawn.shape).alpha[0].numpy() > 0.5
        played = read_image(tmp_path / f"silhouette_{i}.png")[..., 0] > 127
        assert (played & drawn).sum() / (played | drawn).sum() >= 0.97
        textured = read_image(tmp_path / f"textured_{i}.png")[drawn].astype(float)
        assert textured.std(axis=0).min() > 10  # a lit, coloured head, not a blank one
