"""DNA encoders: base codes in, one embedding per bin (or one in all) out.

Axis names: ``bases`` are base pairs; ``bins`` are fine bins; ``channels`` is the width of an
embedding. Base codes are A 0, C 1, G 2, T 3, N 4.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

UNKNOWN = 4
"""Base code of N."""
FIRST_POOL = 8
"""Bases that the first stage narrows to one, roughly: more would lose where a motif is."""


def one_hot(
    codes: UInt8[Tensor, "batch bases"], dtype: torch.dtype
) -> Float[Tensor, "batch 4 1 bases"]:
    """Spell base codes out as four channels of an image one pixel high; N is all zeros.

    Memory is laid out channels last: convolving and pooling long sequences as such images took
    less than half the time of 1-D convolutions on a CPU.
    """
    letters = torch.arange(UNKNOWN, dtype=torch.uint8, device=codes.device)
    return (codes[:, None, :, None] == letters).to(dtype).permute(0, 3, 1, 2)


def prime_factors(number: int) -> list[int]:
    """Return the prime factors of a number, smallest first."""
    factors, divisor = [], 2
    while divisor * divisor <= number:
        while number % divisor == 0:
            factors.append(divisor)
            number //= divisor
        divisor += 1
    return [*factors, number] if number > 1 else factors


def pool_factors(bin_size: int, depth: int) -> tuple[int, ...]:
    """Split a bin into stages of pooling whose product is exactly the bin.

    The first stage takes the divisor nearest to 8, the others share the rest evenly, widest
    first. A bin with too few divisors leaves stages that pool nothing (1).

    Args:
        bin_size: Base pairs of a bin.
        depth: Stages, at least one.
    """
    if depth == 1:
        return (bin_size,)
    divisors = [d for d in range(2, bin_size + 1) if bin_size % d == 0] or [1]
    first = min(divisors, key=lambda divisor: abs(math.log(divisor / FIRST_POOL)))
    rest = [1] * (depth - 1)
    for prime in reversed(prime_factors(bin_size // first)):
        rest[rest.index(min(rest))] *= prime
    return (first, *sorted(rest, reverse=True))


def conv(in_channels: int, channels: int, kernel: int) -> nn.Conv2d:
    """Return a convolution along images one pixel high that keeps their length."""
    layer = nn.Conv2d(in_channels, channels, (1, kernel), padding=(0, kernel // 2))
    return layer.to(memory_format=torch.channels_last)


class TowerBlock(nn.Module):
    """Convolution, max-pooling, normalisation of each place over its channels, GELU.

    Pooling before the activation costs a fraction and picks the same place where GELU rises.
    Normalising over places, or over the batch, would let far bins into an embedding.
    """

    def __init__(self, in_channels: int, channels: int, *, kernel: int, pool: int) -> None:
        super().__init__()
        self.conv = conv(in_channels, channels, kernel)
        self.norm = nn.LayerNorm(channels)
        self.pool = pool

    def forward(
        self, x: Float[Tensor, "batch in_channels 1 places"]
    ) -> Float[Tensor, "batch channels 1 pooled"]:
        x = F.max_pool2d(self.conv(x), (1, self.pool))
        x = self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return F.gelu(x)


class DnaTower(nn.Module):
    """Reads DNA at base resolution and narrows it to one embedding per bin.

    No convolution has a stride (that loses motifs), kernels are odd and the pools divide the
    bin, so each embedding lies over its own bin and sees as far to its left as to its right.
    """

    def __init__(self, bin_size: int, depth: int, channels: int) -> None:
        super().__init__()
        pools = pool_factors(bin_size, depth)
        first = TowerBlock(UNKNOWN, channels, kernel=15, pool=pools[0])
        rest = (TowerBlock(channels, channels, kernel=5, pool=pool) for pool in pools[1:])
        self.blocks = nn.Sequential(first, *rest)
        self.bins = conv(channels, channels, 3)
        self.context = conv(channels, channels, 5)

    def forward(self, codes: UInt8[Tensor, "batch bases"]) -> Float[Tensor, "batch bins channels"]:
        x: Tensor = self.blocks(one_hot(codes, self.bins.weight.dtype))
        x = x + F.gelu(self.bins(x))
        x = x + self.context(x)
        return x[:, :, 0].transpose(1, 2)


class PooledDna(nn.Module):
    """Reads DNA into one embedding of the whole window: three convolutions and their mean.

    Source:
        The report's sequence encoder; 404,672 parameters at width 1024.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.convs = nn.Sequential(
            conv(UNKNOWN, 64, 7),
            nn.ReLU(),
            conv(64, 128, 5),
            nn.ReLU(),
            conv(128, 256, 3),
            nn.ReLU(),
        )
        self.project = nn.Linear(256, dim)

    def forward(self, codes: UInt8[Tensor, "batch bases"]) -> Float[Tensor, "batch 1 dim"]:
        x = self.convs(one_hot(codes, self.project.weight.dtype)).mean(dim=(2, 3))
        embedding: Tensor = self.project(x)
        return embedding[:, None]
