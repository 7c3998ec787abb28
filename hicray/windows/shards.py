"""The Ray Data job: maps and a genome to globally shuffled parquet shards, manifest last.

    chromosome tasks:  band -> windows -> parts/<source>.<chrom>.parquet   a row group per shard
    shard tasks:       row group k of every part, sorted by key -> train-00k.parquet

A window's place is a random key drawn from (seed, source, region), so that any task can be done
at any time, in any order, on any node, and the same plan gives the same rows. Finished
parts and shards are kept when an interrupted job runs again.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import ray.data

from hicray.config import DataConfig, UserError
from hicray.maps.bins import SPLIT_NAMES, SplitName, read_split
from hicray.maps.features import DecaySums
from hicray.maps.genome import Genome, write_packed
from hicray.maps.names import genome_names
from hicray.maps.split import Sets, grid_of, region_name, split_sets
from hicray.progress import tqdm
from hicray.storage import Location, locate, matching, open_file, remove_tree, replaced, sweep
from hicray.windows import manifest as mf
from hicray.windows.claim import ROWS_PER_SHARD, claim
from hicray.windows.cut import chromosome_total, cut, read_chromosome, schema
from hicray.windows.plan import (
    Layout,
    count_windows,
    layout,
    placed_windows,
    usable_fraction,
)
from hicray.windows.sources import Source, fingerprint, open_sources
from hicray.windows.trained import image_cap

ROWS_PER_GROUP = 16
"""Small row groups, so that Ray's reader can deal one shard to many tasks."""


class _Job(NamedTuple):
    """What every task of one preparation knows; plain values, so it travels."""

    config: DataConfig
    folder: str
    how: Layout
    sets: Sets
    num_shards: dict[SplitName, int]

    @property
    def parts(self) -> Location:
        return locate(self.folder) / "parts"


def prepare(config: DataConfig, folder: Location) -> mf.Manifest:
    """Make a shard set, or finish one that was interrupted, or return a finished one.

    Args:
        config: The data set; its maps and genome must have passed ``maps.check``.
        folder: Where the shard set goes.

    Raises:
        UserError: The folder belongs to another plan.
    """
    how = layout(config)  # what cannot be cut must not claim the folder
    plan = claim(folder, config)
    if not (folder / mf.MANIFEST).exists():
        mf.write_manifest(folder, _make(config, folder, plan, how))
        sweep(folder)
    remove_tree(folder / "parts")
    return mf.read_manifest(folder)


def _make(config: DataConfig, folder: Location, plan: str, how: Layout) -> mf.Manifest:
    sources = open_sources(config, folder / "derived")
    job = _plan_job(config, folder, sources, how)
    if config.genome:
        _pack_genome(config, folder / mf.GENOME, job.sets)
    units = [{"source": i, "chrom": c} for i, s in enumerate(sources) for c in s.fine.chromsizes]
    parts = _run("cut", "chrom", units, lambda unit: _cut_part(job, unit))
    shards = [{"split": split, "index": i} for split, n in job.num_shards.items() for i in range(n)]
    files = _run("shuffle", "shard", shards, lambda shard: _gather_shard(job, shard))
    return _manifest(job, plan, sources, parts, files)


def _plan_job(config: DataConfig, folder: Location, sources: list[Source], how: Layout) -> _Job:
    sizes = sources[0].fine.chromsizes
    sets = split_sets(read_split(config.split), sizes, grid_of(config))
    lengths = (source.fine.chromsizes for source in sources)
    planned = count_windows(lengths, sets, config.fine_bin_size, how)
    num_shards = {split: max(1, round(n / ROWS_PER_SHARD)) for split, n in planned.items()}
    job = _Job(config, str(folder.resolve()), how, sets, num_shards)
    job.parts.mkdir(exist_ok=True)
    return job


def _pack_genome(config: DataConfig, out: Location, sets: Sets) -> None:
    if out.exists():
        return
    genome = Genome(config.genome)
    needed = dict.fromkeys(region.chrom for region in sets)
    names = genome_names(needed, genome.chromsizes, match_chr=config.match_chr)
    chroms = tqdm(names.items(), desc="pack genome", unit="chrom")
    with replaced(out) as path:
        write_packed(path, {chrom: genome.packed(name) for chrom, name in chroms})


def _run(
    name: str, unit: str, items: list[dict[str, Any]], work: Callable[[dict[str, Any]], Any]
) -> list[dict[str, Any]]:
    """Run one Ray Data task per item, with a progress bar; return what they return, in order."""
    placed = [item | {"place": place} for place, item in enumerate(items)]
    results = ray.data.from_items(placed, override_num_blocks=len(items)).map(
        lambda item: {"place": item["place"], "json": json.dumps(work(item))}
    )
    bar = tqdm(results.iter_rows(), total=len(items), desc=name, unit=unit)
    # Tasks end in any order; sums of floats and the order of shards must not depend on it.
    done = {row["place"]: json.loads(row["json"]) for row in bar}
    return [done[place] for place in range(len(items))]


def _cut_part(job: _Job, unit: dict[str, Any]) -> dict[str, Any]:
    """Cut one chromosome; write its windows grouped by shard, and return what it sums to."""
    source = open_sources(job.config, locate(job.folder) / "derived")[unit["source"]]
    chrom, raw = unit["chrom"], job.config.raw
    # Names of chromosomes may hold what a file's cannot, and lead out of the folder.
    name = f"{source.name}.{quote(chrom, safe='')}"
    part, done = job.parts / f"{name}.parquet", job.parts / f"{name}.json"
    if done.exists():
        record: dict[str, Any] = json.loads(done.read_text())
        return record
    totals = {n: chromosome_total(m, chrom, raw=raw) for n, m in source.maps.items()}
    record = {"source": source.name, "chrom": chrom, "totals": totals, "part": part.name}
    record |= {"groups": [], "rows": {}, "dropped": {}}
    if any(region.chrom == chrom for region in job.sets):
        record |= _write_part(job, source, chrom, part)
    mf.write_json(done, record)
    return record


def _write_part(job: _Job, source: Source, chrom: str, part: Location) -> dict[str, Any]:
    """Write a chromosome's windows, a row group for each set and shard that has any."""
    sets = {region: split for region, split in job.sets.items() if region.chrom == chrom}
    train = [region for region, split in sets.items() if split == "train"]
    chromosome = read_chromosome(source, chrom, job.how, train, raw=job.config.raw)
    size, seed = source.fine.bin_size, job.config.data_seed
    windows = placed_windows(source.name, source.fine.chromsizes, size, sets, job.how, seed)
    share = usable_fraction(windows, chromosome.usable, size, job.how.window)
    kept = windows[share >= job.config.min_usable].sort_values("key")
    names = list(chromosome.levels)
    keyed = schema(names).append(pa.field("key", pa.float64()))
    groups: list[tuple[SplitName, int]] = []
    with replaced(part) as path, pq.ParquetWriter(path, keyed, compression="zstd") as writer:
        for split in dict.fromkeys(sets.values()):
            own = kept[kept["split"] == split]
            for shard, group in own.groupby((own["key"] * job.num_shards[split]).astype(int)):
                rows = cut(source, chrom, chromosome, group, job.how)
                writer.write_table(rows.append_column("key", pa.array(group["key"])))
                groups.append((split, int(shard)))
    planned, rows_of = (table["split"].value_counts() for table in (windows, kept))
    return {
        "dropped": (planned - rows_of.reindex(planned.index, fill_value=0)).to_dict(),
        "rows": rows_of.to_dict(),
        "groups": groups,
        "decays": {
            name: [list(sums.contacts), [int(n) for n in sums.pixels]]
            for name, sums in chromosome.decays.items()
        },
    }


def _gather_shard(job: _Job, shard: dict[str, Any]) -> dict[str, Any]:
    """Collect one shard's row groups from all parts of its split, in the order of their keys."""
    split, index = shard["split"], shard["index"]
    place = locate(job.folder) / f"{split}-{index:05d}.parquet"
    if not place.exists():
        rows = pa.concat_tables(_shard_rows(job, split, index))
        rows = rows.take(pc.sort_indices(rows, [("key", "ascending")])).drop_columns("key")
        rows = rows.replace_schema_metadata({"hicray.schema_version": str(mf.SCHEMA_VERSION)})
        with replaced(place) as path:
            pq.write_table(rows, path, compression="zstd", row_group_size=ROWS_PER_GROUP)
    content = place.read_bytes()
    rows_written = pq.read_metadata(pa.BufferReader(content)).num_rows
    checksum = hashlib.sha256(content).hexdigest()
    return {"file": place.name, "split": split, "rows": rows_written, "sha256": checksum}


def _shard_rows(job: _Job, split: str, index: int) -> Iterator[pa.Table]:
    maps = ["fine", *map(mf.coarse_name, job.config.coarse_bin_sizes)]
    yield schema(maps).append(pa.field("key", pa.float64())).empty_table()
    for note in matching(job.parts, "*.json"):
        record = json.loads(note.read_text())
        if [split, index] in record["groups"]:
            part = pq.ParquetFile(open_file(job.parts / record["part"]))
            yield part.read_row_group(record["groups"].index([split, index]))


def _manifest(
    job: _Job, plan: str, sources: list[Source], parts: list[dict[str, Any]], files: list[Any]
) -> mf.Manifest:
    config = job.config
    if not any(part["rows"].get("train") for part in parts):
        raise UserError(
            f"no training window of {config.window_bins} bins is {config.min_usable:.0%} usable; "
            "take smaller windows, or check the map's weights"
        )
    infos = {s.name: _source_info(config, s, parts, i) for i, s in enumerate(sources)}
    sizes = sources[0].fine.chromsizes
    return mf.Manifest(
        plan=plan,
        fine_bin_size=config.fine_bin_size,
        coarse_bin_sizes=config.coarse_bin_sizes,
        window_bins=config.window_bins,
        diagonal_only=len(job.how.offsets) == 1,
        raw=config.raw,
        eps=mf.EPS,
        splits={region_name(region, sizes): split for region, split in job.sets.items()},
        genome={
            "path": config.genome,
            "fingerprint": fingerprint(config.genome) if config.genome else "",
        },
        sources=infos,
        shards=tuple(mf.ShardFile(**file) for file in files if file["rows"]),
        dropped={
            split: sum(part["dropped"].get(split, 0) for part in parts) for split in SPLIT_NAMES
        },
    )


def _source_info(
    config: DataConfig, source: Source, parts: list[dict[str, Any]], index: int
) -> mf.SourceInfo:
    own = [part for part in parts if part["source"] == source.name]
    reads = {n: sum(p["totals"][n][0] for p in own) for n in source.maps}
    balanced = {n: sum(p["totals"][n][1] for p in own) for n in source.maps}
    scale = {n: reads[n] / balanced[n] if balanced[n] else 1.0 for n in source.maps}
    genome_length = sum(source.fine.chromsizes.values())
    train = [part for part in own if part.get("decays")]
    expected = {}
    for name in source.maps:
        sums = [DecaySums(*map(np.asarray, part["decays"][name])) for part in train]
        total = sum(sums[1:], start=sums[0])
        expected[name] = list(np.nan_to_num(total.expected() * scale[name]))
    return mf.SourceInfo(
        contacts=config.contacts[index],
        fingerprint=fingerprint(config.contacts[index]),
        chromsizes=dict(source.fine.chromsizes),
        total_reads=reads,
        scale=scale,
        caps={name: image_cap(own_reads, genome_length) for name, own_reads in reads.items()},
        expected=expected,
    )
