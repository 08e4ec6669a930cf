"""FLAME tracks in the layout of Gaussian-avatar tools to a track: an npz of all frames, and NeRF-style cameras.

Keys ``shape`` (S,), and per frame ``expr``, ``rotation``, ``neck_pose``, ``jaw_pose``, ``eyes_pose``, ``translation``
(metres): vertices = FLAME(codes, rotation) + translation, in the world. ``transforms.json`` has ``frames`` with
``transform_matrix`` (camera to world; the camera looks along −z, y up), and for each or for all of them ``fl_x``,
``fl_y``, ``cx``, ``cy``, ``w``, ``h``; ``timestep_index`` or the order says which frame it is.

The pinhole becomes a scaled-orthographic camera, s = f / depth of ``translation`` (the origin of head space, amid the
head). Exact there; nearer parts of the face were larger in the picture by their share of the depth. Offsets of vertices
(``static_offset``) have no place in a track and are left out.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from tracker.convert.facts import Facts, fitted, rows, track_with
from tracker.convert.schema import Arrays
from tracker.track import Track

KEYS = ("shape", "expr", "rotation", "jaw_pose", "translation")
_NEEDED = ("transform_matrix", "fl_x", "cx", "cy", "w", "h")


@dataclass(frozen=True)
class Pinholes:
    """One camera per row.

    Attributes:
        row: of the parameters.
        frame: index of the frame in the video.
        T_world_camera: (N, 4, 4), metres.
        focal, centre: px.
        size: width, height, px.
    """

    row: np.ndarray
    frame: np.ndarray
    T_world_camera: np.ndarray
    focal: np.ndarray
    centre: np.ndarray
    size: tuple[int, int]


def is_avatar(arrays: Arrays) -> bool:
    """Whether it is such a track."""
    return all(key in arrays for key in KEYS)


def track_of_avatar(arrays: Arrays, facts: Facts) -> Track:
    """The track, of the frames that have a camera.

    Raises:
        ValueError: a key or a camera is missing, or of another width; there is no head.
    """
    if facts.transforms is None:
        raise ValueError(f"{facts.where}: has no camera; give --transforms transforms.json")
    cameras = read_pinholes(facts.transforms)
    rotation = rows(arrays, "rotation", 3, facts)
    count = len(rotation)
    chosen = cameras.row
    if chosen.max() >= count:
        raise ValueError(f"{facts.transforms}: has a frame {chosen.max()}, {facts.where} has {count}")
    per_frame = {
        name: rows(arrays, name, width, facts, count)[chosen] if name in arrays else None
        for name, width in (("translation", 3), ("neck_pose", 3), ("jaw_pose", 3), ("eyes_pose", 6))
    }
    shape, expression = (
        rows(arrays, name, np.asarray(arrays[name]).shape[-1], facts, count)[chosen] for name in ("shape", "expr")
    )
    translation, jaw = per_frame["translation"], per_frame["jaw_pose"]
    assert translation is not None and jaw is not None
    head = facts.needed_head
    codes = [
        torch.from_numpy(fitted(code, width, name, facts)).float()
        for code, width, name in (
            (shape, head.asset.shapedirs.shape[-1], "shape"),
            (expression, head.asset.exprdirs.shape[-1], "expr"),
        )
    ]
    if np.abs(np.asarray(arrays.get("static_offset", 0.0))).max(initial=0) > 0:
        facts.note("static_offset is left out: a track has no offsets of vertices")
    root = _root(head, *codes)
    R_camera_world = cameras.T_world_camera[:, :3, :3].transpose(0, 2, 1)
    away = root + translation - cameras.T_world_camera[:, :3, 3]
    seen = (R_camera_world @ away[..., None])[..., 0]
    depth = -(R_camera_world @ (translation - cameras.T_world_camera[:, :3, 3])[..., None])[:, 2, 0]
    if (depth <= 0).any():
        raise ValueError(f"{facts.where}: the head lies behind the camera in frame {chosen[np.argmax(depth <= 0)]}")
    s = cameras.focal / depth
    # The head turns about its root joint, which stays where it is; the camera takes the rest.
    tx = cameras.centre[:, 0] + s * (seen[:, 0] - root[:, 0])
    ty = cameras.centre[:, 1] - s * (seen[:, 1] - root[:, 1])
    pose = (Rotation.from_matrix(R_camera_world) * Rotation.from_rotvec(rotation[chosen])).as_rotvec()
    return track_with(
        facts,
        cameras.size,
        frame=cameras.frame,
        shape=codes[0].numpy(),
        expression=codes[1].numpy(),
        pose=pose,
        neck=per_frame["neck_pose"],
        jaw=jaw,
        eyes=per_frame["eyes_pose"],
        camera=np.stack([s, tx, ty], axis=1),
    )


def _root(head, shape: torch.Tensor, expression: torch.Tensor) -> np.ndarray:
    """The root joint before posing, metres."""
    with torch.no_grad():
        neutral = head.neutral(len(shape))
        params = type(neutral)(shape, expression, neutral.pose, neutral.neck, neutral.jaw, neutral.eyes)
        return head.skeleton(params).rest[:, 0].numpy().astype(np.float64)


def read_pinholes(path: Path) -> Pinholes:
    """The cameras of a ``transforms.json``, by frame.

    Raises:
        ValueError: it cannot be read, or lacks something.
    """
    try:
        content = json.loads(path.read_text())
        frames = content["frames"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: not a transforms.json ({error})") from None
    if not frames:
        raise ValueError(f"{path}: has no frames")
    merged = [{**{k: v for k, v in content.items() if k != "frames"}, **frame} for frame in frames]
    for name in _NEEDED:
        if any(name not in frame for frame in merged):
            raise ValueError(f"{path}: lacks {name}; expected, for every frame or for all, {', '.join(_NEEDED)}")
    if len({frame.get("camera_index", 0) for frame in merged}) > 1:
        first = min(frame.get("camera_index", 0) for frame in merged)
        merged = [frame for frame in merged if frame.get("camera_index", 0) == first]
    index = [int(frame.get("timestep_index", i)) for i, frame in enumerate(merged)]
    order = np.argsort(index, kind="stable")
    if len(set(index)) < len(index):
        raise ValueError(f"{path}: several cameras of one frame; keep one camera")
    ordered = [merged[i] for i in order]
    sizes = {(int(frame["w"]), int(frame["h"])) for frame in ordered}
    if len(sizes) > 1:
        raise ValueError(f"{path}: frames of several sizes")
    frame = [int(entry.get("timestep_index_original", i)) for entry, i in zip(ordered, np.sort(index), strict=True)]
    return Pinholes(
        np.sort(index),
        np.array(frame),
        np.array([frame["transform_matrix"] for frame in ordered], np.float64),
        np.array([frame["fl_x"] for frame in ordered], np.float64),
        np.array([(frame["cx"], frame["cy"]) for frame in ordered], np.float64),
        sizes.pop(),
    )
