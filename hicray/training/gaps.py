"""What the trials of each gap share, opened when its first cell asks for it."""

from dataclasses import replace
from functools import cached_property, lru_cache
from typing import Any

import ray

from hicray.config import ModelConfig
from hicray.io.storage import locate
from hicray.maps.genome import read_packed
from hicray.training.data import SEARCHED, Data
from hicray.training.embeddings import KeptTokens, embed, wanted
from hicray.training.space import Cell
from hicray.windows.genome_tables import read_tables
from hicray.windows.manifest import GENOME, ShardSet
from hicray.windows.stream import NO_WINDOWS, open_windows
from hicray.windows.track_table import read_tracks


class Gaps:
    """Windows and genome of a search's gaps, opened once and only where there is work left.

    Args:
        model: Whose encoder, if frozen, is run once for all.
        shards: The shard set; trials go to ``trials/`` beside it.
        use_gpu: Run that encoder on GPUs.
    """

    def __init__(self, model: ModelConfig, shards: ShardSet, *, use_gpu: bool) -> None:
        self.model, self.shards, self.use_gpu = model, shards, use_gpu
        self.trials = shards.folder.parent / "trials"

    def data(self, cell: Cell) -> Data:
        """Return what the trials of a cell share; a noseq cell has no genome.

        Where all windows train, as for a refit, none validate.
        """
        model = replace(self.model, sequence=cell.sequence)
        return replace(
            self._gap(cell.coarse_bin_size),
            genome=self._genome if model.reads_bases else None,
            embeddings=self._embeddings if model.reads_embeddings else None,
            tracks=self._tracks if model.reads_tracks else None,
        )

    # One at a time, as cells come in the order of gaps: two may not fit the object store.
    @lru_cache(maxsize=1)  # noqa: B019 - lives as long as the search
    def _gap(self, coarse: int) -> Data:
        manifest = self.shards.manifest
        kept: KeptTokens | None = None
        if wanted(self.model):
            kept = embed(self.model, self.shards, coarse, use_gpu=self.use_gpu)
        folder = kept.folder if kept else None
        train, val = (
            open_windows(self.shards, split, coarse, folder)
            if manifest.regions_of(split)
            else NO_WINDOWS
            for split in SEARCHED
        )
        return Data(manifest, train, val, tokens=kept.form if kept else None)

    @cached_property
    def _embeddings(self) -> Any:
        return ray.put(read_tables(locate(self.model.dna_embeddings), self.shards.manifest))

    @cached_property
    def _tracks(self) -> Any:
        return ray.put(read_tracks(self.model, self.shards.manifest))

    @cached_property
    def _genome(self) -> Any:
        return ray.put(read_packed(self.shards.folder / GENOME))
