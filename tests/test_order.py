"""The order of faces: a pure function of the step that shows everything, and people with several photographs."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import faces as make
import numpy as np
import pytest

from training.config import DataConfig, StageConfig
from training.data.faces import Faces
from training.data.order import Order

ALL = DataConfig(held_out=0.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make.people(tmp_path_factory.mktemp("data") / "people", [1, 2, 3, 5, 1, 4, 7, 2])


@pytest.fixture(scope="module")
def faces(folder: Path) -> Faces:
    return Faces([folder])


def single(batch: int) -> StageConfig:
    return StageConfig(subjects=batch, images=1)


def test_every_epoch_shows_every_face_once_in_another_order(faces: Faces) -> None:
    order = Order(faces, ALL, single(5), seed=3)
    assert order.taking_part == 25 and order.steps == 5
    epochs = [np.concatenate([order.indices(5 * epoch + step) for step in range(5)]) for epoch in range(3)]
    for epoch in epochs:
        assert sorted(epoch.tolist()) == list(range(25))
    assert not np.array_equal(epochs[0], epochs[1])
    other = Order(faces, ALL, single(5), seed=4)
    assert not np.array_equal(other.indices(0), order.indices(0))


def test_a_step_does_not_depend_on_the_steps_before(faces: Faces) -> None:
    stage = StageConfig(subjects=3, images=2)
    forwards = Order(faces, ALL, stage, seed=1)
    batches = [forwards.indices(step) for step in range(40)]
    backwards = Order(faces, ALL, stage, seed=1)
    for step in reversed(range(40)):
        np.testing.assert_array_equal(backwards.indices(step), batches[step])


def test_people_with_a_single_photograph_take_part_if_wanted(faces: Faces) -> None:
    data = DataConfig(held_out=0.0, singles=True)
    order = Order(faces, data, StageConfig(subjects=4, images=2), seed=0)
    assert order.people == 8 and order.taking_part == 25
    batches = np.concatenate([order.indices(step) for step in range(2)]).reshape(8, 2)
    lonely = np.flatnonzero(np.bincount(faces.people) == 1)
    assert {tuple(pair) for pair in faces.people[batches].tolist()} == {(person, person) for person in range(8)}
    assert all((a == b) == (faces.people[a] in lonely) for a, b in batches)


@pytest.mark.parametrize("images", [2, 3, 4])
def test_people_come_with_several_photographs(faces: Faces, images: int) -> None:
    order = Order(faces, ALL, StageConfig(subjects=3, images=images), seed=0)
    assert order.people == 6 and order.taking_part == 23  # two people have one photograph
    sizes = Counter(faces.people.tolist())
    shown: Counter[int] = Counter()
    for step in range(60):
        groups = order.indices(step).reshape(3, images)
        for group in groups:
            person = set(faces.people[group].tolist())
            assert len(person) == 1
            counts = Counter(group.tolist())
            most, least = max(counts.values()), min(counts.values())
            size = sizes[person.pop()]
            assert len(counts) == min(size, images) and most - least <= 1
            shown.update(counts.keys())
    assert set(shown) == {i for i, person in enumerate(faces.people.tolist()) if sizes[person] > 1}
    visits = Counter(int(p) for step in range(60) for p in faces.people[order.indices(step)][::images])
    assert max(visits.values()) - min(visits.values()) <= 1  # everybody as often as the others


def test_photographs_of_a_person_are_all_seen_before_one_comes_again(faces: Faces) -> None:
    order = Order(faces, ALL, StageConfig(subjects=6, images=2), seed=0)
    person = int(faces.people[-3])  # has seven: three pairs
    mine = [i for step in range(3) for i in order.indices(step).tolist() if faces.people[i] == person]
    assert len(mine) == 6 == len(set(mine))


def test_the_same_person_twice_in_a_batch_stands_together(faces: Faces) -> None:
    order = Order(faces, ALL, StageConfig(subjects=11, images=2), seed=0)  # more than there are people
    for step in range(20):
        people = faces.people[order.indices(step)]
        assert len(people) == 22
        assert 1 + np.count_nonzero(np.diff(people)) == len(set(people.tolist()))


def test_processes_share_out_a_batch(faces: Faces) -> None:
    stage = StageConfig(subjects=6, images=2)
    whole = Order(faces, ALL, stage, seed=2)
    parts = [Order(faces, ALL, stage, seed=2, rank=rank, world=3) for rank in range(3)]
    assert [part.offset for part in parts] == [0, 4, 8] and parts[0].batch == 4
    for step in range(10):
        shared = np.concatenate([part.indices(step) for part in parts])
        assert sorted(shared.tolist()) == sorted(whole.indices(step).tolist())
    with pytest.raises(ValueError, match="6 subjects cannot be shared out to 4 workers"):
        Order(faces, ALL, stage, seed=2, world=4)


@pytest.mark.parametrize("images", [1, 2])
def test_folders_have_their_shares(folder: Path, tmp_path: Path, images: int) -> None:
    small = make.people(tmp_path / "small", [3, 3])
    faces = Faces([folder, small])
    assert len(set(faces.people.tolist())) == 10  # the same names are other people in another folder
    data = DataConfig(held_out=0.0, shares=(1.0, 3.0))
    order = Order(faces, data, StageConfig(subjects=8, images=images), seed=0)
    drawn = np.concatenate([order.indices(step) for step in range(128)])
    assert np.mean(faces.folder[drawn] == 1) == 0.75  # 1024 draws: exactly
    counts = Counter(drawn[faces.folder[drawn] == 1].tolist())
    assert len(counts) == 6 and max(counts.values()) < 1.1 * min(counts.values())
    again = Order(faces, data, StageConfig(subjects=8, images=images), seed=0)
    np.testing.assert_array_equal(again.indices(100), order.indices(100))
    without = Order(faces, ALL, single(31), seed=0)
    assert sorted(without.indices(0).tolist()) == list(range(31))  # by size: one sequence of all


def test_validation_sees_other_people_than_training(tmp_path: Path) -> None:
    faces = Faces([make.people(tmp_path / "many", [2] * 200)])
    held = faces.held_out(0.3)
    assert 0.2 < held.mean() < 0.4
    assert not (set(faces.people[held].tolist()) & set(faces.people[~held].tolist()))
    assert (held <= faces.held_out(0.5)).all()  # who is held out stays held out
    fewer = Faces([make.people(tmp_path / "fewer", [2] * 100)])
    np.testing.assert_array_equal(fewer.held_out(0.3), held[:200])  # whoever else is there
    data = DataConfig(held_out=0.3)
    train, check = (Order(faces, data, single(10), seed=0, held_out=flag) for flag in (False, True))
    assert train.taking_part + check.taking_part == 400
    assert held[np.concatenate([check.indices(step) for step in range(20)])].all()
    assert not held[np.concatenate([train.indices(step) for step in range(60)])].any()


def test_small_faces_can_be_left_out(faces: Faces) -> None:
    limit = float(np.median(faces.sides))
    order = Order(faces, DataConfig(held_out=0.0, smallest=limit), single(13), seed=0)
    assert order.taking_part == 13 and (faces.sides[order.indices(0)] >= limit).all()
    with pytest.raises(ValueError, match=r"data\.smallest"):
        Order(faces, DataConfig(held_out=0.0, smallest=1e4), single(13), seed=0)


def test_settings_that_do_not_fit_are_said(faces: Faces, folder: Path, tmp_path: Path) -> None:
    lonely = make.people(tmp_path / "lonely", [1, 1, 1])
    with pytest.raises(ValueError, match=r"lonely: nobody has two photographs.* draws 4 of each"):
        Order(Faces([lonely]), ALL, StageConfig(subjects=2, images=4), seed=0)
    with pytest.raises(ValueError, match="takes none of the 3 people"):
        Order(Faces([lonely]), DataConfig(held_out=1e-9), single(2), seed=0, held_out=True)
    with pytest.raises(ValueError, match="takes all of the 3 people"):
        Order(Faces([lonely]), DataConfig(held_out=0.999999), single(2), seed=0)
    with pytest.raises(ValueError, match="2 numbers for 1 folders"):
        Order(faces, DataConfig(shares=(1.0, 2.0)), single(2), seed=0)
    with pytest.raises(ValueError, match="must be positive"):
        Order(faces, DataConfig(shares=(0.0,)), single(2), seed=0)
    with pytest.raises(ValueError, match="no shards are given"):
        Faces([])
    with pytest.raises(ValueError, match="given twice"):
        Faces([folder, f"{folder}/"])
