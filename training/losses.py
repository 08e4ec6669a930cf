"""Losses of DECA (Feng et al. 2021, §4), as pure functions; weights between them are the training loop's business.

Points are projected, in the crop's [−1, 1]; pictures are RGB in [0, 1].
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import avg_pool2d, cosine_similarity, max_pool2d, normalize

from training.vgg import TextureFeatures

EYE_PAIRS = ((37, 41), (38, 40), (43, 47), (44, 46))
"""iBUG indices of upper and lower lids."""

LIP_PAIRS = ((61, 67), (62, 66), (63, 65))
"""iBUG indices of the inner edges of upper and lower lip."""

_MRF_CHUNK = 256
"""Patches that are compared with all others at a time."""


def landmark_weights() -> Float[Tensor, "68"]:
    """How much each iBUG point counts: chin, nose and mouth more, their corners most."""
    weights = torch.ones(68)
    weights[[5, 6, 10, 11]] = 2
    weights[27:36] = 1.5
    weights[[30, 31, 35]] = 3
    weights[48:68] = 1.5
    weights[[48, 54]] = 3
    return weights


def landmark_loss(
    predicted: Float[Tensor, "batch 68 2"], target: Float[Tensor, "batch 68 2"], visible: Float[Tensor, "batch 68"]
) -> Float[Tensor, ""]:
    """Eq. 6: weighted mean L1 distance over the visible points (weights of `landmark_weights`)."""
    weights = landmark_weights().to(predicted) * visible
    total = weights.sum().clamp(min=1e-12)  # no point visible: the loss is zero
    return (weights * (predicted - target).abs().sum(-1)).sum() / (2 * total)


def eye_closure_loss(predicted: Float[Tensor, "batch 68 2"], target: Float[Tensor, "batch 68 2"]) -> Float[Tensor, ""]:
    """Eq. 7: difference of the distances between upper and lower lids, visible or not."""
    return _pair_loss(predicted, target, EYE_PAIRS)


def lip_closure_loss(predicted: Float[Tensor, "batch 68 2"], target: Float[Tensor, "batch 68 2"]) -> Float[Tensor, ""]:
    """Eq. 7 for the lips' inner edges."""
    return _pair_loss(predicted, target, LIP_PAIRS)


def photometric_loss(
    rendered: Float[Tensor, "batch 3 H W"], image: Float[Tensor, "batch 3 H W"], mask: Float[Tensor, "batch 1 H W"]
) -> Float[Tensor, ""]:
    """Eq. 8: mean absolute difference; the mask is skin that is rendered and not occluded."""
    return (mask * (rendered - image).abs()).mean()


def identity_loss(rendered: Float[Tensor, "batch D"], image: Float[Tensor, "batch D"]) -> Float[Tensor, ""]:
    """Eq. 9: one minus the cosine of two face-recognition embeddings."""
    return (1 - cosine_similarity(rendered, image, dim=-1)).mean()


def code_prior(codes: Float[Tensor, "batch D"]) -> Float[Tensor, ""]:
    """Half the sum of squares: the negative logarithm of a normal prior, summed over the batch."""
    return codes.square().sum() / 2


def excess_loss(excess: Float[Tensor, "batch E"]) -> Float[Tensor, ""]:
    """Mean over the batch of the squared distance from the head's range, in its units; not in the paper.

    `model.deca.within` gives codes outside of the range the gradient of those inside; this brings them back.
    """
    return excess.square().sum(-1).mean()


def light_prior(light: Float[Tensor, "batch 9 3"]) -> Float[Tensor, ""]:
    """Mean square deviation from grey light."""
    return (light - light.mean(-1, keepdim=True)).square().mean()


def shading_smoothness_loss(shading: Float[Tensor, "batch 3 H W"]) -> Float[Tensor, ""]:
    """Mean square differences of horizontal and of vertical neighbours inside the picture, added."""
    x = shading[..., 1:-1, 1:] - shading[..., 1:-1, :-1]
    y = shading[..., 1:, 1:-1] - shading[..., :-1, 1:-1]
    return x.square().mean() + y.square().mean()


def mrf_loss(predicted: TextureFeatures, target: TextureFeatures) -> Float[Tensor, ""]:
    """Eq. 13: implicit diversified Markov random fields (Wang et al. 2018, eq. 1–4), summed over the batch.

    Style of both layers, and content of the deeper one: the same term once more.
    """
    return _mrf(predicted.fine, target.fine) + 2 * _mrf(predicted.coarse, target.coarse)


def symmetry_loss(
    displacement: Float[Tensor, "batch H W"],
    occlusion: Float[Tensor, "batch H W"],
    mirrored: Float[Tensor, "batch H W"] | None = None,
) -> Float[Tensor, ""]:
    """Eq. 14: sum of differences between a map and its mirror image u → 1 − u, where the face is not seen.

    Args:
        displacement: metres.
        mirrored: the map whose mirror image it is; the same by default. A constant copy of it lets the hidden side
            follow the seen one and not the seen one the hidden.
    """
    other = displacement if mirrored is None else mirrored
    return (occlusion * (displacement - other.flip(-1)).abs()).sum()


def soft_occlusion(visible: Float[Tensor, "batch H W"], size: int = 5) -> Float[Tensor, "batch H W"]:
    """1 − erosion of what is seen by a square of `size` texels: the hidden, and the seen close to its border."""
    eroded = -max_pool2d(-visible[:, None], size, stride=1, padding=size // 2)[:, 0]
    return 1 - eroded


def displacement_prior(displacement: Float[Tensor, "batch H W"]) -> Float[Tensor, ""]:
    """Eq. 15: mean absolute displacement, metres."""
    return displacement.abs().mean()


def broad_displacement(displacement: Float[Tensor, "batch h w"]) -> Float[Tensor, ""]:
    """Mean of |D| after averaging over squares of a sixteenth of the map (about 15 mm of a face), millimetres.

    Not in the paper. Shading tells a dent from dark skin badly, and a displacement that may be broad takes on what is
    wrong with the coarse shape, albedo and light.
    """
    size = displacement.shape[-1] // 16
    return 1000 * avg_pool2d(displacement[:, None], size, max(size // 2, 1)).abs().mean()


def relief_loss(
    found: Float[Tensor, "batch h w"], wanted: Float[Tensor, "batch h w"], weight: Float[Tensor, "batch h w"]
) -> Float[Tensor, ""]:
    """Mean squared difference of displacements over the mean square of the wanted ones, plus the same of their slopes;
    flat maps cost 2. A twentieth of the weight is on what the picture does not show, where `wanted` is zero.

    Not in the paper. Slopes are what one sees of relief; without them the narrow is outweighed by the broad.

    Args:
        found, wanted: in any unit.
        weight: [0, 1].
    """
    counts = weight + 0.05

    def share(a: Tensor, b: Tensor, counts: Tensor) -> Tensor:
        return (counts * (a - b).square()).sum() / (counts * b.square()).sum().clamp(min=1e-20)

    def slopes(maps: Tensor) -> Tensor:
        return torch.cat([maps.diff(dim=-1).flatten(), maps.diff(dim=-2).flatten()])

    sides = torch.cat([counts[..., 1:].flatten(), counts[:, 1:].flatten()])
    return share(found, wanted, counts) + share(slopes(found), slopes(wanted), sides)


def _pair_loss(predicted: Tensor, target: Tensor, pairs: tuple[tuple[int, int], ...]) -> Tensor:
    upper, lower = zip(*pairs, strict=True)
    opening, wanted = (
        torch.linalg.vector_norm(points[:, upper] - points[:, lower], dim=-1) for points in (predicted, target)
    )
    return (opening - wanted).abs().mean()


def _mrf(predicted: Tensor, target: Tensor, bandwidth: float = 0.5, eps: float = 1e-5) -> Tensor:
    """Every patch of the target should be the nearest one of some patch of the prediction; patches are 1 × 1.

    The bias of 1 in the paper's similarity exp((1 − d) / h) cancels in its normalisation.

    Of the similarities of all pairs, only the largest of every patch of the target counts. So the pairs are searched
    without a graph, a few patches of the prediction at a time, and only the patches found are compared once more.
    """
    mean = target.mean(1, keepdim=True)
    a, b = (normalize(features - mean, dim=1).flatten(2).mT for features in (predicted, target))  # batch patches C

    def similarities(some: Tensor, patches: Tensor) -> Tensor:
        """Logarithm, patches of the prediction × patches of the target."""
        half = some.new_full((), 0.5)
        distance = torch.addmm(half, some, patches.mT, alpha=-0.5)  # (1 − cosine) / 2
        return (distance * (-1 / bandwidth / (distance.amin(1, keepdim=True) + eps))).log_softmax(1)

    losses = []
    for some, patches in zip(a, b, strict=True):
        with torch.no_grad():
            best, chosen = patches.new_full((len(patches),), -torch.inf), torch.zeros_like(patches[:, 0]).long()
            for start in range(0, len(some), _MRF_CHUNK):
                value, place = similarities(some[start : start + _MRF_CHUNK], patches).max(0)
                chosen = torch.where(value > best, place + start, chosen)
                best = torch.maximum(value, best)
            found, where = chosen.unique(return_inverse=True)
        matched = similarities(some[found], patches).gather(0, where[None])[0]
        losses.append(-matched.exp().mean().log())
    return torch.stack(losses).sum()
