"""Convolutions as Enformer and Borzoi have them: what goes in is normalised and activated first.

Axis names: ``batch``; ``channels`` of what goes in, ``outputs`` of what comes out; ``length`` is
the number of positions along the DNA.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional

Activation = Callable[[Tensor], Tensor]


class RunningNorm(nn.Module):
    """Batch normalisation by the means and variances that training left, in any mode."""

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, *, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(
        self, x: Float[Tensor, "batch channels length"]
    ) -> Float[Tensor, "batch channels length"]:
        kept = (self.running_mean, self.running_var)
        return functional.batch_norm(x, *kept, self.weight, self.bias, eps=self.eps)


class NormedConvolution(nn.Module):
    """Normalises, activates and convolves, in this order; the length stays.

    Args:
        channels: Of what goes in.
        outputs: Channels of what comes out.
        kernel: Positions that one output is made from, an odd number.
        eps: Of the normalisation.
        activation: Between normalisation and convolution.
    """

    def __init__(
        self, channels: int, outputs: int, kernel: int = 1, *, eps: float, activation: Activation
    ) -> None:
        super().__init__()
        self.norm = RunningNorm(channels, eps=eps)
        self.activation = activation
        self.conv = nn.Conv1d(channels, outputs, kernel, padding="same")

    def forward(
        self, x: Float[Tensor, "batch channels length"]
    ) -> Float[Tensor, "batch outputs length"]:
        convolved: Tensor = self.conv(self.activation(self.norm(x)))
        return convolved


def whole(codes: UInt8[Tensor, "batch bases"], window: int) -> UInt8[Tensor, "batch bases"]:
    """Return codes as they are if they are windows: lags would be wrong in any other length."""
    if codes.shape[1] != window:
        raise ValueError(f"{codes.shape[1]} bases at once, where this network reads {window}")
    return codes


def middle(
    x: Float[Tensor, "batch channels length"], positions: int
) -> Float[Tensor, "batch channels positions"]:
    """Return as many positions as are asked for, leaving out as many at either end."""
    first = (x.shape[2] - positions) // 2
    return x[:, :, first : first + positions]
