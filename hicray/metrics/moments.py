"""What is kept of a scored window: sums by separation, of which every score is made at the end."""

from typing import NamedTuple

import torch
from jaxtyping import Float64, Int
from torch import Tensor

from hicray.metrics.pixelwise import Mask
from hicray.windows.batches import Batch
from hicray.windows.scales import Maps, from_network, rates, separations

Moments = Float64[Tensor, "batch separations 8"]
"""By window and separation, over usable pixels: how many, and sums of x (predicted contacts), y
(fine contacts), a = log(x + eps), b = log(y + eps), a^2, b^2 and ab."""
ReadMoments = Float64[Tensor, "batch separations 4"]
"""By window and separation, over usable pixels counted once: sums of n (reads), k (reads per
contact), x k and n log x, where x is predicted contacts and a little of the expected."""


class Truth(NamedTuple):
    """What predictions of windows are scored by, as a ``Batch`` holds it.

    Attributes:
        target: The fine map, in network units.
        usable: Pixels that count.
        reads: The fine map's raw counts; all 0 where they are not known.
        reads_per_contact: Reads that a contact stands for, by the fine map's own weights.
        expected: Fine contacts by distance alone, in network units.
        diagonal: First column minus first row of each window, in bins.
        group: Of (source, chromosome).
    """

    target: Maps
    usable: Mask
    reads: Maps
    reads_per_contact: Maps
    expected: Maps
    diagonal: Int[Tensor, " batch"]
    group: Int[Tensor, " batch"]

    @staticmethod
    def of(batch: Batch) -> "Truth":
        """Return what a batch knows."""
        return Truth(*(getattr(batch, name) for name in Truth._fields))


def moments(prediction: Maps, truth: Truth, *, length: int, eps: float) -> Moments:
    """Sum a batch.

    Args:
        prediction: In network units.
        truth: Of its windows.
        length: Separations to hold, from 0 up.
        eps: Pseudo-count, in contacts.
    """
    # Losses leave unusable pixels out, so that a network's values there may be anything, NaN too.
    x, y = (
        torch.where(truth.usable, from_network(values), 0.0).double()
        for values in (prediction, truth.target)
    )
    a, b = torch.log(x + eps), torch.log(y + eps)
    summed = torch.stack([torch.ones_like(x), x, y, a, b, a * a, b * b, a * b], dim=-1)
    return _by_separation(summed, truth.usable, truth.diagonal, length)


def read_moments(prediction: Maps, truth: Truth, *, length: int) -> ReadMoments:
    """Sum what the likelihood of a batch's reads needs; on the diagonal, the upper triangle.

    Args:
        prediction: In network units.
        truth: Of its windows.
        length: Separations to hold, from 0 up.
    """
    upper = torch.ones_like(truth.usable).triu()
    counted = truth.usable & (upper | (truth.diagonal != 0)[:, None, None])
    # 1 where a pixel is not counted: its logarithm is finite, and a mask of 0 takes it away.
    x = torch.where(counted, rates(prediction, truth.expected), 1.0).double()
    n, k = truth.reads.double(), truth.reads_per_contact.double()
    summed = torch.stack([n, k, x * k, n * torch.log(x)], dim=-1)
    return _by_separation(summed, counted, truth.diagonal, length)


def _by_separation(
    values: Float64[Tensor, "batch rows cols sums"],
    counted: Mask,
    diagonal: Int[Tensor, " batch"],
    length: int,
) -> Float64[Tensor, "batch separations sums"]:
    batch, kinds = len(values), values.shape[-1]
    # index_add_ takes one index: windows lie end to end, each with a row of sums per separation.
    window = torch.arange(batch, device=values.device)[:, None, None]
    index = window * length + separations(diagonal, values.shape[1])
    sums = values.new_zeros(batch * length, kinds)
    sums.index_add_(0, index.reshape(-1), (values * counted[..., None]).reshape(-1, kinds))
    return sums.reshape(batch, length, kinds)
