"""The inside of the mouth: what the photograph shows of it stays on the skull, the rest is openhead's, in the dark."""

from __future__ import annotations

import cv2
import numpy as np
import roma
from jaxtyping import Float

from model.params import Camera, FaceParams
from model.parsing import Part
from reenact.matte import Scene
from reenact.rig import Posed, Rig

_DEEP = (0.009, 0.014)
"""Metres behind the lips at which the mouth begins to darken, and over which it does (to 1/e)."""
_OPEN, _NARROW = 0.007, 0.4
"""Height of the opening, metres, at which the mouth is fully lit, and how much light comes in through less."""
_SHADE = (0.55, 0.003)
"""Light right behind the lips' edges, and metres over which it comes up to full."""
_TONES = {"inner_mouth": 0.6, "tongue": 0.5, "teeth": 1.0}
_FLOOR = 0.2  # light that is left in the depth: flesh is never black
_LOWER_TEETH = 0.75
_PARTS = ("inner_mouth", "teeth", "tongue")
_SHOWN = 25  # px of open mouth from which a photograph's is used


class Mouth:
    """Shading and sources of the vertices inside of the mouth.

    Attributes:
        inside: 1 on these vertices.
        shown: where the photograph's own mouth is open, over the window; None where it is shut.
    """

    def __init__(self, rig: Rig, scene: Scene) -> None:
        self._rig = rig
        regions, template = rig.head.asset.regions, rig.head.asset.template
        count = len(template)
        self.inside = np.zeros(count)
        self._tone = np.ones(count)
        for name in _PARTS:
            region = np.asarray(regions.get(name, np.zeros(count)), float)
            self.inside = np.maximum(self.inside, region)
            self._tone += region * (_TONES[name] - self._tone)
        teeth = np.flatnonzero(np.asarray(regions.get("teeth", np.zeros(count))) > 0.5)
        jaw = np.asarray(rig.head.asset.weights[:, 2])
        self._tone[teeth[jaw[teeth] > 0.5]] *= _LOWER_TEETH
        lips = np.asarray(regions.get("lips", np.zeros(count)), float)
        self._lips = lips / max(lips.sum(), 1e-6)
        upper = teeth[jaw[teeth] <= 0.5]
        front = upper[template[upper, 2] > template[upper, 2].max() - 0.004] if len(upper) else np.zeros(0, int)
        self._rows = np.flatnonzero(self.inside > 0.5)
        self._front = front
        self.shown = None
        shown = scene.parts[Part.MOUTH]
        if len(front) and (shown > 0.5).sum() >= _SHOWN:
            self.shown = np.clip((cv2.GaussianBlur(shown, (0, 0), 0.8) - 0.45) * 3, 0, 1).astype(np.float32)

    def light(self, posed: Posed, opening: float) -> Float[np.ndarray, " V"]:
        """What colours inside of the mouth are multiplied by; 1 on all other vertices.

        Args:
            opening: height between the lips, metres.
        """
        depth = posed.mesh.vertices[:, 2].numpy()
        behind = (self._lips * depth).sum() - depth
        light = np.exp(-np.clip(behind - _DEEP[0], 0, None) / _DEEP[1])
        light = (_FLOOR + (1 - _FLOOR) * light) * (_NARROW + (1 - _NARROW) * min(opening / _OPEN, 1.0))
        return 1 + self.inside * (self._tone * light - 1)

    def sources(
        self, places: Float[np.ndarray, "V 2"], posed: Posed, params: FaceParams, camera: Camera
    ) -> Float[np.ndarray, "V 2"]:
        """Places on the photograph with those inside of the mouth on a sheet that hangs on the skull by the teeth."""
        if self.shown is None:
            return places
        target = self._rig.target
        new, old = (roma.rotvec_to_rotmat(p.pose).numpy() for p in (params, target.params))
        root = self._rig.root.numpy()
        teeth = (self._rig.photo.mesh.vertices.numpy()[self._front].mean(0) - root) @ old  # head space, from the root
        s, t = float(camera.s), camera.t.numpy()
        seen = posed.points.numpy()[self._rows]
        x, y = (seen[:, 0] - t[0]) / s, (t[1] - seen[:, 1]) / s
        normal, at = new[:, 2], new @ teeth + root
        z = at[2] - (normal[0] * (x - at[0]) + normal[1] * (y - at[1])) / max(normal[2], 0.3)
        there = (np.stack([x, y, z], 1) - root) @ new @ old.T + root
        result = places.copy()
        s, t = float(target.camera.s), target.camera.t.numpy()
        result[self._rows] = np.stack([s * there[:, 0] + t[0], t[1] - s * there[:, 1]], 1)
        return result

    def edges(self, inside: Float[np.ndarray, "h w"], pixel: float) -> Float[np.ndarray, "h w"]:
        """Shadow of the lips on what lies behind them.

        Args:
            inside: 1 on the pixels that show the inside.
            pixel: pixels per metre.
        """
        mask = (inside > 0.5).astype(np.uint8)
        if not mask.any():
            return np.ones(inside.shape, np.float32)
        far = cv2.distanceTransform(mask, cv2.DIST_L2, 3) / np.float32(_SHADE[1] * pixel)
        shade = np.float32(_SHADE[0]) + np.float32(1 - _SHADE[0]) * np.minimum(far, 1)
        return np.where(mask > 0, shade, np.float32(1))
