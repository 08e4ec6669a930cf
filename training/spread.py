"""How far the codes of faces usually lie from the mean face: the units in which they are learned and judged."""

from __future__ import annotations

EXPRESSION_UNIT = 0.2
"""Of a named unit in [0, 1]."""

EXPRESSION_SIGMA = 1.0
"""Of an expression coefficient in standard deviations."""

POSE = 0.45
"""Global rotation, radians."""

JAW = 0.1
"""Radians."""

EYES = 0.15
"""Radians."""

SCALE = 0.12
"""Camera's scale, relative to that of a face that fills its crop as usual."""

SHIFT = 0.01
"""Camera's translation, metres."""

LIGHT = 0.6
"""Coefficients of the spherical harmonics."""

REPROJECTION = 0.2
"""Landmarks of a head in the mean pose, half crops."""

SHADING = 0.5
"""Shading of white skin."""


def expression_spread(limits: tuple[float, float] | None) -> float:
    """Of the expression coefficients of a head with this range."""
    return EXPRESSION_SIGMA if limits is None else EXPRESSION_UNIT * (limits[1] - limits[0])
