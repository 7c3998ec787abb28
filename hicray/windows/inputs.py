"""A coarse map as a network sees it: the same for training windows and for those of any map.

Axis names: ``rows cols`` are fine bins of a window, ``coarse_rows coarse_cols`` its bins at the
coarse map's own resolution.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Float64, Int, UInt8
from torch import Tensor

from hicray.windows.scales import (
    Maps,
    balance,
    contact_image,
    fine_pixels,
    separations,
    spread,
    to_network,
)

NETWORK = ("image", "total_reads", "base", "diagonal", "row_bases", "col_bases")
"""Arguments of a whole network, as batches and inputs name them."""


def given(owner: Any, *names: str) -> dict[str, Tensor]:
    """Return the attributes of these names that are not None."""
    named = {name: getattr(owner, name) for name in names}
    return {name: value for name, value in named.items() if value is not None}


@dataclass(frozen=True)
class CoarseWindows:
    """Compact windows of a coarse map.

    Attributes:
        counts: Raw, row-major: the upper triangle of windows on the diagonal, else the square.
        row_weights: Multiplicative, NaN where a bin is not usable.
        col_weights: Likewise.
        scale: Factor that brings balanced contacts to the map's raw sum.
        num_rows: Fine bins of the window inside the chromosome.
        num_cols: Likewise.
        diagonal: First column minus first row, in fine bins.
    """

    counts: Int[Tensor, "batch pixels"]
    row_weights: Float[Tensor, "batch coarse_rows"]
    col_weights: Float[Tensor, "batch coarse_cols"]
    scale: Float[Tensor, " batch"]
    num_rows: Int[Tensor, " batch"]
    num_cols: Int[Tensor, " batch"]
    diagonal: Int[Tensor, " batch"]


class CoarseMaps(NamedTuple):
    """HiCFoundation's image, and in network units the coarse map and the residual's base."""

    image: Float[Tensor, "batch 3 rows cols"]
    coarse: Float[Tensor, "batch rows cols"]
    base: Float[Tensor, "batch rows cols"]


@dataclass(frozen=True)
class Inputs:
    """A batch of windows without a target, as ``Batch`` has them.

    Attributes:
        image: HiCFoundation's image of the coarse map on the fine grid.
        coarse: The coarse map on the fine grid, in network units.
        base: Coarse O/E x fine expected, in network units.
        total_reads: Raw reads of the whole coarse map.
        diagonal: First column minus first row, in fine bins.
        row_bases: Base codes of the rows, or None where DNA is not read.
        col_bases: Of the columns; None where they are the rows'.
    """

    image: Float[Tensor, "batch 3 rows cols"]
    coarse: Float[Tensor, "batch rows cols"]
    base: Float[Tensor, "batch rows cols"]
    total_reads: Float[Tensor, " batch"]
    diagonal: Int[Tensor, " batch"]
    row_bases: UInt8[Tensor, "batch bases"] | None = None
    col_bases: UInt8[Tensor, "batch bases"] | None = None

    def arguments(self) -> dict[str, Tensor]:
        """Return the arguments of the whole network."""
        return given(self, *NETWORK)


def spread_balanced(
    counts: Int[Tensor, "batch pixels"],
    row_weights: Float[Tensor, "batch coarse_rows"],
    col_weights: Float[Tensor, "batch coarse_cols"],
    gap: int,
) -> Maps:
    """Return balanced contacts, each coarse pixel's repeated in its fine ones."""
    dense = spread(counts, row_weights.shape[1], gap)
    rows, cols = (w.repeat_interleave(gap, 1) for w in (row_weights, col_weights))
    return balance(dense, rows, cols)


def decode_coarse(
    windows: CoarseWindows,
    gap: int,
    cap: Float64[Tensor, " batch"],
    *,
    coarse_expected: Float[Tensor, "batch coarse_separations"],
    fine_expected: Float[Tensor, "batch separations"],
) -> CoarseMaps:
    """Return dense maps, on the device of the windows.

    Args:
        windows: The coarse map's.
        gap: Fine bins to a coarse one.
        cap: Of each window's image, as ``caps_of``.
        coarse_expected: Scaled mean contacts of each window's coarse map by separation.
        fine_expected: Likewise of the fine map, by separation of fine bins.
    """
    coarse = spread_balanced(windows.counts, windows.row_weights, windows.col_weights, gap)
    coarse = coarse * windows.scale[:, None, None]
    bins = torch.arange(coarse.shape[1], device=coarse.device)
    exists = (bins < windows.num_rows[:, None], bins < windows.num_cols[:, None])
    per_fine = coarse / fine_pixels(exists, windows.diagonal, gap)
    base = _base(coarse, windows.diagonal, gap, coarse_expected, fine_expected)
    return CoarseMaps(
        image=contact_image(per_fine, windows.diagonal, cap),
        coarse=to_network(per_fine),
        base=to_network(base),
    )


def _base(
    coarse: Maps,
    diagonal: Int[Tensor, " batch"],
    gap: int,
    coarse_expected: Float[Tensor, "batch coarse_separations"],
    fine_expected: Float[Tensor, "batch separations"],
) -> Maps:
    """Return coarse O/E x fine expected, in contacts."""
    window = coarse.shape[1]
    coarse_at = separations(diagonal // gap, window // gap)
    coarse_at = coarse_at.repeat_interleave(gap, 1).repeat_interleave(gap, 2)
    each = torch.arange(len(coarse), device=coarse.device)[:, None, None]
    fine_mean = fine_expected[each, separations(diagonal, window)]
    coarse_mean = coarse_expected[each, coarse_at]
    return torch.where(coarse_mean > 0, coarse / coarse_mean.clamp(min=1e-12) * fine_mean, 0.0)
