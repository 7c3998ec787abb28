"""Masked MSE + SSIM: (1 - w) MSE + w (1 - SSIM), on network values."""

from jaxtyping import Bool, Float
from pytorch_msssim import ssim as _ssim
from torch import Tensor, where

Maps = Float[Tensor, "batch rows cols"]
Mask = Bool[Tensor, "batch rows cols"]


def ssim(*, prediction: Maps, target: Maps, usable: Mask) -> Float[Tensor, " batch"]:
    """Return each window's structural similarity: 11-pixel Gaussian, sigma 1.5, data range 1.

    pytorch-msssim has no mask: unusable pixels are set to the target, so that they carry no
    gradient. They still count as equal, which is why windows need a usable share.
    """
    filled = where(usable, prediction, target)
    likeness: Tensor = _ssim(filled[:, None], target[:, None], data_range=1.0, size_average=False)
    return likeness


def mse(*, prediction: Maps, target: Maps, usable: Mask) -> Float[Tensor, " batch"]:
    """Return each window's mean squared error over its usable pixels."""
    squared = ((prediction - target) ** 2).masked_fill(~usable, 0.0)
    return squared.sum(dim=(1, 2)) / usable.sum(dim=(1, 2)).clamp(min=1)


def loss(*, prediction: Maps, target: Maps, usable: Mask, ssim_weight: float) -> Float[Tensor, ""]:
    """Return the mean over windows of (1 - w) MSE + w (1 - SSIM)."""
    error = mse(prediction=prediction, target=target, usable=usable)
    if ssim_weight == 0:
        return error.mean()
    likeness = ssim(prediction=prediction, target=target, usable=usable)
    return ((1 - ssim_weight) * error + ssim_weight * (1 - likeness)).mean()
