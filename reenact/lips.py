"""Contact of the lips: what is shut in the driver is to be shut in the target."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from model.asset import SurfacePoints
from model.head import HeadModel
from model.params import FaceParams

_PAIRS = ((61, 67), (62, 66), (63, 65))
"""Inner points of the upper and the lower lip, iBUG."""
_CLOSED = (0.0, 0.002)
"""Between which gap (metres) the lips of a fitted driver touch: a fit is never exact to the millimetre."""
_PARTS = (0.0005, 0.0025)
"""Metres beyond that gap at which lips are still in contact, and at which they are apart."""
_OPENING = ("mouthLowerDown", "mouthUpperUp", "mouthFunnel")
_HALVINGS = 8


class Lips:
    """The inner rim of the lips of a head.

    Raises:
        ValueError: the head has no landmarks.
    """

    def __init__(self, head: HeadModel) -> None:
        marks = head.asset.landmarks
        if marks is None:
            raise ValueError(f"head {head.asset.name} has no landmarks; the lips cannot be found")
        rows = np.array(_PAIRS).T.reshape(-1) - 17
        chosen = SurfacePoints(marks.static51.face[rows], marks.static51.barycentric[rows])
        self._rim = head.at(chosen)
        names = head.asset.expression_names
        self._opening = torch.tensor([name.startswith(_OPENING) for name in names] or [False])
        if not names:
            self._opening = self._opening.expand(head.asset.exprdirs.shape[-1])

    @torch.no_grad()
    def gap(self, params: FaceParams) -> Float[Tensor, "*batch"]:
        """Mean height of the opening between the lips, metres; negative where they overlap."""
        still = replace(params, pose=torch.zeros_like(params.pose), neck=torch.zeros_like(params.neck))
        points = self._rim(still)
        count = len(_PAIRS)
        return (points[..., :count, 1] - points[..., count:, 1]).mean(-1)

    @torch.no_grad()
    def line(self, params: FaceParams) -> Float[Tensor, "*batch"]:
        """Mean height of the rims, metres, head space."""
        still = replace(params, pose=torch.zeros_like(params.pose), neck=torch.zeros_like(params.neck))
        return self._rim(still)[..., 1].mean(-1)

    def contact(self, driver: FaceParams) -> Float[Tensor, " T"]:
        """How surely the lips of every row touch: 1 at the smallest gap of the clip (if it is small), 0 when apart."""
        gap = self.gap(driver)
        closed = gap.quantile(0.05).clamp(*_CLOSED)
        apart = ((gap - closed - _PARTS[0]) / (_PARTS[1] - _PARTS[0])).clamp(0, 1)
        return 1 - apart * apart * (3 - 2 * apart)

    def shut(
        self, params: FaceParams, contact: Float[Tensor, " T"]
    ) -> tuple[Float[Tensor, "T E"], Float[Tensor, "T 3"]]:
        """Expression and jaw with the gap lessened by the share of contact.

        The units that part the lips and the jaw are taken back together, no further than needed.
        """
        wanted = (1 - contact) * self.gap(params).clamp(min=0)
        low, high = torch.zeros_like(contact), torch.ones_like(contact)
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            open_still = self.gap(self._closed(params, middle)) > wanted
            low, high = torch.where(open_still, middle, low), torch.where(open_still, high, middle)
        needed = torch.where((contact > 0) & (self.gap(params) > wanted), high, torch.zeros_like(high))
        done = self._closed(params, needed)
        return done.expression, done.jaw

    def _closed(self, params: FaceParams, share: Float[Tensor, " T"]) -> FaceParams:
        keep = 1 - share[:, None] * self._opening
        jaw = torch.cat([params.jaw[:, :1] * (1 - share[:, None]), params.jaw[:, 1:]], dim=1)
        return replace(params, expression=params.expression * keep, jaw=jaw)
