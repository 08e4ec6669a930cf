"""The first stage: E_c learns from landmarks, known codes and regularisers alone, without drawing anything."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn

from model.camera import lift, project_crop
from model.crop import Crop
from model.deca import DECA, CoarseCodes
from model.mesh import vertex_normals
from model.params import Camera, CropCamera
from model.views import Surface, composite, look, shape_view
from training.config import LossWeights, StageConfig, TrainConfig
from training.data.sample import Batch
from training.stages.base import Stage
from training.stages.labelled import LabelLosses
from training.stages.spots import Spots, spots_loss
from training.stages.terms import landmark_losses, prior_losses, seen_losses, weighted

IBUG = 68
"""Points of the backbone that are iBUG's; the others come after them."""


class CoarseLearning(Stage):
    """What the stages that train E_c share.

    Args:
        deca: its detail networks are left alone.
        config: of the run.
        settings: of the stage.
    """

    def __init__(self, deca: DECA, config: TrainConfig, settings: StageConfig) -> None:
        super().__init__()
        self.deca = deca
        self.settings = settings
        self.mixed = config.precision == "bfloat16"
        self.labels = LabelLosses(deca) if settings.loss.labels != 0 else None
        spots = deca.coarse_points - IBUG if settings.loss.spots != 0 else 0
        self.spots = Spots(deca.head, spots) if spots > 0 else None
        deca.requires_grad_(False)
        deca.coarse_encoder.requires_grad_(True)

    @property
    def weights(self) -> LossWeights:
        """What every loss counts."""
        return self.settings.loss

    def trained(self) -> Iterator[nn.Parameter]:
        return self.deca.coarse_encoder.parameters()

    def train(self, mode: bool = True) -> CoarseLearning:
        super().train(mode)
        self.deca.detail_encoder.eval()
        self.deca.detail_decoder.eval()
        return self

    def encode(self, batch: Batch) -> CoarseCodes:
        """E_c in the precision that the settings ask for."""
        with torch.autocast(batch.images.device.type, torch.bfloat16, enabled=self.mixed):
            codes = self.deca.encode_coarse(batch.images)
        return codes

    def code_terms(self, codes: CoarseCodes, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        """Regularisers, what the backbone's points learn, and known codes where there are any."""
        limits = self.deca.head.asset.expression_range
        terms = weighted(self.weights, prior_losses(codes, limits, self.deca.config.gaze))
        terms |= weighted(self.weights, seen_losses(codes, batch))
        if self.labels is not None:
            losses = self.labels(self.deca, codes, batch.labels)
            terms |= {name: self.weights.labels * loss for name, loss in losses.items()}
        if self.spots is not None and codes.points is not None:
            loss = spots_loss(codes.points[:, IBUG:], self.spots(batch.labels), batch.labels.known)
            terms["spots"] = self.weights.spots * loss
        return terms

    def project(self, codes: CoarseCodes) -> Float[Tensor, "batch 68 2"]:
        """The landmarks in the crop, [−1, 1]."""
        return project_crop(codes.camera, self.deca.points.ibug68(codes.face))[..., :2]


class PretrainStage(CoarseLearning):
    """E_c from landmarks and regularisers (and known codes)."""

    def __init__(self, deca: DECA, config: TrainConfig) -> None:
        super().__init__(deca, config, config.pretrain)

    def forward(self, batch: Batch, generator: torch.Generator) -> dict[str, Float[Tensor, ""]]:
        codes = self.encode(batch)
        return weighted(self.weights, landmark_losses(self.project(codes), batch)) | self.code_terms(codes, batch)

    @torch.no_grad()
    def pictures(self, batch: Batch) -> dict[str, Float[Tensor, "batch 3 H W"]]:
        codes = self.encode(batch)
        surface = see(self.deca, codes, batch.images.shape[-1])
        return {"input": batch.images, "coarse shape": composite(*shape_view(surface), batch.images)}


def see(deca: DECA, codes: CoarseCodes, size: int) -> Surface:
    """The coarse head as the crop's camera sees it, `size` px on a side."""
    mesh = deca.head.mesh(codes.face)
    return look(mesh, crop_pixels(codes.camera, size), size, size, vertex_normals(mesh))


def crop_pixels(camera: CropCamera, size: int) -> Camera:
    """The camera of a crop in the pixels of that crop."""
    count = len(camera.s)
    return lift(camera, Crop(camera.s.new_full((count, 2), size / 2), camera.s.new_full((count,), float(size))))
