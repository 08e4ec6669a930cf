"""What is not in the codes but belongs to a person: hair, beard, make-up, age, glasses, clothes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from training.synthetic.noise import CURLS, GRAIN, PLAIN, STRANDS, STRIPES, WEAVE

HairKind = Literal["cropped", "short", "long", "curly", "updo", "beanie", "cap", "scarf"]
_KINDS: tuple[tuple[HairKind, float], ...] = (
    ("cropped", 0.16),
    ("short", 0.30),
    ("long", 0.30),
    ("curly", 0.08),
    ("updo", 0.06),
    ("beanie", 0.03),
    ("cap", 0.03),
    ("scarf", 0.04),
)


@dataclass(frozen=True)
class Hair:
    """Hair, or what covers it.

    Attributes:
        kind: ``cropped`` is what the albedo paints.
        colour: RGB.
        pattern: its strands, one of `training.synthetic.noise`'s patterns.
        thickness: on the scalp, metres.
        fringe: lowest height of hair on the forehead (template's y, metres), and how much it slopes to a side.
        combed: strands run from a parting to the sides, not from the crown.
        opening: azimuth of the long hair's front edge beside the face, left and right, radians from straight ahead.
        parting: how far from the middle long hair parts, metres.
        end: height at which long hair ends (y relative to the eyes), metres.
        wave: amplitude of its waves, metres.
    """

    kind: HairKind
    colour: Float[np.ndarray, "3"]
    pattern: int
    thickness: float
    fringe: tuple[float, float]
    combed: bool
    opening: tuple[float, float]
    parting: float
    end: float
    wave: float


@dataclass(frozen=True)
class Glasses:
    """A pair of glasses.

    Attributes:
        half: half width and height of a lens, metres.
        roundness: exponent of the superellipse: 2 is round, 6 nearly a rectangle.
        rim, depth: metres; a rim of less than half a millimetre is hardly seen.
        colour: of the frame, RGB.
        tint: of the lens, RGB; darkness: how much of what is behind it hides, [0, 1].
        lower: how far it sits below the eyes' centres, metres.
    """

    half: tuple[float, float]
    roundness: float
    rim: float
    depth: float
    colour: Float[np.ndarray, "3"]
    tint: Float[np.ndarray, "3"]
    darkness: float
    lower: float


@dataclass(frozen=True)
class Style:
    """A person's looks beyond the codes.

    Attributes:
        hair: on the head.
        beard: ``none``, ``stubble``, ``goatee``, ``moustache`` or ``full``; beard_length: metres.
        age: [0, 1]: folds of the skin.
        relief: amplitude of the skin's relief, metres; relief_map: which.
        mottle: strength of uneven colour.
        gloss: of the skin, and the exponent of its highlights.
        lips: RGB and how much it covers; lids: likewise; brows: factor on the brows' colour.
        glasses: None where there are none.
        cloth: RGB; cloth_pattern; neckline: metres below the neck that are bare.
    """

    hair: Hair
    beard: str
    beard_length: float
    age: float
    relief: float
    relief_map: int
    mottle: float
    gloss: tuple[float, float]
    lips: tuple[Float[np.ndarray, "3"], float]
    lids: tuple[Float[np.ndarray, "3"], float]
    brows: float
    glasses: Glasses | None
    cloth: Float[np.ndarray, "3"]
    cloth_pattern: int
    neckline: float


def draw_style(rng: np.random.Generator, brow: Float[np.ndarray, "3"]) -> Style:
    """A random style.

    Args:
        brow: colour of the eyebrows, RGB: most people's hair is like them.
    """
    hair = draw_hair(rng, brow)
    long = hair.kind in ("long", "updo", "scarf")
    beard = "none"
    if not long and rng.random() < 0.45:
        beard = str(rng.choice(["stubble", "goatee", "moustache", "full"], p=[0.45, 0.15, 0.12, 0.28]))
    made_up = rng.random() < (0.45 if long else 0.06)
    red = np.array([rng.uniform(0.4, 0.8), rng.uniform(0.08, 0.35), rng.uniform(0.12, 0.4)])
    shade = rng.uniform(0.05, 0.5) + rng.normal(0, 0.06, 3)
    return Style(
        hair=hair,
        beard=beard,
        beard_length=float(rng.uniform(0.002, 0.006) if rng.random() < 0.6 else rng.uniform(0.006, 0.025)),
        age=float(rng.beta(1.0, 1.8)),
        relief=float(rng.uniform(0.5e-5, 4e-5)),
        relief_map=int(rng.integers(6)),
        mottle=float(rng.uniform(0.005, 0.03)),
        gloss=(float(min(rng.gamma(1.6, 0.06), 0.35)), float(rng.uniform(7, 28))),
        lips=(red, float(rng.uniform(0.15, 0.75)) if made_up else 0.0),
        lids=(np.clip(shade, 0, 1), float(rng.uniform(0.1, 0.55)) if made_up else 0.0),
        brows=float(np.exp(rng.normal(0.0, 0.2))),
        glasses=draw_glasses(rng) if rng.random() < 0.2 else None,
        cloth=_cloth(rng),
        cloth_pattern=int(rng.choice([WEAVE, STRIPES, GRAIN, PLAIN], p=[0.4, 0.1, 0.3, 0.2])),
        neckline=float(rng.uniform(0.0, 0.12)) if rng.random() < 0.5 else 0.0,
    )


def draw_hair(rng: np.random.Generator, brow: Float[np.ndarray, "3"]) -> Hair:
    """Random hair."""
    kinds, shares = zip(*_KINDS, strict=True)
    kind: HairKind = kinds[rng.choice(len(kinds), p=np.array(shares) / sum(shares))]
    what = rng.random()
    if what < 0.55:
        colour = brow * np.exp(rng.normal(-0.1, 0.3)) + rng.normal(0, 0.01, 3)
    elif what < 0.72:
        colour = np.array([0.10, 0.08, 0.07]) * np.exp(rng.normal(0, 0.4))
    elif what < 0.86:
        colour = np.array([0.62, 0.48, 0.31]) * np.exp(rng.normal(-0.1, 0.2)) + rng.normal(0, 0.02, 3)
    elif what < 0.99:
        colour = np.full(3, 1.0) * rng.uniform(0.35, 0.8) * np.array([1.0, 0.98, 0.95])
    else:
        colour = rng.uniform(0.1, 0.8, 3)
    curly = kind == "curly" or rng.random() < 0.2
    if kind in ("beanie", "cap", "scarf"):
        colour = _cloth(rng)
    thickness = {
        "short": rng.uniform(0.006, 0.03),
        "curly": rng.uniform(0.02, 0.07),
        "long": rng.uniform(0.008, 0.028),
        "updo": rng.uniform(0.005, 0.015),
        "beanie": rng.uniform(0.006, 0.016),
        "cap": rng.uniform(0.006, 0.016),
        "scarf": rng.uniform(0.006, 0.014),
    }.get(kind, 0.0)
    fringe = 0.2  # none
    if kind in ("short", "long") and rng.random() < 0.45:
        fringe = rng.uniform(0.026, 0.066)
    narrow, wide = np.deg2rad([42.0, 88.0])
    return Hair(
        kind=kind,
        colour=np.clip(colour, 0.02, 0.95),
        pattern=CURLS if curly else STRANDS,
        thickness=float(thickness),
        fringe=(float(fringe), float(rng.normal(0.0, 0.35))),
        combed=bool(rng.random() < 0.5),
        opening=(float(rng.uniform(narrow, wide)), float(rng.uniform(narrow, wide))),
        parting=float(rng.choice([0.0, rng.uniform(-0.035, 0.035)])),
        end=float(rng.uniform(-0.32, -0.07)),
        wave=float(rng.choice([0.0015, rng.uniform(0.002, 0.009)])),
    )


def draw_glasses(rng: np.random.Generator) -> Glasses:
    """Random glasses; a quarter of them are dark."""
    dark = rng.random() < 0.25
    half = (rng.uniform(0.021, 0.028), rng.uniform(0.014, 0.023))
    if dark:
        half = (half[0] + 0.002, half[1] + 0.003)
    frame = np.full(3, rng.uniform(0.02, 0.15)) if rng.random() < 0.6 else rng.uniform(0.05, 0.75, 3)
    return Glasses(
        half=half,
        roundness=float(rng.uniform(2.0, 5.5)),
        rim=float(rng.uniform(0.0007, 0.0045)),
        depth=float(rng.uniform(0.001, 0.004)),
        colour=frame,
        tint=np.clip(rng.uniform(0.0, 0.25) + rng.normal(0, 0.05, 3), 0, 1),
        darkness=float(rng.uniform(0.45, 0.97) if dark else rng.uniform(0.0, 0.08)),
        lower=float(rng.uniform(-0.001, 0.005)),
    )


def _cloth(rng: np.random.Generator) -> Float[np.ndarray, "3"]:
    if rng.random() < 0.45:
        return np.clip(rng.uniform(0.03, 0.9) + rng.normal(0, 0.03, 3), 0.02, 0.95)
    return np.clip(rng.uniform(0.1, 0.7) + rng.normal(0, 0.18, 3), 0.02, 0.95)
