"""A stretch of a map through a network: what the whole enhanced map would hold there."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float, Float64

from hicray.config import UserError
from hicray.maps.bins import Region
from hicray.predict.tiler import Tiler, units_of
from hicray.predict.unit import balanced_per_contact
from hicray.windows.tiles import Blend

MAX_BINS = 5_000
"""Fine bins of a region: its matrix is 200 MB then."""


@dataclass(frozen=True)
class EnhancedRegion:
    """An enhanced stretch of a chromosome.

    Attributes:
        contacts: Symmetric, in balanced contacts of the input map (of a network of raw counts, in
            raw contacts), as cooler's ``matrix(balance=True)`` gives them; NaN at bins that are
            masked in the input, and further from the diagonal than the network reaches.
        bins: chrom, start and end (bp, half-open) of the rows, which are the columns too.
    """

    contacts: Float64[np.ndarray, "bins bins"]
    bins: pd.DataFrame


def enhance_region(tiler: Tiler, region: Region) -> EnhancedRegion:
    """Predict the bins that a region touches, by every tile that a whole map has there.

    The constant that gives the result the input's unit is the region's own; that of a whole map
    is the whole map's, so that the two differ by one factor.

    Args:
        tiler: Network, map and tiles; the network has the scale of one source.
        region: Within one chromosome.

    Raises:
        UserError: The region has more than ``MAX_BINS`` fine bins.
    """
    tiled, chrom = tiler.job, region.chrom
    size, bins = tiled.fine.bin_size, tiled.fine.num_bins(chrom)
    first, end = region.start // size, min(-(-region.end // size), bins)
    if end - first > MAX_BINS:
        raise UserError(
            f"{chrom}:{region.start:,}-{region.end:,} has {end - first:,} bins of {size:,} bp; "
            f"give a region of at most {MAX_BINS:,}, or write the whole map by hicray.enhance"
        )
    # The first tiles begin up to a window before the region, and the last end after it.
    units = units_of(tiled, chrom, (first, end))
    before, last = units[0].rows[0], units[-1].rows[-1]
    held = before, min(last + tiled.tiling.window, bins)
    blend = Blend(bins, reach=tiled.tiling.reach, rows=held)
    for unit in units:
        blend.merge(unit.rows[0], tiler(unit).sums)
    band = blend.mean()[first - before : end - before].astype(np.float32)
    scale = balanced_per_contact(
        tiled, lambda _: band, (chrom,), first_row=first, level=tiler.loci.level
    )
    starts = np.arange(first, end) * size
    ends = np.minimum(starts + size, tiled.contacts.chromsizes[chrom])
    table = pd.DataFrame({"chrom": chrom, "start": starts, "end": ends})
    return EnhancedRegion(_square(band) * (scale * tiled.network.trained.factor), table)


def _square(band: Float[np.ndarray, "bins separations"]) -> Float64[np.ndarray, "bins bins"]:
    """Return a band's rows as a symmetric matrix, NaN beyond its separations."""
    bins = len(band)
    matrix = np.full((bins, bins), np.nan)
    for apart in range(min(band.shape[1], bins)):
        rows = np.arange(bins - apart)
        matrix[rows, rows + apart] = matrix[rows + apart, rows] = band[: bins - apart, apart]
    return matrix
