"""``model/openhead/landmarks.npz``: the embeddings that the head's builder reads, and where they come from."""

from __future__ import annotations

import io
import json
import os
import zipfile
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from model.asset import Landmarks, SurfacePoints

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the same embeddings are the same bytes


def save(path: Path, landmarks: Landmarks, renders: Landmarks, provenance: dict[str, Any]) -> None:
    """Write the embeddings to use (``NAME/face``, ``NAME/barycentric``), those from renders alone (``renders/NAME/…``)
    and the provenance (JSON text); the file appears only when it is complete."""
    arrays: dict[str, np.ndarray] = {"provenance": np.array(json.dumps(provenance, indent=1, sort_keys=True))}
    for prefix, source in (("", landmarks), ("renders/", renders)):
        for field in fields(Landmarks):
            points = getattr(source, field.name)
            if points is not None:
                arrays[f"{prefix}{field.name}/face"] = points.face.astype(np.int32)
                arrays[f"{prefix}{field.name}/barycentric"] = points.barycentric.astype(np.float32)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as out:
        for key in sorted(arrays):
            data = io.BytesIO()
            np.lib.format.write_array(data, arrays[key], allow_pickle=False)
            info = zipfile.ZipInfo(f"{key}.npy", _EPOCH)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.create_system = 3
            out.writestr(info, data.getvalue())
    os.replace(temporary, path)


def load(path: Path, prefix: str = "") -> Landmarks:
    """Read the embeddings to use, or with the prefix ``renders/`` those from renders alone.

    Raises:
        ValueError: there is no such file.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file; run python -m training.landmarks without --skip-renders")
    with np.load(path, allow_pickle=False) as arrays:
        return Landmarks(
            **{
                field.name: SurfacePoints(
                    arrays[f"{prefix}{field.name}/face"].astype(np.int64),
                    arrays[f"{prefix}{field.name}/barycentric"].astype(np.float64),
                )
                for field in fields(Landmarks)
            }
        )


def load_provenance(path: Path) -> dict[str, Any]:
    """The record of how the embeddings of a file were found."""
    with np.load(path, allow_pickle=False) as arrays:
        return json.loads(str(arrays["provenance"]))
