"""Whole chromosomes from windows: where the tiles lie, and how overlapping ones are averaged.

Axis names: ``bins`` are those of a chromosome; ``band[row, s]`` is the pixel (row, row + s), as
everywhere; ``rows cols`` are a tile's.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64


class Tiling(NamedTuple):
    """How tiles lie over a chromosome: as training windows do, at any stride.

        offset 0         offset window
        |====|           .    |====|          tiles of one row, ``stride`` below the row before
         |====|           .    |====|

    Attributes:
        window: Bins along each side of a tile.
        stride: Bins between rows of tiles.
        offsets: First column minus first row of the tiles of a row, in bins.
        reach: Largest separation that is kept, in bins.
    """

    window: int
    stride: int
    offsets: tuple[int, ...]
    reach: int

    def rows(self, bins: int) -> list[int]:
        """Return the first rows of a chromosome's tiles; the last may run past its end."""
        last = max(bins - self.window, 0)
        return list(range(0, last + self.stride, self.stride))


def furthest(offsets: Sequence[int], *, window: int, factor: int) -> int:
    """Return the largest separation that tiles can cover, in fine bins.

    A pixel far from the diagonal lies only in tiles that begin just above it, so the stride, a
    coarse bin at least, is what is lost.

    Args:
        offsets: Diagonals on which training windows lay, ascending.
        window: Fine bins along each side of a window.
        factor: Fine bins to a coarse one, which no tile may cut.
    """
    return offsets[-1] + window - factor


def tiling(offsets: Sequence[int], *, window: int, factor: int, reach: int | None = None) -> Tiling:
    """Return the fewest tiles that cover every pixel within reach.

    Args:
        offsets: Diagonals on which training windows lay, ascending.
        window: Fine bins along each side of a window.
        factor: Fine bins to a coarse one, which no tile may cut.
        reach: Largest separation to cover; None takes what a stride of a quarter window covers.

    Raises:
        ValueError: No tiles reach so far.
    """
    stride = max(factor, window // 4 // factor * factor)
    if reach is None:
        reach = offsets[-1] + window - stride
    limit = furthest(offsets, window=window, factor=factor)
    if not 0 <= reach <= limit:
        raise ValueError(f"a reach of {reach} bins is not within 0 to the tiles' {limit}")
    # The nearest diagonal whose tiles reach so far; at this stride, none may.
    enough = [offset for offset in offsets if offset + window - stride >= reach]
    last = enough[0] if enough else offsets[-1]
    # Tiles further apart than last + window - reach miss pixels at ``reach``.
    closer = (last + window - reach) // factor * factor
    used = tuple(offset for offset in offsets if offset <= last)
    return Tiling(window, min(stride, closer), used, reach)


def worth(window: int) -> Float64[np.ndarray, "rows cols"]:
    """Return how much each pixel of a tile counts: most in its middle, never nothing."""
    from_edge = np.minimum(np.arange(window) + 1, window - np.arange(window)) / (window / 2)
    return np.outer(from_edge, from_edge)


class Blend:
    """Averages overlapping tiles near the diagonal, by weight; a prediction of 0 counts.

    Args:
        bins: Bins of the chromosome.
        reach: Largest separation that is kept, in bins.
        rows: First row and the end of those that are held; all if not given.
    """

    def __init__(self, bins: int, *, reach: int, rows: tuple[int, int] | None = None) -> None:
        self._bins = bins
        self._first, end = rows or (0, bins)
        shape = end - self._first, min(reach, bins - 1) + 1
        self._sums, self._weights = np.zeros(shape), np.zeros(shape)

    def add(
        self,
        row: int,
        col: int,
        tile: Float[np.ndarray, "rows cols"],
        weights: Float[np.ndarray, "rows cols"] | None = None,
    ) -> None:
        """Add a tile; what lies below the diagonal, past the end or too far off is not read.

        Args:
            row: The tile's first row.
            col: Its first column.
            tile: Its values.
            weights: How much each is worth; those of weight 0 may be anything, NaN too.
        """
        separations = self._sums.shape[1]
        rows = np.arange(row, row + tile.shape[0])[:, None]
        apart = np.arange(col, col + tile.shape[1]) - rows
        taken = (apart >= 0) & (apart < separations) & (rows + apart < self._bins)
        if weights is not None:
            taken &= weights > 0
        # A tile's pixel (row, col) is the band's (row, col - row), counted from the first held row.
        at = (np.broadcast_to(rows - self._first, taken.shape)[taken], apart[taken])
        worth = 1.0 if weights is None else weights[taken]
        self._sums[at] += worth * tile[taken]
        self._weights[at] += worth

    def sums(self) -> Float64[np.ndarray, "2 held separations"]:
        """Return the weighted sums and the weights of the rows that are held."""
        return np.stack([self._sums, self._weights])

    def merge(self, row: int, sums: Float64[np.ndarray, "2 held separations"]) -> None:
        """Add the sums of another blend, whose first row is ``row``."""
        at = slice(row - self._first, row - self._first + sums.shape[1])
        self._sums[at] += sums[0]
        self._weights[at] += sums[1]

    def mean(self) -> Float64[np.ndarray, "held separations"]:
        """Return the band of weighted means; NaN where no tile was."""
        nowhere = np.full_like(self._sums, np.nan)
        return np.divide(self._sums, self._weights, out=nowhere, where=self._weights > 0)
