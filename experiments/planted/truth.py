"""Judging by a simulation's truth: rows that know its rates, and whether its motif was found.

Nothing here is seen by a network; the truth serves judging alone.
"""

from functools import cache
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32, Float64
from torch import Tensor

from hicray.comparison.results import RATES, SPLIT
from hicray.evaluation.window_set import HeldOutWindows, Predictor
from hicray.maps.contacts import open_map
from hicray.model.dna import DnaTower
from hicray.model.enhancer import Enhancer
from hicray.predict.interpret import (
    Pwm,
    Site,
    filter_motifs,
    filter_strengths,
    motif_likeness,
    mutation_profile,
)
from hicray.predict.predictors import model_predictor
from hicray.simulation.simulate import Simulation
from hicray.windows.batches import Batch
from hicray.windows.scales import from_network, repeated, to_network

STRONGEST = 3
"""Filters that count as an encoder's strongest."""
_SHUFFLES = 200


def noise_free(simulation: Simulation, windows: HeldOutWindows) -> dict[str, Predictor]:
    """Return the rows that know the truth of a simulation's first cell line.

    One is its rates, balanced as the fine map is; the other splits each coarse pixel's contacts by
    them, the best that perfect knowledge of the locus could make of the input.
    """
    collate, side = windows.collate, windows.collate.manifest.window_bins
    bin_size = collate.manifest.fine_bin_size
    fine = open_map(str(simulation.contacts[0]), bin_size)
    scale = collate.manifest.sources[collate.groups[0][0]].scale["fine"]

    @cache
    def balanced(chrom: str) -> Float32[np.ndarray, "bins bins"]:
        seen = np.nan_to_num(fine.weights(chrom)).astype(np.float32)
        rates = simulation.rates(chrom, simulation.cell_lines[0].name)
        padded: Float32[np.ndarray, "bins bins"] = np.pad(
            rates * seen[:, None] * seen * np.float32(scale), (0, side)
        )
        return padded

    def rates(batch: Batch) -> Float[Tensor, "batch rows cols"]:
        loci = zip(batch.group.tolist(), batch.row_start.tolist(), strict=True)
        starts = [(collate.groups[group][1], start // bin_size) for group, start in loci]
        maps = [balanced(chrom)[i : i + side, i : i + side] for chrom, i in starts]
        return torch.from_numpy(np.stack(maps)).to(batch.target.device)

    def split(batch: Batch) -> Float[Tensor, "batch rows cols"]:
        return to_network(_shared(from_network(batch.coarse), rates(batch), collate.factor))

    return {RATES: lambda batch: to_network(rates(batch)), SPLIT: split}


def _shared(
    coarse: Float[Tensor, "batch rows cols"], rates: Float[Tensor, "batch rows cols"], factor: int
) -> Float[Tensor, "batch rows cols"]:
    """Give each fine pixel its share of its coarse pixel's contacts, by the rates."""
    block = torch.arange(rates.shape[-1], device=rates.device) // factor
    # On the diagonal a coarse pixel holds each pair once.
    counted = (block[:, None] != block) | torch.ones_like(rates[0], dtype=torch.bool).triu()
    once = counted.float()[None]
    mean = F.avg_pool2d(rates * once, factor) / F.avg_pool2d(once, factor)
    return coarse * rates / repeated(mean, factor).clamp(min=1e-9)


class MotifReading(NamedTuple):
    """Whether a DNA encoder reads the planted motif.

    Attributes:
        offsets: From the motif's first base, in bp, on its own strand.
        at_motifs: Mean absolute log2 change where one base of every motif is substituted.
        elsewhere: The same at as many random places.
        filters: Motifs of the strongest filters, strongest first.
        likeness: Of each to the planted motif.
        chance: Likeness that one in twenty random motifs reaches with the best of the filters.
        planted: The motif.
    """

    offsets: np.ndarray
    at_motifs: Float64[np.ndarray, " offsets"]
    elsewhere: Float64[np.ndarray, " offsets"]
    filters: Float64[np.ndarray, "filters positions 4"]
    likeness: list[float]
    chance: float
    planted: Pwm

    @property
    def ratio(self) -> float:
        """How much more a base inside the motif matters than one at a random place."""
        inside = (self.offsets >= 0) & (self.offsets < len(self.planted))
        return float(self.at_motifs[inside].mean() / self.elsewhere.mean())

    @property
    def found(self) -> bool:
        """Whether bases of the motif matter more, and a strongest filter is the motif."""
        return self.ratio > 2 and max(self.likeness) > self.chance

    def __str__(self) -> str:
        """Return yes or no, with the figures."""
        return (
            f"{'Yes' if self.found else 'No'}: a base inside the motif matters {self.ratio:.1f} "
            f"times as much as one at a random place, and the {len(self.likeness)} strongest "
            "filters correlate with it by "
            f"{', '.join(f'{value:.2f}' for value in self.likeness)} (chance: {self.chance:.2f})."
        )


def read_motif(
    model: Enhancer, simulation: Simulation, windows: HeldOutWindows, *, seed: int = 0
) -> MotifReading:
    """Find out whether a trained network's DNA tower reads the planted motif.

    Args:
        model: With a tower and no flanks, as the windows' bases are.
        simulation: Whose motif and instances are known.
        windows: To look at; its first batch serves.
        seed: Of the random places and motifs.

    Raises:
        ValueError: The network has no DNA tower.
    """
    if not isinstance(model.head.dna, DnaTower):
        raise ValueError("a network without a DNA tower has no filters to read")
    batch, predict = next(windows.batches()), model_predictor(model)
    bases, motif = batch.row_bases, simulation.pwm()
    assert bases is not None
    rng = np.random.default_rng(seed)
    sites = _instances(simulation, windows, batch)
    last = bases.shape[1] - len(motif)
    others = [Site(site.window, int(rng.integers(last)), site.reverse) for site in sites]
    offsets, at_motifs = mutation_profile(predict, batch, sites, len(motif))
    _, elsewhere = mutation_profile(predict, batch, others, len(motif))
    strongest = np.argsort(filter_strengths(model, batch))[::-1][:STRONGEST]
    everything = filter_motifs(model.head.dna, bases)
    found = everything[strongest]
    return MotifReading(
        offsets,
        at_motifs,
        elsewhere,
        found,
        [motif_likeness(one, motif) for one in found],
        _chance(found, motif, rng),
        motif,
    )


def _instances(simulation: Simulation, windows: HeldOutWindows, batch: Batch) -> list[Site]:
    """Return the motif's instances that lie in a batch's windows."""
    collate = windows.collate
    length = collate.manifest.window_bins * collate.manifest.fine_bin_size
    motifs = simulation.motifs()
    sites = []
    for window, (group, start) in enumerate(
        zip(batch.group.tolist(), batch.row_start.tolist(), strict=True)
    ):
        there = motifs[
            (motifs["chrom"] == collate.groups[group][1])
            & (motifs["start"] >= start)
            & (motifs["end"] <= start + length)
        ]
        sites += [
            Site(window, int(place) - start, strand == "-")
            for place, strand in zip(there["start"], there["strand"], strict=True)
        ]
    return sites


def _chance(
    filters: Float64[np.ndarray, "filters positions 4"], motif: Pwm, rng: np.random.Generator
) -> float:
    """Return the 95th percentile of the best likeness to motifs of shuffled positions."""
    best = [
        max(motif_likeness(one, rng.permuted(motif, axis=1)) for one in filters)
        for _ in range(_SHUFFLES)
    ]
    return float(np.percentile(best, 95))
