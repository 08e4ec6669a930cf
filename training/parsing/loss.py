"""What parsing is trained on: cross entropy with rare parts weighted up, and Dice."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from torch.nn.functional import nll_loss

from model.parsing import Part
from training.parsing.portraits import UNKNOWN


def part_weights(parts: UInt8[np.ndarray, "N S S"], balance: float) -> Float[Tensor, "13"]:
    """Weight of each part: its share of the pixels to the power −balance, such that a mean pixel weighs one."""
    share = np.bincount(parts[parts != UNKNOWN].ravel(), minlength=len(Part)) / parts.size
    weights = share.clip(1e-5) ** -balance
    return torch.from_numpy((weights / (weights * share).sum()).astype(np.float32))


def parsing_loss(
    logits: Float[Tensor, "B 13 h w"],
    parts: Int[Tensor, "B H W"],
    weights: Float[Tensor, "13"],
    dice: float,
    corner: int = 0,
) -> Float[Tensor, ""]:
    """Cross entropy of the known pixels plus `dice` times the Dice loss (Milletari et al. 2016) averaged over the
    parts that the batch shows.

    Args:
        logits: at half the size of `parts`.
        corner: which of the four pixels under a logit is its truth, 0 to 3. Taken in turn, they teach it the share
            of each part at an edge, for a quarter of the work.
    """
    parts = parts[:, corner // 2 :: 2, corner % 2 :: 2]
    known = (parts != UNKNOWN)[:, None]
    scores = logits.log_softmax(1)
    entropy = nll_loss(scores, parts, weights, ignore_index=UNKNOWN)
    truth = torch.zeros_like(scores).scatter_(1, parts.where(known[:, 0], 0)[:, None], known.float())
    predicted = scores.exp() * known
    overlap, total = (predicted * truth).sum((0, 2, 3)), (predicted + truth).sum((0, 2, 3))
    shown = truth.sum((0, 2, 3)) > 0
    return entropy + dice * (1 - 2 * overlap[shown] / total[shown]).mean()
