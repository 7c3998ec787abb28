"""Insulation and domain boundaries of two maps, by cooltools, on the same pixels of both."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Int64

from hicray.maps.bands import Band, pixel_table
from hicray.maps.features import insulation
from hicray.maps.write import write_float_cool
from hicray.metrics.correlation import CorrelationSums, correlation_sums

STRENGTH = 0.2
"""Smallest boundary strength (prominence of the log2 insulation) that makes a boundary."""
TOLERANCE_BINS = 2
"""How far a boundary may lie from the one that it is matched with."""
_DIAMOND = 100_000
"""Side of the diamond, in bp, where bins and windows allow it."""
MIN_DIAMOND_BINS = 10


def diamond_bins(bin_size: int, num_separations: int) -> int:
    """Return the diamond's side: 100 kb, 10 bins at least and an eighth of the band at most."""
    return max(MIN_DIAMOND_BINS, min(round(_DIAMOND / bin_size), num_separations // 8))


class Matches(NamedTuple):
    """Boundaries of the fine map, of the other map, and pairs of them; those of chromosomes add."""

    fine: int
    other: int
    matched: int

    def __add__(self, more: object) -> "Matches":
        """Add another chromosome's."""
        if not isinstance(more, Matches):
            return NotImplemented
        return Matches(*(x + y for x, y in zip(self, more, strict=True)))

    def f1(self) -> float:
        """Return 2PR / (P + R); NaN where neither map has a boundary."""
        both = self.fine + self.other
        return 2 * self.matched / both if both else float("nan")


def track(
    band: Band, usable: Bool[np.ndarray, " bins"], bin_size: int, diamond: int, folder: Path
) -> pd.DataFrame:
    """Return log2_insulation and boundary_strength by bin of one chromosome.

    Args:
        band: Scaled contacts, 0 at unusable bins; of twice the diamond's separations or more.
        usable: Bins that count.
        bin_size: In bp.
        diamond: Side of the diamond, in bins.
        folder: Where a .cool may be written for cooltools.
    """
    path = folder / "track.cool"
    # Diamonds of w bins read separations of up to 2 w.
    near = pixel_table(band[:, : 2 * diamond + 1])
    weights = np.where(usable, 1.0, np.nan)
    write_float_cool(path, {"chrom": len(band) * bin_size}, bin_size, [near], weights, {})
    table = insulation(str(path), diamond * bin_size)
    path.unlink()
    return table[["log2_insulation", "boundary_strength"]]


def compare_tracks(fine: pd.DataFrame, other: pd.DataFrame) -> tuple[CorrelationSums, Matches]:
    """Return sums over the bins where both maps have an insulation score, and their boundaries."""
    pair = [table["log2_insulation"].to_numpy(dtype=np.float64) for table in (fine, other)]
    both = np.isfinite(pair[0]) & np.isfinite(pair[1])
    stratum = np.zeros(int(both.sum()), dtype=np.int64)  # all bins are of one
    sums = correlation_sums(pair[0][both], pair[1][both], stratum, 1)
    return sums, match(_boundaries(fine), _boundaries(other))


def _boundaries(track: pd.DataFrame) -> Int64[np.ndarray, " boundaries"]:
    return np.flatnonzero(track["boundary_strength"].to_numpy() >= STRENGTH)


def match(fine: Int64[np.ndarray, " fine"], other: Int64[np.ndarray, " other"]) -> Matches:
    """Pair boundaries one to one within the tolerance, as many as can be.

    On a line the first two that lie within the tolerance may always be paired; of two that do
    not, the nearer one to the start can be paired with nothing that follows.
    """
    i = j = matched = 0
    while i < len(fine) and j < len(other):
        apart = int(fine[i]) - int(other[j])
        if abs(apart) <= TOLERANCE_BINS:
            i, j, matched = i + 1, j + 1, matched + 1
        elif apart < 0:
            i += 1
        else:
            j += 1
    return Matches(len(fine), len(other), matched)
