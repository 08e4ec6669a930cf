"""The network that `track` runs: which weights, how wrong they are; and it on photographs, with and without the fit."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from model.asset import HeadAsset
from model.deca import DECA
from model.errors import NetworkErrors
from model.head import HeadModel
from model.io.checkpoints import build_deca, locate_weights, read_checkpoint, shipped_weights
from model.speed import accelerate, has_bfloat16
from tracker.encode import encode_photos
from tracker.fit import Appearance, FaceFit, FitConfig, NetworkEstimate, fit_photos
from tracker.observation import Detection, ibug68
from tracker.threads import single_threaded

_UV_SIZE = 16
"""The tracker draws nothing: small maps are quick to make."""
WHITE = math.sqrt(4 * math.pi)
"""First coefficient of a light that shades everything with 1."""


@dataclass(frozen=True)
class NetworkFacts:
    """What the fit knows of a network; travels where the network is not needed.

    Attributes:
        errors: of these weights; wide ones where nobody measured them.
        resolution: side of its pictures, px.
        digest: of the weights' file; empty for a network that comes from none.
    """

    errors: NetworkErrors
    resolution: int
    digest: str = ""


@dataclass(frozen=True)
class Network:
    """A DECA ready to look at faces, fast, on the device; and what is known of it."""

    deca: DECA
    facts: NetworkFacts

    @property
    def errors(self) -> NetworkErrors:
        """As in `NetworkFacts`."""
        return self.facts.errors

    @property
    def resolution(self) -> int:
        """As in `NetworkFacts`."""
        return self.facts.resolution


def open_network(weights: str, head: HeadModel, *, half: bool | None = None, uv_size: int = _UV_SIZE) -> Network | None:
    """The network with the weights of `TrackConfig.weights`, on the head's device; None where there is none.

    Args:
        half: bfloat16 inside; where the processor has it, if absent.
        uv_size: texels on a side of DECA's maps, for those who draw with it.

    Raises:
        ValueError: no such weights, damaged, or of another head.
    """
    path = weights_file(weights, head.asset)
    if path is None:
        return None
    checkpoint = read_checkpoint(path)
    with single_threaded():
        deca = build_deca(checkpoint, head.asset, uv_size, str(path)).to(head.template.device)
    network = network_of(deca, checkpoint.errors, half=half)
    return replace(network, facts=replace(network.facts, digest=weights_digest(path)))


def network_facts(weights: str, asset: HeadAsset) -> NetworkFacts | None:
    """What is known of the network of `TrackConfig.weights`, without making it; None where there is none.

    Raises:
        ValueError: no such weights, or damaged.
    """
    path = weights_file(weights, asset)
    if path is None:
        return None
    checkpoint = read_checkpoint(path)
    config = checkpoint.config
    errors = checkpoint.errors or NetworkErrors.unmeasured(config.shape, config.expression)
    return NetworkFacts(errors, config.resolution, weights_digest(path))


def weights_file(weights: str, asset: HeadAsset) -> Path | None:
    """The file of the weights of `TrackConfig.weights`; None where there is no network.

    Raises:
        ValueError: no such weights.
    """
    if weights == "none":
        return None
    if weights not in ("embedded", "open"):
        return locate_weights(weights)
    path = shipped_weights(asset, "" if weights == "embedded" else weights)
    if path is None and weights == "open":
        raise ValueError(f"--weights {weights}: no such weights come with the package for head {asset.name}")
    return path


def weights_digest(path: Path | None) -> str:
    """SHA-256 of a weights file; empty without one."""
    return "" if path is None else hashlib.sha256(path.read_bytes()).hexdigest()


def network_of(deca: DECA, errors: NetworkErrors | None = None, *, half: bool | None = None) -> Network:
    """A network of a DECA in evaluation mode, on its device."""
    quick = has_bfloat16(deca.albedo_mean.device) if half is None else half
    errors = errors or NetworkErrors.unmeasured(deca.config.shape, deca.config.expression)
    with single_threaded():  # so many threads the networks are made for, whatever the machine
        fast = accelerate(deca, "auto", quick)
    return Network(fast, NetworkFacts(errors, deca.config.resolution))


def track_photos(
    images: Sequence[UInt8[np.ndarray, "H W 3"]],
    faces: Sequence[Detection],
    head: HeadModel,
    network: Network | None,
    config: FitConfig | None = None,
) -> FaceFit:
    """One face of each photograph, each a person of its own: network and fit, or with `FitConfig.landmarks` off the
    network alone.

    Raises:
        ValueError: as `fit_photos`; detections of different detectors.
    """
    if len({face.scheme for face in faces}) > 1:
        raise ValueError(f"the faces are of different detectors: {', '.join(sorted({f.scheme for f in faces}))}")
    estimate = None
    if network is not None and faces:
        estimate = NetworkEstimate(encode_photos(network.deca, images, faces), network.errors, network.resolution)
    marks = head.asset.landmarks
    scheme = faces[0].scheme if faces else "ibug68"
    if marks is None or marks.mediapipe478 is None:
        scheme = "ibug68"
    points = [face.points if face.scheme == scheme else ibug68(face) for face in faces]
    stacked = np.stack(points).astype(np.float32) if points else np.zeros((0, 68, 2), np.float32)
    confidence = np.array([face.confidence for face in faces], np.float32)
    return fit_photos(stacked, scheme, head, config, confidence, estimate)


def overall(looks: Sequence[Appearance | None], rows: Sequence[int]) -> Appearance | None:
    """Appearances of all faces, one below the other; None where no face has one.

    A face without gets the mean albedo, white light and no detail.

    Args:
        rows: of every face.
    """
    known = next((look for look in looks if look is not None), None)
    if known is None:
        return None

    def plain(count: int) -> Appearance:
        light = np.zeros((count, 9, 3), np.float32)
        light[:, 0] = WHITE
        albedo, detail = (np.zeros((count, x.shape[1]), np.float32) for x in (known.albedo, known.detail))
        return Appearance(albedo, light, detail)

    parts = [look or plain(count) for look, count in zip(looks, rows, strict=True)]
    return Appearance(*(np.concatenate([getattr(p, name) for p in parts]) for name in ("albedo", "light", "detail")))
