"""The head of a track as triangles to draw: coarse, with detail, or with its texture.

Viewers draw a mesh in one colour, so the head comes in parts (skin, eyeballs, irises, teeth, tongue).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch.nn.functional import interpolate as resize

from model.asset import HeadAsset
from model.deca import DECA
from model.dense import DenseSurface
from model.head import HeadModel
from model.mesh import vertex_normals
from model.params import FaceParams
from model.views import shading_view

SUBDIVISION = 3
"""Pieces of an edge in the detailed skin: triangles of about 1.5 mm, two texels of F_d's map."""

_COLOURS: dict[str, tuple[int, int, int]] = {
    "skin": (203, 208, 217),
    "eyes": (244, 244, 244),
    "iris": (58, 84, 108),
    "pupil": (24, 26, 30),
    "teeth": (240, 238, 230),
    "mouth": (122, 66, 68),
}
_IRIS, _PUPIL = 0.0062, 0.0024  # metres from the foremost point of the eyeball


@dataclass(frozen=True)
class Part:
    """Triangles of one colour.

    Attributes:
        name: unique.
        colour: RGB.
        vertices: which of the surface's vertices the part uses.
        faces: triangles among these.
    """

    name: str
    colour: tuple[int, int, int]
    vertices: Int[np.ndarray, "P"]
    faces: Int[np.ndarray, "F 3"]


@dataclass(frozen=True)
class Textured:
    """A surface with a picture on it, light included.

    Attributes:
        vertices: metres, camera axes; one per texture vertex.
        texture: RGB, row 0 is v = 1.
    """

    vertices: Float[np.ndarray, "VT 3"]
    texture: UInt8[np.ndarray, "H W 3"]


class Surfaces:
    """Poses a head for drawing.

    Attributes:
        coarse_parts, detailed_parts: how the surfaces divide; of the detailed one only the skin is finer.

    Args:
        deca: of the head, in evaluation mode; None where there are no weights: neither detail nor texture then.
    """

    def __init__(self, head: HeadModel, deca: DECA | None = None, subdivision: int = SUBDIVISION) -> None:
        self.head = head
        self._deca = deca
        owner = _face_parts(head.asset)
        self.coarse_parts = _parts(head.asset.faces, owner)
        self.detailed_parts = self.coarse_parts
        self._dense: DenseSurface | None = None
        if deca is not None:
            self._dense = DenseSurface(head.asset, subdivision)
            self.detailed_parts = _parts(self._dense.faces.numpy(), np.repeat(owner, subdivision**2))

    @property
    def has_detail(self) -> bool:
        """Whether `detailed` and `textured` can be asked for."""
        return self._deca is not None

    @property
    def uv(self) -> Float[np.ndarray, "VT 2"]:
        """Texture coordinates of `Textured.vertices`, origin at the bottom-left."""
        assert self.head.asset.uv is not None
        return self.head.asset.uv

    @property
    def uv_faces(self) -> Int[np.ndarray, "F 3"]:
        """Triangles among `Textured.vertices`."""
        assert self.head.asset.uv_faces is not None
        return self.head.asset.uv_faces

    def coarse(self, face: FaceParams) -> Float[np.ndarray, "V 3"]:
        """Vertices of one head, metres, camera axes."""
        with torch.inference_mode():
            return self.head(_batch(face))[0].numpy()

    def detailed(self, face: FaceParams, detail: Float[np.ndarray, "D"]) -> Float[np.ndarray, "W 3"]:
        """Vertices of one head displaced by F_d, metres, camera axes."""
        assert self._deca is not None and self._dense is not None
        with torch.inference_mode():
            batch = _batch(face)
            mesh = self.head.mesh(batch)
            return self._dense.points(mesh, self._displacement(batch, detail))[0].numpy()

    def textured(
        self,
        face: FaceParams,
        albedo: Float[np.ndarray, "A"],
        light: Float[np.ndarray, "9 3"],
        detail: Float[np.ndarray, "D"],
    ) -> Textured:
        """One head with its albedo under its light, shaded with the normals of the detailed surface (eq. 4)."""
        assert self._deca is not None
        deca = self._deca
        with torch.inference_mode():
            batch = _batch(face)
            mesh = self.head.mesh(batch)
            maps = deca.surface(mesh, self._map(batch, detail), vertex_normals(mesh))
            shading = shading_view(maps.normals, torch.from_numpy(np.asarray(light, np.float32))[None])
            texture = deca.albedo(torch.from_numpy(np.asarray(albedo, np.float32))[None]) * shading
            image = texture[0].clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).contiguous().numpy()
        return Textured(mesh.vertices[0].numpy()[self._corner_of_texture()], image)

    def _map(self, batch: FaceParams, detail: Float[np.ndarray, "D"]) -> torch.Tensor:
        assert self._deca is not None
        code = torch.from_numpy(np.asarray(detail, np.float32))[None]
        return self._deca.detail_decoder(batch.jaw, batch.expression, code).float()

    def _displacement(self, batch: FaceParams, detail: Float[np.ndarray, "D"]) -> torch.Tensor:
        """What lies along the normals where detail shows, metres; as `DetailMaps.displacement`."""
        assert self._deca is not None
        surface, drawn = self._deca.surface, self._map(batch, detail)
        size = surface.mask.shape[-1]
        if drawn.shape[-1] != size:
            drawn = resize(drawn[:, None], (size, size), mode="bilinear", align_corners=False)[:, 0]
        return drawn * surface.mask + surface.fixed

    def _corner_of_texture(self) -> Int[np.ndarray, "VT"]:
        """The vertex that each texture vertex belongs to."""
        asset = self.head.asset
        assert asset.uv is not None and asset.uv_faces is not None
        corner = np.zeros(len(asset.uv), np.int64)
        corner[asset.uv_faces.reshape(-1)] = asset.faces.reshape(-1)
        return corner


def _batch(face: FaceParams) -> FaceParams:
    return FaceParams(*(getattr(face, name)[None] for name in FaceParams.__dataclass_fields__))


def _parts(faces: Int[np.ndarray, "F 3"], owner: Int[np.ndarray, "F"]) -> list[Part]:
    parts = []
    for number, (name, colour) in enumerate(_COLOURS.items()):
        mine = faces[owner == number]
        if len(mine):
            vertices, inverse = np.unique(mine, return_inverse=True)
            parts.append(Part(name, colour, vertices, inverse.reshape(-1, 3)))
    return parts


def _face_parts(asset: HeadAsset) -> Int[np.ndarray, "F"]:
    """Which of `_COLOURS` every triangle has."""
    names = list(_COLOURS)
    part = np.zeros(len(asset.template), np.int64)
    count = len(asset.template)

    def region(*which: str) -> np.ndarray:
        return np.max([asset.regions.get(name, np.zeros(count)) for name in which], axis=0) > 0.5

    part[region("inner_mouth", "tongue")] = names.index("mouth")
    part[region("teeth")] = names.index("teeth")
    for eye in ("left_eye", "right_eye"):
        ball = np.flatnonzero(region(eye))
        if not len(ball):
            continue
        part[ball] = names.index("eyes")
        place = asset.template[ball].astype(np.float64)
        front = place[place[:, 2] > place[:, 2].max() - 1e-4].mean(0)  # the eyes look ahead in the template
        distance = np.linalg.norm(place - front, axis=1)
        part[ball[distance < _IRIS]] = names.index("iris")
        part[ball[distance < _PUPIL]] = names.index("pupil")
    corners = part[asset.faces]
    owner = np.full(len(corners), names.index("skin"))
    for name in ("mouth", "teeth", "iris", "eyes"):  # a triangle on a border belongs to what is last in this list
        owner[(corners == names.index(name)).any(1)] = names.index(name)
    owner[(corners == names.index("skin")).any(1)] = names.index("skin")
    owner[(corners == names.index("pupil")).any(1)] = names.index("pupil")
    return owner
