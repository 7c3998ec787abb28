"""Is one method better than another on the same windows? A block bootstrap of the difference.

Neighbouring windows are not independent, nor are windows of one trained network: blocks of
neighbours are drawn with replacement, and so are the training seeds, crossed with them.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float64
from scipy.stats import wilcoxon

BLOCK_WINDOWS = 4
"""Neighbouring windows that are drawn together: they are not independent."""
MIN_BLOCKS = 8
"""With fewer blocks an interval would be dressed up."""
DRAWS = 4_000
_PLACE = ["chrom", "row_start"]


class Difference(NamedTuple):
    """Mean difference over windows and seeds with its 95 % interval; NaN: too few windows.

    Attributes:
        mean: Over windows, then seeds.
        low: Lower bound.
        high: Upper bound.
        windows: With a defined difference.
        blocks: Of neighbouring windows.
        seeds: Training seeds, paired.
        p: Wilcoxon's signed rank test over the blocks' means.
    """

    mean: float
    low: float
    high: float
    windows: int
    blocks: int
    seeds: int = 1
    p: float = float("nan")

    @property
    def judged(self) -> bool:
        """Whether there were enough blocks for an interval."""
        return bool(np.isfinite(self.low))

    @property
    def positive(self) -> bool:
        """Whether the interval lies above zero."""
        return self.judged and self.low > 0

    def __str__(self) -> str:
        """Return e.g. ``+0.052 [+0.048, +0.057], n = 64 windows in 16 blocks, 3 seeds``."""
        seeds = f"{self.seeds} seed{'s' if self.seeds > 1 else ''}"
        n = f"n = {self.windows} windows in {self.blocks} blocks, {seeds}"
        if not self.windows:
            return "undefined"
        if not self.judged:
            return f"{self.mean:+.3g}, too few windows to judge ({n}; {MIN_BLOCKS} blocks needed)"
        return f"{self.mean:+.3g} [{self.low:+.3g}, {self.high:+.3g}], {n}, p = {self.p:.2g}"


def paired_difference(
    ours: Sequence[pd.DataFrame], theirs: Sequence[pd.DataFrame], score: str, *, seed: int = 0
) -> Difference:
    """Return ours minus theirs with a 95 % interval, paired by window and by training seed.

    Loci are blocked along their chromosome, ``BLOCK_WINDOWS`` neighbours to a block; windows of one
    locus, of several maps or off the diagonal, share its block, as they share its DNA. Windows
    where a score is undefined are left out. A method of one seed is paired with each of the
    other's, and counts as one; of unequal numbers, seeds without a partner are left out.

    Args:
        ours: By seed: windows with chrom, row_start (bp) and the score.
        theirs: The other method's.
        score: Column to compare.
        seed: Of the draws.
    """
    table = gains(ours, theirs, score)
    blocks = table[_PLACE[0]].astype(str) + "/" + _block(table).astype(str)
    each = table.drop(columns=_PLACE)
    sums = each.fillna(0.0).groupby(blocks, sort=False).sum().to_numpy()
    counts = each.notna().groupby(blocks, sort=False).sum().to_numpy().astype(float)
    there = counts.sum(axis=1) > 0
    sums, counts = sums[there], counts[there]
    windows, seeds = int(each.notna().any(axis=1).sum()), min(len(ours), len(theirs))
    mean = float(sums.sum() / counts.sum()) if windows else float("nan")
    if len(sums) < MIN_BLOCKS:
        return Difference(mean, float("nan"), float("nan"), windows, len(sums), seeds)
    low, high = _interval(sums, counts, np.random.default_rng(seed))
    return Difference(mean, low, high, windows, len(sums), seeds, _signed_rank(sums, counts))


def difference_of_gains(
    wide: tuple[Sequence[pd.DataFrame], Sequence[pd.DataFrame]],
    near: tuple[Sequence[pd.DataFrame], Sequence[pd.DataFrame]],
    score: str,
) -> Difference:
    """Return how much larger one gain is than another on the same windows.

    Args:
        wide: Windows by seed of two methods, ours and theirs, at the wider gap.
        near: The same at the narrower one.
        score: Column to compare.
    """
    larger, smaller = (_by_seed(gains(*pair, score), score) for pair in (wide, near))
    return paired_difference(larger, smaller, score)


def _by_seed(table: pd.DataFrame, score: str) -> list[pd.DataFrame]:
    seeds = table.columns.drop(_PLACE)
    return [table[_PLACE].assign(**{score: table[seed]}) for seed in seeds]


def gains(ours: Sequence[pd.DataFrame], theirs: Sequence[pd.DataFrame], score: str) -> pd.DataFrame:
    """Return chrom, row_start, and ours minus theirs in a column for each seed, by place."""
    places = [one[_PLACE].reset_index(drop=True) for one in (*ours, *theirs)]
    if any(not place.equals(places[0]) for place in places):
        raise ValueError("methods that are compared must be scored on the same windows")
    shared = [len(one) for one in (ours, theirs) if len(one) > 1]
    pairs = [(ours[i % len(ours)], theirs[i % len(theirs)]) for i in range(min(shared, default=1))]
    columns = {i: a[score].to_numpy() - b[score].to_numpy() for i, (a, b) in enumerate(pairs)}
    return places[0].assign(**{str(i): column for i, column in columns.items()})


def _block(table: pd.DataFrame) -> "pd.Series[int]":
    rank = table.groupby("chrom")["row_start"].rank(method="dense").astype(int)
    return (rank - 1) // BLOCK_WINDOWS


def _interval(
    sums: Float64[np.ndarray, "blocks seeds"],
    counts: Float64[np.ndarray, "blocks seeds"],
    rng: np.random.Generator,
) -> tuple[float, float]:
    blocks, seeds = sums.shape
    drawn = rng.multinomial(blocks, np.full(blocks, 1 / blocks), size=DRAWS)
    seeded = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=DRAWS)
    totals = [((drawn @ part) * seeded).sum(axis=1) for part in (sums, counts)]
    low, high = np.percentile(totals[0] / totals[1].clip(min=1), [2.5, 97.5])
    return float(low), float(high)


def _signed_rank(
    sums: Float64[np.ndarray, "blocks seeds"], counts: Float64[np.ndarray, "blocks seeds"]
) -> float:
    means = sums.sum(axis=1) / counts.sum(axis=1)
    return float(wilcoxon(means).pvalue) if np.any(means) else 1.0
