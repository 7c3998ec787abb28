"""What the workers of one gap share."""

from dataclasses import dataclass, replace
from typing import Any

import ray

from hicray.config import ModelConfig, TrialConfig
from hicray.maps.bins import SplitName
from hicray.maps.genome import PackedGenome
from hicray.windows.bin_table import BinTables
from hicray.windows.collate import Collate
from hicray.windows.manifest import Manifest
from hicray.windows.stream import WindowSource
from hicray.windows.tokens import TokenFormat

SEARCHED: tuple[SplitName, SplitName] = ("train", "val")
"""The sets that training, a search and fitted filters may see."""


@dataclass(frozen=True)
class Data:
    """Windows and genome by reference, so that it is small.

    Attributes:
        manifest: Of the shard set.
        train: Training windows.
        val: Validation windows; none in a refit.
        genome: Reference of the packed genome; None where DNA is off.
        tokens: How the frozen encoder's tokens are stored with the windows; None if they are not.
        embeddings: Reference of stored embeddings of the genome; None where no network reads them.
        tracks: Likewise of measured tracks.
    """

    manifest: Manifest
    train: WindowSource
    val: WindowSource
    genome: Any = None
    tokens: TokenFormat | None = None
    embeddings: Any = None
    tracks: Any = None

    def collate(self, trial: TrialConfig) -> Collate:
        """Return a trial's collate; reads the genome without copying it."""
        genome: PackedGenome | None = None if self.genome is None else ray.get(self.genome)
        model = trial.model
        tables = (self.embeddings, self.tracks)
        return Collate(
            self.manifest,
            trial.coarse_bin_size,
            genome,
            model.flank_bins,
            self.tokens,
            "elsewhere" if model.sequence == "elsewhere" else "own",
            BinTables(*(None if one is None else ray.get(one) for one in tables)),
        )

    def read_by(self, model: ModelConfig) -> "Data":
        """Return it with what a network reads beside maps, and no more."""
        return replace(
            self,
            genome=self.genome if model.reads_bases else None,
            embeddings=self.embeddings if model.reads_embeddings else None,
            tracks=self.tracks if model.reads_tracks else None,
        )
