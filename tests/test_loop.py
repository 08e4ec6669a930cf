"""The loop: stopped and resumed it repeats itself, what is not a number stops it, and what it keeps is whole."""

from __future__ import annotations

import dataclasses
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from toy_stage import ToyStage, toy_batch, toy_deca, toy_task

from model.io.checkpoints import read_checkpoint
from training.checkpoint import load_state
from training.config import StageConfig, TrainConfig
from training.ema import Average
from training.interrupt import Stop
from training.log import grid, read_curve
from training.loop import DivergedError, train
from training.schedule import rate_at, steps_of


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Threads cost more than they bring for networks this small."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class After(Stop):
    """Asks to stop once a number of steps were asked about."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.left = steps

    def __bool__(self) -> bool:
        self.left -= 1
        return self.left <= 0


def run(head, out: Path, poison: str = "", steps: int = 12, config: TrainConfig | None = None, **kwargs) -> bool:
    deca = toy_deca(head)
    return train(ToyStage(deca, poison), deca, toy_task(head, out, steps, config), **kwargs)


@pytest.fixture(scope="module")
def whole(tiny_head, tmp_path_factory) -> Path:
    """A run that was never stopped."""
    out = tmp_path_factory.mktemp("whole")
    assert run(tiny_head, out)
    return out / "coarse"


def same_weights(one: Path, other: Path) -> bool:
    a, b = load_state(one), load_state(other)
    pairs = [(a.weights, b.weights), (a.average, b.average)]
    pairs += [(a.optimiser["state"][i], b.optimiser["state"][i]) for i in a.optimiser["state"]]
    return all(torch.equal(x[name], y[name]) for x, y in pairs for name in x)


@pytest.mark.parametrize("stops", [(1,), (7,), (3, 4, 2)])
def test_stopped_and_resumed_the_curve_is_the_same_bit_for_bit(tiny_head, whole, tmp_path, stops):
    for steps in stops:
        assert not run(tiny_head, tmp_path, stop=After(steps), resume=True)
    assert load_state(tmp_path / "coarse" / "last.pt").step == sum(stops)
    assert run(tiny_head, tmp_path, resume=True)
    parts = tmp_path / "coarse"
    for file in ("curve.jsonl", "validation.jsonl"):
        assert (parts / file).read_bytes() == (whole / file).read_bytes(), file
    for file in ("best.safetensors", "last.safetensors"):
        one, other = read_checkpoint(parts / file).state, read_checkpoint(whole / file).state
        assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one), file
    assert same_weights(parts / "last.pt", whole / "last.pt")


def test_a_killed_run_goes_on_from_its_last_checkpoint(tiny_head, whole, tmp_path):
    """Nothing is written when it dies; lines of steps after the checkpoint, the last one cut off, are written again."""

    class Killed(BaseException):
        pass

    class DiesAt(Stop):
        left = 8

        def __bool__(self) -> bool:
            self.left -= 1
            if self.left == 0:
                raise Killed
            return False

    with pytest.raises(Killed):
        run(tiny_head, tmp_path, stop=DiesAt())
    curve = tmp_path / "coarse" / "curve.jsonl"
    assert [line["step"] for line in read_curve(curve)] == list(range(1, 8))
    curve.write_text(curve.read_text()[:-9])
    assert load_state(tmp_path / "coarse" / "last.pt").step == 5
    assert run(tiny_head, tmp_path, resume=True)
    assert curve.read_bytes() == (whole / "curve.jsonl").read_bytes()


def test_a_signal_ends_it_after_the_step(tiny_head, tmp_path):
    task = toy_task(tiny_head, tmp_path)

    def batches(start):
        for step in range(start, task.steps):
            if step == 2:
                os.kill(os.getpid(), signal.SIGTERM)
            yield toy_batch(tiny_head, step)

    deca = toy_deca(tiny_head)
    before = signal.getsignal(signal.SIGTERM)
    with Stop() as stop:
        assert not train(ToyStage(deca), deca, dataclasses.replace(task, batches=batches), stop=stop)
        assert stop.status == 128 + signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is before
    assert load_state(tmp_path / "coarse" / "last.pt").step == 3


def test_the_second_signal_is_not_held_back():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where tests run in the background
    try:
        with pytest.raises(KeyboardInterrupt), Stop() as stop:
            os.kill(os.getpid(), signal.SIGINT)
            assert stop
            os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_loss_that_is_not_a_number_stops_it_and_names_the_batch(tiny_head, tmp_path):
    with pytest.raises(DivergedError, match=r"step 8 of coarse: colour is not a number; faces 7-0, 7-1, 7-2, 7-3"):
        run(tiny_head, tmp_path, poison="7-1")
    folder = tmp_path / "coarse"
    kept = load_state(folder / "last.pt")
    assert kept.step == 5
    assert all(value.isfinite().all() for value in kept.weights.values() if value.is_floating_point())
    assert '"7-3"' in (folder / "diverged-0.json").read_text()
    assert run(tiny_head, tmp_path, resume=True)  # with the face mended


def test_data_that_fails_costs_nothing_that_was_learned(tiny_head, tmp_path):
    task = toy_task(tiny_head, tmp_path)

    def batches(start):
        for step in range(start, 3):
            yield toy_batch(tiny_head, step)
        raise ValueError("faces-00000.arrow, row 3: picture 'x' is damaged")

    deca = toy_deca(tiny_head)
    with pytest.raises(ValueError, match="row 3"):
        train(ToyStage(deca), deca, dataclasses.replace(task, batches=batches))
    assert load_state(tmp_path / "coarse" / "last.pt").step == 3


def test_a_checkpoint_of_another_run_is_refused_by_what_differs(tiny_head, tmp_path):
    run(tiny_head, tmp_path, stop=After(2))
    other = dataclasses.replace(TrainConfig(), seed=3)
    with pytest.raises(ValueError, match=r"last\.pt: of another run: seed was 0, is 3; go on with"):
        run(tiny_head, tmp_path, config=other, resume=True)
    harmless = dataclasses.replace(TrainConfig(), workers=2, device="cpu")
    assert run(tiny_head, tmp_path, config=harmless, resume=True)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no zip", b"\x80\x04K\x01."])
def test_a_damaged_checkpoint_is_named(tiny_head, tmp_path, content):
    (tmp_path / "coarse").mkdir()
    (tmp_path / "coarse" / "last.pt").write_bytes(content)
    with pytest.raises(ValueError, match=r"last\.pt: not a checkpoint that can be read"):
        run(tiny_head, tmp_path, resume=True)


def test_it_learns_and_keeps_the_mean_weights(tiny_head, tmp_path):
    assert run(tiny_head, tmp_path, steps=60)
    folder = tmp_path / "coarse"
    losses = [line["loss"] for line in read_curve(folder / "curve.jsonl")]
    judged = read_curve(folder / "validation.jsonl")
    assert np.mean(losses[-10:]) < 0.5 * np.mean(losses[:10])
    assert [line["step"] for line in judged] == [0, *range(4, 61, 4)]
    state = load_state(folder / "last.pt")
    assert state.best == min(line["loss"] for line in judged)
    kept = read_checkpoint(folder / "last.safetensors").state
    differ = 0
    for name, value in state.average.items():
        assert torch.equal(kept[name], value)
        differ += not torch.equal(value, state.weights[name])
    assert differ > 5
    assert not list(folder.glob(".*")), "no half-written file is left"


def test_pictures_are_written(whole):
    assert sorted(path.name for path in (whole / "pictures").iterdir()) == ["0000006.png", "0000012.png"]
    picture = np.asarray(Image.open(whole / "pictures" / "0000012.png"))
    left, right = picture[14:, :8].astype(int), picture[14:, 8:].astype(int)
    assert abs(left + right - 255).max() <= 1


def test_tensorboard_has_every_term(whole):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = EventAccumulator(str(whole / "tensorboard"))
    board.Reload()
    names = set(board.Tags()["scalars"])
    assert {"loss/colour", "loss/prior", "loss/sum", "rate", "gradient", "pace/images_per_second"} <= names
    assert {"validation/colour", "validation/loss"} <= names
    assert [event.step for event in board.Scalars("loss/sum")] == [2, 4, 6, 8, 10, 12]


def test_grid_brings_pictures_to_one_size():
    shown = grid({"input": torch.ones(9, 3, 20, 30), "uv": torch.zeros(9, 3, 64, 64)})
    assert shown.shape == (14 + 6 * 20, 60, 3)
    assert shown[14:, :30].min() == 255 and shown[14:, 30:].max() == 0


def test_the_mean_follows_the_weights_at_its_rate():
    layer = torch.nn.Linear(2, 1, bias=False)
    torch.nn.init.zeros_(layer.weight)
    average = Average(layer, 0.9)
    with torch.no_grad():
        layer.weight.fill_(1)
    for step in range(1000, 1003):
        average.update(step)
    torch.testing.assert_close(average.state["weight"], torch.full((1, 2), 1 - 0.9**3))
    with average.applied():
        assert float(layer.weight.detach().max()) < 0.5
    assert float(layer.weight.detach().min()) == 1
    exact = Average(layer, 0.0)
    with torch.no_grad():
        layer.weight.fill_(5)
    exact.update(1)
    assert torch.equal(exact.state["weight"], layer.weight)


def test_rate_rises_and_falls_as_configured():
    flat = StageConfig(rate=1.0)
    assert {rate_at(flat, step, 100) for step in range(100)} == {1.0}
    shaped = StageConfig(rate=1.0, warmup=10, decay=True)
    rates = [rate_at(shaped, step, 110) for step in range(110)]
    np.testing.assert_allclose(rates[:10], np.arange(1, 11) / 10)
    np.testing.assert_allclose(rates[60], 0.5)
    assert rates[10:] == sorted(rates[10:], reverse=True) and 0 < rates[-1] < 1e-3


def test_steps_are_given_or_counted_from_epochs():
    assert steps_of(StageConfig(epochs=1.5, subjects=8, images=4), 2_000_000) == 93_750
    assert steps_of(StageConfig(epochs=0.01, subjects=8, images=4), 10) == 1
    assert steps_of(StageConfig(steps=7), 10**6) == 7
