"""Who is photographed, and what the face does: random codes with the joint distribution of photographs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import roma
import torch
from jaxtyping import Float

from model.asset import HeadAsset
from model.params import FaceParams
from training.synthetic.expressions import draw_expression, draw_random

MOST_YAW = 80.0
"""Degrees."""
EXPRESSIONS = {"acts": draw_expression, "random": draw_random}
_YAW, _PITCH, _ROLL = np.deg2rad([MOST_YAW, 35.0, 30.0])
_GAZE_SIDE, _GAZE_UP = 0.55, 0.40  # radians


@dataclass(frozen=True)
class Face:
    """A face before it is lit and photographed.

    Attributes:
        number: of the person, the same for all faces of one.
        params: unbatched; the neck at rest.
        albedo: codes, standard deviations, within ±2.
    """

    number: int
    params: FaceParams
    albedo: Float[torch.Tensor, "A"]


class Population:
    """Faces by number; face k is a pure function of the head, the seed and k.

    Args:
        asset: the head; its expression units should carry ARKit names.
        seed: of everything random.
        per_identity: faces k · per_identity … are of one person.
        turned: most degrees of yaw; pitch and roll are drawn from as much less.
        expressions: ``acts`` as people make them, or ``random``: every unit for itself.

    Raises:
        ValueError: the head has no named expression units, `per_identity` is not positive, `turned` out of range, or
            `expressions` unknown.
    """

    def __init__(
        self,
        asset: HeadAsset,
        seed: int = 0,
        per_identity: int = 1,
        turned: float = MOST_YAW,
        expressions: str = "acts",
    ) -> None:
        if not asset.expression_names:
            raise ValueError(f"head {asset.name} has no named expression units; use openhead")
        if per_identity < 1:
            raise ValueError(f"images per identity is {per_identity}, expected 1 or more")
        self.asset = asset
        self.seed = seed
        if not 0 < turned <= MOST_YAW:
            raise ValueError(f"most degrees of yaw are {turned:g}, expected above 0, at most {MOST_YAW:g}")
        if expressions not in EXPRESSIONS:
            raise ValueError(f"expressions are {expressions!r}, expected one of {', '.join(EXPRESSIONS)}")
        self.per_identity = per_identity
        self._expression = EXPRESSIONS[expressions]
        self._share = turned / MOST_YAW
        self._identity = lru_cache(maxsize=4)(self._draw_identity)

    def rng(self, purpose: int, number: int) -> np.random.Generator:
        """The random numbers of one purpose for one person or one face."""
        return np.random.default_rng([self.seed, purpose, number])

    def face(self, k: int) -> Face:
        """Face k."""
        number = k // self.per_identity
        shape, albedo = self._identity(number)
        rng = self.rng(1, k)
        expression, opening = self._expression(rng, self.asset.expression_names)
        rotation = draw_pose(rng, self._share)
        eyes, down = draw_gaze(rng, rotation)
        self._couple_lids(expression, down)
        jaw = np.array([opening, *(0.012 * rng.standard_normal(2))])
        params = FaceParams(
            shape=_float(shape),
            expression=_float(expression),
            pose=roma.rotmat_to_rotvec(torch.from_numpy(rotation)).float(),
            neck=torch.zeros(3),
            jaw=_float(jaw),
            eyes=_float(eyes),
        )
        return Face(number, params, _float(albedo))

    def _draw_identity(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        rng = self.rng(0, number)
        shape = rng.normal(0.0, rng.uniform(0.8, 1.3), self.asset.shapedirs.shape[-1])
        count = 0 if self.asset.albedo_basis is None else len(self.asset.albedo_basis)
        albedo = np.clip(1.1 * rng.standard_normal(count), -2, 2)
        if count:
            albedo[0] = rng.uniform(-2, 2)  # openhead's first direction is the skin's lightness
        return np.clip(shape, -3, 3), albedo

    def _couple_lids(self, expression: Float[np.ndarray, "E"], down: float) -> None:
        """The upper lid follows the eye, in place."""
        for side in ("Left", "Right"):
            for unit, amount in (("eyeBlink", 1.1 * max(down, 0)), ("eyeWide", 0.8 * max(-down, 0))):
                if unit + side in self.asset.expression_names:
                    index = self.asset.expression_names.index(unit + side)
                    expression[index] = min(1.0, expression[index] + amount)


def draw_pose(rng: np.random.Generator, share: float = 1.0) -> Float[np.ndarray, "3 3"]:
    """Head space to camera axes: roll after yaw after pitch; most faces look about into the camera, some far away.

    Args:
        share: of the whole range, for all three angles.
    """
    while True:
        yaw = rng.uniform(-_YAW, _YAW) if rng.random() < 0.3 else rng.normal(0.0, np.deg2rad(22))
        pitch = rng.normal(0.0, np.deg2rad(rng.choice([8.0, 16.0])))
        roll = rng.normal(0.0, np.deg2rad(rng.choice([5.0, 13.0])))
        if abs(yaw) <= _YAW and abs(pitch) <= _PITCH and abs(roll) <= _ROLL:
            break
    y, p, r = (torch.tensor(share * angle, dtype=torch.float64) for angle in (yaw, pitch, roll))
    return roma.euler_to_rotmat("ZYX", torch.stack([r, y, p])).numpy()


def draw_gaze(rng: np.random.Generator, rotation: Float[np.ndarray, "3 3"]) -> tuple[Float[np.ndarray, "6"], float]:
    """Rotations of the left and of the right eye, and how far they look down, radians.

    Half of the people look into the camera if they can, the others somewhere about straight ahead.
    """
    x, y, z = rotation.T @ np.array([0.0, 0.0, 1.0])
    camera = np.array([np.arctan2(x, z), -np.arcsin(np.clip(y, -1, 1))])  # to the left, down
    reach = np.abs(camera) < (1.1 * _GAZE_SIDE, 1.1 * _GAZE_UP)
    if rng.random() < 0.55 and reach.all():
        side, down = camera + 0.04 * rng.standard_normal(2)
    else:
        side, down = rng.normal(0.0, [0.20, 0.12]) + 0.25 * camera.clip(-0.5, 0.5) + [0.0, 0.03]
    side = float(np.clip(side, -_GAZE_SIDE, _GAZE_SIDE))
    down = float(np.clip(down, -_GAZE_UP, _GAZE_UP))
    inwards = abs(rng.normal(0.0, 0.02))  # of eyes that look at something near
    return np.array([down, side - inwards, 0.0, down, side + inwards, 0.0]), down


def _float(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.asarray(values, np.float32))
