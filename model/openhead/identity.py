"""Identity: the average adult, and principal directions of sampled people.

People are sampled as MakeHuman describes them: macro morphs (gender, age, ethnicity, muscle, weight), whose strengths
are products of the describing numbers, and some 100 local sliders of the head, nose, mouth, eyes, ears... Every step
that follows, from the strengths of the morphs to the directions, is linear (alignment too, with infinitesimal
rotations), so the principal components are found in the small space of morph strengths, not on 5,000 vertices.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from jaxtyping import Float

from model.openhead.morph import Carrier
from model.openhead.source import Modifier, read_modifiers, read_target

GENDERS = ("female", "male")
AGES = ("child", "young", "old")
BUILDS = ("min", "average", "max")
RACES = ("african", "asian", "caucasian")
FOLDERS = ("head", "forehead", "eyebrows", "eyes", "nose", "mouth", "ears", "chin", "cheek", "neck")

POSE_LIKE = (
    "head/head-trans-backward-forward",
    "head/head-trans-down-up",
    "head/head-trans-in-out",
    "head/head-angle-in-out",
    "neck/neck-trans-backward-forward",
    "neck/neck-trans-down-up",
    "neck/neck-trans-in-out",
    "neck/measure-neck-circ-decr-incr",
    "neck/measure-neck-height-decr-incr",
)
"""Sliders that move the head as a whole (pose has that), or repeat another one."""

STRENGTH = {
    "head": 0.14,
    "forehead": 0.17,
    "eyebrows": 0.24,
    "eyes": 0.17,
    "nose": 0.21,
    "mouth": 0.20,
    "ears": 0.20,
    "chin": 0.20,
    "cheek": 0.20,
    "neck": 0.18,
}
"""Standard deviation of the sliders of a folder, of their full travel; cut at ±2.5 standard deviations."""

STRENGTH_OF = {
    "head/head-age-decr-incr": 0.10,
    "nose/nose-trans-in-out": 0.08,
    "mouth/mouth-trans-in-out": 0.08,
}
ASYMMETRY = 0.08
"""Standard deviation of half the difference between left and right sliders, of their full travel."""

PROPORTIONS = {
    "nose/nose-scale-depth-incr": 0.55,
    "nose/nose-trans-forward": 0.65,
    "nose/nose-greek-incr": 0.30,
    "forehead/forehead-trans-forward": 0.35,
    "chin/chin-prominent-incr": 0.40,
}
"""What the average adult of MakeHuman lacks in relief, as parts of sliders. Its nose tip lies 0.38 of the outer-eye
distance before the eye corners, glabella 0.18, forehead 0.11, chin 0.04; in the canonical face of MediaPipe, which its
network places in photographs, 0.49, 0.23, 0.15 and 0.12. Too flat a head explains a small turn as a large one."""


@dataclass(frozen=True)
class Identity:
    """Mean and directions of identity, metres, in the frame of the head mesh.

    Attributes:
        mean: offsets of the average young adult from the base mesh, mirror symmetric.
        directions: metres per standard deviation, strongest first, each mirror symmetric or antisymmetric.
        explained: share of the sampled variance that the directions hold.
    """

    mean: Float[np.ndarray, "V 3"]
    directions: Float[np.ndarray, "V 3 S"]
    explained: float


def build_identity(
    carry: Carrier, rigid: Float[np.ndarray, " V"], count: int = 100, samples: int = 20_000, seed: int = 0
) -> Identity:
    """Sample people and find the principal directions.

    Args:
        carry: brings morphs to the head.
        rigid: weights of the vertices by which heads are aligned (0 where they are not looked at).
        count: number of directions.
        samples: number of people.
        seed: of the sampling.
    """
    rng = np.random.default_rng(seed)
    macro_names = macro_targets()
    macro = np.stack([carry.symmetric(carry(read_target(name))) for name in macro_names])
    mean = np.tensordot(macro_strengths(average_adult(), macro_names)[0], macro, axes=1)
    mean += sum(part * carry.symmetric(carry(read_target(name))) for name, part in PROPORTIONS.items())

    modifiers = [m for m in read_modifiers(FOLDERS) if m.name not in POSE_LIKE]
    even, even_strength, odd, odd_strength = (
        [*macro],
        [macro_strengths(sample_people(rng, samples), macro_names)],
        [],
        [],
    )
    for modifier in modifiers:
        morphs = [carry(read_target(name)) for name in modifier.targets]
        folder = modifier.name.split("/")[0]
        value = _slider(rng, samples, STRENGTH_OF.get(modifier.name, STRENGTH[folder]), len(morphs))
        sideways = _is_sideways(carry, modifier, morphs)
        if sideways:
            odd += [morph - carry.mirrored(morph) for morph in morphs]
            odd_strength.append(0.5 * value)
        elif modifier.sided:
            even += [morph + carry.mirrored(morph) for morph in morphs]
            even_strength.append(value)
            odd += [morph - carry.mirrored(morph) for morph in morphs]
            odd_strength.append(_slider(rng, samples, ASYMMETRY, len(morphs)))
        else:
            even += [carry.symmetric(morph) for morph in morphs]
            even_strength.append(value)

    directions, total = [], 0.0
    vertices = carry.mesh.vertices + mean
    for morphs, strengths in ((even, even_strength), (odd, odd_strength)):
        basis = remove_rigid(np.stack(morphs), vertices, rigid)
        found, variance = principal_directions(basis, np.concatenate(strengths, axis=1), count)
        directions.append(found)
        total += variance
    both = np.concatenate(directions)
    order = np.argsort(-(both**2).sum(axis=(1, 2)), kind="stable")[:count]
    chosen = both[order]
    return Identity(mean, np.moveaxis(chosen, 0, -1), float((chosen**2).sum() / total))


@dataclass(frozen=True)
class People:
    """Describing numbers of people; one row each.

    Attributes:
        gender: weights of `GENDERS`; age: of `AGES`; muscle, weight: of `BUILDS`; race: of `RACES`. Rows sum to one.
    """

    gender: Float[np.ndarray, "n 2"]
    age: Float[np.ndarray, "n 3"]
    muscle: Float[np.ndarray, "n 3"]
    weight: Float[np.ndarray, "n 3"]
    race: Float[np.ndarray, "n 3"]


def average_adult() -> People:
    """Average of the genders and ethnicities, young, average build."""
    middle = np.array([[0.0, 1.0, 0.0]])
    return People(np.full((1, 2), 0.5), middle, middle, middle, np.full((1, 3), 1 / 3))


def sample_people(rng: np.random.Generator, count: int) -> People:
    """People of all kinds: mostly adults, some 10 % of them on the way to a child of twelve."""
    male = rng.beta(0.6, 0.6, count)
    age = np.minimum(np.abs(rng.normal(0.0, 0.40, count)), 1.0)
    age = np.where(rng.random(count) < 0.10, -0.7 * rng.random(count), age)
    muscle, weight = (np.clip(rng.normal(0.0, 0.40, count), -1.0, 1.0) for _ in range(2))
    race = rng.dirichlet(np.full(3, 0.5), count)
    return People(np.stack([1 - male, male], axis=1), _between(age), _between(muscle), _between(weight), race)


def macro_targets() -> list[str]:
    """Names of the macro morphs in use."""
    universal = [
        f"macrodetails/universal-{gender}-{age}-{muscle}muscle-{weight}weight"
        for gender, age, muscle, weight in product(GENDERS, AGES, BUILDS, BUILDS)
    ]
    return universal + [f"macrodetails/{race}-{g}-{age}" for race, g, age in product(RACES, GENDERS, AGES)]


def macro_strengths(people: People, names: list[str]) -> Float[np.ndarray, "n K"]:
    """Strengths of `macro_targets`: the product of the weights of what the name says, MakeHuman's scheme."""
    universal = np.einsum("na,nb,nc,nd->nabcd", people.gender, people.age, people.muscle, people.weight)
    race = np.einsum("na,nb,nc->nabc", people.race, people.gender, people.age)
    strengths = np.concatenate([universal.reshape(len(universal), -1), race.reshape(len(race), -1)], axis=1)
    assert strengths.shape[1] == len(names)
    return strengths


def remove_rigid(
    offsets: Float[np.ndarray, "K V 3"], vertices: Float[np.ndarray, "V 3"], weights: Float[np.ndarray, " V"]
) -> Float[np.ndarray, "K V 3"]:
    """Take out of every offset field the translation and infinitesimal rotation nearest to it (weighted squares)."""
    arms = vertices - np.average(vertices, axis=0, weights=weights)
    modes = np.zeros((6, *vertices.shape))
    for axis in range(3):
        modes[axis, :, axis] = 1.0
        modes[3 + axis] = np.cross(np.eye(3)[axis], arms)
    flat = modes.reshape(6, -1)
    weight = np.repeat(weights, 3)
    field = offsets.reshape(len(offsets), -1)
    amounts = np.linalg.solve((flat * weight) @ flat.T, (flat * weight) @ field.T)
    return (field - amounts.T @ flat).reshape(offsets.shape)


def principal_directions(
    morphs: Float[np.ndarray, "K V 3"], strengths: Float[np.ndarray, "n K"], count: int
) -> tuple[Float[np.ndarray, "S V 3"], float]:
    """Principal directions of ``strengths @ morphs``, scaled to one standard deviation, and the total variance.

    With the covariance of the strengths C = B Bᵀ, the directions are the left singular vectors of Bᵀ·morphs times
    their singular values. The sign makes the product with a fixed random field positive: the largest displacement of
    a symmetric head comes in equal and opposite pairs, and rounding would choose between them.
    """
    centred = strengths - strengths.mean(axis=0)
    values, vectors = np.linalg.eigh(centred.T @ centred / len(centred))
    spread = (vectors * np.sqrt(np.maximum(values, 0.0))).T @ morphs.reshape(len(morphs), -1)
    variance, mixing = np.linalg.eigh(spread @ spread.T)
    strongest = np.argsort(-variance, kind="stable")[:count]
    directions = mixing[:, strongest].T @ spread
    side = np.sign(directions @ np.random.default_rng(0).normal(size=directions.shape[1]))
    return (directions * side[:, None]).reshape(-1, *morphs.shape[1:]), float(variance.sum())


def _between(value: Float[np.ndarray, " n"]) -> Float[np.ndarray, "n 3"]:
    """Weights of three anchors at −1, 0, 1 that interpolate between them."""
    low, high = np.maximum(-value, 0.0), np.maximum(value, 0.0)
    return np.stack([low, 1.0 - low - high, high], axis=1)


def _slider(rng: np.random.Generator, count: int, deviation: float, morphs: int) -> Float[np.ndarray, "n m"]:
    """Strengths of the one or two morphs of a slider, normally distributed (one morph: its absolute value)."""
    value = np.clip(rng.normal(0.0, deviation, count), -2.5 * deviation, 2.5 * deviation)
    if morphs == 1:
        return np.abs(value)[:, None]
    return np.stack([np.maximum(-value, 0.0), np.maximum(value, 0.0)], axis=1)


def _is_sideways(carry: Carrier, modifier: Modifier, morphs: list[Float[np.ndarray, "V 3"]]) -> bool:
    """Whether an unsided slider moves things sideways (its mirror image is its opposite) instead of symmetrically."""
    even = carry.symmetric(morphs[0])
    return not modifier.sided and bool((even**2).sum() < 0.25 * (morphs[0] ** 2).sum())
