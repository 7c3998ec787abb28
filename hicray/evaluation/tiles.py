"""Whole chromosomes from windows: where the tiles lie, and how overlapping ones are averaged.

Axis names: ``bins`` are those of a chromosome; ``band[row, s]`` is the pixel (row, row + s), as
everywhere; ``rows cols`` are a tile's.
"""

from bisect import bisect_right

import numpy as np
from jaxtyping import Float, Float64


def origins(bins: int, *, window: int, stride: int, reach: int) -> list[tuple[int, int]]:
    """Return the first row and column of tiles, each once, that cover the upper triangle's band.

    The last tiles end with the chromosome; those of one shorter than a window run past its end.

    Args:
        bins: Bins of the chromosome.
        window: Bins along each side of a tile.
        stride: Bins between tiles.
        reach: Largest separation that is to be covered, in bins.

    Raises:
        ValueError: Tiles this far apart leave bins between them.
    """
    if not 1 <= stride <= window:
        raise ValueError(f"a stride of {stride} bins is not within 1 to the window's {window}")
    last = max(bins - window, 0)
    starts = [*range(0, last, stride), last]
    # A tile answers for its rows up to the next tile's first; the rest is overlap.
    ends = [*starts[1:], bins]
    return [
        (row, col)
        for number, (row, end) in enumerate(zip(starts, ends, strict=True))
        for col in starts[number : bisect_right(starts, end - 1 + reach)]
    ]


class Blend:
    """Averages overlapping tiles near the diagonal, by weight; a prediction of 0 counts.

    Args:
        bins: Bins of the chromosome.
        reach: Largest separation that is kept, in bins.
    """

    def __init__(self, bins: int, *, reach: int) -> None:
        separations = min(reach, bins - 1) + 1
        self._sums = np.zeros((bins, separations))
        self._weights = np.zeros((bins, separations))

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
        bins, separations = self._sums.shape
        rows = np.arange(row, row + tile.shape[0])[:, None]
        apart = np.arange(col, col + tile.shape[1]) - rows
        taken = (apart >= 0) & (apart < separations) & (rows + apart < bins)
        if weights is not None:
            taken &= weights > 0
        at = (np.broadcast_to(rows, taken.shape)[taken], apart[taken])
        worth = 1.0 if weights is None else weights[taken]
        self._sums[at] += worth * tile[taken]
        self._weights[at] += worth

    def mean(self) -> Float64[np.ndarray, "bins separations"]:
        """Return the band of weighted means; NaN where no tile was."""
        nowhere = np.full_like(self._sums, np.nan)
        return np.divide(self._sums, self._weights, out=nowhere, where=self._weights > 0)
