"""A batch of rendered faces of the small head, with their codes: what the stages are tested on."""

from __future__ import annotations

from dataclasses import replace

import torch

from model.camera import project_crop
from model.deca import DECA, CoarseCodes
from model.params import CropCamera, FaceParams
from model.views import composite
from training.config import ModelConfig, StageConfig, TrainConfig
from training.data.sample import Batch, Labels
from training.stages.coarse import render
from training.stages.pretrain import see

SIZE = 64


def small_config(**stages: StageConfig) -> TrainConfig:
    """The small head at 64 px with a small backbone."""
    model = ModelConfig(backbone="mobilenetv2", resolution=SIZE, uv_size=64, detail=16)
    return TrainConfig(model=model, **stages)


def rendered_codes(deca: DECA, people: int, images: int, seed: int = 0) -> CoarseCodes:
    """Random codes; the images of one person share shape and albedo."""
    rng = torch.Generator().manual_seed(seed)
    count = people * images

    def normal(*size: int, spread: float = 1.0) -> torch.Tensor:
        return torch.randn(*size, generator=rng) * spread

    face = FaceParams(
        shape=normal(people, deca.config.shape).repeat_interleave(images, 0),
        expression=torch.rand(count, deca.config.expression, generator=rng) * 0.7,
        pose=normal(count, 3, spread=0.15),
        neck=torch.zeros(count, 3),
        jaw=torch.tensor([1.0, 0.0, 0.0]) * torch.rand(count, 1, generator=rng) * 0.15,
        eyes=torch.zeros(count, 6),
    )
    light = torch.zeros(count, 9, 3)
    light[:, 0] = 2.6  # so that nothing is brighter than white
    light[:, 1:4] += normal(count, 3, 1, spread=0.15)
    camera = CropCamera(8 + normal(count, spread=0.3), normal(count, 2, spread=0.004))
    albedo = normal(people, deca.config.albedo).repeat_interleave(images, 0)
    return CoarseCodes(face, albedo, light, camera, torch.zeros(count, deca.config.expression))


@torch.no_grad()
def rendered_batch(deca: DECA, people: int = 2, images: int = 2, size: int = SIZE, seed: int = 0) -> Batch:
    """Pictures of known heads before a grey wall; the masks are their faces."""
    codes = rendered_codes(deca, people, images, seed)
    surface = see(deca, codes, size)
    rendering = render(deca, surface, codes)
    pictures = composite(rendering.image, surface.alpha, torch.full_like(rendering.image, 0.3))
    count = people * images
    known = torch.ones(count, dtype=torch.bool)
    return Batch(
        images=pictures.clamp(0, 1),
        landmarks=project_crop(codes.camera, deca.points.ibug68(codes.face))[..., :2],
        visible=torch.ones(count, 68),
        masks=(rendering.face > 0.5).float(),
        identity=torch.arange(people).repeat_interleave(images),
        labels=Labels(codes.face, codes.albedo, codes.light, codes.camera, known, known),
        keys=tuple(f"face{k}" for k in range(count)),
    )


def without_labels(batch: Batch) -> Batch:
    """The same faces, their codes unknown."""
    unknown = torch.zeros_like(batch.labels.known)
    return replace(batch, labels=replace(batch.labels, known=unknown, lit=unknown))
