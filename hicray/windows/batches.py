"""Windows with their targets: what is learnt from and scored."""

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from hicray.maps.genome import N
from hicray.windows.inputs import DNA, HEAD, Inputs, given

MAPS = (
    "image", "coarse", "base", "expected", "evidence",
    "target", "usable", "reads", "reads_per_contact",
)  # fmt: skip
"""What of a batch lies on a grid of bins, whichever its resolution."""


@cache
def complement(device: torch.device) -> UInt8[Tensor, " codes"]:
    """Return the base that pairs with each, where it is used."""
    return torch.tensor([3, 2, 1, 0, N], dtype=torch.uint8, device=device)


@dataclass(frozen=True, kw_only=True)
class Batch(Inputs):
    """Windows with their targets; maps in network units (log10(x + 1) / log10(1001)).

    Attributes:
        target: The fine map.
        usable: Pixels whose two bins are usable; only they are learnt from and scored.
        reads: The fine map's raw counts.
        reads_per_contact: Reads that a contact stands for, by the fine map's own weights; 0 where
            a pixel is not usable. Expected reads are contacts x this.
        group: Index of (source, chromosome) in ``Collate.groups``.
        row_start: Of the window, in bp.
        tokens: The frozen contact encoder's, or None where it runs anew.
        flipped_tokens: Those of the windows seen from the other strand.
    """

    target: Float[Tensor, "batch rows cols"]
    usable: Bool[Tensor, "batch rows cols"]
    reads: Float[Tensor, "batch rows cols"]
    reads_per_contact: Float[Tensor, "batch rows cols"]
    group: Int[Tensor, " batch"]
    row_start: Int[Tensor, " batch"]
    tokens: Float[Tensor, "batch tokens dim"] | None = None
    flipped_tokens: Float[Tensor, "batch tokens dim"] | None = None

    def __len__(self) -> int:
        """Return the number of windows."""
        return len(self.diagonal)

    def head_arguments(self) -> dict[str, Tensor]:
        """Return the arguments of what follows the contact encoder."""
        return given(self, "tokens", *HEAD)

    def reverse_complemented(self, chosen: Bool[Tensor, " batch"]) -> "Batch":
        """Flip the chosen windows to the other strand: maps and DNA together.

        Seen from the other strand, the locus of the columns comes before that of the rows: both
        axes turn around and swap, which keeps the window above the diagonal.
        """
        flipped: dict[str, Any] = {}
        for name in MAPS:
            maps = getattr(self, name)
            pick = chosen.reshape(-1, *[1] * (maps.ndim - 1))
            flipped[name] = torch.where(pick, maps.flip(-1, -2).transpose(-1, -2), maps)
        if self.row_bases is not None:
            cols = self.row_bases if self.col_bases is None else self.col_bases
            pick = chosen[:, None]
            flipped["row_bases"] = torch.where(pick, _other_strand(cols), self.row_bases)
            if self.col_bases is not None:
                other = _other_strand(self.row_bases)
                flipped["col_bases"] = torch.where(pick, other, self.col_bases)
        for kind in ("embeddings", "tracks"):
            flipped |= self._other_bins(kind, chosen[:, None, None, None])
        if self.tokens is not None:
            if self.flipped_tokens is None:
                raise ValueError("these windows' tokens are stored from one strand only")
            pick = chosen[:, None, None]
            flipped["tokens"] = torch.where(pick, self.flipped_tokens, self.tokens)
            flipped["flipped_tokens"] = torch.where(pick, self.tokens, self.flipped_tokens)
        return replace(self, **flipped)

    def _other_bins(self, kind: str, pick: Bool[Tensor, "batch 1 1 1"]) -> dict[str, Tensor]:
        """Return values of bins as the other strand has them, in its own direction, where picked.

        Args:
            kind: Which values.
            pick: Windows that are flipped.
        """
        row, col = (getattr(self, f"{axis}_{kind}") for axis in ("row", "col"))
        if row is None:
            return {}
        if col is None:
            return {f"row_{kind}": torch.where(pick, row.flip(1, 2), row)}
        return {
            f"row_{kind}": torch.where(pick, col.flip(1, 2), row),
            f"col_{kind}": torch.where(pick, row.flip(1, 2), col),
        }

    def without_dna(self, chosen: Bool[Tensor, " batch"]) -> "Batch":
        """Hide the DNA of the chosen windows: bases read as N, embeddings as 0."""
        hidden = {}
        for name, values in given(self, *DNA).items():
            unknown = N if name.endswith("bases") else 0
            hidden[name] = values.masked_fill(chosen.reshape(-1, *[1] * (values.ndim - 1)), unknown)
        return replace(self, **hidden)


def _other_strand(bases: UInt8[Tensor, "batch bases"]) -> UInt8[Tensor, "batch bases"]:
    return complement(bases.device)[bases.flip(-1).long()]
