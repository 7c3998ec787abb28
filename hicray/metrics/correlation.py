"""Correlation stratum by stratum, of which distance is the usual one, as sums that merge."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64, Int

from hicray.windows.scales import MIN_SEPARATION

Strata = Float64[np.ndarray, " strata"]
_CONSTANT = 1e-12
"""Variance, as a share of the mean square, below which values are constant up to rounding."""


class CorrelationSums(NamedTuple):
    """Sums over the pixels of each stratum; those of other chromosomes or windows add.

    Attributes:
        pixels: How many.
        a: Sum of the first map's values.
        b: Of the second's.
        aa: Of the first's squares.
        bb: Of the second's.
        ab: Of the products.
    """

    pixels: Strata
    a: Strata
    b: Strata
    aa: Strata
    bb: Strata
    ab: Strata

    def __add__(self, other: object) -> "CorrelationSums":
        """Add the sums of other pixels."""
        if not isinstance(other, CorrelationSums):
            return NotImplemented
        return CorrelationSums(*(x + y for x, y in zip(self, other, strict=True)))

    def correlation(self) -> Strata:
        """Return Pearson's r of each stratum; NaN where either map is constant."""
        n = np.maximum(self.pixels, 1)
        var_a, var_b = self.aa / n - (self.a / n) ** 2, self.bb / n - (self.b / n) ** 2
        varies = (var_a > _CONSTANT * self.aa / n) & (var_b > _CONSTANT * self.bb / n)
        scale = np.sqrt(np.where(varies, var_a * var_b, 1.0))
        return np.where(varies, (self.ab / n - self.a * self.b / n**2) / scale, np.nan)


def correlation_sums(
    a: Float[np.ndarray, " pixels"],
    b: Float[np.ndarray, " pixels"],
    stratum: Int[np.ndarray, " pixels"],
    num_strata: int,
) -> CorrelationSums:
    """Sum the values of two maps by stratum.

    At one separation, log O/E is log(x + 1) but for a constant: so log(x + 1) by separation
    correlates as log O/E does, whatever the expected.

    Args:
        a: Values of one map, usable pixels only.
        b: Values of the other at the same pixels.
        stratum: Of each pixel, such as its separation in bins.
        num_strata: How many there are.
    """

    def sums(values: Float[np.ndarray, " pixels"] | None = None) -> Strata:
        return np.bincount(stratum, values, num_strata).astype(np.float64)

    a, b = a.astype(np.float64), b.astype(np.float64)
    return CorrelationSums(sums(), sums(a), sums(b), sums(a * a), sums(b * b), sums(a * b))


def distance_bands(num_separations: int) -> list[tuple[int, int]]:
    """Return octaves of separations in bins, half-open, from 2 on: [2, 4), [4, 8), ..."""
    edges = [MIN_SEPARATION]
    while 2 * edges[-1] < num_separations:
        edges.append(2 * edges[-1])
    return list(zip(edges, [*edges[1:], num_separations], strict=True))


def band_means(correlation: Strata, bands: list[tuple[int, int]]) -> list[float]:
    """Return the mean correlation over the separations of each band where it is defined."""
    return [defined_mean(correlation[first:end]) for first, end in bands]


def defined_mean(values: Float[np.ndarray, " values"]) -> float:
    """Return the mean of the values that are defined; NaN if none is."""
    defined = values[np.isfinite(values)]
    return float(defined.mean()) if len(defined) else float("nan")
