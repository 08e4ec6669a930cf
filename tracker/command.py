"""What every command line of the project does alike: one-line errors, exit statuses, options that know their names.

Exit status 2: the user's mistake (`ValueError`); 1: the work failed; 130: interrupted. A traceback only with --debug.
"""

from __future__ import annotations

import argparse
import difflib
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import NoReturn


class Parser(argparse.ArgumentParser):
    """argparse with errors of one line, and with the nearest option's name for an unknown one."""

    def __init__(self, **kwargs):
        super().__init__(allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **kwargs)
        self.add_argument("--debug", action="store_true", help="show the traceback of an error")

    def parse(self, argv: Sequence[str] | None) -> argparse.Namespace:
        """The parsed arguments; raises ValueError where argparse would print its usage and exit."""
        argv = sys.argv[1:] if argv is None else argv
        options = [o for action in self._actions for o in action.option_strings if o.startswith("--")]
        for word in argv:  # before argparse, which would complain first of what the misspelt option left out
            name = word.split("=")[0]
            if word.startswith("--") and len(word) > 2 and name not in options:
                close = difflib.get_close_matches(name, options, n=1, cutoff=0.5)
                raise ValueError(
                    f"unknown option {name}; " + (f"did you mean {close[0]}?" if close else self._see_help())
                )
        known, unknown = self.parse_known_args(argv)
        if unknown:
            raise ValueError(f"unknown argument {unknown[0]}; {self._see_help()}")
        return known

    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message}; {self._see_help()}")

    def _see_help(self) -> str:
        return f"see {self.prog} --help"


def run(name: str, command: Callable[[Sequence[str]], int], argv: Sequence[str] | None = None) -> int:
    """Runs ``command(argv)`` and turns what it raises into one line on stderr and an exit status."""
    argv = sys.argv[1:] if argv is None else argv
    debug = "--debug" in argv
    try:
        return command(argv)
    except KeyboardInterrupt:
        return _failed(name, "interrupted; nothing half-written is left (--resume goes on)", 130, debug)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader of our output went away
        return 1
    except ValueError as error:
        return _failed(name, str(error), 2, debug)
    except MemoryError:
        return _failed(name, "out of memory", 1, debug)
    except Exception as error:
        return _failed(name, f"{type(error).__name__}: {error}", 1, debug)


def _failed(name: str, message: str, status: int, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    line = " ".join(message.split())  # one line, whatever a library put into its message
    print(f"{name}: {line}", file=sys.stderr)
    return status
