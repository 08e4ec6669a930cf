"""Codes as DECA and EMOCA give them (Feng et al. 2021, Danecek et al. 2022), one row a frame, to a track.

========  =========  ===================================================================================================
shape     100        exp 50, standard deviations of FLAME
pose      6          global rotation in the camera's axes, jaw; axis-angle
cam       3          s, tx, ty of the crop: x' = s (X + tx), y' = −s (Y + ty), [−1, 1] over the crop
tform     3 × 3      optional: pixels of the frame to those of the crop (224 on a side); or the transpose
light     9 × 3      optional; detail 128, optional
========  =========  ===================================================================================================

Where the crop lay must be known: from ``tform``, or one crop for all frames by ``--crop``.
"""

from __future__ import annotations

import numpy as np
import torch

from model.camera import lift
from model.crop import RESOLUTION, Crop
from model.params import CropCamera
from tracker.convert.facts import Facts, rows, track_with
from tracker.convert.schema import Arrays
from tracker.track import Track

KEYS = ("shape", "exp", "pose", "cam")
_UPRIGHT = 1e-3


def is_codes(arrays: Arrays) -> bool:
    """Whether these are such codes."""
    return all(key in arrays for key in KEYS)


def track_of_codes(arrays: Arrays, facts: Facts) -> Track:
    """The track.

    Raises:
        ValueError: a key has another width, or size, crop or head are not known.
    """
    if facts.size is None:
        raise ValueError(f"{facts.where}: codes of DECA do not say how large the frames are; give --size W,H")
    pose = rows(arrays, "pose", 6, facts)
    count = len(pose)
    shape, expression = (
        rows(arrays, name, np.asarray(arrays[name]).shape[-1], facts, count) for name in ("shape", "exp")
    )
    cam = torch.from_numpy(rows(arrays, "cam", 3, facts, count))
    camera = lift(CropCamera(cam[:, 0], cam[:, 1:]), _crops(arrays, facts, count))
    looks = {}
    if "light" in arrays:
        looks["light"] = rows({"light": _flat(arrays["light"], 27)}, "light", 27, facts, count).reshape(count, 9, 3)
    if "detail" in arrays:
        looks["detail"] = rows(arrays, "detail", np.asarray(arrays["detail"]).shape[-1], facts, count)
    return track_with(
        facts,
        facts.size,
        frame=np.arange(count),
        shape=shape,
        expression=expression,
        pose=pose[:, :3],
        jaw=pose[:, 3:],
        camera=torch.cat([camera.s[:, None], camera.t], dim=1).numpy(),
        **looks,
    )


def _flat(array: np.ndarray, width: int) -> np.ndarray:
    return np.asarray(array).reshape(-1, width) if np.asarray(array).size % width == 0 else np.asarray(array)


def _crops(arrays: Arrays, facts: Facts, count: int) -> Crop:
    if "tform" not in arrays:
        if facts.crop is None:
            raise ValueError(
                f"{facts.where}: does not say where the crops lay (no tform); give --crop CX,CY,SIDE if all were one"
            )
        crop = torch.tensor(facts.crop, dtype=torch.float64).expand(count, 3)
        return Crop(crop[:, :2], crop[:, 2])
    T_crop_frame = rows({"tform": _flat(arrays["tform"], 9)}, "tform", 9, facts, count).reshape(count, 3, 3)
    if np.allclose(T_crop_frame[:, :2, 2], 0) and not np.allclose(T_crop_frame[:, 2, :2], 0):
        T_crop_frame = T_crop_frame.transpose(0, 2, 1)
    scale = T_crop_frame[:, 0, 0]
    skew = np.abs(T_crop_frame[:, [0, 1], [1, 0]]).max(1) + np.abs(T_crop_frame[:, 1, 1] - scale)
    if not (scale > 0).all() or (skew > _UPRIGHT * scale).any():
        raise ValueError(f"{facts.where}: tform is not a shift and an enlargement; turned crops are not known")
    corner = -T_crop_frame[:, :2, 2] / scale[:, None]
    side = RESOLUTION / scale
    return Crop(torch.from_numpy(corner + side[:, None] / 2), torch.from_numpy(side))
