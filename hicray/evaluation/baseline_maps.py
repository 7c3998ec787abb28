"""Baselines as maps: what a model has to beat, written so that `evaluate` judges them like any.

Each takes the coarse map alone, and what fine maps look like on training chromosomes. Values are
scaled contacts near the diagonal; where the fine and the coarse bin are usable, their weight is the
constant that makes them balanced contacts of the fine map.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float64

from hicray.io.progress import tqdm
from hicray.maps.assembly import assembly_of
from hicray.maps.bands import Band, at_columns, filtered, fine_pixels, pixel_table, usable_pixels
from hicray.maps.expected import Curve
from hicray.maps.features import DecaySums
from hicray.maps.totals import Sums
from hicray.maps.write import write_float_cool
from hicray.windows.cut import Level, read_chromosome
from hicray.windows.manifest import coarse_name
from hicray.windows.plan import Layout
from hicray.windows.sources import Source

Grid = Float64[np.ndarray, "coarse_bins coarse_separations"]
"""A band in coarse bins, where ``Band`` is in fine ones."""


class Coarse(NamedTuple):
    """One chromosome as baselines see it.

    Attributes:
        contacts: Scaled contacts in coarse bins.
        pixels: Distinct fine pixels in each coarse one.
        mask: Coarse pixels whose two bins are usable.
        usable: Fine bins that are usable at both levels.
        factor: Coarse bin size over fine bin size.
        separations: Fine separations to fill, from 0 up.
    """

    contacts: Grid
    pixels: Grid
    mask: Bool[np.ndarray, "coarse_bins coarse_separations"]
    usable: Bool[np.ndarray, " bins"]
    factor: int
    separations: int

    def on_fine(self, values: Grid) -> Band:
        """Return a coarse band's values at the fine pixels that each coarse pixel holds."""
        rows, cols = self._bins()
        spread: Band = values[rows // self.factor, cols // self.factor - rows // self.factor]
        return spread

    def per_fine(self) -> Grid:
        """Return contacts of a fine pixel if each of a coarse pixel's has the same."""
        share: Grid = self.contacts / np.maximum(self.pixels, 1)
        return share

    def interpolated(self, values: Grid) -> Band:
        """Return a coarse band interpolated between the centres of the usable coarse bins."""
        axes = [self._neighbours(axis) for axis in self._bins()]
        sums, weights = np.zeros((2, len(self.usable), self.separations))
        for row, row_share in axes[0]:
            for col, col_share in axes[1]:
                # A band holds the upper triangle alone: a neighbour below the diagonal is its
                # mirror.
                at = np.minimum(row, col), np.abs(col - row)
                share = row_share * col_share * self.mask[at]
                sums += share * values[at]
                weights += share
        # Normalised: where some neighbours are masked, the others weigh for them.
        return np.divide(sums, weights, out=np.zeros_like(sums), where=weights > 1e-9)

    def _bins(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the fine row and column of each pixel; columns past the end are the last one."""
        rows = np.arange(len(self.usable))[:, None]
        cols = np.minimum(rows + np.arange(self.separations), len(rows) - 1)
        return rows, cols

    def _neighbours(self, fine: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return the two coarse bins around each fine one, and what each is worth."""
        # In units of coarse bins: coarse bin i has its centre at i.
        centre = (fine + 0.5) / self.factor - 0.5
        low = np.floor(centre).astype(np.int64)
        last = len(self.contacts) - 1
        above = centre - low
        return [(low.clip(0, last), 1 - above), ((low + 1).clip(0, last), above)]


@dataclass(frozen=True)
class Expected:
    """Scaled mean contacts by separation on training chromosomes, in bins of either map."""

    fine: Curve
    coarse: Float64[np.ndarray, " coarse_separations"]


Baseline = Callable[[Coarse, Expected], Band]


def upsampled(coarse: Coarse, expected: Expected) -> Band:
    """Give each fine pixel the same share of its coarse pixel."""
    return coarse.on_fine(coarse.per_fine())


def bilinear(coarse: Coarse, expected: Expected) -> Band:
    """Interpolate shares between coarse bins' centres; the total stays the upsampled map's."""
    band = coarse.interpolated(coarse.per_fine())
    band *= _inside(coarse)
    total = band.sum()
    whole = float((upsampled(coarse, expected) * _inside(coarse)).sum())
    if total:
        band *= whole / total
    return band


def gaussian(coarse: Coarse, expected: Expected) -> Band:
    """Smooth the upsampled map by a Gaussian of half a coarse bin."""
    reach = 2 * coarse.factor
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / (coarse.factor / 2)) ** 2)
    return filtered(upsampled(coarse, expected), _inside(coarse), kernel)


def distance_only(coarse: Coarse, expected: Expected) -> Band:
    """Give each pixel the training mean of its separation: nothing of the locus."""
    return np.tile(expected.fine[: coarse.separations], (len(coarse.usable), 1))


def rescaled(coarse: Coarse, expected: Expected) -> Band:
    """Multiply coarse observed over expected by the fine expected."""
    mean = expected.coarse[: coarse.contacts.shape[1]]
    ratio = np.divide(coarse.contacts, mean, out=np.zeros_like(coarse.contacts), where=mean > 0)
    band = coarse.on_fine(ratio)
    band *= expected.fine[: coarse.separations]
    return band


BASELINES: Mapping[str, Baseline] = {
    "upsampled coarse": upsampled,
    "bilinear": bilinear,
    "gaussian": gaussian,
    "distance only": distance_only,
    "coarse O/E x fine expected": rescaled,
}


def _inside(coarse: Coarse) -> Bool[np.ndarray, "bins separations"]:
    return usable_pixels(coarse.usable, coarse.separations)


class Maker:
    """Makes the baselines of one source at one gap.

    Args:
        source: The fine map and one coarse map.
        separations: Fine separations to fill, from 0 up.
        train: Chromosomes that the expected is taken from.
        chroms: Chromosomes to write.
        raw: Raw counts instead of balanced contacts.
    """

    def __init__(
        self,
        source: Source,
        separations: int,
        train: tuple[str, ...],
        chroms: tuple[str, ...],
        *,
        raw: bool,
    ) -> None:
        self.source, self.separations, self.raw = source, separations, raw
        (coarse_size,) = source.coarse
        self.name = coarse_name(coarse_size)
        self.factor = coarse_size // source.fine.bin_size
        # Coarse pixels around the farthest fine ones lie up to two coarse bins further off; windows
        # off the diagonal, which filters fill the band with, reach twice as far.
        width = -(-separations // self.factor) * self.factor
        width += max(width, 4 * self.factor)
        self.layout = Layout(width, width, (0,))
        self.sums = {name: self._sums(name) for name in ("fine", self.name)}
        # Both stand at the fine map's depth, which a coarse level of its own need not have.
        reads = self.sums["fine"].reads
        self.scale = {
            name: total._replace(reads=reads).reads_per_balanced
            for name, total in self.sums.items()
        }
        self.expected = self._expected(train)
        self.usable = {chrom: self.coarse(chrom).usable for chrom in chroms}

    def _sums(self, name: str) -> Sums:
        """Return a map's reads and balanced contacts."""
        sums = self.source.maps[name].sums(balanced=not self.raw, desc=f"sum {name}")
        return sum(sums.values(), start=Sums(0, 0.0))

    def _expected(self, train: tuple[str, ...]) -> Expected:
        sums: dict[str, list[DecaySums]] = {"fine": [], self.name: []}
        for chrom in tqdm(train, desc="expected", unit="chrom"):
            decays = read_chromosome(self.source, chrom, self.layout, raw=self.raw).decays
            for name, decay in decays.items():
                sums[name].append(decay)
        reach = {"fine": self.separations, self.name: -(-self.separations // self.factor)}
        curves = {
            name: _curve(sum(decays_by_chrom[1:], start=decays_by_chrom[0]), reach[name])
            * self.scale[name]
            for name, decays_by_chrom in sums.items()
        }
        return Expected(curves["fine"], curves[self.name])

    def coarse(self, chrom: str) -> Coarse:
        """Read what the baselines of a chromosome need."""
        chromosome = read_chromosome(self.source, chrom, self.layout, raw=self.raw)
        level, bins = chromosome.levels[self.name], len(chromosome.usable)
        # Levels are padded for windows that run past the end; those bins are left out here.
        coarse_bins = -(-bins // self.factor)
        weights = level.weights[:coarse_bins]
        separations = level.band.shape[1]
        pixels = fine_pixels(bins, self.factor, separations)
        contacts = _balanced(level, coarse_bins) * self.scale[self.name]
        mask = usable_pixels(np.isfinite(weights), separations)
        return Coarse(contacts, pixels, mask, chromosome.usable, self.factor, self.separations)

    def write(
        self,
        name: str,
        path: Path,
        metadata: Mapping[str, object],
        made: Callable[[str], Band] | None = None,
    ) -> None:
        """Write one baseline; bins of chromosomes that are not written have no weight.

        Args:
            name: Of the baseline.
            path: The .cool.
            metadata: Kept with it.
            made: Makes its band of a chromosome; that of ``BASELINES`` if not given.
        """
        fine = self.source.fine
        # A pixel is multiplied by the weights of both its bins: each takes the root.
        unit = math.sqrt(1 / self.scale["fine"])
        weights = [
            np.where(self.usable[chrom], unit, np.nan)
            if chrom in self.usable
            else np.full(fine.num_bins(chrom), np.nan)
            for chrom in fine.chromsizes
        ]
        pixels = self._pixels(made or partial(self.band, name), name)
        genome_weights = np.concatenate(weights)
        write_float_cool(
            path,
            fine.chromsizes,
            fine.bin_size,
            pixels,
            genome_weights,
            metadata,
            assembly=assembly_of(fine),
        )

    def band(self, name: str, chrom: str) -> Band:
        """Return one of ``BASELINES`` of a chromosome, 0 where a bin is not usable."""
        coarse = self.coarse(chrom)
        band: Band = BASELINES[name](coarse, self.expected) * _inside(coarse)
        return band

    def _pixels(self, made: Callable[[str], Band], name: str) -> Iterator[pd.DataFrame]:
        first = 0
        for chrom in tqdm(self.source.fine.chromsizes, desc=name, unit="chrom"):
            if chrom in self.usable:
                yield pixel_table(made(chrom), first)
            first += self.source.fine.num_bins(chrom)


def _curve(sums: DecaySums, reach: int) -> Curve:
    """Return the expected, smoothed over what windows reach, as theirs is, and beyond it apart."""
    near = DecaySums(sums.contacts[:reach], sums.pixels[:reach])
    curve: Curve = np.nan_to_num(np.append(near.expected(), sums.expected()[reach:]))
    return curve


def _balanced(level: Level, bins: int) -> Grid:
    weights = np.nan_to_num(level.weights[:bins])
    contacts: Grid = level.band[:bins] * weights[:, None]
    contacts *= at_columns(weights, level.band.shape[1])
    return contacts
