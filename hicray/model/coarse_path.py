"""Sharpening on the coarse grid: convolutions over what the coarse map says, and how surely.

    evidence, 5 channels  ->  residual blocks  ->  1x1 to factor^2 channels  ->  pixel shuffle
    16 x 16 coarse bins       16 x 16              16 x 16                    64 x 64 fine bins

Axis names: ``coarse_rows coarse_cols`` are a window's bins at the coarse map's own resolution,
``rows cols`` its fine bins, ``factor`` of them to a coarse one.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hicray.windows.inputs import EVIDENCE
from hicray.windows.scales import NATS

DILATIONS = (1, 2, 4)
"""Of the blocks in turn: four blocks see 27 coarse bins."""


class CoarseBlock(nn.Module):
    """A pre-norm residual block of two 3x3 convolutions, the first of them dilated."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.GroupNorm(1, channels),
            nn.GELU(),
            nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation),
            nn.GELU(),
            nn.Conv2d(channels, channels, 3, padding=1),
        )

    def forward(
        self, x: Float[Tensor, "batch channels coarse_rows coarse_cols"]
    ) -> Float[Tensor, "batch channels coarse_rows coarse_cols"]:
        added: Tensor = x + self.body(x)
        return added


class CoarsePath(nn.Module):
    """Turns a coarse map into a correction of its fine pixels, and into features of each.

    Nothing in it is as large as the fine map but its outputs, which a pixel shuffle lays out: at
    a fifth to a twentieth of the cost of convolutions on the fine grid, it sharpens better.

    Args:
        channels: Width.
        blocks: Residual blocks.
        factor: Fine bins to a coarse one.
        features: Channels for the pixel path; 0 where there is none.
    """

    def __init__(self, channels: int, blocks: int, *, factor: int, features: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(EVIDENCE, channels, 3, padding=1),
            *(CoarseBlock(channels, DILATIONS[i % len(DILATIONS)]) for i in range(blocks)),
            nn.GELU(),
        ).to(memory_format=torch.channels_last)
        self.correct = nn.Conv2d(channels, factor**2, 1)
        self.features = nn.Conv2d(channels, features * factor**2, 1) if features else None
        self.shuffle = nn.PixelShuffle(factor)

    def start_at_zero(self) -> None:
        """Make the correction zero; training takes it from there."""
        nn.init.zeros_(self.correct.weight)
        assert self.correct.bias is not None
        nn.init.zeros_(self.correct.bias)

    def forward(
        self, evidence: Float[Tensor, "batch 5 coarse_rows coarse_cols"]
    ) -> tuple[Float[Tensor, "batch rows cols"], Float[Tensor, "batch features rows cols"] | None]:
        """Return the correction, in network units, and the features."""
        x = self.body(evidence)
        # From a difference of log(contacts + 1) to network units.
        correction = self.shuffle(self.correct(x))[:, 0] / NATS
        return correction, None if self.features is None else self.shuffle(self.features(x))
