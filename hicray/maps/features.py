"""What a map shows: distance decay, observed over expected, insulation."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float, Float64, Int64, Shaped

from hicray.copies import local_uri

Curve = Float64[np.ndarray, " separations"]


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
        """Return mean contacts by separation; NaN where no pixel is usable."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(self.pixels > 0, self.contacts / self.pixels, np.nan)


def decay_sums(
    band: Shaped[np.ndarray, "bins separations"], weights: Float64[np.ndarray, " bins"]
) -> DecaySums:
    """Sum balanced contacts by separation over the pixels whose two bins are usable.

    Args:
        band: Raw counts; ``band[row, s]`` is the pixel (row, row + s).
        weights: Multiplicative weights, NaN where a bin is not usable.

    Source:
        ``cooltools.expected_cis`` with ``ignore_diags=0``: ``balanced.sum / n_valid``.
    """
    contacts = np.zeros(band.shape[1])
    pixels = np.zeros(band.shape[1], dtype=np.int64)
    usable = np.isfinite(weights)
    factors = np.where(usable, weights, 0.0)
    for s in range(min(band.shape[1], len(weights))):
        rows = slice(0, len(weights) - s)
        contacts[s] = np.dot(band[rows, s] * factors[rows], factors[s:])
        pixels[s] = np.count_nonzero(usable[rows] & usable[s:])
    return DecaySums(contacts, pixels)


def observed_over_expected(
    window: Float[np.ndarray, "rows cols"], expected: Curve, *, diagonal: int
) -> Float[np.ndarray, "rows cols"]:
    """Divide each pixel by the mean contacts at its separation.

    Args:
        window: Contacts; pixels of unusable bins are NaN.
        expected: ``expected[s]`` is the mean of the s-th diagonal.
        diagonal: First column bin minus first row bin of the window, in bins.

    Returns:
        Dimensionless ratios; NaN where the pixel is masked or nothing is expected.

    Raises:
        ValueError: The window reaches further from the diagonal than ``expected`` does.

    Source:
        Lieberman-Aiden et al. 2009, doi:10.1126/science.1181369.
    """
    rows, cols = window.shape
    separation = np.abs(np.arange(cols)[None, :] + diagonal - np.arange(rows)[:, None])
    if separation.max() >= len(expected):
        raise ValueError(
            f"window reaches {separation.max()} bins from the diagonal, but expected stops at "
            f"{len(expected) - 1}; compute it for at least {separation.max() + 1} separations"
        )
    mean = expected[separation]
    ratios: Float[np.ndarray, "rows cols"] = np.full_like(window, np.nan)
    np.divide(window, mean, out=ratios, where=mean > 0)
    return ratios


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
