"""Maps smoothed where they are too sparse to be taken pixel by pixel."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from hicray.windows.scales import Maps, from_network, repeated, to_network

_REACH = 3.0
"""Widths after which a Gaussian ends."""


def gaussian(values: Maps, weights: Maps, width_bins: float) -> Maps:
    """Return each pixel's mean over its neighbourhood by a Gaussian; 0 where no weight is near.

    Args:
        values: Of each pixel.
        weights: How much each counts: 0 leaves it out.
        width_bins: Standard deviation of the Gaussian along either axis, in bins.
    """
    reach = max(1, math.ceil(_REACH * width_bins))
    at = torch.arange(-reach, reach + 1, device=values.device, dtype=values.dtype)
    kernel = torch.exp(-0.5 * (at / width_bins) ** 2)
    # Sums and weights in one batch; a Gaussian is separable, so along rows first and then columns.
    both = torch.cat([values * weights, weights])[:, None]
    both = F.conv2d(both, kernel[None, None, :, None], padding=(reach, 0))
    both = F.conv2d(both, kernel[None, None, None, :], padding=(0, reach))
    summed, counted = both[:, 0].chunk(2)
    return torch.where(counted > 1e-6, summed / counted.clamp(min=1e-6), 0.0)


def smoothed_base(
    base: Maps,
    expected: Maps,
    usable: Float[Tensor, "batch coarse_rows coarse_cols"],
    width_bins: float,
) -> Maps:
    """Return coarse O/E x fine expected with its O/E smoothed over usable pixels.

    Args:
        base: Coarse O/E x fine expected, in network units.
        expected: Fine contacts by distance alone, in network units.
        usable: 1 where a coarse pixel is usable, else 0.
        width_bins: Of the Gaussian, in fine bins.
    """
    mean = from_network(expected)
    factor = base.shape[1] // usable.shape[1]
    counted = repeated(usable, factor) * (mean > 0)
    ratio = from_network(base) / mean.clamp(min=1e-12)
    return to_network(gaussian(ratio.masked_fill(mean <= 0, 0.0), counted, width_bins) * mean)
