"""Random pictures of the head, and where on it the detector sees its points."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from scipy.spatial.transform import Rotation

from model.asset import HeadAsset, SurfacePoints
from model.camera import project_with_depth
from model.head import HeadModel
from model.params import Camera, FaceParams
from model.render import textured_view
from model.shading import albedo_texture
from tracker.detect import Detector
from tracker.observation import Frame

_SIDE = 400  # px of the pictures
_SIGMA = 1.5  # identities and albedos are held within
_YAW, _PITCH, _ROLL = np.radians([45.0, 25.0, 20.0])


@dataclass(frozen=True)
class Sighting:
    """The detector's points on one picture of the head.

    Attributes:
        points: what lies under each of them; triangle −1 where they miss the head.
        facing: z of the surface's normal there, camera axes: 1 seen head-on, 0 at the silhouette.
        pixels: the points, px.
        vertices: all vertices of the head in the picture: px, px, and metres towards the viewer.
    """

    points: SurfacePoints
    facing: Float[np.ndarray, " 478"]
    pixels: Float[np.ndarray, "478 2"]
    vertices: Float[np.ndarray, "V 3"]


def sightings(asset: HeadAsset, detector: Detector, count: int, seed: int) -> Iterator[Sighting | None]:
    """Draw `count` random heads and detect the points on each; None where the detector finds no face."""
    head = HeadModel(asset)
    random = np.random.default_rng(seed)
    for _ in range(count):
        params, camera = random_pose(head, random)
        image, vertices, face = picture(head, params, camera, random)
        found = detector.detect(Frame(0, 0.0, image))
        yield cast(asset, found[0].points, vertices, face) if found else None


def random_pose(head: HeadModel, random: np.random.Generator) -> tuple[FaceParams, Camera]:
    """A person, a view and a mild expression; the jaw is often open, the eyes now and then closed (batch of one)."""
    names = head.asset.expression_names
    expression = np.zeros(len(names))
    if random.random() < 0.6:
        chosen = random.choice(len(names), size=4, replace=False)
        expression[chosen] = random.uniform(0.1, 0.5, size=4)
    if random.random() < 0.15:
        expression[[names.index("eyeBlinkLeft"), names.index("eyeBlinkRight")]] = random.uniform(0.5, 1.0)
    expression[names.index("tongueOut")] = 0.0
    jaw = np.array([random.uniform(0.05, 0.35) if random.random() < 0.4 else 0.0, 0.0, 0.0])
    gaze = np.r_[random.uniform(-0.2, 0.2), random.uniform(-0.35, 0.35), 0.0]
    yaw, pitch, roll = random.uniform(-1, 1, size=3) * [_YAW, _PITCH, _ROLL]
    pose = Rotation.from_euler("ZXY", [roll, pitch, yaw]).as_rotvec()
    shape = np.clip(random.standard_normal(head.asset.shapedirs.shape[-1]), -_SIGMA, _SIGMA)
    scale = _SIDE * random.uniform(2.6, 3.6)
    centre = _SIDE * (0.5 + random.uniform(-0.05, 0.05, size=2)) + [0.0, -0.02 * scale]

    def row(values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.asarray(values, np.float32))[None]

    neck = np.zeros(3)
    params = FaceParams(row(shape), row(expression), row(pose), row(neck), row(jaw), row(np.r_[gaze, gaze]))
    return params, Camera(torch.tensor([scale], dtype=torch.float32), row(centre))


def picture(
    head: HeadModel, params: FaceParams, camera: Camera, random: np.random.Generator
) -> tuple[UInt8[np.ndarray, "H W 3"], Float[np.ndarray, "V 3"], Int[np.ndarray, "H W"]]:
    """The head with random skin, light and background; its vertices in the picture; the triangle at every pixel."""
    asset = head.asset
    assert asset.albedo_mean is not None and asset.albedo_basis is not None
    assert asset.uv is not None and asset.uv_faces is not None
    codes = np.clip(random.standard_normal(len(asset.albedo_basis)), -_SIGMA, _SIGMA)
    texture = albedo_texture(
        torch.from_numpy(asset.albedo_mean), torch.from_numpy(asset.albedo_basis), torch.from_numpy(codes).float()
    )
    # Light from everywhere, and some from a side; the head is lit enough to be seen.
    direction = random.standard_normal(3) * [0.6, 0.5, 0.2] + [0.0, 0.2, 0.6]
    light = np.zeros((1, 9, 3), np.float32)
    light[:, 0] = random.uniform(2.0, 3.4) * (1 + random.uniform(-0.08, 0.08, size=3))
    light[:, 1:4] = (direction / np.linalg.norm(direction))[:, None] * random.uniform(0.2, 0.9)
    mesh = head.mesh(params)
    view = textured_view(
        mesh, camera, texture[None], torch.from_numpy(asset.uv), torch.from_numpy(asset.uv_faces), _SIDE, _SIDE,
        torch.from_numpy(light),
    )  # fmt: skip
    linear = view.image[0].clamp(0, 1).movedim(0, -1).numpy()
    linear = linear + (1 - view.alpha[0, 0, :, :, None].numpy()) * random.uniform(0.0, 0.8, size=3)
    image = np.round(255 * linear ** (1 / 2.2)).astype(np.uint8)
    vertices = project_with_depth(camera, mesh.vertices)[0].numpy().astype(np.float64)
    return np.ascontiguousarray(image), vertices, view.fragments.face[0].numpy()


def cast(
    asset: HeadAsset,
    pixels: Float[np.ndarray, "478 2"],
    vertices: Float[np.ndarray, "V 3"],
    face: Int[np.ndarray, "H W"],
) -> Sighting:
    """What lies under points of a picture: the triangle of their pixel, and the place in it (held inside)."""
    height, width = face.shape
    column, row = np.floor(pixels).astype(int).T
    inside: Bool[np.ndarray, " 478"] = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    hit = np.where(inside, face[np.clip(row, 0, height - 1), np.clip(column, 0, width - 1)], -1)
    corner = vertices[asset.faces[hit]]
    a, b, c = corner[:, 0, :2], corner[:, 1, :2], corner[:, 2, :2]
    area = _cross(b - a, c - a)
    area = np.where(np.abs(area) > 1e-12, area, 1e-12)
    weights = np.stack([_cross(b - pixels, c - pixels), _cross(c - pixels, a - pixels), _cross(a - pixels, b - pixels)])
    weights = np.clip(weights / area, 0.0, None).T + 1e-12
    scale = np.array([1.0, -1.0, 0.0])  # y down in pictures; depth is in metres, so normals need the scale
    size = np.linalg.norm(vertices[:, :2].max(axis=0) - vertices[:, :2].min(axis=0))
    metres = asset.template[:, :2].max(axis=0) - asset.template[:, :2].min(axis=0)
    scale[2] = size / np.linalg.norm(metres)
    edge = (corner - corner[:, :1]) * scale
    normal = np.cross(edge[:, 1], edge[:, 2])
    facing = normal[:, 2] / np.maximum(np.linalg.norm(normal, axis=1), 1e-12)
    return Sighting(SurfacePoints(hit, weights / weights.sum(axis=1, keepdims=True)), facing, pixels, vertices)


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
