"""Options that several protocols share: what is judged, and where the results go."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from tracker.command import Parser
from training.evaluate.estimate import Estimator, open_estimators


def parser_of(protocol: str, description: str | None) -> Parser:
    """A parser with --out and --head."""
    parser = Parser(prog=f"python -m training.evaluate {protocol}", description=description)
    parser.add_argument("--out", type=Path, metavar="DIR", help="also write tables (JSON), arrays (npz), plots (PNG)")
    parser.add_argument("--head", default="openhead", metavar="NAME|PATH", help="the head (default: openhead)")
    return parser


def add_estimators(parser: Parser, mean: bool = True) -> None:
    """Options --weights, --fit and --mean; any of them together."""
    parser.add_argument(
        "--weights", action="append", default=[], metavar="PATH", help="a network's weights; may be given repeatedly"
    )
    parser.add_argument("--fit", action="store_true", help="the tracker's landmark fit")
    if mean:
        parser.add_argument("--mean", action="store_true", help="the mean head, to compare with")


def add_held_out(parser: Parser) -> None:
    """Option --held-out."""
    parser.add_argument(
        "--held-out",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="only people that training with data.held_out SHARE never saw (default: all)",
    )


def estimators_of(options: Namespace, others: bool = False) -> list[Estimator]:
    """What the options name.

    Args:
        others: whether something else is judged already, so that none is needed.

    Raises:
        ValueError: nothing is named, or it cannot be opened.
    """
    found = open_estimators(options.weights, options.fit, getattr(options, "mean", False), options.head)
    names = [estimator.name for estimator in found]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"--weights: two files are called {name}; rename one, the tables name them by it")
    if not found and not others:
        raise ValueError("nothing to judge; give --weights PATH, --fit, --mean or what else --help names")
    return list(found)


def folder_of(options: Namespace) -> Path:
    """The positional folder.

    Raises:
        ValueError: there is none.
    """
    folder = Path(options.folder)
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder")
    return folder
