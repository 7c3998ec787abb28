"""Scores of predictors on the windows of one set, window by window."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from jaxtyping import Float
from torch import Tensor

from hicray.io.progress import tqdm
from hicray.io.storage import Location
from hicray.maps.bins import SplitName
from hicray.metrics.correlation import distance_bands
from hicray.metrics.moments import Truth
from hicray.metrics.scores import SCORES, Scored, decay_error
from hicray.windows.batches import Batch
from hicray.windows.collate import Collate
from hicray.windows.decoding import decoded
from hicray.windows.reading import columns, read_rows, shard_at
from hicray.windows.scales import from_network, to_network

Predictor = Callable[[Batch], Float[Tensor, "batch rows cols"]]
Key = TypeVar("Key")
SeparationBand = tuple[int, int]
"""First separation and the first beyond, in bins."""


class WindowScores(NamedTuple):
    """One predictor's scores on one set.

    Attributes:
        windows: A row per window: group (map and chromosome), chrom (its index), row_start (bp),
            every score (NaN: undefined), and O/E Pearson and bits per read in bands of
            separations (see ``band_score``).
        decay_error: RMS error of the log decay.
    """

    windows: pd.DataFrame
    decay_error: float

    def mean(self, score: str) -> float:
        """Return the mean over the windows where the score is defined."""
        return float(self.windows[score].mean())

    def deviation(self, score: str) -> float:
        """Return the standard deviation over windows."""
        return float(self.windows[score].std())


@dataclass(frozen=True)
class HeldOutWindows:
    """Windows to score on.

    Attributes:
        shards: Folder of the shard set.
        split: The set; 'test' is for the last table, never for a choice.
        collate: Of the gap.
        coarse_bin_size: The gap's coarse bins, in bp.
        tokens: Folder of stored tokens, for networks whose encoder is frozen.
        most: Windows at most, from the first on; they lie in random order. 0 takes all.
        rows: The set's windows, where they are held in memory and no shards are.
    """

    shards: Location
    split: SplitName
    collate: Collate
    coarse_bin_size: int
    tokens: Location | None = None
    most: int = 0
    rows: pa.Table | None = None

    def first(self, most: int) -> "HeldOutWindows":
        """Return a set of its first windows alone."""
        return replace(self, most=most)

    def __len__(self) -> int:
        """Return the number of windows."""
        manifest = self.collate.manifest
        total = manifest.num_windows(self.split) if self.rows is None else len(self.rows)
        return min(total, self.most) if self.most else total

    @property
    def bands(self) -> list[SeparationBand]:
        """Octaves of separations, from the first that O/E counts to the corner of a window."""
        return distance_bands(self.collate.manifest.window_bins)

    def tables(self, at_once: int = 16) -> Iterator[pa.Table]:
        """Yield rows in the order of the shards."""
        remaining = len(self)
        for table in self._all(at_once):
            if not remaining:
                return
            part = table.slice(0, remaining)
            remaining -= len(part)
            yield part

    def _all(self, at_once: int) -> Iterator[pa.Table]:
        if self.rows is not None:
            yield from (self.rows.slice(i, at_once) for i in range(0, len(self.rows), at_once))
            return
        for shard in self.collate.manifest.files(self.split):
            shard_file = shard_at(self.shards, shard, self.tokens)
            yield from read_rows(shard_file, columns(self.coarse_bin_size), at_once)

    def _loci(self, batch: Batch) -> pd.DataFrame:
        # One locus has one DNA, whichever map its window is of.
        chroms = batch.group % len(self.collate.manifest.chroms)
        loci = {"group": batch.group, "chrom": chroms, "row_start": batch.row_start}
        return pd.DataFrame({name: values.cpu().numpy() for name, values in loci.items()})

    def batches(self, at_once: int = 16) -> Iterator[Batch]:
        """Yield windows in the order of the shards, on the GPU where there is one."""
        return decoded(self.tables(at_once), self.collate, device())

    def score(self, predictors: Mapping[Key, Predictor], of: str = "") -> dict[Key, WindowScores]:
        """Score every predictor on every window, each window once; they see the same batches.

        Args:
            predictors: By any name.
            of: What they are, for the progress bar.
        """
        kept = {name: self._empty() for name in predictors}
        loci: list[pd.DataFrame] = []
        for batch in self._progress(self.batches(), of):
            for name, predict in predictors.items():
                kept[name].add(predict(batch), Truth.of(batch))
            loci.append(self._loci(batch))
        table = pd.concat(loci, ignore_index=True)
        return {name: self._finish(scored, table) for name, scored in kept.items()}

    def score_halves(self, seed: int = 0) -> WindowScores:
        """Score one half of the fine map's reads against the other: what noise alone allows.

        Reads are dealt one by one; both halves are doubled, so that they stand at full depth.
        Bits per read are those of the other half's raw reads.
        """
        kept, loci = self._empty(), []
        rng = np.random.default_rng(seed)
        for compact in map(self.collate.compact, self.tables()):
            counts = compact["fine_counts"]
            # Binomial halves of Poisson counts are independent: they share the truth and no noise.
            drawn = torch.from_numpy(rng.binomial(counts.numpy(), 0.5)).to(counts.dtype)
            halves = [
                self.collate.decode(compact | {"fine_counts": half}, device())
                for half in (drawn, counts - drawn)
            ]
            a, b = (to_network(2 * from_network(half.target)) for half in halves)
            kept.add(a, Truth.of(replace(halves[1], target=b)))
            loci.append(self._loci(halves[0]))
        return self._finish(kept, pd.concat(loci, ignore_index=True))

    def _progress(self, batches: Iterator[Batch], of: str) -> Iterator[Batch]:
        label = f"score {self.split} {self.coarse_bin_size:,} bp {of}".rstrip()
        with tqdm(total=len(self), desc=label, unit="window") as bar:
            for batch in batches:
                yield batch
                bar.update(len(batch))

    def _empty(self) -> Scored:
        expected = self.collate.fine_expected
        return Scored(len(expected), expected.shape[1], self.collate.manifest.eps)

    def _finish(self, scored: Scored, loci: pd.DataFrame) -> WindowScores:
        decays = scored.decays()
        scores = scored.scores(decays, self.collate.fine_expected)
        values = {name: np.asarray(scores[name]) for name in SCORES}
        for name, bands in scored.by_separation(decays, self.bands).items():
            values |= {band_score(name, band): np.asarray(column) for band, column in bands.items()}
        return WindowScores(loci.assign(**values), decay_error(decays, scored.eps))


def band_score(score: str, band: SeparationBand) -> str:
    """Return the column of O/E Pearson, or of bits per read, within a band of separations."""
    return f"{score}_{band[0]}_{band[1]}"


def device() -> str:
    """Return where windows are decoded and networks scored."""
    return "cuda" if torch.cuda.is_available() else "cpu"
