"""One face of a track as animation programs want it: a base mesh, morph targets with weights, and a skeleton.

Identity is baked into the base mesh and the joints. A head's vertices are those of `model.head.HeadModel`::

    M = W(T + B_S β + B_E ψ + B_P f(θ), J(β, ψ), θ)

of which B_E ψ are morph targets as they are, W is skinning as glTF and UsdSkel define it, and the pose correctives
B_P f(θ), whose drivers f are 36 entries of rotation matrices, become as few morph targets as the track needs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int

from model.asset import JOINTS, HeadAsset
from model.head import HeadModel
from model.params import FaceParams
from tracker.export.arkit import GAZE, JAW_OPEN, SPLIT
from tracker.export.scene import Motion, Scene
from tracker.track import Track

JOINT_NAMES = tuple("".join(word.title() if i else word for i, word in enumerate(name.split("_"))) for name in JOINTS)
"""root, neck, jaw, leftEye, rightEye."""
_TOLERANCE = 2e-5
"""Metres by which the corrective targets of a track may miss the head's own pose correctives."""


@dataclass(frozen=True)
class Rig:
    """A face of a track.

    Attributes:
        name: of the face: face0, face1, ...
        rest: the person's neutral head, metres.
        faces: triangles.
        skin: skinning weights.
        parents: of each joint, −1 for the root.
        joints: in rest, metres.
        target_names: ARKit's for openhead; first the head's expression units, then the correctives of this track, last
            shapes that are at zero in the animation and there for live input.
        targets: offsets of each from `rest`, metres.
        weights: of each, per frame.
        rotations: of each joint in its parent, matrices.
        translations: of each joint in its parent, metres; the root's is in the scene's face node.
        motion: of that node.
        time: of every frame, s, ascending.
    """

    name: str
    rest: Float[np.ndarray, "V 3"]
    faces: Int[np.ndarray, "F 3"]
    skin: Float[np.ndarray, "V 5"]
    parents: tuple[int, ...]
    joints: Float[np.ndarray, "5 3"]
    target_names: tuple[str, ...]
    targets: Float[np.ndarray, "K V 3"]
    weights: Float[np.ndarray, "T K"]
    rotations: Float[np.ndarray, "T 5 3 3"]
    translations: Float[np.ndarray, "T 5 3"]
    motion: Motion
    time: Float[np.ndarray, "T"]


@torch.no_grad()
def rig_of(track: Track, asset: HeadAsset, scene: Scene, *, live: bool = True) -> Rig:
    """The rig of a track of one face.

    Args:
        live: with the shapes that ARKit has and the head has not: `jawOpen`, the gaze, and units that openhead splits.

    Raises:
        ValueError: the track has codes of other lengths than the head.
    """
    track = _distinct_times(track)
    head = HeadModel(asset).double()
    params = track.params(dtype=torch.float64)
    neutral = head.neutral()
    person = replace(neutral, shape=params.shape[0])
    rest = head(person)
    skeleton = head.skeleton(params)
    bound = head.skeleton(person).rest
    # A bound vertex v comes to R v + o; a node at t, after the inverse bind matrix, gives R (v − bound) + t.
    places = skeleton.offset + (skeleton.rotation @ bound[..., None])[..., 0]
    translations = [places[:, 0]]
    for joint, parent in enumerate(head.skeleton.parents):
        if parent >= 0:
            away = places[:, joint] - places[:, parent]
            translations.append((skeleton.rotation[:, parent].mT @ away[..., None])[..., 0])
    expression = _np(head.basis).reshape(-1, *rest.shape)
    first = asset.shapedirs.shape[-1]
    units = expression[first : first + asset.exprdirs.shape[-1]]
    correctives, driven = _corrective_targets(expression[-36:], _np(skeleton.corrective))
    names = asset.expression_names or tuple(f"expression{i:03d}" for i in range(len(units)))
    extra_names, extra = _live_targets(head, person, rest, units, names) if live else ((), np.zeros((0, *rest.shape)))
    count = len(track)
    return Rig(
        name=f"face{int(track.face[0])}",
        rest=_np(rest),
        faces=asset.faces,
        skin=_np(head.weights),
        parents=head.skeleton.parents,
        joints=_np(bound),
        target_names=(*names, *(f"corrective{i:02d}" for i in range(len(correctives))), *extra_names),
        targets=np.concatenate([units, correctives, extra]),
        weights=np.concatenate([_np(params.expression), driven, np.zeros((count, len(extra)))], axis=1),
        rotations=_np(skeleton.local),
        translations=_np(torch.stack(translations, dim=1)),
        motion=scene.motion(track),
        time=track.time.astype(np.float64),
    )


def _distinct_times(track: Track) -> Track:
    """Without frames that are shown at the time of the one before: a curve has one value at a time."""
    kept = np.concatenate([[True], np.diff(track.time.astype(np.float32)) > 0])
    return track if kept.all() else track.select(kept)


def _corrective_targets(
    directions: Float[np.ndarray, "36 V 3"], drivers: Float[np.ndarray, "T 36"]
) -> tuple[Float[np.ndarray, "K V 3"], Float[np.ndarray, "T K"]]:
    """As few shapes as give all correctives of the track to `_TOLERANCE`, and their weights, the largest of each ±1.

    The singular vectors of what the correctives do in the track. Joints turn about few axes, so there are few.
    """
    used = np.abs(directions).max(axis=(1, 2)) > 0
    flat = directions[used].reshape(used.sum(), directions[0].size)
    if not len(flat):
        return np.zeros((0, *directions.shape[1:])), np.zeros((len(drivers), 0))
    # flatᵀ = Q R, so the shapes of the track are Q (R driversᵀ) and only a small matrix is decomposed.
    q, r = np.linalg.qr(flat.T)
    left, size, right = np.linalg.svd(r @ drivers[:, used].T, full_matrices=False)
    shapes, curves = (q @ left).T, (size[:, None] * right).T
    # What a shape adds at most; the sum of those left out is a bound of the error that needs no product of all frames.
    most = np.abs(curves).max(axis=0) * np.abs(shapes).max(axis=1)
    count = int((np.cumsum(most[::-1])[::-1] > _TOLERANCE).sum())
    peak = np.maximum(np.abs(curves[:, :count]).max(axis=0), 1e-12)
    shapes = shapes[:count] * peak[:, None]
    return shapes.reshape(count, *directions.shape[1:]), curves[:, :count] / peak


def _live_targets(
    head: HeadModel,
    person: FaceParams,
    rest: torch.Tensor,
    units: Float[np.ndarray, "E V 3"],
    names: tuple[str, ...],
) -> tuple[tuple[str, ...], Float[np.ndarray, "K V 3"]]:
    """ARKit's shapes that are joints or halves here: `jawOpen`, `eyeLook…`, `browInnerUp` and the like."""
    found: dict[str, np.ndarray] = {}
    if not head.asset.expression_names:
        return (), np.zeros((0, *rest.shape))
    at = {name: index for index, name in enumerate(names)}
    for whole in SPLIT:
        if f"{whole}Left" in at and f"{whole}Right" in at:
            found[whole] = units[at[f"{whole}Left"]] + units[at[f"{whole}Right"]]
    opened = replace(person, jaw=rest.new_tensor([JAW_OPEN, 0.0, 0.0]))
    found["jawOpen"] = _np(head(opened) - rest)
    for name, eye, turn in GAZE:
        eyes = rest.new_zeros(6)
        eyes[3 * eye : 3 * eye + 3] = rest.new_tensor(turn)
        found[name] = _np(head(replace(person, eyes=eyes)) - rest)
    found = {name: shape for name, shape in found.items() if name not in at}
    return tuple(found), np.stack(list(found.values()))


def _np(values: torch.Tensor) -> np.ndarray:
    return values.detach().cpu().numpy()
