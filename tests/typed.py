"""Commands of the documentation, run in this process or only read by the parsers that they have: for `test_docs.py`."""

from __future__ import annotations

import argparse
import contextlib
import re
import runpy
import sys
import warnings
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest
from shell_blocks import Call

tomllib = pytest.importorskip("tomllib", reason="read pyproject.toml with Python 3.11 or newer")

REPOSITORY = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
SCRIPTS: dict[str, str] = PROJECT["scripts"]


class Parsed(BaseException):
    """The options were understood; what follows them is not run."""

    def __init__(self, options: argparse.Namespace) -> None:
        super().__init__("parsed")
        self.options = options


def run(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """Does what was typed, in this process.

    Raises:
        AssertionError: its exit status is not zero.
    """
    monkeypatch.chdir(call.folder)
    status = _start(call, monkeypatch)
    assert status == 0, f"{call.program} {' '.join(call.arguments)}: exit status {status}"


def parse(call: Call, monkeypatch: pytest.MonkeyPatch, whole: bool = True) -> None:
    """Has the command's own parser read its options, and its own reader the configuration; nothing is done.

    Args:
        whole: whether all that is required must be there; a command that a sentence mentions leaves things out.

    Raises:
        AssertionError: the command, one of its options, settings or files in the repository does not exist.
    """
    monkeypatch.chdir(call.folder)
    typed = f"{call.program} {' '.join(call.arguments)}"
    if call.program in CHECKS:
        CHECKS[call.program](call, monkeypatch)
        return
    if not _has_parser(call):
        assert not call.arguments[2 if call.arguments[0] == "-m" else 1 :], f"{typed}: takes no options"
        return
    plain, depth = argparse.ArgumentParser.parse_known_args, [0]

    def parse_known_args(self, args=None, namespace=None):
        depth[0] += 1
        for action in self._actions:
            action.required &= whole
        try:
            options, rest = plain(self, args, namespace)
        except ValueError as error:  # a sentence names an option without its value
            if whole or "expected one argument" not in str(error):
                raise
            options, rest = argparse.Namespace(), []
        finally:
            depth[0] -= 1
        if depth[0] == 0:
            assert not rest, f"{typed}: unknown {rest}"
            raise Parsed(options)
        return options, rest

    with monkeypatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_known_args", parse_known_args)
        try:
            status = _start(call, monkeypatch)
        except Parsed as parsed:
            if whole:
                _check_settings(call, parsed.options)
            return
    assert status == 0 and "--help" in call.arguments, f"{typed}: refused, exit status {status}"


def _start(call: Call, monkeypatch: pytest.MonkeyPatch) -> int:
    """Exit status of a command of ours; `--help` counts as any other."""
    words = list(call.arguments)
    with contextlib.ExitStack() as stack:
        patch = stack.enter_context(monkeypatch.context())
        try:
            if call.program in SCRIPTS:
                module, _, function = SCRIPTS[call.program].partition(":")
                return int(getattr(import_module(module), function)(words) or 0)
            assert call.program in ("python", "python3"), f"nobody knows how to run {call.program}; mark the block"
            if words[0] == "-m":
                patch.setattr(sys, "argv", [words[1], *words[2:]])
                stack.enter_context(warnings.catch_warnings())
                warnings.filterwarnings("ignore", ".*found in sys.modules after import", RuntimeWarning)
                runpy.run_module(words[1], run_name="__main__", alter_sys=True)
            else:
                script = Path(words[0]).resolve()
                patch.setattr(sys, "path", [str(script.parent), *sys.path])
                patch.setattr(sys, "argv", words)
                runpy.run_path(str(script), run_name="__main__")
        except SystemExit as end:
            return int(end.code or 0)
    return 0


def _has_parser(call: Call) -> bool:
    if call.program in SCRIPTS:
        return True
    assert call.program in ("python", "python3"), f"nobody knows {call.program}"
    words = call.arguments
    if words[0] == "-m":
        spec = find_spec(words[1])
        assert spec is not None and spec.origin is not None, f"no module {words[1]}"
        source = Path(spec.origin)
        if source.name == "__init__.py":
            source = source.with_name("__main__.py")
    else:
        source = call.folder / words[0]
    assert source.is_file(), f"no {source}"
    return re.search(r"\.add_argument\(|tracker\.command", source.read_text()) is not None


def _check_settings(call: Call, options: argparse.Namespace) -> None:
    """Files of settings are there, and are understood together with the command line's own settings."""
    if call.program == "track":
        from tracker.cli import _config

        _config(options)
    elif "training/run.py" in call.arguments[0]:
        from training.run import read_config

        read_config(options)
    elif getattr(options, "config", None):
        assert Path(options.config).is_file(), f"no {options.config}"


def _check_make(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (REPOSITORY / "Makefile").read_text()
    for word in call.arguments:
        name, equals, _ = word.partition("=")
        assert re.search(rf"\$\({name}\)" if equals else rf"(?m)^{re.escape(word)}:", text), f"Makefile has no {word}"


def _check_pip(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    assert call.arguments[0] == "install", call
    for word in call.arguments[1:]:
        _check_requirement(word, call)


def _check_requirement(word: str, call: Call) -> None:
    name, _, extras = word.rstrip("]").partition("[")
    if word.startswith("-") or name.endswith(".whl"):
        return
    assert name in (".", PROJECT["name"]), f"pip install {word}: what is that?"
    for extra in filter(None, extras.split(",")):
        assert extra in PROJECT["optional-dependencies"], f"there is no extra {extra}"


def _check_pipx(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    assert call.arguments[0] == "run", call
    words = list(call.arguments[1:])
    while words and words[0] == "--spec":
        _check_requirement(words[1], call)
        words = words[2:]
    parse(Call(call.folder, words[0], tuple(words[1:])), monkeypatch)


def _check_files(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of ours among the arguments are there, and a command of ours after ``--`` or an image is understood."""
    words = list(call.arguments)
    for flag in ("-f", "--file", "--filename"):
        for i, word in enumerate(words[:-1]):
            if word == flag:
                assert (REPOSITORY / words[i + 1]).exists(), f"no {words[i + 1]}"
    for word in words:
        if word.startswith(("configs/", "deploy/", "tools/", "tests/")):
            assert (REPOSITORY / word).exists(), f"no {word}"
    names = [i for i, word in enumerate(words) if word in SCRIPTS and i]
    if names:
        parse(Call(call.folder, words[names[0]], tuple(words[names[0] + 1 :])), monkeypatch)


def _check_nothing(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs of others, without files of ours."""


CHECKS: dict[str, Callable[[Call, pytest.MonkeyPatch], None]] = {
    "make": _check_make,
    "pip": _check_pip,
    "pipx": _check_pipx,
    **dict.fromkeys(("docker", "kubectl", "ray", "bash", "jupyter"), _check_files),
    **dict.fromkeys(("git", "cp", "mkdir", "pre-commit"), _check_nothing),
}
"""Programs that are never started."""


def never_run(calls: Sequence[Call]) -> bool:
    """Whether a line starts only programs that installs, clusters and containers are made with."""
    return all(call.program in CHECKS for call in calls)
