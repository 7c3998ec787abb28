"""Contact maps: .mcool, .cool and .hic to pixels, bands and weights.

One chromosome at a time, and of that only what lies near the diagonal, so that memory is one
chromosome's band whatever the file's size. hictkpy reads every format alike; cooler lists levels.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import cooler
import hictkpy
import numpy as np
import pandas as pd
from jaxtyping import Float64, Int32

from hicray.config import UserError
from hicray.copies import local_uri
from hicray.maps.bins import num_bins
from hicray.maps.levels import CONVERT, find_level

DIVISIVE_WEIGHTS = frozenset({"KR", "VC", "VC_SQRT", "SCALE"})
"""Juicer's weights: contacts are divided by them, while cooler's are multiplied."""
UNKNOWN = "unknown"
"""What coolers name a genome assembly that nobody has named."""
_CHUNK_BINS = 2_000
"""Rows of a chromosome whose pixels are in memory at a time when a whole map is read."""

Band = Int32[np.ndarray, "bins separations"]
FloatBand = Float64[np.ndarray, "bins separations"]
Weights = Float64[np.ndarray, " bins"]


@dataclass(frozen=True)
class ContactMap:
    """One resolution of one contact map; pickles, and opens its file anew wherever it comes to.

    Attributes:
        uri: What hictkpy opens, once it is on this machine: a cooler URI, or the path of a .hic.
        bin_size: In bp.
        chromsizes: Length of each chromosome in bp, in the file's order.
        weights_name: Column of balancing weights that ``weights`` reads.
    """

    uri: str
    bin_size: int
    chromsizes: Mapping[str, int]
    weights_name: str = "weight"

    @cached_property
    def _file(self) -> hictkpy.File:
        # Kept: with its last handle HDF5 forgets all that it has unpacked, and reads it anew.
        return hictkpy.File(local_uri(self.uri), self.bin_size)

    def __getstate__(self) -> dict[str, Any]:
        """Return what travels to another process: all but the open file."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def _lone(self, chrom: str) -> int | None:
        """Return the only pixel of a chromosome of one bin; None for all others.

        hictkpy finds nothing within such a chromosome of a cooler.
        """
        if self.num_bins(chrom) > 1 or "::" not in self.uri:
            return None
        return int(cooler.Cooler(local_uri(self.uri)).matrix(balance=False).fetch(chrom)[0, 0])

    @property
    def assembly(self) -> str:
        """Return the genome assembly that the file names, or 'unknown'."""
        return str(self._file.attributes().get("assembly") or UNKNOWN)

    def num_bins(self, chrom: str) -> int:
        """Return the number of bins of a chromosome."""
        return num_bins(self.chromsizes[chrom], self.bin_size)

    def band(self, chrom: str, num_separations: int) -> Band:
        """Return counts near the diagonal: ``band[row, s]`` is the pixel (row, row + s)."""
        band: Band = self._near(chrom, num_separations, "int32")
        return band

    def float_band(self, chrom: str, num_separations: int) -> FloatBand:
        """Return the same of counts that may be fractional."""
        band: FloatBand = self._near(chrom, num_separations, "float64")
        return band

    def _near(self, chrom: str, num_separations: int, kind: str) -> Any:
        band = np.zeros((self.num_bins(chrom), num_separations), dtype=kind)
        if (lone := self._lone(chrom)) is not None:
            band[0, 0] = lone
            return band
        near = self._file.fetch(chrom, count_type=kind, diagonal_band_width=num_separations)
        coo = near.to_coo()
        row, col = np.minimum(coo.row, coo.col), np.maximum(coo.row, coo.col)
        inside = col - row < num_separations
        band[row[inside], (col - row)[inside]] = coo.data[inside]
        return band

    def metadata(self) -> dict[str, Any]:
        """Return what whoever made a cooler wrote of it; nothing of a .hic."""
        if "::" not in self.uri:
            return {}
        written = cooler.Cooler(local_uri(self.uri)).info.get("metadata", {})
        return written if isinstance(written, dict) else {}

    def total(self, chrom: str) -> int:
        """Return the number of reads within a chromosome, each contact counted once."""
        if (lone := self._lone(chrom)) is not None:
            return lone
        return int(self._file.fetch(chrom, count_type="int64").sum())

    def float_total(self, chrom: str) -> float:
        """Return the same of counts that may be fractional."""
        return float(self._file.fetch(chrom, count_type="float64").sum())

    def balanced_total(self, chrom: str) -> float:
        """Return the sum of the balanced contacts within a chromosome."""
        if (lone := self._lone(chrom)) is not None:
            return float(np.nan_to_num(lone * self.weights(chrom)[0] ** 2))
        try:
            name = self.weights_name
            return float(self._file.fetch(chrom, normalization=name, count_type="float64").sum())
        except RuntimeError:  # of a column that hictk cannot take
            weights = np.nan_to_num(self.weights(chrom))
            total = 0.0
            for table in self.pixels(chrom):
                row, col, count = (table[name].to_numpy() for name in table)
                total += float((count * weights[row] * weights[col]).sum())
            return total

    def weight_names(self) -> list[str]:
        """Return the columns of balancing weights that the map has."""
        return list(self._file.avail_normalizations())

    def weights(self, chrom: str) -> Weights:
        """Return multiplicative balancing weights by bin; NaN marks a bin that is not usable.

        Raises:
            UserError: The map has no such weights.
        """
        file = self._file
        if self.weights_name not in file.avail_normalizations():
            raise UserError(_no_weights(self.uri, self.weights_name, file.avail_normalizations()))
        try:
            weights = np.asarray(file.weights(self.weights_name, divisive=False))
        except RuntimeError:  # hictk knows neither the name nor an attribute; cooler multiplies
            column = cooler.Cooler(local_uri(self.uri)).bins()[self.weights_name]
            weights = column[:].to_numpy()
        names = list(file.chromosomes())
        before = sum(self.num_bins(name) for name in names[: names.index(chrom)])
        usable = weights[before : before + self.num_bins(chrom)].astype(np.float64)
        usable[~np.isfinite(usable) | (usable <= 0)] = np.nan
        return usable

    def pixels(self, chrom: str) -> Iterator[pd.DataFrame]:
        """Yield bin1_id, bin2_id (within the chromosome) and count, in order, in small tables."""
        if lone := self._lone(chrom):
            yield pd.DataFrame({"bin1_id": [0], "bin2_id": [0], "count": [lone]})
            return
        size = self.chromsizes[chrom]
        for start in range(0, size, _CHUNK_BINS * self.bin_size):
            end = min(start + _CHUNK_BINS * self.bin_size, size)
            rows, cols = f"{chrom}:{start}-{end}", f"{chrom}:{start}-{size}"
            coo = self._file.fetch(rows, cols, count_type="int64").to_coo()
            offset = start // self.bin_size
            table = pd.DataFrame(
                {"bin1_id": coo.row + offset, "bin2_id": coo.col + offset, "count": coo.data}
            )
            upper = table[table["bin1_id"] <= table["bin2_id"]]
            yield upper.sort_values(["bin1_id", "bin2_id"], ignore_index=True)


def open_map(
    uri: str, bin_size: int, *, weights_name: str = "weight", fractional: bool = False
) -> ContactMap:
    """Open one resolution of a map.

    Args:
        uri: As ``levels.levels``.
        bin_size: In bp.
        weights_name: Column of balancing weights.
        fractional: Take counts that are not whole, which enhanced maps have and reads cannot.

    Raises:
        UserError: As ``find_level``, or its counts are not whole.
    """
    level = find_level(uri, bin_size)
    whole = "::" not in level or _count_kind(level) != "f"
    if not whole and not fractional:
        raise UserError(
            f"{level} holds fractional counts; hicray learns from raw reads: give the map as it "
            "was before normalisation"
        )
    try:
        chromsizes = hictkpy.File(local_uri(level), bin_size).chromosomes()
    except RuntimeError as error:
        raise UserError(f"{level} cannot be read; {CONVERT}") from error
    return ContactMap(level, bin_size, dict(chromsizes), weights_name)


def _count_kind(uri: str) -> str:
    return str(cooler.Cooler(local_uri(uri)).pixels().dtypes["count"].kind)


def _no_weights(uri: str, name: str, offered: Iterable[str]) -> str:
    divisive = sorted(DIVISIVE_WEIGHTS & set(offered))
    ways_out = ["--raw for raw counts"]
    if "::" in uri:  # a .hic cannot be balanced here
        ways_out.insert(0, f"`cooler balance {uri}`")
    if not divisive:
        return f"{uri} has no balancing weights {name!r}; take {', or '.join(ways_out)}"
    return (
        f"{uri} has only Juicer's divisive weights ({', '.join(divisive)}), not {name!r}; take "
        + ", or ".join([f"--weights {divisive[0]}, which inverts them", *ways_out])
    )
