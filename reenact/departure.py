"""How far a surface has left the one that the photograph shows: there its pixels say less and less of it."""

from __future__ import annotations

import numpy as np
import roma
from jaxtyping import Float

from model.params import FaceParams
from reenact.rig import Posed, Rig

_TURNED = 0.12
"""Change of the normal at which a place is another than the photograph's."""
_SHIFTED = 0.002
"""Metres, likewise, of a place on the head."""
_LIPS = ("inner_mouth", "teeth", "tongue", "lips")


class Departure:
    """Zero where the head is as on the photograph, one where it is not; what opens and shuts departs as a whole."""

    def __init__(self, rig: Rig) -> None:
        regions, count = rig.head.asset.regions, len(rig.photo.normals)
        zero = np.zeros(count)
        self._skull = np.asarray(regions.get("scalp", zero + 1), float)
        self._skull = self._skull / self._skull.sum()
        names = [_LIPS, *(((f"{side}_eye", f"{side}_eyelid")) for side in ("left", "right"))]
        groups = (np.max([regions.get(name, zero) for name in some], axis=0) for some in names)
        self._groups = [rows for group in groups if len(rows := np.flatnonzero(group > 0.5))]
        self._normals = rig.photo.normals.numpy()
        self._places = self._local(rig.photo, rig.target.params)

    def __call__(self, posed: Posed, params: FaceParams) -> Float[np.ndarray, " V"]:
        """Of every vertex, [0, 1]."""
        turned = np.linalg.norm(posed.normals.numpy() - self._normals, axis=1) / _TURNED
        shifted = np.linalg.norm(self._local(posed, params) - self._places, axis=1) / _SHIFTED
        for rows in self._groups:
            turned[rows] = max(turned[rows].mean(), shifted[rows].max())
        return np.clip(np.maximum(turned, shifted), 0, 1)

    def _local(self, posed: Posed, params: FaceParams) -> Float[np.ndarray, "V 3"]:
        """Vertices as seen from the skull, metres."""
        vertices = posed.mesh.vertices.numpy()
        return (vertices - self._skull @ vertices) @ roma.rotvec_to_rotmat(params.pose).numpy()
