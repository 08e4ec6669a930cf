"""Files with FLAME's names, keys, shapes and pickle classes, made from the small test head."""

from __future__ import annotations

import pickle
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
import torch
from PIL import Image

from model.asset import HeadAsset


def flame_fields(head: HeadAsset, joints: int = 5) -> dict[str, Any]:
    """What a FLAME pickle holds; with four joints the jaw is left out."""
    rng = np.random.default_rng(3)
    count = len(head.template)
    directions = np.zeros((count, 3, 400))
    directions[..., :100] = rng.normal(size=(count, 3, 100)) * 1e-3
    directions[..., 300:350] = rng.normal(size=(count, 3, 50)) * 1e-3
    regressor, weights, posedirs = (
        array.astype(np.float64) for array in (head.joint_regressor, head.weights, head.posedirs)
    )
    parents = [4294967295, 0, 1, 1, 1]
    if joints == 4:
        weights = np.delete(weights, 2, axis=1) + weights[:, 2:3] * np.array([0, 1, 0, 0])
        regressor, posedirs = np.delete(regressor, 2, axis=0), np.delete(posedirs, slice(9, 18), axis=2)
        parents.pop()
    return {
        "v_template": head.template.astype(np.float64),
        "f": head.faces.astype(np.uint32),
        "shapedirs": directions,
        "posedirs": posedirs,
        "weights": weights,
        "J_regressor": scipy.sparse.csc_matrix(regressor),
        "kintree_table": np.array([parents, range(len(parents))]),
        "bs_type": "lrotmin",
    }


def write_flame(folder: Path, head: HeadAsset, name: str = "generic_model.pkl", joints: int = 5) -> Path:
    """A whole FLAME folder; returns the model's path."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(pickle.dumps(flame_fields(head, joints), protocol=2))
    assert head.landmarks is not None and head.uv is not None and head.uv_faces is not None
    marks = head.landmarks
    embedding = {
        "static_lmk_faces_idx": marks.static51.face,
        "static_lmk_bary_coords": marks.static51.barycentric.astype(np.float64),
        "dynamic_lmk_faces_idx": torch.from_numpy(marks.contour.face),
        "dynamic_lmk_bary_coords": torch.from_numpy(marks.contour.barycentric.astype(np.float32)),
        "full_lmk_faces_idx": marks.full68.face[None],
        "full_lmk_bary_coords": marks.full68.barycentric[None],
    }
    np.save(folder / "landmark_embedding.npy", np.array(embedding, dtype=object), allow_pickle=True)
    lines = [f"v {x} {y} {z}" for x, y, z in head.template] + [f"vt {u:.8f} {v:.8f}" for u, v in head.uv]
    for face, uv_face in zip(head.faces, head.uv_faces, strict=True):
        lines.append("f " + " ".join(f"{a + 1}/{b + 1}" for a, b in zip(face, uv_face, strict=True)))
    (folder / "head_template.obj").write_text("\n".join(lines))
    rng = np.random.default_rng(4)
    np.save(folder / "fixed_displacement_256.npy", rng.normal(size=(256, 256)) * 1e-4)
    for mask in ("uv_face_eye_mask.png", "uv_face_mask.png"):
        pixels = np.zeros((512, 512, 3), np.uint8)
        pixels[100:300, 100:400] = 255
        Image.fromarray(pixels).save(folder / mask)
    return folder / name


def write_bfm_albedo(folder: Path, size: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """An albedo space with 60 columns; returns mean and basis as stored (BGR)."""
    rng = np.random.default_rng(5)
    mean, basis = rng.uniform(0.3, 0.7, size * size * 3), rng.normal(size=(size * size * 3, 60))
    np.savez(folder / "FLAME_albedo_from_BFM.npz", MU=mean, PC=basis)
    return mean, basis


@contextmanager
def chumpy() -> Iterator[type]:
    """A class that pickles as ``chumpy.ch.Ch``, while the block runs."""
    package, module = types.ModuleType("chumpy"), types.ModuleType("chumpy.ch")
    ch = type("Ch", (), {"__module__": "chumpy.ch", "__init__": lambda self, x: self.__dict__.update(x=x)})
    module.Ch, package.ch = ch, module  # type: ignore[attr-defined]
    sys.modules.update({"chumpy": package, "chumpy.ch": module})
    try:
        yield ch
    finally:
        del sys.modules["chumpy"], sys.modules["chumpy.ch"]
