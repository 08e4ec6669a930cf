"""The command that compares DECA with the reference's numbers: every key passes, and a wrong number does not."""

from pathlib import Path

import numpy as np
import pytest
import torch
from parity import compare, load_module, run

FOLDER = Path(__file__).parents[2] / "shared" / "golden"


@pytest.mark.skipif(not FOLDER.is_dir(), reason=f"no reference numbers in {FOLDER}")
def test_every_key_passes_and_wrong_ones_do_not() -> None:
    with np.load(FOLDER / "expected_seed0.npz") as archive:
        expected = {key: archive[key] for key in archive.files}
    # Wrong by little more than the tolerance; and a key that nobody knows.
    expected["enc_shape"] = expected["enc_shape"] + 6e-4 * np.abs(expected["enc_shape"]).max()
    expected["loss_eye"] = np.asarray(expected["loss_eye"] * np.float32(1.0002))
    expected["surprise"] = np.zeros(3)
    rows = run(load_module(FOLDER / "fake_assets.py"), 0, expected)
    assert [row.key for row in rows] == list(expected)
    assert {row.key for row in rows if not row.passed} == {"enc_shape", "loss_eye", "surprise"}


def test_pictures_count_on_one_surface_only() -> None:
    mask, covered = torch.zeros(1, 4, 4), torch.ones(1, 4, 4)
    mask[:, :2] = 1
    theirs = np.ones((1, 3, 4, 4), np.float32)
    ours = torch.ones(1, 3, 4, 4)
    ours[..., 3, 3] = 0
    row = compare("rendered", ours, theirs, mask, covered)
    assert row.passed and row.outside == 0.5
    ours[..., 0, 0] = 0.9985
    assert not compare("rendered", ours, theirs, mask, covered).passed
    assert not compare("sh_shading", torch.ones(1, 3, 4, 4) * 1.0002, theirs, mask, covered).passed
    with pytest.raises(ValueError, match="uv_z has shape"):
        compare("uv_z", torch.ones(2), theirs, mask, covered)
