"""The photograph over the head's UV map, as lit there, and complete: mirrored or modelled where nothing is seen."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Float
from scipy.spatial import KDTree
from torch import Tensor

from model.asset import HeadAsset
from model.parsing import Part
from model.raster import rasterise
from model.shading import albedo_texture, sh_shading
from model.uv import UVLayout
from reenact.eyes import fill_eyes
from reenact.lids import lid_shade
from reenact.matte import Scene
from reenact.rig import Rig
from reenact.sampling import look_up

_FACING = 0.12
"""Least z of a normal of skin that is taken from the photograph."""
_BEHIND, _UNDER = 0.0025, 0.0007
"""Metres that a texel may lie behind what the photograph shows there and still count as seen: of skin, under lids."""
_MOUTH = ("inner_mouth", "teeth", "tongue")
_FOLDED = ("left_eyelid", "right_eyelid", "lips")
_DARK = 0.12
"""Least shading that colours are divided by."""
_LID_SHADE = 0.1  # lids lie deeper than the skin around
_LIT, _WIDE = 0.95, 0.05
"""Lit skin about an eye is as bright as this part of the mean so far around (part of the map's side)."""
_UNFOLDED = 0.85
"""How far a shut lid's colour goes from that of all skin about it to that of the lit."""
_LEVEL = (-0.7, 0.7)
"""How far the mirrored side's brightness is changed, logarithm."""
_SKIN = (0.80, 0.62, 0.52)
_WHITE = (0.1, 1.45)
"""How bright teeth are lit: they follow the brightness of the skin, but less than it varies between people."""
_IVORY, _TINT = np.array([1.03, 1.0, 0.95]), 0.85
"""Colour of teeth besides their albedo's, and the power of the skin's tint on them."""
_FLESH = (0.42, 0.2, 0.19)
"""Least albedo inside of the mouth: what lies behind the cheeks is flesh too."""
_ABOUT = 0.02
"""Metres from the lips within which skin tells the light on teeth."""


@dataclass(frozen=True)
class Texture:
    """Colours over the UV map.

    Attributes:
        colour: RGB, [0, 255], as lit on the photograph; complete.
        seen: [0, 1], 1 where the photograph shows the texel: its own pixels are better there than the map.
    """

    colour: Float[np.ndarray, "H W 3"]
    seen: Float[np.ndarray, "H W"]


@dataclass(frozen=True)
class _Texels:
    """Where texels lie on the photograph (x, y, depth, px), their normals, and whether it shows them."""

    place: Float[np.ndarray, "3 H W"]
    normal: Float[np.ndarray, "3 H W"]
    seen: Float[np.ndarray, "H W"]


@torch.no_grad()
def texture_of(rig: Rig, scene: Scene, size: int) -> Texture:
    """Take the photograph's colours and complete them.

    Args:
        size: texels on a side.
    """
    target, asset = rig.target, rig.head.asset
    layout = UVLayout(asset, size)
    points, normals = rig.photo.points, rig.photo.normals
    depth = _depth(rig)
    eyes = _region(asset, layout, ("left_eye", "right_eye"))
    reach = float(target.camera.s) * torch.from_numpy(np.where(eyes > 0.5, _UNDER, _BEHIND))
    own = _texels(layout, points, normals, depth, reach)
    mirror = torch.from_numpy(mirrored(asset))
    other = _texels(layout, points[mirror], normals[mirror], depth, reach)
    image = target.image.astype(np.float32)
    mouth = _region(asset, layout, _MOUTH)
    skin = (layout.covered.numpy() > 0) & (mouth < 0.5) & (eyes < 0.5)

    shading = _shade(own.normal, target.light)
    photo = _look(image, own.place)
    albedo = _albedo(asset, target.albedo, size)
    model = albedo * shading * 255
    # Folded skin: its normals under the fold say nothing of its colour once it is unfolded.
    folded = skin & (_region(asset, layout, _FOLDED) > 0.2)
    inside = mouth + eyes > 0.5
    plain_skin = skin & (own.seen > 0.9) & ~folded
    near = plain_skin & _near_lips(asset, layout)  # teeth are lit as the skin about them is
    tone = _skin_tone(photo, near if near.any() else plain_skin)
    model[inside] = 255 * np.maximum(albedo[inside], _FLESH) * _teeth_light(tone)
    turned = (shading / _shade(other.normal, target.light)).mean(-1, keepdims=True)
    across = _look(image, other.place) * np.clip(turned, 0.6, 1.6)

    hides = _hidden_by(scene, own.place)
    plain = own.seen * (1 - hides) * skin
    # Lids take the colour of the skin around them, not of lashes, brows and the shadow of their fold.
    lids = skin * _region(asset, layout, ("left_eyelid", "right_eyelid"))
    plain = plain * (_part(scene, own.place, Part.EYES, Part.BROWS, Part.GLASSES) < 0.2)
    plain = plain * (lids < 0.3) * (_region(asset, layout, ("left_brow", "right_brow")) < 0.05)
    known = cv2.erode(plain, np.ones((3, 3), np.uint8))
    colour = model * np.exp(_spread(np.log((photo + 4) / (model + 4)), known * ~folded, skin))
    around = np.exp(_spread(np.log(photo + 4), known, skin)) - 4
    # Of the shadow in an eye's socket, and of what is left of lashes, only a part lies on a lid that is shut.
    bright = photo.mean(-1)
    usual, weight = (cv2.GaussianBlur(x, (0, 0), _WIDE * size) for x in (bright * known, known))
    lit = known * (bright * weight >= _LIT * usual)
    unshaded = np.exp(_spread(np.log(photo + 4), lit, skin)) - 4
    around += _UNFOLDED * lids[..., None] * (unshaded - around)
    colour[folded] = (around * (1 - _LID_SHADE * lids[..., None]))[folded]
    colour *= lid_shade(rig, layout, lids, colour)
    twin = cv2.erode(other.seen * (1 - _hidden_by(scene, other.place)) * skin, np.ones((5, 5), np.uint8))
    twin = cv2.GaussianBlur(twin, (0, 0), 2) * (1 - lids)
    # The other side has another light than the model knows: it takes this side's level where both are seen.
    level = _spread(np.log((photo + 4) / (across + 4)), known * ~folded * (twin > 0.5), skin)
    across = across * np.exp(np.clip(level, *_LEVEL))
    colour += twin[..., None] * skin[..., None] * (across - colour)
    # What a nostril or a nose's own side hides is skin too; to look it up beside is better than to invent it.
    nose = skin & (_region(asset, layout, ("nose",)) > 0.5)
    seen = np.where(mouth > 0.5, 0, np.maximum(own.seen, nose)).astype(np.float32)
    seen = np.clip(cv2.GaussianBlur(seen, (0, 0), 0.7), 0, 1)
    colour = fill_eyes(asset, layout, colour, photo, own.seen)
    colour += (seen * (1 - lids))[..., None] * (photo - colour)
    covered = layout.covered.numpy() > 0
    return Texture(_padded(colour, covered), _padded(seen[..., None], covered)[..., 0])


def mirrored(asset: HeadAsset) -> np.ndarray:
    """The vertex on the other side of each vertex, or the nearest to its place."""
    return np.asarray(KDTree(asset.template).query(asset.template * np.array([-1, 1, 1]))[1])


def _depth(rig: Rig) -> Float[Tensor, "H W"]:
    width, height = rig.target.size
    faces = rig.head.faces
    return rasterise(rig.photo.points, faces, height, width).depth


def _texels(layout: UVLayout, points: Tensor, normals: Tensor, depth: Tensor, reach: Tensor) -> _Texels:
    place, normal = layout.carry(points), layout.carry(normals)
    height, width = depth.shape
    column, row = place[0].long().clamp(0, width - 1), place[1].long().clamp(0, height - 1)
    inside = (place[0] >= 0) & (place[0] < width) & (place[1] >= 0) & (place[1] < height)
    slope = (1 - normal[2].square()).clamp(min=0).sqrt() / normal[2].clamp(min=_FACING)
    hidden = depth[row, column] - place[2] > reach + torch.where(reach > reach.min(), slope, 0.3 * slope)
    facing = ((normal[2] - _FACING) / 0.2).clamp(0, 1)
    seen = facing * (inside & ~hidden & (layout.covered > 0))
    return _Texels(place.numpy(), normal.numpy(), seen.numpy().astype(np.float32))


def _region(asset: HeadAsset, layout: UVLayout, names: tuple[str, ...]) -> Float[np.ndarray, "H W"]:
    """The sharp union of regions: texels all of whose corners belong to one."""
    mask = np.zeros(len(asset.template), np.float32)
    for name in names:
        mask = np.maximum(mask, np.asarray(asset.regions.get(name, 0 * mask), np.float32))
    return layout.carry(torch.from_numpy(mask)[:, None])[0].numpy()


def _albedo(asset: HeadAsset, codes: Tensor, size: int) -> Float[np.ndarray, "H W 3"]:
    if asset.albedo_mean is None or asset.albedo_basis is None:
        return np.full((size, size, 3), 180 / 255, np.float32)
    mean, basis = torch.from_numpy(asset.albedo_mean).float(), torch.from_numpy(asset.albedo_basis).float()
    flat = albedo_texture(mean, basis, codes[None])[0].permute(1, 2, 0).clamp(0.01, 1).contiguous().numpy()
    return cv2.resize(flat, (size, size), interpolation=cv2.INTER_LINEAR)


def _skin_tone(photo: np.ndarray, plain: np.ndarray) -> Float[np.ndarray, "3"]:
    """The middle colour of the skin as photographed, [0, 1]; a common one where none is seen."""
    if not plain.any():
        return np.array(_SKIN)
    middle: Float[np.ndarray, "3"] = np.median(photo[plain], axis=0, keepdims=True)[0] / 255
    return middle


def _teeth_light(tone: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3"]:
    """Light for teeth: the photograph's tint, told by how its skin differs from common skin, and lessened: skin differs
    by itself too."""
    tint = _IVORY * ((tone / tone.mean()) / (np.array(_SKIN) / np.mean(_SKIN))) ** _TINT
    tint = np.clip(tint, (0.98, 0, 0), (2, tint[0], 1.02))  # pale skin makes no blue teeth, sallow skin no green ones
    return np.clip(_WHITE[0] + _WHITE[1] * tone.mean(), 0.2, 1.15) * tint


def _near_lips(asset: HeadAsset, layout: UVLayout) -> np.ndarray:
    lips = np.flatnonzero(np.asarray(asset.regions.get("lips", np.zeros(len(asset.template)))) > 0.5)
    if not len(lips):
        return layout.covered.numpy() > 0
    far = KDTree(asset.template[lips]).query(asset.template)[0].astype(np.float32)
    return layout.carry(torch.from_numpy(far)[:, None])[0].numpy() < _ABOUT


def _shade(normal: Float[np.ndarray, "3 H W"], light: Tensor) -> Float[np.ndarray, "H W 3"]:
    flat = torch.from_numpy(normal).flatten(1).T
    flat = torch.nn.functional.normalize(flat, dim=1)
    return sh_shading(flat, light).clamp(min=_DARK).reshape(*normal.shape[1:], 3).numpy()


def _look(image: np.ndarray, place: Float[np.ndarray, "3 H W"]) -> np.ndarray:
    return look_up(image, np.ascontiguousarray(place[:2].transpose(1, 2, 0), np.float32))


def _part(scene: Scene, place: np.ndarray, *parts: Part) -> Float[np.ndarray, "H W"]:
    moved = place - np.array([scene.window.x0, scene.window.y0, 0], np.float32)[:, None, None]
    return _look(scene.parts[list(parts)].sum(0), moved)


def _hidden_by(scene: Scene, place: np.ndarray) -> Float[np.ndarray, "H W"]:
    return (_part(scene, place, Part.HAIR, Part.HAT, Part.BACKGROUND, Part.CLOTHES) > 0.4).astype(np.float32)


def _spread(values: Float[np.ndarray, "H W C"], known: np.ndarray, within: np.ndarray) -> Float[np.ndarray, "H W C"]:
    """Known values, and beyond them their surroundings' means: pull and push over ever smaller maps."""
    levels: list[tuple[np.ndarray, np.ndarray]] = [(values * known[..., None], known.astype(np.float32))]
    while min(levels[-1][1].shape) > 2:
        value, weight = levels[-1]
        size = (max(1, value.shape[1] // 2), max(1, value.shape[0] // 2))
        levels.append(
            (
                cv2.resize(value, size, interpolation=cv2.INTER_AREA),
                cv2.resize(weight, size, interpolation=cv2.INTER_AREA),
            )
        )
    value, weight = levels[-1]
    result = value / np.maximum(weight[..., None], 1e-6)
    for value, weight in levels[-2::-1]:
        coarse = cv2.resize(result, (value.shape[1], value.shape[0]), interpolation=cv2.INTER_LINEAR)
        share = np.clip(4 * weight, 0, 1)[..., None]
        result = coarse + share * (value / np.maximum(weight[..., None], 1e-6) - coarse)
    return result * within[..., None]


def _padded(values: Float[np.ndarray, "H W C"], covered: np.ndarray) -> np.ndarray:
    """Colours carried past the charts' edges, so that sampling there does not mix in black."""
    values, known = values.astype(np.float32), covered.astype(np.float32)
    for _ in range(4):
        weight = cv2.blur(known, (3, 3))
        mean = cv2.blur(values * known[..., None], (3, 3))
        mean = mean.reshape(values.shape) / np.maximum(weight[..., None], 1e-6)
        new = (known == 0) & (weight > 0)
        values = np.where(new[..., None], mean, values)
        known = np.maximum(known, new)
    return values.astype(np.float32)
