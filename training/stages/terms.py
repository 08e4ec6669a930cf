"""Loss terms that several stages share, and how their weights switch them on."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from jaxtyping import Float
from torch import Tensor

from model.deca import CoarseCodes
from training.config import LossWeights
from training.data.sample import Batch
from training.losses import code_prior, excess_loss, eye_closure_loss, landmark_loss, light_prior, lip_closure_loss

Loss = Callable[[], Float[Tensor, ""]]


def weighted(weights: LossWeights, losses: Mapping[str, Loss]) -> dict[str, Float[Tensor, ""]]:
    """Every loss times its weight of the same name; one with the weight zero is not computed and is absent."""
    return {name: getattr(weights, name) * loss() for name, loss in losses.items() if getattr(weights, name) != 0}


def landmark_losses(projected: Float[Tensor, "batch 68 2"], batch: Batch) -> dict[str, Loss]:
    """Eq. 6 and 7.

    Args:
        projected: in the crop, [−1, 1].
    """
    return {
        "landmark": lambda: landmark_loss(projected, batch.landmarks, batch.visible),
        "eye": lambda: eye_closure_loss(projected, batch.landmarks),
        "lip": lambda: lip_closure_loss(projected, batch.landmarks),
    }


def seen_losses(codes: CoarseCodes, batch: Batch) -> dict[str, Loss]:
    """What a backbone that sees points learns from the landmarks: its first 68 points are they (eq. 6's weights)."""
    points = codes.points
    if points is None:
        return {}
    return {"points": lambda: landmark_loss(points[:, :68], batch.landmarks, batch.visible)}


def prior_losses(codes: CoarseCodes, limits: tuple[float, float] | None, gaze: bool) -> dict[str, Loss]:
    """The regularisers of the coarse codes.

    Args:
        limits: range of the head's expression.
        gaze: whether the eyeballs' rotations are estimated.
    """
    losses: dict[str, Loss] = {
        "shape": lambda: code_prior(codes.face.shape),
        "expression": lambda: code_prior(codes.face.expression),
        "albedo": lambda: code_prior(codes.albedo),
        "light": lambda: light_prior(codes.light),
    }
    if limits is not None:
        losses["excess"] = lambda: excess_loss(codes.excess)
    if gaze:
        losses["gaze"] = lambda: code_prior(codes.face.eyes)
    return losses
