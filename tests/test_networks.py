"""Networks that judge: their files, their layouts, the alignment, the filters; nothing is trained."""

from __future__ import annotations

import importlib.util
import math
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import cosine_similarity

from training.losses import mrf_loss
from training.networks.filters import FilterBank, gabor_filters
from training.networks.identity import aligned, five_points, similarity
from training.networks.load import identity_network, texture_network
from training.networks.mobilefacenet import ARCFACE, MobileFaceNet
from training.networks.vggface2 import VGGFace2
from training.vgg import VGG19

NETS = Path(__file__).parents[2] / "shared" / "data" / "nets"

TINY_NCNN = """7767517
8 8
Input data 0 1 data
BinaryOp minus 1 1 data minus 0=1 1=1 2=127.5
Convolution conv 1 1 minus conv 0=4 1=3 11=3 3=2 13=2 4=1 14=1 5=0 6=108
BatchNorm norm 1 1 conv norm 0=4
PReLU relu 1 1 norm relu 0=4
Split split 1 2 relu left right
BinaryOp plus 2 1 left right plus 0=0
InnerProduct last 1 1 plus last 0=5 1=1 2=62720
"""

TINY_WEIGHTS = (1 + 108) + 4 * 4 + 4 + (1 + 62720 + 5)


def faces(count: int = 2, size: int = 224) -> tuple[torch.Tensor, torch.Tensor]:
    """Smooth pictures and plausible landmarks in [−1, 1]."""
    rng = torch.Generator().manual_seed(0)
    pictures = torch.nn.functional.interpolate(
        torch.rand(count, 3, 14, 14, generator=rng), (size, size), mode="bicubic"
    )
    landmarks = torch.rand(count, 68, 2, generator=rng) * 0.02
    for indices, place in (
        (range(36, 42), (-0.2, -0.1)),
        (range(42, 48), (0.2, -0.1)),
        (range(27, 36), (0.0, 0.1)),
        (range(48, 54), (-0.15, 0.3)),
        (range(54, 68), (0.15, 0.3)),
    ):
        landmarks[:, list(indices)] += torch.tensor(place)
    return pictures.clamp(0, 1), landmarks


# --- alignment


def test_similarity_is_found_exactly_and_is_the_best() -> None:
    torch.manual_seed(0)
    source = torch.randn(2, 5, 2)
    angle, scale, shift = 0.4, 1.7, torch.tensor([0.3, -0.8])
    turn = scale * torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    linear, offset = similarity(source, source @ turn.T + shift)
    torch.testing.assert_close(linear, turn.expand(2, 2, 2), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(offset, shift.expand(2, 2), atol=1e-5, rtol=1e-5)
    target = torch.randn(2, 5, 2)
    linear, offset = similarity(source, target)
    best = (source @ linear.mT + offset[:, None] - target).square().sum()
    for _ in range(20):
        a, b = (torch.randn(2, 1, 1) * 0.01 for _ in range(2))
        other = linear + a * torch.eye(2) + b * torch.tensor([[0.0, -1.0], [1.0, 0.0]])
        moved = offset + 0.01 * torch.randn(2, 2)
        assert (source @ other.mT + moved[:, None] - target).square().sum() > best


def test_alignment_brings_the_five_points_home() -> None:
    """A bright spot at every point of the crop comes to the template's places."""
    _, landmarks = faces(1)
    template = torch.tensor(ARCFACE) + 0.5
    # Put the landmarks where a similarity of the template says, so that all five can be met.
    base = (template - 56) / 56
    turned = base @ torch.tensor([[0.9, 0.3], [-0.3, 0.9]]).mT * 0.5 + 0.1
    for indices, place in zip((range(36, 42), range(42, 48), (30,), (48,), (54,)), turned, strict=True):
        landmarks[:, list(indices)] = place
    torch.testing.assert_close(five_points(landmarks)[0], turned)
    y, x = torch.meshgrid(*(((torch.arange(224) + 0.5) / 112 - 1),) * 2, indexing="ij")
    spots = sum(torch.exp(-((x - px) ** 2 + (y - py) ** 2) / 0.03**2) for px, py in turned)
    picture = aligned(torch.as_tensor(spots).expand(1, 3, 224, 224), landmarks, template, 112)
    for px, py in template:
        near = picture[0, 0, round(float(py)) - 4 : round(float(py)) + 4, round(float(px)) - 4 : round(float(px)) + 4]
        assert near.max() > 0.8
        where = (near == near.max()).nonzero()[0] + 0.5 - 4
        assert where.abs().max() <= 1.5


def test_alignment_has_gradients() -> None:
    pictures, landmarks = faces(1, 64)
    pictures = pictures.double().requires_grad_()
    template = torch.tensor(ARCFACE, dtype=torch.float64) / 14
    assert torch.autograd.gradcheck(
        lambda p: aligned(p, landmarks.double(), template, 8).square().sum(), pictures, fast_mode=True
    )


# --- MobileFaceNet


def write_ncnn(folder: Path, description: str, count: int) -> Path:
    rng = np.random.default_rng(0)
    (folder / "net.param").write_text(description)
    rng.random(count, np.float32).tofile(folder / "net.bin")
    return folder / "net.bin"


def test_an_ncnn_network_is_what_its_description_says(tmp_path: Path) -> None:
    network, note = identity_network(str(write_ncnn(tmp_path, TINY_NCNN, TINY_WEIGHTS)))
    assert isinstance(network, MobileFaceNet) and "MobileFaceNet" in note
    values = torch.from_numpy(np.fromfile(tmp_path / "net.bin", np.float32))[1:]
    kernel, norm, slope = values[:108].reshape(4, 3, 3, 3), values[108:124].reshape(4, 4, 1, 1), values[124:128]
    pictures = torch.rand(2, 3, 112, 112) * 255
    x = torch.nn.functional.conv2d(pictures - 127.5, kernel, None, 2, 1)
    x = (x - norm[1]) / norm[2].sqrt() * norm[0] + norm[3]
    x = torch.where(x > 0, x, slope[:, None, None] * x)
    x = (2 * x).flatten(1) @ values[129:-5].reshape(5, -1).T + values[-5:]
    torch.testing.assert_close(network.embed(pictures), x, rtol=1e-4, atol=1e-3 * float(x.abs().max()))
    assert network(*faces(2)).shape == (2, 5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("7767517", "7"), "not an ncnn .param"),
        (lambda text: text.replace("PReLU relu", "Softmax relu"), "62851 are used"),
        (lambda text: text.replace("2=62720", "2=62725"), "weights end within"),
    ],
)
def test_damaged_ncnn_files_are_refused(tmp_path: Path, change, message: str) -> None:
    path = write_ncnn(tmp_path, change(TINY_NCNN), TINY_WEIGHTS)
    with pytest.raises(ValueError, match=rf"networks\.identity .*net\.bin: not MobileFaceNet.*({message})"):
        identity_network(str(path))
    (tmp_path / "net.param").unlink()
    with pytest.raises(ValueError, match=r"net\.param is missing"):
        identity_network(str(path))


@pytest.mark.skipif(not (NETS / "mobilefacenet.bin").is_file(), reason=f"no MobileFaceNet in {NETS}")
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_mobilefacenet_gives_the_embeddings_of_another_loader() -> None:
    spec = importlib.util.spec_from_file_location("shared_mobilefacenet", NETS / "mobilefacenet.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    theirs = module.MobileFaceNet(str(NETS / "mobilefacenet"))
    ours, _ = identity_network(str(NETS / "mobilefacenet.param"))
    assert isinstance(ours, MobileFaceNet)
    pictures, landmarks = faces(3)
    with torch.no_grad():
        crops = aligned(pictures, landmarks, ours.template, 112) * 255
        torch.testing.assert_close(ours(pictures, landmarks), theirs(crops), rtol=1e-4, atol=1e-4)
        assert torch.equal(ours.template, torch.from_numpy(module.ARCFACE) + 0.5)
    assert ours(pictures, landmarks).shape == (3, 128)
    pictures.requires_grad_()
    ours(pictures, landmarks).square().sum().backward()
    assert pictures.grad is not None and pictures.grad.abs().max() > 0


# --- VGGFace2


@pytest.fixture(scope="module")
def vggface2() -> VGGFace2:
    torch.manual_seed(0)
    return VGGFace2().eval()


def test_vggface2_is_laid_out_as_in_caffe(vggface2: VGGFace2) -> None:
    first = vggface2.layers.layer2[0]
    assert first.conv1.stride == (2, 2) and first.conv2.stride == (1, 1)
    assert vggface2.layers.layer1[0].conv1.stride == (1, 1)
    x = torch.zeros(1, 3, 224, 224)
    stem = vggface2.layers.conv1(x)
    assert stem.shape[-1] == 112 and vggface2.layers.maxpool(stem).shape[-1] == 56  # 55 without the ceiling
    assert not any(parameter.requires_grad for parameter in vggface2.parameters())
    with torch.no_grad():
        assert vggface2(*faces(1)).shape == (1, 2048)
        white = vggface2(torch.ones(1, 3, 64, 64), torch.zeros(1, 68, 2))
        mean = (torch.tensor([131.0912, 103.8827, 91.4953]) / 255)[:, None, None].expand(1, 3, 64, 64)
        black = vggface2.layers(torch.zeros(1, 3, 224, 224))
        torch.testing.assert_close(vggface2(mean, torch.zeros(1, 68, 2)), black, atol=1e-3 * float(white.max()), rtol=0)
    assert not torch.allclose(white, black)


def test_vggface2_reads_both_kinds_of_file(vggface2: VGGFace2, tmp_path: Path) -> None:
    state = vggface2.layers.state_dict()
    arrays = {key: value.numpy() for key, value in state.items() if "num_batches" not in key}
    arrays |= {"fc.weight": np.zeros((4, 2048), np.float32), "fc.bias": np.zeros(4, np.float32)}
    (tmp_path / "weights.pkl").write_bytes(pickle.dumps(arrays, protocol=2))
    torch.save({"state_dict": {f"module.{key}": value for key, value in state.items()}}, tmp_path / "weights.pt")
    pictures, landmarks = faces(1, 64)
    for name in ("weights.pkl", "weights.pt"):
        network, note = identity_network(str(tmp_path / name))
        assert network is not None and "VGGFace2" in note and not network.training
        with torch.no_grad():
            torch.testing.assert_close(network(pictures, landmarks), vggface2(pictures, landmarks))


def test_wrong_files_are_refused_in_one_line(tmp_path: Path) -> None:
    class Bad:
        def __reduce__(self):
            return (eval, ("1",))  # Ray puts a function of its own in the place of print

    (tmp_path / "evil.pkl").write_bytes(pickle.dumps({"conv1.weight": Bad()}))
    (tmp_path / "text.pt").write_text("not weights")
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "few.pt")
    for name, message in (
        ("evil.pkl", "builtins.eval, which is not data"),
        ("text.pt", "not weights that can be read safely"),
        ("few.pt", r"265 of 265 weights.*the first is conv1\.weight"),
        ("none.pt", "no such file"),
    ):
        with pytest.raises(ValueError, match=message) as error:
            identity_network(str(tmp_path / name))
        assert "\n" not in str(error.value)
    for name in ("text.pt", "few.pt"):
        with pytest.raises(ValueError, match="not torchvision's VGG19 weights") as error:
            texture_network(str(tmp_path / name))
        assert "\n" not in str(error.value)


def test_vgg19_is_read_from_torchvisions_file(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = VGG19()
    state = {f"features.{key}": value for key, value in network.features.state_dict().items()}
    torch.save(
        state | {"features.21.bias": torch.zeros(512), "classifier.0.bias": torch.zeros(9)}, tmp_path / "vgg.pth"
    )
    loaded, note = texture_network(str(tmp_path / "vgg.pth"))
    assert isinstance(loaded, VGG19) and "VGG19" in note
    picture = torch.rand(1, 3, 32, 32)
    torch.testing.assert_close(loaded(picture).coarse, network(picture).coarse)


def test_nothing_named_is_stood_in_for_or_left_out() -> None:
    assert identity_network(None) == (None, "") and texture_network(None) == (None, "")
    network, note = identity_network("")
    assert network is None and "off" in note
    bank, note = texture_network("")
    assert isinstance(bank, FilterBank) and "stands in" in note


# --- the bank of filters


def test_filters_are_blind_to_brightness_and_know_their_direction() -> None:
    filters = gabor_filters()
    assert filters.sum((-1, -2)).abs().max() < 1e-5
    place = torch.arange(32.0)
    for k, angle in enumerate((0.0, math.pi / 4, math.pi / 2)):
        phase = 2 * math.pi / 4 * (place * math.cos(angle) + place[:, None] * math.sin(angle))
        response = torch.nn.functional.conv2d(phase.sin()[None, None], filters)[0].abs().amax((-1, -2))
        strongest = response.reshape(8, 2).amax(1).argmax()
        assert strongest == 2 * k


def test_the_bank_sees_texture_where_vgg_does() -> None:
    bank, vgg = FilterBank(), VGG19()
    torch.manual_seed(0)
    pictures = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        ours, theirs = bank(pictures), vgg(pictures)
        flat = bank(torch.full((1, 3, 64, 64), 0.4))
    assert ours.fine.shape[-2:] == theirs.fine.shape[-2:] and ours.coarse.shape[-2:] == theirs.coarse.shape[-2:]
    assert flat.fine.abs().max() < 1e-5 and flat.coarse.abs().max() < 1e-5
    assert not list(bank.parameters()) and not bank.state_dict()


def test_texture_loss_with_the_bank_wants_wrinkles() -> None:
    """Wrinkles elsewhere cost nothing, fainter ones something, smooth skin most."""
    bank = FilterBank()
    y = torch.arange(128.0)[:, None]
    lines = 0.15 * torch.sin(y / 3) * (torch.arange(128.0) < 80)
    skin = torch.tensor([0.6, 0.45, 0.4])[:, None, None]
    wanted = bank((skin + lines)[None])
    torch.manual_seed(0)
    grain = 0.01 * torch.randn(3, 128, 128)  # skin is never quite smooth
    costs = [float(mrf_loss(bank((skin + grain + share * lines)[None]), wanted)) for share in (1.0, 0.6, 0.2, 0.0)]
    assert costs == sorted(costs) and costs[0] < 0.5 * costs[-1]
    assert mrf_loss(bank((skin + lines.roll(56, 0))[None]), wanted) < 0.5 * costs[-1]


def test_gradient_of_the_texture_loss_by_central_differences() -> None:
    bank = FilterBank().double()
    torch.manual_seed(0)
    target = bank(torch.rand(1, 3, 16, 16, dtype=torch.float64))
    picture = torch.rand(1, 3, 16, 16, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda p: mrf_loss(bank(p), target), picture, fast_mode=True, eps=1e-7)


def test_one_person_is_nearer_to_oneself_than_to_a_stranger() -> None:
    """By the shared network, where it is: the same face a little darker against another one."""
    if not (NETS / "mobilefacenet.bin").is_file():
        pytest.skip(f"no MobileFaceNet in {NETS}")
    network, _ = identity_network(str(NETS / "mobilefacenet.bin"))
    assert network is not None
    pictures, landmarks = faces(2)
    with torch.no_grad():
        embeddings = network(torch.cat([pictures, pictures[:1] * 0.9]), torch.cat([landmarks, landmarks[:1]]))
    same = cosine_similarity(embeddings[0], embeddings[2], dim=0)
    other = cosine_similarity(embeddings[0], embeddings[1], dim=0)
    assert same > 0.95 and same > other + 0.1
