"""`decatrack COMMAND`: the table of commands, and its errors of one line."""

from importlib import import_module
from importlib.util import find_spec

import pytest

from tracker.command import Parser
from tracker.commands import COMMANDS, main


def test_without_a_command_it_lists_them(capsys):
    assert main([]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed and command.summary in listed for name, command in COMMANDS.items())


def test_the_nearest_command_is_named(capsys):
    assert main(["exprot", "x.npz"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "did you mean export?" in error


@pytest.mark.parametrize("name", COMMANDS)
def test_commands_declare_their_options(name, capsys):
    if find_spec(COMMANDS[name].module) is None:
        pytest.skip(f"{COMMANDS[name].module} is not there yet")
    module = import_module(COMMANDS[name].module)
    module.add_arguments(Parser(prog=name))
    assert module.__doc__
    with pytest.raises(SystemExit) as stopped:
        main([name, "--help"])
    assert stopped.value.code == 0
    assert main([name, "--no-such-option-at-all"]) == 2
    assert "unknown option --no-such-option-at-all" in capsys.readouterr().err
