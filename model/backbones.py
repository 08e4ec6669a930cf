"""Convolutional backbones: a picture to one feature vector. Names and layout are torchvision's, so its weights load.

Neither torchvision nor timm is imported. All take any picture size from 32 px.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import interpolate


def backbone(name: str) -> ResNet | MobileNetV2 | KeypointResNet:
    """A backbone by name, with fresh weights; `channels` is the length of its output, which begins with the places of
    `points` points.

    Raises:
        ValueError: no backbone of that name.
    """
    if name not in BACKBONES:
        raise ValueError(f"backbone is {name!r}, expected one of {', '.join(BACKBONES)}")
    return BACKBONES[name]()


class ResNet(nn.Module):
    """He et al. 2016, with the stride of a bottleneck on its 3 × 3 convolution, without the classifier."""

    def __init__(self, block: type[Bottleneck] | type[BasicBlock], depths: tuple[int, int, int, int]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        layers, channels = [], 64
        for stage, depth in enumerate(depths):
            width, stride = 64 << stage, 1 if stage == 0 else 2
            blocks = []
            for k in range(depth):
                blocks.append(block(channels, width, stride if k == 0 else 1))
                channels = width * block.expansion
            layers.append(nn.Sequential(*blocks))
        self.layer1, self.layer2, self.layer3, self.layer4 = layers
        self.channels, self.points = channels, 0
        _initialise(self)

    def forward(self, images: Float[Tensor, "batch 3 H W"]) -> Float[Tensor, "batch channels"]:
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return x.mean((-2, -1))


class Bottleneck(nn.Module):
    """1 × 1, 3 × 3, 1 × 1 convolutions around a shortcut."""

    expansion = 4

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(channels, 4 * width, stride)

    def forward(self, x: Float[Tensor, "batch C H W"]) -> Float[Tensor, "batch D h w"]:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))


class BasicBlock(nn.Module):
    """Two 3 × 3 convolutions around a shortcut."""

    expansion = 1

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(channels, width, stride)

    def forward(self, x: Float[Tensor, "batch C H W"]) -> Float[Tensor, "batch D h w"]:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))


class MobileNetV2(nn.Module):
    """Sandler et al. 2018, without the classifier: 2.2 million weights, 0.3 GMAC for a 224² picture."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [_conv_bn(3, 32, 3, stride=2)]
        channels = 32
        for expansion, width, depth, stride in _MOBILENET_V2:
            for k in range(depth):
                layers.append(InvertedResidual(channels, width, stride if k == 0 else 1, expansion))
                channels = width
        layers.append(_conv_bn(channels, 1280, 1))
        self.features = nn.Sequential(*layers)
        self.channels, self.points = 1280, 0
        _initialise(self)

    def forward(self, images: Float[Tensor, "batch 3 H W"]) -> Float[Tensor, "batch channels"]:
        return self.features(images).mean((-2, -1))


class KeypointResNet(nn.Module):
    """A narrow ResNet18 that also says where it sees things: a spatial softmax over maps of its feature pyramid.

    A mean over the picture forgets places, and a network that ends with one learns slowly where a lip is. Here every
    point has a map at a quarter of the picture's resolution; its expected place under the map's softmax is a feature
    (Finn et al. 2016, "Deep spatial autoencoders"), and so is what the pyramid shows there (Lin et al. 2017).

    Attributes:
        points: how many there are. Their places lead the output: x, y of each, [−1, 1] over the picture.
    """

    def __init__(self, width: int = 32, lateral: int = 64, points: int = 256) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, width, 7, 2, 3, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 2, 1),
        )
        widths = [width << stage for stage in range(4)]
        stages, channels = [], width
        for stage, wide in enumerate(widths):
            stages.append(nn.Sequential(BasicBlock(channels, wide, 1 if stage == 0 else 2), BasicBlock(wide, wide, 1)))
            channels = wide
        self.stages = nn.ModuleList(stages)
        self.lateral = nn.ModuleList([nn.Conv2d(wide, lateral, 1) for wide in widths])
        self.mix = nn.Sequential(
            nn.BatchNorm2d(lateral),
            nn.ReLU(inplace=True),
            nn.Conv2d(lateral, lateral, 3, 1, 1, bias=False),
            nn.BatchNorm2d(lateral),
            nn.ReLU(inplace=True),
        )
        self.maps = nn.Conv2d(lateral, points, 1)
        self.looks = nn.Linear(lateral, points)  # each row is for its own point
        self.points = points
        self.channels = 3 * points + channels
        _initialise(self)

    def forward(self, images: Float[Tensor, "batch 3 H W"]) -> Float[Tensor, "batch channels"]:
        x = self.stem(images)
        levels = []
        for stage in self.stages:
            x = stage(x)
            levels.append(x)
        pyramid = self.lateral[3](levels[3])
        for lateral, level in zip(self.lateral[2::-1], levels[2::-1], strict=True):
            pyramid = interpolate(pyramid, level.shape[-2:]) + lateral(level)
        pyramid = self.mix(pyramid)
        weights = self.maps(pyramid).float().flatten(2).softmax(-1)
        rows, columns = (_centres(int(size), weights) for size in pyramid.shape[-2:])  # int: to be traced
        grid = torch.stack(torch.meshgrid(columns, rows, indexing="xy")).flatten(1)
        places = weights @ grid.T
        # The bias inside of the sum, whose weights add up to one: OpenVINO 2026.4 adds it wrongly outside.
        shown = self.looks.weight @ pyramid.float().flatten(2) + self.looks.bias[:, None]
        looks = (weights * shown).sum(-1)
        return torch.cat([places.flatten(1), looks, levels[3].float().mean((-2, -1))], dim=1)


def _centres(count: int, like: Tensor) -> Float[Tensor, "N"]:
    """Of the cells of a map, [−1, 1] over its picture."""
    return (torch.arange(count, dtype=like.dtype, device=like.device) + 0.5) * (2 / count) - 1


class InvertedResidual(nn.Module):
    """Widen, filter every channel by itself, narrow without a non-linearity."""

    def __init__(self, channels: int, width: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = channels * expansion
        layers: list[nn.Module] = [_conv_bn(channels, hidden, 1)] if expansion > 1 else []
        layers.append(_conv_bn(hidden, hidden, 3, stride=stride, groups=hidden))
        self.conv = nn.Sequential(*layers, nn.Conv2d(hidden, width, 1, bias=False), nn.BatchNorm2d(width))
        self.shortcut = stride == 1 and channels == width

    def forward(self, x: Float[Tensor, "batch C H W"]) -> Float[Tensor, "batch D h w"]:
        return x + self.conv(x) if self.shortcut else self.conv(x)


# expansion, width, depth, stride; Sandler et al. 2018, table 2
_MOBILENET_V2 = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def _shortcut(channels: int, width: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and channels == width:
        return None
    return nn.Sequential(nn.Conv2d(channels, width, 1, stride, bias=False), nn.BatchNorm2d(width))


def _conv_bn(channels: int, width: int, size: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(channels, width, size, stride, size // 2, groups=groups, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(width), nn.ReLU6(inplace=True))


def _initialise(module: nn.Module) -> None:
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")


BACKBONES = {
    "resnet50": lambda: ResNet(Bottleneck, (3, 4, 6, 3)),
    "resnet34": lambda: ResNet(BasicBlock, (3, 4, 6, 3)),
    "resnet18": lambda: ResNet(BasicBlock, (2, 2, 2, 2)),
    "mobilenetv2": MobileNetV2,
    "keypoints": KeypointResNet,
}
