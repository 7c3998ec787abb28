"""Which regions of a map train, validate and test: whole chromosomes, or stretches of them.

Between regions of different sets lies a guard of a window's length, so that no window shares a
pixel with one of another set, nor lies within a window's length of it.

    val   |======|                                   2L:0-3M
    train          |==========================|      what is left of 2L, less the guards
    test                                        |======|
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import combinations
from typing import NamedTuple

from hicray.config import DataConfig, UserError
from hicray.maps.bins import (
    SPLIT_NAMES,
    Region,
    Split,
    SplitName,
    named_chrom,
    parse_split,
    teaching,
)

Sets = dict[Region, SplitName]
"""The set of each region that has one, in the map's order."""
_NUMBER = r"(\d+(?:\.\d+)?)(kb?|mb?|)"
_REGION = re.compile(rf"(.+):{_NUMBER}-{_NUMBER}", re.IGNORECASE)
_UNITS = {"": 1, "k": 1_000, "m": 1_000_000}
_EXAMPLE = "give chrom:start-end in bp, k or M, as 2L:0-3M"


class Grid(NamedTuple):
    """What regions have to fit, in bp.

    Attributes:
        window: Length of a window.
        step: What regions begin and end at multiples of: a bin of every coarse map.
    """

    window: int
    step: int


def grid_of(config: DataConfig) -> Grid:
    """Return what the regions of a data set have to fit."""
    return Grid(config.window_bins * config.fine_bin_size, math.lcm(*config.coarse_bin_sizes))


def region_name(region: Region, sizes: Mapping[str, int]) -> str:
    """Return a region as splits name it: a whole chromosome by its name alone.

    Args:
        region: On a chromosome of ``sizes``.
        sizes: Length of each chromosome, in bp.
    """
    if (region.start, region.end) == (0, sizes[region.chrom]):
        return region.chrom
    return f"{region.chrom}:{region.start}-{region.end}"


def named_region(name: str, sizes: Mapping[str, int]) -> Region | None:
    """Return the region that ``region_name`` or a user names; None if it is not of that form.

    The region's chromosome may be absent from ``sizes``; a chromosome's own name goes before a
    region that reads alike.

    Args:
        name: A chromosome, with or without 'chr', or chrom:start-end with k, kb, M or Mb.
        sizes: Length of each chromosome, in bp.
    """
    whole = named_chrom(name, sizes)
    if whole is not None:
        return Region(whole, 0, sizes[whole])
    match = _REGION.fullmatch(name)
    if not match:
        return None
    chrom, *numbers = match.groups()
    # Decimal, since 8.2M is 8,200,000 bp, and as a float a little less.
    start, end = (Decimal(n) * _UNITS[unit[:1].lower()] for n, unit in _pairs(numbers))
    if start % 1 or end % 1 or start >= end:
        return None
    return Region(named_chrom(chrom, sizes) or chrom, int(start), int(end))


def _pairs(numbers: Sequence[str]) -> Iterator[tuple[str, str]]:
    return zip(numbers[::2], numbers[1::2], strict=True)


def assign(split: Split, sizes: Mapping[str, int], grid: Grid) -> Sets:
    """Return the set of each region that has one, in the order of ``sizes``.

    What trains is less a guard of a window on either side of what is held out.

    Args:
        split: As named or given.
        sizes: Length of each chromosome, in bp.
        grid: What regions have to fit.

    Raises:
        UserError: The split names what is not there, too short, in two sets, or, if held out in
            two sets, nearer than a window.
    """
    named = {
        name: [_resolved(item, name, sizes, grid) for item in getattr(split, name) or ()]
        for name in SPLIT_NAMES
    }
    pairs = [(name, region) for name, regions in named.items() for region in regions]
    _refuse_near(pairs, sizes, grid.window)
    sets: Sets = {region: name for name, region in pairs if name != "train"}
    held = list(sets)
    wholes = [Region(chrom, 0, length) for chrom, length in sizes.items()]
    train = wholes if split.train is None else named["train"]
    sets |= {piece: "train" for region in train for piece in _unheld(region, held, grid.window)}
    order = {chrom: i for i, chrom in enumerate(sizes)}
    in_order = sorted(sets, key=lambda region: (order[region.chrom], region.start))
    return {region: sets[region] for region in in_order}


def split_sets(split: Split, sizes: Mapping[str, int], grid: Grid) -> Sets:
    """Return the set of each region as ``assign``, but train only where a window fits.

    Mitochondrial DNA does not train either.

    Args:
        split: As named or given.
        sizes: Length of each chromosome, in bp.
        grid: What regions have to fit.
    """
    able = teaching(sizes, grid.window)
    return {
        region: name
        for region, name in assign(split, sizes, grid).items()
        if name != "train" or (region.chrom in able and region.end - region.start >= grid.window)
    }


def sets_of(config: DataConfig, sizes: Mapping[str, int]) -> Sets:
    """Return the set of each region of a data set, as ``split_sets``.

    Args:
        config: Of the data set.
        sizes: Length of each chromosome, in bp.
    """
    return split_sets(parse_split(config.split), sizes, grid_of(config))


def _resolved(item: str, name: SplitName, sizes: Mapping[str, int], grid: Grid) -> Region:
    """Return a named region, shrunk to whole coarse bins."""
    region = named_region(item, sizes)
    if region is None and ":" in item:
        raise UserError(f"the split's {name} region {item} cannot be read; {_EXAMPLE}")
    chrom = region.chrom if region else item
    if region is None or chrom not in sizes:
        raise UserError(
            f"the split's {name} chromosome {chrom} is not in the map, which has "
            f"{', '.join(sizes)}; give --split 'val=...;test=...' with names from it, or regions "
            f"such as {next(iter(sizes), 'chr1')}:0-3M"
        )
    length = sizes[chrom]
    if region.end > length:
        raise UserError(
            f"the split's {name} region {item} ends past {chrom}, which has {length:,} bp; give "
            f"an end of at most {length}"
        )
    if (region.start, region.end) == (0, length):
        return region
    # Inwards on both sides, so that no bin of a coarse map lies in two sets.
    start = -(-region.start // grid.step) * grid.step
    end = length if region.end == length else region.end // grid.step * grid.step
    if end - start < grid.window:
        raise UserError(
            f"the split's {name} region {item} holds {max(end - start, 0):,} bp in whole coarse "
            f"bins, and a window is {grid.window:,} bp long; give a longer region or smaller "
            "--window-bins"
        )
    return Region(chrom, start, end)


def _refuse_near(
    named: Sequence[tuple[SplitName, Region]], sizes: Mapping[str, int], window: int
) -> None:
    for (set_a, a), (set_b, b) in combinations(named, 2):
        apart = max(a.start, b.start) - min(a.end, b.end)  # below 0 where they overlap
        if a.chrom != b.chrom or apart >= window:
            continue
        pair = f"the split's {set_a} {region_name(a, sizes)} and {set_b} {region_name(b, sizes)}"
        if apart < 0:
            raise UserError(f"{pair} overlap; name every locus in one set, and once")
        if set_a != set_b and "train" not in (set_a, set_b):
            raise UserError(
                f"{pair} lie {apart:,} bp apart, and sets that are held out must lie a window, "
                f"{window:,} bp, apart; move one of them"
            )


def _unheld(region: Region, held: Sequence[Region], window: int) -> list[Region]:
    """Return what of a region lies a window or more from all that is held out."""
    free = [region]
    for taken in held:
        if taken.chrom == region.chrom:
            # Each piece so far less the guarded stretch: what lies before that, and what behind.
            free = [
                piece
                for part in free
                for piece in (
                    part._replace(end=min(part.end, taken.start - window)),
                    part._replace(start=max(part.start, taken.end + window)),
                )
                if piece.start < piece.end
            ]
    return free
