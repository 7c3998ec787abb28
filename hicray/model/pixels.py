"""What sees the fine map's pixels: pairs of DNA embeddings, and small convolutions.

Axis names: ``rows cols`` are fine bins of a window, ``width`` is that of a DNA embedding.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from hicray.windows.scales import SEPARATION_SCALE


class PairFeatures(nn.Module):
    """Gives every pixel features of the DNA at its two ends: sums and products of projections.

    What counts is which end lies upstream (motifs point), not which one is the row; so a
    diagonal window's features are symmetric, and the two triangles need not be learned apart.
    """

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        self.upstream = nn.Linear(width, 2 * channels)
        self.downstream = nn.Linear(width, 2 * channels)
        self.mix = nn.Conv2d(2 * channels, channels, kernel_size=1)

    def forward(
        self,
        row: Float[Tensor, "batch rows width"],
        col: Float[Tensor, "batch cols width"],
        separation: Int[Tensor, "batch rows cols"],
    ) -> Float[Tensor, "batch channels rows cols"]:
        row_first = self._pair(self.upstream(row), self.downstream(col))
        col_first = self._pair(self.downstream(row), self.upstream(col))
        # On and above the diagonal the row lies upstream of the column.
        pairs = torch.where((separation >= 0)[..., None], row_first, col_first)
        features: Tensor = self.mix(pairs.permute(0, 3, 1, 2))
        return features

    @staticmethod
    def _pair(
        row: Float[Tensor, "batch rows features"], col: Float[Tensor, "batch cols features"]
    ) -> Float[Tensor, "batch rows cols features"]:
        # (batch, rows, 1, features) beside (batch, 1, cols, features).
        row_sum, row_factor = row[:, :, None].chunk(2, dim=-1)
        col_sum, col_factor = col[:, None].chunk(2, dim=-1)
        return torch.cat([row_sum + col_sum, row_factor * col_factor], dim=-1)


class PixelPath(nn.Module):
    """Small convolutions over what is known of each pixel; the same with and without DNA.

    The decoder's map is one of their inputs, not added to their output: measured, that learned
    better, and a published map, which is no correction, can serve as it is.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.start = nn.Conv2d(3, channels, kernel_size=1)
        self.convs = nn.Sequential(
            nn.GELU(),
            nn.Conv2d(channels, channels, kernel_size=3, padding=1),
            nn.GELU(),
            nn.Conv2d(channels, channels, kernel_size=3, padding=1),
            nn.GELU(),
        ).to(memory_format=torch.channels_last)
        self.out = nn.Conv2d(channels, 1, kernel_size=1)

    def forward(
        self,
        base: Float[Tensor, "batch rows cols"],
        contact: Float[Tensor, "batch rows cols"],
        separation: Int[Tensor, "batch rows cols"],
        *features: Float[Tensor, "batch channels rows cols"] | None,
    ) -> Float[Tensor, "batch rows cols"]:
        near = separation.abs().to(base.dtype).log1p() / SEPARATION_SCALE
        # Stacked last, then permuted: channels last in memory, as the convolutions have it.
        x = self.start(torch.stack([base, contact, near], dim=-1).permute(0, 3, 1, 2))
        x = sum((feature for feature in features if feature is not None), start=x)
        out: Tensor = self.out(self.convs(x))
        return out[:, 0]
