"""The network on faces as frames go by: order, batches, what is kept, and who a person is from all of it."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
import torch

from model.asset import HeadAsset
from model.deca import DECA, DECAConfig
from model.errors import NetworkErrors
from model.head import HeadModel
from model.io.checkpoints import load_deca, read_checkpoint, save_checkpoint, shipped_weights, write_errors
from tracker.encode import DETAILED, EncoderThread, FaceEncoder, Spread, encode_photos, with_detail
from tracker.fit import Appearance
from tracker.identity import quality, robust_mean, weighted_median
from tracker.network import WHITE, open_network, overall
from tracker.observation import Detection, FaceCodes


@pytest.fixture(scope="module")
def deca(tiny_head: HeadAsset) -> DECA:
    torch.manual_seed(0)
    config = DECAConfig("keypoints", 10, 8, 5, 16, gaze=True, resolution=64)
    return DECA(tiny_head, config, 16).eval()


def faces(count: int) -> tuple[list[np.ndarray], list[Detection]]:
    """Pictures of noise, each with a face somewhere on it."""
    rng = np.random.default_rng(3)
    images = [rng.integers(0, 255, (90, 120, 3), np.uint8) for _ in range(count)]
    found = []
    for _ in range(count):
        points = rng.uniform(20, 70, 2) + rng.uniform(0, 30, (68, 2))
        found.append(Detection(points, "ibug68", float(rng.random()), np.r_[points.min(0), points.max(0)]))
    return images, found


def close(a: FaceCodes, b: FaceCodes) -> None:
    for field in fields(FaceCodes):
        np.testing.assert_allclose(getattr(a, field.name), getattr(b, field.name), rtol=1e-3, atol=1e-4)


def test_batches_of_any_size_give_the_same_codes_in_order(deca: DECA) -> None:
    images, found = faces(7)
    whole = encode_photos(deca, images, found, batch=7)
    assert len(whole) == 7 and whole.encoded.all() and whole.detailed.all() and np.ptp(whole.pose, 0).max() > 1e-6
    close(encode_photos(deca, images, found, batch=3), whole)
    with EncoderThread(deca) as eyes:
        encoder = FaceEncoder(eyes, 2)  # several faces in a frame
        for i in range(0, 6, 2):
            encoder.push(images[i], [found[i], found[i]], [0, 1])
        codes, kept = encoder.finish()
        assert FaceEncoder(eyes).finish()[0] is None
        assert codes is not None and not codes.detailed.any() and list(kept.rows) == list(range(6))
        codes = with_detail(codes, eyes, kept.rows, kept.images)
    close(codes.at(np.array([0, 2, 4])), whole.at(np.array([0, 2, 4])))
    np.testing.assert_array_equal(codes.shape[::2], codes.shape[1::2])


def test_of_every_stretch_of_a_face_the_best_crop_is_kept(deca: DECA) -> None:
    images, found = faces(12)
    owners = [i % 2 for i in range(12)]
    with EncoderThread(deca) as eyes:
        encoder = FaceEncoder(eyes, 5, stretch=4)
        for image, face, owner in zip(images, found, owners, strict=True):
            encoder.push(image, [face], [owner])
        codes, kept = encoder.finish()
    assert codes is not None
    score = quality(codes, np.array([face.confidence for face in found]), 64)
    stretches = [rows[i : i + 4] for rows in (np.arange(0, 12, 2), np.arange(1, 12, 2)) for i in (0, 4)]
    assert list(kept.rows) == sorted(int(rows[score[rows].argmax()]) for rows in stretches)
    np.testing.assert_array_equal(kept.scores, score[kept.rows])


def test_the_camera_is_that_of_the_frame(deca: DECA) -> None:
    """A face moved by whole pixels gives the same codes, and the camera moves with it."""
    images, found = faces(1)
    image = np.pad(images[0], ((100, 100), (100, 100), (0, 0)))
    moved = np.roll(image, (9, -14), axis=(0, 1))
    points = found[0].points + 100
    a, b = (Detection(p, "ibug68", 1.0, np.zeros(4)) for p in (points, points + np.array([-14, 9])))
    codes = encode_photos(deca, [image, moved], [a, b])
    np.testing.assert_allclose(codes.expression[0], codes.expression[1], atol=1e-5)
    np.testing.assert_allclose(codes.camera[1] - codes.camera[0], [0, -14, 9], atol=1e-2)


def test_the_best_of_every_stretch_is_kept() -> None:
    spread = Spread(8)
    scores = np.random.default_rng(1).random(100)
    for i, score in enumerate(scores):
        spread.add(float(score), i)
    stride = 16
    expected = [start + int(scores[start : start + stride].argmax()) for start in range(0, 100, stride)]
    assert spread.items == expected and 4 <= len(expected) <= 8
    assert DETAILED % 2 == 0
    few = Spread(8)
    for i in range(5):
        few.add(0.0, i)
    assert few.items == list(range(5))


def test_rows_that_are_not_there_are_not_encoded(deca: DECA) -> None:
    codes = encode_photos(deca, *faces(2)).at(np.array([1, -1, 0]))
    np.testing.assert_array_equal(codes.encoded, [True, False, True])
    assert not codes.shape[1].any() and not codes.camera[1].any() and codes.shape[0].any()


def test_robust_mean() -> None:
    rng = np.random.default_rng(0)
    values = 0.1 * rng.normal(size=(60, 10)) + np.arange(10)
    weight = rng.uniform(0.2, 1, 60)
    clean = robust_mean(values, weight)
    assert np.abs(clean - np.arange(10)).max() < 0.06
    order = rng.permutation(60)
    np.testing.assert_allclose(robust_mean(values[order], weight[order]), clean, rtol=1e-6)
    spoiled = values.copy()
    spoiled[:20] = 40 + rng.normal(size=(20, 10))
    assert np.abs(robust_mean(spoiled, weight) - np.arange(10)).max() < 0.12
    np.testing.assert_array_equal(robust_mean(spoiled, np.eye(60)[30]), spoiled[30].astype(np.float32))
    np.testing.assert_allclose(robust_mean(np.repeat(values[:1], 5, 0), np.ones(5)), values[0], rtol=1e-6)
    assert weighted_median(np.array([3.0, 1.0, 2.0]), np.array([1.0, 1.0, 9.0])) == 2


def test_quality_prefers_sure_large_faces_that_look_ahead(deca: DECA) -> None:
    codes = encode_photos(deca, *faces(5))
    codes.pose[:], codes.size[:] = 0, 80
    codes.pose[1], codes.size[2], codes.encoded[4] = [0, 1.2, 0], 20, False
    confidence = np.array([1, 1, 1, 0.5, 1])
    score = quality(codes, confidence, 64)
    assert score[0] == 1 and score[4] == 0 and (score[1:4] < 0.6).all() and (score[1:4] > 0).all()


def test_a_face_without_appearance_is_plain() -> None:
    rng = np.random.default_rng(0)
    known = Appearance(*(rng.normal(size=size).astype(np.float32) for size in ((3, 5), (3, 9, 3), (3, 6))))
    both = overall([None, known], [2, 3])
    assert both is not None and overall([None], [4]) is None
    np.testing.assert_array_equal(both.light[2:], known.light)
    assert (both.light[:2, 0] == np.float32(WHITE)).all() and not both.albedo[:2].any() and not both.detail[:2].any()


def test_weights_by_name(tiny_head: HeadAsset, deca: DECA, tmp_path) -> None:
    head = HeadModel(tiny_head)
    assert open_network("none", head) is None
    assert shipped_weights(tiny_head) is None and open_network("embedded", head) is None  # none come for this head
    with pytest.raises(ValueError, match="--weights open: no such weights come"):
        open_network("open", head)
    with pytest.raises(ValueError, match=r"nix\.safetensors: no such file"):
        open_network("nix.safetensors", head)
    path = tmp_path / "w.safetensors"
    save_checkpoint(deca, path, torch.float16)
    network = open_network(str(path), head)
    assert network is not None and network.resolution == 64 and not network.deca.training


def test_errors_travel_in_the_weights_file(tiny_head: HeadAsset, deca: DECA, tmp_path) -> None:
    path = tmp_path / "w.safetensors"
    save_checkpoint(deca, path, torch.float16)
    before, size = read_checkpoint(path), path.stat().st_size
    assert before.errors is None
    errors = NetworkErrors.unmeasured(10, 8)
    errors.face[1] *= 0.123456
    write_errors(path, errors)
    after = read_checkpoint(path)
    assert after.errors is not None and path.stat().st_size < 1.2 * size
    for field in fields(NetworkErrors):
        np.testing.assert_allclose(getattr(after.errors, field.name), getattr(errors, field.name), rtol=1e-3)
    assert all(torch.equal(value, after.state[key]) for key, value in before.state.items())
    load_deca(path, tiny_head, 16)
    with pytest.raises(ValueError, match="errors are written into"):
        write_errors(tmp_path / "nix.safetensors", errors)
