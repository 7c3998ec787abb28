"""Scores of windows, and their sums: sums add, so the number of workers cannot change them.

Observed over expected, everywhere, is log((x + eps) / (E + eps)) at separations of 2 bins and
more, in contacts. ``oe_pearson``, the objective, takes each map by its own decay E, per source
and chromosome; ``oe_pearson_fixed`` takes the fine decay of the training chromosomes for both.

A window's own decay is known only when all windows have been seen, but it is one number for each
separation: sums by separation of the logarithms and their products are all that any of these
correlations needs, and all that is kept of a prediction.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

from hicray.training import losses
from hicray.windows.scales import MIN_SEPARATION, from_network, separations

VERSION = 1
"""Changes whenever a score's definition does; travels with every result."""
OBJECTIVE = "oe_pearson"
SCORES = ("mse", "pearson", "ssim", "oe_pearson", "oe_pearson_fixed")
_CONSTANT = 1e-11
"""A variance under this share of the mean square is what rounding leaves of a constant."""

Maps = Float[Tensor, "batch rows cols"]
Mask = Bool[Tensor, "batch rows cols"]
PerWindow = Float64[Tensor, " batch"]
Decays = Float64[Tensor, "groups separations 3"]
"""By group and separation: sums of predicted contacts, of fine contacts, and usable pixels."""


def pearson(a: Maps | Float64[Tensor, "batch rows cols"], b: Tensor, mask: Mask) -> PerWindow:
    """Return each window's correlation over its masked pixels; NaN where either is constant."""
    weight = mask.double()
    count = weight.sum(dim=(1, 2)).clamp(min=1)

    def centred(x: Tensor) -> Tensor:
        kept = torch.where(mask, x.double(), 0.0)
        mean = kept.sum(dim=(1, 2)) / count
        return (kept - mean[:, None, None]) * weight

    da, db = centred(a), centred(b)
    squares = (da**2).sum(dim=(1, 2)), (db**2).sum(dim=(1, 2))
    # Rounding leaves a constant window with a variance of the order of epsilon.
    constant = torch.minimum(*squares) < 1e-18 * count
    scale = (squares[0] * squares[1]).sqrt()
    return torch.where(constant, torch.nan, (da * db).sum(dim=(1, 2)) / scale.clamp(min=1e-300))


Moments = Float64[Tensor, "batch separations 8"]
"""By window and separation, over usable pixels: how many, and sums of x (predicted contacts), y
(fine contacts), a = log(x + eps), b = log(y + eps), a^2, b^2 and ab."""


def moments(
    prediction: Maps, target: Maps, usable: Mask, apart: Int[Tensor, "batch rows cols"],
    *, length: int, eps: float,
) -> Moments:  # fmt: skip
    """Sum a batch.

    Args:
        prediction: In network units.
        target: In network units.
        usable: Pixels that count.
        apart: Separation of every pixel, in bins.
        length: Separations to hold, from 0 up.
        eps: Pseudo-count, in contacts.
    """
    # Where nobody listens a network may say anything, NaN too.
    x, y = (
        torch.where(usable, from_network(values), 0.0).double() for values in (prediction, target)
    )
    a, b = torch.log(x + eps), torch.log(y + eps)
    summed = torch.stack([torch.ones_like(x), x, y, a, b, a * a, b * b, a * b], dim=-1)
    window = torch.arange(len(apart), device=apart.device)[:, None, None]
    sums = torch.zeros(len(apart) * length, 8, dtype=torch.float64, device=apart.device)
    place = (window * length + apart).reshape(-1)
    sums.index_add_(0, place, (summed * usable[..., None]).reshape(-1, 8))
    return sums.reshape(len(apart), length, 8)


def log_oe_pearson(
    sums: Moments,
    expected: Float64[Tensor, "batch separations 2"],
    inside: Bool[Tensor, " separations"],
) -> PerWindow:
    """Return each window's correlation of log observed over expected; NaN where undefined.

    Args:
        sums: Of the windows.
        expected: log(E + eps) of prediction and target.
        inside: Separations that count.
    """
    n, _, _, a, b, aa, bb, ab = sums[:, inside].unbind(-1)
    one, two = expected[:, inside].unbind(-1)
    # Of (a - one) and (b - two), without a look at their pixels.
    shifted = (
        n,
        a - n * one,
        b - n * two,
        aa - 2 * one * a + n * one**2,
        bb - 2 * two * b + n * two**2,
        ab - one * b - two * a + n * one * two,
    )
    n, a, b, *products = (values.sum(dim=1) for values in shifted)
    count = n.clamp(min=1)
    means = (a * a, b * b, a * b)
    spread, other, shared = (s - m / count for s, m in zip(products, means, strict=True))
    constant = (spread <= _CONSTANT * aa.sum(dim=1)) | (other <= _CONSTANT * bb.sum(dim=1))
    scale = (spread.clamp(min=0) * other.clamp(min=0)).sqrt()
    return torch.where(constant, torch.nan, shared / scale.clamp(min=1e-300))


class _Kept(NamedTuple):
    """What is kept of a batch: finished scores, its groups, and its moments."""

    mse: PerWindow
    pearson: PerWindow
    ssim: PerWindow
    group: Int[Tensor, " batch"]
    moments: Moments


@dataclass
class Scored:
    """Predictions of windows, as sums: on their device until scores are asked for.

    Args:
        groups: Number of (source, chromosome) pairs.
        separations: Fine separations that windows reach, from 0 up.
        eps: Pseudo-count of observed over expected, in contacts.
    """

    groups: int
    separations: int
    eps: float
    _parts: list[_Kept] = field(default_factory=list)

    @torch.no_grad()
    def add(
        self,
        prediction: Maps,
        target: Maps,
        usable: Mask,
        diagonal: Int[Tensor, " batch"],
        group: Int[Tensor, " batch"],
    ) -> None:
        """Score a batch, in network units, as far as one batch can be."""
        prediction = prediction.float()
        maps = {"prediction": prediction, "target": target, "usable": usable}
        apart = separations(diagonal, prediction.shape[-1])
        kept = _Kept(
            losses.mse(**maps).double(),
            pearson(prediction, target, usable),
            losses.ssim(**maps).double(),
            group,
            moments(**maps, apart=apart, length=self.separations, eps=self.eps),
        )
        self._parts.append(kept)

    def _all(self) -> _Kept:
        """Return what is kept of all batches, on the host."""
        if not self._parts:
            none = torch.zeros(0, dtype=torch.float64)
            return _Kept(none, none, none, none.long(), none.reshape(0, self.separations, 8))
        if len(self._parts) > 1:
            self._parts = [_Kept(*map(torch.cat, zip(*self._parts, strict=True)))]
        self._parts = [_Kept(*(one.cpu() for one in self._parts[0]))]
        return self._parts[0]

    def decays(self) -> Decays:
        """Return the sums by group and separation over all windows."""
        kept = self._all()
        sums = torch.zeros(self.groups, self.separations, 3, dtype=torch.float64)
        return sums.index_add_(0, kept.group, kept.moments[..., [1, 2, 0]])

    def scores(
        self, decays: Decays, fixed: Float[Tensor, "groups separations"]
    ) -> dict[str, PerWindow]:
        """Return every window's scores.

        Args:
            decays: Of the whole set: the sum of all workers' ``decays``.
            fixed: Fine decay of the training chromosomes, in contacts.
        """
        kept = self._all()
        far = torch.arange(self.separations) >= MIN_SEPARATION
        known = torch.log(fixed.double() + self.eps)[kept.group]
        return {
            "mse": kept.mse,
            "pearson": kept.pearson,
            "ssim": kept.ssim,
            "oe_pearson": log_oe_pearson(kept.moments, self._own(decays), far),
            "oe_pearson_fixed": log_oe_pearson(kept.moments, torch.stack([known] * 2, -1), far),
        }

    def by_separation(
        self, decays: Decays, bands: Iterable[tuple[int, int]]
    ) -> dict[tuple[int, int], PerWindow]:
        """Return every window's ``oe_pearson`` among pixels of each band of separations.

        Args:
            decays: Of the whole set.
            bands: First separation, and the first beyond, in bins.
        """
        sums, own = self._all().moments, self._own(decays)
        apart = torch.arange(self.separations)
        return {
            (first, end): log_oe_pearson(sums, own, (apart >= first) & (apart < end))
            for first, end in bands
        }

    def _own(self, decays: Decays) -> Float64[Tensor, "batch separations 2"]:
        """Return log(E + eps) of each window's prediction and target, by its group's decays."""
        logs = torch.log(decays[..., :2] / decays[..., 2:].clamp(min=1) + self.eps)
        return logs[self._all().group]


def decay_error(decays: Decays, eps: float) -> float:
    """Return the RMS over groups and separations of log predicted decay minus log fine decay."""
    there = decays[..., 2] > 0
    mean = decays[..., :2] / decays[..., 2:].clamp(min=1)
    logs = torch.log((mean[..., 0] + eps) / (mean[..., 1] + eps))[there]
    return float(logs.square().mean().sqrt()) if logs.numel() else float("nan")


@dataclass
class Sums:
    """Number, sum, sum of squares and number undefined of each score."""

    table: Float64[Tensor, "scores 4"]

    @staticmethod
    def of(scores: dict[str, PerWindow]) -> "Sums":
        """Sum windows' scores."""
        rows = []
        for name in SCORES:
            defined = torch.isfinite(scores[name])
            values = scores[name][defined]
            numbers = (len(values), values.sum(), values.square().sum(), (~defined).sum())
            rows.append([float(number) for number in numbers])
        return Sums(torch.tensor(rows, dtype=torch.float64))

    def __add__(self, other: "Sums") -> "Sums":
        """Merge the sums of other windows."""
        return Sums(self.table + other.table)

    def means(self) -> dict[str, float]:
        """Return the mean of each score over the windows where it is defined."""
        return {
            name: float(total / number) if number else float("nan")
            for name, (number, total, _, _) in zip(SCORES, self.table.tolist(), strict=True)
        }

    @property
    def windows(self) -> int:
        """Windows summed, those with an undefined score included."""
        return int(self.table[0, 0] + self.table[0, 3])
