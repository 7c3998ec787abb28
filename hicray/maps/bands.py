"""What lies near the diagonal of a chromosome: ``band[row, s]`` is the pixel (row, row + s).

A band holds the upper triangle of a symmetric map, 0 past the chromosome's end.

    map, 5 bins               band, 3 separations

    a b c . .                 a b c
      d e f .                 d e f
        g h i        ->       g h i
          j k                 j k 0
            l                 l 0 0
"""

from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Float64, Int64, Shaped
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Band = Float64[np.ndarray, "bins separations"]
Mask = Bool[np.ndarray, "bins separations"]


def at_columns(
    values: Shaped[np.ndarray, " bins"], num_separations: int
) -> Shaped[np.ndarray, "bins separations"]:
    """Return a vector's value at the column of each pixel of a band; 0 past the end.

    That is ``values[row + s]`` at (row, s): a view of the vector, which takes no memory of a band.
    """
    padded = np.pad(values, (0, num_separations - 1))
    columns: NDArray[Any] = sliding_window_view(padded, num_separations)
    return columns


def fine_pixels(
    bins: int, factor: int, num_separations: int
) -> Float64[np.ndarray, "coarse_bins separations"]:
    """Return how many distinct fine pixels each pixel of a coarse band holds.

    A map counts each pair of bins once, so that a coarse pixel on the diagonal holds a triangle of
    fine ones; with 4 fine bins to a coarse one, and 2 left for the last:

        10 16  8
           10  8
               3

    Args:
        bins: Fine bins of the chromosome, whose last coarse bin may have fewer of them.
        factor: Fine bins to a coarse one.
        num_separations: Of the band, in coarse bins.
    """
    coarse = -(-bins // factor)
    # Fine bins of each coarse one: factor, or what is left for the last.
    held = np.clip(bins - factor * np.arange(coarse), 0, factor).astype(np.float64)
    pixels: Float64[np.ndarray, "coarse_bins separations"]
    pixels = held[:, None] * at_columns(held, num_separations)
    pixels[:, 0] = held * (held + 1) / 2
    return pixels


def usable_pixels(usable: Bool[np.ndarray, " bins"], num_separations: int) -> Mask:
    """Return the pixels of a band whose two bins are usable."""
    mask: Mask = usable.reshape(-1, 1) & at_columns(usable, num_separations)
    return mask


def read_bins(band: Shaped[np.ndarray, "bins separations"]) -> Bool[np.ndarray, " bins"]:
    """Return the bins that have a contact in the band."""
    contacts, bins = band > 0, len(band)
    read = np.zeros(bins, dtype=np.bool_)
    for s in range(min(band.shape)):
        read[s:] |= contacts[: bins - s, s]  # the column of each pixel
        read[: bins - s] |= contacts[: bins - s, s]  # its row
    return read


def square(
    band: Shaped[np.ndarray, "bins separations"], starts: Int64[np.ndarray, " windows"], side: int
) -> Shaped[np.ndarray, "windows side side"]:
    """Return dense symmetric windows on the diagonal; 0 past the chromosome's end.

    Args:
        band: Of the chromosome, of ``side`` separations or more.
        starts: First bin of each window.
        side: Bins along a side.
    """
    # A pixel below the diagonal is its mirror image: in the band, the lower of its two bins is the
    # row, whichever axis of the window it lies on.
    index = np.arange(side)
    low, apart = np.minimum.outer(index, index), np.abs(np.subtract.outer(index, index))
    past_end = max(0, int(starts.max(initial=0)) + side - len(band))
    padded = np.pad(band, ((0, past_end), (0, 0)))
    windows: Shaped[np.ndarray, "windows side side"]
    windows = padded[starts[:, None, None] + low, apart]
    return windows


def pixel_table(band: Float[np.ndarray, "bins separations"], first_bin: int = 0) -> pd.DataFrame:
    """Return bin1_id, bin2_id and count of the contacts in a band, in order.

    Args:
        band: Of a chromosome.
        first_bin: What its bins are counted from.
    """
    row, apart = np.nonzero(band)
    return pd.DataFrame(
        {"bin1_id": row + first_bin, "bin2_id": row + apart + first_bin, "count": band[row, apart]}
    )


def filtered(band: Band, mask: Mask, kernel: Float64[np.ndarray, " width"]) -> Band:
    """Return the mean around each pixel, weighted by a kernel along both axes.

    Only masked pixels count, so that neither unusable bins nor the ends of a chromosome or of
    the band weaken what lies beside them; 0 where there is none.

    Args:
        band: Of a symmetric map.
        mask: Pixels that count.
        kernel: Weights along each axis, as many on either side of the middle one.
    """
    sums = _weighted_sums(np.where(mask, band, 0.0), kernel)
    weights = _weighted_sums(mask.astype(np.float64), kernel)
    means: Band = np.zeros_like(sums)
    np.divide(sums, weights, out=means, where=weights > 1e-9)
    return means


def _weighted_sums(band: Band, kernel: Float64[np.ndarray, " width"]) -> Band:
    """Sum along columns, then along rows: ``(row + k, col)`` is k separations nearer.

    Each sum needs its reach of separations more on either side than it returns:

        wide         -2 reach ... separations - 1 + 2 reach
        along_cols     -reach ... separations - 1 + reach
        total               0 ... separations - 1
    """
    bins, separations = band.shape
    reach = len(kernel) // 2
    wide = np.pad(band, ((0, 0), (2 * reach, 2 * reach)))
    for s in range(1, min(2 * reach, separations - 1, bins - 1) + 1):
        wide[s:, 2 * reach - s] = band[:-s, s]  # below the diagonal, where separations are negative
    span = separations + 2 * reach
    along_cols = sum(weight * wide[:, j : j + span] for j, weight in enumerate(kernel))
    total: Band = np.zeros_like(band)
    for k, weight in zip(range(-reach, reach + 1), kernel, strict=True):
        if abs(k) < bins:
            rows = slice(max(0, -k), bins - max(0, k))
            shifted = slice(max(0, k), bins - max(0, -k))
            first = reach - k  # separation -k, counted from -reach
            total[rows] += weight * along_cols[shifted, first : first + separations]
    return total
