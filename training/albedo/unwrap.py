"""A photograph of a face carried into the texture map: colours, how much they count, what light reaches them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from model.head import HeadModel
from model.mesh import vertex_normals
from model.params import Camera
from model.parsing import Parser, Part, face_share
from model.shading import sh_basis
from model.texture import extract_texture
from model.uv import UVLayout
from tracker.image import decode_image
from training.albedo.transfer import self_shadowed_transfer
from training.data.sample import Sample

SKIN = (Part.SKIN, Part.NOSE)
FACING = (0.15, 0.5)
"""A texel counts from the first cosine between its normal and the view on, fully from the second."""
SATURATED = (0.95, 0.995)
"""Values of the brightest channel, as stored, between which a texel's weight falls to nothing: a highlight hides it."""
EYE_WHITE = 85.0
"""Percentile of the luminance of the visible eyeballs that stands for the white of the eye."""
LUMINANCE = (0.2126, 0.7152, 0.0722)


@dataclass(frozen=True)
class Unwrapped:
    """One face in the texture map; row 0 is v = 1.

    Attributes:
        colour: linear RGB, shading included.
        weight: [0, 1], of texels that show the face (lips and brows included).
        skin: [0, 1], of texels that show plain skin.
        transfer: self-shadowed transfer, head axes (`training.albedo.transfer`).
        eye_white: linear luminance of the white of the eyes; NaN where eyes are not seen well.
        scale: px of the photograph per metre.
    """

    colour: Float[Tensor, "3 H W"]
    weight: Float[Tensor, "H W"]
    skin: Float[Tensor, "H W"]
    transfer: Float[Tensor, "9 H W"]
    eye_white: float
    scale: float


class Unwrapper:
    """Unwraps samples whose fit is known.

    Args:
        head: with texture coordinates; the samples' labels are its codes.
        parser: tells skin from hair, glasses and the rest.
        size: texels on a side of the map.
    """

    def __init__(self, head: HeadModel, parser: Parser, size: int) -> None:
        self.head, self.parser = head, parser
        self.layout = UVLayout(head.asset, size)
        mean = head.mesh(head.neutral())
        # A person's own normals replace the mean's, the mean head's shadows stay.
        self.shadow = self_shadowed_transfer(mean) - sh_basis(vertex_normals(mean))

    @torch.no_grad()
    def __call__(self, sample: Sample) -> Unwrapped | None:
        """The face in the map, or None where its fit is not known or its picture is hardly seen."""
        labels = sample.labels
        if labels is None or not bool(labels.known):
            return None
        assert isinstance(labels.camera, Camera)
        image = torch.from_numpy(decode_image(sample.image)).permute(2, 0, 1).float() / 255
        parts = self.parser(image[None])[0]
        mesh = self.head.mesh(labels.face)
        linear = srgb_to_linear(image)
        channels = torch.cat([linear, image.amax(0)[None], face_share(parts)[None], parts[list(SKIN)].sum(0)[None]])
        hidden = parts[[Part.EYES, Part.MOUTH]].sum(0)[None]
        texture = extract_texture(torch.cat([channels, hidden]), mesh, labels.camera, self.layout)
        colour, brightest, face, skin, inner = texture.colour.split([3, 1, 1, 1, 1])
        normals = vertex_normals(mesh)
        facing = smoothstep(*FACING, self.layout.carry(normals)[2])
        seen = texture.visible[0] * facing * (1 - smoothstep(*SATURATED, brightest[0]))
        turn = rotation(labels.face.pose)
        transfer = self.layout.carry(sh_basis(normals @ turn) + self.shadow)
        weight = seen * smoothstep(0.5, 0.95, face[0] - inner[0])
        if float(weight.sum()) < 0.02 * weight.numel():
            return None
        return Unwrapped(
            colour=colour,
            weight=weight,
            skin=seen * smoothstep(0.6, 0.95, skin[0]),
            transfer=transfer,
            eye_white=eye_white(linear, parts[Part.EYES]),
            scale=float(labels.camera.s),
        )


def eye_white(linear: Float[Tensor, "3 H W"], eyes: Float[Tensor, "H W"]) -> float:
    """Luminance of the whites of the eyes, from the eyes' brighter pixels; NaN where there are too few."""
    pixels = linear[:, eyes > 0.7]
    if pixels.shape[1] < 24:
        return float("nan")
    return float(np.percentile(np.tensordot(LUMINANCE, pixels.numpy(), 1), EYE_WHITE))


def rotation(pose: Float[Tensor, "3"]) -> Float[Tensor, "3 3"]:
    """The matrix of an axis-angle rotation (Rodrigues); row vectors times it go from camera to head axes."""
    x, y, z = (float(v) for v in pose)
    generator = torch.tensor([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return torch.linalg.matrix_exp(generator)


def srgb_to_linear(encoded: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """sRGB values to linear ones (IEC 61966-2-1)."""
    return torch.where(encoded <= 0.04045, encoded / 12.92, ((encoded.clamp(min=0.04045) + 0.055) / 1.055) ** 2.4)


def linear_to_srgb(linear: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """The inverse of `srgb_to_linear`."""
    power = 1.055 * linear.clamp(min=0.0031308) ** (1 / 2.4) - 0.055
    return torch.where(linear <= 0.0031308, 12.92 * linear, power)


def smoothstep(low: float, high: float, x: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """0 up to `low`, 1 from `high` on, smooth between."""
    t = ((x - low) / (high - low)).clamp(0, 1)
    return t * t * (3 - 2 * t)
