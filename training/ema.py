"""The running mean of the weights: what is validated, drawn and kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Average:
    """Exponential mean of a module's learning parameters and of its stored buffers.

    ``mean ← d mean + (1 − d) value`` with ``d = min(decay, (1 + step) / (10 + step))``: early means do not hang on to
    the random start. Frozen parameters are left out: they equal their mean.

    Args:
        decay: of the mean; 0 follows the weights.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        frozen = {name for name, parameter in module.named_parameters() if not parameter.requires_grad}
        self._values = {name: value for name, value in module.state_dict().items() if name not in frozen}
        self._decay = decay
        self.state = {name: value.clone() for name, value in self._values.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after `step` steps, counted from 1."""
        weight = 1 - min(self._decay, (1 + step) / (10 + step))
        for name, mean in self.state.items():
            if mean.is_floating_point():
                mean.lerp_(self._values[name], weight)
            else:  # the counters of batch normalisation
                mean.copy_(self._values[name])

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The module has the mean weights inside the block, and its own again after it."""
        own = {name: value.clone() for name, value in self._values.items()}
        try:
            self._put(self.state)
            yield
        finally:
            self._put(own)

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take over a stored mean of the same module."""
        assert state.keys() == self.state.keys()
        with torch.no_grad():
            for name, value in state.items():
                self.state[name].copy_(value)

    @torch.no_grad()
    def _put(self, values: Mapping[str, Tensor]) -> None:
        for name, value in self._values.items():
            value.copy_(values[name])
