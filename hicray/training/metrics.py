"""Scores of windows, and their sums: sums add, so the number of workers cannot change them.

Observed over expected, everywhere, is log((x + eps) / (E + eps)) at separations of 2 bins and
more, in contacts. ``oe_pearson``, the objective, takes each map by its own decay E, per source
and chromosome; ``oe_pearson_fixed`` takes the fine decay of the training chromosomes for both.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

from hicray.training import losses
from hicray.windows.scales import from_network, separations

VERSION = 1
"""Changes whenever a score's definition does; travels with every result."""
MIN_SEPARATION = 2
"""Separations below this, in bins, are left out of O/E: ligation artefacts rule them."""
OBJECTIVE = "oe_pearson"
SCORES = ("mse", "pearson", "ssim", "oe_pearson", "oe_pearson_fixed")

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


@dataclass
class Scored:
    """Predictions of windows, kept until the decay of the whole set is known.

    Args:
        groups: Number of (source, chromosome) pairs.
        separations: Fine separations that windows reach, from 0 up.
    """

    groups: int
    separations: int
    kept: list[tuple[Tensor, ...]] = field(default_factory=list)

    def add(
        self,
        prediction: Maps,
        target: Maps,
        usable: Mask,
        diagonal: Int[Tensor, " batch"],
        group: Int[Tensor, " batch"],
    ) -> None:
        """Keep a batch, in network units."""
        batch = (prediction.float(), target, usable, diagonal, group)
        self.kept.append(tuple(tensor.detach().cpu() for tensor in batch))

    def decays(self) -> Decays:
        """Return the sums by group and separation over all kept windows."""
        sums = torch.zeros(self.groups * self.separations, 3, dtype=torch.float64)
        for prediction, target, usable, diagonal, group in self.kept:
            apart = separations(diagonal, prediction.shape[-1])
            place = (group[:, None, None] * self.separations + apart)[usable]
            values = [from_network(prediction)[usable], from_network(target)[usable]]
            stacked = torch.stack([*values, torch.ones_like(values[0])], dim=1).double()
            sums.index_add_(0, place, stacked)
        return sums.reshape(self.groups, self.separations, 3)

    def scores(
        self, decays: Decays, fixed: Float[Tensor, "groups separations"], eps: float
    ) -> dict[str, PerWindow]:
        """Return every window's scores.

        Args:
            decays: Of the whole set: the sum of all workers' ``decays``.
            fixed: Fine decay of the training chromosomes, in contacts.
            eps: Pseudo-count, in contacts.
        """
        parts = [self._score(batch, decays, fixed, eps) for batch in self.kept]
        empty = torch.zeros(0, dtype=torch.float64)
        return {name: torch.cat([part[name] for part in parts] or [empty]) for name in SCORES}

    def _score(
        self, batch: tuple[Tensor, ...], decays: Decays, fixed: Tensor, eps: float
    ) -> dict[str, PerWindow]:
        prediction, target, usable, diagonal, group = batch
        apart = separations(diagonal, prediction.shape[-1])
        far = usable & (apart >= MIN_SEPARATION)
        at = (group[:, None, None], apart)
        ours, theirs = own_log_oe(batch, decays, eps)
        known, true = (log_oe(values, fixed[at], eps) for values in (prediction, target))
        maps = {"prediction": prediction, "target": target, "usable": usable}
        return {
            "mse": losses.mse(**maps).double(),
            "pearson": pearson(prediction, target, usable),
            "ssim": losses.ssim(**maps).double(),
            "oe_pearson": pearson(ours, theirs, far),
            "oe_pearson_fixed": pearson(known, true, far),
        }

    def by_separation(
        self, decays: Decays, bands: Iterable[tuple[int, int]], eps: float
    ) -> dict[tuple[int, int], PerWindow]:
        """Return every window's ``oe_pearson`` among pixels of each band of separations.

        Args:
            decays: Of the whole set.
            bands: First separation, and the first beyond, in bins.
            eps: Pseudo-count, in contacts.
        """
        parts: dict[tuple[int, int], list[PerWindow]] = {band: [] for band in bands}
        for batch in self.kept:
            ours, theirs = own_log_oe(batch, decays, eps)
            apart = separations(batch[3], ours.shape[-1])
            for (first, end), scores in parts.items():
                inside = batch[2] & (apart >= first) & (apart < end)
                scores.append(pearson(ours, theirs, inside))
        return {band: torch.cat(scores) for band, scores in parts.items()}


def own_log_oe(batch: tuple[Tensor, ...], decays: Decays, eps: float) -> tuple[Tensor, Tensor]:
    """Return log observed over expected of prediction and target, each by its own decay."""
    prediction, target, _, diagonal, group = batch
    own = decays[..., :2] / decays[..., 2:].clamp(min=1)
    at = (group[:, None, None], separations(diagonal, prediction.shape[-1]))
    return log_oe(prediction, own[..., 0][at], eps), log_oe(target, own[..., 1][at], eps)


def log_oe(values: Maps, expected: Tensor, eps: float) -> Float64[Tensor, "batch rows cols"]:
    """Return log((x + eps) / (E + eps)) of values in network units and contacts expected."""
    return torch.log((from_network(values).double() + eps) / (expected.double() + eps))


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
