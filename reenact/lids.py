"""What shut lids show that open ones hide: lashes as dark as the photograph's, and the lid's roundness."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float
from scipy.spatial import KDTree

from model.uv import UVLayout
from reenact.rig import Rig
from reenact.sampling import look_up

_UPPER = {
    "left": (263, 466, 388, 387, 386, 385, 384, 398, 362),
    "right": (33, 246, 161, 160, 159, 158, 157, 173, 133),
}
"""MediaPipe's points on the margin of the upper lids, from the outer corner to the inner."""
_LOWER = {"left": 374, "right": 145}
_LASHES = (0.0016, 0.0012)
"""Metres from the margin's inner edge over which lashes are dark, and over which they fade."""
_LASHES_PX = (1.3, 1.0)
"""The least of both in pixels of the photograph: a line thinner than that breaks up."""
_DARKEST, _FAINTEST = 0.2, 0.75
"""Between which the lashes' colour lies, in parts of the skin's."""
_CREASE = (0.0085, 0.0018, 0.14)
"""Metres from the margin to the fold above the lid, half its width, and how much darker it is."""
_ROUND = (0.004, 0.06)
"""Metres from the margin to the lid's middle, and by how much it is brighter than its edges."""
_PROFILE = np.linspace(-0.0003, 0.0018, 8)
"""Metres above the margin where the photograph's lashes are looked for."""


@torch.no_grad()
def lid_shade(
    rig: Rig, layout: UVLayout, lids: Float[np.ndarray, "H W"], skin: Float[np.ndarray, "H W 3"]
) -> Float[np.ndarray, "H W 3"]:
    """What the colour of lids is multiplied by when they are shut; 1 elsewhere.

    Args:
        lids: where lids are on the UV map.
        skin: colour of lids without lashes and folds, [0, 255].
    """
    asset, target = rig.head.asset, rig.target
    result = np.ones((*lids.shape, 3), np.float32)
    marks, names = asset.landmarks, asset.expression_names
    if marks is None or marks.mediapipe478 is None or "eyeBlinkLeft" not in names:
        return result
    points = marks.mediapipe478
    expression = target.params.expression.clone()
    expression[[names.index("eyeBlinkLeft"), names.index("eyeBlinkRight")]] = 1
    shut = replace(rig.head.neutral(), shape=target.params.shape, expression=expression)
    vertices = rig.head.mesh(shut).vertices
    places = layout.carry(vertices).numpy()
    flat = vertices.numpy()
    for side, rows in _UPPER.items():
        region = asset.regions.get(f"{side}_eyelid")
        if region is None:
            continue
        own = layout.carry(torch.from_numpy(np.asarray(region, np.float32))[:, None])[0].numpy()
        mask = (own > 0.05) & (lids > 0.05)
        if not mask.any():
            continue
        margin = np.einsum("pk,pkc->pc", points.barycentric[list(rows)], flat[asset.faces[points.face[list(rows)]]])
        line = np.concatenate([np.linspace(a, b, 12) for a, b in pairwise(margin)])
        far, nearest = KDTree(line).query(places[:, mask].T)
        # Lashes thin out towards the inner corner, and the skin above ends where the lid does.
        along = np.minimum(1, 1.6 * (1 - nearest / len(line)) + 0.3)[:, None]
        lashes = _lash_colour(rig, side, list(rows)) / np.maximum(np.median(skin[mask], axis=0), 8)
        dark = 1 - np.clip(lashes, _DARKEST, _FAINTEST)
        above = places[1, mask] > line[nearest, 1]
        crease = _CREASE[2] * np.exp(-(((far - _CREASE[0]) / _CREASE[1]) ** 2)) * above
        bright = _ROUND[1] * np.exp(-(((far - _ROUND[0]) / _ROUND[0]) ** 2)) * above
        dense, fade = (max(m, px / float(target.camera.s)) for m, px in zip(_LASHES, _LASHES_PX, strict=True))
        line_of_lashes = np.exp(-((np.maximum(far - dense, 0) / fade) ** 2))
        shade = (1 + bright - crease)[:, None] * (1 - dark * along * line_of_lashes[:, None])
        result[mask] = 1 + own[mask][:, None].clip(0, 1) * (shade - 1)
    return result


def _lash_colour(rig: Rig, side: str, rows: list[int]) -> Float[np.ndarray, "3"]:
    """The darkest colour right above an upper lid's margin on the photograph, in the middle of its length."""
    marks = rig.head.asset.landmarks
    assert marks is not None and marks.mediapipe478 is not None
    points, seen = marks.mediapipe478, rig.photo.points[:, :2].numpy()

    def at(index: list[int]) -> np.ndarray:
        return np.einsum("pk,pkc->pc", points.barycentric[index], seen[rig.head.asset.faces[points.face[index]]])

    margin, low = at(rows[1:-1]), at([_LOWER[side]])[0]
    up = margin.mean(0) - low
    up = up / max(float(np.linalg.norm(up)), 1e-6)
    places = margin[:, None] + _PROFILE[:, None] * float(rig.target.camera.s) * up
    colours = look_up(rig.target.image.astype(np.float32), places.astype(np.float32))
    darkest = colours.sum(-1).argmin(1)
    return np.median(colours[np.arange(len(colours)), darkest], axis=0)
