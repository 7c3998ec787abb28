"""Pixels as the file means them: read as cooler reads them, or refused in one sentence."""

import cooler
import h5py
import numpy as np
import pandas as pd
import pytest

from hicray.config import UserError
from hicray.maps import pixels as module
from hicray.maps.contacts import open_map
from hicray.maps.features import decay_sums
from hicray.maps.scaled import open_scaled
from hicray.maps.thin import thin
from tests.shared_data import write_map

BIN = 1_000
SIZES = {"a": 40_300, "one": 700, "b": 25_000}


def rewritten(path, order=None, index=True, **columns):
    """Write a map's pixels anew: in another order, with other columns, with or without an index.

    Args:
        path: The map.
        order: Which pixels, in which order; as they are if not given.
        index: Make the index anew, by the rows that are there.
        columns: What takes the place of columns, before they are ordered.
    """
    with h5py.File(path, "r+") as file:
        for name in ("bin1_id", "bin2_id", "count"):
            values = columns.get(name, file[f"pixels/{name}"][:])
            del file[f"pixels/{name}"]
            file[f"pixels/{name}"] = values if order is None else values[order]
        file.attrs["nnz"] = len(file["pixels/count"])
        if index:
            bins = len(file["bins/start"])
            rows = np.bincount(file["pixels/bin1_id"][:], minlength=bins)
            file["indexes/bin1_offset"][:] = np.concatenate([[0], np.cumsum(rows)])
    return path


def columns_of(path):
    table = cooler.Cooler(path).pixels()[:]
    return (table[name].to_numpy().copy() for name in ("bin1_id", "bin2_id", "count"))


@pytest.fixture
def map_path(tmp_path):
    path = write_map(tmp_path / "a.cool", SIZES, BIN)
    with h5py.File(path, "r+") as file:
        weights = np.random.default_rng(3).uniform(0.5, 2, len(file["bins/start"]))
        weights[[2, 50]] = np.nan
        file["bins/weight"] = weights
    return path


@pytest.fixture
def repeated(map_path, rng):
    """A twentieth of the pixels twice, as cooler 0.8.3 zoomed out: each row begins anew."""
    row, col, count = columns_of(map_path)
    again = np.flatnonzero((rng.random(len(row)) < 0.05) & (count > 1))
    part = rng.integers(1, count[again])
    kept = count.copy()
    kept[again] -= part
    rows = np.concatenate([row, row[again]])
    columns = {
        "bin1_id": rows,
        "bin2_id": np.concatenate([col, col[again]]),
        "count": np.concatenate([kept, part]),
    }
    assert len(again) > 10
    return rewritten(map_path, np.argsort(rows, kind="stable"), **columns)


def upper(path, chrom, *, balance=False):
    clr = cooler.Cooler(path)
    first, end = clr.extent(chrom)
    return np.triu(clr.matrix(balance=balance)[first:end, first:end])


def assert_read_as_cooler_reads(path):
    contacts = open_map(path, BIN)
    every = contacts.sums()
    assert list(every) == list(SIZES)
    for chrom in SIZES:
        counts, balanced = upper(path, chrom), np.nan_to_num(upper(path, chrom, balance=True))
        bins = len(counts)
        band = np.array([np.pad(np.diagonal(counts, s), (0, s)) for s in range(bins)]).T
        near = contacts.near(chrom, bins)
        np.testing.assert_array_equal(near.band, band)
        np.testing.assert_array_equal(contacts.band(chrom, 3)[:, :bins], band[:, :3])
        for sums in (near.sums, every[chrom], contacts.sums([chrom])[chrom]):
            assert sums.reads == contacts.total(chrom) == counts.sum()
            assert sums.balanced == pytest.approx(balanced.sum(), rel=1e-12)
        decay = decay_sums(near.band, contacts.weights(chrom))
        assert decay.contacts.sum() == pytest.approx(balanced.sum(), rel=1e-12)
        tables = list(contacts.pixels(chrom))
        if counts.any():
            table = pd.concat(tables)
            row, col = np.nonzero(counts)
            np.testing.assert_array_equal(table.to_numpy().T, [row, col, counts[row, col]])


@pytest.mark.parametrize("chunk", [1, 30, 2_000_000])
def test_pixels_that_occur_twice_are_summed_as_cooler_does(repeated, monkeypatch, chunk):
    monkeypatch.setattr(module, "_CHUNK_PIXELS", chunk)
    assert_read_as_cooler_reads(repeated)


def test_columns_of_a_row_may_lie_in_any_order(map_path, rng):
    row, *_ = columns_of(map_path)
    assert_read_as_cooler_reads(rewritten(map_path, np.lexsort((rng.random(len(row)), row))))


@pytest.mark.parametrize("kind", ["int8", "uint16", "int32", "uint32", "int64", "uint64"])
def test_counts_may_be_of_any_integer_type(repeated, kind):
    _, _, count = columns_of(repeated)
    assert_read_as_cooler_reads(rewritten(repeated, count=count.astype(kind)))


def test_a_thinned_map_adds_up_whatever_is_repeated(repeated):
    contacts = open_map(repeated, BIN)
    both = [
        sum(table["count"].sum() for table in thin(contacts, "a", 0.4, 1, side))
        for side in ("kept", "dropped")
    ]
    assert sum(both) == contacts.total("a")
    assert all(both)


def test_every_bin_of_a_map_that_is_judged_is_read_in_the_same_way(repeated):
    found, whole = open_scaled(repeated, BIN, "weight"), open_map(repeated, BIN).sums()
    reads, balanced = (sum(one) for one in zip(*whole.values(), strict=True))
    assert found.factor == pytest.approx(reads / balanced)
    balanced = np.nan_to_num(upper(repeated, "a", balance=True))
    assert found.band("a", 41).sum() == pytest.approx(balanced.sum() * found.factor)


# refusals -----------------------------------------------------------------------------------------


def refused(path, fractional=False):
    contacts = open_map(str(path), BIN, fractional=fractional)
    messages = set()
    for reading in (
        lambda: contacts.sums(),
        lambda: [contacts.near(chrom, 3) for chrom in SIZES],
        lambda: [list(contacts.pixels(chrom)) for chrom in SIZES],
    ):
        with pytest.raises(UserError) as caught:
            reading()
        messages.add(str(caught.value))
    (message,) = messages
    assert message.startswith(f"{path}::/ has ")
    assert "\n" not in message
    return message


@pytest.mark.parametrize("index", [True, False])
def test_rows_out_of_order_are_refused(map_path, rng, index):
    row, *_ = columns_of(map_path)
    rewritten(map_path, rng.permutation(len(row)), index=index)
    assert "not sorted by row, or an index that is not theirs" in refused(map_path)


def test_an_index_of_other_pixels_is_refused(map_path):
    with h5py.File(map_path, "r+") as file:
        file["indexes/bin1_offset"][10:40] += 1
    assert "make it anew from its pairs by `cooler cload pairs`" in refused(map_path)


def test_a_table_that_is_longer_than_its_index_says_is_refused(map_path):
    row, *_ = columns_of(map_path)
    rewritten(map_path, np.append(np.arange(len(row)), len(row) - 1), index=False)
    assert "an index that is not theirs" in refused(map_path)


def test_pixels_below_the_diagonal_are_refused(map_path):
    row, col, _ = columns_of(map_path)
    at = int(np.flatnonzero(row == 7)[0])
    col[at] = 3
    rewritten(map_path, bin2_id=col)
    assert "pixels below the diagonal, such as at row a:7,000," in refused(map_path)


@pytest.mark.parametrize(
    ("bad", "kind", "sentence"),
    [
        (-3, "int32", "the count -3 at a:7,000, a:9,000, but counts are 0 or more"),
        (2**31, "int64", "the count 2,147,483,648 at a:7,000, a:9,000, but a pixel holds at most"),
        (2**64 - 1, "uint64", "the count 18,446,744,073,709,551,615 at a:7,000, a:9,000, but"),
    ],
)
def test_counts_that_no_reads_make_are_refused(map_path, bad, kind, sentence):
    row, col, count = columns_of(map_path)
    (at,) = np.flatnonzero((row == 7) & (col == 9))
    count = count.astype(kind)
    count[at] = bad
    rewritten(map_path, count=count)
    assert sentence in refused(map_path)


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        (np.nan, "the count nan at a:7,000, a:9,000, but counts are numbers"),
        (np.inf, "the count inf at a:7,000, a:9,000, but counts are numbers"),
        (-0.5, "the count -0.5 at a:7,000, a:9,000, but counts are 0 or more"),
    ],
)
def test_contacts_that_are_none_are_refused(map_path, bad, sentence):
    row, col, count = columns_of(map_path)
    count = count.astype(np.float32)
    count[(row == 7) & (col == 9)] = bad
    rewritten(map_path, count=count)
    assert sentence in refused(map_path, fractional=True)
    with pytest.raises(UserError, match="the count"):
        open_scaled(map_path, BIN, "weight")


def test_the_most_reads_of_a_pixel_are_read_and_one_more_in_two_parts_refused(map_path):
    row, col, count = columns_of(map_path)
    (at,) = np.flatnonzero((row == 7) & (col == 9))
    count = count.astype(np.int64)
    count[at] = 2**31 - 1
    rewritten(map_path, count=count)
    contacts = open_map(map_path, BIN)
    assert contacts.band("a", 3)[7, 2] == 2**31 - 1
    assert contacts.total("a") == upper(map_path, "a").astype(np.int64).sum()
    del contacts  # which holds the file open
    order = np.insert(np.arange(len(row)), at, at)
    count[at] = 2**30
    rewritten(map_path, order, count=count)
    assert "the count 2,147,483,648 at a:7,000, a:9,000" in refused(map_path)


def test_what_lies_between_chromosomes_is_not_read(map_path):
    row, col, count = columns_of(map_path)
    count[(row < 41) & (col >= 41)] = -1
    rewritten(map_path, count=count)
    assert open_map(map_path, BIN).total("a") == upper(map_path, "a").sum()


def test_a_file_whose_bins_are_not_those_of_its_chromosomes_is_refused(map_path):
    with h5py.File(map_path, "r+") as file:
        file["chroms/length"][0] = 90_000
    with pytest.raises(UserError, match="has 67 bins, but its chromosomes make 116 of 1,000 bp"):
        open_map(map_path, BIN).sums()


# chromosomes of one bin, and odd names ------------------------------------------------------------

ODD = {
    "chr1": 9_000, "HLA-B*07:02:01": 700, "chr1:1-20": 400, "c d": 2_500, "a,b": 1_000, "-": 1
}  # fmt: skip


@pytest.mark.parametrize("kind", ["int32", "float64"])
def test_chromosomes_of_one_bin_and_of_any_name_are_read(tmp_path, kind):
    path = write_map(tmp_path / "a.cool", ODD, BIN, weights="weight")
    _, _, count = columns_of(path)
    fraction = 0.9 if kind == "float64" else 0
    rewritten(path, count=(count + 7 + fraction).astype(kind))
    contacts = open_map(path, BIN, fractional=kind == "float64")
    sums = contacts.sums()
    clr, first = cooler.Cooler(path), 0
    for chrom in ODD:
        end = first + contacts.num_bins(chrom)
        counts = np.triu(clr.matrix(balance=False)[first:end, first:end])
        assert counts[0, 0] % 1 == pytest.approx(fraction)
        near = contacts.near(chrom, 2)
        assert near.band[:, 0].tolist() == np.diagonal(counts).tolist()
        for one in (near.sums, sums[chrom]):
            assert one.reads == one.balanced == pytest.approx(counts.sum())
        assert pd.concat(contacts.pixels(chrom))["count"].sum() == pytest.approx(counts.sum())
        assert contacts.weights(chrom).tolist() == [1.0] * len(counts)
        first = end


def test_a_genome_of_contigs_is_summed_as_a_whole(tmp_path):
    sizes = {f"c{i}": 900 for i in range(200)} | {"long": 30_000}
    path = write_map(tmp_path / "a.cool", sizes, BIN, weights="weight", dtypes={"count": float})
    found = open_scaled(path, BIN, "weight")
    assert found.factor == pytest.approx(1.0)
    counts = cooler.Cooler(path).matrix(balance=False)[:]
    ones = np.diagonal(counts)[:200]
    assert ones.sum() > 1_000
    sums = found.contacts.sums()
    assert [sums[f"c{i}"].reads for i in range(200)] == ones.tolist()
    assert sums["long"].reads == np.triu(counts[200:, 200:]).sum()
    some = ["c3", "c4", "c9", "long"]
    assert found.contacts.sums(some) == {chrom: sums[chrom] for chrom in some}
    assert found.contacts.sums([]) == {}


def test_contigs_are_read_in_tables_of_many(tmp_path, monkeypatch):
    """The cost of a map is that of its pixels and bins, not of its chromosomes."""
    tables = []
    rows = module.CoolerFile._rows
    monkeypatch.setattr(module.CoolerFile, "_rows", lambda *given: tables.append(1) or rows(*given))
    for many in (3, 600):
        path = write_map(
            tmp_path / f"{many}.cool", {"a": 2_000} | {f"c{i}": 900 for i in range(many)}, BIN
        )
        assert len(open_map(path, BIN).sums(balanced=False)) == many + 1
    assert len(tables) == 2
