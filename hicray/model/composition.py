"""What little of the DNA a bias could be made of: GC, N and cut sites of each bin.

The control for a DNA encoder: what it gains, the sequence's grammar is not needed for.
Axis names as in ``dna``; ``features`` are GC content, unknown bases, and cut sites by enzyme.
"""

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn

from hicray.config import Context
from hicray.maps.genome import encode
from hicray.model.dna import UNKNOWN, BinLayers, conv

CUT_SITES = {"DpnII": "GATC", "EcoRI": "GAATTC", "HindIII": "AAGCTT"}
"""Restriction sites of Hi-C's usual enzymes, each its own reverse complement."""
_MEAN_GC = 0.45


def composition(
    codes: UInt8[Tensor, "batch bases"], bin_size: int
) -> Float[Tensor, "batch features bins"]:
    """Return GC content less its usual mean, the share of N, and log(1 + cut sites) by bin.

    Args:
        codes: Base codes of whole bins.
        bin_size: In bp.
    """
    per_bin = (len(codes), -1, bin_size)
    # C and G.
    strong = ((codes == 1) | (codes == 2)).reshape(per_bin).float().mean(-1)
    unknown = (codes == UNKNOWN).reshape(per_bin).float().mean(-1)
    gc = torch.where(unknown < 1, strong / (1 - unknown).clamp(min=1e-6) - _MEAN_GC, 0.0)
    sites = [
        _occurrences(codes, site).reshape(per_bin).sum(-1).float().log1p()
        for site in CUT_SITES.values()
    ]
    # Content of a bin varies by a few per cent; counts and shares by the order of 1.
    return torch.stack([10 * gc, unknown, *sites], dim=1)


def _occurrences(codes: UInt8[Tensor, "batch bases"], site: str) -> Bool[Tensor, "batch bases"]:
    """Mark the middle of every occurrence of a site."""
    word, middle = encode(site).tolist(), len(site) // 2
    positions = codes.shape[1] - len(word) + 1
    hits = torch.ones_like(codes[:, :positions], dtype=torch.bool)
    for offset, base in enumerate(word):
        hits &= codes[:, offset : offset + positions] == base
    return nn.functional.pad(hits, (middle, len(word) - 1 - middle))


class Composition(nn.Module):
    """Embeds each bin's composition; what follows is the tower's.

    Args:
        bin_size: In bp.
        channels: Width of an embedding.
        flank_bins: Bins beyond either end that are read, but get no embedding.
        context: Kind of the layers over the bins.
        layers: How many of those.
    """

    def __init__(
        self,
        bin_size: int,
        channels: int,
        *,
        flank_bins: int = 0,
        context: Context = "dilated",
        layers: int = 0,
    ) -> None:
        super().__init__()
        self.bin_size = bin_size
        self.embed = nn.Sequential(
            conv(2 + len(CUT_SITES), channels, 1), nn.GELU(), conv(channels, channels, 1), nn.GELU()
        )
        self.layers = BinLayers(channels, flank_bins=flank_bins, context=context, layers=layers)

    def forward(self, codes: UInt8[Tensor, "batch bases"]) -> Float[Tensor, "batch bins channels"]:
        features = composition(codes, self.bin_size)
        embedding: Tensor = self.layers(self.embed(features[:, :, None]))
        return embedding
