"""What a map shows: distance decay, observed over expected, insulation."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float64, Int64, Shaped

from hicray.io.copies import local_uri
from hicray.maps.expected import Curve, smoothed

IMPLAUSIBLE_TIMES, IMPLAUSIBLE_READS = 30.0, 30.0
"""A pixel of more reads than so many times its expectation, and so many besides, is no contact.

Loops stand at up to 20 times their expectation; mismapped repeats at hundreds of times."""


class DecaySums(NamedTuple):
    """Sums by separation over usable pixels; those of several chromosomes add."""

    contacts: Curve
    pixels: Int64[np.ndarray, " separations"]

    def __add__(self, other: object) -> "DecaySums":
        """Add the sums of another chromosome."""
        if not isinstance(other, DecaySums):
            return NotImplemented
        return DecaySums(self.contacts + other.contacts, self.pixels + other.pixels)

    def expected(self) -> Curve:
        """Return smooth mean contacts by separation; NaN where no pixel is usable."""
        return smoothed(self.contacts, self.pixels)


def decay_sums(
    band: Shaped[np.ndarray, "bins separations"], weights: Float64[np.ndarray, " bins"]
) -> DecaySums:
    """Sum balanced contacts by separation over the pixels whose two bins are usable.

    A pixel whose reads are implausible by the smooth expectation of this band is in neither sum:
    one mismapped repeat would lift its separation in every window.

    Args:
        band: Raw counts; ``band[row, s]`` is the pixel (row, row + s).
        weights: Multiplicative weights, NaN where a bin is not usable.

    Source:
        ``cooltools.expected_cis`` with ``ignore_diags=0``: ``balanced.sum / n_valid``.
    """
    reach = min(band.shape[1], len(weights))
    contacts, excess = np.zeros((2, band.shape[1]))
    pixels = np.zeros(band.shape[1], dtype=np.int64)
    # Once with every pixel, then without the implausible ones: less these, the expectation falls,
    # so that others may be implausible too. Only separations that hold any are summed again.
    bound, pending = np.full(band.shape[1], np.inf), np.arange(reach)
    while len(pending):
        for s in pending.tolist():
            contacts[s], pixels[s], excess[s] = _diagonal(band, weights, s, float(bound[s]))
        bound = np.nan_to_num(IMPLAUSIBLE_TIMES * smoothed(contacts, pixels))
        pending = np.flatnonzero(excess > bound)
    return DecaySums(contacts, pixels)


def _diagonal(
    band: Shaped[np.ndarray, "bins separations"],
    weights: Float64[np.ndarray, " bins"],
    separation: int,
    bound: float,
) -> tuple[float, int, float]:
    """Return sum and number of a separation's usable pixels, and the largest excess among them.

    Excess is balanced contacts less those of ``IMPLAUSIBLE_READS``; pixels above ``bound`` are
    left out.
    """
    rows = slice(0, len(weights) - separation)
    factors = weights[rows] * weights[separation:]
    contacts = band[rows, separation] * factors
    excess = contacts - IMPLAUSIBLE_READS * factors
    kept = excess <= bound  # not so of NaN, which is not usable
    return float(contacts[kept].sum()), int(kept.sum()), float(excess[kept].max(initial=0.0))


def insulation(uri: str, window: int) -> pd.DataFrame:
    """Return chrom, start, end, log2 insulation score and boundary strength by bin.

    Args:
        uri: A balanced cooler.
        window: Side of the diamond, in bp; ten bins or more.
    """
    # numba comes with it: five seconds that the workers which cut windows need not pay.
    import cooler
    import cooltools

    table = cooltools.insulation(cooler.Cooler(local_uri(uri)), [window], ignore_diags=2)
    names = {
        f"log2_insulation_score_{window}": "log2_insulation",
        f"boundary_strength_{window}": "boundary_strength",
    }
    named: pd.DataFrame = table.rename(columns=names)
    return named[["chrom", "start", "end", *names.values()]]
