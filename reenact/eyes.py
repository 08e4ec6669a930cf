"""What a photograph hides of its eyeballs: the iris is round, the white is white."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float

from model.asset import JOINTS, HeadAsset
from model.uv import UVLayout

_BINS = 40
_WIDEST = 1.2  # rad from the axis of the eye: as far as lids ever open
_LEAST = 40  # texels: fewer tell nothing


def fill_eyes(
    asset: HeadAsset,
    layout: UVLayout,
    colour: Float[np.ndarray, "H W 3"],
    photo: Float[np.ndarray, "H W 3"],
    seen: Float[np.ndarray, "H W"],
) -> Float[np.ndarray, "H W 3"]:
    """The map with eyeballs of the colour that the photograph shows at the same distance from the pupil.

    Args:
        colour: what is there so far; kept where the photograph shows too little of an eye.
        photo: the photograph's colours at the texels.
        seen: where these are the eye's.
    """
    result = colour.copy()
    joints = asset.joint_regressor.astype(np.float64) @ asset.template.astype(np.float64)
    for name in ("left_eye", "right_eye"):
        region = asset.regions.get(name)
        if region is None:
            continue
        mask = layout.carry(torch.from_numpy(np.asarray(region, np.float32))[:, None])[0].numpy() > 0.99
        offset = asset.template.astype(np.float64) - joints[JOINTS.index(name)]
        place = layout.carry(torch.from_numpy(offset.astype(np.float32))).numpy()
        angle = np.arctan2(np.hypot(place[0], place[1]), place[2])
        known = mask & (seen > 0.6) & (angle < _WIDEST)
        if known.sum() < _LEAST:
            continue
        profile = _profile(angle[known], photo[known])
        bins = np.clip(angle[mask] / _WIDEST * _BINS - 0.5, 0, _BINS - 1)
        filled = np.stack([np.interp(bins, np.arange(_BINS), profile[:, k]) for k in range(3)], 1)
        result[mask] = filled
    return result


def _profile(angle: Float[np.ndarray, " n"], colours: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "B 3"]:
    """The middle colour in every ring about the pupil: highlights are brighter, lashes darker than the eye."""
    bins = np.minimum((angle / _WIDEST * _BINS).astype(int), _BINS - 1)
    bright = colours.sum(1)
    profile, last = np.zeros((_BINS, 3)), None
    for ring in range(_BINS):
        rows = np.flatnonzero(bins == ring)
        if len(rows) >= 3:
            level = np.quantile(bright[rows], 0.5)
            near = rows[np.argsort(np.abs(bright[rows] - level))[: max(3, len(rows) // 3)]]
            last = np.median(colours[near], axis=0)
        profile[ring] = colours[np.argmin(angle)] if last is None else last
    smooth = profile.copy()
    smooth[1:-1] = 0.25 * profile[:-2] + 0.5 * profile[1:-1] + 0.25 * profile[2:]
    return smooth
