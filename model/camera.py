"""Scaled-orthographic cameras: head space in metres (camera axes) to pixels of the full frame, and DECA's crop cameras.

Full frame: ``u = s X + tx``, ``v = -s Y + ty``. Depth is ``s Z``, in pixels too, larger is nearer to the viewer.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from model.crop import Crop
from model.params import Camera, CropCamera


def project(camera: Camera, points: Float[Tensor, "*batch N 3"]) -> Float[Tensor, "*batch N 2"]:
    """Points in camera axes, metres, to pixels of the full frame."""
    return project_with_depth(camera, points)[..., :2]


def project_with_depth(camera: Camera, points: Float[Tensor, "*batch N 3"]) -> Float[Tensor, "*batch N 3"]:
    """Pixels u, v and depth s Z (px, larger is nearer), as the rasterisers take them."""
    scaled = camera.s[..., None, None] * points
    u = scaled[..., 0] + camera.t[..., 0, None]
    v = camera.t[..., 1, None] - scaled[..., 1]
    return torch.stack([u, v, scaled[..., 2]], dim=-1)


def unproject(
    camera: Camera, pixels: Float[Tensor, "*batch N 2"], depth: Float[Tensor, "*batch N"]
) -> Float[Tensor, "*batch N 3"]:
    """Pixels u, v and depth s Z (px) back to camera axes, metres; the inverse of `project_with_depth`."""
    x = pixels[..., 0] - camera.t[..., 0, None]
    y = camera.t[..., 1, None] - pixels[..., 1]
    return torch.stack([x, y, depth], dim=-1) / camera.s[..., None, None]


def project_crop(camera: CropCamera, points: Float[Tensor, "*batch N 3"]) -> Float[Tensor, "*batch N 3"]:
    """Points in camera axes, metres, to DECA's image axes: x right, y down, z away, [−1, 1] over the crop."""
    shift = torch.cat([camera.t, torch.zeros_like(camera.t[..., :1])], dim=-1)
    flip = points.new_tensor([1.0, -1.0, -1.0])
    return camera.s[..., None, None] * (points + shift[..., None, :]) * flip


def lift(camera: CropCamera, crop: Crop) -> Camera:
    """The full-frame camera that sees what the crop camera sees. Exact: a crop is a similarity of the frame."""
    s = camera.s * crop.size / 2
    x = crop.centre[..., 0] + s * camera.t[..., 0]
    y = crop.centre[..., 1] - s * camera.t[..., 1]
    return Camera(s, torch.stack([x, y], dim=-1))


def lower(camera: Camera, crop: Crop) -> CropCamera:
    """The crop camera that sees what the full-frame camera sees; the inverse of `lift`."""
    x = (camera.t[..., 0] - crop.centre[..., 0]) / camera.s
    y = (crop.centre[..., 1] - camera.t[..., 1]) / camera.s
    return CropCamera(camera.s * 2 / crop.size, torch.stack([x, y], dim=-1))
