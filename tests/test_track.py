"""Track ↔ params.npz: round trips, checks, conversion to tensors."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from model.head import HeadModel
from tracker.track import SCHEMA, Track, load_track


def make_track(rows=(5, 3), head="openhead-1:0123abcd", seed=0, **changes) -> Track:
    """Two faces (or as many as `rows` has entries) with random values in the schema's ranges."""
    rng = np.random.default_rng(seed)
    n = sum(rows)
    face = np.repeat(np.arange(len(rows)), rows)
    frame = np.concatenate([np.arange(r) + 2 * i for i, r in enumerate(rows)])
    corner = rng.uniform(0, 200, (n, 2))
    values = {
        "head": head,
        "video": "talk.mp4",
        "fps": 25.0,
        "size": (640, 360),
        "face": face,
        "frame": frame,
        "time": frame / 25.0,
        "shot": np.zeros(n, int),
        "valid": rng.random(n) > 0.2,
        "confidence": rng.random(n).astype(np.float32),
        "shape": rng.normal(size=(len(rows), 10)).astype(np.float32)[face],
        "expression": rng.random((n, 8)).astype(np.float32),
        "pose": rng.normal(size=(n, 3)).astype(np.float32),
        "neck": np.zeros((n, 3), np.float32),
        "jaw": (rng.random((n, 3)) * (0.3, 0.01, 0.01)).astype(np.float32),
        "eyes": (rng.normal(size=(n, 6)) * 0.1).astype(np.float32),
        "camera": np.column_stack([rng.uniform(500, 1500, n), rng.uniform(0, 640, (n, 2))]).astype(np.float32),
        "landmarks": rng.uniform(0, 640, (n, 68, 2)).astype(np.float32),
        "box": np.concatenate([corner, corner + 100], 1).astype(np.float32),
        "expression_names": tuple(f"unit{i}" for i in range(8)),
    }
    return Track(**(values | changes))


def same(a: Track, b: Track) -> bool:
    pairs = [(getattr(a, f.name), getattr(b, f.name)) for f in fields(Track)]
    return all(np.array_equal(x, y) if isinstance(x, np.ndarray) else x == y for x, y in pairs)


@pytest.mark.parametrize("extras", [False, True])
def test_round_trip(tmp_path, extras):
    track = make_track()
    if extras:
        rng = np.random.default_rng(1)
        n = len(track)
        track = replace(
            track,
            albedo=rng.normal(size=(n, 50)).astype(np.float32),
            light=rng.normal(size=(n, 9, 3)).astype(np.float32),
            detail=rng.normal(size=(n, 128)).astype(np.float32),
        )
    track.save(tmp_path / "params.npz")
    assert same(load_track(tmp_path / "params.npz"), track)
    assert [p.name for p in tmp_path.iterdir()] == ["params.npz"]


def test_file_needs_no_pickle_and_follows_the_schema(tmp_path):
    track = make_track()
    track.save(tmp_path / "any name")  # the name is taken as given
    with np.load(tmp_path / "any name", allow_pickle=False) as file:
        data = dict(file)
    assert str(data["schema"]) == SCHEMA
    assert "albedo" not in data and "light" not in data and "detail" not in data
    assert data["camera"].dtype == np.float32 and data["time"].dtype == np.float64 and data["frame"].dtype == np.int32
    assert data["size"].tolist() == [640, 360] and data["expression_names"].tolist() == list(track.expression_names)


def test_unnamed_units_round_trip(tmp_path):
    track = make_track(head="flame2023:77", expression_names=())
    track = replace(track, expression=track.expression * 4 - 2)  # in standard deviations
    track.save(tmp_path / "p.npz")
    assert same(load_track(tmp_path / "p.npz"), track)


def test_later_keys_are_ignored(tmp_path):
    make_track().save(tmp_path / "p.npz")
    with np.load(tmp_path / "p.npz") as file:
        np.savez(tmp_path / "q.npz", **dict(file), something_new=np.arange(3))
    assert same(load_track(tmp_path / "q.npz"), make_track())


@pytest.mark.parametrize(
    "content",
    [b"", b"hello, I am text\n", b"PK\x03\x04 cut short", b"\x93NUMPY\x01\x00"],
    ids=["empty", "text", "zip", "npy"],
)
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "p.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"p\.npz: not a params\.npz, or damaged; make it again"):
        load_track(path)


def test_bare_array_pickle_and_missing_file_are_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(3))
    np.savez(tmp_path / "b.npz", schema=np.array({"not": "plain"}, dtype=object))
    for name in ("a.npy", "b.npz"):
        with pytest.raises(ValueError, match=f"{name}: not a params"):
            load_track(tmp_path / name)
    with pytest.raises(ValueError, match=r"c\.npz: no such track"):
        load_track(tmp_path / "c.npz")


def test_damaged_file_is_refused(tmp_path):
    path = tmp_path / "p.npz"
    make_track().save(path)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match="damaged"):
        load_track(path)
    middle = len(data) // 2
    path.write_bytes(data[:middle] + bytes(b ^ 255 for b in data[middle : middle + 40]) + data[middle + 40 :])
    with pytest.raises(ValueError, match="damaged"):
        load_track(path)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"schema": np.array("decatrack/9")}, "schema is decatrack/9, this version reads decatrack/1"),
        ({"schema": None}, "schema is none"),
        ({"pose": None, "jaw": None}, "lacks pose, jaw"),
        ({"pose": np.zeros((8, 4), np.float32)}, r"pose must have the shape \(T=8, 3\), got \(8, 4\)"),
        ({"frame": np.arange(7)}, "frame must have the shape"),
        ({"frame": np.arange(8.0)}, "frame must hold whole numbers, got float64"),
        ({"valid": np.ones(8)}, "valid must hold booleans"),
        ({"jaw": np.zeros((8, 3), np.int64)}, "jaw must hold floating-point numbers"),
        ({"expression_names": np.array(["a"])}, "expression_names must have the shape"),
        ({"confidence": np.full(8, 2.0)}, r"confidence must lie in \[0, 1\], got 2 to 2"),
    ],
)
def test_broken_files_are_refused_with_the_reason(tmp_path, change, message):
    make_track().save(tmp_path / "p.npz")
    with np.load(tmp_path / "p.npz") as file:
        data = {k: v for k, v in (dict(file) | change).items() if v is not None}
    np.savez(tmp_path / "q.npz", **data)
    with pytest.raises(ValueError, match=message) as caught:
        load_track(tmp_path / "q.npz")
    assert "q.npz" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name, row, value, message",
    [
        ("pose", 2, np.nan, "pose is not finite in row 2"),
        ("pose", 2, 90.0, "axis-angle in radians"),
        ("expression", 1, 1.5, "expression of openhead must lie in"),
        ("camera", 1, -3.0, "scale of the camera must be positive"),
        ("frame", 2, 1, "ascending frames"),
        ("time", 2, -1.0, "must not go back"),
        ("face", 0, 1, "sorted by face"),
        ("shot", 3, -1, "shot must not be negative"),
        ("shape", 3, 0.0, "shape must be the same"),
        ("box", 0, [9.0, 0.0, 3.0, 4.0], "box must be"),
    ],
)
def test_values_are_checked_before_anything_is_written(tmp_path, name, row, value, message):
    track = make_track()
    array = getattr(track, name).copy()
    array[row] = value
    with pytest.raises(ValueError, match=message):
        replace(track, **{name: array}).save(tmp_path / "p.npz")
    assert not list(tmp_path.iterdir())


def test_flame_codes_are_not_held_to_the_units_of_openhead(tmp_path):
    track = make_track(head="flame2020:11")
    replace(track, expression=track.expression - 3).save(tmp_path / "p.npz")
    assert load_track(tmp_path / "p.npz").expression.min() < -2


def test_failed_writing_leaves_nothing_and_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "p.npz"
    make_track().save(path)
    before = path.read_bytes()

    def full(file, **_):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(ValueError, match="No space left on device"):
        make_track(seed=3).save(path)
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["p.npz"]
    with pytest.raises(ValueError, match=r"cannot write .*No such file or directory; choose another place"):
        make_track().save(tmp_path / "absent" / "p.npz")


def test_faces_and_rows():
    track = make_track(rows=(4, 2, 3))
    assert track.faces == (0, 1, 2) and len(track) == 9
    second = track.of_face(1)
    assert len(second) == 2 and (second.face == 1).all() and second.landmarks.shape == (2, 68, 2)
    np.testing.assert_array_equal(second.pose, track.pose[4:6])
    assert same(track.select(slice(4, 6)), second)
    with pytest.raises(ValueError, match=r"no face 7; the track has the faces 0, 1, 2"):
        track.of_face(7)


def test_rows_pose_the_head(tiny_head):
    track = make_track(head="tiny:0")
    head = HeadModel(tiny_head)
    params, cameras = track.params(), track.cameras()
    vertices = head(params)
    assert vertices.shape == (8, len(tiny_head.template), 3) and params.pose.dtype == torch.float32
    one, camera = track.params(3), track.cameras(3)
    torch.testing.assert_close(head(one), vertices[3], rtol=1e-5, atol=1e-6)
    assert camera.s.shape == () and camera.t.shape == (2,)
    torch.testing.assert_close(cameras.t[3], camera.t)
    params.pose.zero_()  # tensors are copies: the track stays as it was
    assert np.abs(track.pose).max() > 0.1


def test_an_hour_is_small_on_disk(tmp_path):
    """The identity repeats on every row: compression takes it out."""
    track = make_track(rows=(2000,))
    track.save(tmp_path / "with.npz")
    wide = replace(track, shape=np.repeat(np.random.default_rng(0).normal(size=(1, 300)).astype(np.float32), 2000, 0))
    wide.save(tmp_path / "wide.npz")
    assert (tmp_path / "wide.npz").stat().st_size - (tmp_path / "with.npz").stat().st_size < 40_000
