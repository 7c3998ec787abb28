"""The first windows of a set, cut here: what shards would hold first, without all that follows."""

import pyarrow as pa
import pyarrow.compute as pc

from hicray.config import DataConfig, UserError
from hicray.io.progress import tqdm
from hicray.maps.bins import SplitName
from hicray.maps.split import Sets
from hicray.windows.cut import cut, read_chromosome
from hicray.windows.plan import layout, placed_windows, usable_fraction
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
    how, size = layout(config), source.fine.bin_size
    chosen = {region: own for region, own in sets.items() if own == split}
    first: list[pa.Table] = []
    for chrom in tqdm(
        dict.fromkeys(one.chrom for one in chosen), desc=f"cut {split}", unit="chrom"
    ):
        regions = {region: own for region, own in chosen.items() if region.chrom == chrom}
        sizes, seed = source.fine.chromsizes, config.data_seed
        windows = placed_windows(source.name, sizes, size, regions, how, seed)
        chromosome = read_chromosome(source, chrom, how, (), raw=config.raw)
        share = usable_fraction(windows, chromosome.usable, size, how.window)
        own = windows[share >= config.min_usable].nsmallest(most, "key")
        rows = cut(source, chrom, chromosome, own, how)
        both = pa.concat_tables([*first, rows.append_column("key", pa.array(own["key"]))])
        first = [both.take(pc.sort_indices(both, [("key", "ascending")])[:most])]
    if not first or not len(first[0]):
        raise UserError(
            f"no {split} window of {how.window} bins is {config.min_usable:.0%} usable, and "
            "filters are fitted on training windows and chosen on validation windows; take smaller "
            "--window-bins, or another --split"
        )
    return first[0].drop_columns("key")
