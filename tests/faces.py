"""Faces for the tests of training data: pictures of noise with landmarks, with or without labels of the small head."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from heads import EXPRESSIONS, IDENTITIES
from PIL import Image

from model.asset import HeadAsset
from model.camera import project
from model.head import HeadModel
from model.landmarks import HeadLandmarks
from model.params import Camera, FaceParams
from training.data.sample import Labels, Sample
from training.data.shards import ShardWriter

SIDE = 96


def png(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def labels(seed: int, albedo: int = 5) -> Labels:
    """Random codes of the small head, seen by a camera that puts it into a picture of `SIDE` px."""
    random = torch.Generator().manual_seed(seed)

    def normal(size: int, scale: float) -> torch.Tensor:
        return scale * torch.randn(size, generator=random)

    face = FaceParams(
        normal(IDENTITIES, 1.0),
        torch.rand(EXPRESSIONS, generator=random),
        normal(3, 0.2),
        normal(3, 0.1),
        normal(3, 0.1),
        normal(6, 0.1),
    )
    camera = Camera(torch.tensor(300.0), torch.tensor([SIDE / 2.0, SIDE / 2.0]) + normal(2, 3.0))
    return Labels(face, normal(albedo, 1.0), normal(27, 0.5).view(9, 3), camera, torch.tensor(True), torch.tensor(True))


def labelled(seed: int, asset: HeadAsset, identity: str = "someone") -> Sample:
    """A face whose landmarks are those of its labels."""
    codes = labels(seed, len(asset.albedo_basis))
    points = project(codes.camera, HeadLandmarks(HeadModel(asset)).ibug68(codes.face)).numpy()
    return plain(f"labelled/{seed}", identity, seed=seed, landmarks=points, codes=codes)


def plain(
    key: str,
    identity: str,
    *,
    seed: int = 0,
    landmarks: np.ndarray | None = None,
    mask: bytes | None = None,
    codes: Labels | None = None,
) -> Sample:
    """A face of coloured clouds."""
    random = np.random.default_rng(seed)
    clouds = Image.fromarray(random.integers(0, 256, (12, 12, 3), dtype=np.uint8)).resize((SIDE, SIDE))
    if landmarks is None:
        landmarks = random.uniform(0.3 * SIDE, 0.7 * SIDE, (68, 2))
    return Sample(key, identity, png(np.asarray(clouds)), landmarks.astype(np.float32), np.ones(68, bool), mask, codes)


def write(folder: Path, samples: Sequence[Sample], head: str = "tiny") -> Path:
    with ShardWriter(folder, head) as writer:
        for sample in samples:
            writer.write(sample)
    return folder


def people(folder: Path, photographs: Sequence[int]) -> Path:
    """As many people as there are numbers, with so many photographs each."""
    counts = list(enumerate(photographs))
    return write(
        folder, [plain(f"{p}/{i}", f"person{p}", seed=100 * p + i) for p, count in counts for i in range(count)]
    )
