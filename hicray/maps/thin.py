"""Fewer reads, and levels that a file lacks: new maps made from an old one's pixels.

Reads are kept or dropped one by one (binomial thinning), once for the whole map: thinned per
window, the same pixel would differ between two windows that overlap.
"""

from collections.abc import Iterator
from typing import Literal

import numpy as np
import pandas as pd

from hicray.config import UserError
from hicray.io.progress import tqdm
from hicray.io.storage import Location, remove_leftovers, replaced
from hicray.maps.contacts import ContactMap, open_map
from hicray.maps.write import genome_wide, write_cool, write_levels

Side = Literal["kept", "dropped", "all"]


def thin(
    contacts: ContactMap, chrom: str, keep: float, seed: int, side: Side = "kept"
) -> Iterator[pd.DataFrame]:
    """Yield a chromosome's pixels with each read kept with probability ``keep``.

    Args:
        contacts: The map to thin.
        chrom: Chromosome.
        keep: In (0, 1].
        seed: The same seed keeps the same reads, so 'kept' and 'dropped' are disjoint and add up.
        side: The reads that were kept, those that were dropped, or all of them unthinned.
    """
    # Of the seed and the chromosome alone, so that either side draws the same reads.
    stream = np.random.SeedSequence([seed, *chrom.encode()])
    rng = np.random.default_rng(stream)
    for table in contacts.pixels(chrom):
        counts = table["count"].to_numpy()
        kept = rng.binomial(counts, keep) if side != "all" else counts
        written = counts - kept if side == "dropped" else kept
        yield table.assign(count=written)[written > 0]


def derive(
    contacts: ContactMap,
    bin_sizes: tuple[int, ...],
    out: Location,
    *,
    keep: float = 1.0,
    seed: int = 0,
    side: Side = "all",
) -> dict[int, ContactMap]:
    """Write a balanced .mcool made of another map's (thinned) cis pixels, and open its levels.

    Args:
        contacts: Source map.
        bin_sizes: Levels to make, in bp; multiples of the source's.
        out: The .mcool to write; one that exists already is taken as it is.
        keep: Fraction of reads kept.
        seed: Seed of the thinning.
        side: Which reads to write.

    Raises:
        UserError: ``keep`` is not in (0, 1].
    """
    if not 0 < keep <= 1:
        raise UserError(f"a map cannot keep {keep} of its reads; give a fraction in (0, 1]")
    if not out.exists():
        out.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(out.parent)
        tables = {c: thin(contacts, c, keep, seed, side) for c in contacts.chromsizes}
        pixels = tqdm(genome_wide(contacts, tables), desc=f"derive {out.name}", unit="block")
        with replaced(out) as path:
            base = path.with_name(f"base-{path.name}")
            write_cool(base, contacts.chromsizes, contacts.bin_size, iter(pixels))
            write_levels(base, path, {contacts.bin_size, *bin_sizes})
            base.unlink()
    return {size: open_map(str(out), size) for size in bin_sizes}
