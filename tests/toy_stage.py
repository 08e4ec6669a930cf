"""A stage that is quick: small linear layers in the place of E_c, with batch normalisation, learn the mean colours."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from model.asset import HeadAsset
from model.deca import DECA, DECAConfig
from model.params import CropCamera, FaceParams
from training.checkpoint import about
from training.config import StageConfig, TrainConfig
from training.data.sample import Batch, Labels
from training.loop import Task, seed_of
from training.stages.base import Stage

SIDE = 8


class ToyStage(Stage):
    """`poison` is a key; the loss of a batch with it is not a number."""

    def __init__(self, deca: DECA, poison: str = "") -> None:
        super().__init__()
        self.deca, self.poison = deca, poison

    def trained(self) -> Iterator[nn.Parameter]:
        return self.deca.coarse_encoder.parameters()

    def forward(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        colours = batch.images.mean((-1, -2))
        codes = self.deca.coarse_encoder(colours + 0.01 * torch.randn(colours.shape, generator=generator))
        wrong = float("nan") if self.poison in batch.keys else 0.0
        return {"colour": (codes - colours).square().mean() + wrong, "prior": 1e-3 * codes.square().mean()}

    def pictures(self, batch: Batch) -> dict[str, Tensor]:
        return {"input": batch.images, "inverse": 1 - batch.images}


def toy_deca(asset: HeadAsset) -> DECA:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        sizes = (asset.shapedirs.shape[-1], asset.exprdirs.shape[-1], len(asset.albedo_basis))
        deca = DECA(asset, DECAConfig("mobilenetv2", *sizes, detail=4), uv_size=16)
        for name in ("coarse_encoder", "detail_encoder", "detail_decoder"):
            small = nn.Sequential(nn.Linear(3, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3))
            setattr(deca, name, small)
        return deca


def toy_batch(asset: HeadAsset, step: int, faces: int = 4, rank: int = 0) -> Batch:
    """A pure function of the step."""
    random = torch.Generator().manual_seed(seed_of("toy", step, rank))
    colours = torch.rand(faces, 3, 1, 1, generator=random)
    zeros = torch.zeros
    return Batch(
        images=colours.expand(-1, -1, SIDE, SIDE).contiguous(),
        landmarks=zeros(faces, 68, 2),
        visible=torch.ones(faces, 68),
        masks=torch.ones(faces, 1, SIDE, SIDE),
        identity=torch.arange(faces),
        labels=Labels(
            face=FaceParams(
                zeros(faces, asset.shapedirs.shape[-1]),
                zeros(faces, asset.exprdirs.shape[-1]),
                zeros(faces, 3),
                zeros(faces, 3),
                zeros(faces, 3),
                zeros(faces, 6),
            ),
            albedo=zeros(faces, len(asset.albedo_basis)),
            light=zeros(faces, 9, 3),
            camera=CropCamera(torch.ones(faces), zeros(faces, 2)),
            known=zeros(faces, dtype=torch.bool),
            lit=zeros(faces, dtype=torch.bool),
        ),
        keys=tuple(f"{step}-{face}" for face in range(faces)),
    )


def toy_task(asset: HeadAsset, out: Path, steps: int = 12, config: TrainConfig | None = None, rank: int = 0) -> Task:
    config = TrainConfig() if config is None else config
    stage = StageConfig(steps=steps, rate=5e-3, warmup=3, decay=True)
    config = dataclasses.replace(
        config, out=str(out), coarse=stage, picture_every=6, validate_every=4, save_every=5, log_every=2
    )
    out.joinpath("coarse").mkdir(parents=True, exist_ok=True)

    def batches(start: int) -> Iterator[Batch]:
        step = start
        while True:
            yield toy_batch(asset, step, rank=rank)
            step += 1

    return Task(
        name="coarse",
        config=config,
        steps=steps,
        batches=batches,
        held_out=lambda: [toy_batch(asset, 10**6)],
        about=about("coarse", config, toy_deca(asset), np.array(["a", "b"]), steps),
    )
