"""What a comparison will be able to say, by the windows that it will have: before it trains."""

from collections.abc import Iterator
from dataclasses import replace
from math import ceil, lcm
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool

from hicray.config import DataConfig
from hicray.maps import check
from hicray.maps.bins import SplitName
from hicray.maps.contacts import ContactMap, open_map
from hicray.maps.levels import levels
from hicray.maps.split import Sets, grid_of, sets_of
from hicray.metrics.paired import BLOCK_WINDOWS, MIN_BLOCKS
from hicray.windows.enough import with_stride
from hicray.windows.plan import (
    PATCH_BINS,
    chromosome_windows,
    count_windows,
    layout_of,
    usable_fraction,
)


class Counted(NamedTuple):
    """Windows of a set, and the blocks of neighbours that they make, which count as one each."""

    windows: int
    blocks: int

    @property
    def judged(self) -> bool:
        """Whether there are enough blocks for an interval."""
        return self.blocks >= MIN_BLOCKS

    def __str__(self) -> str:
        """Return e.g. ``35 in 9 blocks``."""
        return f"{self.windows} in {self.blocks} block{'' if self.blocks == 1 else 's'}"


def check_data(config: DataConfig, *, simulated: bool = False) -> list[str]:
    """Check maps, genome and split; return what was found, and what it will allow to say.

    Args:
        config: The data set.
        simulated: Whether it is hicray's own, whose training windows keep their stride.

    Raises:
        UserError: The first thing that would stop the work, in one sentence.
    """
    lines = check.check_data(config)
    return [*lines, *foreseen(config if simulated else with_stride(config))]


def foreseen(config: DataConfig) -> list[str]:
    """Return how many windows each set has, and whether its test windows allow a verdict.

    Args:
        config: A data set that was checked.
    """
    maps = [_Map(config, uri) for uri in config.contacts]
    lengths = [source.fine.chromsizes for source in maps]
    counts = count_windows(lengths, _sets(config, maps), config.fine_bin_size, layout_of(config))
    val, test = (_count(config, name, maps) for name in ("val", "test"))
    bound = "" if all(source.masks_known for source in maps) else " at most"
    return [
        f"windows of {config.window_bins} bins of {config.fine_bin_size:,} bp:{bound} "
        f"{counts['train']} to train, {val} to val, {test} to test",
        _conclusion(config, test, maps),
    ]


class _Map:
    """One map of a data set, and which of its bins are usable, as far as its file can tell.

    Args:
        config: The data set.
        uri: Of the map.

    Attributes:
        fine: At the fine bin size.
        masks_known: Whether all masks are the file's own; levels that are made have others.
    """

    def __init__(self, config: DataConfig, uri: str) -> None:
        self.fine = open_map(uri, config.fine_bin_size, weights_name=config.weights)
        offered, made = levels(uri), config.coarse_keep < 1
        sizes = () if made else config.coarse_bin_sizes
        sizes = sizes if made and config.disjoint_reads else (config.fine_bin_size, *sizes)
        self._weighted: list[ContactMap] = [
            open_map(uri, size, weights_name=config.weights)
            for size in dict.fromkeys(sizes)
            if size in offered and not config.raw
        ]
        needed = {config.fine_bin_size, *config.coarse_bin_sizes}
        self.masks_known = needed <= {level.bin_size for level in self._weighted}
        self._usable: dict[str, Bool[np.ndarray, " bins"]] = {}

    def usable(self, chrom: str) -> Bool[np.ndarray, " bins"]:
        """Return the fine bins that are usable at all levels."""
        if chrom not in self._usable:
            usable = np.ones(self.fine.num_bins(chrom), dtype=bool)
            for level in self._weighted:
                mask = np.isfinite(level.weights(chrom))
                usable &= np.repeat(mask, level.bin_size // self.fine.bin_size)[: len(usable)]
            self._usable[chrom] = usable
        return self._usable[chrom]


def _conclusion(config: DataConfig, test: Counted, maps: list[_Map]) -> str:
    text = f"{test.windows} test windows in {test.blocks} block{'' if test.blocks == 1 else 's'}"
    if test.judged:
        return f"{text}: enough for a verdict, which takes {MIN_BLOCKS} blocks"
    for smaller in _smaller(config):
        if (count := _count(smaller, "test", maps)).judged:
            more = f"--window-bins {smaller.window_bins} gives {count.windows} in {count.blocks}"
            break
    else:
        more = f"no --window-bins gives {MIN_BLOCKS}, more to test by --split does"
    return f"{text}: no verdict, which takes {MIN_BLOCKS} blocks; {more}"


def _smaller(config: DataConfig) -> Iterator[DataConfig]:
    """Yield it with smaller windows, the largest first."""
    # Windows are whole patches, and of whole coarse bins.
    step = lcm(PATCH_BINS, grid_of(config).step // config.fine_bin_size)
    for bins in range((config.window_bins - 1) // step * step, 0, -step):
        yield replace(config, window_bins=bins, train_stride_bins=0)


def _count(config: DataConfig, name: SplitName, maps: list[_Map]) -> Counted:
    """Return how many of a held-out set's windows are usable enough, and their blocks."""
    layout, size = layout_of(config), config.fine_bin_size
    regions = [region for region, split in _sets(config, maps).items() if split == name]
    kept = []
    for source in maps:
        for region in regions:
            length = source.fine.chromsizes[region.chrom]
            windows = chromosome_windows(length, size, name, layout, region)
            share = usable_fraction(windows, source.usable(region.chrom), size, layout.window)
            kept.append(windows[share >= config.min_usable].assign(chrom=region.chrom))
    table = pd.concat(kept)
    # Windows of one locus, of several maps or off the diagonal, share its block.
    loci = table.groupby("chrom")["row_start"].nunique()
    return Counted(len(table), sum(ceil(count / BLOCK_WINDOWS) for count in loci))


def _sets(config: DataConfig, maps: list[_Map]) -> Sets:
    return sets_of(config, maps[0].fine.chromsizes)
