"""Pictures of a head: the textured and lit view, the grey shape view, and a mesh drawn over a frame of video."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from torch.nn.functional import normalize

from model import views
from model.asset import HeadAsset
from model.camera import project_with_depth
from model.mesh import Mesh, vertex_normals
from model.params import Camera
from model.raster import Fragments, rasterise
from model.uv import grid_coordinates, sample
from model.views import look, normal_view, shading_view


@dataclass(frozen=True)
class View:
    """A picture of a mesh.

    Attributes:
        image: RGB, black where there is no mesh.
        alpha: 1 where the mesh is, 0 elsewhere.
        normals: vertex normals in camera axes, interpolated (as in DECA not brought back to unit length), else zero.
        fragments: what is seen at every pixel.
    """

    image: Float[Tensor, "*batch 3 H W"]
    alpha: Float[Tensor, "*batch 1 H W"]
    normals: Float[Tensor, "*batch 3 H W"]
    fragments: Fragments


def shape_view(mesh: Mesh, camera: Camera, height: int, width: int) -> View:
    """The grey mesh under five lights from the viewer's side (DECA's shape image)."""
    surface = look(mesh, camera, height, width)
    image, alpha = views.shape_view(surface)
    return View(image, alpha, normal_view(surface), surface.fragments)


def textured_view(
    mesh: Mesh,
    camera: Camera,
    texture: Float[Tensor, "*batch 3 h w"],
    uv: Float[Tensor, "VT 2"],
    uv_faces: Int[Tensor, "F 3"],
    height: int,
    width: int,
    light: Float[Tensor, "*batch 9 3"] | None = None,
) -> View:
    """The mesh with its texture, times spherical-harmonics shading where a light is given (DECA eq. 3 and 4).

    Differentiable in vertices, texture and light; which triangle a pixel sees is constant.

    Args:
        texture: albedo, RGB, row 0 is v = 1.
        uv: texture vertices.
        uv_faces: texture triangles, parallel to the mesh's faces.
    """
    surface = look(mesh, camera, height, width)
    normals = normal_view(surface)
    spread = grid_coordinates(uv).expand(*mesh.vertices.shape[:-2], *uv.shape)
    colours = sample(texture, surface.carry(spread, uv_faces))
    if light is not None:
        colours = colours * shading_view(normals, light)
    return View(colours * surface.alpha, surface.alpha, normals, surface.fragments)


@dataclass(frozen=True)
class Paint:
    """How a mesh looks when it is drawn over a frame.

    Attributes:
        colours: per vertex, RGB in [0, 1].
        opacity: per vertex, [0, 1].
        texture: multiplies the colours, RGB, row 0 is v = 1.
        uv, uv_faces: texture vertices in [0, 1] and triangles, where there is a texture.
    """

    colours: Float[np.ndarray, "V 3"]
    opacity: Float[np.ndarray, " V"]
    texture: Float[np.ndarray, "H W 3"] | None = None
    uv: Float[np.ndarray, "VT 2"] | None = None
    uv_faces: Int[np.ndarray, "F 3"] | None = None


def overlay(
    frame: UInt8[np.ndarray, "H W 3"], mesh: Mesh, camera: Camera, paint: Paint, samples: int | None = None
) -> UInt8[np.ndarray, "H W 3"]:
    """The frame with the mesh drawn over it, shaded and smooth at its edges; the frame itself is not changed.

    Args:
        mesh: one mesh, camera axes.
        camera: of the full frame.
        samples: per pixel and axis; by default 2, and 1 for a head so large that its edges look smooth anyway.
    """
    from model.raster.paint import paint as paint_rows  # numba takes half a second to import

    mesh = Mesh(mesh.vertices.detach().cpu(), mesh.faces.cpu())
    points = project_with_depth(Camera(camera.s.detach().cpu(), camera.t.detach().cpu()), mesh.vertices)
    out = frame.copy()
    finite = points[points.isfinite().all(-1)]
    if not len(finite):
        return out
    low = finite[:, :2].amin(0).floor().long().clamp(min=0)
    high = finite[:, :2].amax(0).ceil().long().minimum(torch.tensor([frame.shape[1], frame.shape[0]]))
    (left, top), (right, bottom) = low.tolist(), high.tolist()
    if left >= right or top >= bottom:
        return out
    if samples is None:
        samples = 2 if (right - left) * (bottom - top) <= 400_000 else 1
    shifted = (points - points.new_tensor([left, top, 0])) * points.new_tensor([samples, samples, 1])
    height, width = bottom - top, right - left
    fragments = rasterise(shifted, mesh.faces, height * samples, width * samples, cull=True)

    light = _preview_light(vertex_normals(mesh)).numpy()
    colours = np.clip(paint.colours * light[:, :1] + light[:, 1:], 0, None) * 255
    uv, uv_faces, texture = paint.uv, paint.uv_faces, paint.texture
    if uv is None or uv_faces is None or texture is None:
        uv, uv_faces, texture = np.zeros((0, 2)), np.zeros((0, 3), np.int64), np.zeros((0, 0, 3))
    paint_rows(
        out[top:bottom, left:right],
        fragments.face.numpy(),
        fragments.barycentric.numpy(),
        mesh.faces.numpy(),
        colours.astype(np.float32),
        paint.opacity.astype(np.float32),
        uv.astype(np.float32),
        uv_faces,
        texture.astype(np.float32),
        samples,
    )
    return out


def clay(asset: HeadAsset) -> Paint:
    """Paint for previews: pale clay, transparent where hair and neck would be hidden, with the eyes, brows, lips and
    inner mouth of the head's regions coloured so that gaze, blinks and speech can be seen."""
    count = len(asset.template)
    colours = np.tile(np.array(_CLAY), (count, 1))
    opacity = np.full(count, 0.72)
    for name, (colour, opaque) in _REGION_PAINT.items():
        mask = asset.regions.get(name, np.zeros(count))
        opacity += mask * (opaque - opacity)
        if colour is not None:
            colours += mask[:, None] * (np.array(colour) - colours)
    for name in ("left_eye", "right_eye"):
        eyeball = np.flatnonzero(asset.regions.get(name, np.zeros(count)) > 0.5)
        if len(eyeball):
            # The eyes look straight ahead in the template, so the pupil is what lies furthest in front.
            place = asset.template[eyeball].astype(np.float64)
            pupil = place[place[:, 2] > place[:, 2].max() - 1e-4].mean(0)
            distance = np.linalg.norm(place - pupil, axis=1)[:, None]
            iris, centre = (np.clip((radius - distance) / 0.0015 + 0.5, 0, 1) for radius in (0.0062, 0.0022))
            colours[eyeball] += iris * (np.array(_IRIS) - colours[eyeball])
            colours[eyeball] *= 1 - 0.85 * centre
    return Paint(colours, opacity)


def skin(asset: HeadAsset, texture: Float[np.ndarray, "H W 3"] | None = None, opacity: float = 0.9) -> Paint:
    """Paint for previews: a texture, by default the head's mean albedo.

    Raises:
        ValueError: the head has no texture coordinates, or no albedo and none is given.
    """
    texture = asset.albedo_mean if texture is None else texture
    if texture is None or asset.uv is None:
        raise ValueError(f"head {asset.name} has no {'albedo' if texture is None else 'texture coordinates'}; use clay")
    count = len(asset.template)
    return Paint(np.ones((count, 3)), np.full(count, opacity), texture, asset.uv, asset.uv_faces)


_CLAY = (0.80, 0.83, 0.88)
_IRIS = (0.16, 0.30, 0.42)
_REGION_PAINT: dict[str, tuple[tuple[float, float, float] | None, float]] = {
    "scalp": (None, 0.30),
    "neck": (None, 0.30),
    "left_ear": (None, 0.45),
    "right_ear": (None, 0.45),
    "left_brow": ((0.42, 0.42, 0.46), 0.80),
    "right_brow": ((0.42, 0.42, 0.46), 0.80),
    "lips": ((0.80, 0.44, 0.45), 0.80),
    "inner_mouth": ((0.30, 0.12, 0.13), 0.90),
    "tongue": ((0.72, 0.36, 0.36), 0.90),
    "teeth": ((0.97, 0.96, 0.92), 0.90),
    "left_eye": ((0.98, 0.98, 0.98), 0.95),
    "right_eye": ((0.98, 0.98, 0.98), 0.95),
}


def _preview_light(normals: Float[Tensor, "V 3"]) -> Float[Tensor, "V 2"]:
    """A key light from above left, a weaker one from the viewer and a highlight: factor and addend of the colour."""
    key, front = normalize(normals.new_tensor([[-0.45, 0.65, 0.75], [0.1, 0.0, 1.0]]), dim=-1)
    half = normalize(key + normals.new_tensor([0.0, 0.0, 1.0]), dim=-1)
    factor = 0.22 + 0.55 * (normals @ key).clamp(min=0) + 0.33 * (normals @ front).clamp(min=0)
    return torch.stack([factor, 0.12 * (normals @ half).clamp(min=0) ** 24], dim=-1)
