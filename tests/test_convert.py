"""Older schemas go up step by step; other tools' codes keep their heads where they were in the picture."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch
from flame_files import write_flame
from scipy.spatial.transform import Rotation

from model.camera import project, project_crop
from model.crop import Crop, to_frame
from model.head import HeadModel
from model.io.assets import load_head
from model.landmarks import HeadLandmarks
from model.params import CropCamera, FaceParams
from tracker.commands import main
from tracker.convert.schema import STEPS, Step, upgraded
from tracker.track import SCHEMA, load_track

COUNT = 5


@pytest.fixture(scope="module")
def flame(tmp_path_factory, tiny_head) -> Path:
    return write_flame(tmp_path_factory.mktemp("flame") / "flame", tiny_head).parent


@pytest.fixture(scope="module")
def head(flame) -> HeadModel:
    return HeadModel(load_head(str(flame)))


def codes(seed: int = 0) -> dict[str, np.ndarray]:
    """As DECA gives them: a face that fills the crop."""
    rng = np.random.default_rng(seed)
    return {
        "shape": np.repeat(rng.normal(size=(1, 100)), COUNT, axis=0),
        "exp": rng.normal(size=(COUNT, 50)),
        "pose": rng.normal(size=(COUNT, 6)) * 0.2,
        "cam": np.array([8.0, 0.01, -0.02]) + rng.normal(size=(COUNT, 3)) * [0.3, 0.01, 0.01],
        "light": rng.normal(size=(COUNT, 9, 3)),
    }


def params_of(arrays: dict[str, np.ndarray], head: HeadModel) -> FaceParams:
    shape, exp, pose = (torch.from_numpy(arrays[name]).float() for name in ("shape", "exp", "pose"))
    zeros = torch.zeros(COUNT, 6)
    return FaceParams(shape, exp, pose[:, :3], zeros[:, :3], pose[:, 3:], zeros)


def convert(tmp_path: Path, file: Path, *options: str) -> int:
    return main(["convert", str(file), "--out", str(tmp_path / "new.npz"), *options])


def test_old_schemas_go_up_step_by_step():
    """Two schemas that never were: one with another name, one with degrees."""
    steps = (
        Step("decatrack/-1", "decatrack/0", lambda old: {"jaw": old["mouth"]}),
        Step("decatrack/0", SCHEMA, lambda old: {**old, "jaw": np.deg2rad(old["jaw"])}),
    )
    old = {"schema": np.array("decatrack/-1"), "mouth": np.array([90.0])}
    new = upgraded(old, "old.npz", steps)
    assert str(new["schema"]) == SCHEMA and set(new) == {"schema", "jaw"}
    np.testing.assert_allclose(new["jaw"], np.pi / 2)
    assert set(old) == {"schema", "mouth"}
    with pytest.raises(ValueError, match=r"nothing leads from decatrack/0 to decatrack/1; make it again"):
        upgraded(old, "old.npz", steps[:1])
    with pytest.raises(ValueError, match="nothing leads from a"):
        upgraded({"schema": np.array("a")}, "old.npz", (Step("a", "b", dict), Step("b", "a", dict)))
    with pytest.raises(ValueError, match="install a newer decatrack"):
        upgraded({"schema": np.array("decatrack/99")}, "new.npz")
    with pytest.raises(ValueError, match="names no schema"):
        upgraded({}, "x.npz")
    assert all(step.old != step.new for step in STEPS) and len({step.old for step in STEPS}) == len(STEPS)


def test_codes_of_deca_stay_where_they_were(tmp_path, flame, head, capsys):
    """The heads' landmarks in the frame are those of the crops, laid where the crops lay."""
    arrays = codes()
    rng = np.random.default_rng(1)
    centre, side = rng.uniform(300, 400, (COUNT, 2)), rng.uniform(180, 260, COUNT)
    scale = 224 / side
    tform = np.zeros((COUNT, 3, 3))
    tform[:, 0, 0] = tform[:, 1, 1] = scale
    tform[:, :2, 2] = -(centre - side[:, None] / 2) * scale[:, None]
    tform[:, 2, 2] = 1
    cam = torch.from_numpy(arrays["cam"]).float()
    points = project_crop(CropCamera(cam[:, 0], cam[:, 1:]), HeadLandmarks(head).ibug68(params_of(arrays, head)))
    crop = Crop(torch.from_numpy(centre).float(), torch.from_numpy(side).float())
    wanted = to_frame(crop, points[..., :2]).numpy()
    options = ("--head", str(flame), "--size", "1280,720", "--fps", "30")
    for name, content in (("a.npz", tform), ("b.npz", tform.transpose(0, 2, 1)), ("c.mat", tform)):
        file = tmp_path / name
        (scipy.io.savemat if name.endswith("mat") else lambda path, data: np.savez(path, **data))(
            file, {**arrays, "tform": content}
        )
        assert convert(tmp_path, file, *options) == 0
        track = load_track(tmp_path / "new.npz")
        np.testing.assert_allclose(track.landmarks, wanted, atol=0.02)
        np.testing.assert_allclose(track.jaw, arrays["pose"][:, 3:], atol=1e-6)
        np.testing.assert_allclose(track.light, arrays["light"], atol=1e-5)
        assert track.size == (1280, 720) and track.fps == 30 and track.time[1] == pytest.approx(1 / 30)
    np.savez(tmp_path / "d.npz", **arrays)
    assert convert(tmp_path, tmp_path / "d.npz", *options, "--crop", "350,360,224") == 0
    capsys.readouterr()


def test_an_avatars_track_stays_where_it_was(tmp_path, flame, head, capsys):
    """From far away a pinhole is nearly scaled-orthographic: the landmarks are those of the pinhole's picture."""
    rng = np.random.default_rng(2)
    arrays = {
        "shape": np.pad(rng.normal(size=100), (0, 200), constant_values=0.25),
        "expr": rng.normal(size=(COUNT, 50)),
        "rotation": rng.normal(size=(COUNT, 3)) * 0.3,
        "neck_pose": rng.normal(size=(COUNT, 3)) * 0.1,
        "jaw_pose": rng.normal(size=(COUNT, 3)) * 0.1,
        "eyes_pose": rng.normal(size=(COUNT, 6)) * 0.1,
        "translation": rng.normal(size=(COUNT, 3)) * 0.1,
        "static_offset": np.ones((1, 10, 3)),
    }
    T = np.tile(np.eye(4), (COUNT, 1, 1))
    turns = Rotation.from_rotvec(rng.normal(size=(COUNT, 3)) * 0.3)
    T[:, :3, :3] = turns.as_matrix()
    T[:, :3, 3] = turns.apply([0.1, 0.05, 2000.0])
    focal, cx, cy = 4_000_000.0, 250.0, 260.0
    frames = [
        {"timestep_index": i, "timestep_index_original": 2 * i, "transform_matrix": T[i].tolist()}
        for i in reversed(range(COUNT))
    ]
    transforms = {"fl_x": focal, "fl_y": focal, "cx": cx, "cy": cy, "w": 512, "h": 500, "frames": frames}
    (tmp_path / "transforms.json").write_text(json.dumps(transforms))
    np.savez(tmp_path / "avatar.npz", **arrays)
    options = ("--head", str(flame), "--transforms", str(tmp_path / "transforms.json"))
    assert convert(tmp_path, tmp_path / "avatar.npz", *options) == 0
    track = load_track(tmp_path / "new.npz")

    names = ("expr", "rotation", "neck_pose", "jaw_pose", "eyes_pose")
    said = capsys.readouterr().err
    assert "the last 200 of 300 are left out (up to 0.25 σ)" in said and "static_offset is left out" in said
    shape = np.repeat(arrays["shape"][None, :100], COUNT, axis=0)
    in_world = FaceParams(*(torch.from_numpy(a).float() for a in (shape, *(arrays[name] for name in names))))
    same = track.params()
    with torch.no_grad():
        vertices = head(in_world).numpy() + arrays["translation"][:, None]
        found = project(track.cameras(), head(same)).numpy()
    seen = (vertices - T[:, None, :3, 3]) @ T[:, :3, :3]
    wanted = np.stack([cx - focal * seen[..., 0] / seen[..., 2], cy + focal * seen[..., 1] / seen[..., 2]], axis=-1)
    assert np.ptp(wanted[0], axis=0).min() > 100  # the head fills the picture
    np.testing.assert_allclose(found, wanted, atol=0.1)  # a head is 0.2 m deep of 2000
    assert track.size == (512, 500) and track.frame.tolist() == list(range(0, 2 * COUNT, 2))
    capsys.readouterr()


def test_a_track_of_this_version_is_kept(tmp_path, flame, head, capsys):
    np.savez(tmp_path / "codes.npz", **codes())
    options = ("--head", str(flame), "--size", "640,480", "--crop", "320,240,200")
    assert convert(tmp_path, tmp_path / "codes.npz", *options) == 0
    first = load_track(tmp_path / "new.npz")
    (tmp_path / "new.npz").rename(tmp_path / "old.npz")
    assert convert(tmp_path, tmp_path / "old.npz") == 0
    again = load_track(tmp_path / "new.npz")
    for name in first._columns():
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name), err_msg=name)
    capsys.readouterr()


@pytest.mark.parametrize(
    ("content", "options", "complaint"),
    [
        ({}, (), "no such file"),
        ({"shape": 1}, (), "no schema, and neither codes"),
        ({"schema": np.array("decatrack/99")}, (), "install a newer decatrack"),
        (codes(), (), "give --size W,H"),
        (codes(), ("--size", "640,480"), "no tform"),
        (codes(), ("--size", "640,480", "--crop", "1,2,3"), "give --head FOLDER"),
        (codes(), ("--size", "640,480", "--crop", "1,2,3", "--head", "openhead"), "mean nothing to openhead"),
        (codes(), ("--size", "640x480"), "--size 640x480"),
        ({**codes(), "cam": np.zeros((COUNT, 4))}, ("--size", "640,480"), "cam has 4 numbers a frame, expected 3"),
        ({**codes(), "cam": np.array([{}])}, ("--size", "640,480"), "can run code"),
        ({"shape": 1, "expr": 1, "rotation": 1, "jaw_pose": 1, "translation": 1}, (), "give --transforms"),
    ],
)
def test_what_is_missing_is_named(tmp_path, capsys, content, options, complaint):
    file = tmp_path / "old.npz"
    if content:
        np.savez(file, **content)
    assert convert(tmp_path, file, *options) == 2
    error = capsys.readouterr().err
    assert complaint in error and error.count("\n") == 1
    assert not (tmp_path / "new.npz").exists()


def test_pickles_are_refused(tmp_path, capsys):
    file = tmp_path / "codes.pkl"
    file.write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    assert convert(tmp_path, file) == 2
    assert "can run code" in capsys.readouterr().err
