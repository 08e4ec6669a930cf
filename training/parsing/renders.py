"""Rendered heads of openhead with the exact part of each pixel: turned further, opening the mouth wider and in harder
light than portraits are. They are bald or short-haired and have no body: an addition to photographs, no replacement."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import avg_pool2d

from model.asset import HeadAsset
from model.camera import project
from model.head import HeadModel
from model.params import Camera, FaceParams
from model.parsing import Part
from model.render import textured_view
from model.shading import albedo_texture, sh_shading
from training.parsing.portraits import SIDE, Portraits

# Later ones win. The scalp's texture shows cropped hair; its mask is soft along the hairline.
_REGIONS = (
    (Part.HAIR, ("scalp",), 0.45),
    (Part.NECK, ("neck",), 0.5),
    (Part.EARS, ("left_ear", "right_ear"), 0.5),
    (Part.NOSE, ("nose",), 0.5),
    (Part.BROWS, ("left_brow", "right_brow"), 0.3),
    (Part.LIPS, ("lips",), 0.5),
    (Part.MOUTH, ("inner_mouth", "teeth", "tongue"), 0.5),
    (Part.EYES, ("left_eye", "right_eye"), 0.5),
)


def render_portraits(
    asset: HeadAsset, count: int, seed: int, progress: Callable[[str, int, int], None] | None = None
) -> Portraits:
    """Random heads on black, as large as heads are in the photographs.

    Head k depends on the seed and k alone.

    Raises:
        ValueError: the head has no albedo, no texture coordinates or lacks a region.
    """
    if asset.albedo_mean is None or asset.albedo_basis is None or asset.uv is None or asset.uv_faces is None:
        raise ValueError(f"head {asset.name} has no albedo to render; use openhead")
    lacking = {name for _, names, _ in _REGIONS for name in names} - set(asset.regions)
    if lacking:
        raise ValueError(f"head {asset.name} has no region {', '.join(sorted(lacking))}; use openhead")
    head = HeadModel(asset)
    images = np.zeros((count, SIDE, SIDE, 3), np.uint8)
    parts = np.zeros((count, SIDE, SIDE), np.uint8)
    eyes = np.full((count, 2, 2), np.nan)
    for k in range(count):
        images[k], parts[k], eyes[k] = _portrait(asset, head, np.random.default_rng([seed, k]))
        if progress is not None:
            progress("rendering", k + 1, count)
    return Portraits(images, parts, eyes, tuple(f"{asset.name}-{seed}-{k}" for k in range(count)))


def keep_portraits(path: Path, make: Callable[[], Portraits], key: str) -> Portraits:
    """Portraits from a file, where it holds those of this key; else they are made and the file is written."""
    if path.is_file():
        with np.load(path, allow_pickle=False) as data:
            if str(data["key"]) == key:
                return Portraits(data["images"], data["parts"], data["eyes"], tuple(data["names"].tolist()))
    made = make()
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part.npz")
    np.savez(temporary, key=key, images=made.images, parts=made.parts, eyes=made.eyes, names=np.array(made.names, str))
    os.replace(temporary, path)
    return made


def _portrait(
    asset: HeadAsset, head: HeadModel, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, Float[np.ndarray, "2 2"]]:
    assert asset.albedo_mean is not None and asset.albedo_basis is not None
    assert asset.uv is not None and asset.uv_faces is not None
    mesh = head.mesh(_person(asset, rng))
    face = _float(asset.regions["face"])[:, None]
    centre = (mesh.vertices * face).sum(0) / face.sum()
    s = float(rng.uniform(950, 1250))
    place = SIDE * torch.tensor([0.5, 0.53]) + _float(rng.uniform(-12, 12, 2))
    camera = Camera(torch.tensor(s), torch.stack([place[0] - s * centre[0], place[1] + s * centre[1]]))

    codes = _float(rng.standard_normal(len(asset.albedo_basis)))
    texture = albedo_texture(_float(asset.albedo_mean), _float(asset.albedo_basis), codes)
    texture = (texture * _float(rng.uniform(0.5, 1.1) * rng.uniform(0.94, 1.06, 3))[:, None, None]).clamp(0.02, 1)
    fine = Camera(2 * camera.s, 2 * camera.t)
    uv, uv_faces = _float(asset.uv), torch.from_numpy(asset.uv_faces.astype(np.int64))
    view = textured_view(mesh, fine, texture, uv, uv_faces, 2 * SIDE, 2 * SIDE)
    parts = _parts(asset, mesh.faces, view.fragments.face, view.fragments.barycentric)
    colour = view.image
    if rng.random() < 0.8:  # other hair than the texture's
        tint = _float(rng.uniform(0.4, 1.0) * np.array([1.0, rng.uniform(0.75, 1), rng.uniform(0.5, 1)]))
        tint = tint * float(rng.choice([1.0, 1.0, 3.0]))
        colour = torch.where((parts == Part.HAIR)[None], colour * tint[:, None, None], colour)
    covered = avg_pool2d(view.alpha[None], 2)[0]
    normals = (avg_pool2d(view.normals[None], 2)[0] / covered.clamp(min=1e-3)).movedim(0, -1)
    shading = sh_shading(normals.flatten(0, 1), _light(rng)).view(normals.shape).movedim(-1, 0)
    lit = avg_pool2d(colour[None], 2)[0] * shading.clamp(min=0.05)
    lit = lit / lit.amax().clamp(min=1.0)
    image = (255 * lit.clamp(0, 1)).round().byte().movedim(0, -1).numpy()
    regions = [_float(asset.regions[name])[:, None] for name in ("right_eye", "left_eye")]
    middles = torch.stack([(mesh.vertices * region).sum(0) / region.sum() for region in regions])
    eyes = project(camera, middles).numpy().astype(np.float64)
    return image, parts[1::2, 1::2].byte().numpy(), eyes


def _person(asset: HeadAsset, rng: np.random.Generator) -> FaceParams:
    """Somebody doing something: yaw to ±85°, pitch to ±35°, mouth often open."""
    expression = rng.uniform(0, 1, len(asset.expression_names)) * (rng.random(len(asset.expression_names)) < 0.15)
    yaw = np.deg2rad(np.clip(38 * rng.standard_normal(), -85, 85))
    pitch = np.deg2rad(np.clip(14 * rng.standard_normal(), -35, 35))
    gaze = rng.uniform(-0.3, 0.3, 2) * np.array([0.6, 1.0])
    jaw = rng.uniform(0, 0.45) if rng.random() < 0.5 else 0.0
    return FaceParams(
        shape=_float(rng.standard_normal(asset.shapedirs.shape[-1])),
        expression=_float(expression),
        pose=_float(np.array([pitch, yaw, 0.0])),
        neck=_float(rng.normal(0, 0.1, 3)),
        jaw=_float(np.array([jaw, 0.0, 0.0])),
        eyes=_float(np.array([gaze[0], gaze[1], 0, gaze[0], gaze[1], 0])),
    )


def _parts(asset: HeadAsset, faces: Tensor, face: Tensor, barycentric: Tensor) -> Tensor:
    """The part of each pixel of a rendered view; background where there is no mesh."""
    names = sorted({name for _, group, _ in _REGIONS for name in group})
    masks = torch.stack([_float(asset.regions[name]) for name in names], dim=-1)
    seen = (masks[faces[face.clamp(min=0)]] * barycentric[..., None]).sum(-2)
    out = torch.full(face.shape, int(Part.SKIN))
    for part, group, least in _REGIONS:
        out[seen[..., [names.index(name) for name in group]].amax(-1) > least] = int(part)
    out[face < 0] = int(Part.BACKGROUND)
    return out


def _light(rng: np.random.Generator) -> Float[Tensor, "9 3"]:
    """A lamp from anywhere in front, more or less hard, of more or less warm light."""
    light = np.zeros(9)
    light[0] = rng.uniform(2.6, 3.6)
    direction = rng.standard_normal(3) * np.array([1.0, 0.7, 0.3]) + np.array([0, 0.3, 0.7])
    light[1:4] = rng.uniform(0.2, 1.4) * direction / np.linalg.norm(direction)
    light[4:] = 0.15 * rng.standard_normal(5)
    return _float(light[:, None] * rng.uniform(0.92, 1.08, 3))


def _float(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.asarray(values, np.float32))
