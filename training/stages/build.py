"""Stages by name."""

from __future__ import annotations

from model.deca import DECA
from training.config import StageName, TrainConfig
from training.stages.base import Stage
from training.stages.coarse import CoarseStage
from training.stages.detail import DetailStage
from training.stages.pretrain import PretrainStage


def build_stage(name: StageName, deca: DECA, config: TrainConfig) -> Stage:
    """A stage around a DECA, on its device; what it does not train is frozen from now on.

    Raises:
        ValueError: a network that the settings name is missing or unfit.
    """
    stages = {"pretrain": PretrainStage, "coarse": CoarseStage, "detail": DetailStage}
    return stages[name](deca, config).to(deca.albedo_mean.device)
