"""The constant that brings predicted contacts into the balanced units of the map they were made of.

A network's contacts are at the depth of its training maps. Viewers show two maps on one scale only
where both are in one unit: a cooler's pixel times the weights of its two bins.
"""

from collections.abc import Callable, Iterable
from functools import partial

import numpy as np
from jaxtyping import Float32, Float64

from hicray.maps.bands import at_columns, fine_pixels
from hicray.predict.locus import read_level
from hicray.predict.tiler import Tiled
from hicray.windows.cut import Level

IGNORED = 2
"""Separations of the input that count only where there are no others: self-ligation fills them,
and balancing leaves them out."""
_CHUNK_ROWS = 2_000
Predicted = Float32[np.ndarray, "bins separations"]
"""Contacts near the diagonal: ``band[row, s]`` is the pixel (row, row + s); NaN at masked bins."""

Shares = Float64[np.ndarray, "coarse_bins coarse_separations"]


def balanced_per_contact(
    job: Tiled,
    predicted: Callable[[str], Predicted],
    chroms: Iterable[str],
    *,
    first_row: int = 0,
    level: Callable[[str], Level] | None = None,
) -> float:
    """Return what a predicted contact is in balanced contacts of the input map, at its bin size.

    By it the result's balanced sum is the input's, over all pixels that both have beyond the first
    separations. A network of raw counts read no weights: its unit is the input's raw counts.

    Args:
        job: What was enhanced.
        predicted: Opens a chromosome's predicted contacts.
        chroms: Chromosomes that were.
        first_row: Fine bin of their first row.
        level: Returns a chromosome of the input, which is read if not given.

    Returns:
        1 where either map has no contacts.
    """
    sums = np.zeros((2, 2))
    for chrom in chroms:
        shares = _shares(job, chrom, (level or partial(_read, job))(chrom))
        sums += _sums(job, chrom, predicted(chrom), shares, first_row)
    # Beyond the first separations if both maps have contacts there, else within them.
    for input_sum, output_sum in sums[::-1]:
        if input_sum and output_sum:
            return float(input_sum / output_sum)
    return 1.0


def _sums(
    job: Tiled, chrom: str, predicted: Predicted, shares: Shares, first_row: int
) -> Float64[np.ndarray, "2 2"]:
    """Sum the input's balanced contacts and the predicted ones, in and beyond first separations."""
    factor, apart = job.network.trained.factor, np.arange(predicted.shape[1])
    sums = np.zeros((2, 2))
    bins = job.fine.num_bins(chrom)
    for start in range(0, len(predicted), _CHUNK_ROWS):
        chunk = predicted[start : start + _CHUNK_ROWS]
        rows = np.arange(start, start + len(chunk))[:, None] + first_row
        # Columns past the end are masked in the result.
        cols = np.minimum(rows + apart, bins - 1)
        far = cols // factor - rows // factor
        share = shares[rows // factor, far]
        both = np.isfinite(share) & np.isfinite(chunk)
        for beyond in (0, 1):
            at = both & ((far >= IGNORED) == beyond)
            sums[beyond] += share[at].sum(), chunk[at].sum(dtype=np.float64)
    return sums


def _read(job: Tiled, chrom: str) -> Level:
    trained = job.network.trained
    separations = trained.num_separations // trained.factor
    return read_level(job.contacts, chrom, separations, raw=trained.raw)


def _shares(job: Tiled, chrom: str, level: Level) -> Shares:
    """Return the input's balanced contacts of each fine pixel inside a coarse one."""
    factor, bins, separations = (
        job.network.trained.factor,
        job.fine.num_bins(chrom),
        level.band.shape[1],
    )
    weights = level.weights[:, None] * at_columns(level.weights, separations)
    pixels = fine_pixels(bins, factor, separations)
    shares: Shares = level.band * weights / np.maximum(pixels, 1)
    return shares
