"""Windows and expected curves of a split by region: sets a window apart, nothing learnt beyond."""

from dataclasses import replace
from itertools import product

import cooler
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hicray.config import DataConfig
from hicray.maps.bins import parse_split
from hicray.maps.expected import smoothed
from hicray.maps.split import grid_of, split_sets
from hicray.windows.collate import Collate
from hicray.windows.dna import elsewhere, has_elsewhere
from hicray.windows.enough import most_windows
from hicray.windows.manifest import GENOME
from hicray.windows.plan import chromosome_windows, layout_of
from hicray.windows.shards import prepare
from tests.shared_data import shared_data, write_poisson

BIN, SIDE = 100, 32
CONFIG = DataConfig(fine_bin_size=BIN, coarse_bin_sizes=(2 * BIN, 4 * BIN), window_bins=SIDE)
CHROM_BINS = {"a": 640, "b": 90}


def windows_of(config, sizes):
    """Every window as (set, chromosome, row_start, col_start)."""
    layout = layout_of(config)
    sets = split_sets(parse_split(config.split), sizes, grid_of(config))
    return [
        (split, region.chrom, int(row), int(col))
        for region, split in sets.items()
        for row, col in chromosome_windows(
            sizes[region.chrom], config.fine_bin_size, split, layout, region
        ).itertuples(index=False)
    ]


def apart(one, other, length):
    """Between the nearest bases of two windows; negative where they share some."""
    starts = product(one[2:], other[2:])
    return min(max(a, b) - min(a, b) - length for a, b in starts)


@settings(deadline=None, max_examples=60)
@given(
    st.tuples(
        st.integers(0, 12_000),
        st.integers(4_000, 9_000),
        st.integers(SIDE * BIN, 14_000),
        st.integers(4_000, 12_000),
        st.integers(0, 12_000),
    ),
    st.sampled_from([0, SIDE * BIN]),
)
def test_no_two_windows_of_different_sets_come_nearer_than_a_window(pieces, distance):
    first, second, third, fourth, length = np.cumsum(pieces).tolist()
    config = replace(
        CONFIG, split=f"val=a:{first}-{second};test=a:{third}-{fourth}", max_distance=distance
    )
    windows = windows_of(config, {"a": length})
    named = {"val": (first, second), "test": (third, fourth)}
    assert {"val", "test"} <= {split for split, *_ in windows}
    for split, _, *starts in windows:
        assert not any(start % (4 * BIN) for start in starts)
        low, high = named.get(split, (0, length))
        assert all(start >= low for start in starts)
        assert high == length or all(start + SIDE * BIN <= high for start in starts)
    for one, other in product(windows, windows):
        if one[0] != other[0]:
            assert apart(one, other, SIDE * BIN) >= SIDE * BIN


def test_a_region_holds_as_many_windows_as_fit_and_none_that_leaves_it():
    config = replace(CONFIG, split="val=a:2k-15k;test=a:20k-30k", train_stride_bins=8)
    windows = windows_of(config, {"a": 64_000})
    rows = {s: [row for one, _, row, _ in windows if one == s] for s in ("train", "val", "test")}
    assert rows["val"] == [2_000, 5_200, 8_400, 11_600]
    assert rows["test"] == [20_000, 23_200, 26_400]
    # From 30,000 + 3,200 on: the last one runs past the end; between val and test nothing fits.
    assert rows["train"] == [33_200 + 800 * i for i in range(36)]
    assert rows["train"][-1] == 61_200
    assert rows["train"][-2] + 3_200 < 64_000 <= rows["train"][-1] + 3_200


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    path = tmp_path_factory.mktemp("regions") / "map.mcool"
    write_poisson(path, CHROM_BINS, (BIN, 2 * BIN, 4 * BIN), lambda apart: 60 / (1 + apart))
    split = "val=a:20k-26k;test=b,a:40k-44k"
    return replace(CONFIG, contacts=(str(path),), split=split, raw=True)


@pytest.fixture(scope="module")
def prepared(config, local_ray, tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    return folder, prepare(config, folder)


def rows_of(folder, manifest, split):
    tables = [pq.read_table(folder / shard.file) for shard in manifest.files(split)]
    return pa.concat_tables(tables)


@pytest.mark.ray
def test_shards_hold_each_sets_windows_and_no_genome(config, prepared):
    folder, manifest = prepared
    planned = windows_of(config, {c: n * BIN for c, n in CHROM_BINS.items()})
    for split in ("train", "val", "test"):
        table = rows_of(folder, manifest, split)
        found = list(zip(*(table[c].to_pylist() for c in ("chrom", "row_start")), strict=True))
        wanted = [(chrom, row) for one, chrom, row, _ in planned if one == split]
        assert len(found) + manifest.dropped[split] == len(wanted)
        assert set(found) <= set(wanted)
        assert len(set(found)) == len(found)
    assert manifest.num_windows("train") + manifest.dropped["train"] == most_windows(config)
    assert not (folder / GENOME).exists()
    assert manifest.genome == {"path": "", "fingerprint": ""}
    assert dict(manifest.splits) == {
        "a:0-16800": "train", "a:20000-26000": "val", "a:29200-36800": "train",
        "a:40000-44000": "test", "a:47200-64000": "train", "b": "test",
    }  # fmt: skip


@pytest.mark.ray
def test_what_is_held_out_lies_in_the_same_order_whatever_the_training_stride(
    config, prepared, tmp_path
):
    folder, manifest = prepared
    closer = prepare(replace(config, train_stride_bins=4), tmp_path)
    assert closer.num_windows("train") > manifest.num_windows("train")
    for split in ("val", "test"):
        one, other = rows_of(folder, manifest, split), rows_of(tmp_path, closer, split)
        columns = ["chrom", "row_start", "fine_counts"]  # weights past an end are NaN
        assert one.select(columns) == other.select(columns)


@pytest.mark.ray
@pytest.mark.parametrize(("name", "factor"), [("fine", 1), ("coarse_200", 2), ("coarse_400", 4)])
def test_expected_is_the_mean_of_pixels_with_both_ends_in_one_training_region(
    config, prepared, name, factor
):
    _, manifest = prepared
    (info,) = manifest.sources.values()
    size = factor * BIN
    cool = cooler.Cooler(f"{config.contacts[0]}::/resolutions/{size}")
    counts = cool.matrix(balance=False).fetch("a")
    separations = 32 // factor
    inside = np.zeros_like(counts, dtype=bool)
    for start, end in ((0, 16_800), (29_200, 36_800), (47_200, 64_000)):
        inside[start // size : end // size, start // size : end // size] = True
    contacts, pixels = [], []
    for s in range(separations):
        kept = inside.diagonal(s)
        contacts.append(counts.diagonal(s)[kept].sum())
        pixels.append(kept.sum())
    curve = smoothed(np.array(contacts), np.array(pixels))
    np.testing.assert_allclose(info.curve(name), curve, rtol=1e-9)


@pytest.mark.ray
def test_windows_are_grouped_by_chromosome_whatever_their_region(prepared):
    folder, manifest = prepared
    collate = Collate(manifest, 2 * BIN)
    assert collate.groups == [("map", "a"), ("map", "b")]
    table = rows_of(folder, manifest, "test")
    groups = collate.compact(table)["group"].tolist()
    assert groups == [["a", "b"].index(chrom) for chrom in table["chrom"].to_pylist()]
    assert set(groups) == {0, 1}
    assert len(collate.fine_expected) == 2


@pytest.mark.ray
def test_another_locus_lies_whole_in_a_region_of_the_same_set(config, prepared):
    _, manifest = prepared
    assert [has_elsewhere(manifest, split) for split in ("train", "val", "test")] == [
        True, False, True
    ]  # fmt: skip
    moved = 0
    for split, chrom, start, _ in windows_of(config, manifest.chromsizes):
        there, first = elsewhere(manifest, chrom, start)
        assert any(
            there == one.chrom and one.start <= first and first + SIDE * BIN <= one.end
            for one in manifest.regions_of(split)
        )
        moved += (there, first) != (chrom, start)
    assert moved


@pytest.mark.ray
def test_an_arm_without_a_sequence_is_cut_by_region(local_ray, tmp_path):
    config = DataConfig(
        contacts=(str(shared_data("fly_2L/s2_dm6_2L.mcool")),),
        fine_bin_size=10_000,
        coarse_bin_sizes=(20_000, 40_000),
        window_bins=64,
        split="val=2L:0-3M;test=2L:18M-23M",
    )
    manifest = prepare(config, tmp_path)
    length, rows = 64 * 10_000, {}
    for split in ("train", "val", "test"):
        table = rows_of(tmp_path, manifest, split)
        assert table["row_start"] == table["col_start"]
        rows[split] = np.sort(table["row_start"].to_numpy())
    assert rows["val"].tolist() == [length * i for i in range(4)]
    assert rows["test"].tolist() == [18_000_000 + length * i for i in range(7)]
    assert rows["train"][0] == 3_000_000 + length
    assert rows["train"][-1] + 2 * length <= 18_000_000
    assert np.diff(rows["train"]).tolist() == [length // 4] * 81
    assert not (tmp_path / GENOME).exists()
