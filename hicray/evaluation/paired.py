"""Is one method better than another on the same windows? A block bootstrap of the difference."""

from typing import NamedTuple

import numpy as np
import pandas as pd

BLOCK_WINDOWS = 4
"""Neighbouring windows that are drawn together: they are not independent."""
MIN_BLOCKS = 8
"""With fewer blocks an interval would be dressed up."""
DRAWS = 4_000


class Difference(NamedTuple):
    """Mean difference over windows with its 95 % interval; NaN bounds: too few windows."""

    mean: float
    low: float
    high: float
    windows: int
    blocks: int

    @property
    def judged(self) -> bool:
        """Whether there were enough blocks for an interval."""
        return bool(np.isfinite(self.low))

    def __str__(self) -> str:
        """Return e.g. ``+0.052 [+0.048, +0.057], n = 64 windows in 16 blocks``."""
        n = f"n = {self.windows} windows in {self.blocks} blocks"
        if not self.judged:
            return f"{self.mean:+.3g}, too few windows to judge ({n}; {MIN_BLOCKS} blocks needed)"
        return f"{self.mean:+.3g} [{self.low:+.3g}, {self.high:+.3g}], {n}"


def paired_difference(
    ours: pd.DataFrame, theirs: pd.DataFrame, score: str, *, seed: int = 0
) -> Difference:
    """Return ours minus theirs, window by window, with a 95 % block-bootstrap interval.

    Windows are blocked along their chromosome, ``BLOCK_WINDOWS`` neighbours to a block; blocks
    are drawn with replacement. Windows where either score is undefined are left out.

    Args:
        ours: Windows with group, row_start (bp) and the score; in the same order as ``theirs``.
        theirs: The other method's.
        score: Column to compare.
        seed: Of the draws.
    """
    table = ours[["group", "row_start"]].assign(difference=ours[score] - theirs[score])
    table = table.sort_values(["group", "row_start"])
    place = table.groupby("group").cumcount() // BLOCK_WINDOWS
    table = table.assign(block=place)[np.isfinite(table["difference"])]
    blocks = table.groupby(["group", "block"])["difference"].agg(["sum", "count"]).to_numpy()
    mean = float(table["difference"].mean()) if len(table) else float("nan")
    if len(blocks) < MIN_BLOCKS:
        return Difference(mean, float("nan"), float("nan"), len(table), len(blocks))
    rng = np.random.default_rng(seed)
    drawn = blocks[rng.integers(len(blocks), size=(DRAWS, len(blocks)))].sum(axis=1)
    low, high = np.percentile(drawn[:, 0] / drawn[:, 1], [2.5, 97.5])
    return Difference(mean, float(low), float(high), len(table), len(blocks))
