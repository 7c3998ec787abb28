"""Filters of the coarse map: what can be had of it without a network.

All take the coarse map's O/E, in place of or beside the repeated pixels of the base, and nothing
of the fine map but the training chromosomes' decay.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from hicray.windows.batches import Batch
from hicray.windows.inputs import COVERAGE, USABLE
from hicray.windows.scales import Maps, from_network, repeated, to_network
from hicray.windows.smoothing import smoothed_base

_SUMMED = 30.0
"""Expected reads up to which a Poisson distribution is summed; above, its log is expanded."""
_TERMS = 64
"""Reads are summed below it: with a mean of 30, more come once in 20 million draws."""


def gaussian(batch: Batch, width_bins: float) -> Maps:
    """Return the base with its O/E smoothed by a Gaussian of a width in fine bins."""
    return smoothed_base(batch.base, batch.expected, batch.evidence[:, USABLE], width_bins)


def bilinear(batch: Batch) -> Maps:
    """Return the base with its O/E interpolated between the centres of usable coarse pixels."""
    usable = batch.evidence[:, USABLE]
    mean = from_network(batch.expected)
    ratio = from_network(batch.base) / mean.clamp(min=1e-12)
    factor = ratio.shape[1] // usable.shape[1]
    # The base's O/E is constant within a coarse pixel, so that any of its fine ones tells it.
    # Values and mask are interpolated alike: their quotient is a mean over usable pixels alone.
    both = torch.stack([ratio[:, ::factor, ::factor] * usable, usable], dim=1)
    both = F.interpolate(both, scale_factor=factor, mode="bilinear", align_corners=False)
    near = both[:, 0] / both[:, 1].clamp(min=1e-6)
    return to_network(torch.where(both[:, 1] > 1e-6, near, 0.0) * mean)


def noise_aware(batch: Batch) -> Maps:
    """Return the map whose log(contacts + 1) is the mean of what Poisson reads of the base give.

    Scores take logarithms of noisy pixels, whose mean lies below the logarithm of their mean. How
    noisy they are is known of the coarse map's weights alone: a bin's reads per contact are the
    same at both bin sizes, as either map's contacts add up to its reads.
    """
    coverage = batch.evidence[:, COVERAGE].exp()
    factor = batch.base.shape[1] // coverage.shape[1]
    reads_per_contact = repeated(coverage, factor)
    logs = mean_log(from_network(batch.base).double(), reads_per_contact.double())
    return to_network(torch.expm1(logs)).to(batch.base.dtype)


def mean_log(contacts: Tensor, reads_per_contact: Tensor) -> Tensor:
    """Return E[log(n / k + 1)] of n from Poisson(contacts x k), k the reads per contact."""
    rate = contacts * reads_per_contact
    few = rate.clamp(max=_SUMMED)
    chance = torch.exp(-few)
    summed = torch.zeros_like(rate)
    for reads in range(1, _TERMS):
        # P(n) = P(n - 1) m / n; n = 0 adds nothing, as log(0 + 1) is 0.
        chance = chance * few / reads
        summed += chance * torch.log1p(reads / reads_per_contact)
    # A Taylor series of log(n / k + 1) around n's mean m, to the fourth order: Poisson's second,
    # third and fourth central moments are m, m and 3 m^2 + m.
    slope = 1 / (rate + reads_per_contact)
    expanded = torch.log1p(contacts) - rate * slope**2 / 2 + rate * slope**3 / 3
    expanded -= (3 * rate**2 + rate) * slope**4 / 4
    return torch.where(rate <= _SUMMED, summed, expanded)
