"""The three stages on rendered faces of the small head: what is learned, what is frozen, what every weight switches."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from rendered import SIZE, rendered_batch, rendered_codes, small_config, without_labels
from torch import nn

from model.asset import HeadAsset
from model.deca import DECA
from model.params import CropCamera
from model.views import detail_normal_view, textured_view
from training.config import LossWeights, StageConfig, StageName, TrainConfig
from training.data.sample import Batch
from training.networks.identity import IdentityNetwork
from training.stages import build_stage
from training.stages.base import Stage
from training.stages.coarse import render, with_swapped_shapes
from training.stages.consistency import agreement_loss, several, within_subjects
from training.stages.detail import face_patch, local_gain
from training.stages.pretrain import see
from training.stages.start import new_deca

NAMES: tuple[StageName, ...] = ("pretrain", "coarse", "detail")
OFF = LossWeights(**dict.fromkeys(vars(LossWeights()), 0.0))


@pytest.fixture(scope="module")
def deca(tiny_head: HeadAsset) -> DECA:
    return new_deca(tiny_head, small_config())


@pytest.fixture(scope="module")
def batch(deca: DECA) -> Batch:
    return rendered_batch(deca)


def chance(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def with_weights(name: StageName, weights: LossWeights, **more: bool) -> TrainConfig:
    config = small_config()
    return replace(config, **{name: replace(getattr(config, name), loss=weights, **more)})


def total(stage: Stage, batch: Batch, seed: int = 0) -> torch.Tensor:
    return torch.stack(list(stage(batch, chance(seed)).values())).sum()


# --- where training begins


def test_the_first_prediction_is_the_mean_face_in_a_usual_crop(deca: DECA, batch: Batch) -> None:
    with torch.no_grad():
        codes = copy.deepcopy(deca).eval().encode_coarse(batch.images)
        surface = see(deca, codes, SIZE)
        picture = render(deca, surface, codes)
    assert codes.face.shape.abs().max() < 0.3 and codes.face.pose.abs().max() < 0.1
    assert codes.face.expression.max() < 0.1
    projected = deca.points.ibug68(codes.face)[..., :2] + codes.camera.t[:, None]
    extent = codes.camera.s[:, None] * (projected.amax(1) - projected.amin(1)) / 2  # of the crop's side
    assert (extent.mean(1) - 1 / 1.6).abs().max() < 0.05
    albedo = deca.albedo(codes.albedo)
    covered = picture.face[:, 0] > 0.5
    assert (picture.image.movedim(1, -1)[covered].mean() / albedo.mean() - 1).abs() < 0.3


@pytest.mark.parametrize("normalised", [True, False])
def test_new_networks_depend_on_the_seed_alone(tiny_head: HeadAsset, normalised: bool) -> None:
    config = small_config()
    config = replace(config, model=replace(config.model, normalised=normalised))
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first, again, other = (new_deca(tiny_head, replace(config, seed=seed)) for seed in (1, 1, 2))
    assert torch.equal(before, torch.random.get_rng_state())
    weights = [network.coarse_encoder.layers[0].weight for network in (first, again, other)]  # pyright: ignore
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])
    with torch.no_grad():
        assert first.eval().encode_coarse(torch.rand(1, 3, SIZE, SIZE)).camera.s > 5


def test_a_fresh_decoder_listens_to_the_detail_code(deca: DECA) -> None:
    """Relief of a tenth of a millimetre that differs between codes, and a gradient that reaches them."""
    decoder = copy.deepcopy(deca).detail_decoder.train()
    detail = (0.15 * torch.randn(4, 16, generator=chance())).requires_grad_()
    maps = decoder(torch.zeros(4, 3), torch.zeros(4, 8), detail)
    assert 2e-5 < maps.std((1, 2)).mean() < 5e-4 and maps.std(0).mean() > 0.2 * maps.std((1, 2)).mean()
    pattern = torch.randn(maps.shape, generator=chance())
    (gradient,) = torch.autograd.grad((maps * pattern).sum(), detail)
    assert gradient.norm() > 0.05  # 0.005 with PyTorch's usual weights


def test_too_small_a_resolution_is_refused(tiny_head: HeadAsset) -> None:
    config = small_config()
    with pytest.raises(ValueError, match=r"model\.resolution is 16"):
        new_deca(tiny_head, replace(config, model=replace(config.model, resolution=16)))


# --- every term by its weight

EXPECTED = {
    "pretrain": {"landmark", "eye", "lip", "shape", "expression", "albedo", "light", "excess"},
    "coarse": {"landmark", "eye", "lip", "shape", "expression", "albedo", "light", "excess", "photometric"},
    "detail": {"detail_photometric", "mrf", "symmetry", "displacement", "shading"},
}


@pytest.mark.parametrize("name", NAMES)
def test_terms_follow_their_weights(deca: DECA, batch: Batch, name: StageName) -> None:
    stage = build_stage(name, deca, small_config()).eval()
    with torch.no_grad():
        terms = stage(batch, chance())
    assert set(terms) == EXPECTED[name]
    assert all(value.shape == () and value.isfinite() and value >= 0 for value in terms.values())
    for term in EXPECTED[name]:
        alone = build_stage(name, deca, with_weights(name, replace(OFF, **{term: 3.0}))).eval()
        with torch.no_grad():
            found = alone(batch, chance())
        assert set(found) == {term}
        default = getattr(LossWeights(), term)
        torch.testing.assert_close(found[term] / 3, terms[term] / default, rtol=1e-4, atol=1e-7)


def test_known_codes_count_where_they_are_known(deca: DECA, batch: Batch) -> None:
    stage = build_stage("coarse", deca, with_weights("coarse", replace(OFF, labels=1.0))).eval()
    with torch.no_grad():
        terms, none = stage(batch, chance()), stage(without_labels(batch), chance())
    parts = {"shape", "expression", "pose", "jaw", "camera", "light", "albedo"}
    assert set(terms) == set(none) == {f"labels_{part}" for part in parts}
    assert all(value > 0 for value in terms.values()) and not any(value != 0 for value in none.values())


def test_known_codes_cost_nothing_when_they_are_found(deca: DECA, batch: Batch) -> None:
    stage = build_stage("pretrain", deca, with_weights("pretrain", replace(OFF, labels=1.0)))
    assert stage.labels is not None  # pyright: ignore
    codes = rendered_codes(deca, 2, 2)
    with torch.no_grad():
        right = stage.labels(deca, codes, batch.labels)  # pyright: ignore
        face = replace(codes.face, pose=codes.face.pose + 0.1)
        wrong = stage.labels(deca, replace(codes, face=face), batch.labels)  # pyright: ignore
    assert all(value.abs() < 1e-6 for value in right.values())
    assert {name for name in wrong if wrong[name] > 1e-4} == {"labels_pose", "labels_camera"}


# --- who learns

LEARNING = {
    "pretrain": {"coarse_encoder"},
    "coarse": {"coarse_encoder"},
    "detail": {"detail_encoder", "detail_decoder"},
}


@pytest.mark.parametrize("name", NAMES)
def test_only_its_networks_learn_and_the_others_statistics_stay(
    tiny_head: HeadAsset, batch: Batch, name: StageName
) -> None:
    config = small_config()
    deca = new_deca(tiny_head, config)
    stage = build_stage(name, deca, config)
    stage.eval()
    stage.train()
    before = {key: value.clone() for key, value in deca.state_dict().items()}
    total(stage, batch).backward()
    trained = {id(parameter) for parameter in stage.trained()}
    for key, parameter in deca.named_parameters():
        learns = key.split(".")[0] in LEARNING[name]
        assert (id(parameter) in trained) == learns == parameter.requires_grad, key
        assert learns or parameter.grad is None, key
    for network in LEARNING[name]:
        gradients = [parameter.grad for parameter in getattr(deca, network).parameters()]
        assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)
        assert any(gradient is not None and gradient.abs().max() > 0 for gradient in gradients)
    moved = {key.split(".")[0] for key, value in deca.state_dict().items() if not torch.equal(value, before[key])}
    assert moved == LEARNING[name]  # running means of batch normalisation


def test_the_same_chance_gives_the_same_loss(deca: DECA) -> None:
    batch = rendered_batch(deca, people=2, images=4)
    codes = rendered_codes(deca, 2, 4)
    various = replace(codes, face=replace(codes.face, shape=torch.randn(8, 10)))
    stage = build_stage("coarse", deca, small_config()).eval()
    stage.encode = lambda _: various  # pyright: ignore
    with torch.no_grad():
        first, again, other = (total(stage, batch, seed) for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)


# --- swapped codes


def test_codes_are_swapped_within_subjects_and_nobody_keeps_the_own() -> None:
    identity = torch.tensor([3, 0, 3, 0, 3, 7, 0, 9, 9])
    orders = []
    for seed in range(30):
        order = within_subjects(identity, chance(seed))
        assert torch.equal(identity[order], identity)
        assert sorted(order.tolist()) == list(range(9))
        kept = order == torch.arange(9)
        assert kept.tolist() == [False] * 5 + [True] + [False] * 3
        orders.append(tuple(order.tolist()))
    assert len(set(orders)) > 3 and orders[4] == tuple(within_subjects(identity, chance(4)).tolist())
    assert several(identity) and not several(torch.arange(4))


def test_swapping_doubles_the_batch_and_changes_the_shape_only(deca: DECA) -> None:
    codes = rendered_codes(deca, 2, 2)
    codes = replace(codes, face=replace(codes.face, shape=torch.randn(4, 10)))
    order = torch.tensor([1, 0, 3, 2])
    both = with_swapped_shapes(codes, order)
    assert torch.equal(both.face.shape, torch.cat([codes.face.shape, codes.face.shape[order]]))
    assert torch.equal(both.face.pose, codes.face.pose.repeat(2, 1))
    assert torch.equal(both.camera.s[4:], codes.camera.s) and torch.equal(both.light[4:], codes.light)
    assert torch.equal(both.face.expression[4:], codes.face.expression)


def test_swaps_of_one_shape_cost_what_the_own_costs(deca: DECA, batch: Batch) -> None:
    """The mean over both halves is that over the first when everybody of a subject has the same codes."""
    weights = replace(OFF, landmark=1.0, photometric=1.0)
    codes = rendered_codes(deca, 2, 2)
    values = []
    for consistency in (True, False):
        stage = build_stage("coarse", deca, with_weights("coarse", weights, consistency=consistency)).eval()
        stage.encode = lambda _: codes  # pyright: ignore
        with torch.no_grad():
            values.append(stage(batch, chance()))
    for name in values[0]:
        torch.testing.assert_close(values[0][name], values[1][name], rtol=1e-4, atol=1e-6)


def test_strangers_are_not_swapped(deca: DECA, batch: Batch) -> None:
    strangers = replace(batch, identity=torch.arange(4))
    seen = []
    for name in ("coarse", "detail"):
        stage = build_stage(name, deca, small_config()).eval()
        with torch.no_grad():
            seen.append((total(stage, strangers, 1), total(stage, strangers, 2)))
    assert all(torch.equal(a, b) for a, b in seen)


# --- the terms mean what they say


def test_coarse_losses_vanish_for_the_true_codes(deca: DECA, batch: Batch) -> None:
    weights = replace(OFF, landmark=1.0, eye=1.0, lip=1.0, photometric=1.0)
    stage = build_stage("coarse", deca, with_weights("coarse", weights)).eval()
    stage.encode = lambda _: rendered_codes(deca, 2, 2)  # pyright: ignore
    with torch.no_grad():
        terms = stage(batch, chance())
    assert all(terms[name] < 1e-6 for name in ("landmark", "eye", "lip"))
    assert terms["photometric"] < 1e-6


def test_masked_skin_does_not_count(deca: DECA, batch: Batch) -> None:
    occluded = replace(batch, images=batch.images.clone(), masks=batch.masks.clone())
    occluded.images[..., 24:40, 16:40] = torch.tensor([0.1, 0.9, 0.2])[:, None, None]
    occluded.masks[..., 24:40, 16:40] = 0
    values = {}
    for skin in (True, False):
        weights = replace(OFF, photometric=1.0)
        stage = build_stage("coarse", deca, with_weights("coarse", weights, skin_mask=skin)).eval()
        stage.encode = lambda _: rendered_codes(deca, 2, 2)  # pyright: ignore
        with torch.no_grad():
            values[skin] = stage(occluded, chance())["photometric"]
    assert values[True] < 1e-6 and values[False] > 0.01


def test_photometric_loss_pulls_light_and_albedo_home(deca: DECA, batch: Batch) -> None:
    true = rendered_codes(deca, 2, 2)
    light, albedo = torch.zeros(4, 9, 3), torch.zeros(4, 5)
    light[:, 0] = 1.8
    leaves = [light.requires_grad_(), albedo.requires_grad_()]
    stage = build_stage("coarse", deca, with_weights("coarse", replace(OFF, photometric=1.0))).eval()
    stage.encode = lambda _: replace(true, light=light, albedo=albedo)  # pyright: ignore
    optimiser = torch.optim.Adam(leaves, lr=0.1)
    losses = []
    for _ in range(40):
        loss = total(stage, batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.2 * losses[0]


def test_photometric_gradient_reaches_geometry_and_camera(deca: DECA, batch: Batch) -> None:
    true = rendered_codes(deca, 2, 2)
    shift = torch.full((4, 2), 0.002, requires_grad=True)
    shape = torch.zeros(4, 10, requires_grad=True)
    codes = replace(true, camera=CropCamera(true.camera.s, true.camera.t + shift), face=replace(true.face, shape=shape))
    stage = build_stage("coarse", deca, with_weights("coarse", replace(OFF, photometric=1.0))).eval()
    stage.encode = lambda _: codes  # pyright: ignore
    total(stage, batch).backward()
    for leaf in (shift, shape):
        assert leaf.grad is not None and leaf.grad.isfinite().all() and leaf.grad.abs().min() > 0


def test_detail_vanishes_where_it_should(deca: DECA, batch: Batch) -> None:
    """No displacement: no regulariser, nothing asymmetric; the terms of the pictures stay."""
    flat = copy.deepcopy(deca)
    with torch.no_grad():
        flat.detail_decoder.conv_blocks[-2].weight.zero_()  # pyright: ignore
        terms = build_stage("detail", flat, small_config()).eval()(batch, chance())
    assert terms["displacement"] == 0 and terms["symmetry"] == 0
    assert terms["detail_photometric"] > 0 and terms["mrf"] > 0


def test_the_patch_of_the_face(deca: DECA, tiny_head: HeadAsset) -> None:
    top, bottom, left, right = face_patch(deca)
    assert bottom - top == right - left
    inside = deca.surface.mask[top:bottom, left:right] > 0.5
    assert inside.sum() == (deca.surface.mask > 0.5).sum()
    flame = DECA(replace(tiny_head, name="flame-2020"), deca.config, 256)
    assert face_patch(flame) == (50, 206, 50, 206)


class Brightness(IdentityNetwork):
    """Stands in for a face-recognition network: mean colours of a 4 × 4 grid."""

    def forward(self, images: torch.Tensor, landmarks: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.adaptive_avg_pool2d(images, 4).flatten(1) - 0.3


def test_identity_loss_moves_geometry_and_neither_albedo_nor_light(deca: DECA, batch: Batch) -> None:
    true = rendered_codes(deca, 2, 2)
    leaves = [true.face.shape.clone() + 0.5, true.albedo.clone() + 0.5, true.light.clone() * 0.9]
    shape, albedo, light = (leaf.requires_grad_() for leaf in leaves)
    stage = build_stage("coarse", deca, with_weights("coarse", replace(OFF, photometric=0.0))).eval()
    assert stage.identity is None  # pyright: ignore
    stage.settings = replace(stage.settings, loss=replace(OFF, identity=1.0))  # pyright: ignore
    stage.identity = Brightness()  # pyright: ignore
    stage.encode = lambda _: replace(true, albedo=albedo, light=light, face=replace(true.face, shape=shape))
    loss = stage(batch, chance())["identity"]
    loss.backward()
    assert loss > 1e-4 and shape.grad is not None and shape.grad.abs().max() > 0
    assert albedo.grad is None and light.grad is None
    stage.encode = lambda _: true  # pyright: ignore
    with torch.no_grad():
        assert stage(batch, chance())["identity"] < 0.3 * loss


def test_gaze_is_learned_and_held_where_it_is_estimated(tiny_head: HeadAsset) -> None:
    config = small_config(pretrain=StageConfig(loss=LossWeights(labels=1.0)))
    config = replace(config, model=replace(config.model, gaze=True))
    deca = new_deca(tiny_head, config)
    with torch.no_grad():
        terms = build_stage("pretrain", deca, config).eval()(rendered_batch(deca), chance())
    assert {"gaze", "labels_eyes"} <= set(terms)


def test_a_head_without_a_range_has_no_excess(tiny_head: HeadAsset) -> None:
    unbounded = replace(tiny_head, expression_range=None, name="flame-2020")
    deca = new_deca(unbounded, small_config())
    with torch.no_grad():
        terms = build_stage("coarse", deca, small_config()).eval()(rendered_batch(deca), chance())
    assert "excess" not in terms and "expression" in terms
    first = deca.coarse_sizes[0] + deca.coarse_sizes[1]
    assert (deca.code_spread[first : first + 8] == 1).all()


# --- learning


def fit(stage: Stage, batch: Batch, steps: int, rate: float) -> list[dict[str, float]]:
    optimiser = torch.optim.Adam(stage.trained(), lr=rate)
    curve = []
    for step in range(steps):
        stage.train()
        terms = stage(batch, chance(step))
        optimiser.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        nn.utils.clip_grad_norm_(stage.trained(), 10.0)
        optimiser.step()
        curve.append({name: float(value.detach()) for name, value in terms.items()})
    return curve


def test_pretraining_overfits_a_batch(tiny_head: HeadAsset) -> None:
    config = small_config(pretrain=StageConfig(loss=LossWeights(labels=0.1)))
    deca = new_deca(tiny_head, config)
    curve = fit(build_stage("pretrain", deca, config), rendered_batch(deca, 2, 2), 25, 1e-3)
    for name in ("landmark", "labels_pose", "labels_camera"):
        assert curve[-1][name] < 0.35 * curve[0][name], name


def test_the_coarse_stage_overfits_a_batch(tiny_head: HeadAsset) -> None:
    config = small_config()
    deca = new_deca(tiny_head, config)
    curve = fit(build_stage("coarse", deca, config), rendered_batch(deca, 2, 2), 25, 1e-3)
    assert curve[-1]["photometric"] < 0.6 * curve[0]["photometric"]
    assert curve[-1]["landmark"] < 0.4 * curve[0]["landmark"]


def test_the_detail_stage_overfits_a_batch(tiny_head: HeadAsset) -> None:
    """Faces with bumps whose coarse codes are known: the detail explains what the coarse head does not."""
    config = small_config(detail=StageConfig(loss=LossWeights(mrf=0.02, symmetry=1e-4)))
    config = replace(config, model=replace(config.model, curved=True))  # so that triangles do not show
    deca = new_deca(tiny_head, config)
    batch, codes = rendered_batch(deca, 2, 1), rendered_codes(deca, 2, 1)
    light = torch.cat([codes.light[:, :1], codes.light[:, 1:] * 3], dim=1)  # from one side: bumps show
    codes = replace(codes, light=light)
    bumps = torch.zeros(2, 256, 256)
    bumps[:, 90:110, 60:196] = 0.004
    bumps[:, 140:150, 100:156] = -0.004
    with torch.no_grad():
        surface = see(deca, codes, SIZE)
        normals = deca.surface(surface.mesh, bumps).normals
        seen = detail_normal_view(surface, normals, deca.layout)
        picture = textured_view(surface, seen, deca.albedo(codes.albedo), codes.light, deca.layout)
    stage = build_stage("detail", deca, config)
    deca.encode_coarse = lambda _: codes  # pyright: ignore
    curve = fit(stage, replace(batch, images=picture.clamp(0, 1)), 20, 1e-3)
    assert curve[-1]["detail_photometric"] < 0.8 * curve[0]["detail_photometric"]
    assert curve[-1]["mrf"] < 0.7 * curve[0]["mrf"]


# --- what is seen


@pytest.mark.parametrize("name", NAMES)
def test_pictures(deca: DECA, batch: Batch, name: StageName) -> None:
    stage = build_stage(name, deca, small_config()).eval()
    pictures = stage.pictures(batch)
    assert "input" in pictures and len(pictures) >= 2
    for picture in pictures.values():
        assert picture.shape == (4, 3, SIZE, SIZE) and picture.min() >= 0 and picture.max() <= 1


def test_notes_say_what_is_stood_in_for(deca: DECA) -> None:
    coarse, detail = (build_stage(name, deca, small_config()) for name in ("coarse", "detail"))
    assert len(coarse.notes) == 1 and "identity loss: off" in coarse.notes[0]
    assert len(detail.notes) == 1 and "stands in for VGG19" in detail.notes[0]
    config = small_config()
    for name in ("identity", "vgg"):
        networks = replace(config.networks, **{name: "no/such/file.pt"})
        with pytest.raises(ValueError, match=rf"networks\.{name} no/such/file\.pt: no such file"):
            build_stage("coarse" if name == "identity" else "detail", deca, replace(config, networks=networks))


def test_half_precision_runs_and_is_near(deca: DECA, batch: Batch) -> None:
    for name in NAMES:
        values = []
        for precision in ("float32", "bfloat16"):
            stage = build_stage(name, deca, replace(small_config(), precision=precision)).eval()
            with torch.no_grad():
                terms = stage(batch, chance())
            assert all(value.dtype == torch.float32 for value in terms.values())
            values.append(float(torch.stack(list(terms.values())).sum()))
        assert values[1] == pytest.approx(values[0], rel=0.05)


# --- agreement


def test_agreement_is_the_share_of_the_variance_within_people() -> None:
    torch.manual_seed(0)
    people = torch.arange(400).repeat_interleave(2)
    keys = [str(k) for k in range(800)]
    persons, noise = torch.randn(400, 6).repeat_interleave(2, 0), torch.randn(800, 6)
    assert agreement_loss(persons, people, keys).item() == 0
    assert agreement_loss(noise, people, keys).item() == pytest.approx(1.0, abs=0.1)
    mixed = agreement_loss(persons + 0.5 * noise, people, keys)
    assert mixed.item() == pytest.approx(0.25 / 1.25, abs=0.03)
    torch.testing.assert_close(agreement_loss(7 * (persons + 0.5 * noise) + 3, people, keys), mixed)


def test_agreement_leaves_out_single_photographs_and_copies() -> None:
    torch.manual_seed(0)
    codes = torch.randn(6, 3, requires_grad=True)
    people = torch.tensor([0, 0, 1, 2, 2, 3])
    loss = agreement_loss(codes, people, ["a", "b", "c", "d", "e", "f"])
    loss.backward()
    assert codes.grad is not None and (codes.grad[[2, 5]] == 0).all() and (codes.grad[[0, 1, 3, 4]] != 0).all()
    copies = agreement_loss(codes, people, ["a", "a", "c", "d", "e", "f"])
    assert copies.item() == 0 and copies.requires_grad


# --- local light


def test_local_gain_leaves_only_what_is_fine() -> None:
    torch.manual_seed(0)
    picture = 0.3 + 0.2 * torch.rand(1, 3, 1, 1) * torch.linspace(1, 2, 48)[None, None, None].expand(1, 3, 48, 48)
    lit, seen = torch.full((1, 3, 48, 48), 0.8), torch.ones(1, 1, 48, 48)
    inside = (slice(None), slice(None), slice(4, -4), slice(4, -4))
    gain = local_gain(lit, picture, seen)
    torch.testing.assert_close((lit * gain)[inside], picture[inside], atol=2e-3, rtol=0)
    lines = picture.clone()
    lines[..., 24, :] *= 0.7  # a wrinkle stays a difference
    left = (lit * local_gain(lit, lines, seen) - lines).abs()
    assert left[..., 24, 4:-4].mean() > 5 * left[..., 10, 4:-4].mean()
    assert (local_gain(lit, picture, torch.zeros_like(seen)) == 1).all()
