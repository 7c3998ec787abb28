"""Whether maps hold what a data set needs: levels of one map, contacts and weights in all sets.

What is found here would else show after hours, as a table of undefined scores.
"""

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from hicray.config import DataConfig, UserError
from hicray.maps.bins import SPLIT_NAMES, Region, num_bins
from hicray.maps.contacts import ContactMap
from hicray.maps.names import listed
from hicray.maps.split import Sets, region_name

_ROUNDING = 1e-6
"""Share of reads by which the sums of two levels of single precision may differ."""


def check_contents(
    fine: ContactMap, coarse: Sequence[ContactMap], sets: Sets, config: DataConfig
) -> None:
    """Check the levels that are read of one file.

    Args:
        fine: The target map.
        coarse: Levels of the same file that are inputs, of its chromosomes and their lengths; none
            where they are made of the fine one.
        sets: The set of each region that has one.
        config: The data set.

    Raises:
        UserError: A level is not the fine one's sum, or a set has no contacts or no usable window.
    """
    reads = reads_within(fine, dict.fromkeys(region.chrom for region in sets))
    for level in coarse:
        require_sums(fine, level, reads)
    for name in SPLIT_NAMES:
        regions = [region for region, split in sets.items() if split == name]
        require_contacts(fine, [region.chrom for region in regions], reads, name)
        derived = (
            config.coarse_keep < 1 and config.disjoint_reads
        )  # whose fine map is balanced anew
        if not config.raw and not derived:
            require_usable([fine, *coarse], regions, config.min_usable, config.window_bins, name)


def reads_within(contacts: ContactMap, chroms: Iterable[str]) -> dict[str, int]:
    """Return the reads within chromosomes, having read the whole map, as `prepare` does.

    Raises:
        UserError: A pixel is not what it may be, on whichever chromosome.
    """
    sums = contacts.sums(balanced=False, desc=f"read the pixels of {contacts.bin_size:,} bp")
    return {chrom: int(sums[chrom].reads) for chrom in chroms}


def require_lengths(fine: ContactMap, coarse: ContactMap) -> None:
    """Refuse a coarse level that lacks a chromosome of the fine one, or has another length for it.

    Raises:
        UserError: It does.
    """
    way_out = _anew(fine, coarse)
    for chrom, length in fine.chromsizes.items():
        coarse_length = coarse.chromsizes.get(chrom)
        if coarse_length is None:
            raise UserError(f"{coarse.uri} lacks {chrom}, which {fine.uri} has; {way_out}")
        if coarse_length != length:
            raise UserError(
                f"{chrom} is {coarse_length:,} bp in {coarse.uri} but {length:,} bp in {fine.uri}; "
                f"{way_out}"
            )


def require_sums(fine: ContactMap, coarse: ContactMap, reads: Mapping[str, int]) -> None:
    """Refuse a coarse level that is not the sum of the fine one.

    Args:
        fine: The fine map.
        coarse: A level of its file.
        reads: Of the fine map within chromosomes.

    Raises:
        UserError: Within one of these, the coarse level has other reads.
    """
    for chrom, coarse_reads in reads_within(coarse, reads).items():
        if abs(coarse_reads - reads[chrom]) > _ROUNDING * reads[chrom]:
            raise UserError(
                f"{coarse.uri} has {coarse_reads:,} reads within {chrom} but {fine.uri} has "
                f"{reads[chrom]:,}, so that one is not the sum of the other; {_anew(fine, coarse)}"
            )


def require_contacts(
    contacts: ContactMap, chroms: Sequence[str], reads: Mapping[str, int], of: str
) -> None:
    """Refuse a map that has no reads within chromosomes.

    Args:
        contacts: The map.
        chroms: Chromosomes that need some.
        reads: Within chromosomes.
        of: What these are, for the sentence.

    Raises:
        UserError: It has none.
    """
    if not any(reads.values()):
        raise UserError(
            f"{contacts.uri} has no contacts within {listed(reads)}, and hicray learns from those "
            "alone; give a map of reads that lie within chromosomes"
        )
    if not any(reads[chrom] for chrom in chroms):
        raise UserError(
            f"{contacts.uri} has no contacts within the {of} chromosomes {listed(chroms)}; choose "
            "others by --split"
        )


def require_any(contacts: ContactMap, chroms: Sequence[str], *, raw: bool) -> None:
    """Refuse chromosomes that hold nothing to sharpen.

    Args:
        contacts: The map.
        chroms: Chromosomes of which one must hold something.
        raw: Whether weights are of no account.

    Raises:
        UserError: They have no reads, or no bin with a weight.
    """
    if not any(reads_within(contacts, chroms).values()):
        lack = "contacts within"
    elif not raw and not any(np.isfinite(contacts.weights(chrom)).any() for chrom in chroms):
        lack = f"weights {contacts.weights_name!r} but NaN on"
    else:
        return
    raise UserError(
        f"{contacts.uri} has no {lack} {listed(chroms)}, so that nothing can be sharpened; give "
        "other --chroms or another map"
    )


def require_usable(
    maps: Sequence[ContactMap], regions: Sequence[Region], share: float, window: int, of: str
) -> None:
    """Refuse regions in none of which a window has enough bins with weights.

    Args:
        maps: The fine map and its levels that have weights.
        regions: At least one.
        share: Smallest share of usable bins of a window that is kept.
        window: Bins along its side.
        of: What the regions are, for the sentence.

    Raises:
        UserError: The maps' weights, each map's alone or all together, leave no such window.
    """
    fine, *_ = maps
    # Each map alone before all of them, so that the sentence names the one that is at fault.
    for tried in (*([contacts] for contacts in maps), list(maps)):
        most = max(_most_usable(tried, region, fine.bin_size, window) for region in regions)
        if most / window < share:
            names = listed(region_name(region, fine.chromsizes) for region in regions)
            raise UserError(
                f"the weights {fine.weights_name!r} of {' with '.join(m.uri for m in tried)} "
                f"leave no window in the {of} set, {names}, with {math.ceil(share * window)} of "
                f"{window} bins usable; choose other chromosomes by --split, balance the map anew, "
                "or take --raw"
            )


def _most_usable(maps: Sequence[ContactMap], region: Region, bin_size: int, window: int) -> int:
    """Return the most usable bins that so long a stretch of a region has."""
    here = slice(region.start // bin_size, num_bins(region.end, bin_size))
    usable = np.ones(here.stop, dtype=bool)
    for contacts in maps:
        weights = contacts.weights(region.chrom)
        usable &= np.isfinite(np.repeat(weights, contacts.bin_size // bin_size))[: here.stop]
    # Usable bins before each bin: their differences are those of every stretch of ``reach`` bins.
    before = np.concatenate([[0], np.cumsum(usable[here])])
    reach = min(window, len(before) - 1)
    return int((before[reach:] - before[: len(before) - reach]).max())


def _anew(fine: ContactMap, coarse: ContactMap) -> str:
    if "::" not in fine.uri:
        return "levels must be of one map: make the file anew from its reads"
    return (
        f"levels must be of one map: make them anew by `cooler zoomify -r "
        f"{fine.bin_size},{coarse.bin_size} -o new.mcool {fine.uri}`"
    )
