"""How long a stage is, and Adam's rate at every step; functions of the step alone, so a resumed run repeats them."""

from __future__ import annotations

import math

from training.config import StageConfig


def steps_of(settings: StageConfig, samples: int) -> int:
    """Optimiser steps of a stage: as configured, else its epochs over `samples` faces; at least one."""
    if settings.steps > 0:
        return settings.steps
    return max(1, math.ceil(settings.epochs * samples / (settings.subjects * settings.images)))


def rate_at(settings: StageConfig, step: int, steps: int) -> float:
    """Adam's rate at `step` of `steps`, counted from 0: a straight rise over `warmup`, then flat or half a cosine."""
    if step < settings.warmup:
        return settings.rate * (step + 1) / settings.warmup
    if not settings.decay:
        return settings.rate
    done = (step - settings.warmup) / max(1, steps - settings.warmup)
    return settings.rate * 0.5 * (1 + math.cos(math.pi * done))
