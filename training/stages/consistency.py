"""Codes that belong to a person, swapped between the photographs of one person (Feng et al. 2021, §4.1 and §4.2)."""

from __future__ import annotations

import torch
from jaxtyping import Int
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


def several(identity: Int[Tensor, " batch"]) -> bool:
    """Whether anybody has more than one face here."""
    return len(torch.unique(identity)) < len(identity)
