"""DNA encoders: base codes in, one embedding per bin (or one in all) out.

Axis names: ``bases`` are base pairs; ``bins`` are fine bins; ``channels`` is the width of an
embedding. Base codes are A 0, C 1, G 2, T 3, N 4.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from hicray.config import CONTEXT_HEADS, Context
from hicray.model.encoder import transformer_blocks
from hicray.model.patches import sincos_1d

UNKNOWN = 4
"""Base code of N."""
FIRST_KERNEL = 15
"""Bases that the first stage sees at once: a transcription factor's motif."""
FIRST_POOL = 8
"""Bases that the first stage narrows to one, roughly: more would lose where a motif is."""
CHUNK_BASES = {"cpu": 1 << 15}
"""Bases that the first stage takes at once: on a CPU, what its caches hold."""
GPU_CHUNK_BASES = 1 << 18


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


def conv(in_channels: int, channels: int, kernel: int, *, dilation: int = 1) -> nn.Conv2d:
    """Return a convolution along images one pixel high that keeps their length."""
    reach = dilation * (kernel // 2)
    layer = nn.Conv2d(
        in_channels, channels, (1, kernel), padding=(0, reach), dilation=(1, dilation)
    )
    return layer.to(memory_format=torch.channels_last)


def chunk_bases(codes: UInt8[Tensor, "batch bases"]) -> int:
    """Return how many bases of each sequence to take at once on their device."""
    return CHUNK_BASES.get(codes.device.type, GPU_CHUNK_BASES)


def run_chunks(
    module: nn.Module, work: Callable[..., Tensor], chunks: list[tuple[Any, ...]]
) -> list[Tensor]:
    """Run a module's work on each chunk; in training, several are computed again on the way back.

    A single one is no longer than what the caches hold, and is kept.

    Args:
        module: In training or evaluation mode, which decides whether chunks are recomputed.
        work: Returns a chunk's result.
        chunks: Pieces of the input.
    """
    if module.training and torch.is_grad_enabled() and len(chunks) > 1:
        # Not reentrant: that gives gradients only where an input has one, and codes are integers.
        return [checkpoint(work, *chunk, use_reentrant=False) for chunk in chunks]
    return [work(*chunk) for chunk in chunks]


class TowerBlock(nn.Module):
    """Convolution, max-pooling, normalisation of each position over its channels, GELU.

    Pooling before the activation costs a fraction and picks the same position where GELU rises.
    Normalising over positions, or over the batch, would let far bins into an embedding.
    """

    def __init__(self, layer: nn.Conv2d, *, pool: int) -> None:
        super().__init__()
        self.conv = layer
        self.norm = PositionNorm(layer.out_channels)
        self.pool = pool

    def forward(
        self, x: Float[Tensor, "batch in_channels 1 positions"]
    ) -> Float[Tensor, "batch channels 1 pooled"]:
        return F.gelu(self.norm(F.max_pool2d(self.conv(x), (1, self.pool))))


class PositionNorm(nn.LayerNorm):
    """Normalises each position over its channels."""

    def forward(
        self, x: Float[Tensor, "batch channels 1 positions"]
    ) -> Float[Tensor, "batch channels 1 positions"]:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class BaseStage(nn.Module):
    """The block at base resolution, which sets what a tower costs; one chunk at a time.

    A chunk takes along the bases on either side that its convolution sees, so chunks change no
    digit. What the caches hold is several times as fast; and a window of 896 kb would keep 115 MB
    for the way back if its chunks were not computed again there.
    """

    def __init__(self, channels: int, *, pool: int) -> None:
        super().__init__()
        # Unpadded: what lies beyond the ends is N, whose channels are zeros.
        layer = nn.Conv2d(UNKNOWN, channels, (1, FIRST_KERNEL))
        self.block = TowerBlock(layer.to(memory_format=torch.channels_last), pool=pool)

    def forward(
        self, codes: UInt8[Tensor, "batch bases"]
    ) -> Float[Tensor, "batch channels 1 pooled"]:
        pool, reach = self.block.pool, FIRST_KERNEL // 2
        # Whole pools, so that none spans two chunks:
        #     NNN.............................NNN    codes, N as far as the kernel reaches
        #     ---=========---                        chunk 1: bases, and what their kernels reach
        #              ---=========---               chunk 2
        size = max(1, chunk_bases(codes) // pool) * pool
        ends = F.pad(codes, (reach, reach), value=UNKNOWN)
        chunks = [ends[:, i : i + size + 2 * reach] for i in range(0, codes.shape[1], size)]
        return torch.cat(run_chunks(self, self._chunk, [(chunk,) for chunk in chunks]), dim=-1)

    def _chunk(
        self, codes: UInt8[Tensor, "batch bases"]
    ) -> Float[Tensor, "batch channels 1 pooled"]:
        pooled: Tensor = self.block(one_hot(codes, self.block.conv.weight.dtype))
        return pooled


class DilatedBlock(nn.Module):
    """Lets bins see others at a distance, added to what they are."""

    def __init__(self, channels: int, *, dilation: int) -> None:
        super().__init__()
        self.norm = PositionNorm(channels)
        self.far = conv(channels, channels, 3, dilation=dilation)
        self.mix = conv(channels, channels, 1)

    def forward(
        self, x: Float[Tensor, "batch channels 1 bins"]
    ) -> Float[Tensor, "batch channels 1 bins"]:
        change: Tensor = self.mix(F.gelu(self.far(self.norm(x))))
        return x + change


class AttentionContext(nn.Module):
    """Lets every bin see all others, by transformer blocks over the bins."""

    def __init__(self, channels: int, layers: int) -> None:
        super().__init__()
        self.blocks = transformer_blocks(channels, layers, CONTEXT_HEADS, eps=1e-5)

    def forward(
        self, x: Float[Tensor, "batch channels 1 bins"]
    ) -> Float[Tensor, "batch channels 1 bins"]:
        bins = x[:, :, 0].transpose(1, 2)
        positions = sincos_1d(torch.arange(bins.shape[1], dtype=torch.float64), bins.shape[2])
        seen: Tensor = self.blocks(bins + positions.to(bins))
        return seen.transpose(1, 2)[:, :, None]


def context_layers(kind: Context, channels: int, layers: int) -> nn.Module:
    """Return layers over the bins: dilated by 2, 4, 8, ... bins, or attention."""
    if kind == "attention" and layers:
        return AttentionContext(channels, layers)
    return nn.Sequential(*(DilatedBlock(channels, dilation=2 << i) for i in range(layers)))


class BinLayers(nn.Module):
    """Lets bins see their neighbours, and others by ``context``; then cuts the flanks off."""

    def __init__(self, channels: int, *, flank_bins: int, context: Context, layers: int) -> None:
        super().__init__()
        self.flank_bins = flank_bins
        self.bins = conv(channels, channels, 3)
        self.near = conv(channels, channels, 5)
        self.far = context_layers(context, channels, layers)

    def forward(
        self, x: Float[Tensor, "batch channels 1 all_bins"]
    ) -> Float[Tensor, "batch bins channels"]:
        x = x + F.gelu(self.bins(x))
        x = self.far(x + self.near(x))
        return x[:, :, 0, self.flank_bins : x.shape[3] - self.flank_bins].transpose(1, 2)


class DnaTower(nn.Module):
    """Reads DNA at base resolution and narrows it to one embedding per bin.

    No convolution has a stride (that loses motifs), kernels are odd and the pools divide the
    bin, so each embedding lies over its own bin and sees as far to its left as to its right.

    Args:
        bin_size: Base pairs of a bin, any number.
        depth: Convolution blocks that narrow bases to bins.
        channels: Width of all layers and of an embedding.
        flank_bins: Bins beyond either end of the window that are read, but get no embedding.
        context: Kind of the layers over the bins that follow.
        layers: How many of those.
    """

    def __init__(
        self,
        bin_size: int,
        depth: int,
        channels: int,
        *,
        flank_bins: int = 0,
        context: Context = "dilated",
        layers: int = 0,
    ) -> None:
        super().__init__()
        first, *pools = pool_factors(bin_size, depth)
        self.bases = BaseStage(channels, pool=first)
        self.blocks = nn.Sequential(
            *(TowerBlock(conv(channels, channels, 5), pool=pool) for pool in pools)
        )
        self.layers = BinLayers(channels, flank_bins=flank_bins, context=context, layers=layers)

    def forward(self, codes: UInt8[Tensor, "batch bases"]) -> Float[Tensor, "batch bins channels"]:
        embedding: Tensor = self.layers(self.blocks(self.bases(codes)))
        return embedding


class PooledDna(nn.Module):
    """Reads DNA into one embedding of the whole window: three convolutions and their mean.

    It takes a chunk at a time as ``BaseStage`` does: a window of 896 kb would hold 3 GB.

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
        self.reach = 7 // 2 + 5 // 2 + 3 // 2
        self.project = nn.Linear(256, dim)

    def forward(self, codes: UInt8[Tensor, "batch bases"]) -> Float[Tensor, "batch 1 dim"]:
        size, length = chunk_bases(codes), codes.shape[1]
        ends = [(i, min(i + size, length)) for i in range(0, length, size)]
        sums = run_chunks(self, self._chunk, [(codes, start, end) for start, end in ends])
        embedding: Tensor = self.project(torch.stack(sums).sum(dim=0) / length)
        return embedding[:, None]

    def _chunk(
        self, codes: UInt8[Tensor, "batch bases"], start: int, end: int
    ) -> Float[Tensor, "batch 256"]:
        """Sum over [start, end); the bases around it are read too, as far as there are any."""
        first = max(0, start - self.reach)
        near = one_hot(codes[:, first : end + self.reach], self.project.weight.dtype)
        summed: Tensor = self.convs(near)[..., start - first : end - first].sum(dim=(2, 3))
        return summed
