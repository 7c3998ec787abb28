"""The best linear filter: coarse log O/E around a pixel, to the fine pixels inside it.

Fitted by ridge regression on training windows, for each phase of a fine pixel inside its coarse
one and each band of separations. Only the upper triangle is fitted and filled, then mirrored:
below the diagonal the same neighbourhood is seen the other way round.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float64, Int
from torch import Tensor

from hicray.windows.batches import Batch
from hicray.windows.inputs import USABLE
from hicray.windows.scales import NATS, Maps, separations

WIDEST = 7
"""Coarse pixels along a side of the largest neighbourhood."""
SIZES = (3, 5, 7)
PENALTIES = (1e-3, 1e-2, 1e-1)
"""Relative to the features' mean square."""

Gram = Float64[Tensor, "bands phases features features"]
Cross = Float64[Tensor, "bands phases features"]


@dataclass(frozen=True)
class Ridge:
    """A fitted filter.

    Attributes:
        size: Coarse pixels along a side of its neighbourhood.
        penalty: Relative to the features' mean square.
        weights: Of each band and phase: of the neighbourhood, row-major, and a constant.
    """

    size: int
    penalty: float
    weights: Cross

    def __call__(self, batch: Batch) -> Maps:
        """Return the base, corrected; in network units."""
        features = _neighbourhoods(batch, self.size)
        bands = _bands(batch, len(self.weights))
        weights = self.weights.to(features.device)
        corrections = torch.zeros(
            len(features), weights.shape[1], features.shape[2], device=features.device
        ).double()
        for band, band_weights in enumerate(weights):
            # f: phases, the fine pixels of a coarse one; p: features; b: windows; l: coarse pixels.
            corrected = torch.einsum("fp,bpl->bfl", band_weights, features)
            corrections = torch.where((bands == band)[:, None], corrected, corrections)
        factor = round(weights.shape[1] ** 0.5)
        # (batch, factor^2, coarse pixels) -> (batch, rows, cols): each phase at its fine pixel.
        change = (
            F.fold(corrections, batch.base.shape[1:], kernel_size=factor, stride=factor)[:, 0]
            / NATS
        )
        upper = torch.triu(change) + torch.triu(change, 1).mT
        change = torch.where((batch.diagonal == 0)[:, None, None], upper, change)
        return batch.base + change.to(batch.base.dtype)


@dataclass
class RidgeSums:
    """Normal equations of the widest neighbourhood, which hold those of the narrower ones.

    Attributes:
        gram: Sums of products of features.
        cross: Sums of features x what the base lacks in log O/E.
    """

    gram: Gram
    cross: Cross

    @staticmethod
    def of(batches: Iterable[Batch], factor: int, side: int) -> "RidgeSums":
        """Sum the usable pixels of windows.

        Args:
            batches: Of the training set.
            factor: Fine bins to a coarse one.
            side: Coarse bins along a window.
        """
        # Half octaves of separation, up to the far corner of a window one window off the diagonal.
        bands, features = 2 * (2 * side).bit_length(), WIDEST**2 + 1
        shape = (bands, factor**2, features)
        sums = RidgeSums(
            torch.zeros(*shape, features, dtype=torch.float64),
            torch.zeros(shape, dtype=torch.float64),
        )
        for batch in batches:
            sums.add(batch)
        return sums

    def add(self, batch: Batch) -> None:
        """Add the windows of a batch."""
        factor = batch.base.shape[1] // batch.evidence.shape[-1]
        features = _neighbourhoods(batch, WIDEST).transpose(1, 2)
        bands = _bands(batch, len(self.gram))
        lower = torch.ones_like(batch.usable[0]).tril(-1)
        counted = batch.usable & ~(lower & (batch.diagonal == 0)[:, None, None])
        lacks = (batch.target - batch.base).double() * NATS
        # (batch, rows, cols) -> (batch, coarse pixels, factor^2): fine pixels of each coarse one.
        counts, lacks = (
            F.unfold(values[:, None], kernel_size=factor, stride=factor).transpose(1, 2)
            for values in (counted.double(), lacks.masked_fill(~counted, 0.0))
        )
        for band in sorted(set(bands.flatten().tolist())):
            # The coarse pixels of one band, of all windows: x has features, n and y have phases.
            x, n, y = (values[bands == band] for values in (features, counts, lacks))
            # n is 1 where a fine pixel counts, so that each phase sums over its own coarse pixels.
            gram = torch.einsum("lp,lf,lq->fpq", x, n, x)
            self.gram[band] += gram.cpu()
            self.cross[band] += torch.einsum("lp,lf->fp", x, y).cpu()

    def solve(self, size: int, penalty: float) -> Ridge:
        """Return the filter of a neighbourhood and a penalty; a band without pixels has none."""
        # Features of the size x size centre of the widest neighbourhood; the constant comes last.
        off = (WIDEST - size) // 2
        inner = torch.arange(WIDEST**2).reshape(WIDEST, WIDEST)
        inner = inner[off : WIDEST - off, off : WIDEST - off].reshape(-1)
        kept = torch.cat([inner, torch.tensor([WIDEST**2])])
        gram = self.gram[..., kept[:, None], kept]
        spread = gram.diagonal(dim1=-2, dim2=-1)[..., :-1].mean(dim=-1)
        ridge = torch.eye(len(kept), dtype=torch.float64)
        ridge[-1, -1] = 0  # the constant is not shrunk
        gram = gram + penalty * spread[..., None, None] * ridge
        # Where nothing was seen, nothing is corrected.
        gram = gram + 1e-9 * torch.eye(len(kept), dtype=torch.float64)
        return Ridge(size, penalty, torch.linalg.solve(gram, self.cross[..., kept]))


def _neighbourhoods(batch: Batch, size: int) -> Float64[Tensor, "batch features pixels"]:
    """Return each coarse pixel's log O/E and its neighbours', 0 where unusable, and a constant."""
    # Channel 0 is log O/E.
    log_oe = (batch.evidence[:, 0] * batch.evidence[:, USABLE])[:, None].double()
    around = F.unfold(log_oe, kernel_size=size, padding=size // 2)
    return torch.cat([around, torch.ones_like(around[:, :1])], dim=1)


def _bands(batch: Batch, count: int) -> Int[Tensor, "batch pixels"]:
    """Return the band of each coarse pixel's separation: 0, 1, 2, 3, 4-5, 6-8, ... coarse bins."""
    side = batch.evidence.shape[-1]
    factor = batch.base.shape[1] // side
    apart = separations(batch.diagonal // factor, side).flatten(1)
    return (2 * torch.log2(apart + 1.0)).round().long().clamp(max=count - 1)
