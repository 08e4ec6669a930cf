"""A folder for tools that learn Gaussian avatars: FLAME's parameters, a NeRF-style camera, frames and masks.

::

    transforms.json             one entry per frame: camera, and the files below; transforms_train.json has the first
                                nine tenths of them, transforms_val.json and transforms_test.json the rest
    flame_param/00030.npz       translation, rotation, neck_pose, jaw_pose (1, 3), eyes_pose (1, 6), shape (300,),
                                expr (1, 100), static_offset (1, V, 3); radians and metres
    flame_param.npz             the same of all frames, with time
    canonical_flame_param.npz   the person at rest
    images/00030_00.png         the frames
    fg_masks/00030_00.png       255 where the person is, about the head

The keys and shapes are those that the authors and users of such tools describe in public (GaussianAvatars, issue 16).
FLAME's codes are padded with zeros to 300 and 100. A head that is not FLAME keeps the lengths of its codes: the tools
must then be given that head.

The tools want a pinhole camera, a track has a scaled-orthographic one: `tracker.export.scene` with a distance. It
stands on the z axis, looks along −z (OpenGL's axes, as NeRF's), and the head's depth is in ``translation``.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8

from model.asset import HeadAsset
from model.parsing import Part
from tracker.export.files import written
from tracker.export.scene import Scene, scene_of
from tracker.image import encode_image, warp
from tracker.track import Track

DISTANCE = 10.0
"""Metres to the camera where none are given: the nose then grows by 1 % against the ears, which the track's camera does
not know of."""
_SHAPE, _EXPRESSION = 300, 100
_ROOM = 2.2
"""Side of the window that is parsed over that of the landmarks' box."""
_TRAINED = 0.9

Note = Callable[[str], None]
Report = Callable[[str, int, int], None]


def export_folder(
    folder: Path,
    track: Track,
    asset: HeadAsset,
    distance: float | None,
    video: Path | None,
    note: Note,
    report: Report,
) -> list[Path]:
    """Write a track of one face; without its video parameters and cameras only.

    Raises:
        ValueError: the folder cannot be written to, the video cannot be read, or is another one.
    """
    if asset.expression_names:
        note(f"the codes are those of {asset.name}; tools that bring FLAME need a track made with --head FLAME")
    scene = scene_of(track, DISTANCE if distance is None else distance)
    track = track.select(track.valid) if track.valid.any() else track
    source = video or (Path(track.video) if Path(track.video).is_file() else None)
    if source is None:
        note(f"frames and masks are left out: {track.video} is not here; give it with --video")
    values = _flame(track, asset, scene)
    files = [_save(folder / "canonical_flame_param.npz", _at_rest(values))]
    files.append(_save(folder / "flame_param.npz", values | {"time": track.time}))
    entries: list[dict[str, Any]] = []
    shared = ("shape", "static_offset")
    for row, frame in enumerate(track.frame.tolist()):
        own = {key: array if key in shared else array[row : row + 1] for key, array in values.items()}
        files.append(_save(folder / "flame_param" / f"{frame:05d}.npz", own))
        entries.append(_entry(row, int(frame), scene, source is not None))
    if source is not None:
        files += _pictures(folder, source, track, report)
    camera = _lens(scene)
    for name, chosen in _splits(entries).items():
        steps = [entry["timestep_index"] for entry in chosen]
        document = camera | {"timestep_indices": steps, "camera_indices": [0], "frames": chosen}
        with written(folder / name) as temporary:
            temporary.write_text(json.dumps(document, indent=1))
        files.append(folder / name)
    return files[::-1]


def _flame(track: Track, asset: HeadAsset, scene: Scene) -> dict[str, np.ndarray]:
    """The parameters of all frames; a posed vertex plus `translation` is a vertex of the scene."""
    named = bool(asset.expression_names)
    values = {
        "shape": track.shape[0] if named else _padded(track.shape[:1], _SHAPE)[0],
        "expr": track.expression if named else _padded(track.expression, _EXPRESSION),
        "rotation": track.pose,
        "neck_pose": track.neck,
        "jaw_pose": track.jaw,
        "eyes_pose": track.eyes,
        "translation": scene.motion(track).translation,
        "static_offset": np.zeros((1, len(asset.template), 3)),
    }
    return {key: np.ascontiguousarray(array, dtype=np.float32) for key, array in values.items()}


def _padded(codes: Float[np.ndarray, "T E"], size: int) -> Float[np.ndarray, "T F"]:
    return np.pad(codes, ((0, 0), (0, max(0, size - codes.shape[1]))))


def _at_rest(values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    kept = ("shape", "static_offset")
    return {key: array if key in kept else np.zeros_like(array[:1]) for key, array in values.items()}


def _lens(scene: Scene) -> dict[str, Any]:
    (width, height), focal = scene.size, scene.focal
    return {
        "camera_model": "OPENCV",
        "w": width,
        "h": height,
        "fl_x": focal,
        "fl_y": focal,
        "cx": width / 2,
        "cy": height / 2,
        "camera_angle_x": float(2 * np.arctan(width / 2 / focal)),
        "camera_angle_y": float(2 * np.arctan(height / 2 / focal)),
    }


def _entry(row: int, frame: int, scene: Scene, pictures: bool) -> dict[str, Any]:
    """One frame of the NeRF-style list; the matrix takes camera axes (OpenGL's) to the scene."""
    place = np.eye(4)
    place[2, 3] = scene.camera_z
    entry: dict[str, Any] = {
        "timestep_index": row,
        "timestep_index_original": frame,
        "timestep_id": f"{frame:05d}",
        "camera_index": 0,
        "camera_id": "00",
        "transform_matrix": place.tolist(),
        "flame_param_path": f"flame_param/{frame:05d}.npz",
    } | _lens(scene)
    if pictures:
        entry |= {"file_path": f"images/{frame:05d}_00.png", "fg_mask_path": f"fg_masks/{frame:05d}_00.png"}
    return entry


def _splits(entries: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """What is learned from and what is kept back; of very short tracks everything is in both."""
    border = round(_TRAINED * len(entries))
    first, rest = (entries[:border], entries[border:]) if 0 < border < len(entries) else (entries, entries)
    return {
        "transforms_train.json": first,
        "transforms_val.json": rest,
        "transforms_test.json": rest,
        "transforms.json": entries,
    }


def _pictures(folder: Path, source: Path, track: Track, report: Report) -> list[Path]:
    from model.io.parsing import load_parser
    from tracker.video import open_video

    parser, row_of = load_parser(), {int(frame): row for row, frame in enumerate(track.frame)}
    files: list[Path] = []
    with open_video(source) as video:
        if video.size != track.size:
            raise ValueError(
                f"--video {source}: is {video.size[0]}×{video.size[1]} px, the track's video was "
                f"{track.size[0]}×{track.size[1]} px; give that one"
            )
        for frame in video:
            row = row_of.pop(frame.index, None)
            if row is None:
                continue
            report("frames", len(files) // 2, len(track))
            mask = person_mask(frame.image, track.landmarks[row], parser)
            for kind, picture in (("images", frame.image), ("fg_masks", mask)):
                files.append(folder / kind / f"{frame.index:05d}_00.png")
                with written(files[-1]) as temporary:
                    temporary.write_bytes(encode_image(picture))
            if not row_of:
                break
    if row_of:
        raise ValueError(f"--video {source}: ends before frame {min(row_of)}, which the track has; give its own video")
    return files


def person_mask(
    image: UInt8[np.ndarray, "H W 3"],
    landmarks: Float[np.ndarray, "68 2"],
    parser: Callable[[torch.Tensor], torch.Tensor],
) -> UInt8[np.ndarray, "H W"]:
    """255 where the parser sees a person in a window about the face, 0 elsewhere, soft between."""
    low, high = landmarks.min(0), landmarks.max(0)
    side = _ROOM * float(np.max(high - low))
    left, top = ((low + high) / 2 - side / 2).tolist()
    scale = 256 / max(side, 1.0)
    T_crop_from_image = np.array([[scale, 0, -left * scale], [0, scale, -top * scale]])
    crop = warp(image, T_crop_from_image, (256, 256), border="edge")
    parts = parser(torch.from_numpy(crop).permute(2, 0, 1)[None].float() / 255)
    person = ((1 - parts[0, Part.BACKGROUND]).clamp(0, 1) * 255).round().to(torch.uint8).numpy()
    back = np.array([[1 / scale, 0, left], [0, 1 / scale, top]])
    return warp(person, back, (image.shape[1], image.shape[0]), smooth=False)


def _save(path: Path, values: dict[str, np.ndarray]) -> Path:
    with written(path) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, **values)
    return path
