"""Windows anywhere on a map, and their DNA, as the inputs of a network: no shard set, no target."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from hicray.io.progress import tqdm
from hicray.io.storage import locate
from hicray.maps.bins import num_bins, teaching
from hicray.maps.contacts import ContactMap
from hicray.maps.features import DecaySums, decay_sums
from hicray.maps.genome import Genome, PackedSequence, unpack
from hicray.maps.totals import Sums
from hicray.model.trained import Trained
from hicray.windows.bin_table import BinTable
from hicray.windows.cut import Level, pad, unit_weights, window_counts
from hicray.windows.genome_tables import read_one
from hicray.windows.inputs import CoarseWindows, Inputs, decode_coarse
from hicray.windows.scales import caps_of
from hicray.windows.track_table import Measured, track_table


@dataclass(frozen=True)
class MapFacts:
    """What decoding a coarse map needs of the whole of it.

    Attributes:
        total_reads: Within chromosomes.
        scale: Factor that brings its balanced sum to its raw sum.
        expected: Scaled mean contacts by separation of its own bins.
    """

    total_reads: int
    scale: float
    expected: tuple[float, ...]


class Dna(NamedTuple):
    """Where a map's DNA is.

    Attributes:
        fasta: Path.
        names: The FASTA's name of each of the map's chromosomes.
        flank_bins: Fine bins of DNA that are read beyond either end of a window.
        embeddings: Folder of stored embeddings; empty where none are read.
        bases: Whether the bases themselves are read.
    """

    fasta: str
    names: Mapping[str, str]
    flank_bins: int
    embeddings: str = ""
    bases: bool = True


class Tracks(NamedTuple):
    """Measured tracks of a map's genome.

    Attributes:
        measured: Files and scales.
        flank_bins: Fine bins that are read beyond either end of a window.
    """

    measured: Measured
    flank_bins: int


class _Chromosome(NamedTuple):
    """What is held of the chromosome that was asked for last."""

    name: str
    level: Level
    usable: Bool[np.ndarray, " bins"]
    dna: PackedSequence | None
    embeddings: BinTable | None
    tracks: BinTable | None


def measure(contacts: ContactMap, num_separations: int, *, raw: bool, window: int = 0) -> MapFacts:
    """Read a map once, a chromosome's band at a time.

    Its decay is that of chromosomes that one could train on, or of all where there is none.

    Args:
        contacts: The coarse map.
        num_separations: Of its own bins, from 0 up.
        raw: Take raw counts instead of balanced contacts.
        window: Length of a window, in bp.

    Raises:
        UserError: It has no such weights.
    """
    sums = DecaySums(np.zeros(num_separations), np.zeros(num_separations, dtype=np.int64))
    chroms = dict.fromkeys(teaching(contacts.chromsizes, window) or contacts.chromsizes)
    rest = [chrom for chrom in contacts.chromsizes if chrom not in chroms]
    total = sum(contacts.sums(rest, balanced=not raw).values(), start=Sums(0, 0.0))
    for chrom in tqdm(chroms, desc="read the map's decay", unit="chrom"):
        level, chrom_sums = _read(contacts, chrom, num_separations, raw=raw)
        sums += decay_sums(level.band, level.weights)
        total += chrom_sums
    scale = total.reads_per_balanced
    expected = np.nan_to_num(sums.expected() * scale)
    return MapFacts(int(total.reads), scale, tuple(expected.tolist()))


def measure_for(trained: Trained, contacts: ContactMap) -> MapFacts:
    """Measure a map as far as a network's windows reach."""
    window = trained.window_bins * trained.fine_bin_size
    separations = trained.num_separations // trained.factor
    return measure(contacts, separations, raw=trained.raw, window=window)


def read_level(contacts: ContactMap, chrom: str, num_separations: int, *, raw: bool) -> Level:
    """Return a chromosome's counts near the diagonal and its weights; raw: 1 where it was read.

    Args:
        contacts: The coarse map.
        chrom: Chromosome.
        num_separations: Of its own bins, from 0 up.
        raw: Take raw counts instead of balanced contacts.
    """
    return _read(contacts, chrom, num_separations, raw=raw)[0]


def _read(
    contacts: ContactMap, chrom: str, num_separations: int, *, raw: bool
) -> tuple[Level, Sums]:
    band, sums = contacts.near(chrom, num_separations, balanced=not raw)
    return Level(1, band, unit_weights(band) if raw else contacts.weights(chrom)), sums


class Loci:
    """One map, and its DNA, through the eyes of one network.

    Args:
        contacts: The coarse map.
        facts: As ``measure`` found them.
        trained: What the network was trained on, with the one source whose scale is taken.
        dna: None for a network that reads none.
        tracks: Likewise.
    """

    def __init__(
        self,
        contacts: ContactMap,
        facts: MapFacts,
        trained: Trained,
        dna: Dna | None = None,
        tracks: Tracks | None = None,
    ) -> None:
        self.contacts, self.facts, self.trained, self.dna = contacts, facts, trained, dna
        self.tracks = tracks
        self._genome = Genome(dna.fasta) if dna is not None and dna.bases else None
        self._coarse_expected = torch.tensor([facts.expected])
        source = trained.source
        self._fine_expected = torch.tensor([source.fine_expected])
        self._cap = caps_of([source.cap])
        self._last: _Chromosome | None = None

    def num_bins(self, chrom: str) -> int:
        """Return the number of fine bins of a chromosome."""
        return num_bins(self.contacts.chromsizes[chrom], self.trained.fine_bin_size)

    def usable(self, chrom: str) -> Bool[np.ndarray, " bins"]:
        """Return which fine bins lie in usable coarse ones."""
        return self._chromosome(chrom).usable

    def level(self, chrom: str) -> Level:
        """Return a chromosome's counts near the diagonal, and its weights."""
        padded = self._chromosome(chrom).level
        bins = self.contacts.num_bins(chrom)
        return padded._replace(band=padded.band[:bins], weights=padded.weights[:bins])

    def inputs(
        self, chrom: str, starts: Sequence[tuple[int, int]], device: torch.device | str = "cpu"
    ) -> Inputs:
        """Return the inputs of windows of one chromosome.

        Args:
            chrom: Chromosome.
            starts: First row and column of each window, in bp: multiples of the coarse bin size,
                all on the diagonal or all on one that training windows lay on.
            device: Where the dense maps are made.

        Raises:
            ValueError: A window lies where no training window could.
        """
        self._refuse_strange(starts)
        trained, chromosome = self.trained, self._chromosome(chrom)
        rows, cols = (torch.tensor(axis) for axis in zip(*starts, strict=True))
        return decode_coarse(self._windows(chromosome, rows, cols, device), trained.factor)

    def _refuse_strange(self, starts: Sequence[tuple[int, int]]) -> None:
        trained = self.trained
        for row, col in starts:
            apart = (col - row) // trained.fine_bin_size
            if row % trained.coarse_bin_size or col % trained.coarse_bin_size:
                raise ValueError(
                    f"a window at {row:,}, {col:,} cuts coarse bins; give multiples of "
                    f"{trained.coarse_bin_size:,} bp"
                )
            if apart not in trained.offsets or (apart > 0) != (starts[0][1] > starts[0][0]):
                raise ValueError(
                    f"a window {apart:,} bins off the diagonal has no place here; the network "
                    f"knows {', '.join(map(str, trained.offsets))}, 0 apart from the others"
                )

    def _chromosome(self, chrom: str) -> _Chromosome:
        if self._last is None or self._last.name != chrom:
            self._last = None  # before the next is read, so that memory is one chromosome's
            self._last = self._open(chrom)
        return self._last

    def _open(self, chrom: str) -> _Chromosome:
        trained = self.trained
        level = read_level(self.contacts, chrom, len(self.facts.expected), raw=trained.raw)
        usable = np.repeat(np.isfinite(level.weights), trained.factor)[: self.num_bins(chrom)]
        bases = embeddings = tracks = None
        if self.dna is not None:
            name = self.dna.names[chrom]
            if self._genome is not None:
                bases = self._genome.packed(name)
            if self.dna.embeddings:
                embeddings = read_one(locate(self.dna.embeddings), name)
        if self.tracks is not None:
            sizes = {chrom: self.contacts.chromsizes[chrom]}
            tracks = track_table(self.tracks.measured, sizes, trained.fine_bin_size)
        # Windows may run past the end of the chromosome.
        padded = pad(level, trained.window_bins // trained.factor)
        return _Chromosome(chrom, padded, usable, bases, embeddings, tracks)

    def _windows(
        self, chromosome: _Chromosome, rows: Tensor, cols: Tensor, device: torch.device | str
    ) -> CoarseWindows:
        trained, level = self.trained, chromosome.level
        side = trained.window_bins // trained.factor
        first_bins = [(start // trained.coarse_bin_size).tolist() for start in (rows, cols)]
        pairs = list(zip(*first_bins, strict=True))
        counts = np.stack([window_counts(level.band, row, col, side) for row, col in pairs])
        weights = [
            np.stack([level.weights[start : start + side] for start in axis]).astype(np.float32)
            for axis in first_bins
        ]
        total, num_windows = len(chromosome.usable), len(rows)
        # Fine bins of each window that lie on the chromosome.
        inside = [
            (total - start // trained.fine_bin_size).clamp(0, trained.window_bins)
            for start in (rows, cols)
        ]
        return CoarseWindows(
            counts=torch.from_numpy(counts).to(device),
            row_weights=torch.from_numpy(weights[0]).to(device),
            col_weights=torch.from_numpy(weights[1]).to(device),
            scale=torch.full((num_windows,), self.facts.scale, device=device),
            num_rows=inside[0].to(device),
            num_cols=inside[1].to(device),
            diagonal=((cols - rows) // trained.fine_bin_size).to(device),
            total_reads=torch.full((num_windows,), float(self.facts.total_reads), device=device),
            cap=self._cap.to(device).expand(num_windows),
            coarse_expected=self._coarse_expected.to(device).expand(num_windows, -1),
            fine_expected=self._fine_expected.to(device).expand(num_windows, -1),
            **self._dna(chromosome, rows, cols, device),
        )

    def _dna(
        self, chromosome: _Chromosome, rows: Tensor, cols: Tensor, device: torch.device | str
    ) -> dict[str, Tensor]:
        """Return DNA and tracks of windows, those of the columns where they may differ."""
        axes = {"row": rows} if len(self.trained.offsets) == 1 else {"row": rows, "col": cols}
        brought = {}
        for axis, starts in axes.items():
            if chromosome.dna is not None:
                brought[f"{axis}_bases"] = self._bases(chromosome.dna, starts).to(device)
            if chromosome.embeddings is not None and self.dna is not None:
                stored = self._bins(chromosome.embeddings, starts, self.dna.flank_bins)
                brought[f"{axis}_embeddings"] = stored.to(device)
            if chromosome.tracks is not None and self.tracks is not None:
                stored = self._bins(chromosome.tracks, starts, self.tracks.flank_bins)
                brought[f"{axis}_tracks"] = stored.to(device)
        return brought

    def _bins(
        self, table: BinTable, starts: Tensor, flank: int
    ) -> Float[Tensor, "batch strands bins channels"]:
        (chrom,) = table.chroms
        windows = [(chrom, first) for first in (starts // self.trained.fine_bin_size).tolist()]
        return table.windows(windows, self.trained.window_bins, flank)

    def _bases(self, packed: PackedSequence, starts: Tensor) -> UInt8[Tensor, "batch bases"]:
        size = self.trained.fine_bin_size
        flank = self.dna.flank_bins * size if self.dna else 0
        length = self.trained.window_bins * size
        codes = [unpack(packed, start - flank, start + length + flank) for start in starts.tolist()]
        return torch.from_numpy(np.stack(codes))
