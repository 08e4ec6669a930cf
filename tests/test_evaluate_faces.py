"""Known codes, consistency and detail: figures with a known answer, and the command lines on small shards."""

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from model.asset import HeadAsset
from model.crop import Crop
from model.deca import DECA, DECAConfig
from model.head import HeadModel
from model.io.assets import save_head
from model.io.checkpoints import save_checkpoint
from model.params import Appearance, Camera, CropCamera, FaceParams
from tracker.command import run
from training.data.sample import Labels, Sample
from training.data.shards import ShardWriter
from training.evaluate.__main__ import main
from training.evaluate.batches import batches, open_faces
from training.evaluate.codes import Codes, compare_codes, correlation, gaze_error, plainest, sampled_scan
from training.evaluate.consistency import likeness, partners, spreads, swapped
from training.evaluate.detail import displacements, pairs_of
from training.evaluate.estimate import neutral_heads
from training.evaluate.looks import Seen, look_at, people_of, photometric_error, rows_of
from training.evaluate.regions import wrinkle_regions
from training.networks.identity import IdentityNetwork

PEOPLE, PHOTOS, SIZE = 3, 2, 64
N = PEOPLE * PHOTOS


@pytest.fixture(scope="module")
def deca(tiny_head: HeadAsset) -> DECA:
    torch.manual_seed(0)
    return DECA(tiny_head, DECAConfig("mobilenetv2", shape=10, expression=8, albedo=5, detail=16), 64).eval()


@pytest.fixture(scope="module")
def seen(deca: DECA) -> Seen:
    """Faces whose pictures are exactly what the renderer makes of their codes."""
    g = torch.Generator().manual_seed(4)
    person = np.repeat(np.arange(PEOPLE), PHOTOS)
    shapes = torch.randn(PEOPLE, 10, generator=g)[torch.from_numpy(person)]
    expression = torch.zeros(N, 8)
    expression[1::2, 3:5] = torch.tensor([[0.9], [0.5], [0.05]])  # the third person hardly smiles
    face = replace(deca.head.neutral(N), shape=shapes, expression=expression)
    light = torch.tensor([2.6, 0.5, 0.7, 0.4, 0, 0, 0, 0, 0])[:, None].expand(N, 9, 3)
    appearance = Appearance(torch.randn(N, 5, generator=g), light, torch.randn(N, 16, generator=g))
    camera = CropCamera(torch.full((N,), 7.0), torch.zeros(N, 2))
    looks = look_at(deca, face, appearance, camera, SIZE)
    keys = tuple(f"{i}" for i in range(N))
    masks = torch.ones(N, 1, SIZE, SIZE)
    return Seen(looks.detailed, masks, looks.landmarks, person, face, appearance, camera, face, keys)


def codes_of(deca: DECA, seen: Seen) -> Codes:
    return Codes(seen.face, seen.appearance.albedo, seen.appearance.light, seen.camera.s, seen.landmarks)


def test_known_codes_have_no_error_and_moved_ones_the_error_of_the_move(deca: DECA, seen: Seen) -> None:
    known = codes_of(deca, seen)
    none = compare_codes(deca, known, known)
    for values in (none.pose, none.gaze, none.scale, none.landmarks, none.albedo, none.light):
        assert values.shape == (N,) and np.abs(values).max() < 0.05
    assert set(none.units) == {"mouthSmileLeft", "mouthSmileRight"}  # only these move
    assert list(none.units.values()) == pytest.approx([1, 1])
    assert (none.expression, none.moved) == pytest.approx((1, 1), abs=1e-5)
    against = known.face.expression.mean(0) - (known.face.expression - known.face.expression.mean(0))
    opposite = compare_codes(deca, replace(known, face=replace(known.face, expression=against)), known)
    assert (opposite.expression, opposite.moved) == pytest.approx((-1, -1), abs=1e-5)

    turned = replace(known.face, pose=known.face.pose + torch.tensor([0.0, 0.1, 0.0]))
    turned = replace(turned, eyes=known.face.eyes + torch.tensor([0.2, 0, 0, 0, 0.2, 0]))
    moved = replace(
        known, face=turned, scale=1.1 * known.scale, light=1.2 * known.light, landmarks=known.landmarks + 0.03
    )
    errors = compare_codes(deca, moved, known)
    assert errors.pose == pytest.approx(np.rad2deg([0.1] * N), rel=1e-3)
    assert errors.gaze == pytest.approx(np.rad2deg([0.2] * N), rel=1e-3)
    assert errors.scale == pytest.approx([10.0] * N, rel=1e-4)
    assert errors.light == pytest.approx([20.0] * N, rel=1e-3)
    side = np.sqrt(np.prod(np.ptp(known.landmarks.numpy(), axis=1), axis=1))
    assert errors.landmarks == pytest.approx(100 * 0.03 * np.sqrt(2) / side, rel=1e-3)


def test_the_neck_counts_with_the_pose(deca: DECA, seen: Seen) -> None:
    known = codes_of(deca, seen)
    nodding = replace(known, face=replace(known.face, neck=torch.tensor([[0.2, 0.0, 0.0]]).repeat(N, 1)))
    same = replace(known, face=replace(known.face, pose=nodding.face.neck))
    assert compare_codes(deca, same, nodding).pose.max() < 0.05


def test_the_average_face_knows_no_single_face(deca: DECA, seen: Seen) -> None:
    known = codes_of(deca, seen)
    plain = compare_codes(deca, plainest(deca, known), known)
    assert all(value == 0 for value in plain.units.values()) and plain.moved == plain.expression == 0
    assert plain.albedo.mean() > 0.005


def test_correlation_and_gaze() -> None:
    a = torch.arange(5.0)
    assert correlation(a, 3 - 2 * a) == pytest.approx(-1) and correlation(a, torch.ones(5)) == 0
    zero = FaceParams(*(torch.zeros(1, size) for size in (1, 1, 3, 3, 3)), torch.zeros(1, 6))
    spun = replace(zero, eyes=torch.tensor([[0.0, 0, 0.5, 0, 0, 0.5]]))  # about the line of sight
    assert gaze_error(spun, zero)[0] == pytest.approx(0, abs=0.01)


def test_a_sampled_scan_shows_the_outside_only(tiny_head: HeadAsset) -> None:
    head = neutral_heads(HeadModel(tiny_head), torch.zeros(1, 10))[0]
    scan = sampled_scan(head, tiny_head, 400, 1)
    eyes = head.vertices[tiny_head.regions["left_eye"] > 0.5]
    distance = np.linalg.norm(scan.points - eyes.mean(0), axis=1)
    assert scan.points.shape == (400, 3) and (distance > 5).all()
    assert np.array_equal(scan.points, sampled_scan(head, tiny_head, 400, 1).points)


def test_spread_within_and_between_people(deca: DECA, seen: Seen) -> None:
    within, between, ratio, near, far = spreads(deca, seen)["shape, mm"]
    assert max(within, near, ratio) < 1e-6 and between > 0.3 and far > 0.5  # 0 but for the rounding of means
    means = seen.face.shape[::PHOTOS].double()
    assert between == pytest.approx(float(means.var(0).mean()) ** 0.5)
    g = torch.Generator().manual_seed(1)
    noisy = replace(seen, face=replace(seen.face, shape=seen.face.shape + torch.randn(N, 10, generator=g)))
    within, _, _, near, _ = spreads(deca, noisy)["shape, mm"]
    assert within == pytest.approx(1, abs=0.3) and near > 0.5
    strangers = spreads(deca, seen)["detail, µm"]
    assert strangers[0] == pytest.approx(1, abs=0.35)  # detail codes are drawn anew for every photograph


def test_partners_are_of_the_same_and_of_another_person(seen: Seen) -> None:
    friend, stranger = partners(seen.person, 0)
    assert (seen.person[friend] == seen.person).all() and (friend.numpy() != np.arange(N)).all()
    assert (seen.person[stranger] != seen.person).all()
    assert all(torch.equal(a, b) for a, b in zip(partners(seen.person, 0), (friend, stranger), strict=True))


def test_swapping_costs_nothing_among_equal_codes_and_something_among_others(deca: DECA, seen: Seen) -> None:
    looks = look_at(deca, seen.face, seen.appearance, seen.camera, SIZE)
    rows = swapped(deca, seen, looks, 0)
    own, same, _, marks, marks_same = rows["shape of the same person"]
    assert same == pytest.approx(own) and marks == pytest.approx(0, abs=1e-4) == marks_same
    own, other, cost, _, marks_other = rows["shape of a stranger"]
    assert other > own and cost == pytest.approx(100 * (other / own - 1)) and marks_other > 0.1
    own, other, cost, *_ = rows["detail of the same person"]
    assert own == 0 < other and np.isnan(cost)  # the pictures are rendered with their own detail


def test_photometric_error_counts_its_region_only() -> None:
    image = torch.zeros(2, 3, 4, 4)
    other = image.clone()
    other[:, :, :2] = 0.5
    region = torch.zeros(2, 1, 4, 4)
    region[0, :, :2] = 1
    error = photometric_error(image, other, region)
    assert error[0] == pytest.approx(50) and np.isnan(error[1])


class Mean(IdentityNetwork):
    """Knows a face by its mean colour."""

    def forward(self, images, landmarks):
        return images.mean((2, 3))


def test_likeness_of_a_render_that_is_the_photograph(deca: DECA, seen: Seen) -> None:
    looks = look_at(deca, seen.face, seen.appearance, seen.camera, SIZE)
    photos = replace(seen, images=looks.coarse)
    render, friend, stranger = likeness(Mean(), photos, looks, 0)
    assert render == pytest.approx(1, abs=1e-5) and friend < 1 and stranger < 1


def test_expressions_are_paired_by_person(deca: DECA, seen: Seen) -> None:
    smile, brows = pairs_of(deca, seen)
    assert (smile.kind, smile.neutral.tolist(), smile.expressive.tolist()) == ("smile", [0, 2], [1, 3])
    assert brows.kind == "brows raised" and not len(brows.neutral)
    still = displacements(deca, seen, smile.neutral, smile.neutral)
    animated = displacements(deca, seen, smile.neutral, smile.expressive)
    codes = rows_of(seen.face, torch.from_numpy(smile.neutral))
    direct = deca.detail_decoder(codes.jaw, codes.expression, seen.appearance.detail[smile.neutral])
    torch.testing.assert_close(still, direct)
    assert (still - animated).abs().max() > 0


def test_given_displacements_are_shown_in_place_of_the_decoders(deca: DECA, seen: Seen) -> None:
    plain = look_at(deca, seen.face, seen.appearance, seen.camera, SIZE)
    flat = look_at(deca, seen.face, seen.appearance, seen.camera, SIZE, torch.zeros(N, 256, 256))
    same = look_at(deca, seen.face, seen.appearance, seen.camera, SIZE, displacements(deca, seen, *[np.arange(N)] * 2))
    torch.testing.assert_close(same.detailed, plain.detailed)
    torch.testing.assert_close(flat.coarse, plain.coarse)
    assert (flat.detailed - plain.detailed).abs().max() > 1e-3


def test_wrinkle_regions_lie_where_they_should() -> None:
    from model.io.assets import load_head

    asset = load_head()
    head = DECA(asset, DECAConfig("mobilenetv2", albedo=len(asset.albedo_basis)), 128)
    regions = wrinkle_regions(head)
    x, y, _ = head.layout.carry(head.head.template)
    from model.landmarks import on_mesh

    points = on_mesh(head.head.template, head.head.faces, asset.landmarks.full68)
    assert list(regions) == ["forehead", "crow's feet", "nasolabial folds", "face"]
    for name, mask in regions.items():
        assert mask.sum() > 50 and (mask * (1 - regions["face"])).sum() == 0
        torch.testing.assert_close(mask, mask.flip(-1), atol=1, rtol=0)
        assert (mask - mask.flip(-1)).abs().mean() < 0.01, name  # u → 1 − u is the mirror image
    forehead, feet, folds = (regions[n] > 0.5 for n in list(regions)[:3])
    assert y[forehead].min() > points[17:27, 1].max()
    assert (x[feet].abs() > points[45, 0]).all() and (y[feet] - points[45, 1]).abs().max() < 0.02
    assert (y[folds] > points[54, 1] - 1e-3).all() and (x[folds].abs() > points[35, 0]).all()
    assert not (forehead & feet).any() and not (feet & folds).any()


@pytest.fixture(scope="module")
def files(deca: DECA, seen: Seen, tiny_head: HeadAsset, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list]:
    """Shards of the rendered faces with their codes, a head's file and a network's."""
    root = tmp_path_factory.mktemp("faces")
    whole = Crop(torch.full((2,), SIZE / 2), torch.tensor(float(SIZE)))
    with ShardWriter(root / "shards", tiny_head.name) as writer:
        for i in range(N):
            picture = io.BytesIO()
            pixels = (255 * seen.images[i].clamp(0, 1)).byte().movedim(0, -1).numpy()
            Image.fromarray(pixels).save(picture, "PNG")
            labels = Labels(
                face=rows_of(seen.face, i),
                albedo=seen.appearance.albedo[i],
                light=seen.appearance.light[i],
                camera=Camera(seen.camera.s[i] * SIZE / 2, whole.centre.clone()),
                known=torch.tensor(True),
                lit=torch.tensor(True),
            )
            marks = ((seen.landmarks[i].numpy() + 1) / 2 * SIZE).astype(np.float32)
            writer.write(
                Sample(str(i), str(seen.person[i]), picture.getvalue(), marks, np.ones(68, bool), labels=labels)
            )
    save_head(tiny_head, root / "tiny.npz")
    save_checkpoint(deca, root / "w.safetensors")
    return root, ["--head", str(root / "tiny.npz"), "--weights", str(root / "w.safetensors")]


def test_shards_come_back_in_order_with_their_codes(files: tuple[Path, list], tiny_head: HeadAsset, seen: Seen) -> None:
    faces = open_faces([str(files[0] / "shards")], "tiny")
    parts = list(batches(faces, np.array([4, 1, 0]), tiny_head, 64, size=2))
    assert [batch.keys for batch in parts] == [("4", "1"), ("0",)]
    torch.testing.assert_close(parts[0].labels.face.shape, seen.face.shape[[4, 1]])
    chosen = people_of(faces, 2, 2)
    assert len(chosen) == 4 and len(np.unique(faces.people[chosen])) == 2
    unseen = faces.people[faces.held_out(0.999)]
    assert set(faces.people[people_of(faces, 9, 2, 0.999)]) == set(unseen.tolist())
    with pytest.raises(ValueError, match="raise --held-out"):
        people_of(faces, 2, 2, 1e-9)


@pytest.mark.parametrize(
    ("words", "tables"),
    [
        (["codes", "--scans", "2", "--points", "300"], ["w", "w: shape"]),
        (["consistency"], ["spread", "swaps"]),
        (["detail"], ["w: all", "w, neutral to smile, 2 people: change", "w, neutral to smile, 2 people: pictures"]),
    ],
)
def test_command_lines_on_shards(files: tuple[Path, list], tmp_path: Path, words: list[str], tables: list[str]) -> None:
    root, options = files
    command = [words[0], str(root / "shards"), *options, *words[1:], "--out", str(tmp_path)]
    assert run("evaluate", main, command) == 0
    content = json.loads((tmp_path / f"{words[0]}.json").read_text())
    for name in tables:
        assert len(content[name]["rows"]) > 0 and len(content[name]["rows"][0]) > 2


def test_mistakes_give_one_clear_line(
    files: tuple[Path, list], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, options = files
    (tmp_path / "photos").mkdir()
    alone = tmp_path / "alone"
    with ShardWriter(alone, "tiny") as writer:
        sample = open_faces([str(root / "shards")], "tiny")[0]
        writer.write(replace(sample, labels=None))
    for command, words in (
        (["codes", str(tmp_path / "photos"), *options], "holds no shards"),
        (["codes", str(tmp_path / "none"), *options], "no such folder"),
        (["codes", str(alone), *options], "0 faces with known codes"),
        (["consistency", str(alone), *options], "two photographs"),
        (["detail", str(alone), *options], "need two"),
        (["codes", str(root / "shards"), options[0], options[1]], "--weights"),
        (["consistency", str(root / "shards"), *options, "--people", "1"], "at least 2"),
        (["codes", str(root / "shards"), "--weights", options[3]], "trained for tiny"),
    ):
        assert run("evaluate", main, command) == 2
        error = capsys.readouterr().err
        assert words in error and error.count("\n") == 1
