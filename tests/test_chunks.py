"""Chunks: cuts of a video into work, what is seen in them, and the video put together again."""

from __future__ import annotations

from dataclasses import fields, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from moving import FRAMES, write_clip

from tracker.chunks import Seen, chunks_of, look
from tracker.config import TrackConfig
from tracker.detect import open_detector
from tracker.encode import DETAILED, Crops
from tracker.merge import Merger
from tracker.observation import FaceCodes
from tracker.pipeline import track_video
from tracker.resume import DetectionStore
from tracker.seek import read_index
from tracker.video import Video, open_video


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    return write_clip(tmp_path_factory.mktemp("chunks") / "clip.mp4", FRAMES)


@pytest.mark.parametrize("frames", [0, 1, 29, 30, 31, 90])
def test_every_frame_is_in_one_chunk(frames: int) -> None:
    chunks = chunks_of(frames, 30)
    assert [chunk.number for chunk in chunks] == list(range(len(chunks))) and chunks[0].start == 0
    for a, b in pairwise(chunks):
        assert a.stop == b.start == a.start + 30
    assert chunks[-1].stop is None and chunks[-1].start < max(frames, 1)


class FakeEyes:
    """Says which crop it is shown: the mean colours are the shape. Answers at once."""

    resolution = 32

    def coarse(self, crops: Crops):
        count = len(crops.images)
        shape = crops.images.reshape(count, -1, 3).mean(1).astype(np.float32)
        zero = {
            n: np.zeros((count, k), np.float32) for n, k in (("expression", 2), ("pose", 3), ("jaw", 3), ("eyes", 6))
        }
        zero |= {"camera": crops.places.astype(np.float32), "albedo": shape, "detail": np.zeros((count, 3), np.float32)}
        light, size = np.zeros((count, 9, 3), np.float32), crops.sizes.astype(np.float32)
        return _There(
            FaceCodes(np.ones(count, bool), shape, **zero, light=light, size=size, detailed=np.zeros(count, bool))
        )

    def detail(self, images: np.ndarray):
        return _There(images.reshape(len(images), -1, 3).mean(1).astype(np.float32))


class _There:
    def __init__(self, value) -> None:
        self._value = value

    def result(self):
        return self._value


def seen(video: Video, length: int) -> list[Seen]:
    index = read_index(video.path)
    with open_detector(dither=True) as detector:
        return [look(video, index, chunk, detector, FakeEyes()) for chunk in chunks_of(index.frames, length)]


def gathered(parts: list[Seen], size: tuple[int, int]):
    merger = Merger(size)
    for part in parts:
        merger.push(part)
    return merger.finish(FakeEyes())


def test_chunks_in_any_order_and_from_disk_give_the_same(clip: Path, tmp_path: Path) -> None:
    """What is seen in a chunk depends on nothing that was seen before it."""
    with open_video(clip) as video:
        index = read_index(clip)
        store = DetectionStore.beside(tmp_path / "a.npz", clip, "settings")
        with open_detector(dither=True) as detector:
            for chunk in chunks_of(index.frames, 30)[::-1]:
                store.save(chunk.number, look(video, index, chunk, detector, FakeEyes()))
        straight = seen(video, 30)
    assert store.finished() == set(range(5)) and store.load(7) is None
    assert replace(store, key="other").finished() == set()
    for number, part in enumerate(straight):
        again = store.load(number)
        assert again is not None
        for field in fields(Seen):
            if field.name in ("codes", "best"):
                a, b = getattr(again, field.name), getattr(part, field.name)
                for inner in fields(a):
                    np.testing.assert_array_equal(getattr(a, inner.name), getattr(b, inner.name))
            elif field.name != "spent":
                np.testing.assert_array_equal(getattr(again, field.name), getattr(part, field.name))
    store.discard()
    assert not list(tmp_path.iterdir())


def test_codes_and_crops_belong_to_the_faces_they_were_cut_from(clip: Path) -> None:
    with open_video(clip) as video:
        parts = seen(video, 50)
        whole = gathered(parts, video.size)
    assert sum(len(part.best.rows) for part in parts if part.best) <= DETAILED + len(parts)
    codes = whole.codes
    assert codes is not None and len(codes) == FRAMES and whole.frames == FRAMES
    assert DETAILED / 2 <= codes.detailed.sum() <= DETAILED
    # The fake's detail code is made from the crop, as its shape is: of the same crop they are the same.
    np.testing.assert_array_equal(codes.detail[codes.detailed], codes.shape[codes.detailed])
    found = np.concatenate([face.found for face in whole.faces])
    assert sorted(found[found >= 0]) == list(range(FRAMES))


def test_another_length_gives_the_same_faces_and_nearly_the_same_landmarks(clip: Path) -> None:
    """Ids, frames and cuts the same; landmarks within 1 % of the distance of the outer eye corners."""
    with open_video(clip) as video:
        config = TrackConfig(weights="none", faces="all")
        whole = track_video(video, config)
        parts = track_video(video, replace(config, chunk=30))
    for name in ("face", "frame", "time", "shot", "valid"):
        np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name), err_msg=name)
    assert list(np.flatnonzero(np.diff(whole.shot)) + 1) == [60, 100]
    apart = np.linalg.norm(parts.landmarks - whole.landmarks, axis=-1)
    eyes = np.linalg.norm(whole.landmarks[:, 36] - whole.landmarks[:, 45], axis=-1)
    assert (apart.mean(1) / eyes).max() < 0.01


def test_a_face_goes_on_over_the_border_of_chunks_and_two_stay_two() -> None:
    def part(start: int, damaged: bool = False) -> Seen:
        frames = np.arange(start, start + 3)
        if damaged:
            frames = frames[[0, 2]]
        left, right = (np.array([[x, 40.0], [x + 20, 60.0]]) for x in (10.0, 100.0))
        count = len(frames)
        return Seen(
            frame=frames,
            time=frames / 25,
            cut=np.zeros(count, bool),
            count=np.full(count, 2),
            points=np.tile(np.stack([left, right]), (count, 1, 1)).astype(np.float32),
            kept=None,
            scheme="ibug68",
            confidence=np.ones(2 * count),
            box=np.tile(np.stack([left.ravel(), right.ravel()]), (count, 1)),
            codes=None,
            best=None,
            damage="lost" if damaged else None,
        )

    whole = gathered([part(0), part(3, damaged=True), part(6)], (200, 100))
    assert len(whole.faces) == 2 and whole.frames == 8 and whole.damage == "lost"
    for face in whole.faces:
        assert face.seen.all() and list(face.frame) == list(range(8)) and np.ptp(face.points, axis=0).max() == 0
    assert list(whole.faces[0].found) == list(range(0, 16, 2))


def test_a_cut_begins_a_shot_wherever_it_lies(clip: Path) -> None:
    for length in (30, 50, 61):
        with open_video(clip) as video:
            cuts = np.concatenate([part.cut for part in seen(video, length)])
        assert list(np.flatnonzero(cuts)) == [60, 100], length
