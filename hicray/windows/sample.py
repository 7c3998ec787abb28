"""The first windows of a set, cut here: what shards would hold first, without all that follows."""

import pyarrow as pa
import pyarrow.compute as pc

from hicray.config import DataConfig, UserError
from hicray.io.progress import tqdm
from hicray.maps.bins import SplitName
from hicray.maps.split import Sets
from hicray.windows.cut import cut, read_chromosome
from hicray.windows.plan import layout_of, placed_windows, usable_fraction
from hicray.windows.sources import Source


def first_windows(
    source: Source, config: DataConfig, sets: Sets, split: SplitName, most: int
) -> pa.Table:
    """Return a set's first windows in the order of its shards: the same rows, at random.

    A chromosome at a time is in memory, beside the windows.

    Args:
        source: The maps.
        config: The data set.
        sets: The set of each region.
        split: The set.
        most: Windows at most.

    Raises:
        UserError: No window of the set is usable enough.
    """
    layout, size = layout_of(config), source.fine.bin_size
    chosen = [region for region, name in sets.items() if name == split]
    first: list[pa.Table] = []
    chroms = dict.fromkeys(region.chrom for region in chosen)
    for chrom in tqdm(chroms, desc=f"cut {split}", unit="chrom"):
        regions = {region: split for region in chosen if region.chrom == chrom}
        sizes, seed = source.fine.chromsizes, config.data_seed
        windows = placed_windows(source.name, sizes, size, regions, layout, seed)
        chromosome = read_chromosome(source, chrom, layout, (), raw=config.raw)
        share = usable_fraction(windows, chromosome.usable, size, layout.window)
        lowest = windows[share >= config.min_usable].nsmallest(most, "key")
        rows = cut(source, chrom, chromosome, lowest, layout)
        both = pa.concat_tables([*first, rows.append_column("key", pa.array(lowest["key"]))])
        first = [both.take(pc.sort_indices(both, [("key", "ascending")])[:most])]
    if not first or not len(first[0]):
        raise UserError(
            f"no {split} window of {layout.window} bins is {config.min_usable:.0%} usable, and "
            "filters are fitted on training windows and chosen on validation windows; take smaller "
            "--window-bins, or another --split"
        )
    return first[0].drop_columns("key")
