"""`decatrack COMMAND …`: what people do with a track once they have it.

A command is a line of `COMMANDS` and a module with two functions: ``add_arguments(parser)`` declares its options, and
``main(options) -> int`` does the work and returns the exit status. The module is imported only when its command is
chosen, and must not import heavy libraries before `main` runs, so that ``--help`` and misspelt options answer at once.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module

from tracker.command import Parser, run


@dataclass(frozen=True)
class Command:
    """Where a command lives and what it is for.

    Attributes:
        module: with ``add_arguments`` and ``main``; its docstring is the head of ``decatrack COMMAND --help``.
        summary: a few words for ``decatrack --help``.
    """

    module: str
    summary: str


COMMANDS = {
    "export": Command("tracker.export.command", "a track to glTF, USD, OBJ, PLY, Live Link Face CSV, FLAME npz"),
    "view": Command("tracker.view.command", "a track on a web page: play, scrub and orbit, beside or over the video"),
    "report": Command("tracker.report.command", "a track as one HTML page: curves, gaps, jitter, a contact sheet"),
    "convert": Command("tracker.convert.command", "older params.npz, and codes of other tools, to this version's"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """The console script: 0 when all went well, 2 for a user's mistake, 1 when the work failed."""
    argv = sys.argv[1:] if argv is None else list(argv)
    chosen = argv[0] if argv else "--help"
    if chosen in ("-h", "--help"):
        print(_overview())
        return 0
    name = f"decatrack {chosen}" if chosen in COMMANDS else "decatrack"
    return run(name, lambda words: _run(chosen, words[1:]), argv)


def _run(chosen: str, argv: Sequence[str]) -> int:
    if chosen not in COMMANDS:
        close = difflib.get_close_matches(chosen, COMMANDS, n=1, cutoff=0.5)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(COMMANDS)}"
        raise ValueError(f"unknown command {chosen}; {hint}")
    module = import_module(COMMANDS[chosen].module)
    parser = Parser(prog=f"decatrack {chosen}", description=module.__doc__)
    module.add_arguments(parser)
    return module.main(parser.parse(argv))


def _overview() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {command.summary}" for name, command in COMMANDS.items()]
    return "\n".join(["usage: decatrack COMMAND ...", "", *lines, "", "decatrack COMMAND --help says more."])


if __name__ == "__main__":
    sys.exit(main())
