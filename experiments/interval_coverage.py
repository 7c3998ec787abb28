"""Do the intervals of paired differences cover what they should? Simulated differences.

    python experiments/interval_coverage.py      # a minute; nothing is trained

The truth is known: mean 0, blocks of neighbouring windows that move together, training seeds, and
what a seed does to a block. Expected result: between 93 and 98 % wherever an interval speaks of
training in general (three seeds and more). With fewer seeds it speaks of these trainings, and that
is what it covers; how rarely it covers training in general is the last column, and the reason.
"""

import sys
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from hicray.metrics.paired import BLOCK_WINDOWS, MIN_SEEDS, half_width

BLOCKS, SEEDS = (8, 12, 24, 48), (1, 2, 3, 5)
SPREADS = ((0.02, 0.002), (0.02, 0.01), (0.005, 0.02))
"""Standard deviations of blocks and of seeds: blocks rule, both count, seeds rule."""
TOGETHER, WITHIN = 0.005, 0.01
"""Standard deviations of a seed's effect on a block, and of windows within it."""
Cells = Float64[np.ndarray, "blocks seeds"]
"""Mean difference of each block under each seed."""


class Coverage(NamedTuple):
    """How often intervals held the truth.

    Attributes:
        promised: Of these trainings with fewer than three seeds, else of training in general.
        general: Of training in general.
        bootstrap: The same by 95 % of a percentile bootstrap over blocks crossed with seeds.
    """

    promised: float
    general: float
    bootstrap: float


def simulate(
    rng: np.random.Generator, blocks: int, seeds: int, spread: tuple[float, float]
) -> tuple[Cells, float]:
    """Return mean differences whose true mean is 0, and the true mean of these trainings."""
    of_blocks, of_seeds = spread
    trained = rng.normal(0, of_seeds, seeds)
    cells = rng.normal(0, of_blocks, (blocks, 1)) + trained
    cells += rng.normal(0, np.hypot(TOGETHER, WITHIN / BLOCK_WINDOWS**0.5), cells.shape)
    return cells, float(trained.mean())


def coverage(
    blocks: int, seeds: int, spread: tuple[float, float], *, draws: int, resamples: int = 0
) -> Coverage:
    """Return how often intervals cover, over simulated comparisons.

    Args:
        blocks: Of windows.
        seeds: Trainings.
        spread: Standard deviations of blocks and of seeds.
        draws: Simulated comparisons.
        resamples: Of the bootstrap beside it; none of it without.
    """
    rng = np.random.default_rng([blocks, seeds])
    held = np.zeros(3)
    windows = np.full((blocks, seeds), float(BLOCK_WINDOWS))
    for _ in range(draws):
        cells, trained = simulate(rng, blocks, seeds, spread)
        general = seeds >= MIN_SEEDS
        half = half_width(cells * windows, windows, over_trainings=general)
        truth, mean = 0.0 if general else trained, cells.mean()
        low, high = _bootstrap(cells, rng, resamples) if resamples else (np.nan, np.nan)
        held += [abs(mean - truth) <= half, abs(mean) <= half, low <= 0 <= high]
    return Coverage(*(held / draws))


def _bootstrap(cells: Cells, rng: np.random.Generator, draws: int) -> tuple[float, float]:
    blocks, seeds = cells.shape
    some = rng.multinomial(blocks, np.full(blocks, 1 / blocks), size=draws) / blocks
    trained = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=draws) / seeds
    low, high = np.percentile(((some @ cells) * trained).sum(axis=1), [2.5, 97.5])
    return float(low), float(high)


def main(draws: int = 4000) -> None:
    """Print the table."""
    heads = "| blocks | seeds | sd of blocks, of seeds | covers what it speaks of | covers training"
    lines = [f"{heads} in general | percentile bootstrap |", "| --- " * 6 + "|"]
    for spread in SPREADS:
        for seeds in SEEDS:
            for blocks in BLOCKS:
                found = coverage(blocks, seeds, spread, draws=draws, resamples=200)
                cells = " | ".join(f"{share:.3f}" for share in found)
                lines.append(f"| {blocks} | {seeds} | {spread[0]}, {spread[1]} | {cells} |")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
