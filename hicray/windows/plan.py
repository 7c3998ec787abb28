"""The table of windows: which loci, which split, how much of each is usable.

Starts are aligned to every coarse bin size in use, so that one coarse bin never straddles a
window's edge and all gaps see the same windows. The last window of a chromosome runs past its
end, masked; one of a region that ends before ends inside it. Training windows overlap; validation
and test windows do not.

    chromosome  |----------------------------------------|
    training    |========|                                     stride < window
                  |========|  ...                |========|
    val, test   |========|========|========|========|========|  stride = window
"""

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float64

from hicray.config import DataConfig, UserError
from hicray.maps.bins import Region, SplitName, num_bins
from hicray.maps.split import Sets, region_name

PATCH_BINS = 16
"""Side of the vision transformer's patch, in fine bins."""


class Layout(NamedTuple):
    """How windows lie: all in fine bins."""

    window: int
    train_stride: int
    offsets: tuple[int, ...]

    @property
    def num_separations(self) -> int:
        """Separations that a band must hold for all windows, from 0 up."""
        # From the main diagonal to the upper right corner of the furthest window.
        return self.offsets[-1] + self.window


def layout_of(config: DataConfig) -> Layout:
    """Resolve and check the sizes of windows.

    Raises:
        UserError: A size does not fit the bins, patches or coarse bins.
    """
    factors = [_gap(config.fine_bin_size, size) for size in config.coarse_bin_sizes]
    step = math.lcm(*factors)
    window = config.window_bins
    if window <= 0 or window % math.lcm(step, PATCH_BINS):
        raise UserError(
            f"a window of {window} bins does not fit; it must be a multiple of {PATCH_BINS} "
            f"(the patch) and of the gaps {factors}, such as {math.lcm(step, PATCH_BINS) * 4}"
        )
    # A quarter of a window if none is given, in whole coarse bins.
    stride = config.train_stride_bins or max(step, window // 4 // step * step)
    if stride % step:
        raise UserError(
            f"a training stride of {stride} bins cuts coarse bins; give a multiple of {step}"
        )
    # Windows off the diagonal lie side by side, as far as the largest distance.
    reach = config.max_distance // config.fine_bin_size
    return Layout(window, stride, tuple(range(0, reach + 1, window)))


def _gap(fine: int, coarse: int) -> int:
    if coarse < fine or coarse % fine:
        raise UserError(
            f"coarse bins of {coarse:,} bp are not made of whole fine bins of {fine:,} bp; "
            f"give a multiple, such as {2 * fine:,}"
        )
    return coarse // fine


def chromosome_windows(
    length: int, bin_size: int, split: SplitName, layout: Layout, region: Region | None = None
) -> pd.DataFrame:
    """Return row_start and col_start (bp) of a chromosome's windows, or of those of a region.

    Windows lie wholly inside the region; only where it ends with the chromosome may the last one
    run past that end.

    Args:
        length: Of the chromosome, in bp.
        bin_size: Fine bin size, in bp.
        split: The set of the chromosome or region.
        layout: Sizes of the windows.
        region: Part of the chromosome; it starts at a bin of every map. All of it if not given.
    """
    first, end = (region.start, region.end) if region else (0, length)
    first, total = first // bin_size, num_bins(end, bin_size)
    stride = layout.train_stride if split == "train" else layout.window
    last = total - layout.window
    # Starts on the diagonal, and the last column at which a window off it may begin: bins past the
    # chromosome's end are masked, those past a region's end are not the region's.
    if end == length:
        starts, last_col = np.arange(first, max(last, first) + stride, stride), total - 1
    else:
        starts, last_col = np.arange(first, last + 1, stride), last
    rows = np.concatenate([starts for _ in layout.offsets])
    cols = np.concatenate([starts + offset for offset in layout.offsets])
    inside = cols <= last_col
    return pd.DataFrame({"row_start": rows[inside], "col_start": cols[inside]}) * bin_size


def placed_windows(
    source: str, sizes: Mapping[str, int], bin_size: int, sets: Sets, layout: Layout, seed: int
) -> pd.DataFrame:
    """Return windows of some regions, with their sets and the random keys of their places.

    Args:
        source: Name of the data set.
        sizes: Length of each chromosome, in bp.
        bin_size: Fine bin size, in bp.
        sets: The set of each region, one at least.
        layout: Sizes of the windows.
        seed: Of the order in which windows are written.
    """
    tables = []
    for region, split in sets.items():
        windows = chromosome_windows(sizes[region.chrom], bin_size, split, layout, region)
        # Of the region alone, so that no set's order depends on another's stride.
        name = f"{source} {region_name(region, sizes)}"
        key = np.random.default_rng(np.random.SeedSequence([seed, *name.encode()]))
        tables.append(windows.assign(split=split, key=key.random(len(windows))))
    return pd.concat(tables, ignore_index=True)


def count_windows(
    lengths: Iterable[Mapping[str, int]], sets: Sets, bin_size: int, layout: Layout
) -> dict[SplitName, int]:
    """Return how many windows the regions of each set have; some may be too little usable.

    Args:
        lengths: Of each source's chromosomes, in bp.
        sets: The set of each region that has one.
        bin_size: Fine bin size, in bp.
        layout: Sizes of the windows.
    """
    planned: dict[SplitName, int] = {}
    for sizes in lengths:
        for region, split in sets.items():
            windows = chromosome_windows(sizes[region.chrom], bin_size, split, layout, region)
            planned[split] = planned.get(split, 0) + len(windows)
    return planned


def usable_fraction(
    windows: pd.DataFrame, usable: Bool[np.ndarray, " bins"], bin_size: int, window: int
) -> pd.Series:
    """Return the smaller share of usable bins along a window's two axes; bins past the end count.

    Args:
        windows: With row_start and col_start, in bp.
        usable: By fine bin of the chromosome.
        bin_size: Fine bin size, in bp.
        window: Fine bins along a side.
    """
    # Usable bins before each bin: a window's are the difference between its end and its start.
    before = np.concatenate([[0], np.cumsum(usable)])

    def share(axis: str) -> Float64[np.ndarray, " windows"]:
        first = np.minimum(windows[f"{axis}_start"].to_numpy() // bin_size, len(usable))
        last = np.minimum(first + window, len(usable))
        shares: Float64[np.ndarray, " windows"] = (before[last] - before[first]) / window
        return shares

    return pd.Series(np.minimum(share("row"), share("col")), index=windows.index)
