"""Is one method better than another on the same windows? A t interval of the paired difference.

Neighbouring windows are not independent, nor are windows of one trained network. Blocks of
neighbours and training seeds are the units: the interval adds what each varies by, with the few
degrees of freedom that each has. Its coverage is simulated by ``experiments/interval_coverage.py``.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float64
from scipy.stats import t as student

BLOCK_WINDOWS = 4
"""Neighbouring windows that are taken together: they are not independent."""
MIN_BLOCKS = 8
"""Fewer blocks tell too little of their own spread: no interval is given."""
MIN_SEEDS = 3
"""With fewer training seeds an interval speaks of these trainings alone."""
_LEAST_SHARE = 0.2
"""Of the seeds' variance, which is kept however much of it blocks explain; by simulation."""
_LOCUS = ["chrom", "row_start"]
Runs = Mapping[int, pd.DataFrame] | pd.DataFrame
"""Windows with chrom, row_start (bp) and scores, by training seed; one table where a method is
not trained, and every training would find the same."""


class Difference(NamedTuple):
    """Mean difference over windows and seeds with its 95 % interval; NaN: too few windows.

    Attributes:
        mean: Over windows and seeds.
        low: Lower bound.
        high: Upper bound.
        windows: With a defined difference.
        blocks: Of neighbouring windows.
        seeds: Training seeds, paired; 0 where neither method is trained.
    """

    mean: float
    low: float
    high: float
    windows: int
    blocks: int
    seeds: int = 1

    @property
    def judged(self) -> bool:
        """Whether there were enough blocks for an interval."""
        return bool(np.isfinite(self.low))

    @property
    def positive(self) -> bool:
        """Whether the interval lies above zero."""
        return self.judged and self.low > 0

    @property
    def scope(self) -> str:
        """What the interval speaks of, where that is not training in general; else empty.

        The spread of trainings cannot be told from one, and hardly from two.
        """
        if self.seeds >= MIN_SEEDS or not self.seeds:
            return ""
        return "in this one training" if self.seeds == 1 else "in these two trainings"

    def __str__(self) -> str:
        """Return e.g. ``+0.052 [+0.048, +0.057], n = 64 windows in 16 blocks, 3 seeds``."""
        if not self.windows:
            return "undefined"
        n = f"n = {self.windows} windows in {self.blocks} blocks"
        if not self.judged:
            return f"{self.mean:+.3g}, too few windows to judge ({n}; {MIN_BLOCKS} blocks needed)"
        seeds = self.scope or (f"{self.seeds} seeds" if self.seeds else "neither is trained")
        return f"{self.mean:+.3g} [{self.low:+.3g}, {self.high:+.3g}], {n}, {seeds}"


def paired_difference(ours: Runs, theirs: Runs, score: str) -> Difference:
    """Return ours minus theirs with a 95 % interval, paired by window and by training seed.

    Loci are blocked along their chromosome, ``BLOCK_WINDOWS`` neighbours to a block; windows of one
    locus, of several maps or off the diagonal, share its block, as they share its DNA. Windows
    where a score is undefined are left out. Seeds are paired by number, and those without a
    partner left out; where no number is shared, in order, as trainings that share nothing pair as
    well one way as another. What is not trained meets every seed of the other, as it is the same
    in each of its trainings; a method that was trained once meets each too, and counts as one.

    Args:
        ours: Windows of each seed.
        theirs: The other method's.
        score: Column to compare.

    Raises:
        ValueError: The windows are not the same.
    """
    return _interval(gains(ours, theirs, score), _trainings(ours, theirs))


def difference_of_gains(wide: tuple[Runs, Runs], near: tuple[Runs, Runs], score: str) -> Difference:
    """Return how much larger one gain is than another on the same windows.

    Args:
        wide: Windows by seed of two methods, ours and theirs, at the wider gap.
        near: The same at the narrower one.
        score: Column to compare.

    Raises:
        ValueError: The windows are not the same.
    """
    larger, smaller = (_by_seed(gains(*pair, score), score) for pair in (wide, near))
    return _interval(gains(larger, smaller, score), min(_trainings(*wide), _trainings(*near)))


def _trainings(ours: Runs, theirs: Runs) -> int:
    """Return the trainings of the method that has fewer; 0 where neither is trained."""
    trained = [len(runs) for runs in (ours, theirs) if not isinstance(runs, pd.DataFrame)]
    return min(trained, default=0)


def _interval(table: pd.DataFrame, trainings: int) -> Difference:
    """Return the mean of differences by locus and seed, with its interval.

    Args:
        table: As ``gains`` returns it.
        trainings: Of the method that has fewest: its seeds, paired with several, count once each.
    """
    blocks = table[_LOCUS[0]].astype(str) + "/" + _block(table).astype(str)
    # A seed without any defined window is no training that could be judged.
    each = table.drop(columns=_LOCUS).dropna(axis=1, how="all")
    sums = each.fillna(0.0).groupby(blocks, sort=False).sum().to_numpy()
    counts = each.notna().groupby(blocks, sort=False).sum().to_numpy().astype(float)
    defined = counts.sum(axis=1) > 0
    sums, counts = sums[defined], counts[defined]
    windows = int(each.notna().any(axis=1).sum())
    seeds = min(trainings, each.shape[1])
    mean = float(sums.sum() / counts.sum()) if windows else float("nan")
    if len(sums) < MIN_BLOCKS:
        return Difference(mean, float("nan"), float("nan"), windows, len(sums), seeds)
    half = half_width(sums, counts, over_trainings=seeds >= MIN_SEEDS)
    return Difference(mean, mean - half, mean + half, windows, len(sums), seeds)


def _by_seed(table: pd.DataFrame, score: str) -> dict[int, pd.DataFrame]:
    seeds = table.columns.drop(_LOCUS)
    return {int(seed): table[_LOCUS].assign(**{score: table[seed]}) for seed in seeds}


def gains(ours: Runs, theirs: Runs, score: str) -> pd.DataFrame:
    """Return chrom, row_start, and ours minus theirs in a column for each seed, by locus.

    Args:
        ours: Windows of each run of a method, by training seed.
        theirs: Those of another.
        score: Column that is compared.

    Raises:
        ValueError: The windows are not the same.
    """
    pairs = _pairs(ours, theirs)
    loci = [run[_LOCUS].reset_index(drop=True) for pair in pairs.values() for run in pair]
    if any(not locus.equals(loci[0]) for locus in loci):
        raise ValueError("methods that are compared must be scored on the same windows")
    columns = {
        str(seed): a[score].to_numpy() - b[score].to_numpy() for seed, (a, b) in pairs.items()
    }
    return loci[0].assign(**columns)


def _pairs(ours: Runs, theirs: Runs) -> dict[int, tuple[pd.DataFrame, pd.DataFrame]]:
    """Return the runs that are held against each other, by the seed of one of them."""
    if isinstance(ours, pd.DataFrame):
        runs = {0: theirs} if isinstance(theirs, pd.DataFrame) else theirs
        return {seed: (ours, run) for seed, run in runs.items()}
    if isinstance(theirs, pd.DataFrame):
        return {seed: (run, theirs) for seed, run in ours.items()}
    if len(ours) == 1 < len(theirs):
        (only,) = ours.values()
        return {seed: (only, run) for seed, run in theirs.items()}
    if len(theirs) == 1:
        (only,) = theirs.values()
        return {seed: (run, only) for seed, run in ours.items()}
    shared = sorted(ours.keys() & theirs.keys())
    # Where no seed is shared, runs pair in order, as far as both methods have any.
    seeds = zip(shared or sorted(ours), shared or sorted(theirs), strict=False)
    return {seed: (ours[seed], theirs[partner]) for seed, partner in seeds}


def _block(table: pd.DataFrame) -> "pd.Series[int]":
    # Dense ranks, since windows of one locus share its block.
    rank = table.groupby("chrom")["row_start"].rank(method="dense").astype(int)
    return (rank - 1) // BLOCK_WINDOWS


def half_width(
    sums: Float64[np.ndarray, "blocks seeds"],
    counts: Float64[np.ndarray, "blocks seeds"],
    *,
    over_trainings: bool,
) -> float:
    """Return half of a 95 % interval of the mean: blocks' variance, and trainings' if asked.

    The squares of two t intervals are added, one over blocks and one over seeds. Both hold what
    blocks and seeds do together, which is taken off the seeds' part.

    Args:
        sums: Of the differences of a block's windows.
        counts: Of those windows.
        over_trainings: Speak of other trainings too; else of these alone.

    Source:
        Burdick and Graybill 1992, Confidence Intervals on Variance Components, ch. 2.
    """
    mean = sums.sum() / counts.sum()
    share = counts.sum(axis=1) / counts.sum()
    by_block = sums.sum(axis=1) / counts.sum(axis=1)
    blocks, seeds = sums.shape
    # The mean's variance over blocks, which count by their windows as they do in the mean.
    spread = blocks / (blocks - 1) * float(np.sum((share * (by_block - mean)) ** 2))
    square = _quantile(blocks) ** 2 * spread
    if over_trainings:
        by_seed = sums.sum(axis=0) / counts.sum(axis=0)
        expected = by_block[:, None] + by_seed - mean
        # What blocks and seeds do together. A block that has no window under a seed takes the value
        # that the two predict, so that it adds nothing.
        cells = np.divide(sums, counts, out=expected.copy(), where=counts > 0)
        shared = float(np.sum((share[:, None] * (cells - expected)) ** 2))
        shared *= blocks / ((blocks - 1) * (seeds - 1) * seeds)
        trained = float(by_seed.var(ddof=1)) / seeds
        square += _quantile(seeds) ** 2 * max(trained - shared, _LEAST_SHARE * trained)
    return float(np.sqrt(square))


def _quantile(units: int) -> float:
    return float(student.ppf(0.975, units - 1))
