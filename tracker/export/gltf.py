"""glTF 2.0, binary: meshes with morph targets, skeletons, the track's animation and the video's camera in one file.

Written by hand: the format is a table of arrays and one of nodes (Khronos, glTF 2.0 specification). Axes are glTF's
already: +y up, faces look along +z, metres.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import roma
import torch
from jaxtyping import Float, Float32, UInt16

from tracker.export.files import written
from tracker.export.rig import JOINT_NAMES, Rig
from tracker.export.scene import Scene
from tracker.export.surface import Dressed, Split, normals_of, tangents_of
from tracker.image import encode_image

_FLOAT, _UINT, _USHORT = 5126, 5125, 5123
_ARRAY, _ELEMENT = 34962, 34963  # what a buffer view is for
_MOVED = 1e-8
"""Metres from which a vertex counts as moved by a morph target."""
_WEIGHTLESS = 1e-5
"""Skinning weight that is taken for none."""
_STILL = 1e-7
"""Change of a curve, in its unit, below which it is left out."""


def write_gltf(path: Path, heads: Sequence[Dressed], scene: Scene, copyright: str = "") -> None:
    """Write one or more faces of a track; the file appears under its name when it is whole.

    Raises:
        ValueError: the file cannot be written there.
    """
    file = _File()
    if copyright:
        file.document["asset"]["copyright"] = copyright
    channels: list[dict] = []
    samplers: list[dict] = []
    for head in heads:
        _add_head(file, head, channels, samplers)
    file.root("nodes", _camera(file, scene))
    if channels:
        file.add("animations", {"name": "track", "channels": channels, "samplers": samplers})
    with written(path) as temporary:
        temporary.write_bytes(file.bytes())


class _File:
    """A glTF document under construction and its one buffer."""

    def __init__(self) -> None:
        self.document: dict[str, Any] = {
            "asset": {"version": "2.0", "generator": "decatrack"},
            "scene": 0,
            "scenes": [{"name": "decatrack", "nodes": []}],
        }
        self._buffer = bytearray()

    def add(self, kind: str, value: dict) -> int:
        """Append to a list of the document; the index."""
        values = self.document.setdefault(kind, [])
        values.append(value)
        return len(values) - 1

    def root(self, kind: str, value: dict) -> int:
        """A node at the root of the scene."""
        index = self.add(kind, value)
        self.document["scenes"][0]["nodes"].append(index)
        return index

    def view(self, data: bytes, target: int | None = None) -> int:
        """Bytes of the buffer, on a boundary of four."""
        self._buffer += bytes(-len(self._buffer) % 4)
        view = {"buffer": 0, "byteOffset": len(self._buffer), "byteLength": len(data)}
        self._buffer += data
        return self.add("bufferViews", view if target is None else view | {"target": target})

    def accessor(self, values: np.ndarray, *, target: int | None = None, limits: bool = False) -> int:
        """An array: (N,), (N, 2), (N, 3), (N, 4) or (N, 4, 4) of float32, uint16 or uint32."""
        entry = _described(values, limits)
        return self.add("accessors", entry | {"bufferView": self.view(np.ascontiguousarray(values).tobytes(), target)})

    def offsets(self, arrays: Sequence[np.ndarray]) -> list[int]:
        """Float vectors, parallel to each other, that are zero in many rows: only the others are stored."""
        moved = np.flatnonzero(np.any([(values != 0).any(1) for values in arrays], axis=0))
        if not 0 < len(moved) < 0.7 * len(arrays[0]):
            return [self.accessor(values, target=_ARRAY, limits=True) for values in arrays]
        small = len(arrays[0]) <= 65535
        rows = self.view(moved.astype(np.uint16 if small else np.uint32).tobytes())
        found = []
        for values in arrays:
            sparse = {
                "count": len(moved),
                "indices": {"bufferView": rows, "componentType": _USHORT if small else _UINT},
                "values": {"bufferView": self.view(np.ascontiguousarray(values[moved]).tobytes())},
            }
            found.append(self.add("accessors", _described(values, True) | {"sparse": sparse}))
        return found

    def bytes(self) -> bytes:
        """The file: a header of 12 bytes, the chunk of JSON and the chunk of the buffer."""
        self._buffer += bytes(-len(self._buffer) % 4)
        text = json.dumps(self.document | {"buffers": [{"byteLength": len(self._buffer)}]}, separators=(",", ":"))
        data = text.encode()
        data += b" " * (-len(data) % 4)
        size = 12 + 8 + len(data) + 8 + len(self._buffer)
        head = struct.pack("<4sII", b"glTF", 2, size) + struct.pack("<I4s", len(data), b"JSON") + data
        return head + struct.pack("<I4s", len(self._buffer), b"BIN\0") + bytes(self._buffer)


def _described(values: np.ndarray, limits: bool) -> dict:
    component = {"float32": _FLOAT, "uint32": _UINT, "uint16": _USHORT}[values.dtype.name]
    kind = {(): "SCALAR", (2,): "VEC2", (3,): "VEC3", (4,): "VEC4", (4, 4): "MAT4"}[values.shape[1:]]
    entry: dict[str, Any] = {"componentType": component, "count": len(values), "type": kind}
    if limits:
        entry |= {key: np.atleast_1d(pick(values, axis=0)).tolist() for key, pick in (("min", np.min), ("max", np.max))}
    return entry


def _add_head(file: _File, head: Dressed, channels: list[dict], samplers: list[dict]) -> None:
    rig = head.rig
    face = file.root("nodes", {"name": rig.name})
    first = len(file.document["nodes"])
    for joint, parent in enumerate(rig.parents):
        place = rig.joints[joint] - (rig.joints[parent] if parent >= 0 else 0)
        file.add("nodes", {"name": f"{rig.name}_{JOINT_NAMES[joint]}", "translation": _floats(place)})
    joints = list(range(first, first + len(rig.parents)))
    file.document["nodes"][face]["children"] = [joints[0]]
    for joint, parent in enumerate(rig.parents):
        if parent >= 0:
            file.document["nodes"][joints[parent]].setdefault("children", []).append(joints[joint])
    bind = np.tile(np.eye(4, dtype=np.float32), (len(joints), 1, 1))
    bind[:, 3, :3] = -rig.joints  # glTF's matrices are stored by columns
    skin = {"joints": joints, "skeleton": joints[0], "inverseBindMatrices": file.accessor(bind)}
    mesh = file.root(
        "nodes",
        {
            "name": f"{rig.name}_head",
            "mesh": _mesh(file, head),
            "skin": file.add("skins", {"name": rig.name} | skin),
        },
    )
    _animate(file, rig, face, joints, mesh, channels, samplers)


def _mesh(file: _File, head: Dressed) -> int:
    rig, split = head.rig, head.split
    points, normals = _shape(rig.rest, rig, split)
    attributes = {
        "POSITION": file.accessor(_f32(points), target=_ARRAY, limits=True),
        "NORMAL": file.accessor(_f32(normals), target=_ARRAY),
    }
    for number, (joints, weights) in enumerate(influences(rig.skin)):
        attributes[f"JOINTS_{number}"] = file.accessor(joints[split.source], target=_ARRAY)
        attributes[f"WEIGHTS_{number}"] = file.accessor(weights[split.source], target=_ARRAY)
    primitive: dict[str, Any] = {"material": _material(file, head)}
    if head.maps is not None:
        uv = np.stack([split.uv[:, 0], 1 - split.uv[:, 1]], axis=1)  # glTF's v runs down
        attributes["TEXCOORD_0"] = file.accessor(_f32(uv), target=_ARRAY)
        if head.maps.normal is not None:
            attributes["TANGENT"] = file.accessor(_f32(tangents_of(points, normals, split)), target=_ARRAY)
    small = split.faces.max() < 65535
    primitive |= {
        "attributes": attributes,
        "indices": file.accessor(split.faces.astype(np.uint16 if small else np.uint32).ravel(), target=_ELEMENT),
        "targets": [_target(file, head, shape, normals) for shape in rig.targets],
    }
    if not primitive["targets"]:
        del primitive["targets"]
        return file.add("meshes", {"name": rig.name, "primitives": [primitive]})
    mesh = {"name": rig.name, "primitives": [primitive], "weights": [0.0] * len(rig.targets)}
    return file.add("meshes", mesh | {"extras": {"targetNames": list(rig.target_names)}})


def _shape(vertices: Float[np.ndarray, "V 3"], rig: Rig, split: Split) -> tuple[np.ndarray, np.ndarray]:
    """Points and normals of the split mesh; both sides of a seam have the same normal."""
    return vertices[split.source], normals_of(vertices, rig.faces)[split.source]


def _target(file: _File, head: Dressed, shape: Float[np.ndarray, "V 3"], normals: np.ndarray) -> dict:
    _, moved_normals = _shape(head.rig.rest + shape, head.rig, head.split)
    offset, turn = _f32(shape[head.split.source]), _f32(moved_normals - normals)
    offset[np.abs(offset).max(axis=1) < _MOVED] = 0
    turn[np.abs(turn).max(axis=1) < 1e-4] = 0
    return dict(zip(("POSITION", "NORMAL"), file.offsets([offset, turn]), strict=True))


def _material(file: _File, head: Dressed) -> int:
    surface: dict[str, Any] = {"metallicFactor": 0.0, "roughnessFactor": 0.6}
    material: dict[str, Any] = {"name": head.rig.name, "pbrMetallicRoughness": surface, "doubleSided": True}
    if head.maps is None:
        surface["baseColorFactor"] = [0.46, 0.46, 0.46, 1.0]  # linear; the grey of heads without an albedo
    else:
        surface |= {"metallicFactor": 1.0, "roughnessFactor": 1.0}
        surface["baseColorTexture"] = {"index": _texture(file, f"{head.rig.name}_albedo", head.maps.colour)}
        rough = _texture(file, f"{head.rig.name}_roughness", head.maps.rough)
        surface["metallicRoughnessTexture"] = material["occlusionTexture"] = {"index": rough}
        if head.maps.normal is not None:
            material["normalTexture"] = {"index": _texture(file, f"{head.rig.name}_normal", head.maps.normal)}
    return file.add("materials", material)


def _texture(file: _File, name: str, picture: np.ndarray) -> int:
    if "samplers" not in file.document:
        file.add("samplers", {"magFilter": 9729, "minFilter": 9987, "wrapS": 33071, "wrapT": 33071})
    image = {"name": name, "mimeType": "image/png", "bufferView": file.view(encode_image(picture))}
    return file.add("textures", {"sampler": 0, "source": file.add("images", image)})


def _animate(
    file: _File, rig: Rig, face: int, joints: list[int], mesh: int, channels: list[dict], samplers: list[dict]
) -> None:
    time = file.accessor(_f32(rig.time), limits=True)

    def curve(node: int, path: str, values: np.ndarray) -> None:
        output = file.accessor(_f32(values))
        samplers.append({"input": time, "output": output, "interpolation": "LINEAR"})
        channels.append({"sampler": len(samplers) - 1, "target": {"node": node, "path": path}})

    if _differs(rig.motion.translation, 0.0):
        curve(face, "translation", rig.motion.translation)
    if _differs(rig.motion.scale, 1.0):
        curve(face, "scale", np.repeat(rig.motion.scale[:, None], 3, axis=1))
    for joint, parent in enumerate(rig.parents):
        rest = rig.joints[joint] - (rig.joints[parent] if parent >= 0 else 0)
        if _differs(rig.translations[:, joint], rest):
            curve(joints[joint], "translation", rig.translations[:, joint])
        if _differs(rig.rotations[:, joint], np.eye(3)):
            curve(joints[joint], "rotation", quaternions(rig.rotations[:, joint]))
    if len(rig.target_names) and _differs(rig.weights, 0.0):
        curve(mesh, "weights", rig.weights.ravel())


def quaternions(rotations: Float[np.ndarray, "T 3 3"]) -> Float[np.ndarray, "T 4"]:
    """Unit quaternions x, y, z, w, each on the side of the one before, so that what lies between is the short way."""
    q = roma.rotmat_to_unitquat(torch.from_numpy(rotations)).numpy()
    flips = np.where((q[1:] * q[:-1]).sum(1) < 0, -1.0, 1.0)
    q[1:] *= np.cumprod(flips)[:, None]
    return q


def _camera(file: _File, scene: Scene) -> dict:
    width, height = scene.extent
    if scene.distance is None:
        lens = {"xmag": width / 2, "ymag": height / 2, "znear": 0.01, "zfar": 2 * scene.camera_z + 1}
        camera = {"type": "orthographic", "orthographic": lens}
    else:
        field = 2 * np.arctan(scene.size[1] / 2 / scene.focal)
        aspect = scene.size[0] / scene.size[1]
        lens = {"aspectRatio": aspect, "yfov": float(field), "znear": 0.01, "zfar": 10 * scene.distance + 10}
        camera = {"type": "perspective", "perspective": lens}
    place = [0.0, 0.0, scene.camera_z]
    return {"name": "video", "camera": file.add("cameras", {"name": "video"} | camera), "translation": place}


def _differs(values: np.ndarray, rest: np.ndarray | float) -> bool:
    return bool(np.abs(values - rest).max(initial=0) > _STILL)


def influences(skin: Float[np.ndarray, "V J"]) -> list[tuple[UInt16[np.ndarray, "V 4"], Float32[np.ndarray, "V 4"]]]:
    """Joints and weights of every vertex, the heaviest first, in fours: one four where no vertex hangs on more."""
    order = np.argsort(-skin, axis=1, kind="stable")
    weights = np.take_along_axis(skin, order, axis=1).astype(np.float32)
    used = int((weights > _WEIGHTLESS).any(0).sum())
    sets = -(-used // 4)
    room = max(0, 4 * sets - weights.shape[1])
    weights, order = (np.pad(array[:, : 4 * sets], ((0, 0), (0, room))) for array in (weights, order))
    weights[weights <= _WEIGHTLESS] = 0
    weights[:, 0] = 1 - weights[:, 1:].sum(1)  # 1 to the last digit: validators look
    order = np.where(weights > 0, order, 0).astype(np.uint16)  # a joint without weight is named 0
    return [(order[:, 4 * k : 4 * k + 4], weights[:, 4 * k : 4 * k + 4]) for k in range(sets)]


def _f32(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values, dtype=np.float32)


def _floats(values: np.ndarray) -> list[float]:
    return [float(value) for value in values]
