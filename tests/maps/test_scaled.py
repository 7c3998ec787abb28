"""Scaled contacts against cooler's balanced matrices; maps of fractional counts."""

import cooler
import numpy as np
import pandas as pd
import pytest

from hicray.config import UserError
from hicray.maps.contacts import open_map
from hicray.maps.scaled import named_bin_size, open_scaled
from hicray.maps.write import write_float_cool
from tests.shared_data import shared_data, write_map

SIZES = {"a": 900, "b": 450}


@pytest.fixture
def fractional(tmp_path, rng):
    """A map of fractional counts, its pixels and its weights."""
    bins = 14
    rows, cols = np.triu_indices(bins)
    pixels = pd.DataFrame({"bin1_id": rows, "bin2_id": cols, "count": rng.random(len(rows))})
    weights = np.where(np.arange(bins) == 3, np.nan, 1.0)
    path = tmp_path / "enhanced.cool"
    write_float_cool(path, SIZES, 100, [pixels[:50], pixels[50:]], weights, {"made": {"by": 1}})
    return path, pixels, weights


def test_scaled_contacts_are_coolers_balanced_ones_times_the_factor():
    uri = str(shared_data("yeast_g1/scer_w303_g1.mcool")) + "::/resolutions/8000"
    clr, found = cooler.Cooler(uri), open_scaled(uri, 8_000, "weight")
    raw = balanced = 0.0
    for chrom in clr.chromnames:
        raw += np.triu(clr.matrix(balance=False).fetch(chrom)).sum()
        balanced += np.nansum(np.triu(clr.matrix(balance=True).fetch(chrom)))
    assert found.factor == pytest.approx(raw / balanced)
    dense = clr.matrix(balance=True).fetch("chrIII")
    for s in (0, 1, 20):
        expected = np.nan_to_num(np.diagonal(dense, s)) * raw / balanced
        np.testing.assert_allclose(found.band("chrIII", 21)[: len(dense) - s, s], expected)
    np.testing.assert_array_equal(found.usable("chrIII"), ~np.isnan(dense).all(axis=0))


def test_a_written_map_is_read_back_by_cooler_and_hicray(fractional):
    path, pixels, weights = fractional
    clr = cooler.Cooler(str(path))
    np.testing.assert_allclose(clr.pixels()[:]["count"], pixels["count"], rtol=1e-6)
    np.testing.assert_array_equal(clr.bins()[:]["weight"], weights)
    assert dict(clr.chromsizes) == SIZES
    assert clr.info["metadata"] == {"made": {"by": 1}}
    assert [p.name for p in path.parent.iterdir()] == ["enhanced.cool"]
    found = open_scaled(str(path), 100, "weight")
    dense = clr.matrix(balance=True).fetch("a")
    expected = np.nan_to_num(np.diagonal(dense, 2)) * found.factor
    np.testing.assert_allclose(found.band("a", 3)[:7, 2], expected, rtol=1e-6)
    with pytest.raises(UserError, match="fractional counts"):
        open_map(str(path), 100)


def test_a_map_without_weights_is_taken_as_it_is(tmp_path, caplog):
    uri = write_map(tmp_path / "a.cool", SIZES, 100)
    found = open_scaled(uri, 100, "weight")
    assert "its counts are taken as they are" in caplog.text
    assert (found.balanced, found.factor) == (False, 1.0)
    np.testing.assert_array_equal(found.band("b", 3), open_map(uri, 100).band("b", 3))
    assert found.usable("b").all()


def test_other_weights_fall_back_to_the_usual_column(tmp_path):
    uri = write_map(tmp_path / "a.cool", SIZES, 100, weights="weight")
    assert open_scaled(uri, 100, "KR").contacts.weights_name == "weight"


def test_the_bin_size_is_the_one_that_the_uri_names():
    uri = str(shared_data("yeast_g1/scer_w303_g1.mcool"))
    assert named_bin_size(f"{uri}::resolutions/4000") == 4_000
    with pytest.raises(UserError, match="2,000, 4,000, 8,000, 16,000 bp; choose one of them"):
        named_bin_size(uri)
