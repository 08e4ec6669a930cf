"""What every stage is to the loop that runs it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn

from training.data.sample import Batch


class Stage(nn.Module, ABC):
    """Networks, frozen or learning, and the loss terms that they learn from.

    ``forward`` is called with a batch, so that it can be wrapped by a data-parallel module. ``train()`` must leave
    frozen networks in evaluation mode. A stage sees to the precision of its networks itself.

    Attributes:
        notes: what the log should say once, e.g. which network is stood in for.
    """

    notes: tuple[str, ...] = ()

    @abstractmethod
    def trained(self) -> Iterator[nn.Parameter]:
        """The parameters that this stage changes."""

    @abstractmethod
    def forward(self, batch: Batch, generator: torch.Generator) -> dict[str, Float[Tensor, ""]]:
        """Weighted loss terms by name; their sum is minimised. A term that is switched off is absent.

        Args:
            generator: on the CPU; the only source of chance, so that a resumed run repeats itself.
        """

    @abstractmethod
    def pictures(self, batch: Batch) -> dict[str, Float[Tensor, "batch 3 H W"]]:
        """What there is to see, RGB in [0, 1], by name: input, coarse, detailed, reposed, UV displacement."""
