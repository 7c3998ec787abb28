"""The Ray Data job: maps and a genome to globally shuffled parquet shards, manifest last.

    chromosome tasks:  band -> windows -> parts/<unit>.parquet   row groups of one shard each
    shard tasks:       the groups of shard k of every part, sorted by key -> train-00k.parquet

A window's place is a random key drawn from (seed, source, region), so that any task can be done
at any time, in any order, on any node, and the same plan gives the same rows. Finished
parts and shards are kept when an interrupted job runs again.
"""

import hashlib
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import ray.data

from hicray.config import DataConfig, UserError
from hicray.io.copies import fingerprint
from hicray.io.progress import tqdm
from hicray.io.storage import Location, locate, remove_leftovers, remove_tree, replaced
from hicray.maps.bins import SPLIT_NAMES, read_split
from hicray.maps.features import DecaySums
from hicray.maps.genome import Genome, write_packed
from hicray.maps.names import genome_names
from hicray.maps.split import Sets, grid_of, region_name, split_sets
from hicray.maps.totals import Sums
from hicray.windows import manifest as mf
from hicray.windows.claim import ROWS_PER_SHARD, claim
from hicray.windows.parts import Job, cut_part, keyed_schema, shard_rows, units_of
from hicray.windows.plan import Layout, count_windows, layout_of
from hicray.windows.sources import Source, open_sources

ROWS_PER_GROUP = 16
"""Small row groups, so that Ray's reader can deal one shard to many tasks."""


def prepare(config: DataConfig, folder: Location) -> mf.Manifest:
    """Make a shard set, or finish one that was interrupted, or return a finished one.

    Args:
        config: The data set; its maps and genome must have passed ``maps.check``.
        folder: Where the shard set goes.

    Raises:
        UserError: The folder belongs to another plan.
    """
    layout = layout_of(config)  # what cannot be cut must not claim the folder
    plan = claim(folder, config)
    if not (folder / mf.MANIFEST).exists():
        mf.write_manifest(folder, _make(config, folder, plan, layout))
        remove_leftovers(folder)
    remove_tree(folder / "parts")
    return mf.read_manifest(folder)


def _make(config: DataConfig, folder: Location, plan: str, layout: Layout) -> mf.Manifest:
    sources = open_sources(config, folder / "derived")
    job = _plan_job(config, folder, sources, layout)
    if config.genome:
        _pack_genome(config, folder / mf.GENOME, job.sets)
    units = [{"unit": unit} for unit in range(len(job.units))]
    parts = _run("cut", "unit", units, lambda item: cut_part(job, item["unit"]))
    shards = [{"split": split, "index": i} for split, n in job.num_shards.items() for i in range(n)]
    files = _run("shuffle", "shard", shards, lambda shard: _gather_shard(job, shard))
    return _manifest(job, plan, sources, parts, files)


def _plan_job(config: DataConfig, folder: Location, sources: list[Source], layout: Layout) -> Job:
    sizes = sources[0].fine.chromsizes
    sets = split_sets(read_split(config.split), sizes, grid_of(config))
    lengths = (source.fine.chromsizes for source in sources)
    planned = count_windows(lengths, sets, config.fine_bin_size, layout)
    # By planned windows: what turns out too little usable makes shards smaller, not fewer.
    num_shards = {split: max(1, round(n / ROWS_PER_SHARD)) for split, n in planned.items()}
    units = [
        unit
        for i, source in enumerate(sources)
        for unit in units_of(i, source.fine.chromsizes, source.fine.bin_size)
    ]
    job = Job(config, str(folder.resolve()), layout, sources, sets, num_shards, units)
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
    ordered = [item | {"order": order} for order, item in enumerate(items)]
    # A block for each item, so that each is a task of its own.
    results = ray.data.from_items(ordered, override_num_blocks=len(items)).map(
        lambda item: {"order": item["order"], "json": json.dumps(work(item))}
    )
    bar = tqdm(results.iter_rows(), total=len(items), desc=name, unit=unit)
    # Tasks end in any order; sums of floats and the order of shards must not depend on it.
    done = {row["order"]: json.loads(row["json"]) for row in bar}
    return [done[order] for order in range(len(items))]


def _gather_shard(job: Job, shard: dict[str, Any]) -> dict[str, Any]:
    """Collect one shard's row groups from all parts of its split, in the order of their keys."""
    split, index = shard["split"], shard["index"]
    target = locate(job.folder) / f"{split}-{index:05d}.parquet"
    if not target.exists():
        # Which brings the columns to a shard that has no rows.
        none = keyed_schema(list(job.sources[0].maps)).empty_table()
        rows = pa.concat_tables([none, *shard_rows(job, split, index)])
        rows = rows.take(pc.sort_indices(rows, [("key", "ascending")])).drop_columns("key")
        rows = rows.replace_schema_metadata({"hicray.schema_version": str(mf.SCHEMA_VERSION)})
        with replaced(target) as path:
            pq.write_table(rows, path, compression="zstd", row_group_size=ROWS_PER_GROUP)
    # Read back rather than remembered: an interrupted job may have written it.
    content = target.read_bytes()
    rows_written = pq.read_metadata(pa.BufferReader(content)).num_rows
    checksum = hashlib.sha256(content).hexdigest()
    return {"file": target.name, "split": split, "rows": rows_written, "sha256": checksum}


def _manifest(
    job: Job, plan: str, sources: list[Source], parts: list[dict[str, Any]], files: list[Any]
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
        diagonal_only=len(job.layout.offsets) == 1,
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
    own_parts = [part for part in parts if part["source"] == source.name]
    totals = {n: sum((Sums(*p["totals"][n]) for p in own_parts), Sums(0, 0)) for n in source.maps}
    reads = {name: int(total.reads) for name, total in totals.items()}
    scale = {name: total.reads_per_balanced for name, total in totals.items()}
    genome_length = sum(source.fine.chromsizes.values())
    train = [part for part in own_parts if part.get("decays")]
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
        caps={name: mf.image_cap(total, genome_length) for name, total in reads.items()},
        expected=expected,
    )
