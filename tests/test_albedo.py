"""The albedo from photographs: transfer, light, tone and components found again where they are known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from model.io.assets import load_head
from model.mesh import Mesh, vertex_normals
from model.openhead.albedo import ALBEDO_NAMES
from model.openhead.learned import (
    FILES,
    LEARNED,
    LEARNED_NAMES,
    LearnedAlbedo,
    halved,
    mirrored,
    put_into,
    read_learned,
    save_learned,
)
from model.shading import sh_basis
from model.uv import UVLayout
from training.albedo.__main__ import check_built
from training.albedo.gather import Faces, face_zone, join
from training.albedo.judge import held_out, unexplained
from training.albedo.learn import learn
from training.albedo.light import find_light, settle
from training.albedo.pca import robust_components, robust_regression
from training.albedo.tone import evenly_toned, find_tones, skin_curve
from training.albedo.transfer import fibonacci_sphere, self_shadowed_transfer
from training.albedo.unwrap import linear_to_srgb, srgb_to_linear


@pytest.fixture(scope="module")
def asset():
    """The shipped head, with a simple albedo in place of the built or learned one."""
    head = load_head()
    rng = np.random.default_rng(0)
    scalp = UVLayout(head, 128).carry(torch.from_numpy(head.regions["scalp"])[:, None].float())[0].numpy()[..., None]
    basis = 0.02 * gaussian_filter(rng.normal(size=(len(ALBEDO_NAMES), 128, 128, 3)), (0, 6, 6, 0)) / 0.047
    basis[:40] += basis[:40, :, ::-1]  # mirror symmetric, as the painted ones
    basis[ALBEDO_NAMES.index("lightness")] = [0.11, 0.11, 0.11]
    basis[ALBEDO_NAMES.index("redness")] = [0.0, -0.02, -0.015]
    basis[ALBEDO_NAMES.index("yellowness")] = [0.0, 0.0, -0.02]
    basis[ALBEDO_NAMES.index("hair_lightness")] = 0.1 * scalp * np.ones(3)
    return replace(
        head,
        albedo_mean=np.broadcast_to(np.array([0.61, 0.46, 0.39], np.float32), (256, 256, 3)).copy(),
        albedo_basis=basis.astype(np.float32),
    )


def sphere(radius: float, rings: int = 16) -> Mesh:
    """A closed sphere, metres."""
    import trimesh

    ball = trimesh.creation.uv_sphere(radius, count=[rings, rings])
    return Mesh(torch.tensor(np.array(ball.vertices)).float(), torch.tensor(np.array(ball.faces)).long())


def test_transfer_of_a_convex_body_is_the_basis_of_its_normals():
    mesh = sphere(0.1)
    found = self_shadowed_transfer(mesh, directions=200)
    assert (found - sh_basis(vertex_normals(mesh))).abs().max() < 0.06


def test_transfer_is_less_where_a_body_hides_the_light():
    small, large = sphere(0.05), sphere(0.05)
    above = Mesh(
        torch.cat([small.vertices, large.vertices + torch.tensor([0.0, 0.12, 0.0])]),
        torch.cat([small.faces, large.faces + len(small.vertices)]),
    )
    alone, shaded = self_shadowed_transfer(small, 80), self_shadowed_transfer(above, 80)[: len(small.vertices)]
    top, bottom = small.vertices[:, 1].argmax(), small.vertices[:, 1].argmin()
    assert shaded[top, 0] < 0.85 * alone[top, 0]
    torch.testing.assert_close(shaded[bottom], alone[bottom], atol=0.02, rtol=0)


def test_directions_are_even():
    ways = fibonacci_sphere(320)
    assert ways.mean(0).norm() < 1e-2
    torch.testing.assert_close(ways.T @ ways / 320, torch.eye(3) / 3, atol=1e-2, rtol=0)


def lit_skin(seed: int, texels: int = 4000, blemish: float = 0.0):
    """Skin seen from the front under a known light: colours, mean albedo, transfer, light."""
    rng = np.random.default_rng(seed)
    normals = rng.normal(size=(texels, 3)) * [1, 1, 0.3] + [0, 0, 1.2]
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    normals = normals[normals[:, 2] > 0.3]
    transfer = sh_basis(torch.from_numpy(normals)).numpy()
    grey = np.zeros(9)
    grey[:4] = np.array([1.0, *rng.normal(size=3) * 0.25]) / [0.2821, 1.0233, 1.0233, 1.0233]
    light = grey[:, None] * [1.3, 1.0, 0.8]
    albedo = np.tile([0.4, 0.25, 0.18], (len(normals), 1))
    colour = albedo * (transfer @ light) * np.exp(0.04 * rng.normal(size=(len(normals), 1)))
    spoilt = rng.random(len(normals)) < blemish
    colour[spoilt] *= 0.3
    return colour, albedo, transfer, light


@pytest.mark.parametrize("blemish", [0.0, 0.15])
def test_light_is_found_and_taken_off(blemish):
    colour, albedo, transfer, light = lit_skin(3, blemish=blemish)
    lit = find_light(colour, albedo, transfer, np.ones(len(colour)))
    even = colour / lit.shading / lit.level / albedo
    clean = even[:, 1] > 0.6
    assert np.abs(np.log(even[clean])).mean() < 0.06
    slopes = np.linalg.lstsq(transfer[clean, 1:4], np.log(even[clean, 1]), rcond=None)[0]
    assert np.abs(slopes).max() < 0.08
    np.testing.assert_allclose(lit.level / lit.level[1], light[0] / light[0, 1], rtol=0.05)


def test_highlights_lose_trust_and_little_skin_is_refused():
    colour, albedo, transfer, _ = lit_skin(4)
    colour[:100] *= 3
    lit = find_light(colour, albedo, transfer, np.ones(len(colour)))
    assert lit.trust[:100].max() < 0.3 and np.median(lit.trust[100:]) > 0.9
    with pytest.raises(ValueError, match="texels of skin"):
        find_light(colour, albedo, transfer, np.zeros(len(colour)))


def test_what_is_left_of_the_light_is_taken_off():
    rng = np.random.default_rng(2)
    expected = np.tile([0.4, 0.25, 0.18], (2000, 1))
    rows = np.stack([np.ones(2000), np.linspace(-1, 1, 2000)], axis=1)
    mole = np.where(np.arange(2000) % 20 == 0, 0.4, 1.0)
    seen = expected * mole[:, None] * np.exp(0.2 * rows[:, 1:] + 0.02 * rng.normal(size=(2000, 1)))
    even = settle(seen, expected, np.ones(2000), rows)
    assert np.abs(np.polyfit(rows[:, 1], np.log(even[:, 1] / mole), 1)[0]) < 0.06
    np.testing.assert_allclose(np.median(even[mole < 1] / expected[mole < 1]), 0.4, rtol=0.1)


def people(seed: int, count: int, spread: float):
    """Tones, and what photographs under varying light show of them."""
    rng = np.random.default_rng(seed)
    tone = np.where(rng.random(count) < 0.75, rng.normal(1.0, 0.4, count), rng.normal(-0.5, 0.85, count)).clip(
        -2.2, 2.2
    )
    light = np.exp(rng.normal(0.2, spread, (count, 1)) + rng.normal(0, 0.08, (count, 3)) * (spread > 0.1))
    level = light * skin_curve(tone) / skin_curve(np.zeros(1))
    white = 0.5 * np.exp(rng.normal(0, 0.25, count)) * light[:, 1] / level[:, 1]
    return tone, light, level, white


def test_dark_people_are_told_from_dark_light():
    tone, light, level, white = people(5, 600, 0.35)
    found = find_tones(level, white, np.full(600, "set"))
    assert np.corrcoef(found.tone, tone)[0, 1] > 0.8
    assert found.tone[tone < -1].mean() < -0.7
    assert abs(np.log(found.light[:, 1] / light[:, 1])).mean() < 0.3
    # what tone and light were parted into still gives what was seen
    again = found.light * skin_curve(found.tone) / skin_curve(np.zeros(1))
    assert np.abs(np.log(again / level)).mean() < 0.15


def test_one_studio_gives_the_tones_themselves():
    tone, _, level, _ = people(6, 100, 0.02)
    found = find_tones(level, np.full(100, np.nan), np.full(100, "set:london"), ("london",))
    assert np.corrcoef(found.tone, tone)[0, 1] > 0.98
    assert np.abs(found.tone - tone).mean() < 0.35


def test_rare_tones_count_more():
    tone = np.concatenate([np.full(90, 1.0), np.full(10, -1.0)]) + np.linspace(0, 0.01, 100)
    weight = evenly_toned(tone)
    assert weight.mean() == pytest.approx(1.0) and weight[-1] > 4 * weight[0]


def spoilt_maps(seed: int, faces: int = 300, texels: int = 60):
    """A known linear space of maps, a third of them hidden, a twentieth of them wrong."""
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.normal(size=(texels * 3, 3)))[0].T * np.array([[1.0], [0.6], [0.4]])
    scores = rng.normal(size=(faces, 3))
    x = (scores @ basis).reshape(faces, texels, 3)
    seen = (rng.random((faces, texels)) > 0.33).astype(float)
    wrong = rng.random((faces, texels)) < 0.05
    return x, np.where(wrong[..., None], 2.0, x) + 0.005 * rng.normal(size=x.shape), seen


def test_components_of_spoilt_maps():
    clean, maps, seen = spoilt_maps(7)
    maps = np.where(seen[..., None] > 0, maps, 5.0)
    found = robust_components(maps.astype(np.float32), seen, np.ones(len(maps)), 3, scale=0.1)
    np.testing.assert_allclose(found.scores.std(0), 1.0, atol=0.05)
    rebuilt = (found.scores @ found.directions).reshape(clean.shape)
    assert np.sqrt(np.mean((rebuilt - clean) ** 2)) < 0.15 * clean.std()
    length = np.linalg.norm(found.directions, axis=1)
    np.testing.assert_allclose(length, [1.0, 0.6, 0.4], rtol=0.15)
    with pytest.raises(ValueError, match="give more"):
        robust_components(maps[:3].astype(np.float32), seen[:3], np.ones(3), 3, scale=0.1)


def test_regression_on_tone():
    rng = np.random.default_rng(8)
    mean, slope = rng.random((20, 3)), 0.1 * rng.normal(size=(20, 3))
    tone = rng.normal(size=200)
    x = mean + tone[:, None, None] * slope + 0.005 * rng.normal(size=(200, 20, 3))
    x[rng.random((200, 20)) < 0.1] = 0.0
    found = robust_regression(x, np.ones((200, 20)), np.stack([np.ones(200), tone], 1), scale=0.05)
    np.testing.assert_allclose(found, [mean, slope], atol=0.01)


def test_srgb_round_trip():
    x = torch.linspace(0, 1, 101)
    torch.testing.assert_close(linear_to_srgb(srgb_to_linear(x)), x, atol=1e-6, rtol=0)


def known_faces(asset, count: int = 60) -> tuple[Faces, np.ndarray, np.ndarray]:
    """Faces of a known linear space: the built mean and lightness, and one random smooth component."""
    rng = np.random.default_rng(9)
    zone = face_zone(asset)
    mean = zone.fold(np.asarray(asset.albedo_mean, np.float64))[0]
    base = zone.fold(np.asarray(asset.albedo_basis[0].repeat(2, 0).repeat(2, 1), np.float64))[0]
    blush = zone.fold(np.asarray(asset.albedo_basis[15].repeat(2, 0).repeat(2, 1), np.float64))[0]
    tone = rng.normal(0.3, 0.9, count).clip(-2.2, 2.2)
    score = rng.normal(size=count)
    encoded = mean + tone[:, None, None] * base + score[:, None, None] * blush
    linear = srgb_to_linear(torch.from_numpy(encoded.clip(0, 1))).numpy()
    level = skin_curve(tone) / skin_curve(np.zeros(1))
    faces = Faces(
        linear.astype(np.float16),
        np.ones((count, len(mean)), np.float16),
        level.astype(np.float32),
        np.full(count, np.nan, np.float32),
        np.array([f"f/{i}" for i in range(count)]),
        np.array([str(i) for i in range(count)]),
        np.full(count, "set:studio"),
    )
    return faces, tone, score


def test_learning_finds_tone_and_component_again(asset):
    faces, tone, score = known_faces(asset)
    zone = face_zone(asset)
    learned = learn(faces, zone, np.ones((zone.half.sum(), 1)), ("studio",), "test", directions=3)
    assert np.corrcoef(learned.scores[:, 0], tone[learned.used])[0, 1] > 0.98
    assert abs(np.corrcoef(learned.scores[:, 1], score[learned.used])[0, 1]) > 0.9
    assert learned.error < 0.35 * learned.spread
    inside = learned.albedo.share > 0.95
    slope = learned.albedo.directions[0].repeat(2, 0).repeat(2, 1)[inside].mean()
    wanted = asset.albedo_basis[0].repeat(2, 0).repeat(2, 1)[:, :128][inside].mean()
    assert slope == pytest.approx(wanted, rel=0.15)
    some = faces.at(np.arange(5))
    assert len(some) == 5 and len(join([some, some])) == 10


def test_zone_is_symmetric_and_folds(asset):
    zone = face_zone(asset)
    assert (zone.mask == zone.mask[:, ::-1]).all() and 0.2 < zone.mask.mean() < 0.7
    rng = np.random.default_rng(0)
    image = rng.random((256, 256, 3))
    left, right = zone.fold(image)
    np.testing.assert_array_equal(zone.unfold(left)[:, :128][zone.half], left)
    np.testing.assert_array_equal(zone.fold(image[:, ::-1])[0], right)


def random_learned(seed: int = 1) -> LearnedAlbedo:
    rng = np.random.default_rng(seed)
    share = np.zeros((256, 128))
    share[80:190, 50:] = 1.0
    share = gaussian_filter(share, 3.0, mode="nearest")
    share[share > 0.99] = 1.0
    directions = 0.02 * rng.normal(size=(LEARNED, 128, 64, 3))
    return LearnedAlbedo(rng.random((256, 128, 3)), share, directions, "test")


def test_statistics_survive_the_file(tmp_path: Path):
    learned = random_learned()
    save_learned(learned, tmp_path / "a.npz")
    again = read_learned(tmp_path / "a.npz")
    np.testing.assert_allclose(again.mean, learned.mean, atol=1e-5)
    np.testing.assert_allclose(again.directions, learned.directions, atol=np.abs(learned.directions).max() / 200)
    assert again.about == "test" and [p.name for p in tmp_path.iterdir()] == ["a.npz"]
    np.savez(tmp_path / "b.npz", schema=np.array("other"))
    for name in ("b.npz", "none.npz"):
        with pytest.raises(ValueError, match=name):
            read_learned(tmp_path / name)


def test_learned_face_is_put_into_the_built_albedo(asset):
    mean, basis = np.asarray(asset.albedo_mean, np.float32), np.asarray(asset.albedo_basis, np.float32)
    learned = random_learned()
    learned.directions[0] = 0.1  # a uniform lightening
    new_mean, new_basis = put_into(mean, basis, learned)
    assert new_mean.shape == mean.shape and new_basis.shape == basis.shape and len(LEARNED_NAMES) == len(basis)
    np.testing.assert_array_equal(new_mean, new_mean[:, ::-1])
    np.testing.assert_array_equal(new_basis[: len(LEARNED_NAMES)], new_basis[:, :, ::-1])
    inside = mirrored(learned.share) == 1
    np.testing.assert_allclose(new_mean[inside], mirrored(learned.mean)[inside], atol=1e-6)
    small = halved(mirrored(learned.share)[..., None])[..., 0] == 1
    np.testing.assert_allclose(new_basis[1][small], mirrored(learned.directions[1])[small], atol=6e-4)
    neck = UVLayout(asset, 128).carry(torch.from_numpy(asset.regions["neck"])[:, None])[0].numpy() > 0.9
    np.testing.assert_allclose(new_basis[0][neck].mean(), 0.1, atol=0.05)  # the neck goes with the face
    with pytest.raises(ValueError, match="directions"):
        put_into(mean, basis, replace(learned, directions=learned.directions[:5]))


def test_a_learned_albedo_is_no_ground_to_learn_on(asset):
    check_built(asset)
    symmetric = asset.albedo_basis + asset.albedo_basis[:, :, ::-1]
    for other in (replace(asset, albedo_basis=symmetric), replace(asset, albedo_basis=None)):
        with pytest.raises(ValueError, match="--albedo built"):
            check_built(other)


def test_people_are_held_out_whole():
    names = np.array([f"person {i // 3}" for i in range(3000)])
    held = held_out(names, 0.1)
    assert 0.05 < held.mean() < 0.15 and not held_out(names, 0.0).any()
    assert (held.reshape(-1, 3).all(1) | ~held.reshape(-1, 3).any(1)).all()


def test_the_true_model_leaves_nothing_unexplained(asset):
    faces = known_faces(asset, 12)[0]
    zone = face_zone(asset)
    colours = linear_to_srgb(torch.from_numpy(faces.colour.astype(np.float32))).numpy()
    mean, basis = np.asarray(asset.albedo_mean, np.float32), np.asarray(asset.albedo_basis, np.float32)
    inside = np.ones(zone.half.shape)
    true = unexplained(colours, faces.weight, zone, mean, basis[[0, 15]], inside)
    wrong = unexplained(colours, faces.weight, zone, mean, basis[[15]], inside)
    assert true < 0.004 and wrong > 10 * true


@pytest.mark.parametrize("name", FILES)
def test_shipped_statistics_span_the_tones_of_people(name):
    learned = read_learned(FILES[name])
    assert FILES[name].stat().st_size <= 1_500_000 and len(learned.directions) == LEARNED
    inside = learned.share > 0.95
    tone = learned.directions[0].repeat(2, 0).repeat(2, 1)
    dark, light = (np.median((learned.mean + s * tone)[inside], axis=0) for s in (-2, 2))
    assert 0.15 < dark[1] < 0.33 and 0.66 < light[1] < 0.85
    for colour in (dark, light):
        assert colour[0] > colour[1] > colour[2]
