"""The second stage: E_c learns to explain the whole picture (Feng et al. 2021, §4.1)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import pad

from model.deca import DECA, CoarseCodes
from model.params import CropCamera, FaceParams
from model.uv import sample
from model.views import Surface, composite, normal_view, shading_view, shape_view
from training.config import TrainConfig
from training.data.sample import Batch
from training.losses import identity_loss, photometric_loss
from training.networks.load import identity_network
from training.stages.consistency import agreement_loss, several, within_subjects
from training.stages.pretrain import CoarseLearning, see
from training.stages.terms import landmark_losses, weighted


@dataclass(frozen=True)
class Rendering:
    """The lit coarse head in the crop.

    Attributes:
        image: RGB, black where no mesh is.
        face: how much of the head's face is seen, by its UV mask; 0 where its scalp or neck is, or nothing.
    """

    image: Float[Tensor, "batch 3 H W"]
    face: Float[Tensor, "batch 1 H W"]


class CoarseStage(CoarseLearning):
    """E_c from landmarks, pictures and identity; shape codes are swapped within each subject."""

    def __init__(self, deca: DECA, config: TrainConfig) -> None:
        super().__init__(deca, config, config.coarse)
        self.identity, note = identity_network(config.networks.identity if self.weights.identity != 0 else None)
        self.notes = (note,) if note else ()

    def train(self, mode: bool = True) -> CoarseStage:
        super().train(mode)
        if self.identity is not None:
            self.identity.eval()
        return self

    def forward(self, batch: Batch, generator: torch.Generator) -> dict[str, Float[Tensor, ""]]:
        own = self.encode(batch)
        codes, seen = own, batch
        if self.settings.consistency and several(batch.identity):
            order = within_subjects(batch.identity, generator)
            codes, seen = with_swapped_shapes(own, order), twice(batch)
        terms = weighted(self.weights, landmark_losses(self.project(codes), seen)) | self.code_terms(own, batch)
        if self.weights.agreement != 0 and self.settings.images > 1:
            loss = agreement_loss(own.face.shape, batch.identity, batch.keys)
            terms["agreement"] = self.weights.agreement * loss
        if self.weights.photometric != 0 or self.identity is not None:
            surface = see(self.deca, codes, batch.images.shape[-1])
            terms |= self._picture_terms(surface, codes, seen, len(batch.images))
        return terms

    def _picture_terms(self, surface: Surface, codes: CoarseCodes, batch: Batch, count: int) -> dict[str, Tensor]:
        rendering = render(self.deca, surface, codes)
        terms = {}
        if self.weights.photometric != 0:
            # All or nothing: a soft rim of the face would darken the prediction, and so brighten albedo and light.
            face = (rendering.face > 0.5).to(rendering.face.dtype)
            mask = batch.masks if self.settings.skin_mask else face
            loss = photometric_loss(rendering.image * face, batch.images, mask)
            terms["photometric"] = self.weights.photometric * loss
        if self.identity is not None:
            fixed = replace(codes, albedo=codes.albedo.detach(), light=codes.light.detach())
            image = render(self.deca, surface, fixed)
            # The picture stays around the face: a network that knows faces has never seen one on black.
            shown = composite(image.image, image.face, batch.images)
            with torch.autocast(shown.device.type, torch.bfloat16, enabled=self.mixed):
                with torch.no_grad():
                    wanted = self.identity(batch.images[:count], batch.landmarks[:count])
                found = self.identity(shown, batch.landmarks)
            wanted = wanted.repeat(len(found) // count, 1)
            terms["identity"] = self.weights.identity * identity_loss(found.float(), wanted.float())
        return terms

    @torch.no_grad()
    def pictures(self, batch: Batch) -> dict[str, Float[Tensor, "batch 3 H W"]]:
        codes = self.encode(batch)
        size = batch.images.shape[-1]
        surface = see(self.deca, codes, size)
        rendering = render(self.deca, surface, codes)
        shape, alpha = shape_view(surface)
        return {
            "input": batch.images,
            "coarse": composite(rendering.image, rendering.face, batch.images).clamp(0, 1),
            "coarse shape": composite(shape, alpha, batch.images),
            "reposed": shape_view(see(self.deca, turned(self.deca, codes), size))[0],
        }


def render(deca: DECA, surface: Surface, codes: CoarseCodes) -> Rendering:
    """Eq. 3 and 4 on a surface that is already rasterised."""
    albedo = deca.albedo(codes.albedo)
    texture = torch.cat([albedo, deca.surface.mask.expand(len(albedo), 1, -1, -1)], dim=1)
    looked_up = sample(texture, surface.grid(deca.layout)) * surface.alpha
    return Rendering(looked_up[:, :3] * shading_view(normal_view(surface), codes.light), looked_up[:, 3:])


def with_swapped_shapes(codes: CoarseCodes, order: Int[Tensor, " batch"]) -> CoarseCodes:
    """The codes, and the same again with each shape taken from the face that `order` names."""
    face = {name: torch.cat([value, value]) for name, value in vars(codes.face).items() if name != "shape"}
    return CoarseCodes(
        face=FaceParams(shape=torch.cat([codes.face.shape, codes.face.shape[order]]), **face),
        albedo=torch.cat([codes.albedo, codes.albedo]),
        light=torch.cat([codes.light, codes.light]),
        camera=CropCamera(codes.camera.s.repeat(2), codes.camera.t.repeat(2, 1)),
        excess=torch.cat([codes.excess, codes.excess]),
    )


def twice(batch: Batch) -> Batch:
    """A batch and the same again; its labels stay as they were."""
    tensors = {
        name: torch.cat([value, value])
        for name in ("images", "landmarks", "visible", "masks", "identity")
        for value in (getattr(batch, name),)
    }
    return replace(batch, keys=batch.keys * 2, **tensors)


def turned(deca: DECA, codes: CoarseCodes, yaw: float = 0.6) -> CoarseCodes:
    """The same head from another side: upright, turned by `yaw` radians, its landmarks in the middle of the crop."""
    pose = pad(codes.face.pose.new_full((len(codes.face.pose), 1), yaw), (1, 1))
    face = replace(codes.face, pose=pose)
    points = deca.points.ibug68(face)[..., :2]
    centre = (points.amin(1) + points.amax(1)) / 2
    return replace(codes, face=face, camera=CropCamera(codes.camera.s, -centre))
