"""Batch k of a run: which portraits, and how they are changed; a function of the seed and k alone."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from model.parsing import Part
from training.parsing.augment import augment
from training.parsing.config import ParsingConfig
from training.parsing.portraits import Portraits, smaller


class Batches:
    """Training batches from photographs and rendered heads.

    Args:
        photographs, rendered: of the same size.
    """

    def __init__(self, photographs: Portraits, rendered: Portraits, config: ParsingConfig) -> None:
        self._photographs, self._rendered, self._config = photographs, rendered, config
        self._halves = smaller(photographs.images, 2), smaller(rendered.images, 2)
        rare = np.array([np.isin(parts, (Part.GLASSES, Part.HAT)).sum() > 200 for parts in photographs.parts])
        chance = np.where(rare, config.rare, 1.0)
        self._chance = chance / chance.sum()

    def batch(self, step: int) -> tuple[Float[Tensor, "B 3 H W"], Int[Tensor, "B H W"]]:
        """Crops and the parts of their pixels."""
        config = self._config
        rng = np.random.default_rng([config.seed, step])
        made = int(rng.binomial(config.batch, config.rendered)) if len(self._rendered) else 0
        photographs = rng.choice(len(self._photographs), config.batch - made, p=self._chance)
        rendered = rng.choice(len(self._rendered), made) if made else np.zeros(0, int)
        sources = ((self._photographs, photographs), (self._rendered, rendered))
        images = np.concatenate([source.images[rows] for source, rows in sources])
        halves = np.concatenate([half[rows] for half, rows in zip(self._halves, (photographs, rendered), strict=True)])
        parts = np.concatenate([source.parts[rows] for source, rows in sources])
        eyes = np.concatenate([source.eyes[rows] for source, rows in sources])
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        return augment(
            torch.from_numpy(images).movedim(-1, 1),
            torch.from_numpy(halves).movedim(-1, 1),
            torch.from_numpy(parts),
            torch.from_numpy(eyes).float(),
            torch.arange(config.batch) >= config.batch - made,
            config.side(step),
            config.augment,
            generator,
        )
