"""Shards that are made in no time: flat pictures with the tiny head's landmarks."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from model.asset import HeadAsset
from model.io.assets import save_head
from training.data.sample import Sample
from training.data.shards import ShardWriter


def write_shards(folder: Path, head: HeadAsset, people: int, each: int, damaged: str = "") -> Path:
    """Faces ``p0/0``, ``p0/1``, ..., of which the one of the key `damaged` cannot be decoded."""
    rng = np.random.default_rng(0)
    with ShardWriter(folder, head.name) as writer:
        for person in range(people):
            for number in range(each):
                key = f"p{person}/{number}"
                colour = np.broadcast_to(rng.integers(0, 256, 3, dtype=np.uint8), (64, 64, 3))
                stored = io.BytesIO()
                Image.fromarray(np.ascontiguousarray(colour)).save(stored, "PNG")
                landmarks = rng.uniform(20, 44, (68, 2)).astype(np.float32)
                image = b"no picture" if key == damaged else stored.getvalue()
                writer.write(Sample(key, f"p{person}", image, landmarks, np.ones(68, bool)))
    return folder


def write_config(path: Path, head: HeadAsset, shards: Path, **settings: str) -> Path:
    """A pretraining of a few steps with the smallest networks."""
    file = path.with_name("head.npz")
    save_head(head, file)
    lines = {
        "out": str(path.with_name("out")),
        "stages": "[pretrain]",
        "save_every": "2",
        "validate_every": "100",
        "picture_every": "100",
        "model": f"{{head: {file}, backbone: mobilenetv2, resolution: 32, uv_size: 16, detail: 4}}",
        "data": f"{{shards: [{shards}], held_out: 0.0}}",
        "pretrain": "{steps: 6, subjects: 4}",
        **settings,
    }
    path.write_text("".join(f"{key}: {value}\n" for key, value in lines.items()))
    return path
