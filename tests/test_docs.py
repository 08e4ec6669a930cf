"""Every line that the documentation asks a reader to type works: run as it stands, or, where that takes long, a cluster
or a container, read by the parsers that it is for. Pages are README, CONTRIBUTING and docs/*.md.

A block runs unless a comment ``<!-- check: parse -->`` stands before it. The names in the lines (talk.mp4, face.jpg …)
are files of `desk`. A line is run once, however many pages show it.
"""

from __future__ import annotations

import ast
import builtins
import json
import re
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import yaml
from shell_blocks import PROGRAMS, SHELLS, Block, Call, blocks_of, calls_of, commands_of
from typed import REPOSITORY, never_run, parse, run

from tracker.image import resize, write_image

PAGES = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
BLOCKS = [block for page in PAGES for block in blocks_of(page)]
TEXTS = ("text", "json", "csv", "bibtex")
LINKED = ("configs", "deploy", "docs", "model", "reenact", "tests", "tools", "tracker", "training")
SHARDS = ("photos", "rendered", "synthetic", "plain", "random", "lfw", "celeba", "helen", "webmorph", "video", "london",
          "people", "unseen")  # fmt: skip


def name_of(block: Block) -> str:
    return f"{block.page.relative_to(REPOSITORY)}:{block.line}"


def of(*languages: str) -> dict:
    chosen = [block for block in BLOCKS if block.language in languages]
    return {"argvalues": chosen, "ids": [name_of(block) for block in chosen]}


@pytest.fixture(scope="module")
def scratch(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("shell")


@pytest.fixture(scope="module")
def shelf(tmp_path_factory) -> Path:
    """A checkout to type in that nothing is run in: the repository's folders, and folders of shards."""
    folder = tmp_path_factory.mktemp("shelf")
    for name in LINKED:
        if (REPOSITORY / name).is_dir():
            (folder / name).symlink_to(REPOSITORY / name)
    for name in SHARDS:
        (folder / "shards" / name).mkdir(parents=True)
    return folder


@pytest.fixture(scope="module")
def desk(tmp_path_factory) -> Path:
    """The files that the pages' lines are about: a rendered clip, a photograph, the clip's track."""
    data = pytest.importorskip("skimage.data", reason="the photograph of the documentation's lines is scikit-image's")
    from tracker.cli import main
    from training.clips import write_openhead

    folder = tmp_path_factory.mktemp("desk")
    photo = np.ascontiguousarray(data.astronaut()[:280, 90:370])
    write_image(folder / "face.jpg", resize(photo, (320, 320)))
    write_openhead(folder / "talk.mp4", seconds=0.6)
    write_openhead(folder / "short.mp4", seconds=0.3)
    for place in ("talks/one.mp4", "more/two.mov"):
        (folder / place).parent.mkdir()
        (folder / place).write_bytes((folder / "short.mp4").read_bytes())
    (folder / "photos" / "ann").mkdir(parents=True)
    write_image(folder / "photos" / "ann" / "1.jpg", photo)
    assert main([str(folder / "talk.mp4"), "--out", str(folder / "talk.npz")]) == 0
    return folder


@pytest.fixture(scope="module")
def done() -> set[Call]:
    """What was run already."""
    return set()


@pytest.mark.parametrize("block", **of(*SHELLS))
def test_what_the_reader_types_works(block, request, scratch, monkeypatch):
    assert block.check in ("", "parse"), f"{name_of(block)}: unknown mark {block.check}"
    monkeypatch.setenv("COLUMNS", "120")
    if block.check == "parse":
        calls = calls_of("\n".join(commands_of(block)), request.getfixturevalue("shelf"), scratch)
        assert calls, f"{name_of(block)}: starts nothing"
        for call in calls:
            parse(call, monkeypatch)
        return
    for line in commands_of(block):
        shelf = request.getfixturevalue("shelf")
        calls = calls_of(line, shelf, scratch)
        assert calls, f"{name_of(block)}: {line} starts nothing"
        if never_run(calls):
            for call in calls:
                parse(call, monkeypatch)
            continue
        done = request.getfixturevalue("done")
        for call in calls_of(line, request.getfixturevalue("desk"), scratch):
            if call not in done:
                run(call, monkeypatch)
                done.add(call)


def inline_commands(page: Path) -> list[str]:
    """Commands in the running text, between single backquotes; with an ellipsis they are only hinted at."""
    text = re.sub(r"(?ms)^(```|~~~).*?^\1\s*$", "", page.read_text())
    spans = [" ".join(span.split()) for span in re.findall(r"(?<!`)`([^`]+)`(?!`)", text)]
    spans = [span for span in spans if span.split(" ")[0].removeprefix(".venv/bin/") in PROGRAMS and " " in span]
    return sorted({span for span in spans if not re.search("…|→|[.]{3}", span)})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(REPOSITORY).as_posix())
def test_commands_in_the_text_exist(page, shelf, scratch, monkeypatch, capsys):
    for line in inline_commands(page):
        for call in calls_of(line, shelf, scratch):
            parse(call, monkeypatch, whole=False)
    capsys.readouterr()


_NAMES: dict[Path, dict] = {}


@pytest.mark.parametrize("block", **of("python", "py"))
def test_python_of_the_pages_works(block, request, monkeypatch):
    """It runs, with the names that the page's blocks before it have made; marked, its imports and names are there."""
    tree = ast.parse(block.text, name_of(block))
    if block.check == "parse":
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module:
                module = import_module(node.module)
                for alias in node.names:
                    assert hasattr(module, alias.name), f"{name_of(block)}: {node.module} has no {alias.name}"
        return
    monkeypatch.chdir(request.getfixturevalue("desk"))
    names = _NAMES.setdefault(block.page, {"__builtins__": builtins, "__name__": "page"})
    exec(compile(tree, name_of(block), "exec"), names)


@pytest.mark.parametrize("block", **of("yaml"))
def test_settings_of_the_pages_are_known(block):
    """They are settings of `track` or of training."""
    from model.io.configs import override
    from tracker.config import TrackConfig
    from training.config import TrainConfig

    content = yaml.safe_load(block.text)
    if block.check == "parse":
        return
    errors = []
    for config in (TrackConfig(), TrainConfig()):
        try:
            override(config, content, where=name_of(block))
            return
        except ValueError as error:
            errors.append(str(error))
    raise AssertionError(" / ".join(errors))


def test_the_notebook_runs(desk, tmp_path, monkeypatch, capsys):
    """Every cell, in order, beside a clip; nobody has left outputs or counts in it."""
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    notebook = json.loads((REPOSITORY / "docs" / "quickstart.ipynb").read_text())
    assert notebook["nbformat"] == 4
    (tmp_path / "talk.mp4").write_bytes((desk / "talk.mp4").read_bytes())
    monkeypatch.chdir(tmp_path)
    names: dict = {"__name__": "notebook"}
    for number, cell in enumerate(notebook["cells"]):
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [] and cell["execution_count"] is None, f"cell {number} has outputs"
            exec(compile("".join(cell["source"]), f"quickstart.ipynb, cell {number}", "exec"), names)
    from matplotlib import pyplot

    assert len(pyplot.get_fignums()) == 3
    pyplot.close("all")
    assert (tmp_path / "moved.mp4").stat().st_size > 1000
    assert f"{len(names['face'])} frames of talk.mp4" in capsys.readouterr().out


def test_every_block_says_what_it_is():
    known = (*SHELLS, *TEXTS, "python", "py", "yaml", "mermaid")
    unknown = [f"{name_of(block)} '{block.language}'" for block in BLOCKS if block.language not in known]
    assert not unknown, f"blocks of code without a language that is checked: {', '.join(unknown)}"


def test_dead_lines_are_found(shelf, scratch, monkeypatch, capsys):
    """The checks see what they are for: unknown programs, options, settings, targets, extras, files."""
    for line in (
        "track talk.mp4 --out talk.npz --colour red",
        "python training/run.py --config configs/train_coarse.yaml --data shards/photos coarse.rat 5e-5",
        "python training/run.py --config configs/no_such.yaml --data shards/photos",
        "python -m training.no_such_module --out x",
        "python -m training.evaluate no_such_protocol x",
        "python tests/benchmarks/speed.py --colour red",
        "make coffee",
        "make demo COLOUR=red",
        "pip install 'decatrack[coffee]'",
        "docker build -f deploy/Dockerfile.none .",
        "docker run --rm image track /data/talk.mp4 --colour red",
        "wget https://example.com",
        "track 'unfinished",
    ):
        with pytest.raises((AssertionError, ImportError, ValueError)):
            for call in calls_of(line, shelf, scratch):
                parse(call, monkeypatch)
                pytest.fail(f"took {line}", pytrace=False)
    capsys.readouterr()


def test_loops_and_folders_are_the_shells(shelf, scratch):
    script = (
        "for s in a b; do\n  track $s.mp4 --out $s.npz\ndone\ncd shards\npython ../training/run.py --data $(echo c)"
    )
    calls = calls_of(script, shelf, scratch)
    assert [call.arguments for call in calls[:2]] == [("a.mp4", "--out", "a.npz"), ("b.mp4", "--out", "b.npz")]
    assert calls[2] == Call(shelf / "shards", "python", ("../training/run.py", "--data", "c"))
