"""`track` and `reenact` as typed: results are there, mistakes end in one line, the right status and no file."""

from __future__ import annotations

import json
import wave
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from reenact.cli import main as reenact
from tracker import storage
from tracker.chunks import SETTLE
from tracker.cli import main as track
from tracker.image import resize, write_image
from tracker.track import load_track
from tracker.video import VideoWriter, open_video

FRAMES = 14


def test_an_interrupted_track_goes_on_where_it_was(clip, tracked, tmp_path, capsys, monkeypatch):
    """Stopped in the second chunk; resumed, the detector sees that chunk only, and the result is the same."""
    config = tmp_path / "c.yaml"
    config.write_text("chunk: 30\n")
    long = tmp_path / "long.mp4"
    frames = [frame.image for frame in open_video(clip)]
    with VideoWriter(long, (320, 320), 25) as writer:
        for i in range(40):
            writer.write(frames[i % FRAMES if i // FRAMES % 2 == 0 else FRAMES - 1 - i % FRAMES])
    argv = [str(long), "--config", str(config), "--out"]
    assert track([*argv, str(tmp_path / "whole.npz")]) == 0

    seen = interrupt_at(monkeypatch, 36)
    out = tmp_path / "parts.npz"
    assert track([*argv, str(out)]) == 130 and not out.exists()
    assert track([*argv, str(out), "--resume"]) == 0
    assert seen[36:] == list(range(30 - SETTLE, 40))
    whole, parts = load_track(tmp_path / "whole.npz"), load_track(out)
    np.testing.assert_array_equal(whole.expression, parts.expression)
    np.testing.assert_array_equal(whole.landmarks, parts.landmarks)
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".partial")]
    capsys.readouterr()


def interrupt_at(monkeypatch, count: int) -> list[int]:
    """Ctrl-C at the detector's frame of that number, once; the list fills with the frames that it was asked for."""
    import tracker.detect.mediapipe as backend

    detect, seen = backend.MediaPipeDetector.detect, []

    def counted(self, frame):
        seen.append(frame.index)
        if len(seen) == count:
            raise KeyboardInterrupt
        return detect(self, frame)

    monkeypatch.setattr(backend.MediaPipeDetector, "detect", counted)
    return seen


def fresh_weights(path: Path) -> Path:
    """A network for the shipped head that has learned nothing."""
    import torch

    from model.deca import DECA, DECAConfig
    from model.io.assets import load_head
    from model.io.checkpoints import save_checkpoint

    torch.manual_seed(0)
    deca = DECA(load_head(), DECAConfig("keypoints", resolution=64, gaze=True, normalised=True), 16)
    deca.code_mean[-7 - 27 - 2] = 8.0  # of the camera's scale: a head fills the crop
    save_checkpoint(deca, path, torch.float16)
    return path


def test_a_network_looks_at_every_face(clip, tmp_path, capsys, monkeypatch):
    """Alone it is the answer, and a resumed run gives the same; beside the fit one that is wrong changes nothing."""
    weights, config = fresh_weights(tmp_path / "w.safetensors"), tmp_path / "c.yaml"
    config.write_text("chunk: 30\n")
    long = tmp_path / "long.mp4"
    frames = [frame.image for frame in open_video(clip)]
    with VideoWriter(long, (320, 320), 25) as writer:
        for i in range(36):
            writer.write(frames[i % FRAMES if i // FRAMES % 2 == 0 else FRAMES - 1 - i % FRAMES])
    argv = [str(long), "--weights", str(weights), "--config", str(config), "--no-fit", "--out"]
    whole, parts, out = (tmp_path / name for name in ("whole.npz", "parts.npz", "fit.npz"))
    assert track([*argv, str(whole)]) == 0
    interrupt_at(monkeypatch, 33)
    assert track([*argv, str(parts)]) == 130
    assert track([*argv, str(parts), "--resume"]) == 0
    a, b = load_track(whole), load_track(parts)
    for name in ("shape", "expression", "pose", "camera", "albedo", "light", "detail"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)
    for name in ("shape", "albedo", "detail"):
        assert not np.ptp(getattr(a, name), axis=0).any() and getattr(a, name).any(), name
    assert capsys.readouterr().err.startswith("track: interrupted")
    assert track([str(clip), "--weights", str(weights), "--out", str(out)]) == 0
    assert "the network disagrees with the landmarks in 100 % of the frames" in capsys.readouterr().err
    assert track([str(clip), "--weights", "none", "--out", str(tmp_path / "plain.npz")]) == 0
    fit, plain = load_track(out), load_track(tmp_path / "plain.npz")
    np.testing.assert_array_equal(fit.expression, plain.expression)
    assert fit.albedo is None and fit.light is None and fit.detail is None


def astronaut() -> np.ndarray:
    data = pytest.importorskip("skimage.data")
    return resize(np.ascontiguousarray(data.astronaut()[:280, 90:370]), (320, 320))


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    """A photograph that moves two pixels a frame."""
    path = tmp_path_factory.mktemp("cli") / "clip.mp4"
    picture = np.pad(astronaut(), ((0, 0), (0, 2 * FRAMES), (0, 0)), mode="edge")
    with VideoWriter(path, (320, 320), 25) as writer:
        for i in range(FRAMES):
            writer.write(np.ascontiguousarray(picture[:, 2 * i : 2 * i + 320]))
    return path


@pytest.fixture(scope="module")
def tracked(clip, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("out") / "clip.npz"
    assert track([str(clip), "--out", str(out), "--preview", str(out.with_suffix(".mp4"))]) == 0
    return out


def fails(capsys, command, argv: list[str], status: int, *words: str) -> None:
    """The command ends with this status and one line on stderr that holds the words."""
    assert command([str(a) for a in argv]) == status
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "Traceback" not in err, err
    for word in words:
        assert str(word) in err, err


def test_a_clip_becomes_a_track_and_a_preview(clip, tracked):
    result = load_track(tracked)
    assert len(result) == FRAMES and result.valid.all() and result.faces == (0,)
    assert result.head.startswith("openhead")
    # The photograph moves to the left by two pixels a frame, and so must the head.
    step = np.diff(result.landmarks[:, 17:].mean(1), axis=0).mean(0)
    np.testing.assert_allclose(step, [-2, 0], atol=0.25)
    preview = open_video(tracked.with_suffix(".mp4"))
    assert preview.size == (640, 320) and sum(1 for _ in preview) == FRAMES
    assert [p.name for p in tracked.parent.iterdir() if p.name.startswith(".")] == []


def test_the_preview_shows_the_head_beside_the_input(tracked):
    first = next(iter(open_video(tracked.with_suffix(".mp4")))).image.astype(int)
    left, right = first[:, :320], first[:, 320:]
    x0, y0, x1, y1 = load_track(tracked).box[0].astype(int)
    inside = np.abs(left - right)[y0:y1, x0:x1].mean()
    corner = np.abs(left - right)[-40:, :40].mean()
    assert inside > 20 > 8 > corner


def test_resume_keeps_a_finished_result(clip, tracked, capsys):
    before = tracked.stat().st_mtime_ns
    assert track([str(clip), "--out", str(tracked), "--resume"]) == 0
    assert tracked.stat().st_mtime_ns == before
    assert "is there already" in capsys.readouterr().out


def test_a_result_is_exported_besides(clip, tracked, capsys):
    argv = [str(clip), "--out", str(tracked), "--resume", "--export", ".csv"]
    assert track(argv) == 0
    assert "clip.csv: exported" in capsys.readouterr().out
    assert len(tracked.with_suffix(".csv").read_text().splitlines()) == 1 + FRAMES
    fails(capsys, track, [*argv[:-1], "x.gltb"], 2, "--export x.gltb", "did you mean .glb?")


def test_several_videos_go_on_after_a_bad_one(clip, tmp_path, capsys):
    folder = tmp_path / "talks"
    folder.mkdir()
    (folder / "a.mp4").write_bytes(clip.read_bytes())
    (folder / "b.mp4").write_text("no video")
    out = tmp_path / "params"
    assert track([str(folder), "--out", str(out)]) == 1
    assert sorted(p.name for p in out.iterdir()) == ["a.npz", "logs", "summary.json"]
    assert "not a video" in (out / "logs" / "b.log").read_text()
    assert [v["state"] for v in json.loads((out / "summary.json").read_text())["videos"]] == ["tracked", "failed"]
    printed = capsys.readouterr()
    assert "b.mp4" in printed.err and "1 of 2 videos tracked, 1 failed" in printed.out


def test_resume_knows_videos_by_their_content(clip, tmp_path, capsys):
    video, out = tmp_path / "a.mp4", tmp_path / "a.npz"
    video.write_bytes(clip.read_bytes())
    argv = [str(video), "--out", str(out), "--resume"]
    assert track(argv) == 0 and "is there already" not in capsys.readouterr().out
    video.touch()
    assert track(argv) == 0 and "is there already" in capsys.readouterr().out
    assert track([*argv, "--smooth", "none"]) == 0 and "is there already" not in capsys.readouterr().out
    assert track([*argv, "--smooth", "none"]) == 0 and "is there already" in capsys.readouterr().out


def test_urls_in_and_out(clip, tracked, tmp_path, capsys):
    for name in ("a.mp4", "b.mp4"):
        storage.write(f"memory://{tmp_path.name}/talks/{name}", clip.read_bytes())
    out = f"memory://{tmp_path.name}/params"
    argv = [f"memory://{tmp_path.name}/talks/*.mp4", "--out", out, "--preview", out]
    assert track(argv) == 0
    names = [storage.name_of(place) for place in storage.listing(out)]
    assert names == ["a.mp4", "a.npz", "b.mp4", "b.npz", "logs", "summary.json"]
    with storage.local_copy(f"{out}/b.npz") as path:
        np.testing.assert_array_equal(load_track(path).landmarks, load_track(tracked).landmarks)
    assert track([*argv, "--resume"]) == 0
    assert capsys.readouterr().out.count("is there already") == 2


def audio_only(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.time_base = 16000, Fraction(1, 16000)
        frame.pts = 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def noise(path: Path) -> None:
    rng = np.random.default_rng(0)
    with VideoWriter(path, (160, 120), 25) as writer:
        for _ in range(8):
            writer.write(rng.integers(0, 255, (120, 160, 3), np.uint8))


@pytest.mark.parametrize(
    ("name", "make", "words"),
    [
        ("missing.mp4", lambda path: None, "no such file"),
        ("text.mp4", lambda path: path.write_text("hello\n" * 100), "not a video"),
        ("empty.mp4", lambda path: path.write_bytes(b""), "empty"),
        ("sound.mp4", audio_only, "only sound"),
        ("noise.mp4", noise, "no face"),
    ],
)
def test_bad_videos(name, make, words, tmp_path, capsys):
    video, out = tmp_path / name, tmp_path / "out" / "params.npz"
    make(video)
    fails(capsys, track, [video, "--out", out], 2, name, words)
    assert not out.parent.exists() or not list(out.parent.iterdir())


def test_a_place_that_cannot_be_written_to(clip, tmp_path, capsys):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    fails(capsys, track, [clip, "--out", blocked / "params.npz"], 2, "--out", "cannot write")
    fails(capsys, track, [clip, "--out", "/proc/params.npz"], 2, "--out", "/proc")


def test_a_truncated_video_tracks_what_decodes(clip, tmp_path, capsys):
    long = tmp_path / "long.ts"
    picture = astronaut()
    with av.open(str(long), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"bf": "0"})
        stream.width = stream.height = 320
        for _ in range(40):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    whole = open_video(clip)
    assert whole.truncated is None
    cut = tmp_path / "cut.ts"
    data = long.read_bytes()
    cut.write_bytes(data[: len(data) * 2 // 3])
    out = tmp_path / "cut.npz"
    assert track([str(cut), "--out", str(out)]) == 0
    assert 5 < len(load_track(out)) < 40
    capsys.readouterr()


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--previw", "x.mp4"], "did you mean --preview?"),
        (["--smooth", "kalmann"], "did you mean 'kalman'"),
        (["--faces", "none"], "--faces none"),
        (["--fit-steps", "0"], "--fit-steps 0"),
        (["--head", "nix.npz"], "nix.npz"),
        (["--weights", "nix.safetensors"], "nix.safetensors: no such file"),
        (["--weights", "none", "--no-fit"], "give --weights"),
        (["--config", "nix.yaml"], "nix.yaml"),
    ],
)
def test_bad_options(argv, words, clip, tmp_path, capsys):
    out = tmp_path / "params.npz"
    fails(capsys, track, [clip, "--out", out, *argv], 2, words)
    assert not out.exists()


def test_an_unknown_config_key_names_the_nearest(clip, tmp_path, capsys):
    config = tmp_path / "c.yaml"
    config.write_text("fit: {stpes: 3}\n")
    fails(capsys, track, [clip, "--out", tmp_path / "p.npz", "--config", config], 2, "stpes", "did you mean 'steps'")


def test_out_is_needed(clip, capsys):
    fails(capsys, track, [clip], 2, "--out")


def test_cuda_is_asked_for_where_there_is_none(clip, tmp_path, capsys):
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("a CUDA device is there")
    fails(capsys, track, [clip, "--out", tmp_path / "p.npz", "--device", "cuda"], 2, "--device cuda")


def test_a_photograph_is_moved_by_a_track(tracked, tmp_path, capsys):
    photo, out = tmp_path / "face.png", tmp_path / "moved.mp4"
    write_image(photo, astronaut())
    argv = ["--target", str(photo), "--driver", str(tracked), "--out", str(out)]
    assert reenact([*argv, "--export", ".glb"]) == 0
    assert (tmp_path / "moved.glb").read_bytes()[:4] == b"glTF"
    frames = [frame.image for frame in open_video(out)]
    assert len(frames) == FRAMES
    assert frames[0].shape == astronaut().shape
    likeness = [np.corrcoef(frame.reshape(-1), astronaut().reshape(-1))[0, 1] for frame in frames]
    assert min(likeness) > 0.85  # it is that photograph, moved
    with av.open(str(out)) as container:
        assert "ynthetic" in container.metadata["comment"]
    capsys.readouterr()


def test_a_driver_video_is_tracked_once_and_lends_its_sound(clip, tmp_path, capsys):
    photo, talk, out = tmp_path / "face.png", tmp_path / "talk.mp4", tmp_path / "moved.mp4"
    write_image(photo, astronaut())
    with_sound(clip, talk)
    argv = ["--target", str(photo), "--driver", str(talk), "--out", str(out), "--view", "grid", "--label"]
    assert reenact(argv) == 0
    kept = list(tmp_path.glob("talk-*.track.npz"))
    assert len(kept) == 1 and len(load_track(kept[0])) == FRAMES
    stamp = kept[0].stat().st_mtime_ns
    first = out.read_bytes()
    assert reenact(argv) == 0
    assert kept[0].stat().st_mtime_ns == stamp and out.read_bytes() == first
    with open_video(out) as video, open_video(talk) as source:
        assert video.has_audio
        assert [f.time for f in video] == pytest.approx([f.time for f in source], abs=1e-3)
    assert sound_of(out) == sound_of(talk)
    capsys.readouterr()


def test_mistakes_in_the_options_of_reenact(clip, tracked, tmp_path, capsys):
    photo, out = tmp_path / "face.png", tmp_path / "moved.mp4"
    write_image(photo, astronaut())
    argv = ["--target", photo, "--driver", tracked, "--out", out]
    fails(capsys, reenact, [*argv, "--face", "2"], 2, "--face 2", "1 face")
    fails(capsys, reenact, [*argv, "--damping", "3"], 2, "damping", "[0, 1]")
    fails(capsys, reenact, [*argv, "--gain", "ears=2"], 2, "--gain ears=2", "brows")
    fails(capsys, reenact, [*argv, "--view", "detail", "--weights", "none"], 2, "detail", "weights")
    fails(capsys, reenact, ["--target", tmp_path / "no.png", "--driver", tracked, "--out", out], 2, "no such file")
    fails(capsys, reenact, ["--target", photo, "--driver", clip, "--out", clip], 2, "overwrite the driver")
    other = tmp_path / "other.npz"
    replace(load_track(tracked), head="openhead-0:000000000000").save(other)
    fails(capsys, reenact, ["--target", photo, "--driver", other, "--out", out], 2, "tracked with head", "again")
    assert not out.exists() and not list(tmp_path.glob(".*"))


def with_sound(clip: Path, path: Path) -> None:
    """The clip with a tone."""
    tone = path.with_suffix(".wav")
    with wave.open(str(tone), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes((8000 * np.sin(np.arange(16000) * 0.2)).astype("<i2").tobytes())
    with open_video(clip) as video, VideoWriter(path, video.size, video.fps, audio_from=tone) as writer:
        for frame in video:
            writer.write(frame.image, frame.time)


def sound_of(path: Path) -> list[bytes]:
    """The packets of the sound track."""
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(container.streams.audio[0]) if packet.size]


def test_a_photograph_without_a_face(tracked, tmp_path, capsys):
    photo, out = tmp_path / "blank.png", tmp_path / "moved.mp4"
    write_image(photo, np.full((64, 64, 3), 128, np.uint8))
    fails(capsys, reenact, ["--target", photo, "--driver", tracked, "--out", out], 2, "blank.png", "no face")
    assert not out.exists()


def test_a_head_without_mediapipes_points_is_tracked_by_the_68(clip, tmp_path, capsys):
    """FLAME has no embedding of them; the nearest of MediaPipe's points stand in for iBUG's."""
    from model.io.assets import load_head, save_head

    asset = load_head()
    path = tmp_path / "plain.npz"
    save_head(replace(asset, landmarks=replace(asset.landmarks, mediapipe478=None)), path)
    out = tmp_path / "plain_track.npz"
    assert track([str(clip), "--out", str(out), "--head", str(path)]) == 0
    result = load_track(out)
    step = np.diff(result.landmarks[:, 17:].mean(1), axis=0).mean(0)
    np.testing.assert_allclose(step, [-2, 0], atol=0.4)
    capsys.readouterr()


def test_the_snippet_of_the_readme_runs(tracked, tmp_path, monkeypatch, capsys):
    text = (Path(__file__).parents[1] / "README.md").read_text()
    snippet = text.split("```python\n")[1].split("```")[0]
    (tmp_path / "talk.npz").write_bytes(tracked.read_bytes())
    monkeypatch.chdir(tmp_path)
    exec(compile(snippet, "README.md", "exec"), {})
    assert f"{FRAMES} frames" in capsys.readouterr().out
