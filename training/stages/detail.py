"""The third stage: E_d and F_d learn the detail that the coarse head leaves (Feng et al. 2021, §4.2)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d
from torch.nn.functional import interpolate as resize

from model.deca import DECA, CoarseCodes
from model.detail import DetailMaps
from model.mesh import Mesh
from model.params import Appearance
from model.texture import extract_texture
from model.views import composite, shading_view
from training.config import TrainConfig
from training.data.sample import Batch
from training.losses import (
    broad_displacement,
    displacement_prior,
    mrf_loss,
    photometric_loss,
    relief_loss,
    shading_smoothness_loss,
    soft_occlusion,
    symmetry_loss,
)
from training.networks.load import texture_network
from training.relief import relief_of
from training.stages.base import Stage
from training.stages.coarse import turned
from training.stages.consistency import several, within_subjects
from training.stages.pretrain import crop_pixels
from training.stages.terms import Loss, weighted
from training.vgg import VGG19, TextureFeatures


@dataclass(frozen=True)
class Coarse:
    """What E_c, which is frozen, says of a batch.

    Attributes:
        codes: of the faces.
        mesh: coarse, camera axes.
        colour: the picture over the UV map.
        visible: 1 where the picture shows the face's skin, over the UV map.
        relief: displacements that the picture's darkness tells (`training.relief`), metres, and their weight; None
            where they are not learned from.
    """

    codes: CoarseCodes
    mesh: Mesh
    colour: Float[Tensor, "batch 3 h w"]
    visible: Float[Tensor, "batch 1 h w"]
    relief: tuple[Float[Tensor, "batch h w"], Float[Tensor, "batch h w"]] | None = None


class DetailStage(Stage):
    """E_d and F_d from the picture carried to the UV map; detail codes are swapped within each subject."""

    def __init__(self, deca: DECA, config: TrainConfig) -> None:
        super().__init__()
        self.deca = deca
        self.settings = config.detail
        self.mixed = config.precision == "bfloat16"
        self.patch = face_patch(deca)
        self.texture, note = texture_network(config.networks.vgg if self.settings.loss.mrf != 0 else None)
        self.notes = (note,) if note else ()
        self.relief = relief_of(deca, self.settings.usual).requires_grad_(False) if self.settings.loss.relief else None
        deca.requires_grad_(False)
        for parameter in self.trained():
            parameter.requires_grad_(True)

    def trained(self) -> Iterator[nn.Parameter]:
        yield from self.deca.detail_encoder.learned()
        yield from self.deca.detail_decoder.parameters()

    def train(self, mode: bool = True) -> DetailStage:
        super().train(mode)
        self.deca.coarse_encoder.eval()
        for frozen in (self.texture, self.relief):
            if frozen is not None:
                frozen.eval()
        return self

    def forward(self, batch: Batch, generator: torch.Generator) -> dict[str, Float[Tensor, ""]]:
        coarse = self.see(batch)
        face = coarse.codes.face
        with torch.autocast(batch.images.device.type, torch.bfloat16, enabled=self.mixed):
            detail = self.deca.encode_detail(batch.images)
            halves = 1
            if self.settings.consistency and several(batch.identity):
                halves, detail = 2, torch.cat([detail, detail[within_subjects(batch.identity, generator)]])
            displacement = self.deca.detail_decoder(
                face.jaw.repeat(halves, 1), face.expression.repeat(halves, 1), detail
            )
        return self._terms(coarse, displacement.float(), halves)

    @torch.no_grad()
    def see(self, batch: Batch) -> Coarse:
        """The coarse head and what the picture shows of its skin."""
        with torch.autocast(batch.images.device.type, torch.bfloat16, enabled=self.mixed):
            codes = self.deca.encode_coarse(batch.images)
        mesh = self.deca.head.mesh(codes.face)
        pictures = batch.images
        if self.settings.skin_mask:
            pictures = torch.cat([pictures, batch.masks], dim=1)
        camera = crop_pixels(codes.camera, pictures.shape[-1])
        found = extract_texture(pictures, mesh, camera, self.deca.layout)
        visible = found.visible * self.deca.surface.mask
        if self.settings.skin_mask:
            visible = visible * found.colour[:, 3:]
        relief = None if self.relief is None else self.relief(batch.images, mesh, camera)
        return Coarse(codes, mesh, found.colour[:, :3], visible, relief)

    def _terms(
        self, coarse: Coarse, displacement: Float[Tensor, "faces h w"], halves: int
    ) -> dict[str, Float[Tensor, ""]]:
        weights = self.settings.loss
        visible, colour = (self._patched(value) for value in (coarse.visible, coarse.colour))
        target, seen = colour.repeat(halves, 1, 1, 1), visible.repeat(halves, 1, 1, 1)

        @cache
        def shading() -> Tensor:
            maps = self._displaced(coarse.mesh, displacement, halves)
            return shading_view(maps.normals, coarse.codes.light.repeat(halves, 1, 1))

        @cache
        def lit() -> Tensor:
            albedo = self.deca.albedo(coarse.codes.albedo).repeat(halves, 1, 1, 1)
            found = self._patched(albedo * shading())
            return found * local_gain(found, target, seen) if self.settings.local_light else found

        def mrf() -> Tensor:
            assert self.texture is not None
            learned = isinstance(self.texture, VGG19)  # the filters cost too little to be less exact
            with torch.autocast(colour.device.type, torch.bfloat16, enabled=self.mixed and learned):
                found, wanted = self.texture(lit() * seen), self.texture(colour * visible)
            found = TextureFeatures(found.fine.float(), found.coarse.float())
            both = (maps.float().repeat(halves, 1, 1, 1) for maps in (wanted.fine, wanted.coarse))
            return mrf_loss(found, TextureFeatures(*both))

        def symmetry() -> Tensor:
            shown = resize(coarse.visible, displacement.shape[-2:], mode="bilinear", align_corners=False)[:, 0]
            hidden = soft_occlusion(shown).repeat(halves, 1, 1)
            return symmetry_loss(displacement, hidden, displacement.detach())

        def relief() -> Tensor:
            assert coarse.relief is not None
            wanted, weight = (value.repeat(halves, 1, 1) for value in coarse.relief)
            size = (self.deca.layout.size,) * 2
            found = resize(displacement[:, None], size, mode="bilinear", align_corners=False)[:, 0]
            return relief_loss(found * self.deca.surface.mask, wanted, weight)

        losses: dict[str, Loss] = {
            "relief": relief,
            "detail_photometric": lambda: photometric_loss(lit(), target, seen),
            "mrf": mrf,
            "symmetry": symmetry,
            "displacement": lambda: displacement_prior(displacement),
            "broad": lambda: broad_displacement(displacement),
            "shading": lambda: shading_smoothness_loss(self._patched(shading())),
        }
        return weighted(weights, losses)

    def _displaced(self, mesh: Mesh, displacement: Tensor, halves: int) -> DetailMaps:
        return self.deca.surface(Mesh(mesh.vertices.repeat(halves, 1, 1), mesh.faces), displacement)

    def _patched(self, maps: Float[Tensor, "faces C h w"]) -> Float[Tensor, "faces C h w"]:
        """The face's part of a UV map, at the map's size."""
        top, bottom, left, right = self.patch
        part = maps[..., top:bottom, left:right]
        return resize(part, maps.shape[-2:], mode="bilinear", align_corners=False)

    @torch.no_grad()
    def pictures(self, batch: Batch) -> dict[str, Float[Tensor, "batch 3 H W"]]:
        size = batch.images.shape[-1]
        coarse = self.see(batch)
        codes = coarse.codes
        with torch.autocast(batch.images.device.type, torch.bfloat16, enabled=self.mixed):
            detail = self.deca.encode_detail(batch.images)
        appearance = Appearance(codes.albedo, codes.light, detail.float())
        result = self.deca.decode(codes.face, appearance, codes.camera)
        camera = crop_pixels(codes.camera, size)
        views = self.deca.pictures(result, codes.light, camera, size, size)
        side = turned(self.deca, codes)
        reposed = self.deca.decode(side.face, appearance, side.camera)
        limit = self.deca.detail_decoder.limit
        relief = (result.displacement * 0.5 / limit + 0.5)[:, None].expand(-1, 3, -1, -1)
        seen = coarse.colour * coarse.visible
        return {
            "input": batch.images,
            "coarse": composite(views.image, views.alpha, batch.images).clamp(0, 1),
            "detailed": composite(views.detail_image, views.alpha, batch.images).clamp(0, 1),
            "coarse shape": composite(views.shape, views.shape_alpha, batch.images),
            "detailed shape": composite(views.detail_shape, views.shape_alpha, batch.images),
            "reposed": self.deca.detail_shape(reposed, crop_pixels(side.camera, size), size, size)[0],
            "UV displacement": _sized(relief, size),
            "UV texture": _sized(self.deca.lit_texture(result, codes.light).clamp(0, 1), size),
            "UV picture": _sized(seen, size),
        }


def face_patch(deca: DECA) -> tuple[int, int, int, int]:
    """Rows (top, bottom) and columns (left, right) of the UV map's texels where the face is.

    The paper's patch for FLAME, texels 400 to 1648 of 2048; for another head the square around its detail mask.
    """
    size = deca.layout.size
    if deca.head.asset.name.startswith("flame"):
        low, high = round(400 / 2048 * size), round(1648 / 2048 * size)
        return low, high, low, high
    filled = deca.surface.mask > 0.5
    bounds = []
    for axis in (1, 0):
        share = filled.float().mean(axis)
        inside = (share > 0.1 * share.amax()).nonzero()[:, 0]
        bounds.append((int(inside[0]), int(inside[-1]) + 1))
    side = max(high - low for low, high in bounds)
    starts = [min(max((low + high - side) // 2, 0), size - side) for low, high in bounds]
    return starts[0], starts[0] + side, starts[1], starts[1] + side


def local_gain(
    lit: Float[Tensor, "faces 3 h w"], picture: Float[Tensor, "faces 3 h w"], seen: Float[Tensor, "faces 1 h w"]
) -> Float[Tensor, "faces 3 h w"]:
    """By what a rendering is multiplied to have a picture's colours over squares of a twelfth of the map, where it is
    seen; 1 where nothing is seen nearby, and within [1/3, 3]."""
    size = lit.shape[-1] // 24 * 2 + 1

    def mean(values: Tensor) -> Tensor:
        return avg_pool2d(values * seen, size, 1, size // 2)

    near = mean(torch.ones_like(seen)) > 1e-3
    gain = (mean(picture) / mean(lit).clamp(min=1e-4)).clamp(1 / 3, 3)
    return torch.where(near, gain, torch.ones_like(gain))


def _sized(maps: Tensor, size: int) -> Tensor:
    return resize(maps, (size, size), mode="bilinear", align_corners=False)
