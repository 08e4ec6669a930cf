"""What is known of a frame's unknowns besides its landmarks: Gaussian observations of codes, rotation and camera."""

from __future__ import annotations

from dataclasses import dataclass

import roma
import torch
from jaxtyping import Float
from torch import Tensor

from tracker.fit.rig import Pose


@dataclass(frozen=True)
class CodeMeasurement:
    """N frames' poses as somebody says they are, each unknown with its own precision (1/σ²; 0 says nothing).

    Attributes:
        pose: camera in the frame's normalised units.
        face, rotation, camera: precisions; of the rotation by the axes of the camera.
        landmarks: weight that is left to the frame's landmarks, [0, 1], and to what follows from them.
    """

    pose: Pose
    face: Float[Tensor, "N C"]
    rotation: Float[Tensor, "N 3"]
    camera: Float[Tensor, "N 3"]
    landmarks: Float[Tensor, "N"]

    def at(self, index: Tensor | slice) -> CodeMeasurement:
        """The rows of `index`."""
        parts = (self.face, self.rotation, self.camera, self.landmarks)
        return CodeMeasurement(self.pose.at(index), *(part[index] for part in parts))

    def cost(self, pose: Pose) -> Float[Tensor, "N"]:
        """½ Σ (x − told)² / σ²."""
        return 0.5 * (self._precision() * self._apart(pose).square()).sum(1)

    def add_to(self, matrix: Float[Tensor, "N D D"], gradient: Float[Tensor, "N D"], pose: Pose) -> None:
        """Add the normal equations, in place. A step turns the head from the left, which to first order is what the
        rotation vector between the two rotations changes by."""
        precision, apart = self._precision(), self._apart(pose)
        n = precision.shape[1]
        matrix.diagonal(dim1=1, dim2=2)[:, :n].add_(precision)
        gradient[:, :n].add_(precision * apart)

    def _precision(self) -> Float[Tensor, "N D"]:
        return torch.cat([self.face, self.rotation, self.camera], 1)

    def _apart(self, pose: Pose) -> Float[Tensor, "N D"]:
        turn = roma.rotmat_to_rotvec(pose.rotation @ self.pose.rotation.transpose(1, 2))
        return torch.cat([pose.face - self.pose.face, turn, pose.camera - self.pose.camera], 1)


@dataclass(frozen=True)
class ShapeMeasurement:
    """G people's identities as somebody says they are, with precisions (1/σ²; 0 says nothing)."""

    shape: Float[Tensor, "G S"]
    precision: Float[Tensor, "G S"]

    def cost(self, identity: Float[Tensor, "G S"]) -> Float[Tensor, "G"]:
        """½ Σ (β − told)² / σ²."""
        return 0.5 * (self.precision * (identity - self.shape).square()).sum(1)
