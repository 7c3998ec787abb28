"""Scores of windows that can be trained on: structural similarity and squared error."""

from jaxtyping import Bool, Float
from pytorch_msssim import ssim as _ssim
from torch import Tensor, where

from hicray.windows.scales import Maps

Mask = Bool[Tensor, "batch rows cols"]
PerWindow = Float[Tensor, " batch"]


def ssim(*, prediction: Maps, target: Maps, usable: Mask) -> PerWindow:
    """Return each window's structural similarity: 11-pixel Gaussian, sigma 1.5, data range 1.

    pytorch-msssim has no mask: unusable pixels are set to the target, so that they carry no
    gradient. They still count as equal, which is why windows need a usable share.

    Args:
        prediction: In network units.
        target: In network units.
        usable: Pixels that count; the others are taken as equal.
    """
    filled = where(usable, prediction, target)
    likeness: Tensor = _ssim(filled[:, None], target[:, None], data_range=1.0, size_average=False)
    return likeness


def mse(*, prediction: Maps, target: Maps, usable: Mask) -> PerWindow:
    """Return each window's mean squared error over its usable pixels.

    Args:
        prediction: In network units.
        target: In network units.
        usable: Pixels that count.
    """
    return masked_mean((prediction - target) ** 2, usable)


def masked_mean(values: Maps, mask: Mask) -> PerWindow:
    """Return each window's mean over the pixels of its mask; 0 where it has none."""
    return values.masked_fill(~mask, 0.0).sum(dim=(1, 2)) / mask.sum(dim=(1, 2)).clamp(min=1)
