"""DNA that a model read once: its stored embeddings in, one embedding per bin out.

Axis names as in ``dna``; ``features`` are the values of a bin in the table.
"""

from jaxtyping import Float, UInt8
from torch import Tensor, nn

from hicray.config import Context
from hicray.model.dna import BinLayers, DnaTower


class StoredDna(nn.Module):
    """Embeds what is stored of each bin; what follows is the tower's.

    Args:
        features: Values of a bin in the table.
        channels: Width of an embedding.
        flank_bins: Bins beyond either end that are read, but get no embedding.
        context: Kind of the layers over the bins.
        layers: How many of those.
    """

    def __init__(
        self,
        features: int,
        channels: int,
        *,
        flank_bins: int = 0,
        context: Context = "dilated",
        layers: int = 0,
    ) -> None:
        super().__init__()
        # Channels of published models differ in scale by orders of magnitude.
        self.norm = nn.LayerNorm(features)
        self.embed = nn.Sequential(
            nn.Linear(features, channels), nn.GELU(), nn.Linear(channels, channels), nn.GELU()
        )
        self.layers = BinLayers(channels, flank_bins=flank_bins, context=context, layers=layers)

    def forward(
        self, stored: Float[Tensor, "batch bins features"]
    ) -> Float[Tensor, "batch inner channels"]:
        bins = self.embed(self.norm(stored))
        embedding: Tensor = self.layers(bins.transpose(1, 2)[:, :, None])
        return embedding


class TowerAndStored(nn.Module):
    """The sum of a tower's embeddings, which are learned, and those of stored ones."""

    def __init__(self, tower: DnaTower, stored: StoredDna) -> None:
        super().__init__()
        self.tower, self.stored = tower, stored

    def forward(
        self,
        codes: UInt8[Tensor, "batch bases"],
        stored: Float[Tensor, "batch bins features"],
    ) -> Float[Tensor, "batch inner channels"]:
        total: Tensor = self.tower(codes) + self.stored(stored)
        return total
