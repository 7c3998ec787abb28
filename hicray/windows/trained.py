"""What a network was trained on, kept with its checkpoint: prediction can use no other scale."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hicray.windows.manifest import Manifest, coarse_name

SPARSE_CAP = 100.0
"""HiCFoundation caps its image at 100 where a map has at most one read per base pair."""


def image_cap(total_reads: int, genome_length: int) -> float | None:
    """Return the largest count that the image tells apart; None for deeply sequenced maps."""
    return None if total_reads / genome_length > 1 else SPARSE_CAP


@dataclass(frozen=True, kw_only=True)
class Trained:
    """How a network's windows lay and how their contacts became its input.

    Attributes:
        fine_bin_size: Of the maps that it returns, in bp.
        coarse_bin_size: Of the maps that it reads, in bp.
        window_bins: Fine bins along each side of a window.
        raw: Whether contacts were raw counts instead of balanced.
        cap: Largest count that its image tells apart; None takes each window's own maximum.
        eps: Pseudo-count of observed over expected, in contacts.
        fine_expected: Scaled mean contacts by separation of fine bins, the mean over the sources;
            as long as training windows reached.
        chroms: Training chromosomes.
        sources: Names of the maps.
    """

    fine_bin_size: int
    coarse_bin_size: int
    window_bins: int
    raw: bool
    cap: float | None
    eps: float
    fine_expected: tuple[float, ...]
    chroms: tuple[str, ...]
    sources: tuple[str, ...]

    @property
    def gap(self) -> int:
        """Fine bins to a coarse one."""
        return self.coarse_bin_size // self.fine_bin_size

    @property
    def offsets(self) -> tuple[int, ...]:
        """Diagonals on which training windows lay: first column minus first row, in fine bins."""
        last = len(self.fine_expected) - self.window_bins
        return tuple(range(0, last + 1, self.window_bins))


def trained_on(manifest: Manifest, coarse_bin_size: int) -> Trained:
    """Return what a network of one gap is trained on."""
    name = coarse_name(coarse_bin_size)
    curves = np.stack([info.curve("fine") for info in manifest.sources.values()])
    return Trained(
        fine_bin_size=manifest.fine_bin_size,
        coarse_bin_size=coarse_bin_size,
        window_bins=manifest.window_bins,
        raw=manifest.raw,
        cap=manifest.caps[name],
        eps=manifest.eps,
        fine_expected=tuple(curves.mean(axis=0).tolist()),
        chroms=tuple(chrom for chrom, split in manifest.splits.items() if split == "train"),
        sources=tuple(manifest.sources),
    )


def from_plain(fields: Mapping[str, Any]) -> Trained:
    """Read what ``asdict`` and JSON made of it."""
    tuples = {name: tuple(fields[name]) for name in ("fine_expected", "chroms", "sources")}
    return Trained(**{**fields, **tuples})
