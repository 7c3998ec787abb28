import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import cooler
import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pyfaidx
import pytest
import ray

from hicray.config import DataConfig, UserError
from hicray.maps.contacts import open_map
from hicray.maps.expected import smoothed
from hicray.maps.genome import read_packed, unpack
from hicray.maps.thin import derive
from hicray.windows.claim import plan_digest
from hicray.windows.manifest import GENOME, MANIFEST, PLAN, read_manifest
from hicray.windows.shards import prepare

pytestmark = pytest.mark.ray
BIN, WINDOW = 128, 64
SPLIT = {f"chr{n}": "train" for n in range(1, 5)} | {"chr5": "val", "chr6": "test"}
FACTORS = {"fine": 1, "coarse_256": 2, "coarse_512": 4}
PREPARE = """
import json, sys
from pathlib import Path
from hicray.cluster import connection
from hicray.config import DataConfig
from hicray.windows.shards import prepare

fields = {k: tuple(v) if isinstance(v, list) else v for k, v in json.loads(sys.argv[1]).items()}
connection.connect()
prepare(DataConfig(**fields), Path(sys.argv[2]))
"""


@pytest.fixture(scope="module")
def config(tiny_simulation, tmp_path_factory):
    """A map of which some bins are unusable: all of a training window's, and here and there."""
    path = tmp_path_factory.mktemp("maps") / "map.mcool"
    shutil.copy(tiny_simulation.contacts[0], path)
    offset = cooler.Cooler(f"{path}::/resolutions/128").offset("chr2")
    with h5py.File(path, "r+") as file:
        weights = file["resolutions/128/bins/weight"]
        weights[offset : offset + 30] = np.nan
        weights[offset + 150] = np.nan
    return DataConfig(
        contacts=(str(path),),
        genome=str(tiny_simulation.genome),
        fine_bin_size=BIN,
        coarse_bin_sizes=(256, 512),
        split="val=chr5;test=chr6",
        window_bins=WINDOW,
    )


@pytest.fixture(scope="module")
def folder(config, local_ray, tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    prepare(config, folder)
    return folder


@pytest.fixture(scope="module")
def manifest(folder):
    return read_manifest(folder)


def contents(folder):
    """Everything in a folder, byte for byte; of the packed genome its rows."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def loci(folder, shards):
    rows = pa.concat_tables(pq.read_table(folder / shard.file) for shard in shards)
    return [tuple(row.values()) for row in rows.select(["chrom", "row_start"]).to_pylist()]


def planned(path, chrom, split):
    """Starts of the windows of which enough bins are usable, one window at a time."""
    usable = np.isfinite(cooler.Cooler(f"{path}::/resolutions/128").bins().fetch(chrom)["weight"])
    for level in ("256", "512"):
        clr = cooler.Cooler(f"{path}::/resolutions/{level}")
        own = np.isfinite(clr.bins().fetch(chrom)["weight"])
        usable = usable.to_numpy() & np.repeat(own, int(level) // BIN)[: len(usable)]
        usable = pd.Series(usable)
    start, kept, dropped = 0, [], 0
    while True:
        if sum(usable[start : start + WINDOW]) >= 0.7 * WINDOW:
            kept.append((chrom, start * BIN))
        else:
            dropped += 1
        if start + WINDOW >= len(usable):
            return kept, dropped
        start += WINDOW // 4 if split == "train" else WINDOW


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_every_planned_usable_window_is_written_once(config, folder, manifest, split):
    plans = [planned(config.contacts[0], c, split) for c, own in SPLIT.items() if own == split]
    expected = [locus for kept, _ in plans for locus in kept]
    found = loci(folder, manifest.files(split))
    assert sorted(found) == sorted(expected)
    assert manifest.num_windows(split) == len(expected)
    assert manifest.dropped[split] == sum(dropped for _, dropped in plans)


def test_some_windows_are_left_out_for_their_unusable_bins(folder, manifest):
    kept = {
        start // BIN for chrom, start in loci(folder, manifest.files("train")) if chrom == "chr2"
    }
    assert kept == {16, 32, 48, 64, 80, 96, 112, 128, 144}
    assert manifest.dropped["train"] >= 2


def test_no_test_chromosome_is_in_training_shards(folder, manifest):
    for split in ("train", "val", "test"):
        chroms = {chrom for chrom, _ in loci(folder, manifest.files(split))}
        assert chroms == {chrom for chrom, own in SPLIT.items() if own == split}


def test_windows_are_written_in_random_order(folder, manifest):
    found = loci(folder, manifest.files("train"))
    chroms = [chrom for chrom, _ in found]
    changes = sum(a != b for a, b in pairwise(chroms))
    assert changes > len(chroms) / 2
    assert found != sorted(found)


def test_manifest_counts_and_checksums_are_right(folder, manifest):
    assert {shard.split for shard in manifest.shards} == {"train", "val", "test"}
    assert {path.name for path in folder.glob("*-*.parquet")} == {s.file for s in manifest.shards}
    for shard in manifest.shards:
        path = folder / shard.file
        assert hashlib.sha256(path.read_bytes()).hexdigest() == shard.sha256
        assert pq.read_metadata(path).num_rows == shard.rows


def test_a_finished_folder_holds_nothing_unfinished(folder):
    assert not [path for path in folder.rglob("*") if "unfinished" in path.name]
    assert not (folder / "parts").exists()


def test_shards_are_plain_parquet_with_a_schema_version(folder, manifest):
    for shard in manifest.shards:
        file = pq.ParquetFile(folder / shard.file)
        schema = file.schema_arrow
        assert schema.metadata[b"hicray.schema_version"] == b"2"
        assert str(schema.field("fine_counts").type) == "list<element: int32>"
        assert str(schema.field("coarse_512_row_weights").type) == "list<element: float>"
        assert str(schema.field("row_start").type) == "int64"
        assert file.metadata.row_group(0).column(0).compression == "ZSTD"
        groups = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
        assert max(groups) <= 16


def dense(path, factor, chrom, balance):
    clr = cooler.Cooler(f"{path}::/resolutions/{BIN * factor}")
    return np.triu(clr.matrix(balance=balance).fetch(chrom))


def test_scales_bring_balanced_sums_to_raw_sums(config, manifest):
    info = manifest.sources["map"]
    for name, factor in FACTORS.items():
        raw, balanced = (
            sum(np.nansum(dense(config.contacts[0], factor, chrom, balance)) for chrom in SPLIT)
            for balance in (False, True)
        )
        assert info.total_reads[name] == raw
        assert info.scale[name] == pytest.approx(raw / balanced)


def test_expected_is_the_mean_by_separation_over_training_chromosomes(config, manifest):
    info = manifest.sources["map"]
    for name, factor in FACTORS.items():
        maps = [
            dense(config.contacts[0], factor, chrom, balance=True)
            for chrom, split in SPLIT.items()
            if split == "train"
        ]
        by = [
            np.concatenate([np.diagonal(one, s) for one in maps]) for s in range(WINDOW // factor)
        ]
        sums, pixels = np.transpose([(np.nansum(x), np.isfinite(x).sum()) for x in by])
        np.testing.assert_allclose(info.curve(name), smoothed(sums, pixels) * info.scale[name])


def test_a_map_of_more_than_a_read_per_base_is_not_capped(manifest):
    info = manifest.sources["map"]
    assert info.total_reads["coarse_256"] > sum(info.chromsizes.values())
    assert info.caps == {"fine": None, "coarse_256": None, "coarse_512": None}


def test_the_packed_genome_is_the_fasta(config, folder):
    fasta, packed = pyfaidx.Fasta(config.genome), read_packed(folder / GENOME)
    assert list(packed) == list(SPLIT)
    for chrom in SPLIT:
        bases = str(fasta[chrom][:]).upper()
        codes = unpack(packed[chrom], 0, len(bases))
        assert "".join("ACGTN"[code] for code in codes) == bases


def test_preparing_twice_gives_the_same_bytes(config, folder, local_ray, tmp_path):
    prepare(config, tmp_path)
    assert contents(tmp_path) == contents(folder)


def test_another_seed_writes_the_same_windows_in_another_order(config, folder, tmp_path):
    other = prepare(replace(config, data_seed=1), tmp_path)
    first, second = (
        loci(folder, read_manifest(folder).files("train")),
        loci(tmp_path, other.files("train")),
    )
    assert first != second
    assert sorted(first) == sorted(second)


def test_a_finished_folder_is_taken_as_it_is(config, folder, manifest):
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir() if path.name != PLAN}
    assert prepare(config, folder) == manifest
    after = {path: path.stat().st_mtime_ns for path in folder.iterdir() if path.name != PLAN}
    assert before == after


def tasks():
    """Process ids of Ray workers that are at a task of a preparation."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(FileNotFoundError, ProcessLookupError):
            if path.read_bytes().startswith(b"ray::Map("):
                found.add(int(path.parent.name))
    return found


def wait_for(condition, seconds=200):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="finds processes in /proc")
def test_a_killed_preparation_is_finished_with_the_same_bytes(config, folder, tmp_path):
    command = [sys.executable, "-c", PREPARE, json.dumps(vars(config)), str(tmp_path)]
    environment = os.environ | {"RAY_ADDRESS": ray.get_runtime_context().gcs_address}
    others = tasks()
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
        wait_for(lambda: [*tmp_path.glob("parts/*.json")] or process.poll() is not None)
        process.kill()
    wait_for(lambda: not tasks() - others)
    assert not (tmp_path / MANIFEST).exists()
    there = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.parquet")}
    assert there
    prepare(config, tmp_path)
    assert contents(tmp_path) == contents(folder)
    assert there == {name: (tmp_path / name).stat().st_mtime_ns for name in there}


def test_what_an_interrupted_preparation_left_is_kept_and_the_rest_made(config, folder, tmp_path):
    """As after a kill while shards were gathered: some are there, one is half written."""
    for name in (GENOME, PLAN, "val-00000.parquet"):
        shutil.copy(folder / name, tmp_path)
    half = (folder / "train-00000.parquet").read_bytes()[:1_000]
    (tmp_path / "train-00000.unfinished").write_bytes(half)
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "map.chr1.parquet").write_bytes(half)
    kept = (tmp_path / "val-00000.parquet").stat().st_mtime_ns
    prepare(config, tmp_path)
    assert contents(tmp_path) == contents(folder)
    assert (tmp_path / "val-00000.parquet").stat().st_mtime_ns == kept
    assert not (tmp_path / "parts").exists()


def test_parts_left_beside_a_manifest_are_cleared(config, folder, manifest):
    (folder / "parts").mkdir()
    (folder / "parts" / "map.chr1.json").write_text("{}")
    assert prepare(config, folder) == manifest
    assert not (folder / "parts").exists()


def test_a_folder_of_another_plan_is_refused_and_left_as_it_was(config, folder):
    before = contents(folder)
    with pytest.raises(UserError, match="another plan"):
        prepare(replace(config, data_seed=1), folder)
    assert contents(folder) == before


def test_a_map_or_genome_that_changed_is_another_plan(config, tmp_path):
    contacts = shutil.copy(config.contacts[0], tmp_path / "map.mcool")
    genome = shutil.copy(config.genome, tmp_path / "genome.fa")
    own = replace(config, contacts=(str(contacts),), genome=str(genome))
    plans = {plan_digest(own)}
    with h5py.File(contacts, "r+") as file:
        file["resolutions/128/bins/weight"][3] = np.nan
    plans.add(plan_digest(own))
    genome.write_text(genome.read_text().replace("A", "C", 1))
    plans.add(plan_digest(own))
    assert len(plans) == 3


def test_files_that_moved_are_the_same_plan_and_another_map_of_a_file_is_not(config, tmp_path):
    contacts = shutil.copy(config.contacts[0], tmp_path / "map.mcool")
    genome = shutil.copy(config.genome, tmp_path / "genome.fa")
    moved = replace(config, contacts=(str(contacts),), genome=str(genome))
    assert plan_digest(moved) == plan_digest(config)
    first, second = (replace(moved, contacts=(f"{contacts}::/{name}",)) for name in "ab")
    assert plan_digest(first) != plan_digest(second)


def test_sizes_that_do_not_fit_do_not_claim_the_folder(config, tmp_path):
    with pytest.raises(UserError, match="multiple of 16"):
        prepare(replace(config, window_bins=50), tmp_path / "shards")
    assert not (tmp_path / "shards").exists()


def test_a_set_without_training_windows_is_refused(config, local_ray, tmp_path):
    with pytest.raises(UserError, match="no training window of 512 bins is 70% usable"):
        prepare(replace(config, window_bins=512), tmp_path)
    assert not (tmp_path / MANIFEST).exists()


def test_several_maps_share_one_set(config, tiny_simulation, local_ray, tmp_path):
    fine = open_map(config.contacts[0], BIN)
    other = tmp_path / "other.mcool"
    derive(fine, (256, 512), other, keep=0.5, side="kept")
    both = replace(config, contacts=(*config.contacts, str(other)))
    manifest = prepare(both, tmp_path / "shards")
    assert list(manifest.sources) == ["map", "other"]
    table = pq.read_table(tmp_path / "shards" / manifest.files("test")[0].file)
    rows = table.to_pylist()
    assert sorted((row["source"], row["row_start"]) for row in rows) == [
        (source, start * BIN) for source in ("map", "other") for start in (0, 64, 128)
    ]
    for row in rows:
        path = config.contacts[0] if row["source"] == "map" else other
        start = row["row_start"] // BIN
        block = dense(path, 1, "chr6", balance=False)[
            start : start + WINDOW, start : start + WINDOW
        ]
        padded = np.pad(block, ((0, WINDOW - len(block)), (0, WINDOW - len(block))))
        assert row["fine_counts"] == padded[np.triu_indices(WINDOW)].tolist()
    for name, path in (("map", config.contacts[0]), ("other", other)):
        reads = sum(dense(path, 1, chrom, balance=False).sum() for chrom in SPLIT)
        assert manifest.sources[name].total_reads["fine"] == reads


@pytest.mark.parametrize("disjoint", [False, True])
def test_thinned_inputs_of_the_fine_bin_size_are_prepared(config, local_ray, tmp_path, disjoint):
    thinned = replace(
        config,
        coarse_bin_sizes=(BIN, 512),
        coarse_keep=0.3,
        disjoint_reads=disjoint,
        split="train=chr1;val=chr5;test=chr6",
    )
    manifest = prepare(thinned, tmp_path)
    info, whole = manifest.sources["map"], dense(config.contacts[0], 1, "chr6", balance=False)
    for row in pq.read_table(tmp_path / manifest.files("test")[0].file).to_pylist():
        start = row["row_start"] // BIN
        block = whole[start : start + WINDOW, start : start + WINDOW]
        padded = np.pad(block, ((0, WINDOW - len(block)), (0, WINDOW - len(block))))
        reads = padded[np.triu_indices(WINDOW)]
        fine, coarse = np.array(row["fine_counts"]), np.array(row["coarse_128_counts"])
        np.testing.assert_array_equal(fine + coarse if disjoint else fine, reads)
        assert (coarse <= reads).all()
    assert info.total_reads["coarse_128"] == info.total_reads["coarse_512"]
    assert info.caps["coarse_128"] is None
    total = info.total_reads["fine"] + disjoint * info.total_reads["coarse_128"]
    assert info.total_reads["coarse_128"] / total == pytest.approx(0.3, rel=0.01)


def test_a_missing_level_is_made_and_raw_counts_need_no_weights(
    config, tiny_simulation, local_ray, tmp_path
):
    path = tmp_path / "map.mcool"
    shutil.copy(tiny_simulation.contacts[0], path)
    with h5py.File(path, "r+") as file:
        for level in file["resolutions"].values():
            del level["bins/weight"]
    own = replace(config, contacts=(str(path),), coarse_bin_sizes=(384,), window_bins=48, raw=True)
    manifest = prepare(own, tmp_path / "shards")
    info = manifest.sources["map"]
    assert manifest.raw
    assert info.scale == {"fine": 1.0, "coarse_384": 1.0}
    assert info.total_reads["fine"] == info.total_reads["coarse_384"]
    row = pq.read_table(tmp_path / "shards" / manifest.files("val")[0].file).to_pylist()[0]
    start, side = row["row_start"] // BIN, 16
    upper = np.pad(dense(path, 1, "chr5", balance=False), (0, 48))
    summed = [
        upper[start + 3 * i : start + 3 * i + 3, start + 3 * j : start + 3 * j + 3].sum()
        for i in range(side)
        for j in range(i, side)
    ]
    assert row["coarse_384_counts"] == summed
