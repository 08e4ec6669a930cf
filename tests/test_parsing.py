"""Face parsing: the network and its interface, its weights, and what it is trained on."""

import dataclasses
import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from model.io.assets import load_head
from model.io.configs import load_config
from model.io.parsing import SHIPPED, load_network, load_parser, save_parsing
from model.parsing import FACE, Parser, ParsingNetwork, Part, face_share
from training.parsing.__main__ import main
from training.parsing.augment import augment
from training.parsing.batches import Batches
from training.parsing.config import AugmentConfig, ParsingConfig, Phase
from training.parsing.evaluate import confusion, iou, merged
from training.parsing.loss import parsing_loss, part_weights
from training.parsing.portraits import UNKNOWN, Portraits, held_out, smaller
from training.parsing.renders import render_portraits
from training.parsing.train import train

PHOTOS = Path(__file__).parents[2] / "shared/data/train/celebamask1000"
WEIGHTS = Path(__file__).parents[1] / "model/assets/parsing.safetensors"
STILL = AugmentConfig(
    rotate=0.0, stretch=0.0, face=(1.0, 1.0), shift=0.0, background=0.0, occlude=0.0, glasses=0.0, colour=0.0,
    grey=0.0, shrink=0.0, blur=0.0, noise=0.0, jpeg=0.0,
)  # fmt: skip


@pytest.fixture(scope="module")
def network() -> ParsingNetwork:
    """Untrained, its normalisations with statistics that are not those of a fresh network."""
    torch.manual_seed(0)
    network = ParsingNetwork()
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.running_mean = 0.2 * torch.randn(layer.num_features)
            layer.running_var = 0.5 + torch.rand(layer.num_features)
            torch.nn.init.uniform_(layer.weight, 0.5, 1.5)
    torch.nn.init.normal_(network.classify.weight, std=0.3)
    return network.eval()


@pytest.fixture(scope="module")
def shipped() -> Parser:
    return load_parser()


@pytest.fixture(scope="module")
def rendered() -> Portraits:
    """Heads that the training never saw: another seed."""
    return render_portraits(load_head(), 6, seed=1000)


def test_parts_are_numbered_as_the_network_s_channels():
    assert [int(part) for part in Part] == list(range(13))
    assert set(FACE) < set(Part) and Part.HAIR not in FACE and Part.GLASSES not in FACE


@pytest.mark.parametrize("size", [(64, 64), (100, 100), (256, 256), (512, 512), (200, 320), (1, 1)])
def test_probabilities_have_the_picture_s_size_and_sum_to_one(network: ParsingNetwork, size: tuple[int, int]):
    out = Parser(network)(torch.rand(2, 3, *size))
    assert out.shape == (2, 13, *size) and out.dtype == torch.float32
    assert (out >= 0).all() and torch.allclose(out.sum(1), torch.ones(2, *size), atol=1e-4)
    torch.testing.assert_close(face_share(out), sum(out[:, part] for part in FACE))


def test_a_long_strip_is_refused(network: ParsingNetwork):
    with pytest.raises(ValueError, match="square crops"):
        Parser(network)(torch.zeros(1, 3, 10, 100))


def test_a_picture_is_parsed_alike_alone_and_in_a_batch(network: ParsingNetwork):
    parser, images = Parser(network), torch.rand(3, 3, 96, 96)
    alone = torch.cat([parser(image[None]) for image in images])
    torch.testing.assert_close(parser(images), alone, atol=1e-4, rtol=0)


def test_folded_normalisation_changes_nothing(network: ParsingNetwork):
    images = torch.rand(2, 3, 64, 96)
    with torch.no_grad():
        torch.testing.assert_close(network.fused()(images), network(images), atol=1e-3, rtol=1e-3)
    assert not any(isinstance(layer, torch.nn.BatchNorm2d) for layer in network.fused().modules())
    assert any(isinstance(layer, torch.nn.BatchNorm2d) for layer in network.modules())


def test_logits_have_half_the_picture_s_size(network: ParsingNetwork):
    assert network(torch.rand(1, 3, 64, 96)).shape == (1, 13, 32, 48)


def test_weights_survive_the_file_but_for_rounding(network: ParsingNetwork, tmp_path: Path):
    save_parsing(network, tmp_path / "w.safetensors", {"data": "none"})
    images = torch.rand(1, 3, 128, 128)
    again = load_parser(tmp_path / "w.safetensors")(images)
    assert (again - Parser(network)(images)).abs().mean() < 0.001
    assert [path.name for path in tmp_path.iterdir()] == ["w.safetensors"]
    with pytest.raises(ValueError, match="no such file"):
        load_parser(tmp_path / "other.safetensors")
    (tmp_path / "no.safetensors").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="not a safetensors file"):
        load_parser(tmp_path / "no.safetensors")


def test_shipped_weights_are_small_and_say_what_they_are_from():
    from safetensors import safe_open

    assert WEIGHTS.stat().st_size <= 3_000_000
    with safe_open(WEIGHTS, framework="pt") as file:
        assert "CelebAMask" in file.metadata()["data"] and "non-commercial" in file.metadata()["data"]
    assert all(torch.isfinite(value).all() for value in load_network(SHIPPED).state_dict().values())


def test_shipped_weights_parse_rendered_heads(shipped: Parser, rendered: Portraits):
    counts = confusion(shipped, rendered)
    scores = iou(counts)
    assert iou(merged(counts))[1] > 0.88
    for part, least in ((Part.SKIN, 0.8), (Part.NOSE, 0.6), (Part.LIPS, 0.5), (Part.HAIR, 0.6), (Part.NECK, 0.6)):
        assert scores[part] > least, (part, scores)


def test_shipped_weights_parse_the_astronaut(shipped: Parser):
    data = pytest.importorskip("skimage.data")
    crop = data.astronaut()[20:230, 120:330]  # 2.2 times her face
    image = torch.from_numpy(crop.copy()).movedim(-1, 0)[None].float() / 255
    parts = shipped(image)[0].argmax(0)
    at = lambda x, y: Part(int(parts[y - 20, x - 120]))  # noqa: E731  pixels of the photograph
    assert at(192, 124) == Part.SKIN and at(226, 169) == Part.SKIN  # cheek, chin
    assert at(226, 116) == Part.NOSE and at(202, 102) == Part.EYES and at(224, 146) == Part.MOUTH  # she smiles
    assert at(224, 44) == Part.HAIR and at(168, 80) == Part.HAIR and at(220, 181) == Part.NECK
    assert at(262, 190) == Part.CLOTHES and at(313, 44) == Part.BACKGROUND
    assert 0.1 < face_share(shipped(image)).mean() < 0.35
    # Far away and mirrored her face and her hair are the same.
    small = torch.nn.functional.interpolate(image, (70, 70), mode="area")
    far = torch.nn.functional.interpolate(shipped(small), parts.shape, mode="bilinear")[0].argmax(0)
    mirrored = shipped(image.flip(-1)).flip(-1)[0].argmax(0)
    for other in (far, mirrored):
        for group in (FACE, (Part.HAIR,)):
            here, there = (torch.isin(labels, torch.tensor(group)) for labels in (parts, other))
            assert (here & there).sum() / (here | there).sum() > 0.8


def test_half_precision_hardly_changes_the_answer(shipped: Parser, rendered: Portraits):
    images = torch.from_numpy(rendered.images[:2]).movedim(-1, 1).float() / 255
    exact, rough = shipped(images), load_parser(half=True)(images)
    assert (exact - rough).abs().mean() < 0.005
    assert (exact.argmax(1) == rough.argmax(1)).float().mean() > 0.99


def test_a_tenth_is_held_out_by_content():
    contents = [f"photograph {k}".encode() for k in range(4000)]
    share = np.mean([held_out(content) for content in contents])
    assert 0.08 < share < 0.12
    for content in contents[:50]:
        assert held_out(content) == (int(hashlib.sha256(content).hexdigest()[:2], 16) < 0x19)


@pytest.mark.skipif(not PHOTOS.is_dir(), reason="needs ../shared/data/train/celebamask1000")
def test_a_hundred_of_our_photographs_are_held_out():
    contents = [path.read_bytes() for path in sorted(PHOTOS.glob("*.jpg"))]
    assert sum(map(held_out, contents)) == 100
    assert len(set(map(hashlib.sha256, contents))) == len(contents)


def _portraits(count: int) -> Portraits:
    """Faces as children draw them: the colour says which part a pixel is."""
    y, x = np.mgrid[:320, :320]
    parts = np.zeros((count, 320, 320), np.uint8)
    for k in range(count):
        parts[k][np.hypot(x - 160, y - 170) < 120 - 5 * k] = Part.HAIR
        parts[k][np.hypot((x - 160) * 1.3, y - 190) < 90 - 3 * k] = Part.SKIN
        parts[k][np.hypot(x - 170, y - 190) < 15] = Part.NOSE
    colours = np.random.default_rng(0).integers(40, 255, (13, 3)).astype(np.uint8)
    eyes = np.tile(np.array([[125.0, 165.0], [195.0, 165.0]]), (count, 1, 1))
    return Portraits(colours[parts], parts, eyes, tuple(f"p{k}" for k in range(count)))


def _augmented(portraits: Portraits, config: AugmentConfig, side: int = 160, seed: int = 0):
    return augment(
        torch.from_numpy(portraits.images).movedim(-1, 1),
        torch.from_numpy(smaller(portraits.images, 2)).movedim(-1, 1),
        torch.from_numpy(portraits.parts),
        torch.from_numpy(portraits.eyes).float(),
        torch.zeros(len(portraits), dtype=torch.bool),
        side,
        config,
        torch.Generator().manual_seed(seed),
    )


def test_nothing_changes_where_nothing_is_to_change():
    portraits = _portraits(4)
    images, parts = _augmented(portraits, STILL, side=320)
    for image, part, original, truth in zip(images, parts, portraits.images, portraits.parts, strict=True):
        flips = [np.array_equal(part, truth), np.array_equal(part, truth[:, ::-1])]
        assert any(flips)
        wanted = original if flips[0] else original[:, ::-1]
        assert np.abs(255 * image.movedim(0, -1).numpy() - wanted).max() < 0.1


def test_parts_move_with_the_picture():
    portraits = _portraits(8)
    moving = dataclasses.replace(STILL, rotate=45.0, stretch=0.15, face=(0.6, 1.9), shift=0.18)
    images, parts = _augmented(portraits, moving)
    checked = 0
    for part in (Part.SKIN, Part.NOSE, Part.HAIR):
        colour = torch.from_numpy(portraits.images[0][portraits.parts[0] == part][0] / np.float32(255))
        mask = (parts == part).float()[:, None]
        inner = torch.nn.functional.avg_pool2d(mask, 5, 1, 2, count_include_pad=False)[:, 0] > 0.999
        wrong = (images.movedim(1, -1)[inner] - colour).abs().amax(-1) > 0.02
        assert wrong.float().mean() < 0.01, part
        checked += int(inner.sum())
    assert checked > 0.2 * parts.numel()


def test_full_augmentation_stays_a_picture_and_repeats_itself():
    portraits = _portraits(8)
    images, parts = _augmented(portraits, AugmentConfig(), seed=3)
    again = _augmented(portraits, AugmentConfig(), seed=3)
    assert torch.equal(images, again[0]) and torch.equal(parts, again[1])
    assert not torch.equal(images, _augmented(portraits, AugmentConfig(), seed=4)[0])
    assert images.shape == (8, 3, 160, 160) and images.min() >= 0 and images.max() <= 1
    assert set(parts.unique().tolist()) <= {*range(13), UNKNOWN}


def test_drawn_glasses_cover_the_eyes():
    portraits = _portraits(4)
    images, parts = _augmented(portraits, dataclasses.replace(STILL, glasses=1.0), side=320)
    for part in parts:
        assert all(part[int(y), int(x)] == Part.GLASSES for x, y in portraits.eyes[0])
        assert 0.01 < (part == Part.GLASSES).float().mean() < 0.2
    assert not np.allclose(images.movedim(1, -1), portraits.images / 255)


def test_rendered_heads_show_every_part_of_a_head(rendered: Portraits):
    seen = set(np.unique(rendered.parts).tolist())
    assert seen == {0, *(int(p) for p in (*FACE, Part.HAIR, Part.NECK, Part.EARS))}
    black = rendered.images.max(-1) == 0
    assert black[rendered.parts == 0].mean() > 0.97  # its edge is smooth
    for image, parts, eyes in zip(rendered.images, rendered.parts, rendered.eyes, strict=True):
        assert image.shape == (320, 320, 3) and (eyes > 0).all() and (eyes < 320).all()
        assert (parts == Part.SKIN).mean() > 0.05
    again = render_portraits(load_head(), 1, seed=1000)
    assert np.array_equal(again.images[0], rendered.images[0])


def test_the_loss_is_least_for_the_truth_and_ignores_what_nobody_knows():
    torch.manual_seed(0)
    parts = torch.randint(0, 13, (2, 8, 8)).repeat_interleave(2, 1).repeat_interleave(2, 2)
    weights = part_weights(parts.numpy().astype(np.uint8), 0.4)
    truth = torch.nn.functional.one_hot(parts[:, ::2, ::2], 13).movedim(-1, 1).float()
    assert parsing_loss(20 * truth, parts, weights, 0.5) < 1e-4
    parts[:, :8] = UNKNOWN
    logits = torch.randn(2, 13, 8, 8, requires_grad=True)
    parsing_loss(logits, parts, weights, 0.5).backward()
    assert logits.grad is not None
    assert (logits.grad[:, :, :4] == 0).all() and (logits.grad[:, :, 4:] != 0).any(1).all()


def test_part_weights_raise_what_is_rare():
    parts = np.zeros((1, 10, 10), np.uint8)
    parts[0, 0, :2] = Part.EYES
    weights = part_weights(parts, 0.5)
    assert weights[Part.EYES] / weights[0] == pytest.approx((98 / 2) ** 0.5, rel=1e-4)
    assert 0.98 * weights[0] + 0.02 * weights[Part.EYES] == pytest.approx(1.0, rel=1e-4)
    assert torch.allclose(part_weights(parts, 0.0), torch.ones(13))


def test_iou_counts_pixels():
    rng = np.random.default_rng(0)
    truth, answer = rng.integers(0, 13, (2, 500))
    counts = torch.zeros(13, 13, dtype=torch.long)
    for t, a in zip(truth, answer, strict=True):
        counts[t, a] += 1
    for part in Part:
        both, either = ((truth == part) & (answer == part)).sum(), ((truth == part) | (answer == part)).sum()
        assert iou(counts)[part].item() == pytest.approx(both / either)
    face = [np.isin(values, FACE) for values in (truth, answer)]
    assert iou(merged(counts))[1].item() == pytest.approx((face[0] & face[1]).sum() / (face[0] | face[1]).sum())


def _tiny() -> ParsingConfig:
    phases = {name: Phase(steps=2, side=side) for name, side in (("small", 32), ("middle", 64), ("large", 32))}
    return ParsingConfig(batch=3, warmup=2, renders=0, **phases)


def test_the_schedule():
    config = _tiny()
    assert [config.side(step) for step in range(config.steps)] == [32, 32, 64, 64, 32, 32]
    long = ParsingConfig()
    rates = [long.rate_at(step) for step in range(long.steps)]
    assert max(rates) == long.rate == rates[long.small.steps - 1] and rates[-1] < 0.011 * max(rates)
    assert all(a >= b for a, b in zip(rates[long.warmup :], rates[long.warmup + 1 :], strict=False))
    # The phase of small crops may be made shorter or longer while it runs, nothing else may change.
    shorter = dataclasses.replace(long, small=Phase(steps=700, side=long.small.side))
    assert shorter.same_until(long, 700) and not shorter.same_until(long, 710)
    assert not dataclasses.replace(long, seed=1).same_until(long, 0)
    with pytest.raises(ValueError, match="multiple of 32"):
        Phase(steps=1, side=100)


def test_the_committed_settings_are_the_defaults():
    path = Path(__file__).parents[1] / "configs/train_parsing.yaml"
    assert load_config(ParsingConfig(renders=1, seed=5), path) == ParsingConfig()


def test_an_interrupted_run_goes_on_bit_for_bit(tmp_path: Path):
    config, portraits = _tiny(), _portraits(5)
    batches = Batches(portraits, _portraits(0), config)
    weights = part_weights(portraits.parts, config.balance)

    def stop(stage: str, done: int, total: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    def start(folder: Path, resume: bool, progress) -> Path:
        folder.mkdir(exist_ok=True)
        return train(batches, weights, portraits, config, folder, resume, {"data": ""}, progress, save_every=3)

    whole = start(tmp_path / "whole", False, lambda *_: None)
    with pytest.raises(KeyboardInterrupt):
        start(tmp_path / "parts", False, stop)
    assert not (tmp_path / "parts/parsing.safetensors").exists()
    resumed = start(tmp_path / "parts", True, lambda *_: None)
    weights_of = [load_network(path).state_dict() for path in (whole, resumed)]
    assert all(torch.equal(value, weights_of[1][name]) for name, value in weights_of[0].items())
    assert len((tmp_path / "whole/log.csv").read_text().splitlines()) == 2
    other = dataclasses.replace(config, seed=1)
    with pytest.raises(ValueError, match="other settings"):
        train(batches, weights, portraits, other, tmp_path / "parts", True, {}, lambda *_: None)


def test_mistakes_are_told_in_one_line(tmp_path: Path):
    for arguments, words in (
        (["--photos", str(tmp_path / "no"), "--out", str(tmp_path)], "no such folder"),
        (["--photos", str(tmp_path), "--evaluate", "--weights", "nowhere"], "no such file"),
        (["--photos", str(tmp_path)], "give --out DIR"),
        (["--photos", str(tmp_path), "--out", str(tmp_path / "o")], "NAME_mask.png"),
    ):
        with pytest.raises(ValueError, match=words):
            main(arguments)
    assert os.listdir(tmp_path) in ([], ["o"])
