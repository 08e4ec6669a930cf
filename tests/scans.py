"""Scans with a known answer, made of openhead, for the tests of training.evaluate."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
import trimesh

from model.head import HeadModel
from model.io.assets import load_head
from training.evaluate.estimate import neutral_heads
from training.evaluate.scan import Head, Scan


@lru_cache
def openhead() -> HeadModel:
    return HeadModel(load_head())


@lru_cache
def head(seed: int | None = None) -> Head:
    """A neutral head, mm; the mean one without a seed."""
    model = openhead()
    shape = model.neutral(1).shape
    if seed is not None:
        shape = torch.randn(shape.shape, generator=torch.Generator().manual_seed(seed))
    return neutral_heads(model, shape)[0]


def scan(of: Head, points: int = 1500) -> Scan:
    """Points on the surface of a head, and its landmarks."""
    sampled = trimesh.sample.sample_surface(of.surface, points, seed=3)[0]
    return Scan(np.asarray(sampled), of.landmarks)


def grown(of: Head, by: float, points: int = 1500) -> Scan:
    """A scan whose every point is moved along its triangle's normal, mm."""
    sampled, triangle = trimesh.sample.sample_surface(of.surface, points, seed=3)
    return Scan(np.asarray(sampled) + by * of.surface.face_normals[triangle], of.landmarks)


def write_obj(path: Path, vertices: np.ndarray, faces: np.ndarray) -> None:
    """As scanners write them: with texture coordinates, which loaders double vertices for."""
    lines = [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in vertices]
    lines += ["vt 0 0", "vt 1 0", "vt 0 1"]
    lines += [f"f {a + 1}/1 {b + 1}/2 {c + 1}/3" for a, b, c in faces]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def write_pp(path: Path, points: np.ndarray) -> None:
    """MeshLab's picked points."""
    rows = [
        f' <point x="{x:.6f}" y="{y:.6f}" z="{z:.6f}" name="{i}" active="1"/>' for i, (x, y, z) in enumerate(points)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("<!DOCTYPE PickedPoints>\n<PickedPoints>\n" + "\n".join(rows) + "\n</PickedPoints>\n")
