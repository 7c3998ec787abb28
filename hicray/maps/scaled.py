"""Maps of any kind in one unit: scaled contacts.

Balanced contacts times the factor that makes the balanced sum within all chromosomes equal the
raw one, so that they read as counts. A map without weights is taken as it is.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from hicray.config import UserError
from hicray.maps.bands import Band, at_columns
from hicray.maps.contacts import ContactMap, open_map
from hicray.maps.levels import levels
from hicray.maps.totals import Sums

logger = logging.getLogger(__name__)
_USUAL = "weight"
"""The column that `cooler balance` writes, and hicray."""


@dataclass(frozen=True)
class ScaledMap:
    """A map whose values are scaled contacts.

    Attributes:
        contacts: The map.
        balanced: Whether it has weights.
        factor: What balanced contacts are multiplied by.
    """

    contacts: ContactMap
    balanced: bool
    factor: float

    @property
    def chromsizes(self) -> Mapping[str, int]:
        """Length of each chromosome, in bp."""
        return self.contacts.chromsizes

    def usable(self, chrom: str) -> Bool[np.ndarray, " bins"]:
        """Return the bins that have a weight; without weights, all."""
        if not self.balanced:
            return np.ones(self.contacts.num_bins(chrom), dtype=bool)
        usable: Bool[np.ndarray, " bins"] = np.isfinite(self.contacts.weights(chrom))
        return usable

    def band(self, chrom: str, num_separations: int) -> Band:
        """Return scaled contacts near the diagonal; those of unusable bins are 0."""
        band = self.contacts.band(chrom, num_separations)
        if self.balanced:
            weights = np.nan_to_num(self.contacts.weights(chrom))
            band *= weights[:, None]
            band *= at_columns(weights, num_separations)
        return band * self.factor

    def reads(self, chrom: str, num_separations: int) -> Band | None:
        """Return raw counts near the diagonal; None where they are not whole, so are no reads."""
        band = self.contacts.band(chrom, num_separations)
        return band if (band == np.rint(band)).all() else None

    def reads_per_contact(self, chrom: str, num_separations: int) -> Band:
        """Return how many reads a scaled contact stands for; 0 where a bin is not usable."""
        per_read = np.where(self.usable(chrom), 1.0, 0.0)
        if self.balanced:
            per_read = np.nan_to_num(self.contacts.weights(chrom))
        # A read adds the product of its bins' weights to the balanced map.
        contacts = per_read[:, None] * at_columns(per_read, num_separations) * self.factor
        reads: Band = np.zeros_like(contacts)
        np.divide(1.0, contacts, out=reads, where=contacts > 0)
        return reads


def named_bin_size(uri: str) -> int:
    """Return the bin size in bp of the one map that a URI names.

    Raises:
        UserError: As ``levels``, or the URI names several.
    """
    offered = levels(uri)
    group = "/" + uri.partition("::")[2].strip("/")
    sizes = [size for size, level in offered.items() if level.endswith(f"::{group}")]
    if len(offered) > 1 and len(sizes) != 1:
        listed = ", ".join(f"{size:,}" for size in sorted(offered))
        raise UserError(f"{uri} has bins of {listed} bp; choose one of them by --bin-size")
    return sizes[0] if sizes else next(iter(offered))


def open_scaled(uri: str, bin_size: int, weights_name: str) -> ScaledMap:
    """Open a map and find the factor of its balanced contacts, over all its chromosomes.

    Args:
        uri: As ``levels``; counts may be fractional.
        bin_size: In bp.
        weights_name: Column of balancing weights; a map without it is taken by the usual one,
            and one without either as it is.

    Raises:
        UserError: As ``open_map`` and ``ContactMap.sums``; or no usable bin has contacts.
    """
    contacts = open_map(uri, bin_size, fractional=True)
    names = [name for name in (weights_name, _USUAL) if name in contacts.weight_names()]
    desc = f"sum {Path(uri.partition('::')[0]).name}"
    if not names:
        contacts.sums(balanced=False, desc=desc)  # which refuses what cannot be read
        logger.warning("%s has no weights %r: its counts are taken as they are", uri, weights_name)
        return ScaledMap(contacts, balanced=False, factor=1.0)
    contacts = open_map(uri, bin_size, weights_name=names[0], fractional=True)
    total = sum(contacts.sums(desc=desc).values(), start=Sums(0, 0.0))
    if not total.balanced > 0:
        raise UserError(
            f"{uri} has no contacts between usable bins; balance it anew by `cooler balance {uri}`"
        )
    return ScaledMap(contacts, balanced=True, factor=total.reads_per_balanced)
