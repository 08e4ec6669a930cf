"""`python training/run.py --config configs/train_coarse.yaml`: train DECA."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

if __package__ in (None, ""):  # run as a script: the packages lie beside this file's folder, not in it
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from model.io.configs import load_config
from tracker.command import Parser, run
from training.config import TrainConfig
from training.settings import with_settings

DESCRIPTION = """\
Train DECA on shards of faces (python -m training.prepare, python -m training.synthetic).

  python training/run.py --config configs/train_coarse.yaml --data shards/
  python training/run.py --config configs/train_coarse.yaml --data shards/ --resume
  python training/run.py --config configs/train_coarse.yaml coarse.loss.identity 0 out out/no_identity --data shards/

Settings on the command line come on top of the file's; training/config.py says what each means. SIGTERM or Ctrl-C
writes a checkpoint after the step under way.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """0 when training is finished, 2 for a user's mistake, 1 when it failed, 128 + signal when it was stopped."""
    return run("training/run.py", _train, argv)


def parser() -> Parser:
    """The options."""
    p = Parser(prog="training/run.py", description=DESCRIPTION)
    p.add_argument("settings", nargs="*", metavar="KEY VALUE", help="settings, such as coarse.rate 5e-5")
    p.add_argument("--config", metavar="FILE.yaml", help="settings from a file")
    p.add_argument("--data", nargs="+", metavar="DIR", help="folders of shards (data.shards)")
    p.add_argument("--resume", action="store_true", help="go on with the run in its folder, and with what is missing")
    return p


def read_config(options) -> TrainConfig:
    """Defaults, then the file, then the command line.

    Raises:
        ValueError: an unknown setting, or a value that is none of its own.
    """
    config = load_config(TrainConfig(), options.config) if options.config else TrainConfig()
    settings, folders = list(options.settings), list(options.data or [])
    # argparse gives --data every word up to the next option: settings may stand among them.
    while len(folders) > 1 and not Path(folders[-1]).is_dir():
        cut = next(i for i in range(1, len(folders)) if not Path(folders[i]).is_dir())
        folders, settings = folders[:cut], settings + folders[cut:]
    config = with_settings(config, settings)
    return with_settings(config, ["data.shards", ",".join(folders)]) if folders else config


def _train(argv: Sequence[str]) -> int:
    options = parser().parse(argv)
    config = read_config(options)
    # Here, so that --help and mistakes in the settings do not wait for torch.
    from training.interrupt import Stop
    from training.pipeline import check, run_stages

    check(config, options.resume)
    with Stop() as stop:
        if config.workers > 1:
            from training.launch import launch

            finished = launch(config, resume=options.resume, stop=stop)
        else:
            finished = run_stages(config, resume=options.resume, stop=stop)
    if finished:
        return 0
    print(f"training/run.py: stopped; the same command with --resume goes on ({config.out})", file=sys.stderr)
    return stop.status


if __name__ == "__main__":
    sys.exit(main())
