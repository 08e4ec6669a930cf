"""The records of training: one face as it lies in a shard, and a batch as the networks see it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from torch import Tensor

from model.params import Camera, CropCamera, FaceParams


@dataclass(frozen=True)
class Labels:
    """Codes of a face: exact ones (rendered faces) or those of the landmark fit (photographs).

    Attributes:
        face: the head's codes and pose.
        albedo: coefficients, standard deviations.
        light: spherical harmonics by colour, camera axes.
        camera: of the stored picture (a sample) or of the crop (a batch).
        known: whether `face` and `camera` are known; they are zero where not.
        lit: whether `albedo` and `light` are known; they are zero where not.
    """

    face: FaceParams
    albedo: Float[Tensor, "*batch A"]
    light: Float[Tensor, "*batch 9 3"]
    camera: Camera | CropCamera
    known: Bool[Tensor, "*batch"]
    lit: Bool[Tensor, "*batch"]


@dataclass(frozen=True)
class Sample:
    """One face of one photograph, cut out with room around it for every training crop.

    Attributes:
        key: names the photograph (its path under the folder that was prepared, and the face's number); unique.
        identity: names the person; faces of one name are one person.
        image: an encoded picture (JPEG, PNG or WebP), RGB.
        landmarks: iBUG-68, px of `image`.
        visible: which of them are believed.
        mask: an encoded grey picture of the same size, 255 on visible skin; None where there is none.
        labels: unbatched; None where there are none.
    """

    key: str
    identity: str
    image: bytes
    landmarks: Float[np.ndarray, "68 2"]
    visible: Bool[np.ndarray, "68"]
    mask: bytes | None = None
    labels: Labels | None = None


@dataclass(frozen=True)
class Batch:
    """Crops of several faces; faces of one person stand together where a stage asks for several.

    Attributes:
        images: RGB, [0, 1].
        landmarks: iBUG-68 in the crop, [−1, 1], x right and y down.
        visible: 1 for a point that counts, else 0.
        masks: 1 on visible skin; all ones where the sample has no mask.
        identity: the same number for the same person, within this batch.
        labels: with cameras of the crop.
        keys: of the samples.
    """

    images: Float[Tensor, "batch 3 H W"]
    landmarks: Float[Tensor, "batch 68 2"]
    visible: Float[Tensor, "batch 68"]
    masks: Float[Tensor, "batch 1 H W"]
    identity: Int[Tensor, "batch"]
    labels: Labels
    keys: tuple[str, ...]
