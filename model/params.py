"""The records that describe a head: what is posed, and how it is seen."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class FaceParams:
    """Codes and pose of a head; the leading dimensions are any batch shape and are the same in every field.

    Attributes:
        shape: identity coefficients, standard deviations.
        expression: [0, 1] per named unit (openhead) or standard deviations (FLAME).
        pose: global rotation, axis-angle, radians: head space to camera axes.
        neck: rotation of the neck joint, axis-angle, radians.
        jaw: rotation of the jaw joint, axis-angle, radians; +x opens the mouth.
        eyes: rotations of the left and the right eyeball, axis-angle, radians; +x looks down, +y to the subject's left.
    """

    shape: Float[Tensor, "*batch S"]
    expression: Float[Tensor, "*batch E"]
    pose: Float[Tensor, "*batch 3"]
    neck: Float[Tensor, "*batch 3"]
    jaw: Float[Tensor, "*batch 3"]
    eyes: Float[Tensor, "*batch 6"]


@dataclass(frozen=True)
class Camera:
    """A scaled-orthographic camera of the full frame: ``u = s X + tx``, ``v = -s Y + ty``.

    Attributes:
        s: px per metre, positive.
        t: image position of the head-space origin, px.
    """

    s: Float[Tensor, "*batch"]
    t: Float[Tensor, "*batch 2"]


@dataclass(frozen=True)
class CropCamera:
    """DECA's camera of a square crop: ``x' = s (X + tx)``, ``y' = -s (Y + ty)``, [−1, 1] over the crop.

    Attributes:
        s: half crops per metre, positive.
        t: metres.
    """

    s: Float[Tensor, "*batch"]
    t: Float[Tensor, "*batch 2"]


@dataclass(frozen=True)
class Appearance:
    """How a face looks beyond its coarse shape.

    Attributes:
        albedo: coefficients of the head's albedo space, standard deviations.
        light: spherical-harmonics coefficients by colour, camera axes.
        detail: DECA's detail code δ, person-specific.
    """

    albedo: Float[Tensor, "*batch A"]
    light: Float[Tensor, "*batch 9 3"]
    detail: Float[Tensor, "*batch D"]
