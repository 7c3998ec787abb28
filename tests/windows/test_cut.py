import shutil
from dataclasses import replace

import cooler
import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hicray.config import DataConfig
from hicray.windows.cut import cut, read_chromosome, unit_weights
from hicray.windows.plan import chromosome_windows, layout_of
from hicray.windows.sources import open_sources
from tests.shared_data import shared_data

BIN, WINDOW = 128, 64
LEVELS = {"fine": 1, "coarse_256": 2, "coarse_512": 4}


@pytest.fixture(scope="module")
def contacts(tiny_simulation, tmp_path_factory):
    """A copy of the simulated map with bins that are unusable at one level only."""
    path = shutil.copy(tiny_simulation.contacts[0], tmp_path_factory.mktemp("cut") / "map.mcool")
    with h5py.File(path, "r+") as file:
        file["resolutions/128/bins/weight"][[7, 90, 198]] = np.nan
        file["resolutions/512/bins/weight"][[10]] = np.nan
    return path


@pytest.fixture(scope="module")
def config(contacts):
    return DataConfig(
        contacts=(str(contacts),),
        fine_bin_size=BIN,
        coarse_bin_sizes=(256, 512),
        window_bins=WINDOW,
        max_distance=2 * WINDOW * BIN,
    )


def rows_of(config, chrom, tmp_path, split="train"):
    """Cut all windows of a chromosome, and return them with the bands and weights behind them."""
    (source,) = open_sources(config, tmp_path)
    layout = layout_of(config)
    chromosome = read_chromosome(source, chrom, layout, raw=config.raw)
    windows = chromosome_windows(source.fine.chromsizes[chrom], config.fine_bin_size, split, layout)
    return cut(source, chrom, chromosome, windows, layout).to_pylist(), chromosome


def dense(path, bin_size, chrom):
    """Cooler's own counts of a chromosome, with empty bins after its end."""
    matrix = cooler.Cooler(f"{path}::/resolutions/{bin_size}").matrix(balance=False).fetch(chrom)
    return np.pad(matrix, (0, 4 * WINDOW))


def own_weights(path, bin_size, chrom):
    bins = cooler.Cooler(f"{path}::/resolutions/{bin_size}").bins().fetch(chrom)
    return bins["weight"].to_numpy()


def pixels(matrix, row, col, side):
    """The pixels that a row holds of a window: each pair once."""
    block = matrix[row : row + side, col : col + side]
    if row != col:
        return [int(block[i, j]) for i in range(side) for j in range(side)]
    return [int(block[i, j]) for i in range(side) for j in range(i, side)]


@pytest.mark.parametrize("chrom", ["chr1", "chr3"])
@pytest.mark.parametrize("split", ["train", "val"])
def test_counts_are_the_files_own_at_every_level(config, contacts, tmp_path, chrom, split):
    rows, _ = rows_of(config, chrom, tmp_path, split)
    assert {(row["col_start"] - row["row_start"]) // BIN for row in rows} == {0, 64, 128}
    for name, factor in LEVELS.items():
        matrix = dense(contacts, BIN * factor, chrom)
        for row in rows:
            start, end = (row[f"{axis}_start"] // (BIN * factor) for axis in ("row", "col"))
            assert row[f"{name}_counts"] == pixels(matrix, start, end, WINDOW // factor)


@pytest.mark.parametrize("factor", [2, 4])
def test_coarse_counts_are_block_sums_of_the_fine_upper_triangle(
    config, contacts, tmp_path, factor
):
    upper = np.triu(dense(contacts, BIN, "chr3"))
    side = WINDOW // factor
    rows, _ = rows_of(config, "chr3", tmp_path)
    for row in rows:
        start, end = row["row_start"] // BIN, row["col_start"] // BIN
        summed = np.zeros((side, side), dtype=int)
        for i in range(side):
            for j in range(side):
                low, left = start + i * factor, end + j * factor
                summed[i, j] = upper[low : low + factor, left : left + factor].sum()
        on_diagonal = start == end
        kept = [summed[i, j] for i in range(side) for j in range(i if on_diagonal else 0, side)]
        assert row[f"coarse_{BIN * factor}_counts"] == kept


def test_weights_are_the_files_own_and_nan_past_the_end(config, contacts, tmp_path):
    rows, _ = rows_of(config, "chr1", tmp_path)
    own = {
        name: np.pad(own_weights(contacts, BIN * factor, "chr1"), (0, 200), constant_values=np.nan)
        for name, factor in LEVELS.items()
    }
    for b in range(200):
        if not all(np.isfinite(own[name][b // factor]) for name, factor in LEVELS.items()):
            own["fine"][b] = np.nan
    assert np.isnan(own["fine"][[7, 90, 198, 40, 41, 42, 43]]).all()
    for name, factor in LEVELS.items():
        for row in rows:
            for axis in ("row", "col"):
                first = row[f"{axis}_start"] // (BIN * factor)
                expected = own[name][first : first + WINDOW // factor].astype(np.float32)
                np.testing.assert_array_equal(row[f"{name}_{axis}_weights"], expected)


def test_usable_bins_are_usable_at_every_level(config, tmp_path):
    _, chromosome = rows_of(config, "chr1", tmp_path)
    assert not chromosome.usable[[7, 90, 198, 40, 41, 42, 43]].any()
    assert len(chromosome.usable) == 200
    fine = chromosome.levels["fine"].weights[:200]
    np.testing.assert_array_equal(np.isfinite(fine), chromosome.usable)


def test_the_last_window_tells_how_many_bins_exist(config, tmp_path):
    rows, _ = rows_of(config, "chr3", tmp_path)
    for row in rows:
        for axis, count in (("row", "num_rows"), ("col", "num_cols")):
            first = row[f"{axis}_start"] // BIN
            assert row[count] == sum(first <= b < first + WINDOW for b in range(199))
    assert {row["num_rows"] for row in rows} == {64, 55}


def test_the_same_pixel_is_equal_in_overlapping_windows(config, tmp_path):
    thinned = replace(config, coarse_bin_sizes=(BIN, 512), coarse_keep=0.3, disjoint_reads=True)
    rows, _ = rows_of(thinned, "chr1", tmp_path)
    seen = {}
    for name, factor in (("fine", 1), ("coarse_128", 1), ("coarse_512", 4)):
        side = WINDOW // factor
        for row in rows:
            start, end = (row[f"{axis}_start"] // (BIN * factor) for axis in ("row", "col"))
            corners = [
                (start + i, end + j)
                for i in range(side)
                for j in range(i if start == end else 0, side)
            ]
            for pixel, count in zip(corners, row[f"{name}_counts"], strict=True):
                assert seen.setdefault((name, pixel), count) == count
    assert len(seen) > 200 * 128


def test_raw_bins_weigh_one_where_anything_was_read(config, tmp_path):
    _, chromosome = rows_of(replace(config, raw=True), "chr3", tmp_path)
    for level in chromosome.levels.values():
        assert set(level.weights[np.isfinite(level.weights)]) == {1.0}
    assert chromosome.usable.all()


@settings(deadline=None, max_examples=50)
@given(arrays(np.int32, (9, 4), elements=st.integers(0, 1)))
def test_a_raw_bin_is_usable_when_a_pixel_of_its_row_or_column_was_read(band):
    expected = np.full(9, np.nan)
    for row in range(9):
        for separation in range(4):
            if row + separation >= 9:
                band[row, separation] = 0
            elif band[row, separation]:
                expected[[row, row + separation]] = 1
    np.testing.assert_array_equal(unit_weights(band), expected)


@pytest.mark.parametrize("raw", [False, True])
def test_totals_count_each_contact_once(config, contacts, tmp_path, raw):
    (source,) = open_sources(config, tmp_path)
    for name, factor in LEVELS.items():
        clr = cooler.Cooler(f"{contacts}::/resolutions/{BIN * factor}")
        counts, balanced = (
            np.nansum(np.triu(clr.matrix(balance=balance).fetch("chr1")))
            for balance in (False, True)
        )
        layout = layout_of(config)
        reads, total = read_chromosome(source, "chr1", layout, raw=raw).sums[name]
        assert reads == counts
        assert total == pytest.approx(counts if raw else balanced)


@pytest.mark.parametrize("chrom", ["chrI", "chrM"])
def test_rows_of_a_real_map_are_the_files_own(tmp_path, chrom):
    path = shared_data("yeast_g1/scer_w303_g1.mcool")
    config = DataConfig(
        contacts=(str(path),),
        fine_bin_size=2_000,
        coarse_bin_sizes=(4_000, 8_000),
        window_bins=WINDOW,
        max_distance=WINDOW * 2_000,
    )
    rows, chromosome = rows_of(config, chrom, tmp_path)
    assert chromosome.usable.any()
    for name, factor in (("fine", 1), ("coarse_4000", 2), ("coarse_8000", 4)):
        matrix, weights = (
            dense(path, 2_000 * factor, chrom),
            own_weights(path, 2_000 * factor, chrom),
        )
        weights = np.pad(weights, (0, 4 * WINDOW), constant_values=np.nan).astype(np.float32)
        for row in rows:
            start, end = (row[f"{axis}_start"] // (2_000 * factor) for axis in ("row", "col"))
            assert row[f"{name}_counts"] == pixels(matrix, start, end, WINDOW // factor)
            if name != "fine":
                own = weights[end : end + WINDOW // factor]
                np.testing.assert_array_equal(row[f"{name}_col_weights"], own)
