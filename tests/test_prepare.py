"""Preparation: photographs to shards, what is left out, and that an interrupted run goes on."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import faces as make
import numpy as np
import pytest
import roma
from PIL import Image, ImageFilter

from model.camera import project
from model.head import HeadModel
from model.io.assets import load_head
from model.landmarks import HeadLandmarks
from model.params import Camera, FaceParams
from tracker.image import decode_image, resize
from training import clips
from training.data.shards import Shards
from training.landmarks.renders import picture, random_pose
from training.prepare import pipeline, sources
from training.prepare.__main__ import main
from training.prepare.clips import farthest
from training.prepare.config import PrepareConfig
from training.prepare.masks import render_regions, skin_mask
from training.prepare.pipeline import Job, prepare
from training.prepare.quality import MIRRORED, fingerprint, sharpness
from training.prepare.stored import window_around
from training.prepare.worker import Worker, with_frames

FACE = (160, 50, 290, 200)  # of the astronaut: x0, y0, x1, y1


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    return path


# ---- where photographs lie


def test_layouts_are_recognised_and_read(tmp_path: Path) -> None:
    for name in ("plain/anna/1.jpg", "plain/anna/deep/2.PNG", "plain/bert/talk.mp4", "plain/alone.jpg", "plain/x.txt"):
        touch(tmp_path / name)
    for name in ("vgg/train/n000001/0001_01.jpg", "vgg/train/n000002/0003_02.jpg"):
        touch(tmp_path / name)
    (tmp_path / "vgg/loose_bb_train.csv").write_text('NAME_ID,X,Y,W,H\n"n000002/0003_02",10,20,30,40\n')
    for name in ("bupt/race_per_7000/African/m.01/000.jpg", "bupt/race_per_7000/Asian/m.01/000.jpg"):
        touch(tmp_path / name)
    for name in ("vox/dev/mp4/id00012/21Uxsk56VDQ/00001.mp4", "vox/dev/mp4/id00012/2DLq/00003.mp4"):
        touch(tmp_path / name)

    def found(name: str, layout: str = "auto") -> tuple[str, list[tuple[str, str]]]:
        layout, items = sources.find(tmp_path / name, layout)
        return layout, [(item.key, item.identity) for item in items]

    assert found("plain") == (
        "folders",
        [("alone.jpg", "alone.jpg"), ("anna/1.jpg", "anna"), ("anna/deep/2.PNG", "anna"), ("bert/talk.mp4", "bert")],
    )
    layout, people = found("vgg")
    assert layout == "vggface2" and [identity for _, identity in people] == ["n000001", "n000002"]
    boxes = [item.box for item in sources.find(tmp_path / "vgg")[1]]
    assert boxes == [None, (10.0, 20.0, 40.0, 60.0)]
    assert found("bupt")[0] == "bupt" and [p for _, p in found("bupt")[1]] == ["African/m.01", "Asian/m.01"]
    layout, videos = found("vox")
    assert layout == "voxceleb2" and [p for _, p in videos] == ["id00012"] * 2
    assert all(item.is_video for item in sources.find(tmp_path / "vox")[1])
    assert with_frames(PrepareConfig(), layout).frames == 4
    assert with_frames(PrepareConfig(), "folders").frames == 32
    assert with_frames(PrepareConfig(frames=9), layout).frames == 9
    assert found("vgg", "folders")[1][0] == ("train/n000001/0001_01.jpg", "train")


def test_lists_are_read_and_their_faults_named(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("path,identity,mask\na.jpg,anna,m/a.png\nb.jpg,,\n")
    layout, items = sources.find(path)
    assert layout == "csv" and [item.identity for item in items] == ["anna", "b.jpg"]
    assert items[0].mask == tmp_path / "m/a.png" and items[1].mask is None and items[0].path == tmp_path / "a.jpg"
    for text, says in (
        ("file,who\na.jpg,anna\n", "no column 'path'; has file, who"),
        ("path,identity\na.jpg,anna\na.jpg,anna\n", "line 3: a.jpg stands there twice"),
        ("path,identity\na.jpg\n", "line 2: no path or no identity"),
        ("", "no column 'path'; has nothing"),
        ("path,identity\n", "no picture or video"),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=says):
            sources.find(path)
    path.write_bytes(b"path,identity\n\xff\xfe\xff,anna\n")
    with pytest.raises(ValueError, match="cannot be read as a list"):
        sources.find(path)
    touch(tmp_path / "photo.jpg")
    with pytest.raises(ValueError, match="give a folder, or a list"):
        sources.find(tmp_path / "photo.jpg")
    with pytest.raises(ValueError, match="unknown; there are auto, folders"):
        sources.find(tmp_path, "flickr")
    with pytest.raises(ValueError, match="no such folder or list"):
        sources.find(tmp_path / "nowhere")


# ---- the parts


def test_mirroring_is_its_own_inverse() -> None:
    assert sorted(MIRRORED.tolist()) == list(range(68))
    np.testing.assert_array_equal(MIRRORED[MIRRORED], np.arange(68))
    middle = [8, 27, 28, 29, 30, 33, 51, 57, 62, 66]
    assert np.flatnonzero(np.arange(68) == MIRRORED).tolist() == middle


def test_farthest_frames_differ() -> None:
    random = np.random.default_rng(0)
    shapes = np.repeat(random.normal(size=(5, 68, 2)), 20, axis=0) + random.normal(scale=1e-3, size=(100, 68, 2))
    assert sorted((farthest(shapes, 5, 0.1) // 20).tolist()) == [0, 1, 2, 3, 4]
    assert len(farthest(shapes, 50, 0.1)) == 5  # the rest are too much alike
    assert len(farthest(shapes, 7, 0.0)) == 7


def test_what_is_stored_has_room_and_is_not_enlarged() -> None:
    random = np.random.default_rng(0)
    photo = random.integers(0, 255, (300, 500, 3), dtype=np.uint8)
    points = np.array([[200.0, 100.0], [260.0, 160.0]])
    window = window_around(points, 500, 300, 2.0, 400)
    assert window.scale == 1 and window.size == (120, 120)
    np.testing.assert_array_equal(window.cut(photo), photo[70:190, 170:290])
    np.testing.assert_allclose(window.points(points), points - [170, 70])
    small = window_around(points, 500, 300, 2.0, 60)
    assert small.size == (60, 60) and small.cut(photo).shape == (60, 60, 3)
    np.testing.assert_allclose(small.points(points), (points - [170, 70]) / 2)
    edge = window_around(points, 270, 300, 2.0, 400)  # the photograph ends beside the face
    assert edge.size == (100, 120) and edge.cut(photo[:, :270]).shape == (120, 100, 3)


@pytest.fixture(scope="module")
def astronaut() -> np.ndarray:
    return pytest.importorskip("skimage.data", reason="scikit-image carries the photograph").astronaut()


def jpeg(image: np.ndarray, quality: int = 92) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    return file.getvalue()


def test_fingerprints_know_a_photograph_again(astronaut: np.ndarray) -> None:
    points = np.random.default_rng(0).uniform(FACE[:2], FACE[2:], (68, 2))
    bits = fingerprint(astronaut, points)
    again = decode_image(jpeg(resize(astronaut, (330, 330)), 60))
    assert (bits ^ fingerprint(again, points * 330 / 512)).bit_count() <= PrepareConfig().duplicate
    other = (bits ^ fingerprint(astronaut[:, ::-1].copy(), points)).bit_count()
    assert other > 4 * PrepareConfig().duplicate


def test_sharpness_falls_with_blur_and_not_with_light(astronaut: np.ndarray) -> None:
    points = np.array([FACE[:2], FACE[2:]], float)
    sharp = sharpness(astronaut, points)
    darker = sharpness((astronaut // 2).astype(np.uint8), points)
    blurred = np.asarray(Image.fromarray(astronaut).filter(ImageFilter.GaussianBlur(4)))
    assert darker == pytest.approx(sharp, rel=0.1)
    assert sharpness(blurred, points) < PrepareConfig().sharpness < 0.3 * sharp


@pytest.fixture(scope="module")
def openhead() -> HeadModel:
    return HeadModel(load_head())


@pytest.fixture(scope="module")
def renders(openhead: HeadModel) -> list[tuple[np.ndarray, FaceParams, Camera]]:
    """Three pictures of heads, and the truth about them (batches of one)."""
    made = []
    for seed in (1, 4, 6):
        random = np.random.default_rng(seed)
        params, camera = random_pose(openhead, random)
        made.append((picture(openhead, params, camera, random)[0], params, camera))
    return made


def test_masks_leave_out_what_covers_the_face(openhead: HeadModel, renders: list) -> None:
    image, params, camera = renders[0]
    one = FaceParams(**{name: value[0] for name, value in vars(params).items()})
    regions = render_regions(openhead, one, Camera(camera.s[0], camera.t[0]), *image.shape[:2])
    face = (regions.face > 0.5) & (regions.normals[..., 2] > 0.15)
    clean = skin_mask(image, regions) > 0
    assert not (clean & ~face).any() and clean[face].mean() > 0.95
    rows, columns = np.nonzero(face)
    covered = image.copy()
    top, left = int(np.quantile(rows, 0.15)), int(np.quantile(columns, 0.6))
    forehead, cheek = np.zeros_like(face), np.zeros_like(face)
    forehead[:top], cheek[int(np.median(rows)) :, left:] = True, True
    covered[forehead] = np.random.default_rng(0).integers(15, 40, (int(forehead.sum()), 3))  # hair
    covered[cheek] = (60, 120, 190)  # something blue
    mask = skin_mask(covered, regions) > 0
    assert mask[face & (forehead | cheek)].mean() < 0.06
    assert mask[face & ~(forehead | cheek)].mean() > 0.85
    assert skin_mask(covered, replace(regions, face=np.zeros_like(regions.face))).max() == 0


# ---- the whole


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory, astronaut: np.ndarray, renders: list) -> Path:
    """A folder of people: good pictures, and every fault."""
    folder = tmp_path_factory.mktemp("photos")
    files = {
        "anna/8_wide.png": make.png(np.zeros((2, 33000, 3), np.uint8)),
        "anna/9_dot.png": make.png(np.zeros((1, 1, 3), np.uint8)),
        "anna/1.jpg": jpeg(astronaut),
        "anna/2_again.jpg": jpeg(resize(astronaut, (400, 400)), 70),
        "anna/3_broken.jpg": jpeg(astronaut)[:9000],
        "anna/4_blurred.jpg": jpeg(np.asarray(Image.fromarray(astronaut).filter(ImageFilter.GaussianBlur(2.5)))),
        "anna/5_tiny.jpg": jpeg(resize(astronaut, (180, 180))),
        "anna/6_nobody.jpg": jpeg(astronaut[250:, 300:].copy()),
        "anna/7_empty.png": b"",
    }
    for number, (image, _, _) in enumerate(renders):
        files[f"head{number}.png"] = jpeg(image, 95)  # the name lies; what counts is the content
    for name, data in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


@pytest.fixture(scope="module")
def prepared(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out") / "shards"
    assert main([str(photos), "--out", str(out), "--jobs", "1"]) == 0
    return out


def reasons(out: Path) -> dict[str, str]:
    lines = (out / "dropped.tsv").read_text().splitlines()
    assert lines[0] == "path\treason"
    return dict(line.split("\t") for line in lines[1:])


def test_faults_are_left_out_and_listed(prepared: Path, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert reasons(prepared) == {
        "anna/2_again.jpg": "duplicate",
        "anna/3_broken.jpg": "cannot be read",
        "anna/4_blurred.jpg": "blurred",
        "anna/5_tiny.jpg": "face too small",
        "anna/6_nobody.jpg": "no face found",
        "anna/7_empty.png": "cannot be read",
        "anna/8_wide.png": "picture too large",
        "anna/9_dot.png": "no face found",
    }
    shards = Shards(prepared, load_head().name)
    assert shards.keys.tolist() == ["head0.png", "head1.png", "head2.png", "anna/1.jpg"]
    assert shards.identities.tolist() == ["head0.png", "head1.png", "head2.png", "anna"]
    before = {path: path.stat().st_mtime_ns for path in prepared.glob("*.arrow")}
    main([str(photos), "--out", str(prepared), "--resume", "--jobs", "1"])  # finished work is not done again
    assert {path: path.stat().st_mtime_ns for path in prepared.glob("*.arrow")} == before
    printed = capsys.readouterr().out
    assert "12 files of 4 people (folders)" in printed
    rows = [" ".join(line.split()) for line in printed.splitlines()]
    assert {"kept 4 33.3 %", "cannot be read 2 16.7 %", "duplicate 1 8.3 %", "all 12 100.0 %"} <= set(rows)


def test_labels_and_landmarks_are_those_of_the_head(prepared: Path, openhead: HeadModel, renders: list) -> None:
    shards, points = Shards(prepared), HeadLandmarks(openhead)
    for sample, (image, params, camera) in zip(shards[:3], renders, strict=True):
        stored = decode_image(sample.image)
        assert max(stored.shape) <= 400 and sample.labels is not None and sample.visible.mean() > 0.9
        scale = float(sample.labels.camera.s) / float(camera.s[0])
        assert 0.85 < scale < 1.15  # one picture does not tell how large a head is
        true = project(camera, points.ibug68(params))[0].numpy()
        box = np.ptp(true, axis=0).mean()
        offset = np.median(sample.landmarks - true, axis=0).round()  # where the stored picture lies in the photograph
        x, y = (-offset).astype(int)
        height, width = stored.shape[:2]
        if min(x, y) >= 0 and max(x + width, y + height) <= len(image):
            difference = np.abs(stored.astype(int) - image[y : y + height, x : x + width])
            assert difference.mean() < 8
        error = np.linalg.norm(sample.landmarks - true - offset, axis=1)[17:].mean()
        assert error < 0.05 * box
        turn = roma.rotvec_geodesic_distance(sample.labels.face.pose, params.pose[0])
        assert np.degrees(float(turn)) < 8
        again = project(
            Camera(sample.labels.camera.s[None], sample.labels.camera.t[None]),
            points.ibug68(FaceParams(**{name: value[None] for name, value in vars(sample.labels.face).items()})),
        )[0]
        np.testing.assert_allclose(again.numpy(), sample.landmarks, atol=0.01)
        assert bool(sample.labels.known) and not bool(sample.labels.lit)
        assert sample.mask is not None
        mask = decode_image(sample.mask, grey=True)
        assert mask.shape == stored.shape[:2] and set(np.unique(mask)) == {0, 255}
        nose = sample.landmarks[30].astype(int)
        assert mask[nose[1], nose[0]] == 255 and mask[:5, :5].max() == 0


def job(photos: Path, out: Path, **kwargs) -> Job:
    return Job(sources.find(photos)[1], out, with_frames(PrepareConfig(), "folders"), **kwargs)


def assert_same_faces(a: Path, b: Path) -> None:
    first, second = Shards(a), Shards(b)
    assert first.keys.tolist() == second.keys.tolist()
    for x, y in zip(first[:], second[:], strict=True):
        assert x.image == y.image and x.identity == y.identity and x.mask is not None
        np.testing.assert_allclose(x.landmarks, y.landmarks, atol=0.02)
    assert reasons(a) == reasons(b)


def test_an_interrupted_run_goes_on(
    photos: Path, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "PHOTOGRAPHS", 2)
    real, seen, stop = Worker.__call__, [], [2]

    def interrupted(self: Worker, items: list[sources.Item]) -> list:
        if len(seen) == stop[0]:
            raise KeyboardInterrupt
        seen.append([item.key for item in items])
        return real(self, items)

    monkeypatch.setattr(Worker, "__call__", interrupted)
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        prepare(job(photos, out))
    assert seen == [["head0.png", "head1.png"], ["head2.png", "anna/1.jpg"]]
    assert len(Shards(out)) == 4
    with (out / "progress.tsv").open("a") as file:
        file.write("anna/2_again.jpg\tdupl")  # as if the machine had stopped while this was written
    seen.clear()
    stop[0] = 99
    counts = prepare(job(photos, out), resume=True)
    assert seen[0] == ["anna/2_again.jpg", "anna/3_broken.jpg"] and len(seen) == 4
    assert counts["kept"] == 4 and counts["duplicate"] == 1
    assert_same_faces(out, prepared)
    progress = out / "progress.tsv"
    lines = progress.read_text().splitlines(keepends=True)
    progress.write_text("".join(lines[1:]))  # as if it had stopped between the shard and the record
    assert prepare(job(photos, out), resume=True) == counts
    assert_same_faces(out, prepared)
    (out / "faces-00000.arrow").write_bytes(b"ARROW1")
    with pytest.raises(ValueError, match=r"faces-00000\.arrow: damaged .* delete it and prepare again with --resume"):
        prepare(job(photos, out), resume=True)
    (out / "faces-00000.arrow").unlink()
    assert prepare(job(photos, out), resume=True) == counts
    assert_same_faces(out, prepared)


def test_processes_do_the_same(photos: Path, prepared: Path, tmp_path: Path) -> None:
    prepare(job(photos, tmp_path / "out", jobs=2))
    assert_same_faces(tmp_path / "out", prepared)


def test_own_landmarks_and_masks_are_taken(photos: Path, prepared: Path, tmp_path: Path) -> None:
    head, anna = Shards(prepared)[0], Shards(prepared)[3]
    assert head.labels is not None
    folder = tmp_path / "some"
    folder.mkdir()
    (folder / "head0.jpg").write_bytes(head.image)
    (folder / "x").mkdir()
    (folder / "x" / "flat.jpg").write_bytes(jpeg(np.random.default_rng(0).integers(0, 255, (300, 300, 3), np.uint8)))
    own = head.landmarks + np.float32(2.0)
    np.savez(tmp_path / "own.npz", **{"head0.jpg": own, "x|flat.jpg": anna.landmarks * 0.8})
    (tmp_path / "masks").mkdir()
    mask = np.zeros(decode_image(head.image).shape[:2], np.uint8)
    mask[:50] = 255
    Image.fromarray(mask).save(tmp_path / "masks" / "head0.png")
    given = ["--landmarks", str(tmp_path / "own.npz"), "--masks", str(tmp_path / "masks")]
    main([str(folder), "--out", str(tmp_path / "out"), "--jobs", "1", "--room", "4", *given])
    shards = Shards(tmp_path / "out")
    assert shards.keys.tolist() == ["head0.jpg", "x/flat.jpg"]  # points are believed where no face is found, too
    sample = shards[0]
    np.testing.assert_allclose(sample.landmarks, own, atol=1e-3)
    assert sample.mask is not None and sample.labels is not None
    np.testing.assert_array_equal(decode_image(sample.mask, grey=True), mask)
    # The head is still fitted to the picture.
    assert float((sample.labels.camera.t - head.labels.camera.t).abs().max()) < 2.0
    Image.fromarray(mask[:-3]).save(tmp_path / "masks" / "head0.png")
    main([str(folder), "--out", str(tmp_path / "other"), "--jobs", "1", *given])
    assert reasons(tmp_path / "other") == {"head0.jpg": "its mask has another size"}


def test_videos_give_varied_frames(tmp_path: Path, astronaut: np.ndarray) -> None:
    (tmp_path / "videos").mkdir()
    clips.write_astronaut(tmp_path / "videos" / "anna.mp4", seconds=0.6)
    (tmp_path / "videos" / "broken.mp4").write_bytes(b"no video")
    counts = prepare(
        Job(sources.find(tmp_path / "videos")[1], tmp_path / "out", PrepareConfig(frames=3, masks=False, smallest=30.0))
    )
    shards = Shards(tmp_path / "out")
    assert len(shards) == counts["kept"] and 1 <= len(shards) <= 3
    assert set(shards.identities.tolist()) == {"anna.mp4"} and shards.keys[0].startswith("anna.mp4#0000")
    assert all(sample.mask is None for sample in shards)
    assert reasons(tmp_path / "out") == {"broken.mp4": "cannot be read"}
    assert (
        prepare(
            Job(
                sources.find(tmp_path / "videos")[1],
                tmp_path / "out",
                PrepareConfig(frames=3, masks=False, smallest=30.0),
            ),
            resume=True,
        )
        == counts
    )


def test_mistakes_are_said_in_a_line(photos: Path, prepared: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "nobody").mkdir()
    Image.new("RGB", (100, 100)).save(tmp_path / "nobody" / "black.png")
    (tmp_path / "full").mkdir()
    touch(tmp_path / "full" / "letter.txt")
    out = str(tmp_path / "out")
    for arguments, says in (
        ([str(tmp_path / "nowhere"), "--out", out], "no such folder"),
        ([str(tmp_path / "empty"), "--out", out], "no picture or video"),
        (
            [str(tmp_path / "nobody"), "--out", out, "--jobs", "1"],
            "no face could be used of 1 pictures: 1 no face found",
        ),
        ([str(photos), "--out", str(prepared)], "holds shards already; --resume"),
        (
            [str(photos), "--out", str(prepared), "--resume", "--smallest", "70"],
            "was begun with smallest 50.0, not 70.0",
        ),
        ([str(photos), "--out", str(tmp_path / "full")], "is not empty"),
        ([str(photos), "--out", out, "--masks", "nowhere"], "no such folder"),
        ([str(photos), "--out", out, "--landmarks", str(tmp_path / "full" / "letter.txt")], "not a .npz"),
        ([str(photos), "--out", out, "--several", "all"], "must be largest or drop"),
        ([str(photos), "--out", out, "--room", "1"], r"must lie in \[1.8, 4\]"),
        ([str(photos), "--out", out, "--jobs", "0"], "at least 1"),
        ([str(photos), "--out", out, "--detector", "opencv"], "must be mediapipe or face-alignment"),
    ):
        with pytest.raises(ValueError, match=says):
            main(arguments)
