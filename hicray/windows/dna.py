"""Which bases a window brings: its own, or those of a control that should tell it nothing.

Controls are functions of the locus alone, so that windows which overlap see one consistent,
wrong genome, and a run can be repeated.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, UInt8
from torch import Tensor

from hicray.config import UserError
from hicray.maps.bins import SPLIT_NAMES, SplitName
from hicray.maps.genome import A, Codes, N, PackedGenome, T, unpack
from hicray.windows.bin_table import GenomeTables
from hicray.windows.manifest import Manifest
from hicray.windows.plan import Layout, chromosome_windows

Whose = Literal["own", "elsewhere", "shuffled"]
"""A window's own DNA; that of another locus of its set; its own with dinucleotides shuffled."""
_ROUNDS = 2


@dataclass(frozen=True)
class DnaReader:
    """Reads the bases of windows.

    Attributes:
        genome: Packed.
        manifest: Of the shard set.
        flank_bins: Fine bins of DNA beyond either end of a window.
    """

    genome: PackedGenome
    manifest: Manifest
    flank_bins: int = 0

    def read(
        self, chroms: Sequence[str], starts: Sequence[int], dna: Whose = "own"
    ) -> UInt8[np.ndarray, "batch bases"]:
        """Return base codes of windows that start at ``starts`` bp, N beyond chromosomes' ends.

        Args:
            chroms: Name of each window's chromosome.
            starts: First base of each window, in bp.
            dna: Whose bases are read: the windows' own, or a control's.
        """
        loci = zip(chroms, starts, strict=True)
        return np.stack([self._window(chrom, int(start), dna) for chrom, start in loci])

    def _window(self, chrom: str, start: int, dna: Whose) -> Codes:
        chrom, start = locus_of(self.manifest, chrom, start, dna)
        size = self.manifest.fine_bin_size
        flank, length = self.flank_bins * size, self.manifest.window_bins * size
        codes = unpack(self.genome[chrom], start - flank, start + length + flank)
        if dna != "shuffled":
            return codes
        return shuffle_dinucleotides(codes, np.random.default_rng([start, *chrom.encode()]))


@dataclass(frozen=True)
class BinReader:
    """Reads what a table holds of the bins of windows: embeddings of their DNA, or tracks.

    Attributes:
        tables: Of the genome, by the map's chromosomes.
        manifest: Of the shard set.
        flank_bins: Fine bins beyond either end of a window.
    """

    tables: GenomeTables
    manifest: Manifest
    flank_bins: int = 0

    def read(
        self, chroms: Sequence[str], starts: Sequence[int], dna: Whose = "own"
    ) -> Float[Tensor, "batch strands bins channels"]:
        """Return the values of windows that start at ``starts`` bp, 0 beyond chromosomes' ends.

        Args:
            chroms: Name of each window's chromosome.
            starts: First base of each window, in bp.
            dna: Whose are read: the windows' own, or a control's.

        Raises:
            ValueError: There is no shuffled table.
        """
        table = self.tables.shuffled if dna == "shuffled" else self.tables.own
        if table is None:
            raise ValueError("no shuffled DNA was embedded")
        loci = (
            locus_of(self.manifest, chrom, start, dna)
            for chrom, start in zip(chroms, starts, strict=True)
        )
        windows = ((chrom, start // self.manifest.fine_bin_size) for chrom, start in loci)
        return table.windows(windows, self.manifest.window_bins, self.flank_bins)


def locus_of(manifest: Manifest, chrom: str, start: int, dna: Whose) -> tuple[str, int]:
    """Return where a window's DNA is read: its own locus, or another of its set.

    Args:
        manifest: Of the shard set.
        chrom: Chromosome of the window.
        start: Its start, in bp.
        dna: Whose is read.
    """
    return elsewhere(manifest, chrom, start) if dna == "elsewhere" else (chrom, start)


def elsewhere(manifest: Manifest, chrom: str, start: int) -> tuple[str, int]:
    """Return the locus half a set away: its regions laid end to end and rolled by half.

    A window that would run past its new region's end begins that much earlier.

    Args:
        manifest: Of the shard set.
        chrom: Chromosome of a window.
        start: Its start, in bp.
    """
    size = manifest.fine_bin_size
    here, split = next(
        (region, split)
        for region, split in manifest.regions.items()
        if region.chrom == chrom and region.start <= start < region.end
    )
    regions = manifest.regions_of(split)
    ends = np.cumsum([region.end - region.start for region in regions])
    # The window's start in the set, whose regions are laid end to end, then rolled by half.
    position = int(ends[regions.index(here)]) - here.end + start
    position = (position + int(ends[-1]) // 2) % int(ends[-1])
    at = int(np.searchsorted(ends, position, side="right"))
    target = regions[at]
    first = position - int(ends[at]) + target.end
    last = max(target.end - manifest.window_bins * size, target.start)
    return target.chrom, min(first, last) // size * size


def has_elsewhere(manifest: Manifest, split: SplitName, flank_bins: int = 0) -> bool:
    """Return whether another locus of a set shares no base with a window, for all its windows.

    Not so where a set is short: half of it away is then the window itself, or overlaps it.

    Args:
        manifest: Of the shard set.
        split: The set.
        flank_bins: Fine bins of DNA that are read beyond either end of a window.
    """
    size, window = manifest.fine_bin_size, manifest.window_bins
    read = (window + 2 * flank_bins) * size
    # Training windows overlap, by three quarters unless told otherwise.
    layout = Layout(window, max(1, window // 4), (0,))
    for region in manifest.regions_of(split):
        length = manifest.chromsizes[region.chrom]
        for start in chromosome_windows(length, size, split, layout, region)["row_start"]:
            other_chrom, first = elsewhere(manifest, region.chrom, start)
            if other_chrom == region.chrom and abs(first - start) < read:
                return False
    return True


def require_elsewhere(manifest: Manifest, flank_bins: int) -> None:
    """Refuse to train on another locus' DNA where a set has none.

    Raises:
        UserError: A set is too short.
    """
    for split in SPLIT_NAMES:
        if not has_elsewhere(manifest, split, flank_bins):
            raise UserError(
                f"--arms elsewhere: the {split} chromosomes are so short that what lies half of "
                f"them away overlaps a window's own {manifest.window_bins} bins; take smaller "
                "--window-bins, another --split, or leave that arm out"
            )


def shuffle_dinucleotides(codes: Codes, rng: np.random.Generator) -> Codes:
    """Return DNA with the same dinucleotides in another order; N stays where it is.

    Between two occurrences of a base lies a fragment that begins with it; fragments may trade
    places without making a new pair of neighbours. Done for each base in turn.

    Args:
        codes: Base codes.
        rng: Random numbers.
    """
    is_base = codes != N
    bases = codes[is_base]
    for base in [*range(A, T + 1)] * _ROUNDS:
        bases = _permute_fragments(bases, np.flatnonzero(bases == base), rng)
    shuffled = codes.copy()
    shuffled[is_base] = bases
    return shuffled


def _permute_fragments(bases: Codes, starts: np.ndarray, rng: np.random.Generator) -> Codes:
    """Permute the fragments that begin at ``starts``; what is before and after stays."""
    if len(starts) < 3:
        return bases  # fewer than two fragments
    order = rng.permutation(len(starts) - 1)
    lengths = np.diff(starts)[order]
    # For each base of the new order: where its fragment began, and how far into it the base lies.
    offsets = np.repeat(starts[:-1][order], lengths)
    inside = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    moved = bases.copy()
    moved[starts[0] : starts[-1]] = bases[offsets + inside]
    return moved
