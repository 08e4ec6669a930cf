"""A glTF file read by the specification alone: arrays, nodes, morph targets, skins and animations at a time."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

TYPES = {5123: np.uint16, 5125: np.uint32, 5126: np.float32}
WIDTHS = {"SCALAR": (), "VEC2": (2,), "VEC3": (3,), "VEC4": (4,), "MAT4": (4, 4)}


class GLTF:
    """A ``.glb`` file."""

    def __init__(self, path: Path) -> None:
        data = path.read_bytes()
        magic, version, size = struct.unpack_from("<4sII", data)
        assert (magic, version, size) == (b"glTF", 2, len(data))
        length, kind = struct.unpack_from("<I4s", data, 12)
        assert kind == b"JSON"
        self.document = json.loads(data[20 : 20 + length])
        self.buffer = data[20 + length + 8 :]

    def _view(self, index: int, component: int, count: int, width: tuple[int, ...]) -> np.ndarray:
        start = self.document["bufferViews"][index]["byteOffset"]
        size = count * int(np.prod(width, dtype=int))
        return np.frombuffer(self.buffer, TYPES[component], size, start).reshape(count, *width)

    def array(self, index: int) -> np.ndarray:
        """An accessor's values."""
        a = self.document["accessors"][index]
        width = WIDTHS[a["type"]]
        values = np.zeros((a["count"], *width), TYPES[a["componentType"]])
        if "bufferView" in a:
            values[:] = self._view(a["bufferView"], a["componentType"], a["count"], width)
        if "sparse" in a:
            s = a["sparse"]
            rows = self._view(s["indices"]["bufferView"], s["indices"]["componentType"], s["count"], ())
            values[rows] = self._view(s["values"]["bufferView"], a["componentType"], s["count"], width)
        return values

    def node(self, name: str) -> int:
        return [node.get("name") for node in self.document["nodes"]].index(name)

    def at(self, time: float, face: str) -> list[dict]:
        """The nodes' properties at the time of a key frame of that face."""
        nodes = [dict(node) for node in self.document["nodes"]]
        for animation in self.document.get("animations", []):
            for channel in animation["channels"]:
                if not nodes[channel["target"]["node"]]["name"].startswith(face):
                    continue
                sampler = animation["samplers"][channel["sampler"]]
                times = self.array(sampler["input"])
                key = int(np.argmin(np.abs(times - time)))
                assert abs(times[key] - time) < 1e-4, "not a key frame"
                values = self.array(sampler["output"]).reshape(len(times), -1)
                nodes[channel["target"]["node"]][channel["target"]["path"]] = values[key].astype(np.float64)
        return nodes

    def vertices(self, name: str, time: float, weights: dict[str, float] | None = None) -> np.ndarray:
        """A mesh's vertices in the scene; with `weights` (by target) in the file's rest pose instead of at the time."""
        nodes = (
            self.at(time, name.partition("_")[0])
            if weights is None
            else [dict(node) for node in self.document["nodes"]]
        )
        node = nodes[self.node(name)]
        mesh = self.document["meshes"][node["mesh"]]
        (primitive,) = mesh["primitives"]
        points = self.array(primitive["attributes"]["POSITION"]).astype(np.float64)
        given = node.get("weights", mesh.get("weights", []))
        if weights is not None:
            given = [weights.get(target, 0.0) for target in mesh["extras"]["targetNames"]]
        for weight, target in zip(given, primitive.get("targets", []), strict=True):
            points += weight * self.array(target["POSITION"])
        skin = self.document["skins"][node["skin"]]
        bind = self.array(skin["inverseBindMatrices"]).astype(np.float64).transpose(0, 2, 1)
        world = self._world(nodes)
        matrices = np.stack([world[joint] for joint in skin["joints"]]) @ bind
        sets = range(sum(name.startswith("JOINTS_") for name in primitive["attributes"]))
        joints = np.concatenate([self.array(primitive["attributes"][f"JOINTS_{k}"]) for k in sets], axis=1)
        shares = np.concatenate([self.array(primitive["attributes"][f"WEIGHTS_{k}"]) for k in sets], axis=1)
        shares = shares.astype(np.float64)
        blended = (shares[..., None, None] * matrices[joints]).sum(1)
        return (blended[:, :3, :3] @ points[..., None])[..., 0] + blended[:, :3, 3]

    def _world(self, nodes: list[dict]) -> dict[int, np.ndarray]:
        found: dict[int, np.ndarray] = {}

        def walk(index: int, above: np.ndarray) -> None:
            node = nodes[index]
            local = np.eye(4)
            local[:3, :3] = Rotation.from_quat(node.get("rotation", [0, 0, 0, 1])).as_matrix() * node.get(
                "scale", [1] * 3
            )
            local[:3, 3] = node.get("translation", [0, 0, 0])
            found[index] = above @ local
            for child in node.get("children", []):
                walk(child, found[index])

        for index in self.document["scenes"][0]["nodes"]:
            walk(index, np.eye(4))
        return found
