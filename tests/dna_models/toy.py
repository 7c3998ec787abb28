"""A model of DNA whose output is known: what stands where, and how much A lies around it."""

import torch
from torch import nn

from hicray.dna_models.contract import one_hot

WINDOW, STRIDE, POSITIONS, AROUND = 96, 8, 8, 16


class Toy(nn.Module):
    """Shares of A and C of each position; A within 16 bases of it."""

    window, stride, positions, channels = WINDOW, STRIDE, POSITIONS, 3

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, codes):
        bases = one_hot(codes)
        inner = slice(2 * AROUND // STRIDE // 2, 2 * AROUND // STRIDE // 2 + POSITIONS)
        shares = nn.functional.avg_pool1d(bases[:, :2], STRIDE)
        near = nn.functional.avg_pool1d(
            bases[:, :1], STRIDE + 2 * AROUND, stride=STRIDE, count_include_pad=False
        )
        return torch.cat([shares[..., inner], near], dim=1).mT


def toy(weights: str) -> nn.Module:
    """Make it; it has no weights."""
    assert weights == ""
    return Toy()


def misshapen(weights: str) -> nn.Module:
    """Make one that gives a channel less than it says."""
    model = Toy()
    model.channels = 4
    return model
