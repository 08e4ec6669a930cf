"""The processes that train together, each on its part of every batch."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from training.stages.base import Stage


@dataclass(frozen=True)
class Team:
    """This process among those that train together; alone by default.

    Attributes:
        rank: of this process; the first one writes what is written.
        world: how many there are.
    """

    rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes."""
        return self.rank == 0

    def sum(self, values: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
        """The sum over all processes, the same in each of them."""
        if self.world > 1:
            values = values.clone()
            torch.distributed.all_reduce(values)
        return values

    def wait(self, device: torch.device) -> None:
        """Go on when all processes are here."""
        self.sum(torch.zeros(1, device=device))

    def wrap(self, stage: Stage) -> nn.Module:
        """The stage with its gradients averaged over all processes.

        Buffers are not exchanged: the head's are constant and large, and batch normalisation's running means are
        those of the first process, as its checkpoint is the only one.
        """
        if self.world == 1:
            return stage
        with warnings.catch_warnings():  # its heir of torch 2.13 is not known to those before
            warnings.filterwarnings("ignore", "`broadcast_buffers`", FutureWarning)
            return nn.parallel.DistributedDataParallel(stage, broadcast_buffers=False)
