"""Expression transfer: a driver's motion, told apart from the driver's face, put on a target's head."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import roma
import torch
from jaxtyping import Float, Int
from torch import Tensor

from model.head import HeadModel
from model.params import Camera, FaceParams
from reenact.lips import Lips
from tracker.track import Track

Transfer = Literal["relative", "absolute"]
HeadPose = Literal["driver", "target", "none"]

_CALMEST = 0.1  # part of the frames that the neutral face is taken from
_TURN = (0.26, 0.37)  # rad: turns from the photograph's pose are followed to the first, and never beyond the second
_SHIFT = (0.02, 0.04)  # metres, likewise
_SIZE = 0.1  # most that the head may seem to grow or shrink, logarithm
_GAZE = 0.6  # rad: how far eyes turn
_ROOM = 0.2  # least way that is taken to be left from the driver's rest to the most of a unit
_ALIKE = 0.25  # difference of two faces at rest, in a unit, that limits nothing
_BLINKS = ("eyeBlinkLeft", "eyeBlinkRight")


@dataclass(frozen=True)
class Gains:
    """How much of the driver's change each part takes; 1 is all.

    Attributes:
        brows, eyes, cheeks, mouth: expression units by their names (nose goes with the cheeks, the tongue with the
            mouth); a head without names takes the mouth's for all.
        jaw, gaze: rotations.
    """

    brows: float = 1.0
    eyes: float = 1.0
    cheeks: float = 1.0
    mouth: float = 1.0
    jaw: float = 1.0
    gaze: float = 1.0

    def of_units(self, names: tuple[str, ...], count: int) -> Float[Tensor, " E"]:
        """One factor per expression unit."""
        if not names:
            return torch.full((count,), self.mouth)
        kinds = {"brow": self.brows, "eye": self.eyes, "cheek": self.cheeks, "nose": self.cheeks, "jaw": self.jaw}
        return torch.tensor(
            [next((gain for kind, gain in kinds.items() if name.startswith(kind)), self.mouth) for name in names]
        )


@dataclass(frozen=True)
class TransferConfig:
    """How a driver's motion is put on a target.

    Attributes:
        mode: see `transfer`.
        strength: of expression and jaw; 1 is the driver's.
        gains: by part, besides.
        contact: whether lips that touch in the driver are made to touch in the target.
        head: whose head pose: the driver's, the photograph's, or none (facing the camera).
        damping: part of the driver's head motion that is left out, [0, 1].
        reach: how far the head may go: 1 is what photographs usually can show, 2 twice that, with tears.
    """

    mode: Transfer = "relative"
    strength: float = 1.0
    gains: Gains = field(default_factory=Gains)
    contact: bool = True
    head: HeadPose = "driver"
    damping: float = 0.0
    reach: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.strength <= 3:
            raise ValueError(f"strength must lie in [0, 3], got {self.strength}")
        if not 0 <= self.damping <= 1:
            raise ValueError(f"damping must lie in [0, 1], got {self.damping}")
        if not 0 < self.reach <= 4:
            raise ValueError(f"reach must lie in (0, 4], got {self.reach}")


@dataclass(frozen=True)
class Neutral:
    """A face at rest: expression units, jaw and gaze (axis-angle), and its usual pose, place and size."""

    expression: Float[Tensor, " E"]
    jaw: Float[Tensor, "3"]
    eyes: Float[Tensor, "6"]
    pose: Float[Tensor, "3"]
    camera: Float[Tensor, "3"]


@dataclass(frozen=True)
class Motion:
    """A target's head, one row per frame of the driver: pose and codes, and the camera that sees it on the photograph.

    Attributes:
        contact: [0, 1], 1 where the driver's lips touch.
    """

    params: FaceParams
    camera: Camera
    contact: Float[Tensor, " T"]

    def __len__(self) -> int:
        return len(self.contact)


def calibrated_neutral(driver: Track) -> Neutral:
    """The driver at rest: the median over the tenth of the frames in which expression and jaw are least active.

    The first frame is nothing special: a clip may begin in the middle of a word. Pose, place and size are medians over
    the whole clip, so that the head stays about where the photograph has it.
    """
    params = driver.params()
    calm = calm_rows(driver)
    valid = torch.from_numpy(driver.valid)
    seen = valid.nonzero()[:, 0]
    return Neutral(
        expression=params.expression[calm].median(0).values,
        jaw=params.jaw[calm].median(0).values,
        eyes=params.eyes[seen].median(0).values,
        pose=roma.rotmat_to_rotvec(roma.special_procrustes(roma.rotvec_to_rotmat(params.pose[seen]).mean(0))),
        camera=torch.from_numpy(np.median(driver.camera[driver.valid], axis=0)).float(),
    )


def calm_rows(driver: Track) -> Int[Tensor, " R"]:
    """The tenth of the rows in which expression and jaw are least active.

    Raises:
        ValueError: no row is valid.
    """
    params, valid = driver.params(), torch.from_numpy(driver.valid)
    if not valid.any():
        raise ValueError(f"{driver.video}: the face was seen in no frame")
    activity = params.expression.square().sum(1) + params.jaw.square().sum(1)
    activity = activity.masked_fill(~valid, torch.inf)
    return activity.argsort(stable=True)[: max(1, round(_CALMEST * int(valid.sum())))]


def neutral_at(driver: Track, row: int) -> Neutral:
    """The driver as it is in one row, taken for rest: where that frame itself is the target."""
    params = driver.params(row)
    return Neutral(
        params.expression, params.jaw, params.eyes, params.pose, torch.from_numpy(driver.camera[row]).float()
    )


def transfer(
    driver: Track,
    target: FaceParams,
    camera: Camera,
    head: HeadModel,
    config: TransferConfig | None = None,
    rest: Neutral | None = None,
) -> Motion:
    """The target's identity with the driver's motion, one row per row of the driver.

    relative
        The target's own expression, jaw and gaze plus the driver's change from the driver's neutral: the shape of the
        driver's resting face does not spill over. Where units have a range, the way from rest to the most is mapped to
        the target's; a blink that is whole in the driver is whole in the target.
    absolute
        The driver's expression, jaw and gaze as they are.

    Args:
        driver: rows of one face.
        target: one head, no batch dimensions.
        camera: of the photograph.
        rest: the driver at rest, where that is known better than from its calmest frames.
    """
    config = config or TransferConfig()
    params, asset = driver.params(), head.asset
    rest = rest or calibrated_neutral(driver)
    gains = config.strength * config.gains.of_units(asset.expression_names, len(target.expression))
    if config.mode == "absolute":
        expression = gains * params.expression
        jaw = config.strength * config.gains.jaw * params.jaw
        eyes = config.gains.gaze * params.eyes
    else:
        change = params.expression - rest.expression
        if asset.expression_range == (0.0, 1.0):
            # What is already half a smile has half the way to go: the photograph's and the driver's do not add up.
            # Little of a difference between the two is a face's rest, or an error of the fit.
            apart = target.expression - rest.expression
            apart = apart.sign() * (apart.abs() - _ALIKE).clamp(min=0)
            room = 1 - apart / (1 - rest.expression).clamp(min=_ROOM)
            change = torch.where(change > 0, change * room, change)
        expression = target.expression + gains * change
        for unit in (asset.expression_names.index(name) for name in _BLINKS if name in asset.expression_names):
            expression[:, unit] = _blink(
                params.expression[:, unit], rest.expression[unit], target.expression[unit], float(gains[unit])
            )
        jaw = target.jaw + config.strength * config.gains.jaw * (params.jaw - rest.jaw)
        eyes = target.eyes + config.gains.gaze * (params.eyes - rest.eyes)
    if asset.expression_range is not None:
        expression = expression.clamp(*asset.expression_range)
    jaw = torch.cat([jaw[:, :1].clamp(min=0), jaw[:, 1:]], dim=1)  # the mouth does not close further than shut
    middles = _middle(head, params.shape[0]), _middle(head, target.shape)
    pose, moved = _head_motion(driver, params.pose, rest, target, camera, config, middles)
    shape, still = target.shape.expand(len(driver), -1), torch.zeros(len(driver), 3)
    result = FaceParams(shape, expression, pose, still, jaw, eyes.clamp(-_GAZE, _GAZE))
    lips = Lips(head)
    contact = lips.contact(params)
    if config.contact:
        expression, jaw = lips.shut(result, contact)
        result = replace(result, expression=expression, jaw=jaw)
    return Motion(result, moved, contact)


def main_face(track: Track) -> Track:
    """The rows of the face that is longest on screen."""
    return track.of_face(int(np.min(track.face)))


def _blink(driver: Tensor, rest: Tensor, own: Tensor, gain: float) -> Tensor:
    """From the target's own lids to shut as the driver's go from rest to shut; open wider in proportion."""
    room = (1 - rest).clamp(min=_ROOM)
    closing = ((driver - rest) / room).clamp(max=1)
    opening = (rest - driver) / rest.clamp(min=0.05)
    return torch.where(closing > 0, own + gain * closing * (1 - own), own * (1 - gain * opening.clamp(0, 1)))


@dataclass(frozen=True)
class _Middle:
    """Of a face at rest: mean of its vertices from the joint that the head turns about, metres, head space; and their
    root mean square distance from it."""

    place: Float[Tensor, "3"]
    size: Float[Tensor, ""]


@torch.no_grad()
def _middle(head: HeadModel, shape: Float[Tensor, " S"]) -> _Middle:
    still = replace(head.neutral(), shape=shape)
    vertices = head(still)
    regions = head.asset.regions
    face = vertices[torch.from_numpy(np.asarray(regions["face"]) > 0.5)] if "face" in regions else vertices
    place = face.mean(0)
    return _Middle(place - head.skeleton(still).rest[0], (face - place).square().sum(1).mean().sqrt())


def _head_motion(
    driver: Track,
    pose: Tensor,
    rest: Neutral,
    target: FaceParams,
    camera: Camera,
    config: TransferConfig,
    middles: tuple[_Middle, _Middle],
) -> tuple[Float[Tensor, "T 3"], Camera]:
    """Pose and camera of every row; `middles` of the driver's face and the target's."""
    count = len(driver)
    own = roma.rotvec_to_rotmat(target.pose)
    if config.head != "driver":
        kept = target.pose if config.head == "target" else torch.zeros(3)
        kept = _nearer(roma.rotvec_to_rotmat(kept), own, config.reach)
        return kept.expand(count, 3), Camera(camera.s.expand(count), camera.t.expand(count, 2))
    turned = roma.rotvec_to_rotmat(pose)
    if config.mode == "relative":
        turned = turned @ roma.rotvec_to_rotmat(rest.pose).T @ own
    follow, reach = 1 - config.damping, config.reach
    turn = roma.rotmat_to_rotvec(turned @ own.T)
    held = roma.rotvec_to_rotmat(_soft(follow * turn, reach * _TURN[0], reach * _TURN[1]))
    pose = roma.rotmat_to_rotvec(held @ own)
    seen = torch.from_numpy(driver.camera).float()
    # Shifts count in sizes of the face, and it turns about the driver's pivot: where a fit puts that, and whether it
    # calls a face large or near, is a guess for each of the two.
    size = middles[1].size / middles[0].size
    pivot = own @ (size * middles[0].place - middles[1].place)
    turned = (held @ pivot - pivot)[:, :2] * pivot.new_tensor([1, -1])
    moved = size * follow * (seen[:, 1:] - rest.camera[1:]) / rest.camera[0]
    shift = _soft(moved, reach * _SHIFT[0], reach * _SHIFT[1])
    grown = (follow * (seen[:, 0] / rest.camera[0]).log()).clamp(-reach * _SIZE, reach * _SIZE).exp()
    return pose, Camera(camera.s * grown, camera.t + camera.s * (shift + turned))


def _nearer(rotation: Tensor, own: Tensor, reach: float) -> Float[Tensor, "3"]:
    turn = _soft(roma.rotmat_to_rotvec(rotation @ own.T)[None], reach * _TURN[0], reach * _TURN[1])[0]
    return roma.rotmat_to_rotvec(roma.rotvec_to_rotmat(turn) @ own)


def _soft(vectors: Float[Tensor, "T C"], free: float, most: float) -> Float[Tensor, "T C"]:
    """Vectors whose length is unchanged up to `free` and never beyond `most`, smoothly."""
    length = vectors.norm(dim=1, keepdim=True).clamp(min=1e-9)
    beyond = (length - free).clamp(min=0)
    held = length.clamp(max=free) + (most - free) * torch.tanh(beyond / (most - free))
    return vectors * (held / length)
