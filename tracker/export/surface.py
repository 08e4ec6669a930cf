"""The surface of an exported head: vertices split at the texture's seams, tangents, and the maps of its material."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from scipy.ndimage import distance_transform_edt

from model.asset import HeadAsset
from model.deca import DECA
from model.mesh import Mesh, vertex_normals
from model.shading import albedo_texture
from model.uv import UVLayout
from tracker.export.rig import Rig
from tracker.track import Track

_ROUGHNESS = {
    "skin": 0.62,
    "lips": 0.45,
    "inner_mouth": 0.4,
    "tongue": 0.4,
    "teeth": 0.25,
    "left_eye": 0.12,
    "right_eye": 0.12,
}
"""Of the parts of a head; the last ones win. Skin is rough, what is wet is not."""
_OPEN = {"inner_mouth": 0.35, "tongue": 0.5, "teeth": 0.75}
"""How much of the light around reaches the inside of the mouth."""
_STEEPEST = 0.75
"""Sine of the largest angle between a detailed normal and the smooth one: in folds, more would only sparkle."""
_GREY = 180 / 255


@dataclass(frozen=True)
class Split:
    """A mesh with one vertex for every pair of a vertex and a texture vertex, as graphics cards want it.

    Attributes:
        source: the head's vertex of each.
        uv: [0, 1], origin at the bottom-left.
        faces: triangles.
    """

    source: Int[np.ndarray, "N"]
    uv: Float[np.ndarray, "N 2"]
    faces: Int[np.ndarray, "F 3"]


@dataclass(frozen=True)
class Maps:
    """Pictures over the UV map, row 0 at the top (v = 1).

    Attributes:
        colour: sRGB.
        rough: red is how much of the surrounding light arrives, green the roughness, blue the metalness (none): glTF's
            packing.
        normal: tangent space, x to +u, y to +v, 8 bits each; None where the track has no detail.
    """

    colour: UInt8[np.ndarray, "H W 3"]
    rough: UInt8[np.ndarray, "h w 3"]
    normal: UInt8[np.ndarray, "n n 3"] | None = None


@dataclass(frozen=True)
class Dressed:
    """A rig and what its surface looks like; `maps` is None for a head without texture coordinates."""

    rig: Rig
    split: Split
    maps: Maps | None


def split_seams(asset: HeadAsset) -> Split:
    """The head's mesh, split at the seams of its texture; without texture coordinates as it is, with uv zero."""
    if asset.uv is None or asset.uv_faces is None:
        count = len(asset.template)
        return Split(np.arange(count), np.zeros((count, 2), np.float32), asset.faces)
    pairs = np.stack([asset.faces.ravel(), asset.uv_faces.ravel()], axis=1)
    unique, faces = np.unique(pairs, axis=0, return_inverse=True)
    return Split(unique[:, 0], asset.uv[unique[:, 1]], faces.reshape(asset.faces.shape))


def normals_of(vertices: Float[np.ndarray, "*batch V 3"], faces: Int[np.ndarray, "F 3"]) -> np.ndarray:
    """Smooth unit normals; +y where a vertex has no triangle."""
    normals = vertex_normals(Mesh(torch.from_numpy(vertices), torch.from_numpy(faces))).numpy()
    normals[np.linalg.norm(normals, axis=-1) < 0.5] = (0.0, 1.0, 0.0)
    return normals


def tangents_of(
    points: Float[np.ndarray, "N 3"], normals: Float[np.ndarray, "N 3"], split: Split
) -> Float[np.ndarray, "N 4"]:
    """Unit tangents along +u, perpendicular to the normals, and the sign w with which w n × t points along +v.

    The sum over a vertex's triangles of ∂p/∂u, weighted by area (Lengyel 2001).
    """
    a, b, c = (points[split.faces[:, k]] for k in range(3))
    ua, ub, uc = (split.uv[split.faces[:, k]].astype(np.float64) for k in range(3))
    e1, e2, d1, d2 = b - a, c - a, ub - ua, uc - ua
    area = d1[:, 0] * d2[:, 1] - d2[:, 0] * d1[:, 1]
    sign = np.where(area < 0, -1.0, 1.0)[:, None]
    along_u = (e1 * d2[:, 1:] - e2 * d1[:, 1:]) * sign
    along_v = (e2 * d1[:, :1] - e1 * d2[:, :1]) * sign
    total = np.zeros((2, *points.shape))
    for k in range(3):
        np.add.at(total[0], split.faces[:, k], along_u)
        np.add.at(total[1], split.faces[:, k], along_v)
    t = total[0] - (total[0] * normals).sum(1, keepdims=True) * normals
    lost = np.linalg.norm(t, axis=1) < 1e-12
    t[lost] = np.cross(normals[lost], np.where(np.abs(normals[lost, :1]) < 0.9, [[1.0, 0, 0]], [[0, 1.0, 0]]))
    t /= np.linalg.norm(t, axis=1, keepdims=True)
    w = np.where((np.cross(normals, t) * total[1]).sum(1) < 0, -1.0, 1.0)
    return np.concatenate([t, w[:, None]], axis=1)


@torch.no_grad()
def maps_of(
    track: Track,
    asset: HeadAsset,
    deca: DECA | None = None,
    texture: UInt8[np.ndarray, "H W 3"] | None = None,
) -> Maps | None:
    """The maps of a track of one face; None where the head has no texture coordinates.

    Args:
        deca: with it, and where the track has a detail code, there is a normal map.
        texture: instead of the head's own albedo, e.g. a photograph's.
    """
    if asset.uv is None:
        return None
    layout = UVLayout(asset, 256)
    covered = layout.covered.numpy() > 0.5
    if texture is None:
        texture = _albedo(track, asset)
        if texture.shape[:2] == covered.shape:
            texture = _spread(texture, covered)
    rough = np.stack([_painted(asset, layout, parts) for parts in (_OPEN, _ROUGHNESS)] + [np.zeros(covered.shape)], -1)
    normal = None if deca is None or track.detail is None else _normal_map(track, asset, deca)
    return Maps(texture, _spread(_bytes(rough), covered), normal)


def _painted(asset: HeadAsset, layout: UVLayout, parts: dict[str, float]) -> Float[np.ndarray, "h w"]:
    """Values of the parts of a head over the map: those of skin, or 1, where no part is named."""
    values = np.full((layout.size, layout.size), parts.get("skin", 1.0))
    for name, value in parts.items():
        if name in asset.regions:
            mask = layout.carry(torch.from_numpy(asset.regions[name].astype(np.float32))[:, None])[0].numpy()
            values += mask * (value - values)
    return values


def _albedo(track: Track, asset: HeadAsset) -> UInt8[np.ndarray, "H W 3"]:
    if asset.albedo_mean is None:
        return _bytes(np.full((16, 16, 3), _GREY))
    if track.albedo is None or asset.albedo_basis is None:
        return _bytes(asset.albedo_mean)
    mean, basis = torch.from_numpy(asset.albedo_mean), torch.from_numpy(asset.albedo_basis)
    codes = torch.from_numpy(track.albedo[0].astype(np.float32))
    return _bytes(albedo_texture(mean, basis, codes).movedim(0, -1).numpy())


def _normal_map(track: Track, asset: HeadAsset, deca: DECA) -> UInt8[np.ndarray, "n n 3"]:
    """Normals of the detailed surface of the neutral face, in the tangent space that the exported mesh has."""
    assert track.detail is not None
    neutral = deca.head.neutral(1)
    displacement = deca.detail_decoder(neutral.jaw, neutral.expression, torch.from_numpy(track.detail[:1])).float()
    mesh = deca.head.mesh(replace(neutral, shape=track.params(slice(0, 1)).shape))
    detailed = deca.surface(mesh, displacement).normals[0].numpy()
    split = split_seams(asset)
    normals = vertex_normals(mesh)[0].numpy()[split.source].astype(np.float64)
    tangents = tangents_of(mesh.vertices[0].numpy()[split.source].astype(np.float64), normals, split)
    # Vertices of the split mesh, carried over the map by their own triangles.
    layout = deca.layout
    frames = torch.from_numpy(np.concatenate([normals, tangents], axis=1).astype(np.float32))
    carried = _carry_split(frames, split, asset, layout)
    n, t, w = carried[:3], carried[3:6], np.sign(carried[6:7])
    n, t = (x / np.maximum(np.linalg.norm(x, axis=0, keepdims=True), 1e-6) for x in (n, t))
    b = np.cross(n, t, axis=0) * w
    local = np.stack([(detailed * axis).sum(0) for axis in (t, b, n)], axis=-1)
    covered = layout.covered.numpy() > 0.5
    local[~covered] = (0.0, 0.0, 1.0)
    local /= np.maximum(np.linalg.norm(local, axis=-1, keepdims=True), 1e-6)
    tilt = np.linalg.norm(local[..., :2], axis=-1, keepdims=True)
    local[..., :2] *= np.minimum(1, _STEEPEST / np.maximum(tilt, 1e-6))
    local[..., 2] = np.sqrt(np.maximum(1 - np.square(local[..., :2]).sum(-1), 0))
    return _spread(_bytes(local / 2 + 0.5), covered)


def _carry_split(values: torch.Tensor, split: Split, asset: HeadAsset, layout: UVLayout) -> np.ndarray:
    """Values of the split vertices over the map: texture vertex i takes them from one split vertex that shows it."""
    assert asset.uv_faces is not None and asset.uv is not None
    shown = np.zeros(len(asset.uv), np.int64)
    shown[asset.uv_faces.ravel()] = split.faces.ravel()
    over = UVLayout(replace(asset, faces=asset.uv_faces), layout.size)
    return over.carry(values[torch.from_numpy(shown)]).numpy()


def _bytes(values: np.ndarray) -> np.ndarray:
    return np.round(np.clip(values, 0, 1) * 255).astype(np.uint8)


def _spread(image: np.ndarray, covered: np.ndarray) -> np.ndarray:
    """The picture with every texel outside the map set to the nearest inside: smaller copies stay free of borders."""
    nearest = np.asarray(distance_transform_edt(~covered, return_distances=False, return_indices=True))
    return image[nearest[0], nearest[1]]
