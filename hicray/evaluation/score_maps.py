"""Map against map: every score of every method on the same pixels; knows nothing of models.

A chromosome at a time: of each map its band is read, windows are cut from it, and what is a sum
stays a sum, so that chromosomes scored apart or together give the same.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float64, Int64

from hicray.evaluation.compared import MIN_USABLE, Compared
from hicray.evaluation.options import FINE
from hicray.io.progress import tqdm
from hicray.maps.bands import Band, Mask, square, usable_pixels
from hicray.maps.bins import teaching
from hicray.maps.expected import Curve
from hicray.maps.features import DecaySums, decay_sums
from hicray.metrics.boundaries import (
    MIN_DIAMOND_BINS,
    Matches,
    compare_tracks,
    diamond_bins,
    track,
)
from hicray.metrics.correlation import CorrelationSums, correlation_sums, defined_mean
from hicray.metrics.scc import scc, smoothing_bins
from hicray.metrics.scores import decay_error
from hicray.metrics.window_scores import FineWindows, window_scores
from hicray.panels import Locus
from hicray.windows.manifest import EPS
from hicray.windows.plan import Layout, chromosome_windows, usable_fraction
from hicray.windows.scales import MIN_SEPARATION

EXAMPLES = 3
"""Windows that are drawn, one a chromosome."""


class Score(NamedTuple):
    """One method on one chromosome, or on several together.

    Attributes:
        windows: A row per window: chrom, row_start (bp), and every score (NaN: undefined).
        distance: Sums of log(x + 1) by separation.
        decays: The fine map's decay and the method's, of each chromosome, on the same pixels.
        scc: Of each chromosome.
        insulation: Sums of log2 insulation.
        boundaries: Boundaries of both maps, and pairs.
    """

    windows: pd.DataFrame
    distance: CorrelationSums
    decays: tuple[tuple[DecaySums, DecaySums], ...]
    scc: tuple[float, ...]
    insulation: CorrelationSums
    boundaries: Matches

    def whole(self) -> dict[str, float]:
        """Return the scores that are not of single windows."""
        correlation = self.distance.correlation()
        return {
            "scc": defined_mean(np.array(self.scc)),
            "distance_pearson": defined_mean(correlation[MIN_SEPARATION:]),
            "insulation_pearson": float(self.insulation.correlation()[0]),
            "boundary_f1": self.boundaries.f1(),
            "decay_error": decay_error(_stacked(self.decays), EPS),
        }


def together(scores: list[Score]) -> Score:
    """Merge chromosomes."""
    first, *rest = scores
    return Score(
        pd.concat([score.windows for score in scores], ignore_index=True),
        sum((score.distance for score in rest), start=first.distance),
        tuple(pair for score in scores for pair in score.decays),
        tuple(value for score in scores for value in score.scc),
        sum((score.insulation for score in rest), start=first.insulation),
        sum((score.boundaries for score in rest), start=first.boundaries),
    )


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found.

    Attributes:
        compared: The maps.
        scores: By method, then by chromosome.
        usable: Pixels that count and those there are within reach, by chromosome.
        left_out: Windows too little usable, by chromosome.
        no_reads: Chromosomes whose fine counts are not whole: they have no bits per read.
        examples: Some windows.
    """

    compared: Compared
    scores: Mapping[str, Mapping[str, Score]]
    usable: Mapping[str, tuple[int, int]]
    left_out: Mapping[str, int]
    no_reads: tuple[str, ...]
    examples: tuple[Locus, ...]

    @property
    def diamond(self) -> int:
        """Side of insulation's diamond, in bins."""
        return diamond_bins(self.compared.bin_size, self.compared.num_separations)

    @property
    def h(self) -> int:
        """Bins that SCC's mean reaches to either side."""
        return smoothing_bins(self.compared.bin_size)


class _Chromosome(NamedTuple):
    """What all methods share on one chromosome; ``starts`` and ``side`` of windows in bins."""

    name: str
    usable: Bool[np.ndarray, " bins"]
    mask: Mask
    starts: Int64[np.ndarray, " windows"]
    side: int
    separations: int
    bin_size: int

    def windows(self, band: Band) -> Float64[np.ndarray, "windows rows cols"]:
        """Return dense windows of a band."""
        return square(band, self.starts, self.side)


def evaluate(compared: Compared) -> Evaluation:
    """Score every map on every chromosome."""
    expected = _expected(compared)
    scores: dict[str, dict[str, Score]] = {name: {} for name in compared.others}
    usable: dict[str, tuple[int, int]] = {}
    left_out: dict[str, int] = {}
    no_reads: tuple[str, ...] = ()
    examples: tuple[Locus, ...] = ()
    total = len(compared.chroms) * len(compared.others)
    with tqdm(total=total, desc="evaluate", unit="map") as bar, TemporaryDirectory() as folder:
        for chrom in compared.chroms:
            chromosome, left_out[chrom] = _chromosome(compared, chrom)
            usable[chrom] = _counted(chromosome)
            fine = compared.fine.band(chrom, compared.window_bins)
            reads = compared.fine.reads(chrom, compared.window_bins)
            per_contact = compared.fine.reads_per_contact(chrom, compared.window_bins)
            truth = fine, np.zeros_like(fine) if reads is None else reads, per_contact
            no_reads += (chrom,) if reads is None else ()
            scorer = _Scorer(chromosome, truth, expected, Path(folder))
            shown = {FINE: fine}
            for name, other in compared.others.items():
                band = other.band(chrom, compared.window_bins)
                scores[name][chrom] = scorer.score(band)
                if len(examples) < EXAMPLES:
                    shown[name] = band
                bar.update()
            if len(examples) < EXAMPLES and len(chromosome.starts):
                examples += (_example(chromosome, shown, expected),)
    return Evaluation(compared, scores, usable, left_out, no_reads, examples)


def _expected(compared: Compared) -> Curve:
    """Return the fine map's decay over its chromosomes of a window or more, scored or not."""
    sizes = compared.fine.chromsizes
    chroms = teaching(sizes, compared.window_bins * compared.bin_size) or tuple(sizes)
    sums = [
        decay_sums(compared.fine.band(c, compared.window_bins), _ones(compared.fine_usable(c)))
        for c in tqdm(chroms, desc="expected", unit="chrom")
    ]
    expected: Curve = np.nan_to_num(sum(sums[1:], start=sums[0]).expected())
    return expected


def _chromosome(compared: Compared, chrom: str) -> tuple[_Chromosome, int]:
    """Return what methods share on a chromosome, and how many windows are too little usable."""
    side, bin_size = compared.window_bins, compared.bin_size
    usable = compared.usable(chrom)
    mask = usable_pixels(usable, side)
    # Windows may reach further than some map does; what not all maps hold counts for none.
    mask[:, compared.num_separations :] = False
    length = compared.fine.chromsizes[chrom]
    windows = chromosome_windows(length, bin_size, "test", Layout(side, side, (0,)))
    kept = windows[usable_fraction(windows, usable, bin_size, side) >= MIN_USABLE]
    starts = kept["row_start"].to_numpy() // bin_size
    chromosome = _Chromosome(chrom, usable, mask, starts, side, compared.num_separations, bin_size)
    return chromosome, len(windows) - len(kept)


def _counted(chromosome: _Chromosome) -> tuple[int, int]:
    bins = len(chromosome.usable)
    reach = min(chromosome.separations, bins)
    # Rows of `reach` pixels, less the triangle of them past the end of the chromosome.
    return int(chromosome.mask.sum()), bins * reach - reach * (reach - 1) // 2


class _Scorer:
    """Scores methods by the fine map of one chromosome: contacts, reads, reads per contact."""

    def __init__(
        self, chromosome: _Chromosome, truth: tuple[Band, Band, Band], expected: Curve, folder: Path
    ) -> None:
        fine, *_ = truth
        self.chromosome, self.folder = chromosome, folder
        self.near, self.mask = (
            fine[:, : chromosome.separations],
            chromosome.mask[:, : chromosome.separations],
        )
        contacts, reads, per_contact = map(chromosome.windows, truth)
        usable = square(chromosome.mask, chromosome.starts, chromosome.side)
        self.fine = FineWindows(contacts, reads, per_contact, usable, expected)
        self.separation = np.nonzero(self.mask)[1]
        self.h = smoothing_bins(chromosome.bin_size)
        self.diamond = diamond_bins(chromosome.bin_size, chromosome.separations)
        self.weights = _ones(chromosome.usable)
        self.track = self._track(fine)

    def score(self, band: Band) -> Score:
        """Return a method's scores."""
        near, chromosome = band[:, : self.chromosome.separations], self.chromosome
        windows = window_scores(self.fine, chromosome.windows(band))
        windows.insert(0, "chrom", chromosome.name)
        windows.insert(1, "row_start", chromosome.starts * chromosome.bin_size)
        logs = np.log1p(self.near[self.mask]), np.log1p(near[self.mask])
        insulation, boundaries = compare_tracks(self.track, self._track(band))
        return Score(
            windows,
            correlation_sums(logs[0], logs[1], self.separation, chromosome.separations),
            ((decay_sums(self.near, self.weights), decay_sums(near, self.weights)),),
            (scc(self.near, near, self.mask, self.h),),
            insulation,
            boundaries,
        )

    def _track(self, band: Band) -> pd.DataFrame:
        usable, reach = self.chromosome.usable, 2 * MIN_DIAMOND_BINS
        if self.chromosome.separations < reach:  # nothing is defined
            nothing = np.full(len(usable), np.nan)
            return pd.DataFrame({"log2_insulation": nothing, "boundary_strength": nothing})
        return track(
            np.where(self.chromosome.mask, band, 0.0),
            usable,
            self.chromosome.bin_size,
            self.diamond,
            self.folder,
        )


def _example(chromosome: _Chromosome, bands: Mapping[str, Band], expected: Curve) -> Locus:
    """Return the chromosome's middle window, the fine map last; all O/E is over its decay."""
    middle = chromosome.starts[[len(chromosome.starts) // 2]]
    mask = square(chromosome.mask, middle, chromosome.side)[0]
    names = [name for name in bands if name != FINE]
    bins = np.arange(chromosome.side)
    start = int(middle[0]) * chromosome.bin_size
    return Locus(
        chrom=chromosome.name,
        row_start=start,
        col_start=start,
        bin_size=chromosome.bin_size,
        maps={
            name: np.where(mask, square(bands[name], middle, chromosome.side)[0], np.nan)
            for name in (*names, FINE)
        },
        expected=expected[np.abs(bins[:, None] - bins)],
        against=FINE,
        eps=EPS,
    )


def _ones(usable: Bool[np.ndarray, " bins"]) -> Float64[np.ndarray, " bins"]:
    """Return the weights of contacts that are balanced already."""
    return np.where(usable, 1.0, np.nan)


def _stacked(decays: tuple[tuple[DecaySums, DecaySums], ...]) -> torch.Tensor:
    """Return decays as ``decay_error`` takes them: method, fine, pixels."""
    sums = [
        # Where an implausible pixel is out of one map's sums alone, their pixels differ.
        (other.contacts * (fine.pixels / np.maximum(other.pixels, 1)), fine.contacts, fine.pixels)
        for fine, other in decays
    ]
    return torch.from_numpy(np.array(sums, dtype=np.float64).transpose(0, 2, 1))
