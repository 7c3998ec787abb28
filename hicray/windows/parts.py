"""Chromosomes to parts: what one task of a preparation reads, cuts and adds up.

A task takes a long chromosome, or as many neighbouring short ones as make one: a genome of
thousands of contigs has no more tasks than one of chromosomes, and opens no file more often.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from hicray.config import DataConfig
from hicray.io.notes import write_json
from hicray.io.storage import Location, locate, open_file, replaced
from hicray.maps.bins import SplitName, num_bins
from hicray.maps.features import DecaySums
from hicray.maps.split import Sets
from hicray.maps.totals import Sums
from hicray.windows.cut import Chromosome, cut, read_chromosome, schema
from hicray.windows.plan import Layout, placed_windows, usable_fraction
from hicray.windows.sources import Source

UNITS = 128
"""Chromosomes shorter than this share of a genome are read together with their neighbours."""
_ROWS_HELD = 512
"""Windows that are held before they are written."""

Group = tuple[SplitName, int]
"""A set, and one of its shards."""


class Unit(NamedTuple):
    """Neighbouring chromosomes of one source, by the source's index in the data set."""

    source: int
    chroms: tuple[str, ...]


class Job(NamedTuple):
    """What every task of one preparation knows; plain values, so it travels."""

    config: DataConfig
    folder: str
    layout: Layout
    sources: list[Source]
    sets: Sets
    num_shards: dict[SplitName, int]
    units: list[Unit]

    @property
    def parts(self) -> Location:
        """Folder of the parts."""
        return locate(self.folder) / "parts"

    def part(self, unit: int) -> tuple[Location, Location]:
        """Return where a unit's windows and its record go."""
        return self.parts / f"{unit:05d}.parquet", self.parts / f"{unit:05d}.json"


def units_of(source: int, sizes: Mapping[str, int], bin_size: int) -> list[Unit]:
    """Return the chromosomes of a source in units of about a ``UNITS``-th of the genome or more.

    Args:
        source: Index of the source in the data set.
        sizes: Length of each chromosome, in bp.
        bin_size: In bp.
    """
    bins = {chrom: num_bins(length, bin_size) for chrom, length in sizes.items()}
    enough = sum(bins.values()) / UNITS
    units: list[list[str]] = []
    held = enough  # so that the first chromosome opens a unit
    for chrom, num in bins.items():
        if held >= enough:
            units.append([])
            held = 0
        units[-1].append(chrom)
        held += num
    return [Unit(source, tuple(chroms)) for chroms in units]


def cut_part(job: Job, index: int) -> dict[str, Any]:
    """Cut a unit's chromosomes; write their windows by shard, and return what they sum to."""
    part, done = job.part(index)
    # Written after the part, so that it vouches for it.
    if done.exists():
        record: dict[str, Any] = json.loads(done.read_text())
        return record
    unit = job.units[index]
    source, chroms = job.sources[unit.source], dict.fromkeys(unit.chroms)
    sets = {region: split for region, split in job.sets.items() if region.chrom in chroms}
    named = dict.fromkeys(region.chrom for region in sets)
    # What the split does not name is in no window, and counts for the totals all the same.
    unsplit = [chrom for chrom in chroms if chrom not in named]
    balanced = not job.config.raw
    totals = {
        name: sum(contacts.sums(unsplit, balanced=balanced).values(), start=Sums(0, 0.0))
        for name, contacts in source.maps.items()
    }
    record = {"source": source.name, "totals": totals, "groups": [], "rows": {}, "dropped": {}}
    if named:
        record |= _write_part(job, source, sets, part, totals)
    write_json(done, record)
    return record


def _write_part(
    job: Job, source: Source, sets: Sets, part: Location, totals: dict[str, Sums]
) -> dict[str, Any]:
    """Write chromosomes' windows in row groups of one set and shard, and add up what they hold."""
    names = list(source.maps)
    decays: dict[str, DecaySums] = {}
    planned: dict[SplitName, int] = defaultdict(int)
    rows: dict[SplitName, int] = defaultdict(int)
    with replaced(part) as path, _Writer(path, names) as writer:
        for chrom in dict.fromkeys(region.chrom for region in sets):
            regions = {region: split for region, split in sets.items() if region.chrom == chrom}
            train = [region for region, split in regions.items() if split == "train"]
            chromosome = read_chromosome(source, chrom, job.layout, train, raw=job.config.raw)
            for name in names:
                totals[name] += chromosome.sums[name]
            for name, sums in chromosome.decays.items():
                decays[name] = decays[name] + sums if name in decays else sums
            size, seed = source.fine.bin_size, job.config.data_seed
            sizes = source.fine.chromsizes
            windows = placed_windows(source.name, sizes, size, regions, job.layout, seed)
            kept = _usable(job, source, chromosome, windows)
            for split in dict.fromkeys(regions.values()):
                planned[split] += int((windows["split"] == split).sum())
                these = kept[kept["split"] == split]
                rows[split] += len(these)
                # Keys are uniform in [0, 1): one names the shard, and then the place within it.
                shards = (these["key"] * job.num_shards[split]).astype(int)
                for shard, group in these.groupby(shards):
                    cut_rows = cut(source, chrom, chromosome, group, job.layout)
                    keyed = cut_rows.append_column("key", pa.array(group["key"]))
                    writer.add((split, int(shard)), keyed)
    return {
        "totals": totals,
        "dropped": {split: planned[split] - rows[split] for split in planned},
        "rows": rows,
        "groups": writer.groups,
        "decays": {
            name: [list(sums.contacts), [int(n) for n in sums.pixels]]
            for name, sums in decays.items()
        },
    }


def _usable(
    job: Job, source: Source, chromosome: Chromosome, windows: pd.DataFrame
) -> pd.DataFrame:
    """Return the windows that are usable enough, in the order of their keys."""
    share = usable_fraction(windows, chromosome.usable, source.fine.bin_size, job.layout.window)
    return windows[share >= job.config.min_usable].sort_values("key")


def keyed_schema(names: list[str]) -> pa.Schema:
    """Return the schema of a part's rows: a shard's, and the key that orders them."""
    return schema(names).append(pa.field("key", pa.float64()))


class _Writer:
    """Writes rows of one set and shard together, of several chromosomes if they are short."""

    def __init__(self, path: Any, names: list[str]) -> None:
        self._file = pq.ParquetWriter(path, keyed_schema(names), compression="zstd")
        self._held: dict[Group, list[pa.Table]] = defaultdict(list)
        self._rows = 0
        self.groups: list[Group] = []

    def __enter__(self) -> "_Writer":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self._flush()
        self._file.close()

    def add(self, group: Group, rows: pa.Table) -> None:
        self._held[group].append(rows)
        self._rows += len(rows)
        if self._rows >= _ROWS_HELD:
            self._flush()

    def _flush(self) -> None:
        for group, tables in self._held.items():
            rows = pa.concat_tables(tables)
            self._file.write_table(rows, row_group_size=max(1, len(rows)))
            self.groups.append(group)
        self._held.clear()
        self._rows = 0


def shard_rows(job: Job, split: SplitName, index: int) -> Iterator[pa.Table]:
    """Yield the rows of one shard, of every part that has any.

    Args:
        job: Where parts lie.
        split: Set of the shard.
        index: Of the shard within its set.
    """
    for unit in range(len(job.units)):
        part, note = job.part(unit)
        groups = json.loads(note.read_text())["groups"]
        # A group is written as one row group of the part's file, in the order of the note.
        row_groups = [i for i, group in enumerate(groups) if group == [split, index]]
        if row_groups:
            yield pq.ParquetFile(open_file(part)).read_row_groups(row_groups)
