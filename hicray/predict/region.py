"""A stretch of a map through a network: what the whole enhanced map would hold there."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float64

from hicray.maps.bins import Region
from hicray.predict.locus import MapFacts
from hicray.predict.network import Network
from hicray.predict.tiler import Tiled, Tiler, units_of
from hicray.predict.unit import balanced_per_contact
from hicray.windows.tiles import Blend


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


def enhance_region(
    tiled: Tiled, facts: MapFacts, region: Region, network: Network | None = None
) -> EnhancedRegion:
    """Predict the bins that a region touches, by every tile that a whole map has there.

    The constant that gives the result the input's unit is the region's own; that of a whole map
    is the whole map's, so that the two differ by one factor.

    Args:
        tiled: Network, map and tiles; the network has the scale of one source.
        facts: Of the whole map.
        region: Within one chromosome.
        network: The one of ``tiled``, where it is open already.
    """
    size, bins = tiled.fine.bin_size, tiled.fine.num_bins(region.chrom)
    first, end = region.start // size, min(-(-region.end // size), bins)
    units = units_of(tiled, region.chrom, (first, end))
    tiler = Tiler(tiled, facts, network)
    before, last = units[0].rows[0], units[-1].rows[-1]
    held = before, min(last + tiled.tiling.window, bins)
    blend = Blend(bins, reach=tiled.tiling.reach, rows=held)
    for one in units:
        blend.merge(one.rows[0], tiler(one).sums)
    band = blend.mean()[first - before : end - before].astype(np.float32)
    unit = balanced_per_contact(tiled, lambda _: band, (region.chrom,), first)
    starts = np.arange(first, end) * size
    ends = np.minimum(starts + size, tiled.contacts.chromsizes[region.chrom])
    table = pd.DataFrame({"chrom": region.chrom, "start": starts, "end": ends})
    return EnhancedRegion(_square(band) * unit * tiled.network.trained.gap, table)


def _square(band: np.ndarray) -> Float64[np.ndarray, "bins bins"]:
    """Return a band's rows as a symmetric matrix, NaN beyond its separations."""
    rows, cols = np.indices((len(band), len(band)))
    low, apart = np.minimum(rows, cols), abs(cols - rows)
    inside = apart < band.shape[1]
    matrix = np.full(rows.shape, np.nan)
    matrix[inside] = band[low[inside], apart[inside]]
    return matrix
