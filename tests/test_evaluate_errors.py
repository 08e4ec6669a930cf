"""How wrong a network is by yaw: figures of known errors, and the command that writes them."""

from __future__ import annotations

import numpy as np
import torch
from faces import labelled, write

from model.asset import HeadAsset
from model.deca import DECA, DECAConfig
from model.io.assets import save_head
from model.io.checkpoints import read_checkpoint, save_checkpoint
from training.evaluate.errors import Differences, main, measured


def test_figures_of_known_errors() -> None:
    rng = np.random.default_rng(0)
    n = 3000
    yaw = rng.uniform(0, 90, n)
    size = np.where(yaw < 30, 0.1, np.where(yaw < 60, 0.2, 0.4))[:, None]
    pose = size * rng.normal(size=(n, 3))
    pose[::50] = 3.0  # missed altogether
    known = 0.5 + 0.25 * rng.normal(size=(n, 9))
    found = Differences(
        yaw, pose, size * rng.normal(size=(n, 3)), size * rng.normal(size=(n, 9)), known,
        0.7 * rng.normal(size=(n, 4)), rng.normal(size=(n, 4)),
    )  # fmt: skip
    errors = measured(found)
    for i, expected in enumerate((0.1, 0.2, 0.4)):
        np.testing.assert_allclose(errors.pose[i], expected, rtol=0.15)
        np.testing.assert_allclose(errors.face[i], expected, rtol=0.1)
    np.testing.assert_allclose(errors.shape, 0.7, rtol=0.1)
    np.testing.assert_allclose(errors.face_mean, 0.5, atol=0.03)
    np.testing.assert_allclose(errors.face_spread, 0.25, rtol=0.1)
    few = measured(Differences(*(getattr(found, name)[yaw < 61] for name in Differences.__dataclass_fields__)))
    if (yaw[yaw < 61] > 60).sum() < 20:
        np.testing.assert_array_equal(few.pose[2], few.pose[1])
    assert np.isfinite(few.pose).all()


def test_the_command_writes_into_the_weights(tiny_head: HeadAsset, tmp_path, capsys) -> None:
    shards = write(tmp_path / "shards", [labelled(i, tiny_head) for i in range(24)])
    head, weights = tmp_path / "tiny.npz", tmp_path / "w.safetensors"
    save_head(tiny_head, head)
    torch.manual_seed(0)
    save_checkpoint(DECA(tiny_head, DECAConfig("keypoints", 10, 8, 5, 6, resolution=64), 16), weights)
    argv = [str(shards), "--weights", str(weights), "--head", str(head), "--faces", "24"]
    assert main(argv) == 0 and read_checkpoint(weights).errors is None
    assert main([*argv, "--write"]) == 0
    errors = read_checkpoint(weights).errors
    assert errors is not None and errors.shape.shape == (10,) and errors.face.shape == (3, 15)
    assert "errors of 24 faces written" in capsys.readouterr().out
