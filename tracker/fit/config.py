"""The settings of the landmark fit."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FitConfig:
    """Settings of the landmark fit.

    Attributes:
        landmarks: whether landmarks are fitted at all; without, heads are what the network says they are.
        steps: Gauss-Newton steps for every frame.
        identity_steps: steps of the joint solution for identity and keyframes.
        keyframes: frames of a video from which the identity is found, at most.
        chunk: frames solved at once; bounds the memory, does not change the result.
        noise: multiplies the assumed error of the landmarks; larger trusts the priors more.
        robust: residual, in standard deviations, from which a point counts as an outlier.
        identity_weight: weight of the prior that people are near the mean head.
        expression_weight: weight of the prior that faces are at rest.
        network_noise: multiplies the network's measured errors, which are those on rendered faces; larger trusts it
            less. The errors of the pose are taken as they are: a turn looks the same rendered and filmed.
    """

    landmarks: bool = True
    steps: int = 4
    identity_steps: int = 6
    keyframes: int = 24
    chunk: int = 64
    noise: float = 1.0
    robust: float = 3.0
    identity_weight: float = 1.0
    expression_weight: float = 1.0
    network_noise: float = 1.5

    def __post_init__(self) -> None:
        for name in ("steps", "identity_steps", "keyframes", "chunk"):
            if getattr(self, name) < 1:
                raise ValueError(f"fit.{name} must be at least 1, got {getattr(self, name)}")
        for name in ("noise", "robust", "network_noise"):
            if not getattr(self, name) > 0:
                raise ValueError(f"fit.{name} must be positive, got {getattr(self, name)}")
        for name in ("identity_weight", "expression_weight"):
            if getattr(self, name) < 0:
                raise ValueError(f"fit.{name} must not be negative, got {getattr(self, name)}")
