"""Networks: sizes of the paper, names of torchvision and of the published weights, behaviour in evaluation mode."""

import pytest
import torch

from model.backbones import BACKBONES, KeypointResNet, backbone
from model.detail_decoder import DetailDecoder
from model.encoder import Encoder


@pytest.mark.parametrize(
    ("name", "channels", "weights"),
    [  # counted for torchvision's models without their classifiers
        ("resnet18", 512, 11_176_512),
        ("resnet34", 512, 21_284_672),
        ("resnet50", 2048, 23_508_032),
        ("mobilenetv2", 1280, 2_223_872),
    ],
)
def test_backbones_have_torchvisions_sizes(name: str, channels: int, weights: int) -> None:
    with torch.device("meta"):  # shapes only
        network = backbone(name)
    assert network.channels == channels
    assert sum(parameter.numel() for parameter in network.parameters()) == weights


def test_points_lie_where_their_maps_are_bright() -> None:
    network = backbone("keypoints").eval()
    assert isinstance(network, KeypointResNet)
    kept: list[torch.Tensor] = []
    network.maps.register_forward_hook(lambda module, inputs, output: kept.append(output))
    images = torch.rand(2, 3, 96, 64)
    features = network(images)
    assert features.shape == (2, network.channels)
    places = features[:, : 2 * network.points].unflatten(1, (-1, 2))
    logits = kept[0].double()  # 24 rows, 16 columns
    weights = (logits - logits.amax((-2, -1), keepdim=True)).exp()
    x = torch.linspace(-15 / 16, 15 / 16, 16, dtype=torch.float64)
    y = torch.linspace(-23 / 24, 23 / 24, 24, dtype=torch.float64)
    total = weights.sum((-2, -1))
    expected = torch.stack([(weights * x).sum((-2, -1)), (weights * y[:, None]).sum((-2, -1))], -1) / total[..., None]
    torch.testing.assert_close(places.double(), expected, atol=1e-5, rtol=0)
    network.maps.register_forward_hook(lambda module, inputs, output: _one_cell(output, row=9, column=1))
    places = network(images)[:, : 2 * network.points].unflatten(1, (-1, 2))
    torch.testing.assert_close(places[..., 0], torch.full_like(places[..., 0], -13 / 16))
    torch.testing.assert_close(places[..., 1], torch.full_like(places[..., 1], -5 / 24))


def _one_cell(maps: torch.Tensor, row: int, column: int) -> torch.Tensor:
    only = torch.full_like(maps, -100.0)
    only[..., row, column] = 100.0
    return only


def test_an_encoder_gives_its_points_when_asked() -> None:
    with_points, without = Encoder(7, "keypoints", seen=True).eval(), Encoder(7, "keypoints").eval()
    without.load_state_dict(with_points.state_dict())
    images = torch.rand(2, 3, 64, 64)
    codes = with_points(images)
    assert codes.shape == (2, 7 + 2 * with_points.points)
    torch.testing.assert_close(without(images), codes[:, :7])
    assert (codes[:, 7:].abs() <= 1).all()
    assert Encoder(7, "resnet18", seen=True).points == 0


def test_names_are_torchvisions() -> None:
    with torch.device("meta"):
        resnet, mobile = backbone("resnet50").state_dict(), backbone("mobilenetv2").state_dict()
    assert resnet["layer1.0.downsample.0.weight"].shape == (256, 64, 1, 1)
    assert resnet["layer4.2.bn3.running_var"].shape == (2048,)
    assert len(resnet) == 318  # torchvision's 320 without fc
    assert mobile["features.0.0.weight"].shape == (32, 3, 3, 3)
    assert mobile["features.1.conv.0.0.weight"].shape == (32, 1, 3, 3)
    assert mobile["features.17.conv.2.weight"].shape == (320, 960, 1, 1)
    assert mobile["features.18.1.num_batches_tracked"].shape == ()
    assert len(mobile) == 312  # torchvision's 314 without the classifier


def test_the_stride_of_a_bottleneck_is_on_its_second_convolution() -> None:
    with torch.device("meta"):
        block = backbone("resnet50").layer2[0]
    assert (block.conv1.stride, block.conv2.stride) == ((1, 1), (2, 2))


def test_unknown_backbone() -> None:
    with pytest.raises(ValueError, match=r"resnet51.*expected one of resnet50"):
        backbone("resnet51")


@pytest.mark.parametrize("name", sorted(set(BACKBONES) - {"resnet50", "resnet34"}))
def test_encoder_is_deterministic_and_independent_of_the_batch(name: str) -> None:
    torch.manual_seed(0)
    encoder = Encoder(236, name).eval()
    images = torch.rand(3, 3, 64, 64)
    with torch.no_grad():
        codes = encoder(images)
        single = torch.cat([encoder(image[None]) for image in images])
        channels_last = encoder(images.to(memory_format=torch.channels_last))
    assert codes.shape == (3, 236)
    torch.testing.assert_close(codes, single, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(codes, channels_last, atol=1e-5, rtol=1e-4)
    assert (codes.max() - codes.min()) > 0


def test_published_names() -> None:
    with torch.device("meta"):
        encoder, decoder = Encoder(128).state_dict(), DetailDecoder().state_dict()
    assert encoder["layers.0.weight"].shape == (1024, 2048)
    assert encoder["layers.2.weight"].shape == (128, 1024)
    assert encoder["encoder.conv1.weight"].shape == (64, 3, 7, 7)
    assert len(encoder) == 322
    convolutions = {key: tuple(decoder[key].shape[:2]) for key in decoder if decoder[key].dim() == 4}
    assert convolutions == {
        "conv_blocks.2.weight": (128, 128),
        "conv_blocks.6.weight": (64, 128),
        "conv_blocks.10.weight": (64, 64),
        "conv_blocks.14.weight": (32, 64),
        "conv_blocks.18.weight": (16, 32),
        "conv_blocks.21.weight": (1, 16),
    }
    assert decoder["l1.0.weight"].shape == (8192, 181)


def test_displacement_is_bounded_and_depends_on_every_input() -> None:
    torch.manual_seed(1)
    decoder = DetailDecoder(3 + 4 + 5).eval()
    jaw, expression, detail = torch.randn(2, 3), torch.randn(2, 4), torch.randn(2, 5)
    with torch.no_grad():
        maps = decoder(jaw, expression, detail)
        others = [decoder(jaw + 1, expression, detail), decoder(jaw, expression + 1, detail)]
        others.append(decoder(jaw, expression, detail + 1))
        spread = maps.max() - maps.min()
        for parameter in decoder.conv_blocks[-2].parameters():
            parameter *= 1000  # deep in tanh
        extreme = decoder(jaw, expression, detail)
    assert maps.shape == (2, 256, 256)
    assert all((other - maps).abs().max() > 1e-3 * spread for other in others)
    assert 0.009 < extreme.abs().max() <= 0.01
