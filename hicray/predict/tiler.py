"""The tiles of a map, predicted and blended a few rows at a time: the work of one actor.

Tiles are averaged in contacts, not in network units: pixels are sums of contacts, and a mean of
logarithms would lie below theirs.
"""

import resource
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Float64

from hicray.maps.contacts import ContactMap
from hicray.predict.locus import Dna, Loci, MapFacts, Tracks
from hicray.predict.network import Network, NetworkFile
from hicray.windows.tiles import Blend, Tiling, worth

ROWS_PER_UNIT = 8
"""Rows of tiles that an actor blends before it hands them over."""
TILES_AT_ONCE = 4


@dataclass(frozen=True, kw_only=True)
class Tiled:
    """A network, the map that it reads, and how tiles lie over it; all of it checked.

    Attributes:
        network: Not yet open.
        contacts: The coarse map.
        dna: None where the network reads none.
        tracks: Likewise.
        tiling: In fine bins.
        use_gpu: Predict on a GPU.
    """

    network: NetworkFile
    contacts: ContactMap
    dna: Dna | None
    tiling: Tiling
    tracks: Tracks | None = None
    use_gpu: bool = False

    @property
    def fine(self) -> ContactMap:
        """Chromosomes and bins of the result."""
        return replace(self.contacts, bin_size=self.network.trained.fine_bin_size)


@dataclass(frozen=True, kw_only=True)
class Job(Tiled):
    """A whole map to enhance; it travels to the actors.

    Attributes:
        chroms: To enhance, in the map's order.
        out: The .mcool to write.
    """

    chroms: tuple[str, ...]
    out: Path

    @property
    def parts(self) -> Path:
        """Folder of finished chromosomes, beside the result."""
        return self.out.with_name(f"{self.out.name}.parts")


class Unit(NamedTuple):
    """A run of tile rows of one chromosome, in fine bins."""

    chrom: str
    rows: tuple[int, ...]


class Blended(NamedTuple):
    """A unit's own tiles, blended: sums and weights of the rows from the first one on."""

    unit: Unit
    sums: Float64[np.ndarray, "2 held separations"]
    tiles: int
    seconds: Mapping[str, float]
    peak_bytes: int


def units_of(job: Tiled, chrom: str, region: tuple[int, int] | None = None) -> list[Unit]:
    """Return a chromosome's units, in order.

    Args:
        job: How tiles lie.
        chrom: Chromosome.
        region: First fine bin and the end of those whose tiles are wanted; all if not given.
    """
    rows = job.tiling.rows(job.fine.num_bins(chrom))
    if region:
        first, end = region
        # A tile covers `window` rows from its first: all that touch the region.
        rows = [row for row in rows if first - job.tiling.window < row < end]
    runs = (rows[i : i + ROWS_PER_UNIT] for i in range(0, len(rows), ROWS_PER_UNIT))
    return [Unit(chrom, tuple(run)) for run in runs]


def tiles_of(job: Tiled, unit: Unit) -> list[list[tuple[int, int]]]:
    """Return first row and column of a unit's tiles, in fine bins, each offset by itself."""
    bins = job.fine.num_bins(unit.chrom)
    return [
        [(row, row + offset) for row in unit.rows if row + offset < bins]
        for offset in job.tiling.offsets
    ]


def in_process(job: Tiled, facts: MapFacts, units: list[Unit]) -> Iterator[Blended]:
    """Predict units one after another here, without Ray.

    Args:
        job: What is enhanced with what.
        facts: Of the whole map.
        units: In the order in which results are wanted.
    """
    yield from map(Tiler(job, facts), units)


class Clock:
    """Seconds by stage, each from the end of the one before."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._last = time.monotonic()

    def lap(self, stage: str) -> None:
        """Give a stage the time since the last call."""
        now = time.monotonic()
        self.seconds[stage] += now - self._last
        self._last = now

    def skip(self) -> None:
        """Give the time since the last call to no stage."""
        self._last = time.monotonic()

    def add(self, seconds: Mapping[str, float]) -> None:
        """Add what another clock measured."""
        for stage, more in seconds.items():
            self.seconds[stage] += more


class Tiler:
    """Predicts units; holds the network and one chromosome of the map.

    Args:
        job: What is enhanced.
        facts: Of the map.
        network: The job's, where it is open already.
    """

    def __init__(self, job: Tiled, facts: MapFacts, network: Network | None = None) -> None:
        self.job = job
        self.network = network or job.network.open("cuda" if job.use_gpu else "cpu")
        self.loci = Loci(job.contacts, facts, job.network.trained, job.dna, job.tracks)
        self.worth = worth(job.tiling.window)

    def __call__(self, unit: Unit) -> Blended:
        """Predict and blend a unit's tiles; pixels of masked bins stay NaN."""
        clock, tiling = Clock(), self.job.tiling
        window, bins = tiling.window, self.job.fine.num_bins(unit.chrom)
        usable = self.loci.usable(unit.chrom)  # reads a chromosome that is not the last one
        # Tiles may run past the end, where nothing is usable.
        usable = np.pad(usable, (0, window))
        clock.lap("read")
        held = unit.rows[0], min(unit.rows[-1] + window, bins)
        blend, done = Blend(bins, reach=tiling.reach, rows=held), 0
        for tiles in self._batches(unit):
            for (row, col), tile in zip(
                tiles, self._predict(unit.chrom, tiles, clock), strict=True
            ):
                mask = np.outer(usable[row : row + window], usable[col : col + window])
                blend.add(row, col, tile, self.worth * mask)
            clock.lap("blend")
            done += len(tiles)
        return Blended(unit, blend.sums(), done, clock.seconds, peak_bytes())

    def _batches(self, unit: Unit) -> Iterator[list[tuple[int, int]]]:
        for tiles in tiles_of(self.job, unit):
            for i in range(0, len(tiles), TILES_AT_ONCE):
                yield tiles[i : i + TILES_AT_ONCE]

    def _predict(
        self, chrom: str, tiles: list[tuple[int, int]], clock: Clock
    ) -> Float32[np.ndarray, "batch rows cols"]:
        size = self.job.network.trained.fine_bin_size
        starts = [(row * size, col * size) for row, col in tiles]
        inputs = self.loci.inputs(chrom, starts, self.network.device)
        clock.lap("decode")
        maps = self.network.predict(inputs).cpu().numpy()
        clock.lap("forward")
        return maps


def peak_bytes() -> int:
    """Return the largest resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
