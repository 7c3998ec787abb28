"""Shards to batches: which windows, in which order, and decoded into what a network reads.

Two ways in, one order. A set that fits the object store is read once with Ray Data and its
blocks are shared by all workers and trials without copying (`resident`); a larger one is
streamed anew each epoch (`streamed`). Each rank owns a contiguous slice of the epoch's order,
cut at window granularity, so that validation sees every window once and training drops fewer
than workers x batch.

    epoch 3, 11 windows, 2 workers, batches of 2        7 2 9 4 | 0 5 8 1 | 3 6 10
                                                        rank 0    rank 1    left out
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import ray
import ray.data
from jaxtyping import Int64

from hicray.config import UserError
from hicray.io.storage import Location, locate, size_of
from hicray.maps.bins import SplitName
from hicray.windows.manifest import Manifest, ShardSet
from hicray.windows.reading import Shard, columns, read_rows, shard_at

_STORE_SHARE = 0.4
"""Share of the object store that resident windows may take."""
_MIXED_ROWS = 128
"""Streamed windows are shuffled among so many neighbours."""


class Blocks(NamedTuple):
    """Windows resident in the object store: references to Arrow tables, in shard order."""

    refs: list[Any]
    rows: int


class Files(NamedTuple):
    """Windows in files."""

    shards: list[Shard]
    columns: list[str]

    @property
    def rows(self) -> int:
        """Windows in all shards."""
        return sum(shard.rows for shard in self.shards)


WindowSource = Blocks | Files
NO_WINDOWS = Blocks([], 0)
"""A set that holds nothing."""


def open_windows(
    shards: ShardSet,
    split: SplitName,
    coarse: int,
    tokens: Location | None = None,
) -> WindowSource:
    """Read a set into the object store if it fits there, else name its files.

    Args:
        shards: The shard set.
        split: The set.
        coarse: The gap's coarse bins, in bp.
        tokens: Folder of stored tokens, a file for each shard, if they are to come along.

    Raises:
        UserError: The set has no window.
    """
    folder, manifest = shards
    files = manifest.files(split)
    if not files:
        raise UserError(
            f"{folder} has no {split} window: every one was under the usable share "
            f"({manifest.dropped.get(split, 0)} left out); choose other {split} chromosomes"
        )
    stored = Files([shard_at(folder, file, tokens) for file in files], columns(coarse))
    if not _fits(manifest, stored, coarse):
        return stored
    data = _read(stored, range(len(files))).materialize()
    return Blocks(data.to_arrow_refs(), stored.rows)


def _read(files: Files, order: Iterable[int]) -> ray.data.Dataset:
    """Read shards with Ray Data, a task each, in the given order."""
    context = ray.data.DataContext.get_current()
    # Blocks else come as their tasks end, and an epoch would differ from run to run.
    context.execution_options.preserve_order = True
    context.print_on_execution_start = False
    units = [files.shards[i]._asdict() for i in order]
    # Not read_parquet: it cannot set two files side by side, and opens a sample of them first.
    named = ray.data.from_items(units, override_num_blocks=len(units))
    return named.map_batches(_rows, batch_size=1, fn_kwargs={"names": files.columns})


def _rows(unit: dict[str, Any], names: list[str]) -> Iterator[pa.Table]:
    shard = Shard(*(unit[field].tolist()[0] for field in Shard._fields))
    return read_rows(shard, names)


def _fits(manifest: Manifest, files: Files, coarse: int) -> bool:
    pixels = manifest.window_bins**2 * (1 if not manifest.diagonal_only else 0.5)
    factor = coarse // manifest.fine_bin_size
    # int32 counts of both maps, and four weight vectors of float32, none longer than the window.
    row_bytes = 4 * pixels * (1 + 1 / factor**2) + 16 * manifest.window_bins
    tokens = sum(size_of(locate(shard.tokens)) for shard in files.shards if shard.tokens)
    store = ray.cluster_resources().get("object_store_memory", 0)
    return bool(files.rows * row_bytes + tokens < _STORE_SHARE * store)


class Slice(NamedTuple):
    """One rank's share of an ordered set: windows [start, end)."""

    start: int
    end: int


def train_slice(rows: int, rank: int, workers: int, batch: int) -> Slice:
    """Return a rank's equal share; ``rows mod (workers x batch)`` windows are left out.

    Args:
        rows: Of the whole set.
        rank: Of this worker.
        workers: How many share an epoch.
        batch: Windows of a worker and step.
    """
    share = rows // (workers * batch) * batch
    return Slice(rank * share, (rank + 1) * share)


def whole_slice(rows: int, rank: int, workers: int) -> Slice:
    """Return a rank's share of a set of which every window counts once.

    Args:
        rows: Of the whole set.
        rank: Of this worker.
        workers: How many share the set.
    """
    return Slice(rows * rank // workers, rows * (rank + 1) // workers)


def epoch_order(rows: int, seed: int, epoch: int) -> Int64[np.ndarray, " rows"]:
    """Return the order of an epoch: a pure function of (seed, epoch).

    Args:
        rows: Of the whole set.
        seed: Of training.
        epoch: From 0.
    """
    return np.random.default_rng([seed, epoch]).permutation(rows)


@dataclass
class Reader:
    """Reads slices of a set as Arrow tables of ``batch`` rows.

    Args:
        windows: The set.
        batch: Rows of a table; the last one of a slice may have fewer.
    """

    windows: WindowSource
    batch: int

    def ordered(self, part: Slice) -> Iterator[pa.Table]:
        """Yield a slice in the order of the shards."""
        if isinstance(self.windows, Blocks):
            yield from _from_blocks(self.windows, np.arange(part.start, part.end), self.batch)
        else:
            files = np.arange(len(self.windows.shards))
            yield from _rebatched(_from_files(self.windows, files, part), self.batch)

    def shuffled(self, part: Slice, seed: int, epoch: int) -> Iterator[pa.Table]:
        """Yield a slice of an epoch's order.

        Resident windows are permuted one by one. Streamed ones are permuted by shard and among
        their neighbours; they were shuffled over the whole genome when the shards were written.

        Args:
            part: Slice of the epoch's order.
            seed: Of training.
            epoch: From 0.
        """
        if isinstance(self.windows, Blocks):
            rows = epoch_order(self.windows.rows, seed, epoch)[part.start : part.end]
            yield from _from_blocks(self.windows, rows, self.batch)
        else:
            rng = np.random.default_rng([seed, epoch])
            tables = _from_files(self.windows, rng.permutation(len(self.windows.shards)), part)
            mixed = (table.take(rng.permutation(table.num_rows)) for table in tables)
            yield from _rebatched(mixed, self.batch)


def _from_blocks(
    blocks: Blocks, rows: Int64[np.ndarray, " rows"], batch: int
) -> Iterator[pa.Table]:
    tables = ray.get(blocks.refs)
    ends = np.cumsum([table.num_rows for table in tables])
    # Rows count on from block to block: the block that each lies in, and its row there.
    block_of = np.searchsorted(ends, rows, side="right")
    inside = rows - (ends - [table.num_rows for table in tables])[block_of]
    positions = list(zip(block_of, inside, strict=True))
    for first in range(0, len(positions), batch):
        pieces = [tables[b].slice(i, 1) for b, i in positions[first : first + batch]]
        yield pa.concat_tables(pieces).combine_chunks()


def _from_files(
    files: Files, order: Int64[np.ndarray, " files"], part: Slice
) -> Iterator[pa.Table]:
    """Read only the shards that a slice touches, and trim the rows before and after it."""
    rows = np.array([files.shards[i].rows for i in order.tolist()])
    ends = np.cumsum(rows)
    # A shard holds the rows [ends - rows, ends) of the order.
    touched = np.flatnonzero((ends > part.start) & (ends - rows < part.end))
    if not len(touched):
        return
    skip = part.start - (ends - rows)[touched[0]]
    data = _read(files, order[touched].tolist()).limit(int(skip + part.end - part.start))
    # Rows before the slice are read with it, since a shard is opened as a whole.
    to_skip = int(skip)
    for table in data.iter_batches(batch_size=_MIXED_ROWS, batch_format="pyarrow"):
        wanted = table.slice(min(to_skip, table.num_rows))
        to_skip -= table.num_rows - wanted.num_rows
        yield wanted


def _rebatched(tables: Iterable[pa.Table], batch: int) -> Iterator[pa.Table]:
    """Yield the same rows in tables of ``batch``; the last one may have fewer."""
    pending: pa.Table | None = None
    for table in tables:
        pending = table if pending is None else pa.concat_tables([pending, table])
        while pending.num_rows >= batch:
            yield pending.slice(0, batch).combine_chunks()
            pending = pending.slice(batch)
    if pending is not None and pending.num_rows:
        yield pending.combine_chunks()
