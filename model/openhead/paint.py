"""A painter of faces: the colour of every place of the head, from a few dozen numbers in standard deviations.

The shipped albedo is built, not measured: this paints what anatomy and published skin colours say, and `albedo.py`
turns it into a linear model by differences. Colours are mixed as linear RGB reflectances and encoded at the end; places
are those of the base head (metres; eyes at y = 0; nose tip at y = −0.037, mouth at −0.067, bottom of the chin at
−0.111).

Skin colours span CIELAB L* 31 to 76 (±2σ), somewhat beyond the group means of K. Xiao et al., "Characterising the
variations in ethnic skin colours: a new calibrated data base for human skin" (Skin Research and Technology, 2017).
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Float, Int

from model.openhead.regions import brows, eyelids, hair_bearing
from model.openhead.uv import CHARTS, smoothstep

IRIS = 0.0059  # radius, metres: the human iris is 11.8 mm across
PUPIL = 0.0021

DARK_SKIN, LIGHT_SKIN = (31.0, 11.5, 14.5), (76.0, 11.5, 17.5)  # CIELAB, D65


@dataclass(frozen=True)
class Surface:
    """Places of the head to be painted.

    Attributes:
        point: on the base head, metres.
        chart: index into `CHARTS`.
        region: masks of `model.openhead.regions` at the places.
        eye: place relative to the centre of its eyeball, metres.
        concave: how far the place lies in a hollow: ambient occlusion, 0 open to 1 closed.
        lash: distance to the edges of the lids, where the lashes grow, metres.
        margin: 1 on the inner side of the lids, falling to 0 at that edge.
        grain: irregularities of unit variance with waves of 3.5–9, 5–12 and 14–34 mm, from `grain`.
    """

    point: Float[np.ndarray, "n 3"]
    chart: Int[np.ndarray, "n"]
    region: dict[str, Float[np.ndarray, "n"]]
    eye: Float[np.ndarray, "n 3"]
    concave: Float[np.ndarray, "n"]
    lash: Float[np.ndarray, "n"]
    margin: Float[np.ndarray, "n"]
    grain: Float[np.ndarray, "n 3"]


@dataclass(frozen=True)
class Look:
    """What a face looks like, in standard deviations from the mean face, meant within ±2.

    Attributes:
        lightness: of the skin, from the darkest to the lightest people.
        redness, yellowness: blood and carotene in the skin.
        hair_lightness, hair_redness: from black over brown towards blond; auburn.
        hair: density on the scalp; −2 is nearly bald.
        hairline: height of the hairline.
        brow_density, brow_thickness, brow_height, brow_inner: eyebrows.
        lip_redness, lip_lightness: lips.
        iris_lightness, iris_warmth: from dark brown to pale; blue-grey to hazel.
        beard, moustache: shadow of shaven hair.
        blush, nose_redness, ear_redness: blood under the cheeks, nose, ears.
        eye_rings: darkness under the eyes.
        lid_darkness, lashes: make-up or shade on the lids; line of the lashes.
        forehead, t_zone, neck: lightness of parts against the rest.
        sclera, teeth: whiteness.
        freckles: strength of a mottled pattern over nose and cheeks.
    """

    lightness: float = 0.0
    redness: float = 0.0
    yellowness: float = 0.0
    hair_lightness: float = 0.0
    hair_redness: float = 0.0
    hair: float = 0.0
    hairline: float = 0.0
    brow_density: float = 0.0
    brow_thickness: float = 0.0
    brow_height: float = 0.0
    brow_inner: float = 0.0
    lip_redness: float = 0.0
    lip_lightness: float = 0.0
    iris_lightness: float = 0.0
    iris_warmth: float = 0.0
    beard: float = 0.0
    moustache: float = 0.0
    blush: float = 0.0
    nose_redness: float = 0.0
    ear_redness: float = 0.0
    eye_rings: float = 0.0
    lid_darkness: float = 0.0
    lashes: float = 0.0
    forehead: float = 0.0
    t_zone: float = 0.0
    neck: float = 0.0
    sclera: float = 0.0
    teeth: float = 0.0
    freckles: float = 0.0


LOOKS = tuple(f.name for f in fields(Look))


def linear_rgb(lab: tuple[float, float, float]) -> Float[np.ndarray, "3"]:
    """Linear sRGB of a CIELAB colour (D65; IEC 61966-2-1 and CIE 15)."""
    lightness, a, b = lab
    fy = (lightness + 16) / 116
    f = np.array([fy + a / 500, fy, fy - b / 200])
    xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * [0.95047, 1.0, 1.08883]
    matrix = np.array(
        [[3.2404542, -1.5371385, -0.4985314], [-0.9692660, 1.8760108, 0.0415560], [0.0556434, -0.2040259, 1.0572252]]
    )
    return np.clip(matrix @ xyz, 0.0, 1.0)


def paint(surface: Surface, look: Look) -> Float[np.ndarray, "n 3"]:
    """Albedo at every place, RGB in [0, 1], encoded as pictures are (sRGB): renderers of this field, DECA's among them,
    multiply an albedo by the shading and hold the product against a photograph as it is stored."""
    colour = _skin(surface, look)
    painted = {
        "eye": _eyeball(surface, look),
        "upper_teeth": _teeth(surface, look),
        "lower_teeth": _teeth(surface, look),
        "tongue": _tongue(surface),
        "mouth": _lining(surface),
        "socket": _socket(surface),
    }
    for name, rgb in painted.items():
        colour = np.where((surface.chart == CHARTS.index(name))[:, None], rgb, colour)
    return srgb_encoded(np.clip(colour, 0.0, 1.0))


def srgb_encoded(linear: Float[np.ndarray, "*n 3"]) -> Float[np.ndarray, "*n 3"]:
    """Linear RGB in [0, 1] to sRGB values in [0, 1] (IEC 61966-2-1)."""
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 0.0031308) ** (1 / 2.4) - 0.055)


def srgb_decoded(encoded: Float[np.ndarray, "*n 3"]) -> Float[np.ndarray, "*n 3"]:
    """The inverse of `srgb_encoded`."""
    return np.where(encoded <= 0.04045, encoded / 12.92, ((np.maximum(encoded, 0.04045) + 0.055) / 1.055) ** 2.4)


def _skin(surface: Surface, look: Look) -> Float[np.ndarray, "n 3"]:
    region, p = surface.region, surface.point
    x, y, z = np.abs(p[:, 0]), p[:, 1], p[:, 2]
    dark, light = srgb_encoded(linear_rgb(DARK_SKIN)), srgb_encoded(linear_rgb(LIGHT_SKIN))
    # mixed as encoded, so that the linear model built from this reaches both ends without leaving skin colours
    base = srgb_decoded(0.5 * (dark + light) + look.lightness * 0.25 * (light - dark))

    # Blood: absorbs green and blue. Where it shows: cheeks, nose, ears, chin, lids.
    cheeks = _blob(p, (0.042, -0.030, 0.075), (0.020, 0.017, 0.04))
    tip = _blob(p, (0.0, -0.040, 0.113), (0.017, 0.013, 0.03))
    ears = region["left_ear"] + region["right_ear"]
    chin = _blob(p, (0.0, -0.093, 0.095), (0.016, 0.010, 0.03))
    lid = eyelids(p) * region["skin"]
    blood = 0.35 * cheeks + 0.40 * tip + 0.45 * ears + 0.20 * chin + 0.30 * lid
    blood = blood + 0.22 * look.redness + 0.28 * look.blush * cheeks
    blood = blood + 0.35 * look.nose_redness * tip + 0.28 * look.ear_redness * ears + 0.12 * surface.grain[:, 2]
    colour = base * np.exp(-blood[:, None] * np.array([0.02, 0.22, 0.18]))
    colour = colour * (1 + look.yellowness * np.array([0.01, 0.0, -0.055]))

    # Lightness of parts, per part of the face.
    under_eye = _blob(p, (0.030, -0.012, 0.085), (0.014, 0.006, 0.03))
    forehead = region["forehead"]
    t_zone = np.clip(region["nose"] + forehead * smoothstep(0.035, 0.01, x), 0, 1)
    shade = 0.03 * forehead - 0.07 * under_eye - 0.06 * region["neck"] + 0.02 * t_zone
    shade = shade + 0.045 * (look.forehead * forehead + look.t_zone * t_zone) + 0.06 * look.neck * region["neck"]
    shade = shade - 0.14 * look.eye_rings * under_eye
    shade = shade - (0.08 + 0.14 * look.lid_darkness) * lid * smoothstep(-0.004, 0.002, y)
    spots = smoothstep(0.2, 1.8, surface.grain[:, 0]) * region["face"] * smoothstep(0.03, 0.0, np.abs(y + 0.02))
    shade = shade - 0.14 * look.freckles * spots
    shade = shade + 0.02 * surface.grain[:, 1]
    colour = colour * np.exp(shade)[:, None]
    nostril = _blob(p, (0.0085, -0.0435, 0.1005), (0.0034, 0.0028, 0.0045))
    colour = colour * (1 - 0.75 * nostril)[:, None]
    colour = colour * (1 - 0.85 * smoothstep(0.05, 0.55, surface.concave)[:, None] * np.array([0.88, 1.0, 1.0]))

    # Shaven beard: hair under the skin, bluish dark.
    jaw = region["face"] * (1 - region["lips"]) * smoothstep(-0.058, -0.080, y + 0.22 * np.maximum(0.05 - x, 0) - 0.004)
    under = region["neck"] * smoothstep(-0.135, -0.115, y) * smoothstep(0.0, 0.02, z)
    lip_top = region["face"] * (1 - region["lips"]) * _blob(p, (0.0, -0.0575, 0.1), (0.024, 0.0055, 0.05))
    shadow = (0.06 + 0.16 * look.beard) * np.clip(jaw + under, 0, 1) + (0.06 + 0.18 * look.moustache) * lip_top
    hair = _hair_colour(look)
    colour = colour + shadow[:, None] * (0.5 * hair + 0.1 * base - colour)

    # Lips: thinner skin over blood; darker where they meet.
    lips = smoothstep(0.15, 0.85, region["lips"])[:, None]
    tint = np.array([0.84, 0.57, 0.61])
    tint = tint * np.exp(look.lip_redness * np.array([0.05, -0.10, -0.07]) + 0.10 * look.lip_lightness)
    lower = _blob(p, (0.0, -0.074, 0.1), (0.014, 0.004, 0.05))[:, None]
    colour = colour + lips * (base * tint * (1 + 0.10 * lower) - colour)
    seam = smoothstep(0.0026, 0.0004, np.abs(y + 0.0665)) * smoothstep(0.028, 0.024, x)
    colour = colour * (1 - 0.45 * (seam * region["lips"])[:, None])

    # Hair: brows, scalp (cropped short), lashes.
    brow = brows(p, 1 + 0.13 * look.brow_thickness, 0.0008 * look.brow_height, 0.0010 * look.brow_inner)
    brow = brow * region["skin"]
    cover = np.clip((0.84 + 0.11 * look.brow_density) * brow, 0, 0.96)
    colour = colour + cover[:, None] * (hair - colour)
    edge = region["scalp"] - 0.05 * look.hairline * smoothstep(0.04, 0.07, y)
    scalp = smoothstep(0.36, 0.90, edge + 0.025 * surface.grain[:, 0]) * hair_bearing(p)
    cover = np.clip((0.92 + 0.12 * look.hair) * scalp, 0, 0.97)
    colour = colour + cover[:, None] * (hair * (1 + 0.12 * surface.grain[:, 0])[:, None] - colour)
    inside = smoothstep(0.3, 0.9, surface.margin)[:, None] * region["skin"][:, None]
    colour = colour + 0.8 * inside * (base * np.array([0.95, 0.66, 0.68]) - colour)
    upper = smoothstep(-0.0015, 0.0005, y)  # the outer corner belongs to the upper lid
    line = 0.40 * (1 - upper) * smoothstep(0.0010, 0.0002, surface.lash) + 0.85 * upper * smoothstep(
        0.0025, 0.0009, surface.lash
    )
    cover = np.clip(line * smoothstep(0.0190, 0.024, x) * (1 + 0.25 * look.lashes), 0, 0.95)
    return colour + cover[:, None] * (0.3 * hair - colour)


def _hair_colour(look: Look) -> Float[np.ndarray, "3"]:
    colour = np.array([0.038, 0.026, 0.020]) + look.hair_lightness * np.array([0.0175, 0.0115, 0.0085])
    return np.clip(colour + look.hair_redness * np.array([0.006, -0.0005, -0.002]), 0.004, 1.0)


def _eyeball(surface: Surface, look: Look) -> Float[np.ndarray, "n 3"]:
    """Sclera, iris around the pole at +z, pupil; the lids' shade is painted in, as nothing else casts it."""
    d = surface.eye
    r = np.where(d[:, 2] > 0, np.hypot(d[:, 0], d[:, 1]), 1.0)
    around = np.arctan2(d[:, 1], np.abs(d[:, 0]))
    white = np.array([0.45, 0.39, 0.36]) * (1 + 0.06 * look.sclera)
    corner = smoothstep(0.007, 0.0125, np.abs(d[:, 0]))
    colour = white * (1 - corner[:, None] * np.array([0.12, 0.30, 0.30]))
    iris = np.array([0.085, 0.052, 0.033]) + look.iris_lightness * np.array([0.028, 0.022, 0.0155])
    iris = np.clip(iris + look.iris_warmth * np.array([0.011, -0.003, -0.017]), 0.003, 1)
    fibres = 1 + 0.18 * np.cos(23 * around + 1.0) + 0.12 * np.cos(41 * around)
    ring = 1.35 - 0.85 * smoothstep(0.62, 0.98, r / IRIS)
    iris = np.clip(iris * (fibres * ring)[:, None], 0, 1)
    colour = colour + smoothstep(IRIS + 0.0004, IRIS - 0.0004, r)[:, None] * (iris - colour)
    colour = colour + smoothstep(PUPIL + 0.0003, PUPIL - 0.0003, r)[:, None] * (0.006 - colour)
    lid_shade = 0.60 * smoothstep(-0.0005, 0.0050, d[:, 1]) + 0.20 * smoothstep(-0.003, -0.0065, d[:, 1])
    return colour * (1 - lid_shade)[:, None]


def _teeth(surface: Surface, look: Look) -> Float[np.ndarray, "n 3"]:
    p = surface.point
    upper = surface.chart == CHARTS.index("upper_teeth")
    white = np.array([0.57, 0.51, 0.43]) * np.exp(look.teeth * np.array([0.04, 0.05, 0.09]))
    gum = np.array([0.42, 0.17, 0.15])
    root = np.where(upper, smoothstep(-0.0520, -0.0490, p[:, 1]), smoothstep(-0.0800, -0.0835, p[:, 1]))
    back = smoothstep(0.088, 0.050, p[:, 2])
    x = np.abs(p[:, 0])[:, None]
    gaps = np.where(upper[:, None], [[0.0, 0.0083, 0.0148, 0.0205]], [[0.0, 0.0053, 0.0110, 0.0170]])
    gap = smoothstep(0.0010, 0.0002, np.abs(x - gaps)).max(axis=1) * smoothstep(0.075, 0.083, p[:, 2])
    white = white * (1 - 0.45 * gap[:, None] * [0.8, 1.0, 1.15])
    return (white + root[:, None] * (gum - white)) * (1 - 0.65 * back)[:, None]


def _tongue(surface: Surface) -> Float[np.ndarray, "n 3"]:
    p = surface.point
    groove = smoothstep(0.003, 0.0, np.abs(p[:, 0]))
    depth = smoothstep(0.080, 0.030, p[:, 2])
    return np.array([0.46, 0.19, 0.18]) * ((1 - 0.15 * groove) * (1 - 0.75 * depth))[:, None]


def _lining(surface: Surface) -> Float[np.ndarray, "n 3"]:
    depth = smoothstep(0.100, 0.065, surface.point[:, 2])[:, None]
    return np.array([0.30, 0.11, 0.10]) * (1 - depth) + np.array([0.045, 0.012, 0.010]) * depth


def _socket(surface: Surface) -> Float[np.ndarray, "n 3"]:
    depth = smoothstep(0.005, 0.010, surface.lash)[:, None]
    inner = smoothstep(0.0225, 0.0195, np.abs(surface.point[:, 0]))[:, None]
    rim = np.array([0.34, 0.17, 0.14]) * (1 + 0.5 * inner * np.array([1.0, 0.6, 0.6]))
    return rim * (1 - depth) + np.array([0.08, 0.03, 0.025]) * depth


def _blob(
    p: Float[np.ndarray, "n 3"], centre: tuple[float, float, float], size: tuple[float, float, float]
) -> Float[np.ndarray, "n"]:
    """A soft ellipsoid and its mirror image, 1 at the centre, half at 1.2 sizes."""
    d = (np.stack([np.abs(p[:, 0]), p[:, 1], p[:, 2]], axis=1) - centre) / size
    return np.exp(-0.5 * (d**2).sum(axis=1))


def grain(p: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
    """Mirror-symmetric irregularities of the skin, see `Surface.grain`: sums of waves in random directions."""
    rng = np.random.default_rng(1)
    direction = rng.normal(size=(24, 3))
    wave = 2 * np.pi * direction / np.linalg.norm(direction, axis=1, keepdims=True) / rng.uniform(0.005, 0.012, (24, 1))
    along = np.concatenate([np.abs(p[:, :1]), p[:, 1:]], axis=1) @ wave.T
    phase = rng.uniform(0, 2 * np.pi, 24)
    return np.stack([np.cos(scale * along + phase).sum(axis=1) for scale in (1.4, 1.0, 0.35)], axis=1) / np.sqrt(12)
