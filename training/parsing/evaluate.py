"""How well portraits are parsed that were held out: intersection over union of each part."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from model.parsing import FACE, Parser, Part
from training.parsing.portraits import Portraits, smaller

_BATCH = 10


def confusion(parser: Parser, portraits: Portraits, shrink: int = 1) -> Int[Tensor, "13 13"]:
    """How many pixels of each part (row) were taken for which (column), over all portraits.

    Args:
        shrink: the parser sees the portraits this many times smaller; the comparison stays at full size.
    """
    images = portraits.images if shrink == 1 else smaller(portraits.images, shrink)
    counts = torch.zeros(len(Part), len(Part), dtype=torch.long)
    for begin in range(0, len(portraits), _BATCH):
        batch = torch.from_numpy(images[begin : begin + _BATCH]).movedim(-1, 1).float() / 255
        truth = torch.from_numpy(portraits.parts[begin : begin + _BATCH]).long()
        probabilities = parser(batch)
        if shrink != 1:
            probabilities = torch.nn.functional.interpolate(probabilities, truth.shape[-2:], mode="bilinear")
        answer = probabilities.argmax(1)
        counts += torch.bincount((truth * len(Part) + answer).flatten(), minlength=len(Part) ** 2).view_as(counts)
    return counts


def iou(counts: Int[Tensor, "parts parts"]) -> Float[Tensor, "parts"]:
    """Intersection over union of each part; not a number for a part that is neither there nor found."""
    both = counts.diagonal().double()
    return both / (counts.sum(0) + counts.sum(1) - both)


def merged(counts: Int[Tensor, "13 13"]) -> Int[Tensor, "2 2"]:
    """The same with all of `FACE` one part (row and column 1) and everything else the other."""
    face = torch.zeros(len(Part), dtype=torch.long)
    face[list(FACE)] = 1
    groups = torch.nn.functional.one_hot(face, 2)
    return groups.T @ counts @ groups


def table(parser: Parser, portraits: Portraits) -> str:
    """IoU of every part at full and at quarter resolution, as text."""
    columns = [confusion(parser, portraits), confusion(parser, portraits, shrink=4)]
    lines = [f"{len(portraits)} held-out portraits; intersection over union", f"{'part':12}{'320 px':>8}{'80 px':>8}"]
    scores = [iou(counts).tolist() for counts in columns]
    for part in Part:
        lines.append(f"{part.name.lower():12}" + "".join(f"{column[part]:8.3f}" for column in scores))
    means = [sum(column) / len(column) for column in scores]
    lines.append(f"{'mean':12}" + "".join(f"{value:8.3f}" for value in means))
    faces = [iou(merged(counts))[1].item() for counts in columns]
    lines.append(f"{'whole face':12}" + "".join(f"{value:8.3f}" for value in faces))
    return "\n".join(lines)
