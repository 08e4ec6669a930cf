"""What the coarse stages learn from known codes, each part in units of what faces usually differ by (`spread`)."""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from model.camera import project_crop
from model.deca import DECA, CoarseCodes
from model.landmarks import head_rotation
from model.params import CropCamera
from training import spread
from training.data.sample import Labels
from training.supervision import (
    CodeMetrics,
    albedo_loss,
    axis_angle_loss,
    code_loss,
    metric_loss,
    reprojection_loss,
    rotation_loss,
)

_SHAPE_CODES = 0.1
"""Share of the plain difference of shape codes; most of them are of directions that can hardly be seen."""


class LabelLosses(nn.Module):
    """Losses by name, all without a unit: predicting the mean face of every picture costs about 1 in each.

    Attributes:
        metrics: what codes do to the head.
    """

    def __init__(self, deca: DECA) -> None:
        super().__init__()
        self.metrics = CodeMetrics(deca.head.asset)
        self.expression = spread.expression_spread(deca.head.asset.expression_range)

    def forward(self, deca: DECA, codes: CoarseCodes, labels: Labels) -> dict[str, Float[Tensor, ""]]:
        """Compare codes with known ones; the pose is the head's, neck included.

        Args:
            deca: whose codes they are.
        """
        face, truth, known, lit = codes.face, labels.face, labels.known, labels.lit
        assert isinstance(labels.camera, CropCamera)
        shape, expression = self.metrics.shape, self.metrics.expression
        moved = metric_loss(face.expression, truth.expression, expression, known) / expression.trace()
        losses = {
            "labels_shape": metric_loss(face.shape, truth.shape, shape, known) / shape.trace()
            + _SHAPE_CODES * code_loss(face.shape, truth.shape, known),
            "labels_expression": (moved + code_loss(face.expression, truth.expression, known)) / self.expression**2,
            "labels_pose": rotation_loss(head_rotation(face), head_rotation(truth), known) / spread.POSE**2,
            "labels_jaw": axis_angle_loss(face.jaw, truth.jaw, known) / spread.JAW**2,
            "labels_camera": self._reprojection(deca, codes, labels) / spread.REPROJECTION**2,
        }
        if deca.config.gaze:
            losses["labels_eyes"] = axis_angle_loss(face.eyes, truth.eyes, known) / spread.EYES**2
        colours = [metric_loss(codes.light[..., k], labels.light[..., k], self.metrics.light, lit) for k in range(3)]
        losses["labels_light"] = torch.stack(colours).mean() / spread.SHADING**2
        if len(deca.albedo_basis):
            losses["labels_albedo"] = self._albedo(deca, codes.albedo, labels)
        return losses

    def _reprojection(self, deca: DECA, codes: CoarseCodes, labels: Labels) -> Tensor:
        """Of the known head in the found pose, by the found camera: pose and camera are judged together, where they
        are seen."""
        assert isinstance(labels.camera, CropCamera)
        turned = replace(labels.face, pose=codes.face.pose, neck=codes.face.neck)
        with torch.no_grad():
            wanted = project_crop(labels.camera, deca.points.ibug68_fixed(labels.face))[..., :2]
        found = project_crop(codes.camera, deca.points.ibug68_fixed(turned))[..., :2]
        return reprojection_loss(found, wanted, labels.known)

    def _albedo(self, deca: DECA, codes: Tensor, labels: Labels) -> Tensor:
        usual = deca.albedo_basis.square().sum(0).mean()
        found, wanted = deca.albedo(codes), deca.albedo(labels.albedo)
        return albedo_loss(found, wanted, deca.surface.mask, labels.lit) / usual
