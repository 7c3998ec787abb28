"""Borzoi without its output heads: what it knows of 6,144 stretches of 32 bp.

    bases 524,288 -> 32 bp -> 64 bp -> 128 bp: 4,096 positions -> transformer
                       |        |                                      |
                       |        +----------------- 64 bp <-------------+
                       +------------------ 32 bp <---+
                                             +--> middle 6,144 -> 1,920 channels

Source: Linder et al., Nature Genetics 2025, in the layout of borzoi-pytorch 0.5.1 (Apache-2.0),
whose files this reads. It is written anew because borzoi-pytorch asks for a later transformers
than the only one that enformer-pytorch takes, so that no environment can hold both.

Weights: huggingface.co/johahi/borzoi-replicate-0 to -3, ported from Calico's; their cards give
CC BY 4.0. Flashzoi's are another network's and are refused.

Axis names: ``bases`` are those of a window; ``positions`` 32 bp each, 128 bp in the transformer;
``lags`` from one of the latter to another; ``features`` of a lag.
"""

from dataclasses import dataclass
from functools import partial
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

EPS = 1e-3
"""Of all normalisations."""
TRAINED_POSITIONS = 4096
"""Of the transformer: the widths of a lag's features are spaced up to it, in any window."""
FEATURES = 32
"""Features of a lag, with and without direction."""
gelu = partial(functional.gelu, approximate="tanh")


@dataclass(frozen=True, kw_only=True)
class Size:
    """How large a Borzoi is.

    Attributes:
        window: Bases that are read at once.
        positions: Positions that are given, in the middle of the window.
        widths: Channels of the convolutions down to 32 bp; each halves the length.
        dim: Width of the transformer, and of the way up from it.
        depth: Transformer blocks.
        heads: Attention heads.
        key_dim: Width of a head's queries and keys.
        value_dim: Width of a head's values.
        channels: Values of a position that is given.
    """

    window: int
    positions: int
    widths: tuple[int, ...]
    dim: int
    depth: int
    heads: int
    key_dim: int
    value_dim: int
    channels: int


PUBLISHED = Size(
    window=524_288,
    positions=6144,
    widths=(512, 608, 736, 896, 1056, 1280),
    dim=1536,
    depth=8,
    heads=8,
    key_dim=64,
    value_dim=192,
    channels=1920,
)
NAMING = Naming(
    names={
        r"^dna\.": "conv_dna.conv_layer.",
        r"^tower\.": "res_tower.",
        r"^deeper\.": "unet1.",
        r"^rise64\.point\.": "upsampling_unet1.0.",
        r"^rise64\.side\.": "horizontal_conv1.",
        r"^rise64\.blend\.": "separable1.conv_layer.",
        r"^rise32\.point\.": "upsampling_unet0.0.",
        r"^rise32\.side\.": "horizontal_conv0.",
        r"^rise32\.blend\.": "separable0.conv_layer.",
        r"^final\.": "final_joined_convs.0.",
        r"\.conv\.": ".conv_layer.",
        **TRANSFORMER,
    },
    unused={
        r"human_head\.(weight|bias)": "the head for human tracks",
        r"mouse_head\.(weight|bias)": "the head for mouse tracks",
        r".*\.num_batches_tracked": "how many batches a running mean was made from",
    },
)


class Borzoi(nn.Module):
    """Borzoi's trunk, up to and including the last convolution and its activation.

    Args:
        size: That of the published network, unless a smaller one is to be tried.
    """

    places: Tensor

    def __init__(self, size: Size = PUBLISHED) -> None:
        super().__init__()
        self.window, self.positions = size.window, size.positions
        self.stride, self.channels = 2 ** len(size.widths) // 2, size.channels
        narrow, dim = size.widths[-1], size.dim
        self.dna = nn.Conv1d(4, size.widths[0], 15, padding="same")
        self.tower = nn.Sequential(*_tower(size.widths))
        self.deeper = nn.Sequential(nn.MaxPool1d(2), _convolution(narrow, dim, 5))
        self.transformer = nn.ModuleList(
            TransformerBlock(
                dim,
                heads=size.heads,
                key_dim=size.key_dim,
                value_dim=size.value_dim,
                features=FEATURES,
                eps=EPS,
            )
            for _ in range(size.depth)
        )
        self.rise64 = Rise(dim, dim)
        self.rise32 = Rise(dim, narrow)
        self.final = _convolution(dim, size.channels)
        places = lag_features(size.window // (4 * self.stride))
        self.register_buffer("places", places, persistent=False)

    def forward(
        self, codes: UInt8[Tensor, "batch {self.window}"]
    ) -> Float[Tensor, "batch {self.positions} {self.channels}"]:
        at_2bp = _halved(self.dna(one_hot(whole(codes, self.window), self.dna.weight.dtype)))
        at_32bp = self.tower(at_2bp)
        at_64bp = self.deeper(at_32bp)
        x = _halved(at_64bp).transpose(1, 2)
        for block in self.transformer:
            x = block(x, self.places)
        x = self.rise32(self.rise64(x.transpose(1, 2), at_64bp), at_32bp)
        return gelu(self.final(middle(x, self.positions))).transpose(1, 2)


def load(path: str | Path, size: Size = PUBLISHED) -> Borzoi:
    """Load a published file, frozen and ready to be run.

    A pickled file's weights are mapped, not copied: it must not be overwritten while they are in
    use.

    Args:
        path: A .bin, .pt, .pth or .safetensors file, with or without heads.
        size: That of the file's network.

    Raises:
        UserError: The file cannot be read, or is not exactly a Borzoi of this size.
    """
    with torch.device("meta"):
        network = Borzoi(size)
    fill(network, path, NAMING)
    return network


class Rise(nn.Module):
    """One step up from the transformer: doubles the length, and adds what was seen on the way down.

    Args:
        dim: Width of what comes from below, and of what comes out.
        beside: Channels of what was seen on the way down.
    """

    def __init__(self, dim: int, beside: int) -> None:
        super().__init__()
        self.point = _convolution(dim, dim)
        self.side = _convolution(beside, dim)
        self.blend = nn.Sequential(
            nn.Conv1d(dim, dim, 3, padding="same", groups=dim, bias=False), nn.Conv1d(dim, dim, 1)
        )

    def forward(
        self, x: Float[Tensor, "batch dim half"], seen: Float[Tensor, "batch beside length"]
    ) -> Float[Tensor, "batch dim length"]:
        doubled = self.point(x).repeat_interleave(2, dim=2)
        blended: Tensor = self.blend(doubled + self.side(seen))
        return blended


def _tower(widths: tuple[int, ...]) -> list[nn.Module]:
    """Return convolutions from each width to the next, with a halving between any two."""
    stages = [[_convolution(*pair, 5), nn.MaxPool1d(2)] for pair in pairwise(widths)]
    return [layer for stage in stages for layer in stage][:-1]


def _convolution(channels: int, outputs: int, kernel: int = 1) -> NormedConvolution:
    return NormedConvolution(channels, outputs, kernel, eps=EPS, activation=gelu)


def _halved(
    x: Float[Tensor, "batch channels length"],
) -> Float[Tensor, "batch channels length//2"]:
    return functional.max_pool1d(x, 2)


def lag_features(positions: int) -> Float[Tensor, "{2*positions-1} features"]:
    """Return the features of all lags between so many positions: which widths they lie within."""
    lags, number = all_lags(positions), FEATURES // 2
    powers = torch.arange(1, number + 1, dtype=lags.dtype, device=lags.device) / number
    widths = (TRAINED_POSITIONS + 1) ** powers - 1
    return with_direction(within(lags, widths), lags)
