"""The maps of one evaluation: opened, checked against each other, and masked alike."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool

from hicray.config import UserError
from hicray.evaluation.options import FINE, Evaluate
from hicray.maps.bands import read_bins
from hicray.maps.bins import num_bins, teaching
from hicray.maps.contacts import open_map
from hicray.maps.names import listed, named_chroms
from hicray.maps.scaled import ScaledMap, named_bin_size, open_scaled
from hicray.maps.split import named_region

MIN_USABLE = 0.7
"""Smallest share of usable bins of a window that is scored, as in training."""
MIN_WINDOW_BINS = 32
"""The least that SSIM's Gaussian of 11 bins and insulation's diamond of 10 fit into."""


@dataclass(frozen=True)
class Compared:
    """A fine map and others that are judged by it.

    Attributes:
        fine: The truth.
        others: By method.
        chroms: Chromosomes that are scored.
        window_bins: Bins along a window's side.
        num_separations: Those that every map reaches, from 0 up; at most ``window_bins``.
    """

    fine: ScaledMap
    others: Mapping[str, ScaledMap]
    chroms: tuple[str, ...]
    window_bins: int
    num_separations: int

    @property
    def bin_size(self) -> int:
        """Bin size of all maps, in bp."""
        return self.fine.contacts.bin_size

    def fine_usable(self, chrom: str) -> Bool[np.ndarray, " bins"]:
        """Return the bins that the fine map has; without weights, those that were read."""
        if self.fine.balanced:
            return self.fine.usable(chrom)
        return read_bins(self.fine.band(chrom, self.window_bins))

    def usable(self, chrom: str) -> Bool[np.ndarray, " bins"]:
        """Return the bins that all maps have: every method is judged on the same pixels."""
        usable = self.fine_usable(chrom)
        for other in self.others.values():
            usable = usable & other.usable(chrom)
        return usable


def checked(maps: Evaluate) -> Evaluate:
    """Check maps against each other; return them with names and bin size as the fine map has them.

    Raises:
        UserError: They do not fit each other.
    """
    maps.named()
    bin_size = maps.bin_size or named_bin_size(maps.fine)
    fine = open_map(maps.fine, bin_size, fractional=True)
    maps = replace(maps, bin_size=bin_size, chroms=named_chroms(maps.chroms, fine))
    _check_sizes(maps)
    _check_lengths(maps)
    _check_chromosomes(maps)
    _check_windows(maps)
    return maps


def long_chroms(maps: Evaluate) -> Evaluate:
    """Name all chromosomes of a window and more that the fine map has.

    Raises:
        UserError: There is none.
    """
    bin_size = maps.bin_size or named_bin_size(maps.fine)
    sizes = open_map(maps.fine, bin_size, fractional=True).chromsizes
    window = maps.window_bins * bin_size
    if not (chroms := teaching(sizes, window)):
        raise UserError(
            f"{maps.fine} has no chromosome of {window:,} bp, a window of {maps.window_bins} bins; "
            "take smaller windows, or name the chromosomes"
        )
    return replace(maps, chroms=chroms)


def open_compared(maps: Evaluate) -> Compared:
    """Open maps that were checked, and find what all of them cover.

    Raises:
        UserError: There is nothing to score.
    """
    fine, *others = (
        open_scaled(uri, maps.bin_size, maps.weights) for uri in (maps.fine, *maps.named().values())
    )
    named = dict(zip(maps.named(), others, strict=True))
    compared = Compared(fine, named, maps.chroms, maps.window_bins, maps.window_bins)
    _check_usable(compared)
    return replace(compared, num_separations=_common_reach(compared))


def _check_sizes(maps: Evaluate) -> None:
    for uri in maps.named().values():
        if "::" in uri and (own := named_bin_size(uri)) != maps.bin_size:
            raise UserError(
                f"{uri} has bins of {own:,} bp, the fine map {maps.fine} of {maps.bin_size:,} bp; "
                "give maps of one bin size"
            )


def _check_lengths(maps: Evaluate) -> None:
    fine = open_map(maps.fine, maps.bin_size, fractional=True)
    names = fine.weight_names()
    if maps.weights not in ("weight", *names):
        raise UserError(
            f"{maps.fine} has no weights {maps.weights!r}; it has {', '.join(names) or 'none'}: "
            "give one of them by --weights, or leave that out"
        )
    for uri in maps.named().values():
        other = open_map(uri, maps.bin_size, fractional=True)
        for chrom in other.chromsizes.keys() & fine.chromsizes.keys():
            if other.chromsizes[chrom] != fine.chromsizes[chrom]:
                raise UserError(
                    f"{chrom} is {other.chromsizes[chrom]:,} bp in {uri} but "
                    f"{fine.chromsizes[chrom]:,} bp in {maps.fine}; give maps of one assembly"
                )


def _check_chromosomes(maps: Evaluate) -> None:
    if len(set(maps.chroms)) < len(maps.chroms) or not maps.chroms:
        raise UserError(
            f"--chroms {' '.join(maps.chroms) or 'none'} must name chromosomes, each of them once"
        )
    for uri in maps.named().values():
        offered = open_map(uri, maps.bin_size, fractional=True).chromsizes
        absent = [chrom for chrom in maps.chroms if chrom not in offered]
        if absent:
            raise UserError(
                f"{uri} has no chromosome {absent[0]}; it has {listed(offered)}: give --chroms "
                "that all maps have, by the same names"
            )


def _check_windows(maps: Evaluate) -> None:
    if maps.window_bins < MIN_WINDOW_BINS:
        raise UserError(
            f"--window-bins {maps.window_bins} is too small for the scores; give "
            f"{MIN_WINDOW_BINS} or more"
        )
    sizes = open_map(maps.fine, maps.bin_size, fractional=True).chromsizes
    longest = max(num_bins(sizes[chrom], maps.bin_size) for chrom in maps.chroms)
    needed = MIN_USABLE * maps.window_bins
    if longest < needed:
        raise UserError(
            f"the longest of {', '.join(maps.chroms)} has {longest} bins of {maps.bin_size:,} bp, "
            f"a window needs {needed:.0f} of {maps.window_bins}; take smaller --window-bins"
        )


def _check_usable(compared: Compared) -> None:
    for chrom in compared.chroms:
        if compared.usable(chrom).any():
            continue
        maps = {FINE: compared.fine, **compared.others}
        empty = [name for name, one in maps.items() if not one.usable(chrom).any()]
        raise UserError(
            f"{chrom} has no bin that is usable in {empty[0] if empty else 'all maps'}; leave it "
            "out of --chroms, or that map out of the comparison"
        )


def _common_reach(compared: Compared) -> int:
    """Return the separations, from 0 up, to which every map has contacts on the longest chrom.

    Enhanced maps may end at a distance from the diagonal; what no tool wrote is not its error.
    """
    chrom = max(compared.chroms, key=lambda one: compared.fine.chromsizes[one])
    reach = compared.window_bins
    for name, one in {FINE: compared.fine, **compared.others}.items():
        there = np.flatnonzero(one.band(chrom, compared.window_bins).any(axis=0))
        if not len(there):
            raise UserError(
                f"{name} has no contacts near the diagonal of {chrom}; leave that out of --chroms, "
                "or the map out of the comparison"
            )
        reach = min(reach, int(there[-1]) + 1)
    return reach


def leaks(compared: Compared) -> list[str]:
    """Return whose networks were trained on what is scored, a sentence for each map that says so.

    Maps that hicray enhanced say what their network was trained on.
    """
    said = []
    for name, one in compared.others.items():
        sizes, trained = one.contacts.chromsizes, one.contacts.metadata().get("trained")
        regions = trained.get("chroms", ()) if isinstance(trained, dict) else ()
        learnt = {region.chrom for text in regions if (region := named_region(text, sizes))}
        if seen := [chrom for chrom in compared.chroms if chrom in learnt]:
            said.append(
                f"leak: the network that made {name} was trained on {', '.join(seen)}, so that its "
                "scores there say nothing of other chromosomes"
            )
    return said
