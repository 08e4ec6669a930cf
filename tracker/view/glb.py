"""The smallest binary glTF: one mesh with a picture on it, drawn without any light.

glTF 2.0 specification, sections 4.4 (GLB) and 5; ``KHR_materials_unlit``.
"""

from __future__ import annotations

import json
import struct

import numpy as np
from jaxtyping import Float, Int

_FLOAT, _UINT16, _UINT32 = 5126, 5123, 5125
_VERTICES, _INDICES = 34962, 34963


def unlit_glb(
    vertices: Float[np.ndarray, "V 3"], uv: Float[np.ndarray, "V 2"], faces: Int[np.ndarray, "F 3"], jpeg: bytes
) -> bytes:
    """A mesh whose colours are the picture's.

    Args:
        uv: origin at the bottom-left.
        jpeg: the picture, encoded; row 0 is v = 1.
    """
    places = np.ascontiguousarray(vertices, np.float32)
    texture = np.ascontiguousarray(np.stack([uv[:, 0], 1 - uv[:, 1]], 1), np.float32)  # glTF's origin is at the top
    small = len(vertices) <= 65535
    indices = np.ascontiguousarray(faces, np.uint16 if small else np.uint32)
    blobs = [places.tobytes(), texture.tobytes(), indices.tobytes(), jpeg]
    views, offset, body = [], 0, b""
    for blob, target in zip(blobs, (_VERTICES, _VERTICES, _INDICES, None), strict=True):
        view = {"buffer": 0, "byteOffset": offset, "byteLength": len(blob)}
        views.append(view if target is None else view | {"target": target})
        body += blob + b"\0" * (-len(blob) % 4)
        offset = len(body)
    low, high = places.min(0).tolist(), places.max(0).tolist()
    document = {
        "asset": {"version": "2.0", "generator": "decatrack"},
        "extensionsUsed": ["KHR_materials_unlit"],
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0, "TEXCOORD_0": 1}, "indices": 2, "material": 0}]}],
        "materials": [
            {
                "pbrMetallicRoughness": {"baseColorTexture": {"index": 0}, "metallicFactor": 0},
                "extensions": {"KHR_materials_unlit": {}},
            }
        ],
        "textures": [{"source": 0, "sampler": 0}],
        "samplers": [{"magFilter": 9729, "minFilter": 9729, "wrapS": 33071, "wrapT": 33071}],
        "images": [{"bufferView": 3, "mimeType": "image/jpeg"}],
        "accessors": [
            {
                "bufferView": 0, "componentType": _FLOAT, "count": len(places), "type": "VEC3", "min": low, "max": high
            },
            {"bufferView": 1, "componentType": _FLOAT, "count": len(texture), "type": "VEC2"},
            {
                "bufferView": 2,
                "componentType": _UINT16 if small else _UINT32,
                "count": indices.size,
                "type": "SCALAR",
            },
        ],
        "bufferViews": views,
        "buffers": [{"byteLength": len(body)}],
    }  # fmt: skip
    text = json.dumps(document, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    length = 12 + 8 + len(text) + 8 + len(body)
    return b"".join(
        [
            struct.pack("<4sII", b"glTF", 2, length),
            struct.pack("<I4s", len(text), b"JSON"),
            text,
            struct.pack("<I4s", len(body), b"BIN\0"),
            body,
        ]
    )
