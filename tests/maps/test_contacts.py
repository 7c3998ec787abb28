import pickle

import cooler
import h5py
import hictkpy
import numpy as np
import pandas as pd
import pytest

from hicray.config import UserError
from hicray.maps import pixels as module
from hicray.maps.contacts import open_map
from hicray.maps.levels import levels
from hicray.maps.write import genome_wide, write_cool, write_levels
from tests.shared_data import shared_data, write_map

BIN = 8_000
CHROMS = ("chrIV", "chrVI", "chrM")
SIZES = {"a": 9_700, "b": 4_000, "c": 100}


@pytest.fixture(scope="module")
def yeast():
    return open_map(str(shared_data("yeast_g1/scer_w303_g1.mcool")), BIN)


@pytest.fixture(scope="module")
def juicer():
    """A .hic that has reads on one chromosome."""
    return str(shared_data("odd/hicstraw_test_chr22.5k_to_2.5M.hic"))


def dense(contacts, chrom, *, balance=False):
    return cooler.Cooler(contacts.uri).matrix(balance=balance).fetch(chrom)


def juicer_dense(uri, normalization="NONE"):
    file = hictkpy.File(uri, 25_000)
    return file.fetch("22", normalization=normalization, count_type="float64").to_numpy()


def to_band(matrix, num_separations):
    band = np.zeros((len(matrix), num_separations), dtype=matrix.dtype)
    for s in range(min(num_separations, len(matrix))):
        band[: len(matrix) - s, s] = np.diagonal(matrix, s)
    return band


def to_dense(contacts, chrom):
    matrix = np.zeros((contacts.num_bins(chrom),) * 2, dtype=np.int64)
    for table in contacts.pixels(chrom):
        matrix[table["bin1_id"], table["bin2_id"]] += table["count"]
    return matrix


@pytest.mark.parametrize("chrom", CHROMS)
@pytest.mark.parametrize("num_separations", [1, 7, 40, 500])
def test_a_band_is_the_diagonals_of_the_dense_matrix(yeast, chrom, num_separations):
    np.testing.assert_array_equal(
        yeast.band(chrom, num_separations), to_band(dense(yeast, chrom), num_separations)
    )


@pytest.mark.parametrize("chrom", CHROMS)
def test_a_total_counts_each_contact_once(yeast, chrom):
    assert yeast.total(chrom) == np.triu(dense(yeast, chrom)).sum()


@pytest.mark.parametrize("chrom", CHROMS)
def test_a_balanced_total_sums_usable_pixels(yeast, chrom):
    balanced = np.triu(dense(yeast, chrom, balance=True))
    assert yeast.sums([chrom])[chrom].balanced == pytest.approx(np.nansum(balanced), rel=1e-12)


@pytest.mark.parametrize("chrom", CHROMS)
def test_counts_times_both_weights_are_the_balanced_contacts(yeast, chrom):
    weights = yeast.weights(chrom)
    np.testing.assert_array_equal(
        weights, cooler.Cooler(yeast.uri).bins().fetch(chrom)["weight"].to_numpy()
    )
    np.testing.assert_allclose(
        dense(yeast, chrom) * weights * weights[:, None], dense(yeast, chrom, balance=True)
    )


@pytest.mark.parametrize("chrom", CHROMS)
@pytest.mark.parametrize("chunk", [1, 13, 64, 2_000])
def test_pixels_are_the_upper_triangle_in_order_whatever_the_chunk(
    yeast, chrom, chunk, monkeypatch
):
    monkeypatch.setattr(module, "_CHUNK_ROWS", chunk)
    monkeypatch.setattr(module, "_CHUNK_PIXELS", 7 * chunk)
    table = pd.concat(yeast.pixels(chrom), ignore_index=True)
    row, col = np.nonzero(np.triu(dense(yeast, chrom)))
    np.testing.assert_array_equal(table["bin1_id"], row)
    np.testing.assert_array_equal(table["bin2_id"], col)
    np.testing.assert_array_equal(table["count"], dense(yeast, chrom)[row, col])


def test_a_map_pickles(yeast):
    again = pickle.loads(pickle.dumps(yeast))
    assert again == yeast
    assert again.total("chrM") == yeast.total("chrM")


def test_chromosomes_and_bins_are_those_of_the_file(yeast):
    sizes = cooler.Cooler(yeast.uri).chromsizes
    assert list(yeast.chromsizes.items()) == list(sizes.items())
    assert sum(map(yeast.num_bins, sizes.index)) == cooler.Cooler(yeast.uri).info["nbins"]


# .hic ---------------------------------------------------------------------------------------------


def test_a_hic_file_offers_its_resolutions(juicer):
    assert levels(juicer) == dict.fromkeys(hictkpy.MultiResFile(juicer).resolutions(), juicer)


@pytest.mark.parametrize("chunk_bins", [100, 2_000])
def test_a_hic_file_gives_band_total_and_pixels(juicer, chunk_bins, monkeypatch):
    monkeypatch.setattr(module, "_CHUNK_BINS", chunk_bins)
    contacts, truth = open_map(juicer, 25_000), juicer_dense(juicer)
    assert truth.any()
    np.testing.assert_array_equal(to_dense(contacts, "22"), np.triu(truth))
    np.testing.assert_array_equal(contacts.band("22", 30), to_band(truth, 30))
    assert contacts.total("22") == np.triu(truth).sum()


@pytest.mark.parametrize("name", ["KR", "VC", "VC_SQRT"])
def test_divisive_weights_of_a_hic_are_inverted(juicer, name):
    contacts = open_map(juicer, 25_000, weights_name=name)
    weights = contacts.weights("22")
    balanced = juicer_dense(juicer) * weights * weights[:, None]
    usable = np.isfinite(balanced)
    assert np.count_nonzero(balanced[usable]) > 10_000
    np.testing.assert_allclose(balanced[usable], juicer_dense(juicer, name)[usable], rtol=1e-5)
    total = np.nansum(np.triu(balanced))
    assert contacts.sums(["22"])["22"].balanced == pytest.approx(total, rel=1e-5)
    assert not (weights <= 0).any()


@pytest.mark.parametrize("name", ["KR", "VC", "VC_SQRT"])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_divisive_weights_of_an_mcool_are_inverted(name):
    path = shared_data("odd/hic2cool_0.7.0_multi_res.mcool")
    contacts = open_map(str(path), 1_000_000, weights_name=name)
    weights = contacts.weights("chr2")
    balanced = dense(contacts, "chr2") * weights * weights[:, None]
    truth = dense(contacts, "chr2", balance=name)
    usable = np.isfinite(balanced)
    assert usable.any()
    np.testing.assert_allclose(balanced[usable], truth[usable])


# URIs ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["", "::/resolutions/2000", "::resolutions/2000"])
@pytest.mark.parametrize("bin_size", [2_000, 16_000])
def test_every_form_of_an_mcool_uri_reaches_every_resolution(form, bin_size):
    path = shared_data("yeast_g1/scer_w303_g1.mcool")
    contacts = open_map(f"{path}{form}", bin_size)
    assert sorted(levels(f"{path}{form}")) == [2_000, 4_000, 8_000, 16_000]
    assert contacts.bin_size == bin_size
    level = cooler.Cooler(f"{path}::/resolutions/{bin_size}")
    assert contacts.total("chrI") == np.triu(level.matrix(balance=False).fetch("chrI")).sum()


@pytest.mark.parametrize("ending", ["", "::", "::/"])
def test_a_single_resolution_cool_opens(tmp_path, ending):
    path = write_map(tmp_path / "a.cool", SIZES, 1_000)
    contacts = open_map(f"{path}{ending}", 1_000)
    np.testing.assert_array_equal(to_dense(contacts, "a"), np.triu(dense(contacts, "a")))


def test_a_multi_resolution_file_named_cool_opens():
    contacts = open_map(str(shared_data("odd/4dn_test.multires.cool")), 1_600_000)
    np.testing.assert_array_equal(
        to_dense(contacts, "chr21"),
        np.triu(cooler.Cooler(contacts.uri).matrix(balance=False).fetch("chr21")),
    )


def test_one_cell_of_a_single_cell_file_opens():
    path = shared_data("odd/cooler_scool_test_file.scool")
    cell = f"{path}::{cooler.fileops.list_scool_cells(str(path))[1]}"
    contacts = open_map(cell, int(cooler.Cooler(cell).binsize))
    chrom = max(contacts.chromsizes, key=contacts.chromsizes.__getitem__)
    np.testing.assert_array_equal(to_dense(contacts, chrom), np.triu(dense(contacts, chrom)))


# writing ------------------------------------------------------------------------------------------


def sum_blocks(matrix, factor):
    padded = np.pad(matrix, (0, -len(matrix) % factor))
    n = len(padded) // factor
    return padded.reshape(n, factor, n, factor).sum((1, 3))


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The cis pixels of a real map, written as levels, and that map."""
    contacts = open_map(str(shared_data("yeast_g1/scer_w303_g1.mcool")), 16_000)
    folder = tmp_path_factory.mktemp("written")
    tables = {chrom: contacts.pixels(chrom) for chrom in contacts.chromsizes}
    pixels = genome_wide(contacts, tables)
    write_cool(folder / "base.cool", contacts.chromsizes, 16_000, pixels)
    write_levels(folder / "base.cool", folder / "out.mcool", (64_000, 16_000, 32_000))
    return str(folder / "out.mcool"), contacts


def test_round_trip_through_cool_keeps_every_pixel(written):
    out, before = written
    back = open_map(out, 16_000)
    assert list(back.chromsizes.items()) == list(before.chromsizes.items())
    for chrom in before.chromsizes:
        np.testing.assert_array_equal(dense(back, chrom), dense(before, chrom))
    assert cooler.Cooler(back.uri).info["sum"] == sum(map(before.total, before.chromsizes))


@pytest.mark.parametrize("factor", [2, 4])
def test_written_levels_are_block_sums(written, factor):
    out, before = written
    assert sorted(levels(out)) == [16_000, 32_000, 64_000]
    level = open_map(out, factor * 16_000)
    for chrom in before.chromsizes:
        summed = sum_blocks(np.triu(dense(before, chrom)), factor)
        np.testing.assert_array_equal(np.triu(dense(level, chrom)), summed)


@pytest.mark.parametrize("bin_size", [16_000, 32_000])
def test_written_levels_are_balanced_within_chromosomes(written, bin_size):
    balanced = dense(open_map(written[0], bin_size), "chrIV", balance=True)
    n = np.arange(len(balanced))
    balanced[np.abs(n - n[:, None]) < 2] = 0  # balancing leaves these out
    sums = np.nansum(balanced, axis=0)
    assert np.std(sums[sums > 0]) < 0.02 * np.mean(sums[sums > 0])


def test_a_chromosome_without_pixels_leaves_room_for_its_bins(yeast):
    only = {"chrII": [pd.DataFrame({"bin1_id": [0], "bin2_id": [3], "count": [2]})]}
    (table,) = genome_wide(yeast, only)
    first = cooler.Cooler(yeast.uri).offset("chrII")
    assert table[["bin1_id", "bin2_id", "count"]].to_numpy().tolist() == [[first, first + 3, 2]]


# refusals -----------------------------------------------------------------------------------------


def refused(uri, bin_size=4_000):
    with pytest.raises(UserError) as caught:
        open_map(str(uri), bin_size)
    message = str(caught.value)
    assert str(uri).partition("::")[0] in message
    assert "\n" not in message
    return message


def test_a_missing_map_is_refused(tmp_path):
    assert "does not exist; give a .mcool, .cool or .hic file" in refused(tmp_path / "a.mcool")
    assert "does not exist" in refused(tmp_path)


@pytest.mark.parametrize("content", [b"", b"text", b"\x89HDF\r\n\x1a\n", b"HIC\x00\x08\x00\x00"])
def test_a_file_of_another_format_is_refused(tmp_path, content):
    path = tmp_path / "a.mcool"
    path.write_bytes(content)
    assert "fetch or convert it anew" in refused(path)


@pytest.mark.parametrize(
    "name", ["yeast_g1/scer_w303_g1.mcool", "odd/hicstraw_test_chr22.5k_to_2.5M.hic"]
)
def test_a_file_that_was_cut_off_is_refused(tmp_path, name):
    whole = shared_data(name)
    with whole.open("rb") as file:
        (tmp_path / whole.name).write_bytes(file.read(100_000))
    assert "it may be cut off" in refused(tmp_path / whole.name)


def test_hdf5_without_a_map_is_refused(tmp_path):
    h5py.File(tmp_path / "a.h5", "w").close()
    assert "holds no contact map" in refused(tmp_path / "a.h5")


def test_an_absent_resolution_is_refused_with_what_there_is_and_how_to_add_it():
    path = shared_data("yeast_g1/scer_w303_g1.mcool")
    message = refused(path, 32_000)
    assert "no bins of 32,000 bp; it has 2,000, 4,000, 8,000, 16,000: choose one" in message
    assert f"`cooler zoomify -r 32000 {path}::/resolutions/16000`" in message


@pytest.mark.parametrize("bin_size", [1_000, 3_000, 0, -2_000])
def test_bins_that_no_sum_gives_are_not_offered(bin_size):
    assert "zoomify" not in refused(shared_data("yeast_g1/scer_w303_g1.mcool"), bin_size)


def test_a_hic_is_not_sent_to_zoomify(juicer):
    assert "zoomify" not in refused(juicer, 20_000)


def test_an_absent_group_is_refused_with_what_there_is():
    message = refused(f"{shared_data('yeast_g1/scer_w303_g1.mcool')}::/resolutions/7")
    assert "has no /resolutions/7; choose one of those that it has: /resolutions/2000," in message


def test_a_single_cell_file_asks_for_one_of_its_cells():
    message = refused(shared_data("odd/cooler_scool_test_file.scool"))
    assert "choose one as" in message
    assert "::GROUP" in message


def test_bins_of_variable_size_are_refused():
    message = refused(shared_data("odd/cooler_toy.symm.upper.var.cool"))
    assert "variable size" in message
    assert "cooler cload" in message


def test_fractional_counts_are_refused(tmp_path):
    path = write_map(tmp_path / "a.cool", SIZES, 1_000, dtypes={"count": float})
    assert "fractional counts" in refused(path, 1_000)


def no_weights(uri, bin_size, name):
    contacts = open_map(uri, bin_size, weights_name=name)
    with pytest.raises(UserError) as caught:
        contacts.weights(next(iter(contacts.chromsizes)))
    return str(caught.value)


def test_a_map_without_weights_is_refused_with_two_ways_out(tmp_path):
    path = write_map(tmp_path / "a.cool", SIZES, 1_000)
    message = no_weights(path, 1_000, "weight")
    assert "has no balancing weights 'weight'" in message
    assert f"`cooler balance {path}::/`" in message
    assert "--raw" in message


def test_divisive_weights_are_named_where_there_are_no_others(juicer):
    for uri, size in (
        (juicer, 25_000),
        (str(shared_data("odd/hic2cool_0.7.0_multi_res.mcool")), 1_000_000),
    ):
        message = no_weights(uri, size, "weight")
        assert "only Juicer's divisive weights (KR, VC, VC_SQRT), not 'weight'" in message
        assert "--weights KR" in message
        assert "--raw" in message
        assert ("cooler balance" in message) == uri.endswith(".mcool")


def test_bins_of_no_finite_or_positive_weight_are_not_usable(tmp_path):
    path = write_map(tmp_path / "a.cool", SIZES, 1_000, weights="weight")
    with h5py.File(path, "r+") as file:
        file["bins/weight"][:4] = [np.nan, 0, -1, np.inf]
    weights = open_map(path, 1_000).weights("a")
    np.testing.assert_array_equal(np.isnan(weights), [True] * 4 + [False] * 6)
    assert len(open_map(path, 1_000).weights("c")) == 1


def test_a_chromosome_of_one_bin_has_its_pixel(tmp_path):
    sizes = {"a": 40, "one": 7, "b": 30}
    uri = write_map(tmp_path / "map.cool", sizes, 10, weights="weight")
    contacts = open_map(uri, 10)
    (expected,) = cooler.Cooler(uri).matrix(balance=False).fetch("one")[0]
    assert expected > 0
    assert contacts.band("one", 3).tolist() == [[expected, 0, 0]]
    assert contacts.total("one") == contacts.sums(["one"])["one"].balanced == expected
    (table,) = contacts.pixels("one")
    assert table.to_numpy().tolist() == [[0, 0, expected]]
