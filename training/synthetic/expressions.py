"""Expressions as people make them: acts of brows, eyes and mouth that happen together, speech, blinks.

An act names openhead's units without their side, and the range that each is drawn from. Both sides move alike, within
some asymmetry; now and then one side moves alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

Range = tuple[float, float]


@dataclass(frozen=True)
class Act:
    """Something that a part of a face does.

    Attributes:
        weight: how often it is drawn, relative to the others of its part.
        units: unit without side → range of its activation.
        jaw: range of the jaw's opening, radians.
        one_sided: probability that one side of the face does it alone.
    """

    weight: float
    units: dict[str, Range] = field(default_factory=dict)
    jaw: Range = (0.0, 0.0)
    one_sided: float = 0.03


MOUTH = (
    Act(5.0),
    Act(2.0, {"mouthPress": (0.0, 0.4), "mouthRollLower": (0.0, 0.25), "mouthRollUpper": (0.0, 0.25)}),
    Act(1.5, jaw=(0.02, 0.12)),  # lips apart at rest
    # smiles
    Act(4.0, {"mouthSmile": (0.2, 0.9), "mouthDimple": (0.0, 0.4), "cheekSquint": (0.0, 0.6), "eyeSquint": (0.0, 0.4)}),
    Act(
        5.0,
        {
            "mouthSmile": (0.5, 1.0),
            "mouthUpperUp": (0.15, 0.6),
            "mouthLowerDown": (0.05, 0.5),
            "mouthStretch": (0.0, 0.3),
            "cheekSquint": (0.2, 1.0),
            "eyeSquint": (0.1, 0.7),
        },
        jaw=(0.01, 0.12),
        one_sided=0.01,
    ),
    Act(
        2.0,
        {
            "mouthSmile": (0.6, 1.0),
            "mouthUpperUp": (0.3, 0.8),
            "mouthLowerDown": (0.1, 0.6),
            "cheekSquint": (0.5, 1.0),
            "eyeSquint": (0.3, 0.9),
            "noseSneer": (0.0, 0.3),
        },
        jaw=(0.1, 0.36),
        one_sided=0.0,
    ),
    # other feelings
    Act(1.5, {"mouthFrown": (0.3, 1.0), "mouthShrugLower": (0.1, 0.8), "mouthPress": (0.0, 0.4)}),
    Act(1.0, {"mouthShrugLower": (0.4, 1.0), "mouthShrugUpper": (0.2, 0.8), "mouthFrown": (0.0, 0.5)}),
    Act(1.0, {"noseSneer": (0.4, 1.0), "mouthUpperUp": (0.3, 0.9), "cheekSquint": (0.0, 0.7)}, one_sided=0.15),
    Act(1.0, {"mouthStretch": (0.4, 1.0), "mouthLowerDown": (0.3, 0.9), "mouthFrown": (0.0, 0.5)}, jaw=(0.02, 0.2)),
    Act(1.0, {"mouthPress": (0.4, 1.0), "noseSneer": (0.0, 0.4), "mouthShrugLower": (0.0, 0.4)}),
    Act(0.8, {"mouthDimple": (0.3, 1.0), "mouthSmile": (0.0, 0.6), "mouthPress": (0.0, 0.5)}, one_sided=0.7),
    Act(0.8, {"mouthUpperUp": (0.3, 1.0), "noseSneer": (0.2, 0.8)}, one_sided=0.6),
    Act(0.8, jaw=(0.2, 0.45)),  # a yawn, a gasp
    # speech
    Act(2.0, {"mouthLowerDown": (0.1, 0.5), "mouthUpperUp": (0.0, 0.25)}, jaw=(0.12, 0.32)),
    Act(2.0, {"mouthStretch": (0.1, 0.5), "mouthLowerDown": (0.2, 0.6), "mouthSmile": (0.0, 0.4)}, jaw=(0.03, 0.14)),
    Act(1.6, {"mouthFunnel": (0.3, 1.0), "mouthPucker": (0.0, 0.4)}, jaw=(0.05, 0.25), one_sided=0.0),
    Act(1.6, {"mouthPucker": (0.4, 1.0), "mouthFunnel": (0.0, 0.5)}, jaw=(0.0, 0.08), one_sided=0.0),
    Act(1.0, {"mouthRollLower": (0.3, 0.9), "mouthRollUpper": (0.2, 0.9), "mouthPress": (0.0, 0.6)}, one_sided=0.0),
    Act(0.8, {"mouthRollLower": (0.4, 1.0), "mouthUpperUp": (0.1, 0.5)}, jaw=(0.02, 0.1), one_sided=0.0),
    Act(1.0, {"mouthLowerDown": (0.3, 0.8), "mouthUpperUp": (0.2, 0.6), "mouthFunnel": (0.0, 0.3)}, jaw=(0.0, 0.06)),
    Act(0.6, {"mouthClose": (0.3, 1.0)}, jaw=(0.08, 0.3)),
    # antics
    Act(0.5, {"tongueOut": (0.6, 1.0)}, jaw=(0.12, 0.4)),
    Act(0.6, {"cheekPuff": (0.4, 1.0), "mouthPress": (0.0, 0.4), "mouthPucker": (0.0, 0.4)}, one_sided=0.2),
    Act(0.8, {"mouth": (0.3, 1.0), "mouthPucker": (0.0, 0.4)}, one_sided=1.0),
    Act(0.5, {"jaw": (0.3, 1.0)}, jaw=(0.0, 0.15), one_sided=1.0),
    Act(0.4, {"jawForward": (0.3, 1.0)}, jaw=(0.0, 0.08)),
)

BROWS = (
    Act(10.0),
    Act(2.5, {"browInnerUp": (0.2, 0.9), "browOuterUp": (0.2, 1.0)}),
    Act(1.2, {"browInnerUp": (0.3, 1.0), "browDown": (0.0, 0.4)}),
    Act(2.5, {"browDown": (0.2, 1.0), "noseSneer": (0.0, 0.2)}),
    Act(0.8, {"browOuterUp": (0.3, 1.0)}, one_sided=0.6),
)

EYES = (
    Act(10.0),
    Act(2.5, {"eyeSquint": (0.2, 0.9), "cheekSquint": (0.0, 0.4)}),
    Act(1.5, {"eyeWide": (0.2, 1.0)}),
    Act(2.0, {"eyeBlink": (0.15, 0.7)}, one_sided=0.0),
    Act(1.6, {"eyeBlink": (0.85, 1.0)}, one_sided=0.0),
    Act(0.5, {"eyeBlink": (0.7, 1.0), "cheekSquint": (0.2, 0.9), "eyeSquint": (0.0, 0.6)}, one_sided=1.0),
)

TOGETHER = (
    # whole faces: brows, eyes and mouth of one feeling
    ({"browInnerUp": (0.5, 1.0), "browOuterUp": (0.5, 1.0), "eyeWide": (0.4, 1.0)}, (0.05, 0.4)),  # surprise
    ({"browDown": (0.6, 1.0), "eyeSquint": (0.3, 0.8), "noseSneer": (0.2, 0.7), "mouthPress": (0.2, 0.8)}, (0.0, 0.0)),
    (
        {
            "browDown": (0.5, 1.0),
            "eyeWide": (0.0, 0.5),
            "noseSneer": (0.3, 1.0),
            "mouthUpperUp": (0.3, 0.9),
            "mouthLowerDown": (0.3, 0.9),
            "mouthStretch": (0.0, 0.5),
        },
        (0.08, 0.35),
    ),  # a shout
    ({"browInnerUp": (0.5, 1.0), "mouthFrown": (0.4, 1.0), "mouthShrugLower": (0.2, 0.7)}, (0.0, 0.0)),  # sadness
    (
        {
            "browInnerUp": (0.5, 1.0),
            "browOuterUp": (0.2, 0.8),
            "eyeWide": (0.5, 1.0),
            "mouthStretch": (0.5, 1.0),
            "mouthLowerDown": (0.1, 0.6),
        },
        (0.03, 0.25),
    ),  # fear
    (
        {
            "noseSneer": (0.5, 1.0),
            "browDown": (0.3, 0.9),
            "eyeSquint": (0.3, 0.9),
            "mouthUpperUp": (0.3, 0.9),
            "mouthShrugLower": (0.0, 0.6),
        },
        (0.0, 0.08),
    ),  # disgust
)


def draw_expression(rng: np.random.Generator, names: tuple[str, ...]) -> tuple[Float[np.ndarray, "E"], float]:
    """Activations in [0, 1] of the named units, and the jaw's opening, radians (0 to 0.45).

    A tenth of the faces are at rest, a tenth are one feeling from the brows to the mouth, a sixth move a few units that
    nobody would move together (so that each unit can be told from the others), and the rest do something with the
    mouth and often something with brows or eyes.
    """
    column = {name: index for index, name in enumerate(names)}
    values = np.zeros(len(names))
    jaw = 0.0
    kind = rng.random()
    if kind < 0.1:
        pass
    elif kind < 0.2:
        units, opening = TOGETHER[rng.integers(len(TOGETHER))]
        strength = rng.beta(3, 1.5)
        jaw = strength * rng.uniform(*opening)
        _apply(rng, values, column, Act(1.0, units), strength)
    elif kind < 0.36:
        for index in rng.choice(len(names), rng.integers(1, 6), replace=False):
            values[index] = rng.random()
        jaw = max(0.0, rng.normal(0.03, 0.08))
    else:
        mouth = _choose(rng, MOUTH)
        strength = rng.beta(3, 1.3)
        jaw = strength * rng.uniform(*mouth.jaw)
        _apply(rng, values, column, mouth, strength)
        for part in (BROWS, EYES):
            _apply(rng, values, column, _choose(rng, part), rng.beta(3, 1.2))
    values, jaw = _possible(values, jaw, names)
    values += rng.uniform(0.0, 0.08) * rng.random(len(names)) ** 2 * (rng.random(len(names)) < 0.3)  # never quite still
    return np.clip(values, 0.0, 1.0), jaw


def draw_random(rng: np.random.Generator, names: tuple[str, ...]) -> tuple[Float[np.ndarray, "E"], float]:
    """Activations that have nothing to do with each other: each unit moves with a probability of 0.3, anywhere in
    [0, 1]; and the jaw's opening, radians. Few such faces look natural, but every unit can be told from the others."""
    values = rng.random(len(names)) * (rng.random(len(names)) < 0.3)
    return _possible(values, max(0.0, rng.normal(0.05, 0.12)), names)


def _possible(
    values: Float[np.ndarray, "E"], jaw: float, names: tuple[str, ...]
) -> tuple[Float[np.ndarray, "E"], float]:
    """What a jaw and a tongue can do together, within the ranges."""
    column = {name: index for index, name in enumerate(names)}
    values = values.copy()
    if "mouthClose" in column:  # it closes the lips of an open jaw and no others
        values[column["mouthClose"]] *= min(jaw / 0.25, 1.0)
    if "tongueOut" in column and values[column["tongueOut"]] > 0.1:
        jaw = max(jaw, 0.12 + 0.15 * values[column["tongueOut"]])
    return np.clip(values, 0.0, 1.0), float(np.clip(jaw, 0.0, 0.45))


def _choose(rng: np.random.Generator, acts: tuple[Act, ...]) -> Act:
    weights = np.array([act.weight for act in acts])
    return acts[rng.choice(len(acts), p=weights / weights.sum())]


def _apply(
    rng: np.random.Generator,
    values: Float[np.ndarray, "E"],
    column: dict[str, int],
    act: Act,
    strength: float,
) -> None:
    """Add an act to the activations, in place."""
    sides = {"Left": 1.0, "Right": 1.0}
    if rng.random() < act.one_sided:
        sides["Left" if rng.random() < 0.5 else "Right"] = 0.3 * rng.random() if rng.random() < 0.4 else 0.0
    for unit, limits in act.units.items():
        amount = strength * rng.uniform(*limits)
        if unit in column:
            values[column[unit]] += amount
        for side, share in sides.items():
            if unit + side in column:
                values[column[unit + side]] += share * amount * max(0.0, 1 + 0.12 * rng.standard_normal())
