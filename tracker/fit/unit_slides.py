"""How MediaPipe's points slide over the face when its expression changes.

A landmark network puts its points where faces that it learned from have them: of a lower lip that is drawn down it sees
more than there is, of a funnel less, and the chin's points stay behind a jaw that opens. A fit that takes the points
for fixed places of the skin then finds other units than those that move. `python -m training.landmarks.unit_slides`
measures the slides on rendered heads whose expression is known: metres per unit and per sine of the jaw's opening, in
the head's axes x and y. They become part of how the fit's points move with each unit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int

from tracker.fit.rig import PointRig

UNIT_SLIDES_PATH = Path(__file__).parent / "unit_slides.npz"
UNITS_SHARE, JAW_SHARE = 0.7, 0.5
"""How much of what is measured on renders is taken to hold on photographs, where colours and wrinkles say more. The
more, the better renders are fitted; from here on the distance to the points of filmed people grows noticeably
(`python tests/benchmarks/accuracy.py rendered clips`)."""
_SINE_OF_JAW = 7
"""Entry (y, z → row 2, column 1) of the jaw's rotation less the identity: the sine of a jaw that only opens."""


@dataclass(frozen=True)
class UnitSlides:
    """Slides of all points of the scheme.

    Attributes:
        names: of the units.
        units: metres per unit; head axes x (to the subject's left), y (up).
        jaw: metres per sine of the opening.
    """

    names: tuple[str, ...]
    units: Float[np.ndarray, "478 U 2"]
    jaw: Float[np.ndarray, "478 2"]


@cache
def read_unit_slides(path: Path = UNIT_SLIDES_PATH) -> UnitSlides:
    """The slides as measured."""
    with np.load(path, allow_pickle=False) as arrays:
        units, jaw = (arrays[name].astype(np.float32) for name in ("units", "jaw"))
        return UnitSlides(tuple(arrays["names"].tolist()), units, jaw)


def with_slides(
    rig: PointRig, slides: UnitSlides, index: Int[np.ndarray, "K"], names: tuple[str, ...] | None
) -> PointRig:
    """The rig whose points move as the detector sees them move.

    Args:
        rig: of points that sit at the same places in all frames.
        index: which of the scheme's points these are.
        names: of the head's units; those that were not measured, or have no names, do not slide.
    """
    expression, pose = rig.expression.clone(), rig.pose.clone()
    at = {name: i for i, name in enumerate(slides.names)}
    for column, name in enumerate(names or ()):
        if name in at:
            moved = torch.from_numpy(slides.units[index, at[name]]).to(expression)
            expression[0, :2, :, column] += UNITS_SHARE * moved.T
    driven = torch.nonzero(rig.features == _SINE_OF_JAW)
    if len(driven):
        pose[0, :2, :, driven[0, 0]] += JAW_SHARE * torch.from_numpy(slides.jaw[index]).to(pose).T
    return replace(rig, expression=expression, pose=pose)
