"""Sums within chromosomes, added up table by table as pixels are read."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from hicray.maps.pixels import Level, Pixels


class Sums(NamedTuple):
    """What lies within chromosomes; sums of several add.

    Attributes:
        reads: Each contact counted once; an int unless counts may be fractional.
        balanced: Balanced contacts of usable bins; the reads where none are asked for.
    """

    reads: int | float
    balanced: float

    @property
    def reads_per_balanced(self) -> float:
        """Factor that brings balanced contacts to the depth of the reads; 1 without contacts."""
        return self.reads / self.balanced if self.balanced else 1.0

    def __add__(self, other: object) -> "Sums":
        """Add what lies within another chromosome."""
        if not isinstance(other, Sums):
            return NotImplemented
        return Sums(self.reads + other.reads, self.balanced + other.balanced)


class Totals:
    """Sums of neighbouring chromosomes.

    Args:
        level: The map.
        first: Id of the first chromosome.
        end: Id past the last one.
        weights: Of the bins of these chromosomes, NaN where one is not usable; None for reads
            alone.
    """

    def __init__(
        self, level: Level, first: int, end: int, weights: Float64[np.ndarray, " bins"] | None
    ) -> None:
        self._level, self._first, self._end = level, first, end
        self._reads = np.zeros(end - first, dtype=np.float64 if level.fractional else np.int64)
        self._balanced = np.zeros(end - first)
        self._weights = None if weights is None else np.nan_to_num(weights)

    def add(self, pixels: Pixels) -> None:
        """Add a table, whose pixels lie within these chromosomes."""
        if not len(pixels.rows):
            return
        chrom_ids = self._level.chromosomes(pixels.rows) - self._first
        # Pixels are in order: each chromosome of the table is one run of rows.
        starts = np.flatnonzero(np.diff(chrom_ids, prepend=-1))
        present = chrom_ids[starts]
        self._reads[present] += np.add.reduceat(pixels.counts, starts)
        if self._weights is not None:
            before = self._level.first_bins[self._first]
            both = self._weights[pixels.rows - before] * self._weights[pixels.cols - before]
            self._balanced[present] += np.add.reduceat(pixels.counts * both, starts)

    def sums(self) -> dict[str, Sums]:
        """Return what was added up, by chromosome."""
        names, reads = self._level.names[self._first : self._end], self._reads.tolist()
        balanced = reads if self._weights is None else self._balanced.tolist()
        return {
            name: Sums(total, float(contacts))
            for name, total, contacts in zip(names, reads, balanced, strict=True)
        }
