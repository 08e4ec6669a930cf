"""Heads on disk: what is saved is loaded, the same bytes twice, and a bad file is named."""

import dataclasses

import numpy as np
import pytest

from model.asset import HeadAsset
from model.io.assets import load_head, save_head


def same(a, b) -> bool:
    if dataclasses.is_dataclass(a):
        names = [f.name for f in dataclasses.fields(a) if f.name != "digest"]
        return all(same(getattr(a, name), getattr(b, name)) for name in names)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    return np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b


def test_round_trip(tiny_head: HeadAsset, tmp_path) -> None:
    digest = save_head(tiny_head, tmp_path / "head.npz")
    loaded = load_head(tmp_path / "head.npz")
    assert same(tiny_head, loaded)
    assert loaded.digest == digest and len(digest) == 64
    assert loaded.template.dtype == np.float32 and loaded.faces.dtype == np.int64


def test_same_head_same_bytes(tiny_head: HeadAsset, tmp_path) -> None:
    save_head(tiny_head, tmp_path / "a.npz")
    reordered = dataclasses.replace(tiny_head, regions=dict(reversed(tiny_head.regions.items())))
    save_head(reordered, tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.npz", "b.npz"]


def test_digest_follows_the_content(tiny_head: HeadAsset, tmp_path) -> None:
    other = dataclasses.replace(tiny_head, template=tiny_head.template + np.float32(1e-6))
    assert save_head(tiny_head, tmp_path / "a.npz") != save_head(other, tmp_path / "b.npz")


def test_half_precision_is_kept_on_disk(tiny_head: HeadAsset, tmp_path) -> None:
    half = dataclasses.replace(
        tiny_head, shapedirs=tiny_head.shapedirs.astype(np.float16), weights=tiny_head.weights.astype(np.float16)
    )
    save_head(half, tmp_path / "half.npz")
    with np.load(tmp_path / "half.npz") as archive:
        assert archive["shapedirs"].dtype == np.float16
    loaded = load_head(tmp_path / "half.npz")
    assert loaded.shapedirs.dtype == np.float32
    np.testing.assert_array_equal(loaded.shapedirs, half.shapedirs)
    np.testing.assert_allclose(loaded.weights.sum(1), 1, atol=1e-6)


def test_a_minimal_head(tiny_head: HeadAsset, tmp_path) -> None:
    bare = dataclasses.replace(
        tiny_head,
        expression_names=(),
        expression_range=None,
        uv=None,
        uv_faces=None,
        regions={},
        landmarks=None,
        albedo_mean=None,
        albedo_basis=None,
        uv_masks={},
        fixed_displacement=None,
    )
    save_head(bare, tmp_path / "bare.npz")
    assert same(bare, load_head(tmp_path / "bare.npz"))


def test_a_failed_write_leaves_the_old_file(tiny_head: HeadAsset, tmp_path) -> None:
    path = tmp_path / "head.npz"
    save_head(tiny_head, path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="indices from 0 to 99999"):
        save_head(dataclasses.replace(tiny_head, faces=np.where(tiny_head.faces == 3, 99999, tiny_head.faces)), path)
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": None}, "array 'weights' is missing"),
        (
            {"shapedirs": np.zeros((3, 3, 10), np.float32)},
            r"'shapedirs' has shape \(3, 3, 10\), expected \(V=\d+, 3, S",
        ),
        ({"template": np.float32("nan")}, "'template' has values that are not finite"),
        ({"weights": np.float32(0.5)}, "rows of 'weights' do not sum to one"),
        ({"faces": np.float32(0)}, "'faces' has type float32, expected integers"),
        ({"parents": np.array([0, 0, 1, 1, 1], np.int32)}, "'parents' is"),
        ({"uv_faces": None}, "'uv' and 'uv_faces' belong together"),
        ({"uv_mask/face_eye": np.zeros(3, np.float32)}, r"'uv_mask/face_eye' has shape \(3,\)"),
        ({"surprise": np.zeros(3)}, "unknown array 'surprise'"),
        ({"schema": np.array("decatrack-head/9")}, "schema is decatrack-head/9, expected decatrack-head/1"),
        ({"landmarks/static51/face": np.int32(10**6)}, "'landmarks/static51/face' has indices"),
        ({"expression_names": np.array(["one"])}, "1 expression names for 8 expression directions"),
        ({"name": np.array([object()])}, "not a head file"),
    ],
)
def test_a_bad_file_is_one_clear_line(tiny_head: HeadAsset, tmp_path, change: dict, message: str) -> None:
    save_head(tiny_head, tmp_path / "good.npz")
    with np.load(tmp_path / "good.npz") as archive:
        arrays = {key: archive[key] for key in archive.files}
    for key, value in change.items():
        if value is None:
            del arrays[key]
        else:
            arrays[key] = np.full(arrays[key].shape, value) if np.ndim(value) == 0 and key in arrays else value
            if np.ndim(value) == 0 and key == "schema":
                arrays[key] = value
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(ValueError, match=message) as error:
        load_head(tmp_path / "bad.npz")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 cut"])
def test_not_a_head_file(tmp_path, content: bytes) -> None:
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"x\.npz: not a head file"):
        load_head(tmp_path / "x.npz")


def test_no_such_file(tmp_path) -> None:
    with pytest.raises(ValueError, match="no such file"):
        load_head(tmp_path / "nothing.npz")
