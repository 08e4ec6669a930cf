"""Train and judge the face-parsing network (docs/parsing.md).

    python -m training.parsing --photos ../shared/data/train/celebamask1000 --out OUT [--config FILE.yaml] [--resume]
    python -m training.parsing --photos ../shared/data/train/celebamask1000 --evaluate [--weights FILE.safetensors]

The photographs are 320×320 px, NAME.jpg with NAME_mask.png (CelebAMask-HQ's classes). A tenth of them, by a hash of
their files, is held out.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from model.io.assets import load_head
from model.io.configs import load_config
from model.io.parsing import SHIPPED, load_parser
from tracker.command import Parser, run
from tracker.progress import Progress
from training.parsing.batches import Batches
from training.parsing.config import ParsingConfig
from training.parsing.evaluate import table
from training.parsing.loss import part_weights
from training.parsing.portraits import read_portraits
from training.parsing.renders import keep_portraits, render_portraits
from training.parsing.train import train

_ABOUT = {
    "made by": "python -m training.parsing",
    "data": "CelebAMask-HQ, 900 portraits (Lee et al. 2020), non-commercial research; rendered heads of openhead (CC0)",
}


def main(argv: Sequence[str]) -> int:
    """Command line."""
    parser = Parser(prog="python -m training.parsing", description=__doc__)
    parser.add_argument("--photos", type=Path, required=True, metavar="DIR", help="photographs with their masks")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where weights, log and state are written")
    parser.add_argument("--config", type=Path, metavar="FILE.yaml", help="settings in place of the defaults")
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out")
    parser.add_argument("--evaluate", action="store_true", help="only print the IoU of the held-out photographs")
    parser.add_argument("--weights", default=SHIPPED, metavar="FILE", help="to evaluate (default: the shipped ones)")
    parser.add_argument("--threads", type=int, default=1, help="processor threads (default 1)")
    options = parser.parse(argv)
    if options.threads < 1:
        raise ValueError(f"--threads is {options.threads}, must be at least 1")
    if options.evaluate == (options.out is not None):
        raise ValueError("give --out DIR to train, or --evaluate")
    torch.set_num_threads(options.threads)
    if options.evaluate:
        print(table(load_parser(options.weights), read_portraits(options.photos, evaluation=True)))
        return 0
    config = ParsingConfig() if options.config is None else load_config(ParsingConfig(), options.config)
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"--out {options.out}: cannot be made ({error.strerror})") from None
    with Progress("parsing") as progress:
        photographs = read_portraits(options.photos, False, progress)
        head = load_head()
        rendered = keep_portraits(
            options.out / "renders.npz",
            lambda: render_portraits(head, config.renders, config.seed, progress),
            f"{head.digest} {config.seed} {config.renders}",
        )
        batches = Batches(photographs, rendered, config)
        weights = part_weights(photographs.parts, config.balance)
        held_out = read_portraits(options.photos, True)
        path = train(batches, weights, held_out, config, options.out, options.resume, _ABOUT, progress)
    print(f"{path}: the weights")
    print(table(load_parser(path), held_out))
    return 0


if __name__ == "__main__":
    sys.exit(run("parsing", main))
