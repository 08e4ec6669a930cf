"""The viewer: its geometry, its frames, what it writes, and all of it in a real Chromium."""

import json
import shutil
import socket
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from test_report import SIZE, openhead_track

from model.camera import project
from model.deca import DECA, DECAConfig
from model.head import HeadModel
from model.io.checkpoints import read_checkpoint
from model.params import Camera
from tracker.commands import main
from tracker.image import encode_image
from tracker.track import Track
from tracker.video import VideoWriter, open_video
from tracker.view.frames import STEP, FrameReader
from tracker.view.glb import unlit_glb
from tracker.view.page import Wanted
from tracker.view.panel import bars, frame_json, frame_python
from tracker.view.player import ALL, Drawer, Timeline
from tracker.view.scene import OVER, over, seen_at
from tracker.view.surfaces import Surfaces

ROOT = Path(__file__).parent.parent
WEB = ROOT / "tests" / "web"


def looks(track: Track, albedo=50, detail=None, seed=0) -> Track:
    """The track with colours, light and a detail code, as long as the shipped networks' unless told."""
    detail = read_checkpoint("openhead").config.detail if detail is None else detail
    rng = np.random.default_rng(seed)
    n = len(track)
    light = np.zeros((n, 9, 3), np.float32)
    light[:, 0], light[:, 3] = 3.0, 0.8
    codes = [np.repeat(rng.normal(size=(1, k)), n, 0).astype(np.float32) for k in (albedo, detail)]
    return replace(track, albedo=codes[0], light=light, detail=codes[1])


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    """90 frames, each with its number as its colour; key frames 30 apart."""
    path = tmp_path_factory.mktemp("view") / "clip.mp4"
    with VideoWriter(path, SIZE, 25) as writer:
        for k in range(90):
            writer.write(np.full((SIZE[1], SIZE[0], 3), 40 + 2 * k, np.uint8))
    return path


@pytest.mark.parametrize("tall", [1.0, 0.4])
def test_a_head_over_the_picture_lies_where_it_was_seen(tall):
    rng = np.random.default_rng(0)
    vertices = rng.normal(size=(50, 3)) * 0.08
    camera = np.array([700.0, 300.0, 170.0])
    points = over(vertices, camera, (640, 360), np.array([0.0, 0.02, 0.01]), tall)
    expected = project(
        Camera(torch.tensor(camera[0]), torch.from_numpy(camera[1:])), torch.from_numpy(vertices)
    ).numpy()
    assert np.abs(seen_at(points, (640, 360), tall) - expected).max() < 1e-3
    assert points[:, 2].max() < OVER.distance / 2


def test_frames_in_any_order_are_those_of_the_video(clip):
    with open_video(clip) as video:
        inorder = [frame.image[0, 0, 0] for frame in video]
        reader = FrameReader(video, longest=160)
        assert reader.size == (160, 90) and reader.frames == 90
        for k in (0, 1, 2, 60, 31, 30, 89, 5, 88, 0):
            image = reader.at(k)
            assert image is not None and image.shape == (90, 160, 3)
            assert abs(int(image[5, 5, 0]) - int(inorder[k])) <= 1, k
        assert reader.at(90) is None and reader.at(-1) is None
        reader.close()


def test_what_is_decoded_on_the_way_is_kept(clip, monkeypatch):
    with open_video(clip) as video:
        reader = FrameReader(video)
        started = []
        real = reader._start
        monkeypatch.setattr(reader, "_start", lambda frame: started.append(frame) or real(frame))
        for k in (*range(STEP), 3, 20, 40):
            reader.at(k)
        assert started == [0]


def test_timeline_of_gaps_and_faces():
    track = openhead_track(rows=(10, 4))
    rows = np.r_[0:3, 6:10, 10:14]  # the first face is away for three frames
    line = Timeline.of(track.select(rows))
    assert len(line) == 10 and line.rows[:, 0].tolist() == [0, 1, 2, -1, -1, -1, 3, 4, 5, 6]
    assert line.rows[:, 1].tolist() == [7, 8, 9, 10, *[-1] * 6]
    assert np.allclose(line.time, np.arange(10) / 25)
    assert [line.at(s) for s in (0.0, 0.039, 0.04, 0.2, 9.0)] == [0, 0, 1, 5, 9]


@pytest.fixture(scope="module")
def tiny() -> Surfaces:
    from heads import tiny_head

    asset = tiny_head()
    torch.manual_seed(0)
    config = DECAConfig(
        backbone="mobilenetv2", shape=10, expression=8, albedo=len(asset.albedo_basis), detail=16, resolution=64
    )
    return Surfaces(HeadModel(asset), DECA(asset, config, 32).eval(), 2)


def tiny_track(surfaces: Surfaces) -> Track:
    from test_track import make_track

    track = make_track(head="tiny:1", expression_names=surfaces.head.asset.expression_names)
    assert surfaces.head.asset.albedo_basis is not None
    return looks(replace(track, head="tiny:1"), len(surfaces.head.asset.albedo_basis), 16)


def test_surfaces_divide_into_parts(tiny):
    track = tiny_track(tiny)
    face = track.params(0)
    coarse = tiny.coarse(face)
    assert coarse.shape == tiny.head.asset.template.shape
    for parts, factor in ((tiny.coarse_parts, 1), (tiny.detailed_parts, 4)):
        assert sum(len(part.faces) for part in parts) == factor * len(tiny.head.asset.faces)
        for part in parts:
            assert part.faces.max() == len(part.vertices) - 1
    assert track.detail is not None
    detailed = tiny.detailed(face, track.detail[0])
    flat = tiny.detailed(face, np.zeros_like(track.detail[0]))
    assert 0 < np.abs(detailed - flat).max() < 0.02
    assert track.albedo is not None and track.light is not None
    made = tiny.textured(face, track.albedo[0], track.light[0], track.detail[0])
    assert np.array_equal(made.vertices[tiny.uv_faces], coarse[tiny.head.asset.faces])
    brighter = tiny.textured(face, track.albedo[0], 2 * track.light[0], track.detail[0])
    assert brighter.texture.mean() > made.texture.mean() + 5


def test_detail_is_what_deca_decodes(tiny):
    """The quick way, points alone, against the whole decoding."""
    from model.dense import DenseSurface
    from model.params import Appearance, CropCamera, FaceParams

    track = tiny_track(tiny)
    deca = tiny._deca
    face = track.params(slice(0, 1))
    code = torch.from_numpy(track.detail[:1])
    with torch.inference_mode():
        decoded = deca.decode(
            FaceParams(*(getattr(face, name) for name in FaceParams.__dataclass_fields__)),
            Appearance(torch.from_numpy(track.albedo[:1]), torch.from_numpy(track.light[:1]), code),
            CropCamera(torch.ones(1), torch.zeros(1, 2)),
        )
        slow = DenseSurface(tiny.head.asset, 2)(decoded.mesh, decoded.detail.displacement).mesh.vertices[0]
    assert np.abs(tiny.detailed(track.params(0), track.detail[0]) - slow.numpy()).max() < 1e-6


def test_drawer_follows_what_is_wanted(tiny):
    track = tiny_track(tiny)
    drawer = Drawer(track, tiny, None)
    names = drawer.names
    assert len(names) == 3 and names[-1] == ALL
    shown = drawer.shown(Wanted(frame=2, face=ALL, over=True))
    assert len(shown.heads) == 2 and shown.picture is None
    assert len(drawer.shown(Wanted(frame=2, face=ALL)).heads) == 1  # beside, they would stand in each other
    gone = drawer.shown(Wanted(frame=0, face=names[1]))
    assert not gone.heads and "no such face" in gone.status
    glb = drawer.shown(Wanted(frame=2, face=names[0], surface="texture")).heads[0]
    assert isinstance(glb, bytes)


def test_glb_is_well_formed():
    vertices = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    uv, faces = np.linspace(0, 1, 10).reshape(5, 2), np.array([[0, 1, 2], [2, 3, 4]])
    jpeg = encode_image(np.full((8, 8, 3), 100, np.uint8), ".jpg")
    data = unlit_glb(vertices, uv, faces, jpeg)
    magic, version, length = struct.unpack("<4sII", data[:12])
    assert (magic, version, length) == (b"glTF", 2, len(data))
    size = struct.unpack("<I", data[12:16])[0]
    document, body = json.loads(data[20 : 20 + size]), data[28 + size :]

    def view(k, dtype, width):
        v = document["bufferViews"][k]
        return np.frombuffer(body[v["byteOffset"] : v["byteOffset"] + v["byteLength"]], dtype).reshape(-1, width)

    assert np.array_equal(view(0, np.float32, 3), vertices)
    assert np.allclose(view(1, np.float32, 2), uv * (1, -1) + (0, 1))
    assert np.array_equal(view(2, np.uint16, 3), faces)
    assert all(v["byteOffset"] % 4 == 0 for v in document["bufferViews"])


def test_bars_name_every_unit():
    track = openhead_track(rows=(3,))
    text = bars(track.expression_names, np.linspace(0, 1, 50), np.array([0.25, 0, 0]))
    assert text.count('class="b') == 51 and "14°" in text and "R 0.22" in text
    signed = bars((), np.array([-1.5, 0.5]), np.zeros(3))
    assert "−1.50" in signed or "-1.50" in signed


def test_copied_parameters_make_the_same_head():
    track = looks(openhead_track(rows=(3,)))
    record = json.loads(frame_json(track, 1))
    assert record["frame"] == 1 and list(record["expression"]) == list(track.expression_names)
    space: dict = {}
    exec(frame_python(track, 1), space)
    for name in ("shape", "expression", "pose", "jaw", "eyes"):
        assert torch.allclose(getattr(space["face"], name), getattr(track.params(1), name), atol=1e-5)
    assert torch.allclose(space["camera"].t, track.cameras(1).t)


def test_mistakes_are_one_line(tmp_path, capsys, monkeypatch, clip):
    (tmp_path / "bad.npz").write_bytes(b"nothing")
    track = openhead_track(rows=(3,))
    good = tmp_path / "good.npz"
    track.save(good)
    replace(track, head="flame2023:1").save(tmp_path / "other.npz")
    looks(track, detail=7).save(tmp_path / "long.npz")
    wrong = tmp_path / "wrong.npz"
    replace(track, size=(64, 64)).save(wrong)
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        for words, text in (
            (["bad.npz"], "not a params.npz"),
            (["none.npz"], "no such track"),
            (["good.npz", "--port", "x"], "--port x: must be a whole number"),
            (["good.npz", "--port", str(busy.getsockname()[1])], "cannot be used"),
            (["other.npz"], "--head is openhead-1"),
            (["wrong.npz", "--video", str(clip)], "is 320×180, the track was made from 64×64"),
            (["long.npz"], "detail coefficients, the track has 7; give the weights"),
        ):
            pytest.importorskip("viser")
            assert main(["view", str(tmp_path / words[0]), *words[1:], "--no-browser"]) == 2, words
            error = capsys.readouterr().err.strip().splitlines()[-1]
            assert error.startswith("decatrack view: ") and text in error
    monkeypatch.setitem(sys.modules, "viser", None)
    assert main(["view", str(good), "--no-browser"]) == 2
    assert "pip install 'decatrack[view]'" in capsys.readouterr().err


def _chromium() -> str:
    found = next((p for n in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(n))), None)
    if shutil.which("node") is None or found is None or not (WEB / "node_modules" / "playwright-core").is_dir():
        pytest.skip("needs node, Chromium and playwright-core; tools/setup_web.sh installs them")
    return found


def test_in_a_real_browser(tmp_path):
    chromium = _chromium()
    pytest.importorskip("viser")
    track = looks(openhead_track(rows=(60,)))
    track.save(tmp_path / "p.npz")
    with VideoWriter(tmp_path / "clip.mp4", SIZE, 25) as writer:
        for k in range(60):
            writer.write(np.full((SIZE[1], SIZE[0], 3), (3 * k, 90, 160), np.uint8))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "tracker.commands", "view", str(tmp_path / "p.npz")]
    command += ["--video", str(tmp_path / "clip.mp4"), "--port", str(port), "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as server:
        try:
            assert server.stdout is not None and f"http://localhost:{port}" in server.stdout.readline()
            run = subprocess.run(
                ["node", str(WEB / "view.mjs"), f"http://localhost:{port}", str(tmp_path), chromium],
                capture_output=True, text=True, timeout=120,
            )  # fmt: skip
            assert run.returncode == 0, run.stderr
            seen = json.loads(run.stdout)
        finally:
            server.send_signal(2)
            rest = server.communicate(timeout=20)[0]
    assert server.returncode == 0 and "frames drawn in" in rest
    assert not seen["errors"], seen["errors"]
    assert seen["differ"], "coarse, detail and texture look alike"
    assert len(seen["played"]) >= 4
    blink = track.expression[17, track.expression_names.index("eyeBlinkLeft")]
    assert f"L {blink:.2f}" in seen["bars"]
    assert json.loads(seen["copied"])["frame"] in range(60)
