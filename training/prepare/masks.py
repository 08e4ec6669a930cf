"""Where skin is seen: the fitted head's face, without what has not the colours of skin under the face's light.

What stands before the face (hair, hands, microphones, glasses) or where the head is fitted beyond the face is found by
its colour. Colours are compared in log space, where light is added: brightness, of which the fitted head's normals
explain most, and two chromaticities. What is skin is learned from the face itself, robustly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from scipy import ndimage

from model.asset import HeadAsset
from model.head import HeadModel
from model.params import Camera, FaceParams
from model.shading import sh_basis
from model.views import look, normal_view

FLOOR = 6.0
"""Added to 8-bit values before the logarithm: below that there is only noise."""
FACING = 0.15
"""Least z of the normal (camera axes) of skin that is seen well enough."""
CORE = 0.5
"""Least z of the normals of what teaches the colours of skin."""
SPREAD, WIDEST = (0.16, 0.055, 0.055), (0.35, 0.12, 0.12)
"""Least and greatest standard deviation of skin: brightness not explained by the light, and the chromaticities."""
HAIR_SPREAD = (0.3, 0.06, 0.06)
"""The least of hair."""
RIDGE = (0.0, 0.01, 0.01, 0.01, *(0.05,) * 5)
"""Prior that a face is evenly lit, per pixel that teaches its light."""
LIMIT = 4.0
"""Standard deviations from which a pixel, averaged with its neighbours, is no skin."""
UNSURE = 1.5
"""Standard deviations from which a pixel that looks like the scalp's is hair."""
COLOURED = 0.4
"""How much differences of colour count on brows and lips."""
ROUNDS = 5


@dataclass(frozen=True)
class Rendered:
    """The fitted head in a picture; parts in [0, 1].

    Attributes:
        face: the face's skin, lips and brows included, eyes and inner mouth not.
        plain: what has the colour of skin alone and is seldom covered: the face below the brows without lips and lids.
        coloured: brows, lips and, by half, lids, which have colours of their own.
        border: forehead and temples, where hair hangs.
        scalp: where hair grows.
        normals: unit, camera axes; zero where no head is.
    """

    face: Float[np.ndarray, "H W"]
    plain: Float[np.ndarray, "H W"]
    coloured: Float[np.ndarray, "H W"]
    border: Float[np.ndarray, "H W"]
    scalp: Float[np.ndarray, "H W"]
    normals: Float[np.ndarray, "H W 3"]


def render_regions(head: HeadModel, params: FaceParams, camera: Camera, height: int, width: int) -> Rendered:
    """The head's regions in a picture; one head, unbatched.

    Raises:
        ValueError: the head has no region "face".
    """
    surface = look(head.mesh(params), camera, height, width)
    carried = surface.carry(torch.from_numpy(_weights(head.asset))).movedim(-1, 0).numpy()
    normals = torch.nn.functional.normalize(normal_view(surface), dim=-3).movedim(-3, -1)
    face, plain, coloured, border, scalp = carried
    return Rendered(face, plain, coloured, border, scalp, normals.numpy())


def _weights(asset: HeadAsset) -> Float[np.ndarray, "V 5"]:
    regions = asset.regions
    if "face" not in regions:
        raise ValueError(f"head {asset.name} has no region 'face', so no skin masks; give your own, or --no-masks")

    def total(*names: str) -> np.ndarray:
        return sum((regions[name] for name in names if name in regions), np.zeros(len(asset.template), np.float32))

    lids, coloured = total("left_eyelid", "right_eyelid"), total("left_brow", "right_brow", "lips")
    face = regions["face"] - total("left_eye", "right_eye", "inner_mouth", "teeth", "tongue")
    plain = face - coloured - lids - total("forehead")
    border = face - coloured - lids - total("nose", "left_cheek", "right_cheek", "chin")
    return np.stack([face, plain, coloured + 0.5 * lids, border, total("scalp")], axis=-1).clip(0, 1).astype(np.float32)


def skin_mask(image: UInt8[np.ndarray, "H W 3"], head: Rendered) -> UInt8[np.ndarray, "H W"]:
    """255 on visible skin of the face (brows and lips included), else 0."""
    face = (head.face > 0.5) & (head.normals[..., 2] > FACING)
    core = (head.plain > 0.8) & (head.normals[..., 2] > CORE)
    if core.sum() < 100:
        return np.where(face, 255, 0).astype(np.uint8)
    side = float(np.sqrt(face.sum()))
    smooth = ndimage.gaussian_filter(image.astype(np.float32), (0.006 * side, 0.006 * side, 0))
    logs = np.log(smooth + FLOOR)
    colours = np.stack([logs.mean(-1), logs[..., 0] - logs[..., 1], logs[..., 2] - logs[..., 1]], axis=-1)
    distance = _from_skin(colours, head.normals, core, face)
    distance = distance * (1 - (1 - COLOURED) * head.coloured)
    nearer = distance - _from_hair(colours, head.scalp > 0.5)
    hairy = (head.border > 0.3) & (nearer > 0) & (distance > UNSURE)
    distance = distance + LIMIT * np.where(hairy, np.minimum(nearer, 1), 0)
    skin = face & (ndimage.gaussian_filter(np.minimum(distance, 2.5 * LIMIT), 0.012 * side) < LIMIT)
    return np.where(_tidy(skin, face, side), 255, 0).astype(np.uint8)


def _from_skin(
    colours: Float[np.ndarray, "H W 3"],
    normals: Float[np.ndarray, "H W 3"],
    core: Bool[np.ndarray, "H W"],
    inside: Bool[np.ndarray, "H W"],
) -> Float[np.ndarray, "H W"]:
    """Standard deviations between each pixel's colour and skin's there; far where not `inside`.

    Colour is explained by smooth functions of the normal (spherical harmonics), by least squares with Tukey's weights
    over the core, and the spread of what remains is estimated with the same weights.
    """
    rows = np.flatnonzero(core.ravel())
    rows = rows[:: max(1, len(rows) // 6000)]
    X, Y = _harmonics(normals.reshape(-1, 3)[rows]), colours.reshape(-1, 3)[rows].astype(np.float64)
    prior = np.diag(RIDGE) * len(rows)  # nine free functions could take a fringe of hair for a light from below
    residual = Y - np.median(Y, axis=0)
    spread = np.maximum(1.4826 * np.median(np.abs(residual), axis=0), SPREAD)
    coefficients = np.zeros((9, 3))
    for _ in range(ROUNDS):
        far = np.abs(residual / spread).max(axis=1)
        weight = np.clip(1 - (far / 4.0) ** 2, 0, None) ** 2
        normal_matrix = X.T @ (weight[:, None] * X) + prior
        coefficients = np.linalg.solve(normal_matrix, X.T @ (weight[:, None] * Y))
        residual = Y - X @ coefficients
        spread = np.maximum(np.sqrt((weight[:, None] * residual**2).sum(0) / max(weight.sum(), 1.0)), SPREAD)
    spread = np.minimum(spread, WIDEST)
    distance = np.full(inside.shape, 9.0, np.float32)
    places = np.flatnonzero(inside.ravel())
    residual = colours.reshape(-1, 3)[places] - _harmonics(normals.reshape(-1, 3)[places]) @ coefficients
    distance.ravel()[places] = np.sqrt(((residual / spread) ** 2).sum(axis=1))
    return distance


def _harmonics(normals: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "N 9"]:
    return sh_basis(torch.from_numpy(normals.astype(np.float64))).numpy()


def _from_hair(colours: Float[np.ndarray, "H W 3"], scalp: Bool[np.ndarray, "H W"]) -> Float[np.ndarray, "H W"]:
    """Standard deviations between each pixel's colour and that of the scalp; infinite where too little of it shows."""
    if scalp.sum() < 100:
        return np.full(scalp.shape, np.inf, np.float32)
    sample = colours[scalp]
    middle = np.median(sample, axis=0)
    spread = np.maximum(1.4826 * np.median(np.abs(sample - middle), axis=0), HAIR_SPREAD)
    return np.sqrt((((colours - middle) / spread) ** 2).sum(axis=-1)).astype(np.float32)


def _tidy(skin: Bool[np.ndarray, "H W"], face: Bool[np.ndarray, "H W"], side: float) -> Bool[np.ndarray, "H W"]:
    """Without specks and narrow bridges; holes as small as nostrils are closed."""
    radius = max(1, round(0.012 * side))
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    skin = ndimage.binary_opening(skin, np.hypot(x, y) <= radius + 0.5)
    skin = skin & ~_parts_below(skin, 0.04 * float(face.sum()))
    return skin | _parts_below(face & ~skin, 0.006 * float(face.sum()))


def _parts_below(mask: Bool[np.ndarray, "H W"], area: float) -> Bool[np.ndarray, "H W"]:
    """The connected parts of a mask that are smaller than an area, px."""
    labels = np.zeros(mask.shape, np.int32)
    ndimage.label(mask, output=labels)
    small = np.bincount(labels.ravel()) < area
    small[0] = False
    return small[labels]
