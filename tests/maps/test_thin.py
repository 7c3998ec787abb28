import cooler
import numpy as np
import pandas as pd
import pytest

from hicray.config import UserError
from hicray.maps.contacts import open_map
from hicray.maps.thin import derive, thin
from tests.shared_data import shared_data, write_map

SIZES = {"a": 60_500, "b": 40_000}
BIN = 500


@pytest.fixture(scope="module")
def yeast():
    return open_map(str(shared_data("yeast_g1/scer_w303_g1.mcool")), 8_000)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return open_map(write_map(tmp_path_factory.mktemp("map") / "a.cool", SIZES, BIN), BIN)


def dense(tables, bins):
    matrix = np.zeros((bins, bins), dtype=np.int64)
    for table in tables:
        assert (table["count"] > 0).all()
        matrix[table["bin1_id"], table["bin2_id"]] += table["count"]
    return matrix


def original(contacts, chrom):
    return np.triu(cooler.Cooler(contacts.uri).matrix(balance=False).fetch(chrom))


def thinned(contacts, chrom, keep, seed=0, side="kept"):
    return dense(thin(contacts, chrom, keep, seed, side), contacts.num_bins(chrom))


@pytest.mark.parametrize("keep", [0.01, 0.3, 0.9, 1.0])
def test_thinned_counts_never_exceed_the_original(yeast, keep):
    kept, whole = thinned(yeast, "chrIV", keep), original(yeast, "chrIV")
    assert (kept <= whole).all()
    assert (kept == whole).all() == (keep == 1)


@pytest.mark.parametrize("keep", [0.1, 0.5])
def test_each_read_is_kept_by_itself(yeast, keep):
    kept, whole = thinned(yeast, "chrIV", keep), original(yeast, "chrIV")
    spread = np.sqrt(whole.sum() * keep * (1 - keep))
    assert abs(kept.sum() - keep * whole.sum()) < 5 * spread
    many = whole > 50
    scores = (kept - keep * whole)[many] / np.sqrt(whole[many] * keep * (1 - keep))
    assert many.sum() > 500
    assert abs(scores.mean()) < 5 / np.sqrt(many.sum())
    assert scores.std() == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.97])
def test_kept_and_dropped_reads_add_up_pixel_by_pixel(yeast, keep):
    kept, dropped = (thinned(yeast, "chrII", keep, side=s) for s in ("kept", "dropped"))
    np.testing.assert_array_equal(kept + dropped, original(yeast, "chrII"))
    assert dropped.any()


def test_all_reads_are_all_reads(yeast):
    np.testing.assert_array_equal(
        thinned(yeast, "chrII", 0.2, side="all"), original(yeast, "chrII")
    )


def test_thinning_is_a_function_of_the_seed(yeast):
    first = thinned(yeast, "chrII", 0.5, seed=1)
    np.testing.assert_array_equal(first, thinned(yeast, "chrII", 0.5, seed=1))
    assert (first != thinned(yeast, "chrII", 0.5, seed=2)).any()


def test_equal_chromosomes_are_thinned_apart(tmp_path):
    bins = cooler.binnify(pd.Series({"a": 10_000, "b": 10_000}), 100)
    row = np.arange(200)
    pixels = pd.DataFrame({"bin1_id": row, "bin2_id": row, "count": 100})
    cooler.create_cooler(str(tmp_path / "a.cool"), bins, pixels)
    contacts = open_map(str(tmp_path / "a.cool"), 100)
    assert (thinned(contacts, "a", 0.5) != thinned(contacts, "b", 0.5)).any()


def sum_blocks(matrix, factor):
    padded = np.pad(matrix, (0, -len(matrix) % factor))
    n = len(padded) // factor
    return padded.reshape(n, factor, n, factor).sum((1, 3))


@pytest.mark.filterwarnings("ignore")
def test_derived_levels_are_balanced_block_sums_of_the_map(small, tmp_path):
    made = derive(small, (2 * BIN, 4 * BIN), tmp_path / "deep" / "out.mcool")
    assert sorted(made) == [2 * BIN, 4 * BIN]
    for size, level in made.items():
        assert level.bin_size == size
        for chrom in SIZES:
            summed = sum_blocks(original(small, chrom), size // BIN)
            np.testing.assert_array_equal(original(level, chrom), summed)
            assert np.isfinite(level.weights(chrom)).any()
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["out.mcool"]


@pytest.mark.filterwarnings("ignore")
def test_derived_halves_of_the_reads_add_up_to_the_map(small, tmp_path):
    halves = [
        derive(small, (BIN, 2 * BIN), tmp_path / f"{side}.mcool", keep=0.4, seed=7, side=side)
        for side in ("kept", "dropped")
    ]
    for chrom in SIZES:
        kept, dropped = (original(half[BIN], chrom) for half in halves)
        np.testing.assert_array_equal(kept, thinned(small, chrom, 0.4, seed=7))
        np.testing.assert_array_equal(kept + dropped, original(small, chrom))
        np.testing.assert_array_equal(original(halves[0][2 * BIN], chrom), sum_blocks(kept, 2))


@pytest.mark.filterwarnings("ignore")
def test_a_derived_map_is_made_once_and_over_what_a_killed_run_left(small, tmp_path):
    out = tmp_path / "out.mcool"
    for left in ("out.mcool.1.unfinished", "base-out.mcool.1.unfinished"):
        (tmp_path / left).write_bytes(b"half")
    derive(small, (2 * BIN,), out)
    stamp = out.stat().st_mtime_ns
    again = derive(small, (2 * BIN,), out)
    assert out.stat().st_mtime_ns == stamp
    assert again[2 * BIN].total("a") == original(small, "a").sum()
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("keep", [0.0, -0.5, 1.5, float("nan")])
def test_a_share_that_is_none_is_refused_before_anything_is_written(small, tmp_path, keep):
    with pytest.raises(UserError, match=r"cannot keep .* of its reads; give a fraction in \(0, 1"):
        derive(small, (2 * BIN,), tmp_path / "out.mcool", keep=keep)
    assert not list(tmp_path.iterdir())
