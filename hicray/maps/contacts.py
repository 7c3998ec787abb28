"""Contact maps: .mcool, .cool and .hic to bands, totals and weights.

One chromosome at a time, and of that only what lies near the diagonal, so that memory is one
chromosome's band whatever the file's size.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import cooler
import hictkpy
import numpy as np
import pandas as pd
from jaxtyping import Float64, Num

from hicray.config import UserError
from hicray.io.copies import local_uri
from hicray.io.progress import tqdm
from hicray.maps.bins import num_bins
from hicray.maps.levels import CONVERT, find_level
from hicray.maps.pixels import DIVISIVE_WEIGHTS, CoolerFile, HicFile, Level, open_level
from hicray.maps.totals import Sums, Totals

UNKNOWN = "unknown"
"""What coolers name a genome assembly that nobody has named."""

CountBand = Num[np.ndarray, "bins separations"]
"""int32, or float64 of counts that may be fractional."""
Weights = Float64[np.ndarray, " bins"]


class Near(NamedTuple):
    """One chromosome, from one pass over its pixels.

    Attributes:
        band: Raw counts near the diagonal; ``band[row, s]`` is the pixel (row, row + s).
        sums: Of all its pixels.
    """

    band: CountBand
    sums: Sums


@dataclass(frozen=True)
class ContactMap:
    """One resolution of one contact map; pickles, and opens its file anew wherever it comes to.

    Attributes:
        uri: A cooler URI, or the path of a .hic; either may lie in a bucket.
        bin_size: In bp.
        chromsizes: Length of each chromosome in bp, in the file's order.
        weights_name: Column of balancing weights that ``weights`` reads.
        fractional: Whether counts may be other than whole.
    """

    uri: str
    bin_size: int
    chromsizes: Mapping[str, int]
    weights_name: str = "weight"
    fractional: bool = False

    @cached_property
    def _level(self) -> Level:
        return Level(self.uri, self.bin_size, self.chromsizes, fractional=self.fractional)

    @cached_property
    def _reader(self) -> CoolerFile | HicFile:
        return open_level(self._level)

    def __getstate__(self) -> dict[str, Any]:
        """Return what travels to another process: all but the open file."""
        # cached_property keeps the reader in __dict__, and an HDF5 file does not pickle.
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def assembly(self) -> str:
        """Return the genome assembly that the file names, or 'unknown'."""
        return self._reader.assembly() or UNKNOWN

    def metadata(self) -> dict[str, Any]:
        """Return what whoever made a cooler wrote of it; nothing of a .hic."""
        if "::" not in self.uri:
            return {}
        written = cooler.Cooler(local_uri(self.uri)).info.get("metadata", {})
        return written if isinstance(written, dict) else {}

    def num_bins(self, chrom: str) -> int:
        """Return the number of bins of a chromosome."""
        return num_bins(self.chromsizes[chrom], self.bin_size)

    def near(self, chrom: str, num_separations: int, *, balanced: bool = True) -> Near:
        """Return a chromosome's band and sums.

        Args:
            chrom: Chromosome.
            num_separations: Of the band, from 0 up.
            balanced: Sum balanced contacts too, not reads alone.

        Raises:
            UserError: A pixel is not what it may be, or the map has no such weights.
        """
        kind = np.float64 if self.fractional else np.int32
        band = np.zeros((self.num_bins(chrom), num_separations), dtype=kind)
        chrom_id = self._level.index[chrom]
        total = self._totals(chrom_id, chrom_id + 1, balanced=balanced)
        before = self._level.first_bins[chrom_id]
        for pixels in self._reader.pixels(chrom_id, chrom_id + 1):
            total.add(pixels)  # of all pixels, while the band holds those near the diagonal
            apart = pixels.cols - pixels.rows
            inside = apart < num_separations
            band[pixels.rows[inside] - before, apart[inside]] = pixels.counts[inside]
        return Near(band, total.sums()[chrom])

    def band(self, chrom: str, num_separations: int) -> CountBand:
        """Return counts near the diagonal: ``band[row, s]`` is the pixel (row, row + s)."""
        return self.near(chrom, num_separations, balanced=False).band

    def sums(
        self, chroms: Iterable[str] | None = None, *, balanced: bool = True, desc: str = ""
    ) -> dict[str, Sums]:
        """Return what lies within chromosomes; neighbours are read together, however many.

        Args:
            chroms: Chromosomes; all if not given.
            balanced: Sum balanced contacts too, not reads alone.
            desc: What a progress bar says; without it, there is none.

        Raises:
            UserError: A pixel is not what it may be, or the map has no such weights.
        """
        index = self._level.index
        wanted = self.chromsizes if chroms is None else chroms
        chrom_ids = sorted({index[chrom] for chrom in wanted})
        # Neighbours of the file are one run, read in one pass: ids 0 1 2 5 6 make 0 1 2 and 5 6.
        breaks = [
            i for i, (before, after) in enumerate(pairwise(chrom_ids), 1) if after > before + 1
        ]
        by_chrom: dict[str, Sums] = {}
        bins = self._level.first_bins
        with tqdm(total=int(bins[-1]), desc=desc, unit="bin", disable=not desc, delay=1) as bar:
            for low, high in pairwise([0, *breaks, len(chrom_ids)] if chrom_ids else []):
                first, end = chrom_ids[low], chrom_ids[high - 1] + 1
                total = self._totals(first, end, balanced=balanced)
                for pixels in self._reader.pixels(first, end):
                    total.add(pixels)
                    bar.update(int(pixels.rows[-1]) - bar.n if len(pixels.rows) else 0)
                bar.update(int(bins[end]) - bar.n)
                by_chrom |= total.sums()
        return by_chrom

    def total(self, chrom: str) -> int | float:
        """Return the number of reads within a chromosome, each contact counted once."""
        return self.sums([chrom], balanced=False)[chrom].reads

    def weight_names(self) -> list[str]:
        """Return the columns of balancing weights that the map has."""
        return self._reader.weight_names()

    def weights(self, chrom: str) -> Weights:
        """Return multiplicative balancing weights by bin; NaN marks a bin that is not usable.

        Raises:
            UserError: The map has no such weights.
        """
        chrom_id = self._level.index[chrom]
        return self._weights(chrom_id, chrom_id + 1)

    def _weights(self, first: int, end: int) -> Weights:
        if self.weights_name not in self.weight_names():
            raise UserError(_no_weights(self.uri, self.weights_name, self.weight_names()))
        # cooler masks a bin by NaN; a divisive weight of 0, inverted, is infinite.
        usable = self._reader.weights(self.weights_name, first, end)
        usable[~np.isfinite(usable) | (usable <= 0)] = np.nan
        return usable

    def _totals(self, first: int, end: int, *, balanced: bool) -> Totals:
        weights = self._weights(first, end) if balanced else None
        return Totals(self._level, first, end, weights)

    def pixels(self, chrom: str) -> Iterator[pd.DataFrame]:
        """Yield bin1_id, bin2_id (within the chromosome) and count, in order, in small tables."""
        chrom_id = self._level.index[chrom]
        before = self._level.first_bins[chrom_id]
        for row, col, count in self._reader.pixels(chrom_id, chrom_id + 1):
            yield pd.DataFrame({"bin1_id": row - before, "bin2_id": col - before, "count": count})


def open_map(
    uri: str | Path, bin_size: int, *, weights_name: str = "weight", fractional: bool = False
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
    level = find_level(str(uri), bin_size)
    whole = "::" not in level or _count_kind(level) != "f"
    if not whole and not fractional:
        raise UserError(
            f"{level} holds fractional counts; hicray learns from raw reads: give the map as it "
            "was before normalisation"
        )
    try:
        chromsizes = _chromsizes(level, bin_size)
    except RuntimeError as error:
        raise UserError(f"{level} cannot be read; {CONVERT}") from error
    return ContactMap(level, bin_size, chromsizes, weights_name, fractional)


def _chromsizes(uri: str, bin_size: int) -> dict[str, int]:
    if "::" not in uri:
        return dict(hictkpy.File(local_uri(uri), bin_size).chromosomes())
    return {str(name): int(size) for name, size in cooler.Cooler(local_uri(uri)).chromsizes.items()}


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
