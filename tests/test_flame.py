"""FLAME's files become a head, whichever release they are of; what is missing is named, with where to find it."""

import dataclasses
import pickle
from pathlib import Path

import numpy as np
import pytest
from flame_files import chumpy, flame_fields, write_bfm_albedo, write_flame

from model.asset import HeadAsset
from model.head import HeadModel
from model.io.assets import load_head, save_head
from model.io.flame import load_flame


def test_a_folder_becomes_a_head(tiny_head: HeadAsset, tmp_path: Path) -> None:
    write_flame(tmp_path / "f", tiny_head)
    head = load_head(tmp_path / "f")
    assert head.name == "flame-2020" and len(head.digest) == 64
    fields = flame_fields(tiny_head)
    np.testing.assert_allclose(head.template, fields["v_template"], atol=1e-8)
    np.testing.assert_allclose(head.shapedirs, fields["shapedirs"][..., :100], atol=1e-8)
    np.testing.assert_allclose(head.exprdirs, fields["shapedirs"][..., 300:350], atol=1e-8)
    np.testing.assert_allclose(head.joint_regressor, tiny_head.joint_regressor, atol=1e-7)
    np.testing.assert_array_equal(head.parents, [-1, 0, 1, 1, 1])
    assert head.landmarks is not None and tiny_head.landmarks is not None
    np.testing.assert_array_equal(head.landmarks.contour.face, tiny_head.landmarks.contour.face)
    np.testing.assert_array_equal(head.landmarks.full68.face, tiny_head.landmarks.full68.face)
    np.testing.assert_array_equal(head.uv_faces, tiny_head.uv_faces)
    np.testing.assert_allclose(head.uv, tiny_head.uv, atol=1e-7)
    # The picture has 512 rows, DECA's maps 256; row 0 stays row 0.
    assert head.uv_masks["face_eye"].shape == (256, 256)
    assert head.uv_masks["face_eye"][50:150, 50:200].min() == 1 and head.uv_masks["face_eye"].sum() == 100 * 150
    assert head.fixed_displacement is not None and head.fixed_displacement.shape == (256, 256)
    # Without FLAME_masks.pkl the eyeballs are what hangs on their joints.
    np.testing.assert_array_equal(head.regions["left_eye"], tiny_head.regions["left_eye"])


def test_a_head_from_a_folder_survives_its_own_file(tiny_head: HeadAsset, tmp_path: Path) -> None:
    write_flame(tmp_path / "f", tiny_head)
    head = load_head(tmp_path / "f")
    assert save_head(head, tmp_path / "h.npz") == head.digest == load_head(tmp_path / "h.npz").digest


def test_chumpy_arrays_give_the_same_head(tiny_head: HeadAsset, tmp_path: Path) -> None:
    plain = load_head(write_flame(tmp_path / "f", tiny_head))
    with chumpy() as ch:
        fields = {
            key: ch(value) if key in ("v_template", "shapedirs", "posedirs", "weights") else value
            for key, value in flame_fields(tiny_head).items()
        }
        (tmp_path / "f" / "generic_model_chumpy.pkl").write_bytes(pickle.dumps(fields, protocol=2))
    wrapped = load_head(tmp_path / "f" / "generic_model_chumpy.pkl")
    assert wrapped.digest == plain.digest
    assert load_head(tmp_path / "f").digest == plain.digest  # of two models the one with a known name


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("flame2023.pkl", "flame-2023"),
        ("flame2023_Open.pkl", "flame-2023-open"),
        ("mine.pkl", "flame"),
    ],
)
def test_the_release_is_named(tiny_head: HeadAsset, tmp_path: Path, file: str, name: str) -> None:
    write_flame(tmp_path / "f", tiny_head, file)
    assert load_head(tmp_path / "f").name == name


def test_a_model_without_a_jaw(tiny_head: HeadAsset, tmp_path: Path) -> None:
    write_flame(tmp_path / "f", tiny_head, "flame2023_no_jaw.pkl", joints=4)
    asset = load_head(tmp_path / "f")
    assert asset.name == "flame-2023-no-jaw" and asset.weights.shape[1] == 5
    head = HeadModel(asset)
    neutral = head.neutral()
    turned = dataclasses.replace(neutral, jaw=neutral.jaw + 0.3)
    np.testing.assert_allclose(head(turned), head(neutral), atol=1e-7)
    looking = dataclasses.replace(neutral, eyes=neutral.eyes + 0.3)
    eye = asset.regions["left_eye"] > 0
    assert np.abs(head(looking) - head(neutral)).numpy()[eye].max() > 1e-3


def test_albedo_of_bfm_is_turned_to_rgb_and_resized(tiny_head: HeadAsset, tmp_path: Path) -> None:
    write_flame(tmp_path / "f", tiny_head)
    assert load_flame(tmp_path / "f").albedo_mean is None
    mean, basis = write_bfm_albedo(tmp_path / "f")
    head = load_flame(tmp_path / "f")
    assert head.albedo_mean is not None and head.albedo_basis is not None
    assert head.albedo_mean.shape == (256, 256, 3) and head.albedo_basis.shape == (50, 256, 256, 3)
    np.testing.assert_allclose(head.albedo_mean[::64, ::64, ::-1].reshape(-1), mean, rtol=1e-6)
    np.testing.assert_allclose(head.albedo_basis[7, ::64, ::64, ::-1].reshape(-1), basis[:, 7], rtol=1e-6)


def test_flames_own_texture_space_brings_its_layout(tiny_head: HeadAsset, tmp_path: Path) -> None:
    write_flame(tmp_path / "f", tiny_head)
    (tmp_path / "f" / "head_template.obj").unlink()
    assert load_flame(tmp_path / "f").uv is None
    rng = np.random.default_rng(0)
    mean, basis = rng.uniform(0, 255, (4, 4, 3)), rng.normal(size=(4, 4, 3, 200))
    np.savez(tmp_path / "f" / "FLAME_texture.npz", mean=mean, tex_dir=basis, vt=tiny_head.uv, ft=tiny_head.uv_faces)
    head = load_flame(tmp_path / "f")
    np.testing.assert_array_equal(head.uv_faces, tiny_head.uv_faces)
    assert head.albedo_mean is not None and head.albedo_basis is not None
    np.testing.assert_allclose(head.albedo_mean[::64, ::64], mean[..., ::-1] / 255, rtol=1e-5)
    np.testing.assert_allclose(head.albedo_basis[3, ::64, ::64], basis[..., ::-1, 3] / 255, rtol=1e-5, atol=1e-8)


def test_vertex_masks(tiny_head: HeadAsset, tmp_path: Path) -> None:
    write_flame(tmp_path / "f", tiny_head)
    names = ("face", "lips", "scalp", "left_eyeball", "right_eyeball")
    masks = {name: np.arange(k * 10, k * 10 + 10) for k, name in enumerate(names)}
    (tmp_path / "f" / "FLAME_masks.pkl").write_bytes(pickle.dumps(masks, protocol=2))
    head = load_head(tmp_path / "f")
    assert set(np.flatnonzero(head.regions["lips"])) == set(range(10, 20))
    del masks["lips"]
    (tmp_path / "f" / "FLAME_masks.pkl").write_bytes(pickle.dumps(masks, protocol=2))
    with pytest.raises(ValueError, match=r"without the region lips.*flame\.is\.tue\.mpg\.de"):
        load_head(tmp_path / "f")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: (f / "generic_model.pkl").unlink(), r"generic_model\.pkl is missing.*flame\.is\.tue\.mpg\.de"),
        (lambda f: (f / "landmark_embedding.npy").unlink(), r"landmark_embedding\.npy is missing.*DECA"),
        (lambda f: (f / "flame2023.pkl").write_bytes(b""), "several models"),
        (lambda f: (f / "generic_model.pkl").write_bytes(b"hello"), "damaged pickle"),
        (
            lambda f: (f / "generic_model.pkl").write_bytes(pickle.dumps({"f": 1})),
            "without v_template",
        ),
        (lambda f: (f / "head_template.obj").write_text("f 1 2 3"), "not a triangle with texture vertices"),
        (
            lambda f: (f / "head_template.obj").write_text("vt 0 0\nf 1/1 2/1 3/1"),
            "are not those of the model",
        ),
        (lambda f: (f / "uv_face_mask.png").write_bytes(b"hello"), "not a picture"),
        (lambda f: (f / "FLAME_albedo_from_BFM.npz").write_bytes(b"hello"), "not an .npz"),
        (lambda f: np.savez(f / "FLAME_albedo_from_BFM.npz", MU=np.ones(7)), "without PC"),
        (lambda f: np.savez(f / "FLAME_albedo_from_BFM.npz", MU=np.ones(7), PC=np.ones((7, 60))), "square RGB"),
    ],
)
def test_what_is_wrong_is_one_clear_line(tiny_head: HeadAsset, tmp_path: Path, change, message: str) -> None:
    write_flame(tmp_path / "f", tiny_head)
    change(tmp_path / "f")
    with pytest.raises(ValueError, match=message) as error:
        load_head(tmp_path / "f")
    assert "\n" not in str(error.value)


def test_unknown_joints_are_refused(tiny_head: HeadAsset, tmp_path: Path) -> None:
    path = write_flame(tmp_path / "f", tiny_head)
    fields = flame_fields(tiny_head)
    fields["kintree_table"] = np.array([[-1, 0, 1], [0, 1, 2]])
    path.write_bytes(pickle.dumps(fields, protocol=2))
    with pytest.raises(ValueError, match="3 joints with parents"):
        load_head(path)


def test_too_many_directions(tiny_head: HeadAsset, tmp_path: Path) -> None:
    path = write_flame(tmp_path / "f", tiny_head)
    with pytest.raises(ValueError, match="has 400 columns"):
        load_flame(path, expression=101)


def test_no_such_path(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such file or folder"):
        load_flame(tmp_path / "nothing")
