"""Enformer without its output heads: what it knows of 896 stretches of 128 bp.

    196,608 bases -> stem, tower -> 1,536 positions -> transformer -> middle 896 -> 3,072 channels

Source: Avsec et al., Nature Methods 2021, in the layout of enformer-pytorch 0.8.12 (MIT), whose
files this reads. It is written anew because enformer-pytorch asks for transformers 4.56.2 to the
digit and borzoi-pytorch for a later one, so that no environment can hold both.

Weights: huggingface.co/EleutherAI/enformer-official-rough, ``pytorch_model.bin``, a port of
DeepMind's; its card gives CC BY 4.0.

Axis names: ``bases`` are those of a window; ``positions`` 128 bp each; ``lags`` from one position
to another; ``features`` of a lag.
"""

import math
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional

from hicray.dna_models.contract import one_hot
from hicray.dna_models.layers import NormedConvolution, middle, whole
from hicray.dna_models.published import TRANSFORMER, Naming, fill
from hicray.dna_models.relative import TransformerBlock, all_lags, with_direction, within

EPS = 1e-5
"""Of all normalisations."""
KINDS = 6
"""Kinds of features of a lag: three of its length, and the same three with its direction."""
SHORTEST_HALF_LIFE = 3.0
"""Of the exponential features, as a power of two."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """How large an Enformer is.

    Attributes:
        window: Bases that are read at once.
        positions: Positions that are given, in the middle of the window.
        widths: Channels after the stem, and after each stage of the tower; each halves the length.
        depth: Transformer blocks.
        heads: Attention heads; the last width must be a multiple of six times as many.
        key_dim: Width of a head's queries and keys.
    """

    window: int
    positions: int
    widths: tuple[int, ...]
    depth: int
    heads: int
    key_dim: int


PUBLISHED = Size(
    window=196_608,
    positions=896,
    widths=(768, 768, 896, 1024, 1152, 1280, 1536),
    depth=11,
    heads=8,
    key_dim=64,
)
NAMING = Naming(
    names={
        r"^tower\.": "conv_tower.",
        r"^final\.": "final_pointwise.1.",
        r"\.wide\.": ".0.",
        r"\.point\.": ".1.fn.",
        r"\.pool\.": ".2.to_attn_logits.",
        r"\.norm\.": ".0.",
        r"\.conv\.": ".2.",
        **TRANSFORMER,
    },
    unused={
        r"_heads\..*": "the heads, which turn what is given here into tracks",
        r".*\.num_batches_tracked": "how many batches a running mean was made from",
    },
    second={
        "_trunk.1.": "stem.",
        "_trunk.2.": "conv_tower.",
        "_trunk.4.": "transformer.",
        "_trunk.6.": "final_pointwise.",
    },
)


class Enformer(nn.Module):
    """Enformer's trunk, up to and including the last pointwise layer and its activation.

    Args:
        size: That of the published network, unless a smaller one is to be tried.
    """

    places: Tensor

    def __init__(self, size: Size = PUBLISHED) -> None:
        super().__init__()
        dim = size.widths[-1]
        self.window, self.positions = size.window, size.positions
        self.stride, self.channels = 2 ** len(size.widths), 2 * dim
        first = size.widths[0]
        self.stem = Stage(nn.Conv1d(4, first, 15, padding="same"), first)
        self.tower = nn.Sequential(
            *(
                Stage(_convolution(channels, outputs, 5), outputs)
                for channels, outputs in pairwise(size.widths)
            )
        )
        width = dim // size.heads
        self.transformer = nn.ModuleList(
            TransformerBlock(
                dim,
                heads=size.heads,
                key_dim=size.key_dim,
                value_dim=width,
                features=width,
                eps=EPS,
            )
            for _ in range(size.depth)
        )
        self.final = _convolution(dim, self.channels)
        places = lag_features(size.window // self.stride, width)
        self.register_buffer("places", places, persistent=False)

    def forward(
        self, codes: UInt8[Tensor, "batch {self.window}"]
    ) -> Float[Tensor, "batch {self.positions} {self.channels}"]:
        x = self.tower(self.stem(one_hot(whole(codes, self.window), self.final.conv.weight.dtype)))
        x = x.transpose(1, 2)
        for block in self.transformer:
            x = block(x, self.places)
        return gelu(self.final(middle(x.transpose(1, 2), self.positions))).transpose(1, 2)


def load(path: str | Path, size: Size = PUBLISHED) -> Enformer:
    """Load a published file, frozen and ready to be run.

    A pickled file's weights are mapped, not copied: it must not be overwritten while they are in
    use.

    Args:
        path: A .bin, .pt, .pth or .safetensors file, with or without the heads.
        size: That of the file's network.

    Raises:
        UserError: The file cannot be read, or is not exactly an Enformer of this size.
    """
    with torch.device("meta"):
        network = Enformer(size)
    fill(network, path, NAMING)
    return network


def gelu(x: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """Return the activation that Enformer calls GELU: a sigmoid stands for the normal's CDF."""
    return torch.sigmoid(1.702 * x) * x


class Stage(nn.Module):
    """A wide convolution, a pointwise one that is added to its output, and a halving.

    Args:
        wide: The wide convolution.
        outputs: Its channels.
    """

    def __init__(self, wide: nn.Module, outputs: int) -> None:
        super().__init__()
        self.wide = wide
        self.point = _convolution(outputs, outputs)
        self.pool = AttentionPool(outputs)

    def forward(
        self, x: Float[Tensor, "batch channels length"]
    ) -> Float[Tensor, "batch outputs length//2"]:
        x = self.wide(x)
        halved: Tensor = self.pool(self.point(x) + x)
        return halved


class AttentionPool(nn.Module):
    """Halves the length: each two neighbours become a mean, weighted channel by channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(2 * torch.eye(channels)[:, :, None, None])

    def forward(
        self, x: Float[Tensor, "batch channels length"]
    ) -> Float[Tensor, "batch channels length//2"]:
        batch, channels, _ = x.shape
        pairs = x.reshape(batch, channels, -1, 2)
        shares = functional.conv2d(pairs, self.weight).softmax(dim=3)
        return (pairs * shares).sum(dim=3)


def _convolution(channels: int, outputs: int, kernel: int = 1) -> NormedConvolution:
    return NormedConvolution(channels, outputs, kernel, eps=EPS, activation=gelu)


def lag_features(positions: int, features: int) -> Float[Tensor, "{2*positions-1} {features}"]:
    """Return the features of all lags between so many positions.

    They are computed in double precision and kept as single floats. ``bumps`` says how they differ
    from enformer-pytorch's.

    Args:
        positions: Of the transformer.
        features: How many, a multiple of six.
    """
    lags, number = all_lags(positions), features // KINDS
    powers = torch.arange(1, number + 1, dtype=lags.dtype, device=lags.device)
    by_length = [
        _decays(lags, number, positions),
        within(lags, 2**powers - 1),
        bumps(lags, number, positions),
    ]
    return with_direction(torch.cat(by_length, dim=1), lags)


def _decays(
    lags: Float[Tensor, " lags"], number: int, positions: int
) -> Float[Tensor, "lags number"]:
    """Return exponential decays; half-lives are from 8 positions to all, spaced by factors."""
    powers = _steps(SHORTEST_HALF_LIFE, math.log2(positions), number)
    return torch.exp2(-lags.abs()[:, None] / 2**powers)


def bumps(
    lags: Float[Tensor, " lags"], number: int, positions: int
) -> Float[Tensor, "lags number"]:
    """Return densities of gamma distributions of a lag's length, each 1 where it is highest.

    Their means are spaced evenly up to ``positions``, their standard deviation is one half of the
    spacing. The published weights were trained with TensorFlow's numbers, which enformer-pytorch
    holds as a table for 1,536 positions; these are within 0.0025 of it, which moves results by
    4e-6 of their spread (random weights). For other lengths enformer-pytorch divides by the highest
    of a lag's features, not by the highest value of a feature, and differs from both.
    """
    deviation = positions / (2 * number)
    means = _steps(positions / number, float(positions), number)
    shape, rate = (means / deviation) ** 2, means / deviation**2
    lengths = lags.abs()[:, None]
    log_density = torch.xlogy(shape - 1, lengths) - rate * lengths
    log_density += torch.xlogy(shape, rate) - torch.lgamma(shape)
    density = torch.exp(log_density) + 1e-8
    return density / density.amax(dim=0)


def _steps(first: float, last: float, number: int) -> Float[Tensor, " number"]:
    return torch.linspace(first, last, number, dtype=torch.float64, device="cpu")
