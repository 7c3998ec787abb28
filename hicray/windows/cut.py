"""One chromosome of one source to the rows of its windows: compact counts and weight vectors."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
from jaxtyping import Bool, Float64, Int32

from hicray.maps.bins import Region, num_bins
from hicray.maps.contacts import CountBand
from hicray.maps.features import DecaySums, decay_sums
from hicray.maps.totals import Sums
from hicray.windows.plan import Layout
from hicray.windows.sources import Source

_COUNTS, _WEIGHTS = pa.list_(pa.int32()), pa.list_(pa.float32())


def schema(map_names: list[str]) -> pa.Schema:
    """Return the Arrow schema of a shard row.

    Intervals are 0-based, in bp. ``*_counts`` are raw and row-major: the upper triangle of a
    window on the diagonal, the full square of one off it. ``*_weights`` multiply both axes; NaN
    is a bin that is not usable (fine: in the fine map or under an unusable coarse bin).
    """
    fields = [
        pa.field("source", pa.string()),
        pa.field("chrom", pa.string()),
        pa.field("row_start", pa.int64()),
        pa.field("col_start", pa.int64()),
        pa.field("num_rows", pa.int32()),  # fine bins of the window inside the chromosome
        pa.field("num_cols", pa.int32()),
    ]
    for name in map_names:
        fields += [
            pa.field(f"{name}_counts", _COUNTS),
            pa.field(f"{name}_row_weights", _WEIGHTS),
            pa.field(f"{name}_col_weights", _WEIGHTS),
        ]
    return pa.schema(fields)


class Level(NamedTuple):
    """One map of a chromosome: its band and its weights, padded so that windows may run over."""

    repeat: int
    band: CountBand
    weights: Float64[np.ndarray, " bins"]


class Chromosome(NamedTuple):
    """All maps of one chromosome.

    Attributes:
        levels: Each map's band and weights.
        usable: Fine bins that are so at every level.
        decays: Sums by separation over the regions that train, if any.
        sums: Of all pixels of each map.
    """

    levels: dict[str, Level]
    usable: Bool[np.ndarray, " bins"]
    decays: dict[str, DecaySums]
    sums: dict[str, Sums]


def read_chromosome(
    source: Source, chrom: str, layout: Layout, train: Sequence[Region] | None = None, *, raw: bool
) -> Chromosome:
    """Read the bands, weights and sums of one chromosome at every level, each pixel once.

    Args:
        source: The maps.
        chrom: The chromosome.
        layout: Sizes of the windows.
        train: Its regions that train: what decays are summed over. All of it if not given.
        raw: Take raw counts instead of balanced contacts.
    """
    fine_size = source.fine.bin_size
    levels: dict[str, Level] = {}
    decays: dict[str, DecaySums] = {}
    sums: dict[str, Sums] = {}
    usable = np.ones(source.fine.num_bins(chrom), dtype=bool)
    if train is None:
        train = [Region(chrom, 0, source.fine.chromsizes[chrom])]
    for name, contacts in source.maps.items():
        repeat = contacts.bin_size // fine_size
        band, sums[name] = contacts.near(chrom, layout.num_separations // repeat, balanced=not raw)
        weights = unit_weights(band) if raw else contacts.weights(chrom)
        # A coarse bin that is not usable takes its fine bins with it; the last may have fewer.
        usable &= np.isfinite(np.repeat(weights, repeat)[: len(usable)])
        if train:
            decays[name] = region_decays(band, weights, contacts.bin_size, train)
        levels[name] = Level(repeat, band, weights)
    # Only now is it known which fine bins are usable at every level.
    fine = levels["fine"]
    levels["fine"] = fine._replace(weights=np.where(usable, fine.weights, np.nan))
    padded = {name: pad(level, layout.window // level.repeat) for name, level in levels.items()}
    return Chromosome(padded, usable, decays, sums)


def region_decays(
    band: CountBand, weights: Float64[np.ndarray, " bins"], bin_size: int, regions: Sequence[Region]
) -> DecaySums:
    """Sum contacts by separation over pixels whose two bins lie in the same region.

    Args:
        band: Raw counts of a chromosome.
        weights: Of its bins, NaN where one is not usable.
        bin_size: In bp.
        regions: At least one, each of whole bins but for the chromosome's last one.
    """
    sums = []
    for region in regions:
        inside = slice(region.start // bin_size, num_bins(region.end, bin_size))
        sums.append(decay_sums(band[inside], weights[inside]))
    return sum(sums[1:], start=sums[0])


def unit_weights(band: CountBand) -> Float64[np.ndarray, " bins"]:
    """Return 1 for every bin that was read at all near the diagonal, else NaN."""
    # A bin's contacts lie along its row and, as the map is symmetric, up its column.
    reads = band.sum(axis=1)
    for s in range(1, min(band.shape)):
        reads[s:] += band[:-s, s]
    return np.where(reads > 0, 1.0, np.nan)


def pad(level: Level, window: int) -> Level:
    """Return a level with bins past the end, not usable, that windows may run over."""
    return Level(
        level.repeat,
        np.pad(level.band, ((0, window), (0, 0))),
        np.pad(level.weights, (0, window), constant_values=np.nan),
    )


def cut(
    source: Source, chrom: str, chromosome: Chromosome, windows: pd.DataFrame, layout: Layout
) -> pa.Table:
    """Return the rows of some of a chromosome's windows, in their order.

    Args:
        source: Map and its thinned or derived levels.
        chrom: Chromosome.
        chromosome: Its bands and weights at every bin size.
        windows: Their first rows and columns, in bp.
        layout: Length and offsets of windows.
    """
    fine_size = source.fine.bin_size
    total = num_bins(source.fine.chromsizes[chrom], fine_size)
    rows, cols = windows["row_start"].to_numpy(), windows["col_start"].to_numpy()
    columns: dict[str, object] = {
        "source": [source.name] * len(windows),
        "chrom": [chrom] * len(windows),
        "row_start": rows,
        "col_start": cols,
        "num_rows": np.clip(total - rows // fine_size, 0, layout.window).astype(np.int32),
        "num_cols": np.clip(total - cols // fine_size, 0, layout.window).astype(np.int32),
    }
    bins = ((axis // fine_size).tolist() for axis in (rows, cols))
    starts = list(zip(*bins, strict=True))
    for name, level in chromosome.levels.items():
        side = layout.window // level.repeat
        level_starts = [(row // level.repeat, col // level.repeat) for row, col in starts]
        columns[f"{name}_counts"] = [window_counts(level.band, r, c, side) for r, c in level_starts]
        for axis, index in (("row", 0), ("col", 1)):
            columns[f"{name}_{axis}_weights"] = list(_weights(level, level_starts, index, side))
    return pa.table(columns, schema=schema(list(chromosome.levels)))


def window_counts(band: CountBand, row: int, col: int, side: int) -> Int32[np.ndarray, " pixels"]:
    """Return a window's counts, row-major: on the diagonal the upper triangle, else the square.

        rows of the band     at column 0, the diagonal     at column 2
        a b c d              a b                           c d
        e f g h                e                           f g

    Args:
        band: Raw counts of a chromosome near the diagonal.
        row: First row, in bins of the band.
        col: First column, in bins of the band.
        side: Bins along each side.
    """
    slab, index = band[row : row + side], np.arange(side)
    if row == col:  # band rows hold separations 0.., so this is the row-major upper triangle
        return slab[:, :side][index[None, :] < side - index[:, None]]
    # Each row of the square begins one separation nearer than the row above it.
    separation = col - row + index[None, :] - index[:, None]
    square = np.take_along_axis(slab, np.minimum(separation, band.shape[1] - 1), axis=1)
    return square.ravel()


def _weights(
    level: Level, starts: list[tuple[int, int]], axis: int, side: int
) -> Iterator[np.ndarray]:
    for start in starts:
        yield level.weights[start[axis] : start[axis] + side].astype(np.float32)
