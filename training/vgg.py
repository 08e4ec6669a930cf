"""VGG19 features (Simonyan and Zisserman 2015) for perceptual losses; torchvision's numbering, so its weights load."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

_WIDTHS = ((64, 64), (128, 128), (256, 256, 256, 256), (512,))  # pooling between the groups
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's
_RELU3_1 = 12  # layers up to here


@dataclass(frozen=True)
class TextureFeatures:
    """What a picture's texture is like, at a quarter (`fine`) and at an eighth (`coarse`) of its resolution.

    Of VGG19 they are relu3_1 (256 channels) and relu4_1 (512). DECA's texts name relu3_2 and relu4_2; its numbers come
    from the first convolution of each group, so these do too.
    """

    fine: Float[Tensor, "batch C h w"]
    coarse: Float[Tensor, "batch D hh ww"]


class VGG19(nn.Module):
    """The layers up to relu4_1, frozen; gradients flow to the pictures.

    ``features.load_state_dict`` takes torchvision's ``vgg19().features`` weights up to ``19.bias``.
    """

    mean: Float[Tensor, "3 1 1"]
    std: Float[Tensor, "3 1 1"]

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for index, group in enumerate(_WIDTHS):
            layers += [nn.MaxPool2d(2)] if index else []
            for width in group:
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
                channels = width
        self.features = nn.Sequential(*layers)
        self.register_buffer("mean", torch.tensor(_MEAN)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(_STD)[:, None, None], persistent=False)
        self.requires_grad_(False)

    def forward(self, images: Float[Tensor, "batch 3 H W"]) -> TextureFeatures:
        """Features of RGB pictures in [0, 1]."""
        third = self.features[:_RELU3_1]((images - self.mean) / self.std)
        return TextureFeatures(third, self.features[_RELU3_1:](third))
