"""Settings of the training of the face-parsing network."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class AugmentConfig:
    """What is done to pictures at random; probabilities are of a picture, each by itself.

    Attributes:
        rotate: largest roll, degrees; most rolls are much smaller.
        stretch: largest change of the aspect ratio, as a factor minus one.
        face: smallest and largest width of a whole portrait (320 px), as a multiple of the crop's side.
        shift: how far the crop's centre may lie from the portrait's, share of the portrait's side.
        background: probability that what is behind the person is replaced.
        occlude: probability that something is drawn over the picture.
        glasses: probability that glasses are drawn on.
        colour: strength of changes of exposure, contrast, colour and light, 0 to 1.
        grey: probability that all colour is taken away.
        shrink: probability that a picture is shrunk and enlarged again, by up to `smallest`.
        smallest: how much.
        blur: probability of a blur.
        noise: probability of a sensor's noise.
        jpeg: probability of JPEG compression.
    """

    rotate: float = 45.0
    stretch: float = 0.15
    face: tuple[float, float] = (0.6, 1.9)
    shift: float = 0.18
    background: float = 0.35
    occlude: float = 0.3
    glasses: float = 0.15
    colour: float = 1.0
    grey: float = 0.08
    shrink: float = 0.35
    smallest: float = 5.0
    blur: float = 0.2
    noise: float = 0.35
    jpeg: float = 0.3


@dataclass(frozen=True)
class Phase:
    """A part of the training.

    Attributes:
        steps: how many.
        side: of the crops, px, a multiple of 32.
    """

    steps: int
    side: int

    def __post_init__(self) -> None:
        if self.steps < 0 or self.side < 32 or self.side % 32:
            raise ValueError(f"{self.steps} steps of {self.side} px: give steps ≥ 0 and a multiple of 32 px")


@dataclass(frozen=True)
class ParsingConfig:
    """All settings of a run.

    Attributes:
        small, middle, large: three phases with growing crops; small ones are many for their time.
        batch: crops per step.
        rate: AdamW's highest learning rate; after the small phase it falls along a cosine to a hundredth.
        warmup: steps in which the rate rises from nothing.
        decay: AdamW's weight decay.
        average: decay of the running average of the weights, which is what is kept.
        dice: weight of the Dice loss beside the cross entropy.
        balance: exponent of the classes' weights, 0 none, 1 inverse frequency.
        rare: how much more often portraits with glasses or a hat are drawn.
        rendered: share of rendered heads in a batch.
        renders: how many rendered heads there are.
        seed: of everything.
        augment: changes of pictures.
    """

    small: Phase = field(default_factory=lambda: Phase(steps=3000, side=128))
    middle: Phase = field(default_factory=lambda: Phase(steps=1000, side=192))
    large: Phase = field(default_factory=lambda: Phase(steps=140, side=256))
    batch: int = 16
    rate: float = 1.5e-3
    warmup: int = 200
    decay: float = 0.02
    average: float = 0.998
    dice: float = 0.5
    balance: float = 0.4
    rare: float = 3.0
    rendered: float = 0.12
    renders: int = 200
    seed: int = 0
    augment: AugmentConfig = field(default_factory=AugmentConfig)

    @property
    def steps(self) -> int:
        """Of all phases."""
        return self.small.steps + self.middle.steps + self.large.steps

    def side(self, step: int) -> int:
        """Of the crops at a step, counted from 0."""
        for phase in (self.small, self.middle):
            if step < phase.steps:
                return phase.side
            step -= phase.steps
        return self.large.side

    def rate_at(self, step: int) -> float:
        """Learning rate: constant for the small crops, then along a cosine, so that the small phase may be made longer
        or shorter while it runs."""
        later = max(1, self.middle.steps + self.large.steps)
        fallen = 0.5 - 0.5 * math.cos(math.pi * max(0.0, (step - self.small.steps) / later))
        return self.rate * min(1.0, (step + 1) / self.warmup) * (1 - 0.99 * fallen)

    def same_until(self, other: ParsingConfig, step: int) -> bool:
        """Whether a run of the other settings would be, after this many steps, where a run of these is."""
        phases = {"small": self.small, "middle": self.middle, "large": self.large}
        if replace(other, **phases) != self:
            return False
        return all(self.side(k) == other.side(k) and self.rate_at(k) == other.rate_at(k) for k in range(step))
