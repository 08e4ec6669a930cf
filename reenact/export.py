"""A moved photograph in other programs' formats: the target's head and texture with the driver's motion."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8

from model.head import HeadModel
from reenact.matte import look_at
from reenact.pipeline import Reenactor
from reenact.rig import Rig
from reenact.target import Target
from reenact.texture import texture_of
from reenact.transfer import main_face
from tracker.export.job import ExportConfig, export
from tracker.finish import head_id, with_landmarks
from tracker.track import Track

_TEXELS = 1024


def export_moved(reenactor: Reenactor, driver: Track, to: str, weights: str, note: Callable[[str], None]) -> list[Path]:
    """Write the target, moved, in the format that `to` ends in (`tracker.export.job`).

    Args:
        weights: of the networks that looked at the target.
    """
    track = moved_track(reenactor, driver)
    texture = photo_texture(reenactor.target, reenactor.head)
    return export(track, reenactor.head.asset, to, ExportConfig(weights=weights, texture=texture), note)


def moved_track(reenactor: Reenactor, driver: Track) -> Track:
    """What `track` would say of the moved photograph: the target's identity, the transferred motion."""
    rows, target = main_face(driver), reenactor.target
    motion = reenactor.motion(driver)
    count = len(rows)

    def repeated(code: torch.Tensor | None) -> np.ndarray | None:
        return None if code is None else np.repeat(code.detach().cpu().numpy()[None].astype(np.float32), count, axis=0)

    names = ("shape", "expression", "pose", "neck", "jaw", "eyes")
    codes = {name: getattr(motion.params, name).detach().cpu().numpy().astype(np.float32) for name in names}
    camera = np.concatenate([motion.camera.s[:, None].numpy(), motion.camera.t.numpy()], axis=1)
    moved = replace(
        rows,
        head=head_id(reenactor.head),
        size=target.size,
        face=np.zeros(count, rows.face.dtype),
        valid=np.ones(count, bool),
        camera=camera.astype(np.float32),
        expression_names=reenactor.head.asset.expression_names,
        albedo=repeated(target.albedo),
        light=repeated(target.light),
        detail=repeated(target.detail),
        **codes,
    )
    return with_landmarks(moved, reenactor.head)


def photo_texture(target: Target, head: HeadModel) -> UInt8[np.ndarray, "H W 3"]:
    """The photograph over the UV map, as lit there, completed where it shows nothing."""
    texture = texture_of(Rig(target, head), look_at(target), _TEXELS)
    return np.clip(np.round(texture.colour), 0, 255).astype(np.uint8)
