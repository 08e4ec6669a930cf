"""The composite: the photograph's own pixels, moved with the head, its light changed as the head turns.

Every pixel asks where it comes from. On the face that is told by the mesh (which point of the surface is seen, and
where the photograph has that point), around it by the field; between the two the *places* are blended, not the colours,
so nothing tears and nothing is doubled. Where the photograph does not show the surface (inside of the mouth, under the
lids, the far cheek) the completed texture stands in, as far as the surface has left the photograph's. The person is
laid over a background that stays. A head as the photograph has it gives the photograph, to the pixel.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from scipy.spatial import KDTree
from torch import Tensor

from model.params import Camera, FaceParams
from model.raster import rasterise
from model.shading import sh_shading
from reenact.align import neighbours
from reenact.departure import Departure
from reenact.field import Field
from reenact.kernels import carry, mix_colours, mix_sources, over, resolve
from reenact.matte import Window, look_at
from reenact.mouth import Mouth
from reenact.rig import Posed, Rig
from reenact.sampling import look_up
from reenact.texture import texture_of

_MOUTH = ("inner_mouth", "teeth", "tongue")
_WHOLE = (*_MOUTH, "left_eye", "right_eye")
_FOLDED = ("lips", "left_eyelid", "right_eyelid")
_FINE = (("lips",), ("left_eyelid",), ("right_eyelid",))
_CORE = ("nose", "lips", "left_eyelid", "right_eyelid")
_MARGIN = (0.004, 0.0022)
"""Metres from the eyeball over which lids are its margin, and how far from the eye's edge they are looked up."""
_FOLD, _VEIL = 0.007, 0.92
"""Metres from the eyeball to which a lid folds, and how far it takes the texture's colour when it is shut."""
_DRAWN = (1.5, 3.0)
"""Growth of a lid's faces from which the photograph is drawn out too far, and at which it says nothing."""
_SLIT = (0.6, 1.0, 0.75)
"""How far an eye shuts from where on it is a dark slit, where it is wholly, and how dark."""
_RATIO = (0.75, 1.3)
"""How far light may darken or brighten a place: beyond it the model knows less than the photograph."""
_SMOOTHED = 6
"""Rounds of averaging with the neighbours of how light changes: a second-order light knows no sharper shadow."""
_LEAST = 0.15


@dataclass(frozen=True)
class _OnMesh:
    """Of a box's pixels: what `kernels.carry` gives, the texture (RGB, seen), the ratio of shading by wrinkles."""

    carried: Float[np.ndarray, "h w 8"]
    texture: Float[np.ndarray, "h w 4"]
    relief: Float[np.ndarray, "h w"]


class Composer:
    """Draws a target's photograph with its head in another pose and expression.

    Args:
        rig: the aligned head.
    """

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        target, asset = rig.target, rig.head.asset
        if asset.uv is None or asset.uv_faces is None:
            raise ValueError(f"head {asset.name} has no texture coordinates; the composite needs them")
        self._scene = look_at(target)
        self._window = self._scene.window
        self._field = Field(rig, self._scene)
        width = float(np.ptp(rig.photo.points[:, 0].numpy()))
        texture = texture_of(rig, self._scene, 512 if width < 360 else 1024)
        self._texture = np.dstack([texture.colour, texture.seen]).astype(np.float32)
        size = self._texture.shape[0]
        self._uv = np.stack([asset.uv[:, 0] * size, (1 - asset.uv[:, 1]) * size], 1).astype(np.float32)
        self._uv_faces = asset.uv_faces.astype(np.int64)
        self._faces = rig.head.faces.numpy()
        self._share, self._edge = _shares(rig)
        self._mouth = Mouth(rig, self._scene)
        # Lids and lips unfold: what their normals were on the photograph says little.
        self._relit = 1 - np.maximum(_union(rig, _WHOLE), _union(rig, _FOLDED))
        self._person = self._scene.person(self._window.of(target.image))
        self._departure = Departure(rig)
        self._fine = [rows for names in _FINE if len(rows := np.flatnonzero(_union(rig, names) > 0.5))]
        self._lids = _lids_of(rig)
        self._mean = neighbours(self._faces, len(self._share))
        self._before = _shading(rig.photo.normals, target.light)

    @property
    def window(self) -> Window:
        """The part of the photograph in which anything moves."""
        return self._window

    @property
    def texture(self) -> Float[np.ndarray, "h w 4"]:
        """The completed texture, RGB in [0, 255], and how far the photograph shows it."""
        return self._texture

    def draw(
        self,
        posed: Posed,
        params: FaceParams,
        camera: Camera,
        opening: float,
        relief: Float[np.ndarray, "h w"] | None = None,
    ) -> UInt8[np.ndarray, "H W 3"]:
        """The photograph with the head so.

        Args:
            posed, params, camera: one head.
            opening: height of the opening of the mouth, metres.
            relief: over the UV map, by how much wrinkles change the shading.
        """
        window = self._window
        source = self._field.sources(posed, params, camera)
        attributes = self._attributes(posed, params, camera, opening)
        points = posed.points - posed.points.new_tensor([window.x0, window.y0, 0])
        whole = self._box(points, slice(None))
        mesh = self._on_mesh(points, attributes, relief, whole, 1)
        mix_sources(source, mesh.carried, whole[0], whole[1])
        picture = look_up(self._person, source, "cubic")
        self._coloured(picture, source, mesh, whole[:2], float(camera.s))
        for rows in self._fine:
            self._refine(picture, source, points, attributes, relief, self._box(points, rows), float(camera.s))
        out = self._rig.target.image.copy()
        over(picture, self._scene.background, window.of(out))
        return out

    def _refine(self, picture, source, points, attributes, relief, box, pixel: float) -> None:
        """Draw a small part again with four samples per pixel: edges of lips, teeth and lids are smooth then."""
        left, top, right, bottom = box
        mesh = self._on_mesh(points, attributes, relief, box, 2)
        size = (2 * (right - left), 2 * (bottom - top))
        fine = cv2.resize(source[top:bottom, left:right], size, interpolation=cv2.INTER_LINEAR)
        mix_sources(fine, mesh.carried, 0, 0)
        drawn = look_up(self._person, fine, "cubic")
        self._coloured(drawn, fine, mesh, (0, 0), 2 * pixel)
        resolve(drawn, fine, mesh.carried[..., 2], picture, left, top)

    def _coloured(self, picture, source, mesh: _OnMesh, corner: tuple[int, int], pixel: float) -> None:
        """Light, texture and the mouth's inside put on looked-up pixels, in place; `pixel` per metre."""
        left, top = corner
        h, w = mesh.relief.shape
        inside = mesh.carried[..., 4]
        mesh.carried[..., 3] *= self._mouth.edges(inside, pixel)
        if self._mouth.shown is not None:
            shown = look_up(self._mouth.shown, source[top : top + h, left : left + w])
            mesh.texture[..., 3] = np.where(inside > 0.5, shown, mesh.texture[..., 3])
        mix_colours(picture, mesh.carried, mesh.texture, mesh.relief, left, top)

    def _box(self, points: Float[Tensor, "V 3"], rows: slice | np.ndarray) -> tuple[int, int, int, int]:
        """The pixels of the window that some vertices lie in, with a margin: left, top, right, bottom; at least one."""
        width, height = self._window.size
        some = points[rows, :2].numpy()
        low, high = np.floor(some.min(0)).astype(int) - 2, np.ceil(some.max(0)).astype(int) + 2
        left, top = (int(np.clip(v, 0, most - 1)) for v, most in zip(low, (width, height), strict=True))
        right, bottom = (int(np.clip(v, 1, most)) for v, most in zip(high, (width, height), strict=True))
        return left, top, max(right, left + 1), max(bottom, top + 1)

    def _on_mesh(self, points, attributes, relief, box, samples: int) -> _OnMesh:
        """What the mesh's pixels in a box carry, the texture and the wrinkles there."""
        left, top, right, bottom = box
        shifted = (points - points.new_tensor([left, top, 0])) * points.new_tensor([samples, samples, 1])
        h, w = samples * (bottom - top), samples * (right - left)
        fragments = rasterise(shifted, self._rig.head.faces, h, w, cull=True)
        carried = np.empty((h, w, attributes.shape[1]), np.float32)
        uv = np.empty((h, w, 2), np.float32)
        face, barycentric = fragments.face.numpy(), fragments.barycentric.numpy()
        carry(face, barycentric, self._faces, self._uv_faces, attributes, self._uv, carried, uv)
        texture = look_up(self._texture, uv)
        if relief is None:
            return _OnMesh(carried, texture, np.ones((h, w), np.float32))
        scale = np.float32(relief.shape[0] / self._texture.shape[0])
        return _OnMesh(carried, texture, look_up(relief, uv * scale))

    def _attributes(self, posed: Posed, params: FaceParams, camera: Camera, opening: float) -> Float[np.ndarray, "V 8"]:
        """Place on the photograph (x, y in the window), share, light and whether inside the mouth, ratio, veil, and
        how far the surface has left the photograph's."""
        normals, names = posed.normals, self._rig.head.asset.expression_names
        share = self._share * (1 - self._edge * (1 - _ramp(normals[:, 2].numpy(), 0.05, 0.4)))
        place, veil = self._rig.photo.points[:, :2].numpy(), np.zeros(len(share))
        slit = np.ones(len(share))
        for lids in self._lids:
            own, now = (float(p.expression[names.index(lids.unit)]) for p in (self._rig.target.params, params))
            shut = float(np.clip((now - own) / max(1 - own, 0.2), 0, 1))
            place, veil = place + shut * lids.margin, veil + shut * lids.folded
            slit = slit * (1 - _SLIT[2] * _ramp(np.full(len(share), shut), *_SLIT[:2]) * lids.ball)
        place = self._mouth.sources(place, posed, params, camera)
        place = place - np.array([self._window.x0, self._window.y0])
        light = self._mouth.light(posed, opening)
        ratio = (_shading(normals, self._rig.target.light) / self._before).clip(*_RATIO)
        for _ in range(_SMOOTHED):
            ratio = self._mean @ ratio
        ratio = slit * (1 + self._relit * (ratio - 1))
        left = self._departure(posed, params)
        return np.column_stack([place, share, light, self._mouth.inside, ratio, veil, left]).astype(np.float32)


@dataclass(frozen=True)
class _Lids:
    """What changes at an eye that shuts.

    Attributes:
        unit: that shuts it.
        margin: by how many pixels the photograph is looked up further from the eye's opening. However well lids are
            aligned, their outermost pixels on the photograph are half the eye's.
        folded: how far the texture stands in: what shows of an open eye's lid is the shadow of its fold, and a few
            pixels of it would be drawn out over many.
        ball: 1 on the eyeball.
    """

    unit: str
    margin: Float[np.ndarray, "V 2"]
    folded: Float[np.ndarray, " V"]
    ball: Float[np.ndarray, " V"]


def _lids_of(rig: Rig) -> list[_Lids]:
    asset, points, target = rig.head.asset, rig.photo.points.numpy(), rig.target
    scale = float(target.camera.s)
    result = []
    for unit, side in (("eyeBlinkLeft", "left"), ("eyeBlinkRight", "right")):
        eye, lid = (asset.regions.get(f"{side}_{name}") for name in ("eye", "eyelid"))
        if eye is None or lid is None or unit not in asset.expression_names:
            continue
        ball = np.flatnonzero(eye > 0.5)
        centre = points[ball, :2].mean(0)
        near = KDTree(asset.template[ball]).query(asset.template)[0]
        own = np.asarray(lid) * (eye < 0.5)
        away = np.where(points[:, 1:2] > centre[1], 1.0, -1.0) * np.array([[0.0, 1.0]])
        margin = (own * np.exp(-((near / _MARGIN[0]) ** 2)))[:, None] * away * _MARGIN[1] * scale
        expression = target.params.expression.clone()
        expression[asset.expression_names.index(unit)] = 1
        shut = rig.posed(replace(target.params, expression=expression), target.camera)
        drawn_out = _ramp(_growth(rig.photo, shut), *_DRAWN)
        folded = _VEIL * own * np.maximum(np.exp(-((near / _FOLD) ** 4)), drawn_out)
        result.append(_Lids(unit, margin, folded, np.asarray(eye, float)))
    return result


def _growth(before: Posed, after: Posed) -> Float[np.ndarray, " V"]:
    """By what factor the largest of a vertex's faces grows in the picture."""
    faces = after.mesh.faces.numpy()
    corners = (posed.points[:, :2].numpy()[faces] for posed in (before, after))
    small, large = (np.abs(np.cross(c[:, 1] - c[:, 0], c[:, 2] - c[:, 0])) for c in corners)
    result = np.zeros(len(after.normals))
    np.maximum.at(result, faces.reshape(-1), np.repeat(large / np.maximum(small, 1e-3), 3))
    return result


def _shares(rig: Rig) -> tuple[Float[np.ndarray, " V"], Float[np.ndarray, " V"]]:
    """How far the mesh tells where pixels come from: all over the face, fading to its edge; and where that edge is."""
    face = _union(rig, ("face",) if "face" in rig.head.asset.regions else ("skin",))
    ears = _union(rig, ("left_ear", "right_ear"))
    whole = _union(rig, _WHOLE)
    share = np.maximum(_ramp(face, 0.3, 0.95) * (1 - ears), whole)
    core = np.maximum(_union(rig, _CORE), whole)
    return share, 1 - core


def _union(rig: Rig, names: tuple[str, ...]) -> Float[np.ndarray, " V"]:
    regions = rig.head.asset.regions
    mask = np.zeros(len(rig.head.asset.template))
    for name in names:
        mask = np.maximum(mask, regions.get(name, 0 * mask))
    return mask


def _ramp(x: np.ndarray, low: float, high: float) -> np.ndarray:
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def _shading(normals: Float[Tensor, "V 3"], light: Float[Tensor, "9 3"]) -> Float[np.ndarray, " V"]:
    """Brightness; never so dark that a ratio of two would mean nothing: shadows it does not explain are kept."""
    return sh_shading(normals, light).mean(1).clamp(min=_LEAST).numpy() + 0.1
