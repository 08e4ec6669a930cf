"""Expression transfer: a driver's motion, told apart from the driver's face, put on a target's head."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import roma
import torch

from model.params import FaceParams
from tracker.track import Track

Transfer = Literal["relative", "absolute"]

_CALMEST = 0.1  # part of the frames that the neutral face is taken from


@dataclass(frozen=True)
class Neutral:
    """A face at rest: expression units, jaw and gaze (axis-angle), and its usual pose."""

    expression: torch.Tensor
    jaw: torch.Tensor
    eyes: torch.Tensor
    pose: torch.Tensor


def calibrated_neutral(driver: Track) -> Neutral:
    """The driver at rest: the median over the tenth of the frames in which expression and jaw are least active.

    The first frame is nothing special: a clip may begin in the middle of a word.
    """
    params = driver.params()
    activity = params.expression.square().sum(1) + params.jaw.square().sum(1)
    activity = activity.masked_fill(~torch.from_numpy(driver.valid), torch.inf)
    calm = activity.argsort(stable=True)[: max(1, round(_CALMEST * int(driver.valid.sum())))]
    return Neutral(
        expression=params.expression[calm].median(0).values,
        jaw=params.jaw[calm].median(0).values,
        eyes=params.eyes[calm].median(0).values,
        pose=roma.rotmat_to_rotvec(roma.special_procrustes(roma.rotvec_to_rotmat(params.pose).mean(0))),
    )


def transfer(driver: Track, target: FaceParams, mode: Transfer, unit_range: tuple[float, float] | None) -> FaceParams:
    """The target's identity with the driver's motion, one row per row of the driver.

    relative
        The target's own expression and jaw plus the driver's change from the driver's neutral: the shape of the
        driver's resting face does not spill over. The pose is the target's, turned as the driver turns from the usual.
    absolute
        The driver's expression, jaw, gaze and pose as they are.

    Args:
        driver: rows of one face.
        target: one head, no batch dimensions.
        unit_range: limits of the expression coefficients, as `HeadAsset.expression_range`.
    """
    params = driver.params()
    shape = target.shape.expand(len(driver), -1)
    if mode == "absolute":
        return FaceParams(shape, params.expression, params.pose, params.neck, params.jaw, params.eyes)
    rest = calibrated_neutral(driver)
    expression = target.expression + params.expression - rest.expression
    if unit_range is not None:
        expression = expression.clamp(*unit_range)
    turn = roma.rotvec_to_rotmat(params.pose) @ roma.rotvec_to_rotmat(rest.pose).T
    pose = roma.rotmat_to_rotvec(turn @ roma.rotvec_to_rotmat(target.pose))
    jaw = target.jaw + params.jaw - rest.jaw
    jaw = torch.cat([jaw[:, :1].clamp(min=0), jaw[:, 1:]], dim=1)  # the mouth does not close further than shut
    return FaceParams(shape, expression, pose, params.neck, jaw, target.eyes + params.eyes - rest.eyes)


def main_face(track: Track) -> Track:
    """The rows of the face that is longest on screen."""
    return track.of_face(int(np.min(track.face)))
