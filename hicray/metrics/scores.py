"""Scores of windows, and their sums: sums add, so the number of workers cannot change them.

Observed over expected, everywhere, is log((x + eps) / (E + eps)) at separations of 2 bins and
more, in contacts. ``oe_pearson``, the objective, takes each map by its own decay E, per source
and chromosome; ``oe_pearson_fixed`` takes the fine decay of the training chromosomes for both.

Bits per read is how much likelier a map makes the fine map's raw reads than distance alone does,
given the fine map's own weights: what a sparse map's logarithms owe to a bin's coverage, which O/E
Pearson pays for, is known to both. Either has its level set by separation, source and chromosome.

A window's own decay, or level, is known only when all windows have been seen, but it is one number
for each separation: sums by separation (``moments``) are all that any of these scores needs, and
all that is kept of a prediction.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

from hicray.metrics.moments import (
    Moments,
    ReadMoments,
    Truth,
    moments,
    read_moments,
)
from hicray.metrics.pixelwise import Mask, mse, ssim
from hicray.windows.scales import MIN_SEPARATION, Maps

VERSION = 2
"""Changes whenever a score's definition does; travels with every result."""
OBJECTIVE = "oe_pearson"
BITS = "bits_per_read"
SCORES = ("mse", "pearson", "ssim", OBJECTIVE, "oe_pearson_fixed", BITS)
LABELS = {
    "mse": "MSE",
    "pearson": "Pearson",
    "ssim": "SSIM",
    OBJECTIVE: "O/E Pearson",
    "oe_pearson_fixed": "O/E Pearson, fixed",
    BITS: "bits per read",
}
"""What tables, figures and sentences call each score."""
_CONSTANT = 1e-11
"""A variance under this share of the mean square is what rounding leaves of a constant."""

PerWindow = Float64[Tensor, " batch"]
Decays = Float64[Tensor, "groups separations sums"]
"""By group and separation: sums of predicted contacts, of fine contacts, and usable pixels; of
``Scored.decays`` also what levels need, which are sums of reads, of reads per contact, and of
predicted contacts x reads per contact."""


def pearson(a: Maps | Float64[Tensor, "batch rows cols"], b: Tensor, mask: Mask) -> PerWindow:
    """Return each window's correlation over its masked pixels; NaN where either is constant.

    Args:
        a: Values.
        b: Values of the same pixels.
        mask: Pixels that count.
    """
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
    ea, eb = expected[:, inside].unbind(-1)
    # Sums of (a - ea), (b - eb), their squares and product, from those of a and b alone: E is one
    # number for each separation, so that no pixel need be kept.
    shifted = (
        n,
        a - n * ea,
        b - n * eb,
        aa - 2 * ea * a + n * ea**2,
        bb - 2 * eb * b + n * eb**2,
        ab - ea * b - eb * a + n * ea * eb,
    )
    n, a, b, *products = (values.sum(dim=1) for values in shifted)
    count = n.clamp(min=1)
    means = (a * a, b * b, a * b)
    spread_a, spread_b, shared = (s - m / count for s, m in zip(products, means, strict=True))
    constant = (spread_a <= _CONSTANT * aa.sum(dim=1)) | (spread_b <= _CONSTANT * bb.sum(dim=1))
    scale = (spread_a.clamp(min=0) * spread_b.clamp(min=0)).sqrt()
    return torch.where(constant, torch.nan, shared / scale.clamp(min=1e-300))


def bits_per_read(
    sums: ReadMoments,
    levels: Float64[Tensor, "batch separations 2"],
    inside: Bool[Tensor, " separations"],
) -> PerWindow:
    """Return how much likelier each window's reads are than by distance alone; NaN without any.

    A pixel's n reads are drawn from Poisson(a x k), by distance alone from Poisson(b k); what both
    share, n log k and n!, is left out.

    Args:
        sums: Of the windows.
        levels: Factors a of the map and b of distance alone.
        inside: Separations that count.
    """
    n, k, xk, n_log_x = sums[:, inside].unbind(-1)
    a, b = levels[:, inside].unbind(-1)
    # xlogy: where nothing was read a level may be 0, and 0 log 0 counts as 0.
    gained = n_log_x + torch.xlogy(n, a) - a * xk - (torch.xlogy(n, b) - b * k)
    reads = n.sum(dim=1)
    nats = gained.sum(dim=1) / reads.clamp(min=1)
    return torch.where(reads > 0, nats / math.log(2), torch.nan)


class _Kept(NamedTuple):
    """What is kept of a batch: finished scores, its groups, and its moments."""

    mse: PerWindow
    pearson: PerWindow
    ssim: PerWindow
    group: Int[Tensor, " batch"]
    moments: Moments
    reads: ReadMoments


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
    def add(self, prediction: Maps, truth: Truth) -> None:
        """Score a batch, in network units, as far as one batch can be."""
        prediction = prediction.float()
        maps = {"prediction": prediction, "target": truth.target, "usable": truth.usable}
        kept = _Kept(
            mse(**maps).double(),
            pearson(prediction, truth.target, truth.usable),
            ssim(**maps).double(),
            truth.group,
            moments(prediction, truth, length=self.separations, eps=self.eps),
            read_moments(prediction, truth, length=self.separations),
        )
        self._parts.append(kept)

    def _all(self) -> _Kept:
        """Return what is kept of all batches, on the host."""
        if not self._parts:
            none = torch.zeros(0, dtype=torch.float64)
            sums = (none.reshape(0, self.separations, kinds) for kinds in (8, 4))
            return _Kept(none, none, none, none.long(), *sums)
        if len(self._parts) > 1:
            self._parts = [_Kept(*map(torch.cat, zip(*self._parts, strict=True)))]
        self._parts = [_Kept(*(values.cpu() for values in self._parts[0]))]
        return self._parts[0]

    def decays(self) -> Decays:
        """Return the sums by group and separation over all windows."""
        kept = self._all()
        # Of moments x, y and how many; of reads n, k and x k: the order that ``Decays`` has.
        wanted = torch.cat([kept.moments[..., [1, 2, 0]], kept.reads[..., :3]], dim=-1)
        sums = torch.zeros(self.groups, self.separations, 6, dtype=torch.float64)
        return sums.index_add_(0, kept.group, wanted)

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
        log_fixed = torch.log(fixed.double() + self.eps)[kept.group]
        trained = torch.stack([log_fixed, log_fixed], dim=-1)  # for either map
        return {
            "mse": kept.mse,
            "pearson": kept.pearson,
            "ssim": kept.ssim,
            "oe_pearson": log_oe_pearson(kept.moments, self._expected(decays), far),
            "oe_pearson_fixed": log_oe_pearson(kept.moments, trained, far),
            "bits_per_read": bits_per_read(kept.reads, self._levels(decays), far),
        }

    def by_separation(
        self, decays: Decays, bands: Iterable[tuple[int, int]]
    ) -> dict[str, dict[tuple[int, int], PerWindow]]:
        """Return every window's O/E Pearson and bits per read among pixels of each band.

        Args:
            decays: Of the whole set.
            bands: First separation, and the first beyond, in bins.
        """
        kept, expected = self._all(), self._expected(decays)
        levels = self._levels(decays)
        apart = torch.arange(self.separations)
        inside = {(first, end): (apart >= first) & (apart < end) for first, end in bands}
        return {
            OBJECTIVE: {b: log_oe_pearson(kept.moments, expected, at) for b, at in inside.items()},
            BITS: {b: bits_per_read(kept.reads, levels, at) for b, at in inside.items()},
        }

    def _expected(self, decays: Decays) -> Float64[Tensor, "batch separations 2"]:
        """Return log(E + eps) of each window's prediction and target, by its group's decays."""
        logs = torch.log(decays[..., :2] / decays[..., 2:3].clamp(min=1) + self.eps)
        return logs[self._all().group]

    def _levels(self, decays: Decays) -> Float64[Tensor, "batch separations 2"]:
        """Return what brings each window's map, and distance alone, to its group's reads."""
        reads, per_contact, predicted = decays[..., 3:].unbind(-1)
        expected = torch.stack([predicted, per_contact], dim=-1)
        # Where no pixel is usable there is no read either.
        return (reads[..., None] / expected.clamp(min=1e-300))[self._all().group]


def decay_error(decays: Decays, eps: float) -> float:
    """Return the RMS over groups and separations of log predicted decay minus log fine decay."""
    usable = decays[..., 2] > 0
    mean = decays[..., :2] / decays[..., 2:3].clamp(min=1)
    logs = torch.log((mean[..., 0] + eps) / (mean[..., 1] + eps))[usable]
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
