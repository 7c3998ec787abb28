"""A real search of one gap, whose trials and state have a folder of their own."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from hicray.tracking.track import Store
from hicray.training import tune as searching
from hicray.training.space import SearchConfig
from hicray.training.trial import Resources
from hicray.windows.manifest import Manifest, ShardSet


def one_gap_search(
    shard_set: tuple[Path, Manifest], where: Path
) -> Callable[[SearchConfig, Store], str]:
    """Return a search of the 512 bp maps of a shard set, which returns its run's id."""
    folder, manifest = shard_set
    shards = where / "shards"
    shards.symlink_to(folder)
    one_gap = replace(manifest, coarse_bin_sizes=(512,))
    return lambda what, store: searching.search(what, ShardSet(shards, one_gap), Resources(), store)
