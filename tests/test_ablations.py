"""The configurations of the paper's ablations: each is the paper's run but for the one thing that it names."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest

from model.io.configs import load_config
from training.config import TrainConfig

FOLDER = Path(__file__).parents[1] / "configs"

CHANGES: dict[str, dict[str, Any]] = {
    "no_detail_consistency": {"detail.consistency": False},
    "no_mrf": {"detail.loss.mrf": 0.0},
    "no_eye": {"pretrain.loss.eye": 0.0, "coarse.loss.eye": 0.0},
    "no_skin_mask": {"coarse.skin_mask": False, "detail.skin_mask": False},
    "no_identity": {"coarse.loss.identity": 0.0},
    "no_shape_consistency": {"coarse.consistency": False},
}


def differences(found: Any, usual: Any, prefix: str = "") -> dict[str, Any]:
    """Settings that differ, by their dotted names."""
    out: dict[str, Any] = {}
    for field in fields(found):
        ours, theirs = getattr(found, field.name), getattr(usual, field.name)
        if is_dataclass(ours):
            out |= differences(ours, theirs, f"{prefix}{field.name}.")
        elif ours != theirs:
            out[prefix + field.name] = ours
    return out


@pytest.mark.parametrize("name", sorted(CHANGES))
def test_an_ablation_changes_what_it_names(name: str) -> None:
    found = differences(load_config(TrainConfig(), FOLDER / "ablations" / f"{name}.yaml"), TrainConfig())
    assert found == CHANGES[name] | {"out": f"out/ablations/{name}"}


def test_there_are_no_others() -> None:
    assert sorted(path.stem for path in (FOLDER / "ablations").iterdir()) == sorted(CHANGES)


def test_high_resolution_learns_detail_from_large_faces_only() -> None:
    config = load_config(TrainConfig(), FOLDER / "train_deca_hr.yaml")
    assert config.stages == ("detail",) and config.data.smallest > 0
