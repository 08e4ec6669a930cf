"""Codes that belong to a person, swapped between the photographs of one person (Feng et al. 2021, §4.1 and §4.2)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor


def within_subjects(identity: Int[Tensor, " batch"], generator: torch.Generator) -> Int[Tensor, " batch"]:
    """For every face the one whose code it takes: another face of the same person, each taken once.

    The faces of a person are put in a random order and each takes the code of the next, so that nobody who has a second
    photograph keeps the own code. Somebody with a single photograph does.

    Args:
        identity: the same number for the same person.
        generator: on the CPU.
    """
    people = identity.tolist()
    order = list(range(len(people)))
    for person in dict.fromkeys(people):
        faces = [face for face, name in enumerate(people) if name == person]
        ring = [faces[place] for place in torch.randperm(len(faces), generator=generator).tolist()]
        for face, giver in zip(ring, ring[1:] + ring[:1], strict=True):
            order[face] = giver
    return torch.tensor(order, device=identity.device)


def agreement_loss(
    codes: Float[Tensor, "batch C"], identity: Int[Tensor, " batch"], keys: Sequence[str]
) -> Float[Tensor, ""]:
    """Variance of codes within people over their variance in the batch, both summed over the codes: Fisher's criterion.
    0 where photographs of a person give one code, about 1 where they say nothing of who it is.

    No scale is preferred, so codes are not drawn to the mean of all people. People who are there once do not count, nor
    copies of one photograph; 0 where nobody is left.

    Args:
        keys: of the photographs.
    """
    numbers, counts = [], []
    people = identity.tolist()
    for person in dict.fromkeys(people):
        faces = [face for face, name in enumerate(people) if name == person]
        if len({keys[face] for face in faces}) > 1:
            numbers.append(faces)
            counts.append(len(faces))
    if len(numbers) < 2:
        return codes.sum() * 0
    chosen = codes[[face for faces in numbers for face in faces]]
    groups = chosen.split(counts)
    within = torch.cat([group - group.mean(0) for group in groups]).square().sum() / (len(chosen) - len(groups))
    total = (chosen - chosen.mean(0)).square().sum() / (len(chosen) - 1)
    return within / total.clamp(min=1e-12)


def several(identity: Int[Tensor, " batch"]) -> bool:
    """Whether anybody has more than one face here."""
    return len(torch.unique(identity)) < len(identity)
