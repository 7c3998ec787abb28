"""Filters as maps: rows of `compare` that a network has to beat, of whole chromosomes.

They are fitted and chosen as `compare` does it, on windows that its shards would hold, and filled
window by window, so that they score as those rows do:

    0 |====|----.         windows on the diagonal, which are scored, and
      |    |=off|         one off it beside each, for what lies between them
           |====|----.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from hicray.config import DataConfig
from hicray.evaluation.baseline_maps import Maker
from hicray.evaluation.rivals import TRAIN_WINDOWS, UNCHOSEN, VAL_WINDOWS, Rivals, fit
from hicray.evaluation.window_set import HeldOutWindows, Predictor, device
from hicray.maps.bands import Band, usable_pixels
from hicray.maps.bins import SplitName
from hicray.maps.split import Sets, region_name
from hicray.windows.collate import Collate
from hicray.windows.cut import cut, read_chromosome
from hicray.windows.manifest import EPS, Manifest, SourceInfo, image_cap
from hicray.windows.plan import Layout, chromosome_windows
from hicray.windows.sample import first_windows
from hicray.windows.scales import from_network
from hicray.windows.tiles import Blend

_AT_ONCE = 16
"""Windows that are filtered together."""


class FilterMaps:
    """Makes filters of one map at one gap.

    Args:
        maker: Of the baselines of the same map.
        config: The data set; its windows are as long as the maker's separations.
        sets: The set of each chromosome, those included that are written.
    """

    def __init__(self, maker: Maker, config: DataConfig, sets: Sets) -> None:
        self.maker, self.config, self.sets = maker, config, sets
        self.collate = Collate(_manifest(maker, config, sets), config.coarse_bin_sizes[0])
        self.predictors: Mapping[str, Predictor] = UNCHOSEN

    def fit(self) -> Rivals:
        """Fit filters on training windows and choose them on validation windows.

        Raises:
            UserError: There are none.
        """
        rivals = fit(self._windows("train", TRAIN_WINDOWS), self._windows("val", VAL_WINDOWS))
        self.predictors = rivals.predictors
        return rivals

    def _windows(self, split: SplitName, most: int) -> HeldOutWindows:
        rows = first_windows(self.maker.source, self.config, self.sets, split, most)
        size = self.config.coarse_bin_sizes[0]
        return HeldOutWindows(Path(), split, self.collate, size, rows=rows)

    def band(self, name: str, chrom: str) -> Band:
        """Return a filter's contacts of a chromosome, 0 where a bin is not usable."""
        source, window = self.maker.source, self.config.window_bins
        size, layout = source.fine.bin_size, Layout(window, window, (0, window))
        chromosome = read_chromosome(source, chrom, layout, (), raw=self.maker.raw)
        tiles = chromosome_windows(source.fine.chromsizes[chrom], size, "test", layout)
        blend = Blend(len(chromosome.usable), reach=window - 1)
        for start in range(0, len(tiles), _AT_ONCE):
            chunk = tiles[start : start + _AT_ONCE]
            rows = self.collate.compact(cut(source, chrom, chromosome, chunk, layout))
            maps = self.predictors[name](self.collate.decode(rows, device()))
            bins = (chunk[axis].to_numpy() // size for axis in ("row_start", "col_start"))
            for row, col, tile in zip(*bins, from_network(maps).cpu().numpy(), strict=True):
                blend.add(int(row), int(col), tile)
        means = blend.mean()
        band: Band = np.where(usable_pixels(chromosome.usable, means.shape[1]), means, 0.0)
        return band


def _manifest(maker: Maker, config: DataConfig, sets: Sets) -> Manifest:
    """Return what decoding windows needs to know, as that of a shard set would say it."""
    source, sizes = maker.source, maker.source.fine.chromsizes
    curves = {"fine": maker.expected.fine, maker.name: maker.expected.coarse}
    reads = {name: int(count) for name, (count, _) in maker.sums.items()}
    # A map's own scale, where baselines bring the coarse map to the fine one's depth.
    share = {name: count / reads["fine"] if count else 1.0 for name, count in reads.items()}
    genome_length = sum(sizes.values())
    info = SourceInfo(
        contacts=source.fine.uri,
        fingerprint="",
        chromsizes=dict(sizes),
        total_reads=reads,
        scale={name: maker.scale[name] * share[name] for name in reads},
        caps={name: image_cap(count, genome_length) for name, count in reads.items()},
        expected={name: list(np.asarray(curves[name]) * share[name]) for name in reads},
    )
    return Manifest(
        plan="",
        fine_bin_size=config.fine_bin_size,
        coarse_bin_sizes=config.coarse_bin_sizes,
        window_bins=config.window_bins,
        diagonal_only=False,
        raw=config.raw,
        eps=EPS,
        splits={region_name(region, sizes): split for region, split in sets.items()},
        genome={},
        sources={source.name: info},
        shards=(),
        dropped={},
    )
