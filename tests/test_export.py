"""`decatrack export`: recordings, meshes, the folder for Gaussian avatars, heads without names, and the command."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from acted import acted_track
from heads import tiny_head as small_head

from model.asset import HeadAsset
from model.deca import DECA, DECAConfig
from model.head import HeadModel
from model.io.assets import load_head, save_head
from model.landmarks import HeadLandmarks
from tracker.commands import main
from tracker.export.arkit import GAZE, JAW_OPEN, NAMES, SPLIT, UNITS, arkit_of
from tracker.export.beside import check_exports, destination
from tracker.export.flame import Mapping, measure
from tracker.export.job import ExportConfig, export, format_of
from tracker.export.livelink import COLUMNS, LiveLink, read_livelink, timecode, write_livelink
from tracker.export.scene import scene_of
from tracker.export.solids import Sculptor
from tracker.export.surface import maps_of
from tracker.image import read_image
from tracker.track import Track
from tracker.video import VideoWriter


@pytest.fixture(scope="module")
def openhead() -> HeadAsset:
    return load_head("openhead")


# Live Link Face


def test_a_recording_read_back_is_the_same(openhead, tmp_path):
    track = acted_track(openhead, frames=40)
    (path,) = export(track, openhead, str(tmp_path / "a.csv"), ExportConfig())
    found = read_livelink(path, track.fps)
    np.testing.assert_allclose(found.values, arkit_of(track), atol=1e-9)
    np.testing.assert_allclose(found.time, track.time, atol=1e-5)
    assert path.read_text().startswith("Timecode,BlendshapeCount,EyeBlinkLeft,EyeLookDownLeft,EyeLookInLeft,")
    assert len(COLUMNS) == 63 and COLUMNS[-1] == "RightEyeRoll"


def test_units_are_the_tracks(openhead):
    track = acted_track(openhead)
    value = dict(zip(NAMES, arkit_of(track).T, strict=True))
    own = dict(zip(track.expression_names, track.expression.T, strict=True))
    assert len(UNITS) == len(set(UNITS)) == 52
    for name in set(UNITS) & set(own) - {"jawLeft", "jawRight"}:
        np.testing.assert_allclose(value[name], own[name], atol=1e-7)
    for name in SPLIT:
        np.testing.assert_allclose(value[name], (own[f"{name}Left"] + own[f"{name}Right"]) / 2, atol=1e-7)
    np.testing.assert_allclose(value["jawOpen"], np.clip(track.jaw[:, 0] / JAW_OPEN, 0, 1), atol=1e-6)
    assert all(value[name].min() >= 0 and value[name].max() <= 1 for name in UNITS)


def test_each_gaze_is_its_unit(openhead):
    still = acted_track(openhead, frames=1)
    zero = {name: np.zeros_like(getattr(still, name)) for name in ("expression", "pose", "neck", "jaw", "eyes")}
    for name, eye, turn in GAZE:
        eyes = np.zeros((1, 6), np.float32)
        eyes[0, 3 * eye : 3 * eye + 3] = turn
        value = dict(zip(NAMES, arkit_of(replace(still, **(zero | {"eyes": eyes})))[0], strict=True))
        assert value[name] == pytest.approx(1, abs=1e-6)
        assert sum(value[unit] for unit in UNITS) == pytest.approx(1, abs=1e-6)
        side = "leftEye" if eye == 0 else "rightEye"
        assert value[f"{side}Yaw"] == pytest.approx(turn[1], abs=1e-6)
        assert value[f"{side}Pitch"] == pytest.approx(turn[0], abs=1e-6)


def test_time_codes():
    assert timecode(0.0, 25) == "00:00:00:00.000"
    assert timecode(3725.5, 30) == "01:02:05:15.000"
    assert timecode(1 / 3, 30) == "00:00:00:10.000"
    assert timecode(0.9999999, 25) == "00:00:01:00.000"


def test_what_is_no_recording_is_refused(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="not a Live Link Face recording"):
        read_livelink(path, 25.0)
    write_livelink(path, LiveLink(np.zeros(1), np.zeros((1, 61))), 25.0)
    path.write_text(path.read_text() + "00:00:00:01.000,61,0.1\n")
    with pytest.raises(ValueError, match="a row is damaged"):
        read_livelink(path, 25.0)


# OBJ and PLY


def read_obj(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Points, triangles, texture vertices, their triangles."""
    rows: dict[str, list] = {"v": [], "vt": [], "f": []}
    for line in path.read_text().splitlines():
        kind, *words = line.split()
        if kind in rows:
            rows[kind].append([word.split("/") for word in words] if kind == "f" else [float(word) for word in words])
    corners = np.array(rows["f"], dtype=int) - 1
    return np.array(rows["v"]), corners[..., 0], np.array(rows["vt"]), corners[..., 1]


def test_obj_has_our_vertices_and_texture(tiny_head, tmp_path):
    track = acted_track(tiny_head)
    files = export(track, tiny_head, str(tmp_path / "a.obj"), ExportConfig(frame=3))
    assert [file.name for file in files] == ["a.mtl", "a.png", "a.obj"]
    points, faces, uv, uv_faces = read_obj(files[2])
    motion = scene_of(track).motion(track)
    ours = HeadModel(tiny_head)(track.params(3)).numpy() * motion.scale[3] + motion.translation[3]
    np.testing.assert_allclose(points, ours, atol=2e-6)
    np.testing.assert_array_equal(faces, tiny_head.faces)
    np.testing.assert_allclose(uv[uv_faces], tiny_head.uv[tiny_head.uv_faces], atol=1e-6)
    assert "mtllib a.mtl" in files[2].read_text()
    assert "map_Kd a.png" in files[0].read_text()
    assert read_image(files[1]).std() > 5


def test_a_sequence_is_numbered_by_the_videos_frames(tiny_head, tmp_path):
    track = acted_track(tiny_head, frames=3, faces=2)
    files = export(track, tiny_head, str(tmp_path / "a.ply"), ExportConfig())
    names = [file.name for file in files]
    others = ["a.face1.00001.ply", "a.face1.00002.ply"]
    assert names == ["a.face0.00000.ply", "a.face0.00001.ply", "a.face0.00002.ply", *others]
    with pytest.raises(ValueError, match="is in frames 0 to 2"):
        export(track, tiny_head, str(tmp_path / "a.ply"), ExportConfig(face=0, frame=7))


def test_ply_is_what_trimesh_reads(tiny_head, tmp_path):
    trimesh = pytest.importorskip("trimesh")
    track = acted_track(tiny_head)
    (path,) = export(track, tiny_head, str(tmp_path / "a.ply"), ExportConfig(frame=2, still=True))
    found = trimesh.load(path, process=False)
    np.testing.assert_allclose(found.vertices, HeadModel(tiny_head)(track.params(2)).numpy(), atol=1e-6)
    np.testing.assert_array_equal(found.faces, tiny_head.faces)
    assert np.asarray(found.visual.vertex_colors)[:, :3].std() > 5


def test_detail_is_dense_and_displaced(tiny_head):
    torch.manual_seed(0)
    config = DECAConfig("resnet18", shape=10, expression=8, albedo=5, detail=7)
    deca = DECA(tiny_head, config, uv_size=32).eval()
    track = acted_track(tiny_head, frames=2)
    track = replace(track, detail=np.ones((2, 7), np.float32))
    maps = maps_of(track, tiny_head, deca)
    assert maps is not None and maps.normal is not None
    solid = Sculptor(track, tiny_head, scene_of(track), maps.colour, deca).solid(1)
    coarse = Sculptor(track, tiny_head, scene_of(track), maps.colour).solid(1)
    assert len(solid.faces) == 16 * len(coarse.faces) == len(solid.uv_faces)
    assert solid.colours is not None and solid.uv is not None
    # Every corner of a dense triangle has the texture of the coarse triangle that it lies in.
    corner = coarse.uv[coarse.uv_faces].repeat(16, axis=0)
    inside = solid.uv[solid.uv_faces]
    assert (inside.min(1) >= corner.min(1) - 1e-6).all() and (inside.max(1) <= corner.max(1) + 1e-6).all()
    nearest = np.linalg.norm(solid.points[:, None] - coarse.points[None], axis=-1).min(1)
    assert nearest.max() < 0.03


# The folder for Gaussian avatars


def test_the_folder_shows_the_head_where_the_video_does(tiny_head, tmp_path):
    bare = replace(tiny_head, expression_names=(), expression_range=None)
    track = replace(acted_track(bare), head="flame")
    notes: list[str] = []
    files = export(track, bare, f"{tmp_path}/out/", ExportConfig(distance=40.0), notes.append)
    assert files[0].name == "transforms.json"
    assert len(notes) == 1 and "give it with --video" in notes[0]
    told = json.loads(files[0].read_text())
    assert len(told["frames"]) == len(track)
    head = HeadModel(bare)
    for row, entry in enumerate(told["frames"]):
        with np.load(tmp_path / "out" / entry["flame_param_path"], allow_pickle=False) as file:
            values = dict(file)
        assert {key: value.shape for key, value in values.items()} == {
            **dict.fromkeys(("translation", "rotation", "neck_pose", "jaw_pose"), (1, 3)),
            "eyes_pose": (1, 6),
            "shape": (300,),
            "expr": (1, 100),
            "static_offset": (1, len(bare.template), 3),
        }
        np.testing.assert_allclose(values["expr"][0, :8], track.expression[row], atol=1e-7)
        world = head(track.params(row)).numpy() + values["translation"][0]
        seen = np.linalg.inv(entry["transform_matrix"]) @ np.vstack([world.T, np.ones(len(world))])
        u = entry["cx"] + entry["fl_x"] * seen[0] / -seen[2]
        v = entry["cy"] - entry["fl_y"] * seen[1] / -seen[2]
        s, tx, ty = track.camera[row]
        ours = head(track.params(row)).numpy()
        assert np.abs(u - (s * ours[:, 0] + tx)).max() < 0.5  # px: at 40 m there is hardly any perspective
        assert np.abs(v - (ty - s * ours[:, 1])).max() < 0.5
    train, test = (json.loads((tmp_path / "out" / f"transforms_{k}.json").read_text()) for k in ("train", "test"))
    assert train["frames"] + test["frames"] == told["frames"]


def test_frames_and_masks_come_from_the_video(tiny_head, tmp_path):
    track = acted_track(tiny_head, frames=3)
    track.landmarks[:] = np.random.default_rng(0).uniform(60, 180, (68, 2))
    video = tmp_path / "v.mp4"
    with VideoWriter(video, track.size, 25) as writer:
        for index in range(4):
            writer.write(np.full((track.size[1], track.size[0], 3), 40 + 40 * index, np.uint8))
    export(track, tiny_head, f"{tmp_path}/out/", ExportConfig(video=video))
    for index in range(3):
        picture = read_image(tmp_path / "out" / "images" / f"{index:05d}_00.png")
        assert abs(picture.mean() - (40 + 40 * index)) < 4
        mask = read_image(tmp_path / "out" / "fg_masks" / f"{index:05d}_00.png")
        assert mask.shape == picture.shape
        assert mask[:, 300:].max() == 0  # far from the face nobody is looked for
    with pytest.raises(ValueError, match="ends before frame"):
        export(acted_track(tiny_head, frames=9), tiny_head, f"{tmp_path}/b/", ExportConfig(video=video))


# Heads without names


def disguised(openhead: HeadAsset, seed: int = 3) -> HeadAsset:
    """openhead a tenth larger, its units mixed into directions without names: what a mapping must see through."""
    rng = np.random.default_rng(seed)
    mix, _ = np.linalg.qr(rng.normal(size=(50, 50)))
    scale = 1.1
    return replace(
        openhead,
        name="mixed",
        digest="0" * 64,
        template=openhead.template * scale,
        shapedirs=openhead.shapedirs * scale,
        posedirs=openhead.posedirs * scale,
        exprdirs=(openhead.exprdirs @ mix * scale).astype(np.float32),
        expression_names=(),
        expression_range=None,
    )


def test_units_are_found_again_in_a_head_without_names(openhead):
    error = measure(Mapping.between(disguised(openhead), openhead), samples=60)
    assert error.unit.mean() < 0.15 * error.spread.mean()
    assert error.landmarks < 0.2e-3


def test_a_track_without_names_becomes_a_recording(openhead, tmp_path):
    mixed = disguised(openhead)
    track = replace(acted_track(mixed, frames=3), head="mixed:0")
    (path,) = export(track, mixed, str(tmp_path / "a.csv"), ExportConfig())
    values = read_livelink(path, 25.0).values
    assert values[:, :52].min() >= 0 and values[:, :52].max() <= 1
    np.testing.assert_allclose(values[:, UNITS.index("jawOpen")], np.minimum(track.jaw[:, 0] / JAW_OPEN, 1), atol=0.02)
    with pytest.raises(ValueError, match="no landmarks"):
        Mapping.between(replace(mixed, landmarks=None), openhead)


def test_openheads_units_move_its_landmarks_as_its_head_does(openhead):
    """The mapping's own landmarks are those of `model.landmarks`."""
    track = acted_track(openhead, frames=2)
    track = replace(track, pose=0 * track.pose, neck=0 * track.neck, eyes=0 * track.eyes, shape=0 * track.shape)
    target = Mapping.between(openhead, openhead).target
    params = track.params(dtype=torch.float64)
    head = HeadModel(openhead).double()
    marks = HeadLandmarks(head)
    ours = marks.ibug68_fixed(params) - marks.ibug68_fixed(head.neutral())
    found = target.moved(params.expression, params.jaw).unflatten(1, (68, 3))
    np.testing.assert_allclose(found.numpy(), ours.numpy(), atol=1e-7)


# The command


@pytest.fixture(scope="module")
def saved(openhead, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "talk.npz"
    acted_track(openhead, frames=3, faces=2).save(path)
    return path


def test_the_command_writes_and_says_so(saved, tmp_path, capsys):
    assert main(["export", str(saved), "--to", str(tmp_path / "a.csv")]) == 0
    assert "a.face0.csv and 1 more: 2 face(s)" in capsys.readouterr().out
    assert main(["export", str(saved), "--to", str(tmp_path / "a.obj"), "--face", "1", "--frame", "2"]) == 0
    assert (tmp_path / "a.obj").is_file()


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--to", "a.gltb"], "did you mean .glb?"),
        (["--to", "a"], "a folder: NAME/"),
        (["--to", "a.glb", "--frame", "1"], "--frame: has no meaning for a.glb"),
        (["--to", "a.obj", "--video", "x.mp4"], "--video: has no meaning"),
        (["--to", "a.glb", "--distance", "0"], "--distance 0"),
        (["--to", "a.glb", "--face", "5"], "no face 5"),
        (["--to", "a.glb", "--head", "nix.npz"], "nix.npz"),
        (["--to", "a.ply", "--detail"], "no detail codes"),
        (["--to", "a.glb", "--texture", "nix.png"], "nix.png: no such file"),
        (["--to", "a.glb", "--fame", "1"], "did you mean --frame?"),
    ],
)
def test_mistakes_end_in_one_line(saved, capsys, argv, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["export", str(saved), *argv]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and words in error, error
    assert list(tmp_path.iterdir()) == []


def test_another_head_has_to_be_given(tmp_path, capsys):
    head = small_head()
    digest = save_head(head, tmp_path / "tiny.npz")
    track: Track = replace(acted_track(head, frames=2), head=f"tiny:{digest[:12]}")
    track.save(tmp_path / "a.npz")
    argv = ["export", str(tmp_path / "a.npz"), "--to", str(tmp_path / "a.glb")]
    assert main(argv) == 2
    assert "give it with --head PATH" in capsys.readouterr().err
    assert main([*argv, "--head", "openhead"]) == 2
    assert "give its own with --head PATH" in capsys.readouterr().err
    assert main([*argv, "--head", str(tmp_path / "tiny.npz")]) == 0


def test_names_of_exports_besides(tmp_path):
    result = tmp_path / "talk.npz"
    assert destination(".glb", result) == str(tmp_path / "talk.glb")
    assert destination("/", result) == str(tmp_path / "talk") + "/"
    assert destination("other.usda", result) == "other.usda"
    check_exports([".glb", ".csv"], [result, tmp_path / "b.npz"])
    with pytest.raises(ValueError, match="one name for 2 results"):
        check_exports(["a.glb"], [result, tmp_path / "b.npz"])
    with pytest.raises(ValueError, match="the result goes to s3://"):
        destination(".glb", "s3://bucket/talk.npz")
    assert format_of(f"{tmp_path}/new/") == "/"
