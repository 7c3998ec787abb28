"""A coarse map as a network sees it: the same for training windows and for those of any map.

Axis names: ``rows cols`` are fine bins of a window, ``coarse_rows coarse_cols`` its bins at the
coarse map's own resolution.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Float64, Int, UInt8
from torch import Tensor

from hicray.windows.scales import (
    SEPARATION_SCALE,
    Maps,
    balance,
    contact_image,
    fine_pixels,
    repeated,
    separations,
    spread,
    to_network,
)

DNA = ("row_bases", "col_bases", "row_embeddings", "col_embeddings")
"""What windows bring of their DNA."""
TRACKS = ("row_tracks", "col_tracks")
HEAD = ("base", "expected", "evidence", "diagonal", *DNA, *TRACKS)
"""Arguments of what follows a contact encoder, beside its tokens."""
EVIDENCE = 5
"""Channels of ``evidence``."""
COVERAGE, USABLE = 2, 4
"""Those that say the log of the reads a contact stands for, and whether a pixel is usable."""


def given(owner: Any, *names: str) -> dict[str, Tensor]:
    """Return the attributes of these names that are not None."""
    named = {name: getattr(owner, name) for name in names}
    return {name: value for name, value in named.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class BesideMaps:
    """What windows bring beside their maps, of the bins of each axis.

    Attributes:
        row_bases: Base codes of the rows, or None where DNA is not read.
        col_bases: Of the columns; None where they are the rows'.
        row_embeddings: Stored embeddings of the rows' bins, or None where they are not read.
        col_embeddings: Of the columns' bins; None where they are the rows'.
        row_tracks: Measured tracks of the rows' bins, or None where they are not read.
        col_tracks: Of the columns' bins; None where they are the rows'.
    """

    row_bases: UInt8[Tensor, "batch bases"] | None = None
    col_bases: UInt8[Tensor, "batch bases"] | None = None
    row_embeddings: Float[Tensor, "batch strands bins channels"] | None = None
    col_embeddings: Float[Tensor, "batch strands bins channels"] | None = None
    row_tracks: Float[Tensor, "batch strands bins track_values"] | None = None
    col_tracks: Float[Tensor, "batch strands bins track_values"] | None = None


@dataclass(frozen=True, kw_only=True)
class CoarseWindows(BesideMaps):
    """Compact windows of a coarse map, with all that a network is told of them.

    Attributes:
        counts: Raw, row-major: the upper triangle of windows on the diagonal, else the square.
        row_weights: Multiplicative, NaN where a bin is not usable.
        col_weights: Likewise.
        scale: Factor that brings balanced contacts to the map's raw sum.
        num_rows: Fine bins of the window inside the chromosome.
        num_cols: Likewise.
        diagonal: First column minus first row, in fine bins.
        total_reads: Raw reads of the whole coarse map.
        cap: Of the window's image, as ``caps_of``.
        coarse_expected: Scaled mean contacts of the coarse map by separation of its bins.
        fine_expected: Likewise of the fine map, by separation of fine bins.
    """

    counts: Int[Tensor, "batch pixels"]
    row_weights: Float[Tensor, "batch coarse_rows"]
    col_weights: Float[Tensor, "batch coarse_cols"]
    scale: Float[Tensor, " batch"]
    num_rows: Int[Tensor, " batch"]
    num_cols: Int[Tensor, " batch"]
    diagonal: Int[Tensor, " batch"]
    total_reads: Float[Tensor, " batch"]
    cap: Float64[Tensor, " batch"]
    coarse_expected: Float[Tensor, "batch coarse_separations"]
    fine_expected: Float[Tensor, "batch separations"]


@dataclass(frozen=True, kw_only=True)
class Inputs(BesideMaps):
    """Dense windows without a target.

    Maps are in network units, log10(contacts + 1) / log10(1001).

    Attributes:
        image: HiCFoundation's image of the coarse map on the fine grid.
        coarse: The coarse map on the fine grid.
        base: Coarse O/E x fine expected, the map that the residual corrects.
        expected: Fine contacts that distance alone expects.
        evidence: The coarse map on its own grid, with what is known of its noise: see
            ``evidence_of``.
        total_reads: Raw reads of the whole coarse map.
        diagonal: First column minus first row, in fine bins.
    """

    image: Float[Tensor, "batch 3 rows cols"]
    coarse: Float[Tensor, "batch rows cols"]
    base: Float[Tensor, "batch rows cols"]
    expected: Float[Tensor, "batch rows cols"]
    evidence: Float[Tensor, "batch 5 coarse_rows coarse_cols"]
    total_reads: Float[Tensor, " batch"]
    diagonal: Int[Tensor, " batch"]

    def arguments(self) -> dict[str, Tensor]:
        """Return the arguments of the whole network."""
        return given(self, "image", "total_reads", *HEAD)


def decode_coarse(windows: CoarseWindows, factor: int) -> Inputs:
    """Return dense maps, on the device of the windows.

    Args:
        windows: Compact.
        factor: Fine bins to a coarse one.
    """
    side = windows.row_weights.shape[1]
    coarse = balance(spread(windows.counts, side, 1), windows.row_weights, windows.col_weights)
    coarse = coarse * windows.scale[:, None, None]
    coarse_mean = _by_separation(windows.diagonal // factor, side, windows.coarse_expected)
    fine_mean = _by_separation(windows.diagonal, side * factor, windows.fine_expected)
    ratio = torch.where(coarse_mean > 0, coarse / coarse_mean.clamp(min=1e-12), 0.0)
    bins = torch.arange(side * factor, device=coarse.device)
    exists = (bins < windows.num_rows[:, None], bins < windows.num_cols[:, None])
    per_fine = repeated(coarse, factor) / fine_pixels(exists, windows.diagonal, factor)
    return Inputs(
        image=contact_image(per_fine, windows.diagonal, windows.cap),
        coarse=to_network(per_fine),
        base=to_network(repeated(ratio, factor) * fine_mean),
        expected=to_network(fine_mean),
        evidence=evidence_of(windows, coarse, coarse_mean, factor),
        total_reads=windows.total_reads,
        diagonal=windows.diagonal,
        **given(windows, *DNA, *TRACKS),
    )


def evidence_of(
    windows: CoarseWindows,
    contacts: Float[Tensor, "batch coarse_rows coarse_cols"],
    expected: Float[Tensor, "batch coarse_rows coarse_cols"],
    factor: int,
) -> Float[Tensor, "batch 5 coarse_rows coarse_cols"]:
    """Return what a coarse map says and how surely, a channel each, all of them near 1.

    log((O + 1) / (E + 1)); log(E + 1); the log of the reads that a contact stands for; the log of
    the separation; and whether the pixel is usable. O and E are scaled contacts, so about reads:
    a thinned map shows by its E how little it knows.

    Args:
        windows: Compact, with their weights.
        contacts: O, on the coarse grid.
        expected: E, of the same pixels.
        factor: Fine bins to a coarse one.
    """
    # Balanced contacts times the scale are reads of a bin of ordinary coverage.
    root = windows.scale.sqrt()[:, None]
    rows, cols = (
        -torch.log(weights * root) for weights in (windows.row_weights, windows.col_weights)
    )
    coverage = rows[:, :, None] + cols[:, None, :]
    apart = separations(windows.diagonal // factor, contacts.shape[1]) * factor
    channels = [
        torch.log((contacts + 1) / (expected + 1)),
        expected.log1p() / 3 - 1,
        coverage.clamp(-4, 4).nan_to_num(0.0),
        apart.log1p() / SEPARATION_SCALE,
        torch.isfinite(coverage),
    ]
    return torch.stack([one.to(contacts.dtype) for one in channels], dim=1)


def _by_separation(
    diagonal: Int[Tensor, " batch"], bins: int, curve: Float[Tensor, "batch separations"]
) -> Maps:
    """Return each window's curve at the separation of each of its pixels."""
    each = torch.arange(len(curve), device=curve.device)[:, None, None]
    return curve[each, separations(diagonal, bins)]
