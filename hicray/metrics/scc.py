"""HiCRep's stratum-adjusted correlation coefficient of two maps.

Yang et al. 2017, doi:10.1101/gr.220640.117: both maps are smoothed by a mean over (2h + 1)^2
pixels; each separation's correlation is weighted by its pixels and the variance of their ranks.
"""

import numpy as np

from hicray.maps.bands import Band, Mask, filtered
from hicray.metrics.correlation import CorrelationSums, correlation_sums

_REACH = 20_000
"""How far the mean reaches to either side, in bp."""


def smoothing_bins(bin_size: int) -> int:
    """Return h: 20 kb to either side, 1 bin at least and 5 at most.

    HiCRep's own advice for bins of 10 to 40 kb, 200 kb to either side, was made to tell
    replicates from other cells; it would blur away all that sharpening adds.
    """
    return min(5, max(1, round(_REACH / bin_size)))


def scc(a: Band, b: Band, mask: Mask, h: int) -> float:
    """Return the coefficient over the band's separations but the main diagonal.

    Args:
        a: One map's contacts.
        b: The other's.
        mask: Pixels that count; those that are 0 in both maps are left out, as by HiCRep.
        h: Bins that the mean reaches to either side.
    """
    kernel = np.ones(2 * h + 1)
    smooth_a, smooth_b = filtered(a, mask, kernel), filtered(b, mask, kernel)
    kept = mask & ((smooth_a > 0) | (smooth_b > 0))
    kept[:, 0] = False
    # A column of the band is a separation, so that a kept pixel's column names its stratum.
    separation = np.nonzero(kept)[1]
    return adjusted(correlation_sums(smooth_a[kept], smooth_b[kept], separation, a.shape[1]))


def adjusted(sums: CorrelationSums) -> float:
    """Return the mean of the strata's correlations; their weight is pixels x variance of ranks.

    Ranks 1/n ... 1 have the variance (1 + 1/n) / 12, in both maps.
    """
    correlation = sums.correlation()
    weight = sums.pixels * (1 + 1 / np.maximum(sums.pixels, 1)) / 12
    defined = np.isfinite(correlation)
    if not defined.any():
        return float("nan")
    return float(np.average(correlation[defined], weights=weight[defined]))
