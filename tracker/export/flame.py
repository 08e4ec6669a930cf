"""From heads without named units (FLAME) to ARKit's: which of openhead's units move the 68 landmarks alike.

Both heads carry the same 68 landmarks on their surface. What FLAME's expression and jaw do to them, scaled to
openhead's size, is explained by openhead's jaw and 50 units, per frame, by bounded least squares::

    min |A(jaw') u − d|² + λ² |u|²    with 0 ≤ u ≤ 1

where d is FLAME's displacement less that of openhead's jaw', A(jaw') holds the displacements of the units at that jaw,
and jaw' is FLAME's jaw times the ratio of how far the chin goes. Units that move no landmark (puffed cheeks, the
tongue) stay zero. How wrong it is::

    python -m tracker.export.flame --head FLAME_FOLDER

draws expressions of openhead, takes the other head's nearest to each, maps these back and compares.
"""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from model.asset import HeadAsset
from model.head import HeadModel, PointModel
from model.params import FaceParams
from tracker.command import Parser, run
from tracker.export.arkit import JAW_OPEN, columns
from tracker.track import Track

_RIDGE = 1e-3
"""λ, metres per unit: a unit is only used where it explains more than this."""
_CHIN, _CORNERS = 8, (36, 45)
_SWEEPS, _ROWS = 80, 256


class Face68:
    """The 68 surface landmarks of a head's mean person, moved by expression and jaw alone.

    Raises:
        ValueError: the head has no landmarks.
    """

    def __init__(self, asset: HeadAsset) -> None:
        if asset.landmarks is None:
            raise ValueError(f"head {asset.name} has no landmarks; ARKit's units cannot be found for it")
        head = HeadModel(asset).double()
        self.units = asset.exprdirs.shape[-1]
        self._neutral = head.neutral()
        self._points: PointModel = head.at(asset.landmarks.full68)
        self._rest = self._points(self._neutral)
        left, right = _CORNERS
        self.width = float((self._rest[left] - self._rest[right]).norm())
        """Distance of the outer corners of the eyes, metres."""

    def moved(self, expression: Float[Tensor, "T E"], jaw: Float[Tensor, "T 3"]) -> Float[Tensor, "T 204"]:
        """Displacements of the landmarks, metres."""
        rows = len(expression)
        still = FaceParams(*(getattr(self._neutral, name).expand(rows, -1) for name in FaceParams.__dataclass_fields__))
        return (self._points(replace(still, expression=expression, jaw=jaw)) - self._rest).flatten(1)

    def directions(self, jaw: Float[Tensor, "T 3"]) -> Float[Tensor, "T 204 E"]:
        """Displacement per unit of expression, at a jaw."""
        rows, units = len(jaw), self.units
        each = torch.eye(units, dtype=jaw.dtype).repeat(rows, 1)
        with_unit = self.moved(each, jaw.repeat_interleave(units, 0)).unflatten(0, (rows, units))
        return (with_unit - self.moved(jaw.new_zeros(rows, units), jaw)[:, None]).mT

    def opening(self) -> float:
        """How far the chin goes down when the jaw turns by a tenth of a radian, metres."""
        turned = self.moved(torch.zeros(1, self.units).double(), torch.tensor([[0.1, 0, 0]]).double())
        return -float(turned.unflatten(1, (68, 3))[0, _CHIN, 1])


@dataclass(frozen=True)
class Mapping:
    """From a head's expression and jaw to openhead's units.

    Attributes:
        source, target: the head that is mapped, and openhead.
        names: of openhead's units.
        jaw: openhead's jaw angle per the other's.
    """

    source: Face68
    target: Face68
    names: tuple[str, ...]
    jaw: float

    @staticmethod
    def between(asset: HeadAsset, openhead: HeadAsset) -> Mapping:
        """The mapping for a head.

        Raises:
            ValueError: it has no landmarks, or its jaw does not open.
        """
        source, target = Face68(asset), Face68(openhead)
        opening = source.opening() / source.width
        if opening < 1e-3:
            raise ValueError(f"head {asset.name}: its jaw joint does not open the mouth; ARKit's units cannot be found")
        return Mapping(source, target, openhead.expression_names, opening / (target.opening() / target.width))

    @torch.no_grad()
    def units(
        self, expression: Float[np.ndarray, "T E"], jaw: Float[np.ndarray, "T 3"]
    ) -> tuple[Float[np.ndarray, "T U"], Float[np.ndarray, "T 3"]]:
        """openhead's units in [0, 1] and its jaw, axis-angle."""
        scale = self.target.width / self.source.width
        found, jaws = [], jaw.astype(np.float64) * self.jaw
        for start in range(0, len(expression), _ROWS):
            rows = slice(start, start + _ROWS)
            own = torch.from_numpy(jaws[rows])
            wanted = scale * self.source.moved(_double(expression[rows]), _double(jaw[rows]))
            A = self.target.directions(own)
            d = wanted - self.target.moved(own.new_zeros(len(own), self.target.units), own)
            found.append(_bounded(A, d, _RIDGE))
        return np.concatenate(found), jaws

    def arkit(self, track: Track) -> Float[np.ndarray, "T 61"]:
        """The columns `tracker.export.arkit.NAMES` of a track of that head."""
        units, jaw = self.units(track.expression, track.jaw)
        return columns(self.names, units, jaw, track.eyes, track.pose, track.neck)

    @torch.no_grad()
    def back(
        self, units: Float[np.ndarray, "T U"], jaw: Float[np.ndarray, "T 3"]
    ) -> tuple[Float[np.ndarray, "T E"], Float[np.ndarray, "T 3"]]:
        """The other head's expression and jaw that move the landmarks most alike: ridge regression, unbounded."""
        own = _double(jaw / self.jaw)
        scale = self.source.width / self.target.width
        d = scale * self.target.moved(_double(units), _double(jaw))
        d = d - self.source.moved(own.new_zeros(len(own), self.source.units), own)
        A = self.source.directions(own)
        G = A.mT @ A + _RIDGE**2 * torch.eye(self.source.units).double()
        return torch.linalg.solve(G, (A.mT @ d[..., None]))[..., 0].numpy(), own.numpy()


def _bounded(A: Float[Tensor, "T N U"], d: Float[Tensor, "T N"], ridge: float) -> Float[np.ndarray, "T U"]:
    """min |A u − d|² + ridge² |u|² with 0 ≤ u ≤ 1, row by row: coordinate descent, all rows at once."""
    G = A.mT @ A + ridge**2 * torch.eye(A.shape[-1], dtype=A.dtype)
    b = (A.mT @ d[..., None])[..., 0]
    u = torch.zeros_like(b)
    for _ in range(_SWEEPS):
        for k in range(A.shape[-1]):
            slope = (G[:, k] * u).sum(-1) - b[:, k]
            u[:, k] = (u[:, k] - slope / G[:, k, k]).clamp(0, 1)
    return u.numpy()


@dataclass(frozen=True)
class MappingError:
    """How wrong a mapping is on expressions that it was not made from.

    Attributes:
        unit: mean absolute error of every unit.
        spread: mean absolute deviation of every unit's true values from their mean: the error of knowing nothing.
        landmarks: root mean square distance of the 68 landmarks after there and back, metres.
        reach: the same for the other head's nearest expression: what it cannot show at all.
    """

    unit: Float[np.ndarray, "U"]
    spread: Float[np.ndarray, "U"]
    landmarks: float
    reach: float


def measure(mapping: Mapping, samples: int = 400, seed: int = 7) -> MappingError:
    """Draw expressions of openhead (five units and a jaw each), map them to the other head and back."""
    rng = np.random.default_rng(seed)
    count = len(mapping.names)
    true = np.zeros((samples, count))
    for row in true:
        row[rng.choice(count, 5, replace=False)] = rng.uniform(0.2, 1.0, 5)
    jaw = np.zeros((samples, 3))
    jaw[:, 0] = np.maximum(rng.uniform(-JAW_OPEN, JAW_OPEN, samples), 0)
    expression, own = mapping.back(true, jaw)
    found, jaws = mapping.units(expression, own)
    scale = mapping.target.width / mapping.source.width
    wanted = mapping.target.moved(_double(true), _double(jaw))
    near = scale * mapping.source.moved(_double(expression), _double(own))
    again = mapping.target.moved(_double(found), _double(jaws))

    def distance(a: Tensor, b: Tensor) -> float:
        return float((a - b).unflatten(1, (68, 3)).square().sum(-1).mean().sqrt())

    spread = np.abs(true - true.mean(0)).mean(0)
    return MappingError(np.abs(found - true).mean(0), spread, distance(again, wanted), distance(near, wanted))


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the errors of the mapping for a head."""
    return run("tracker.export.flame", _main, argv)


def _main(argv: Sequence[str]) -> int:
    parser = Parser(prog="python -m tracker.export.flame", description=__doc__)
    parser.add_argument(
        "--head", required=True, metavar="PATH", help="a head with landmarks: a FLAME folder, or an .npz"
    )
    parser.add_argument("--samples", default="400", metavar="N", help="expressions to draw (default: 400)")
    options: Namespace = parser.parse(argv)
    from model.io.assets import load_head

    if not options.samples.isdigit() or int(options.samples) < 2:
        raise ValueError(f"--samples {options.samples}: must be a whole number from 2 up")
    mapping = Mapping.between(load_head(options.head), load_head("openhead"))
    error = measure(mapping, int(options.samples))
    print(f"mean absolute error of a unit  {error.unit.mean():.3f}  (knowing nothing: {error.spread.mean():.3f})")
    print(f"landmarks after there and back {1e3 * error.landmarks:.2f} mm rms")
    print(f"of which the head cannot show  {1e3 * error.reach:.2f} mm rms")
    for at in np.argsort(error.unit):
        print(f"  {mapping.names[at]:22s} {error.unit[at]:.3f} of {error.spread[at]:.3f}")
    return 0


def _double(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.asarray(values, dtype=np.float64))


if __name__ == "__main__":
    sys.exit(main())
