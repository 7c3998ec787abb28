"""The one way to a map's pixels: read in order, checked, each of them once.

Whatever is summed over a map (bands, totals, decays, balanced sums) is summed over these tables.
A cooler is read by the offsets of its index, so that no chromosome's name is ever parsed; a .hic
is read by hictkpy, a chromosome at a time.
"""

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, NamedTuple

import cooler
import hictkpy
import numpy as np
from jaxtyping import Float64, Int64, Num

from hicray.config import UserError
from hicray.io.copies import local_uri
from hicray.maps.bins import num_bins

DIVISIVE_WEIGHTS = frozenset({"KR", "VC", "VC_SQRT", "SCALE"})
"""Juicer's weights: contacts are divided by them, while cooler's are multiplied."""
MOST_READS = np.iinfo(np.int32).max
"""The most reads of a pixel, as bands and shards hold them."""
_CHUNK_PIXELS = 2_000_000
"""Pixels of a cooler that are in memory at a time."""
_CHUNK_ROWS = 1_000_000
"""Rows of a cooler whose index is in memory at a time."""
_CHUNK_BINS = 2_000
"""Rows of a .hic whose pixels are in memory at a time."""


class Pixels(NamedTuple):
    """Pixels whose two bins lie on one chromosome, by rows and columns in order, each of them once.

    Attributes:
        rows: Bin of the genome.
        cols: Bin of the genome, the row's or a later one.
        counts: Reads; or, in a map of fractional counts, contacts.
    """

    rows: Int64[np.ndarray, " pixels"]
    cols: Int64[np.ndarray, " pixels"]
    counts: Num[np.ndarray, " pixels"]


class Level:
    """What is known of one level of a file before its pixels are read.

    Args:
        uri: A cooler URI, or the path of a .hic.
        bin_size: In bp.
        chromsizes: Length of each chromosome in bp, in the file's order.
        fractional: Whether counts may be other than whole.
    """

    def __init__(
        self, uri: str, bin_size: int, chromsizes: Mapping[str, int], *, fractional: bool
    ) -> None:
        self.uri, self.bin_size, self.fractional = uri, bin_size, fractional
        self.names, self.lengths = list(chromsizes), list(chromsizes.values())
        bins = [num_bins(length, bin_size) for length in self.lengths]
        self.first_bins = np.concatenate([[0], np.cumsum(bins, dtype=np.int64)])

    @cached_property
    def index(self) -> Mapping[str, int]:
        """Each chromosome's id: how many stand before it in the file."""
        return {name: i for i, name in enumerate(self.names)}

    def chromosomes(self, bins: Int64[np.ndarray, " bins"]) -> Int64[np.ndarray, " bins"]:
        """Return the id of the chromosome of each bin of the genome."""
        chrom_ids: Int64[np.ndarray, " bins"]
        chrom_ids = np.searchsorted(self.first_bins, bins, "right") - 1
        return chrom_ids

    def locus(self, genome_bin: int) -> str:
        """Return where a bin of the genome begins, as a person writes it."""
        chrom = int(self.chromosomes(np.array([genome_bin]))[0])
        start = (genome_bin - int(self.first_bins[chrom])) * self.bin_size
        return f"{self.names[chrom]}:{start:,}"


class CoolerFile:
    """A cooler; its file stays open, as HDF5 else forgets all that it has unpacked.

    Its pixels lie row after row, and an index has where each row begins:

        bin1_offset   0     3   5 5 ...      row r has the pixels [offset r, offset r + 1):
        bin1_id       0 0 0 1 1 3 ...        three in row 0, two in row 1, none in row 2
        bin2_id       0 1 7 1 2 3 ...
    """

    def __init__(self, level: Level) -> None:
        self._level = level
        self._group: Any = cooler.Cooler(local_uri(level.uri)).open("r")
        first_bins = self._group["indexes/chrom_offset"][:]
        if not np.array_equal(first_bins, level.first_bins):
            raise UserError(
                f"{level.uri} has {first_bins[-1]:,} bins, but its chromosomes make "
                f"{level.first_bins[-1]:,} of {level.bin_size:,} bp; make it anew from its pairs "
                "by `cooler cload pairs`"
            )
        ends = self._group["indexes/bin1_offset"]
        if len(ends) != first_bins[-1] + 1 or ends[-1] != len(self._group["pixels/count"]):
            raise _disordered(level)

    def pixels(self, first: int, end: int) -> Iterator[Pixels]:
        """Yield the pixels within each of the chromosomes of ids [first, end)."""
        low, high = self._level.first_bins[[first, end]].tolist()
        for start in range(low, high, _CHUNK_ROWS):
            stop = min(start + _CHUNK_ROWS, high)
            offsets = self._group["indexes/bin1_offset"][start : stop + 1].astype(np.int64)
            if (np.diff(offsets) < 0).any():
                raise _disordered(self._level)
            # As many rows at a time as hold at most _CHUNK_PIXELS pixels, and one at least.
            at = 0
            while at < stop - start:
                fits = np.searchsorted(offsets, offsets[at] + _CHUNK_PIXELS, "right") - 1
                to = max(int(fits), at + 1)
                if offsets[to] > offsets[at]:
                    yield self._rows(start + at, offsets[at : to + 1])
                at = to

    def _rows(self, first: int, offsets: Int64[np.ndarray, " offsets"]) -> Pixels:
        """Return the pixels of the rows from ``first`` on, as many as there are offsets but one."""
        here, level = self._group["pixels"], self._level
        where = slice(int(offsets[0]), int(offsets[-1]))
        row, col = (here[name][where].astype(np.int64) for name in ("bin1_id", "bin2_id"))
        rows = np.arange(first, first + len(offsets) - 1)
        if not np.array_equal(row, np.repeat(rows, np.diff(offsets))):
            raise _disordered(level)
        if (col < row).any():
            raise UserError(
                f"{level.uri} has pixels below the diagonal, such as at row "
                f"{level.locus(int(row[col < row][0]))}, where symmetric maps have none; make it "
                "anew from its pairs by `cooler cload pairs`"
            )
        # The end of its chromosome, for each row and then for each of its pixels.
        ends = np.repeat(level.first_bins[level.chromosomes(rows) + 1], np.diff(offsets))
        cis = col < ends
        return _checked(Pixels(row[cis], col[cis], here["count"][where][cis]), level)

    def assembly(self) -> str:
        """Return the genome assembly that the file names, if any."""
        return str(self._group.attrs.get("genome-assembly") or "")

    def weight_names(self) -> list[str]:
        """Return the columns of bins that are numbers of their own, as weights are."""
        return [name for name in self._group["bins"] if name not in ("chrom", "start", "end")]

    def weights(self, name: str, first: int, end: int) -> Float64[np.ndarray, " bins"]:
        """Return the multiplicative weights of the chromosomes of ids [first, end)."""
        low, high = self._level.first_bins[[first, end]].tolist()
        column = self._group[f"bins/{name}"]
        weights = column[low:high].astype(np.float64)
        # Juicer's INTER_KR and GW_KR are KR of contacts between chromosomes, and of all.
        divisive = name.removeprefix("INTER_").removeprefix("GW_") in DIVISIVE_WEIGHTS
        return _inverted(weights) if column.attrs.get("divisive_weights", divisive) else weights


class HicFile:
    """A .hic; all names of chromosomes are given to hictkpy as BED, where none is parsed."""

    def __init__(self, level: Level) -> None:
        self._level = level
        self._file = hictkpy.File(local_uri(level.uri), level.bin_size)
        self._weights: dict[str, Float64[np.ndarray, " bins"]] = {}

    def pixels(self, first: int, end: int) -> Iterator[Pixels]:
        """Yield the pixels within each of the chromosomes of ids [first, end)."""
        level, step = self._level, _CHUNK_BINS * self._level.bin_size
        for chrom in range(first, end):
            name, length = level.names[chrom], level.lengths[chrom]
            for start in range(0, length, step):
                rows = f"{name}\t{start}\t{min(start + step, length)}"
                # As floats, in which a count that is not whole is seen, and refused, later on.
                coo = self._file.fetch(
                    rows, f"{name}\t{start}\t{length}", count_type="float64", query_type="BED"
                ).to_coo()
                before = level.first_bins[chrom] + start // level.bin_size
                row, col = (axis.astype(np.int64) + before for axis in (coo.row, coo.col))
                upper = row <= col
                yield _checked(Pixels(row[upper], col[upper], coo.data[upper]), level)

    def assembly(self) -> str:
        """Return the genome assembly that the file names, if any."""
        return str(self._file.attributes().get("assembly") or "")

    def weight_names(self) -> list[str]:
        """Return the normalizations that the file has."""
        return list(self._file.avail_normalizations())

    def weights(self, name: str, first: int, end: int) -> Float64[np.ndarray, " bins"]:
        """Return the multiplicative weights of the chromosomes of ids [first, end)."""
        if name not in self._weights:  # read for the whole genome at once
            self._weights = {name: np.asarray(self._file.weights(name, divisive=False))}
        low, high = self._level.first_bins[[first, end]].tolist()
        return self._weights[name][low:high].astype(np.float64)


def open_level(level: Level) -> CoolerFile | HicFile:
    """Open a level, in whichever format it is.

    Raises:
        UserError: Its bins, or the index of its pixels, are not what they have to be.
    """
    return CoolerFile(level) if "::" in level.uri else HicFile(level)


def _inverted(weights: Float64[np.ndarray, " bins"]) -> Float64[np.ndarray, " bins"]:
    with np.errstate(divide="ignore"):
        inverted: Float64[np.ndarray, " bins"] = 1 / weights
    return inverted


def _disordered(level: Level) -> UserError:
    return UserError(
        f"{level.uri} has pixels that are not sorted by row, or an index that is not theirs, so "
        "that not all of them are found; make it anew from its pairs by `cooler cload pairs`, or "
        "from a level that is sorted by `cooler zoomify`"
    )


def _checked(pixels: Pixels, level: Level) -> Pixels:
    """Return pixels in order, those that occur several times as their sum.

    Raises:
        UserError: A count is negative, no number, of more reads than a pixel may have, or, where
            counts have to be whole, is not.
    """
    _refuse_counts(pixels, level)
    # Within the smallest integers and floats, sums would be wrong.
    kind = np.float64 if level.fractional else np.int64
    row, col, count = pixels._replace(counts=pixels.counts.astype(kind))
    # The place of a pixel in the map read row by row; in 64 bits for 3 billion bins and more.
    key = row * level.first_bins[-1] + col
    if (np.diff(key) > 0).all():
        return Pixels(row, col, count)
    order = np.argsort(key, kind="stable")
    firsts = np.flatnonzero(np.diff(key[order], prepend=-1))
    unique = order[firsts]
    summed = Pixels(row[unique], col[unique], np.add.reduceat(count[order], firsts))
    _refuse_counts(summed, level)
    return summed


def _refuse_counts(pixels: Pixels, level: Level) -> None:
    count = pixels.counts
    if not len(count):
        return
    for wrong, rule in (
        (~np.isfinite(count), "counts are numbers: write the map anew without it"),
        (count < 0, "counts are 0 or more: give the map before anything was taken from it"),
        (
            np.array([False]) if level.fractional else count > MOST_READS,
            f"a pixel holds at most {MOST_READS:,} reads: give the map as it was counted",
        ),
        (
            np.array([False]) if level.fractional else count != np.rint(count),
            "hicray learns from raw reads: give the map as it was before normalisation",
        ),
    ):
        if wrong.any():
            at = int(np.argmax(wrong))
            value = count[at].item()
            number = f"{value:,}" if np.isfinite(value) else f"{value}"
            row, col = (level.locus(int(axis[at])) for axis in (pixels.rows, pixels.cols))
            raise UserError(f"{level.uri} has the count {number} at {row}, {col}, but {rule}")
