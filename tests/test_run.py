"""`training/run.py` as typed: settings reach their place, mistakes end in one line, and nothing is lost."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from shards_of_colour import write_config, write_shards

from model.io.checkpoints import read_checkpoint, write_checkpoint
from model.io.configs import load_config
from training.checkpoint import load_state
from training.config import TrainConfig
from training.log import read_curve
from training.run import main, parser, read_config
from training.settings import with_settings

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def config(tiny_head, tmp_path) -> Path:
    shards = write_shards(tmp_path / "shards", tiny_head, people=5, each=2)
    return write_config(tmp_path / "c.yaml", tiny_head, shards)


@pytest.fixture(scope="module")
def trained(tiny_head, tmp_path_factory) -> Path:
    """A finished pretraining and what it takes to go on from it."""
    folder = tmp_path_factory.mktemp("trained")
    shards = write_shards(folder / "shards", tiny_head, people=5, each=2)
    assert main(["--config", str(write_config(folder / "c.yaml", tiny_head, shards))]) == 0
    return folder


def fails(capsys, argv: list[str], status: int, *words: str) -> None:
    """The command ends with this status and one line on stderr that holds the words."""
    capsys.readouterr()
    assert main(argv) == status
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    for word in words:
        assert word in lines[0], lines[0]


def test_settings_come_on_top_of_the_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.yaml").write_text("seed: 3\ncoarse: {rate: 0.5, subjects: 2}\n")
    Path("one").mkdir()
    Path("two").mkdir()
    words = ["--config", "c.yaml", "--resume", "--data", "one", "two", "coarse.rate", "1e-4", "stages", "coarse,detail"]
    config = read_config(parser().parse(words))
    assert config.seed == 3 and config.coarse.rate == 1e-4 and config.coarse.subjects == 2
    assert config.data.shards == ("one", "two") and config.stages == ("coarse", "detail")
    first = ["coarse.loss.photometric", "1", "--data", "one"]
    assert read_config(parser().parse(first)).coarse.loss.photometric == 1.0
    assert with_settings(config, ["data.scale", "1.6,1.6", "model.curved", "true"]).data.scale == (1.6, 1.6)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["coarse.lss.eye", "1"], "did you mean 'loss'"),
        (["coars.rate", "1"], "did you mean 'coarse'"),
        (["coarse.rate", "fast"], "expected float, got 'fast'"),
        (["coarse.steps", "2.5"], "expected int"),
        (["coarse.loss", "1"], "coarse.loss.landmark"),
        (["seed.x", "1"], "'seed' has no parts"),
        (["seed"], "'seed' has no value"),
        (["precision", "float3"], "did you mean 'float32'"),
        (["--data", "there", "nowhere"], "nowhere"),
        (["--rseume"], "did you mean --resume"),
        (["workers", "0"], "workers must be at least 1"),
        (["stages", "coarse,pretrain"], "in order"),
        (["save_every", "0"], "save_every"),
        (["device", "cuda"], "no GPU"),
    ],
)
def test_mistakes_in_settings_are_named(capsys, words, message, config):
    if words == ["device", "cuda"] and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    fails(capsys, [*words, "--config", str(config)], 2, message)


@pytest.mark.parametrize("name", ["pretrain", "coarse", "detail"])
def test_the_shipped_stages_are_the_papers_which_are_the_defaults(name):
    config = load_config(TrainConfig(), ROOT / "configs" / f"train_{name}.yaml")
    assert config.stages == (name,)
    given = yaml.safe_load((ROOT / "configs" / f"train_{name}.yaml").read_text())
    loss = given[name].pop("loss")
    default = getattr(TrainConfig(), name)
    assert given[name] == {key: getattr(default, key) for key in given[name]}
    assert loss == {key: getattr(default.loss, key) for key in loss}
    assert config.model == TrainConfig().model


def test_every_training_config_is_valid():
    files = [*ROOT.glob("configs/train_*.yaml"), *ROOT.glob("configs/ablations/*.yaml")]
    assert len(files) > 5
    for file in files:
        if file.name != "train_parsing.yaml":
            load_config(TrainConfig(), file)


def test_as_a_script_it_finds_the_packages(tmp_path):
    done = subprocess.run(
        [sys.executable, str(ROOT / "training" / "run.py"), "--help"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0 and "--resume" in done.stdout, done.stderr


def test_no_data_is_one_line(capsys, config, tmp_path):
    (tmp_path / "empty").mkdir()
    fails(capsys, ["--config", str(config), "--data", str(tmp_path / "empty")], 2, "empty: no meta.json there")
    fails(capsys, ["--config", str(config), "--data", str(tmp_path / "none")], 2, "none: no such folder")
    fails(capsys, [], 2, "no shards are given")
    assert not (tmp_path / "out" / "pretrain").exists()


def test_one_image_of_each_person_where_two_are_needed(capsys, tiny_head, trained, tmp_path):
    shards = write_shards(tmp_path / "shards", tiny_head, people=5, each=1)
    start = str(trained / "out" / "pretrain" / "best.safetensors")
    config = write_config(tmp_path / "c.yaml", tiny_head, shards, stages="[coarse]", coarse="{subjects: 2, images: 2}")
    words = ["model.start", start, "out", str(tmp_path / "out")]
    fails(capsys, ["--config", str(config), *words], 2, "nobody has two photographs")


def test_a_damaged_picture_is_named_and_nothing_is_lost(capsys, tiny_head, tmp_path):
    """Whenever it comes, the steps before it are kept, and the run goes on once it is mended."""
    from training.data.faces import Faces
    from training.data.order import Order
    from training.loop import seed_of

    shards = write_shards(tmp_path / "shards", tiny_head, people=12, each=1)
    path = write_config(tmp_path / "c.yaml", tiny_head, shards)
    config = load_config(TrainConfig(), path)
    faces = Faces([shards])
    order = Order(faces, config.data, config.pretrain, seed_of(config.seed, "pretrain"))
    third = faces[int(order.indices(2)[0])].key
    broken = write_shards(tmp_path / "broken", tiny_head, people=12, each=1, damaged=third)
    fails(capsys, ["--config", str(path), "--data", str(broken)], 2, f"picture '{third}'", "row")
    assert load_state(tmp_path / "out" / "pretrain" / "last.pt").step == 2
    assert main(["--config", str(path), "--resume"]) == 0
    assert len(read_curve(tmp_path / "out" / "pretrain" / "curve.jsonl")) == 6


def test_a_finished_run_is_not_written_over(capsys, trained):
    argv = ["--config", str(trained / "c.yaml")]
    before = (trained / "out" / "pretrain" / "last.pt").stat().st_mtime_ns
    fails(capsys, argv, 2, "last.pt is there already", "--resume")
    assert main([*argv, "--resume"]) == 0
    assert "finished already" in capsys.readouterr().out
    fails(capsys, [*argv, "--resume", "pretrain.rate", "0.5"], 2, "pretrain.rate was 0.0001, is 0.5")
    assert (trained / "out" / "pretrain" / "last.pt").stat().st_mtime_ns == before
    told = load_config(TrainConfig(), trained / "out" / "pretrain" / "config.yaml")
    assert told == load_config(TrainConfig(), trained / "c.yaml")


def test_weights_of_another_head_or_size_are_refused(capsys, trained, tmp_path):
    checkpoint = read_checkpoint(trained / "out" / "pretrain" / "best.safetensors")
    other = tmp_path / "other.safetensors"
    write_checkpoint(dataclasses.replace(checkpoint, head="flame-2020"), other)
    argv = ["--config", str(trained / "c.yaml"), "out", str(tmp_path / "out"), "model.start"]
    fails(capsys, [*argv, str(other)], 2, "head was flame-2020, is tiny")
    own = str(trained / "out" / "pretrain" / "best.safetensors")
    fails(capsys, [*argv, own, "model.detail", "5"], 2, "detail was 4, is 5")
    fails(capsys, [*argv, str(tmp_path / "none.safetensors")], 2, "no such file")
    fails(capsys, [*argv, "", "stages", "detail"], 2, "stage detail needs a trained coarse encoder")
    assert not (tmp_path / "out" / "pretrain").exists()


def test_weights_learned_at_another_resolution_go_on(trained, tmp_path):
    own = str(trained / "out" / "pretrain" / "best.safetensors")
    argv = ["--config", str(trained / "c.yaml"), "out", str(tmp_path / "out"), "model.start", own]
    assert main([*argv, "model.resolution", "40", "pretrain.steps", "1"]) == 0
    assert read_checkpoint(tmp_path / "out" / "pretrain" / "best.safetensors").config.resolution == 40


def test_a_loss_that_is_no_number_ends_with_status_1(capsys, config, tmp_path, monkeypatch):
    from training.stages.pretrain import PretrainStage

    forward, steps = PretrainStage.forward, []

    def poisoned(self, batch, generator):
        steps.append(batch.keys)
        terms = forward(self, batch, generator)
        return terms | {"landmark": terms["landmark"] * float("inf")} if len(steps) == 4 else terms

    monkeypatch.setattr(PretrainStage, "forward", poisoned)
    fails(capsys, ["--config", str(config)], 1, "step 4 of pretrain: landmark is not a number; faces p")
    told = json.loads((tmp_path / "out" / "pretrain" / "diverged-0.json").read_text())
    assert tuple(told["keys"]) == steps[3] and told["step"] == 4
    assert load_state(tmp_path / "out" / "pretrain" / "last.pt").step == 2
    monkeypatch.undo()
    assert main(["--config", str(config), "--resume"]) == 0
