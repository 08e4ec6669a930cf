"""How fast a face crop is parsed: processor time on one core, one crop and eight, at several sizes.

    python tests/benchmarks/parsing.py

Processor time, best of several runs, so that other work on the machine disturbs less. Goal: 25 ms a crop.
"""

from __future__ import annotations

import time

import torch

from model.io.parsing import load_parser

GOAL = 25.0  # ms


def best(parser: torch.nn.Module, images: torch.Tensor, repeats: int = 9) -> float:
    """Milliseconds per picture of the fastest run, after two that do not count."""
    times = []
    for _ in range(repeats + 2):
        start = time.process_time()
        parser(images)
        times.append(time.process_time() - start)
    return 1e3 * min(times[2:]) / len(images)


def main() -> None:
    """Prints the table."""
    torch.set_num_threads(1)
    print("ms per crop, one core     64 px  128 px  256 px  512 px")
    for half in (False, True):
        parser = load_parser(half=half)
        for batch in (1, 8):
            times = [best(parser, torch.rand(batch, 3, side, side)) for side in (64, 128, 256, 512)]
            name = f"{'bfloat16' if half else 'float32'}, {batch} at once"
            verdict = "reached" if max(times) <= GOAL else "missed"
            print(f"{name:24}" + "".join(f"{value:8.1f}" for value in times) + f"  goal {GOAL:.0f} ms: {verdict}")


if __name__ == "__main__":
    main()
