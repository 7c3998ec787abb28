"""Correlation by separation against scipy, on real maps."""

import numpy as np
import pytest
from scipy.stats import pearsonr

from hicray.maps.bands import usable_pixels
from hicray.maps.contacts import open_map
from hicray.metrics.correlation import band_means, correlation_sums, distance_bands
from tests.shared_data import shared_data

REACH = 40


@pytest.fixture(scope="module")
def yeast():
    """Two yeast maps of one chromosome on shared pixels: 2 kb counts, and their neighbours'."""
    contacts = open_map(str(shared_data("yeast_g1/scer_w303_g1.mcool")), 2_000, fractional=True)
    a = contacts.band("chrVI", REACH)
    b = a + np.roll(a, 1, axis=0)
    return a, b, usable_pixels(np.isfinite(contacts.weights("chrVI")), REACH)


def sums_of(a, b, mask):
    return correlation_sums(a[mask], b[mask], np.nonzero(mask)[1], a.shape[1])


def test_each_separation_correlates_as_scipy_says(yeast):
    a, b, mask = yeast
    found = sums_of(a, b, mask).correlation()
    for s in range(REACH):
        there = mask[:, s]
        assert found[s] == pytest.approx(pearsonr(a[there, s], b[there, s])[0], abs=1e-12)


def test_log_contacts_by_separation_correlate_as_log_oe(yeast):
    a, b, mask = yeast
    found = sums_of(np.log1p(a), np.log1p(b), mask).correlation()
    expected = [x.sum(axis=0, where=mask) / mask.sum(axis=0) for x in (a, b)]
    oe = [np.log((x + 1) / (e + 1)) for x, e in zip((a, b), expected, strict=True)]
    np.testing.assert_allclose(found, sums_of(*oe, mask).correlation(), atol=1e-10)


def test_merged_sums_are_those_of_the_whole(yeast):
    a, b, mask = yeast
    first = np.arange(len(a))[:, None] < 50
    merged = sums_of(a, b, mask & first) + sums_of(a, b, mask & ~first)
    for ours, whole in zip(merged, sums_of(a, b, mask), strict=True):
        np.testing.assert_allclose(ours, whole, rtol=1e-12)
    with pytest.raises(TypeError):
        merged + 1


def test_what_is_constant_at_a_separation_is_undefined(yeast):
    a, _, mask = yeast
    decay = np.tile(0.1 + 1 / (1 + np.arange(REACH)), (len(a), 1)).astype(np.float32)
    assert np.isnan(sums_of(a, decay.astype(float), mask).correlation()).all()


def test_distance_bands_are_octaves_that_leave_nothing_out():
    assert distance_bands(20) == [(2, 4), (4, 8), (8, 16), (16, 20)]
    assert distance_bands(16) == [(2, 4), (4, 8), (8, 16)]
    r = np.array([9.0, 9.0, 1.0, np.nan, np.nan, np.nan])
    means = band_means(r, distance_bands(6))
    assert means[0] == 1.0
    assert np.isnan(means[1])
