"""Spots of the head's surface that a backbone with points learns to see, beside iBUG's.

After Wood et al. 2022, "3D face reconstruction with dense landmarks": of a rendered face the place of any point of the
surface is known exactly, and a network that sees hundreds of them knows the face.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from model.asset import HeadAsset, SurfacePoints
from model.camera import project_crop
from model.head import HeadModel
from model.params import CropCamera
from training.data.sample import Labels
from training.supervision import mean_of_known

_MOTION = 4.0
"""How much a distance between two spots' ways counts, beside one between their places."""


class Spots(nn.Module):
    """Where the known codes say that the spots are; constants only, nothing in a state dict.

    Args:
        count: of the spots.
    """

    def __init__(self, head: HeadModel, count: int) -> None:
        super().__init__()
        self.points = head.at(at_vertices(head.asset, spread_vertices(head.asset, count)))

    @torch.no_grad()
    def forward(self, labels: Labels) -> Float[Tensor, "batch N 2"]:
        """In the crop, [−1, 1]; spots that the head itself hides too."""
        assert isinstance(labels.camera, CropCamera)
        return project_crop(labels.camera, self.points(labels.face))[..., :2]


def spots_loss(
    seen: Float[Tensor, "batch N 2"], truth: Float[Tensor, "batch N 2"], known: Bool[Tensor, " batch"]
) -> Float[Tensor, ""]:
    """Mean L1 distance per coordinate, as eq. 6 measures landmarks, over the known faces; half crops."""
    return mean_of_known((seen - truth).abs().mean((-2, -1)), known)


def spread_vertices(asset: HeadAsset, count: int) -> Int[np.ndarray, "N"]:
    """Vertices of the face, each as far as can be from those before it: in place, or in how expressions move it.

    So lips and lids, whose edges lie together and move apart, get more of them than cheeks. Distances are over the
    template and all expression directions.

    Raises:
        ValueError: the face has fewer vertices.
    """
    region = next((asset.regions[name] for name in ("face", "skin") if name in asset.regions), None)
    allowed = np.arange(len(asset.template)) if region is None else np.flatnonzero(region > 0.5)
    if len(allowed) < count:
        raise ValueError(f"the face of {asset.name} has {len(allowed)} vertices, the backbone has {count} spots")
    places = np.concatenate([asset.template[:, None], _MOTION * asset.exprdirs.transpose(0, 2, 1)], axis=1)[allowed]
    places = places.reshape(len(allowed), -1).astype(np.float64)
    chosen = [int(np.linalg.norm(places - places.mean(0), axis=1).argmin())]
    nearest = np.full(len(places), np.inf)
    while len(chosen) < count:
        nearest = np.minimum(nearest, np.linalg.norm(places - places[chosen[-1]], axis=1))
        chosen.append(int(nearest.argmax()))
    return allowed[chosen]


def at_vertices(asset: HeadAsset, vertices: Int[np.ndarray, "N"]) -> SurfacePoints:
    """Points on the surface that lie on vertices."""
    corners = asset.faces.reshape(-1)
    first = {int(vertex): place for place, vertex in reversed(list(enumerate(corners)))}
    places = np.array([first[int(vertex)] for vertex in vertices], np.int64)
    return SurfacePoints(places // 3, np.eye(3, dtype=np.float32)[places % 3])
