"""Settings of training; the defaults are the paper's (Feng et al. 2021, §5) where it names them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Precision = Literal["float32", "bfloat16"]
StageName = Literal["pretrain", "coarse", "detail"]


@dataclass(frozen=True)
class ModelConfig:
    """What is trained.

    Attributes:
        head: `openhead`, or the path of another head.
        backbone: of both encoders.
        detail_backbone: of E_d where it is another one, ``contrast``; empty takes `backbone`.
        decoder: F_d, the paper's or a sum of maps (`model.detail_basis`).
        resolution: side of the crops and of the rendered pictures, px.
        coarse_resolution: side of the pictures that E_c sees, where they are smaller; 0 takes `resolution`.
        uv_size: texels on a side of the albedo and of the detailed surface's maps.
        detail: length of the detail code.
        curved: whether triangles are rounded before they are displaced.
        start: weights to begin with, a .safetensors, learned at any resolution; those of the run's own previous stage
            when empty.
        gaze: whether E_c also estimates the eyeballs' rotations.
        normalised: whether E_c learns codes in units of their usual spread (`training.stages.start`); the paper's does
            not, and learns the camera slowly for it. The codes that come out are the same.
    """

    head: str = "openhead"
    backbone: Literal["resnet50", "resnet34", "resnet18", "mobilenetv2", "keypoints"] = "resnet50"
    detail_backbone: Literal["", "contrast", "resnet50", "resnet34", "resnet18", "mobilenetv2", "keypoints"] = ""
    decoder: Literal["paper", "basis"] = "paper"
    resolution: int = 224
    coarse_resolution: int = 0
    uv_size: int = 256
    detail: int = 128
    curved: bool = False
    start: str = ""
    gaze: bool = False
    normalised: bool = True


@dataclass(frozen=True)
class DataConfig:
    """Where faces come from.

    Attributes:
        shards: folders written by `python -m training.prepare` or `python -m training.synthetic`.
        shares: how often each folder is drawn from, any positive numbers; by their sizes when empty.
        held_out: share of the identities, chosen by a hash of their names, that only validation sees.
        singles: whether people with a single photograph take part where a stage draws several of each: it is then
            repeated, in crops that differ.
        workers: processes that decode pictures; 0 does it in the training process.
        colour: strength of random changes of brightness, contrast and colour, 0 to 1.
        degrade: probability that a crop is blurred, shrunk or compressed.
        occlude: probability that a crop is partly covered (covered points do not count, and the mask is cut).
        rotate: largest random roll of a crop, degrees.
        shift: largest random shift of a crop, share of its side; the paper has none.
        scale: range of the crop's side over the landmarks' box.
        smallest: faces whose landmarks' box in the shard is smaller (mean side, px) are left out; the paper's
            high-resolution variant has large ones only.
    """

    shards: tuple[str, ...] = ()
    shares: tuple[float, ...] = ()
    held_out: float = 0.02
    singles: bool = False
    workers: int = 0
    colour: float = 0.0
    degrade: float = 0.0
    occlude: float = 0.0
    rotate: float = 0.0
    shift: float = 0.0
    scale: tuple[float, float] = (1.4, 1.8)
    smallest: float = 0.0


@dataclass(frozen=True)
class LossWeights:
    """What every loss counts; 0 switches one off and it is not computed.

    Attributes:
        landmark, eye, lip, photometric, identity: eq. 6 to 9.
        shape, expression, albedo, light: regularisers of the coarse codes.
        excess: expression outside of the head's range; for heads with one. Not in the paper.
        gaze: regulariser of the eyeballs' rotations; for networks that estimate them. Not in the paper.
        labels: codes against known ones (rendered faces, fits); not in the paper.
        points: where the backbone sees iBUG's points; for backbones that have points. Not in the paper.
        agreement: spread of a person's shape codes over the photographs of a batch, beside that of all faces in it;
            where a stage draws several of each. Not in the paper, which only swaps them.
        spots: where it sees its other points, which then are spots of the head's surface; needs known codes. Not in
            the paper.
        broad: what of the displacement is broader than wrinkles, and is the coarse head's to explain. Not in the paper.
        relief: how far the displacement is from what the darkness of skin tells of it (`training.relief`). Not in the
            paper.
        detail_photometric, mrf, symmetry, displacement, shading: eq. 12 to 15 and the smoothness of the shading.
    """

    landmark: float = 1.0
    eye: float = 1.0
    lip: float = 0.5
    photometric: float = 2.0
    identity: float = 0.2
    shape: float = 1e-4
    expression: float = 1e-4
    albedo: float = 1e-4
    light: float = 1.0
    excess: float = 0.1
    gaze: float = 0.01
    labels: float = 0.0
    points: float = 0.0
    spots: float = 0.0
    agreement: float = 0.0
    detail_photometric: float = 2.0
    mrf: float = 0.1
    symmetry: float = 0.005
    displacement: float = 0.005
    shading: float = 0.005
    broad: float = 0.0
    relief: float = 0.0


@dataclass(frozen=True)
class StageConfig:
    """One stage of training.

    Attributes:
        epochs: passes over the data; not used where `steps` is given.
        steps: optimiser steps; 0 counts epochs instead.
        subjects: people in a batch.
        images: photographs of each of them; 1 draws faces regardless of who they are.
        consistency: whether codes are swapped within each subject (shape in the coarse stage, detail in the detail
            stage) and the losses applied to both halves.
        skin_mask: whether photometric losses count skin only.
        local_light: whether the detail stage first brings the rendering's colours to the picture's over neighbourhoods.
            Else what albedo and light miss everywhere hides what wrinkles do here. The paper does not.
        usual: file of `python -m training.usual_relief`, for the loss `relief`; without one, what all photographs show
            alike is learned as relief too.
        rate: Adam's.
        warmup: steps over which the rate rises to `rate`.
        decay: whether the rate falls to zero along a cosine.
        clip: largest norm of the gradient; 0 does not clip.
        ema: decay of the running mean of the weights, which is what is validated and kept; 0 keeps the last weights.
        loss: what every loss counts.
    """

    epochs: float = 1.0
    steps: int = 0
    subjects: int = 8
    images: int = 4
    consistency: bool = True
    skin_mask: bool = True
    local_light: bool = False
    usual: str = ""
    rate: float = 1e-4
    warmup: int = 0
    decay: bool = False
    clip: float = 10.0
    ema: float = 0.999
    loss: LossWeights = field(default_factory=LossWeights)


@dataclass(frozen=True)
class NetworksConfig:
    """Networks that only judge; a missing one is stood in for, and the log says so.

    Attributes:
        identity: weights of a face-recognition network: VGGFace2's ResNet50 (.pt, .pkl) or MobileFaceNet (.bin
            beside its .param); without them there is no identity loss.
        vgg: torchvision's VGG19 weights (.pth); without them the texture loss compares a fixed bank of filters.
    """

    identity: str = ""
    vgg: str = ""


@dataclass(frozen=True)
class TrainConfig:
    """A run: one or several stages after one another.

    Attributes:
        stages: which, in order.
        out: folder of checkpoints, logs and pictures.
        seed: of everything that is random.
        precision: of the networks' forward pass; losses and the renderer are in float32.
        device: `auto` takes a GPU when there is one.
        workers: processes that train together (Ray Train); 1 trains in this process.
        restarts: how often a run of several workers goes on after it lost one.
        ray_address: of the cluster when there are several workers; a local one when empty.
        log_every, picture_every, validate_every, save_every: steps between them.
        validation_batches: how many held-out batches are judged.
    """

    stages: tuple[StageName, ...] = ("pretrain", "coarse", "detail")
    out: str = "out/train"
    seed: int = 0
    precision: Precision = "float32"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    workers: int = 1
    restarts: int = 8
    ray_address: str = ""
    log_every: int = 20
    picture_every: int = 500
    validate_every: int = 500
    save_every: int = 500
    validation_batches: int = 8
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    networks: NetworksConfig = field(default_factory=NetworksConfig)
    pretrain: StageConfig = field(
        default_factory=lambda: StageConfig(epochs=2.0, subjects=64, images=1, consistency=False)
    )
    coarse: StageConfig = field(default_factory=lambda: StageConfig(epochs=1.5, subjects=8, images=4))
    detail: StageConfig = field(default_factory=lambda: StageConfig(subjects=6, images=3))
