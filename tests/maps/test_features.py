import bioframe
import cooler
import cooltools
import numpy as np
import pandas as pd
import pytest

from hicray.maps.contacts import open_map
from hicray.maps.expected import smoothed
from hicray.maps.features import DecaySums, decay_sums, insulation
from tests.shared_data import shared_data

BIN = 8_000


@pytest.fixture(scope="module")
def yeast():
    return open_map(str(shared_data("yeast_g1/scer_w303_g1.mcool")), BIN)


@pytest.fixture(scope="module")
def cooltools_expected(yeast):
    sizes = pd.Series(dict(yeast.chromsizes))
    view = bioframe.make_viewframe(sizes)
    return cooltools.expected_cis(cooler.Cooler(yeast.uri), view, ignore_diags=0, smooth=False)


@pytest.mark.parametrize("chrom", ["chrI", "chrIV", "chrXII"])
def test_decay_equals_cooltools(yeast, cooltools_expected, chrom):
    sums = decay_sums(yeast.band(chrom, yeast.num_bins(chrom)), yeast.weights(chrom))
    truth = cooltools_expected.query("region1 == @chrom").sort_values("dist")
    np.testing.assert_array_equal(sums.pixels, truth["n_valid"])
    np.testing.assert_allclose(
        sums.contacts, truth["balanced.sum"].fillna(0), rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize("rows", [[40], [40, 90]])
@pytest.mark.parametrize("separation", [0, 1, 78])
def test_a_pixel_of_implausibly_many_reads_is_in_no_sum(rng, separation, rows):
    """763 on a separation whose mean is 2.2, as in a yeast map; the next largest are kept."""
    bins, near = 400, np.arange(150)
    band = rng.poisson(170 / (1 + near) * np.ones((bins, 1)))
    band[np.arange(bins)[:, None] + near >= bins] = 0
    weights = rng.uniform(0.01, 0.03, bins)
    weights[300:310] = np.nan
    plain = decay_sums(band, weights)
    usable = np.isfinite(weights)
    assert plain.pixels[separation] == np.sum(usable[: bins - separation] & usable[separation:])
    odd = band.copy()
    odd[rows, separation] = 763 if separation == 78 else 10_000
    found = decay_sums(odd, weights)
    lost = np.where(near == separation, len(rows), 0)
    np.testing.assert_array_equal(found.pixels, plain.pixels - lost)
    places = np.array(rows)
    own = (band[places, separation] * weights[places] * weights[places + separation]).sum()
    np.testing.assert_allclose(found.contacts, plain.contacts - own * (near == separation))
    np.testing.assert_allclose(found.expected(), plain.expected(), rtol=0.02)


def test_loops_and_noise_of_sparse_maps_are_plausible(rng):
    bins, near = 400, np.arange(150)
    sparse = (rng.random((bins, 150)) < 0.002).astype(int) * 20
    sparse[np.arange(bins)[:, None] + near >= bins] = 0
    loops = rng.poisson(1_000 / (1 + near) * np.ones((bins, 1)))
    loops[50:300:20, 50] *= 20
    for band in (sparse, loops):
        sums = decay_sums(band, np.ones(bins))
        np.testing.assert_array_equal(sums.pixels, bins - near)
        np.testing.assert_allclose(
            sums.contacts, [band[: bins - s, s].sum() for s in near.tolist()]
        )


def test_decay_equals_a_loop_over_pixels(rng):
    n, num_separations = 9, 12
    matrix = np.triu(rng.poisson(5, (n, n)))
    weights = rng.uniform(0.5, 2, n)
    weights[[2, 7]] = np.nan
    band = np.zeros((n, num_separations), dtype=np.int32)
    contacts, pixels = np.zeros(num_separations), np.zeros(num_separations, dtype=int)
    for i in range(n):
        for j in range(i, n):
            band[i, j - i] = matrix[i, j]
            if np.isfinite(weights[i] * weights[j]):
                contacts[j - i] += matrix[i, j] * weights[i] * weights[j]
                pixels[j - i] += 1
    sums = decay_sums(band, weights)
    np.testing.assert_allclose(sums.contacts, contacts)
    np.testing.assert_array_equal(sums.pixels, pixels)
    np.testing.assert_array_equal(np.isnan(sums.expected()), pixels == 0)


def test_sums_of_chromosomes_add(yeast):
    first, second = (decay_sums(yeast.band(c, 20), yeast.weights(c)) for c in ("chrI", "chrII"))
    both = first + second
    np.testing.assert_allclose(both.contacts, first.contacts + second.contacts)
    np.testing.assert_array_equal(both.pixels, first.pixels + second.pixels)
    np.testing.assert_array_equal(both.expected(), smoothed(both.contacts, both.pixels))
    with pytest.raises(TypeError):
        first + first.contacts.tolist()


def test_decay_of_the_expected_map_is_the_expected():
    curve = 1.0 / np.array([0.5, 1, 2, 3, 4, 5])
    band = np.where(np.arange(30)[:, None] + np.arange(6) < 30, curve, 0)
    np.testing.assert_allclose(decay_sums(band, np.ones(30)).expected(), curve)
    empty = DecaySums(np.zeros(2), np.zeros(2, dtype=np.int64))
    assert np.isnan(empty.expected()).all()


def test_sums_over_pixels_are_the_mean_of_every_diagonal(yeast):
    balanced = cooler.Cooler(yeast.uri).matrix(balance=True).fetch("chrIV")
    sums = decay_sums(yeast.band("chrIV", len(balanced)), yeast.weights("chrIV"))
    means = sums.contacts / np.maximum(sums.pixels, 1)
    for s in (0, 1, 5, 50):
        assert means[s] == pytest.approx(np.nanmean(np.diagonal(balanced, s)))


@pytest.fixture(scope="module")
def insulated(yeast):
    return insulation(yeast.uri, 10 * BIN)


def test_insulation_equals_cooltools(yeast, insulated):
    truth = cooltools.insulation(cooler.Cooler(yeast.uri), [10 * BIN], ignore_diags=2)
    assert list(insulated) == ["chrom", "start", "end", "log2_insulation", "boundary_strength"]
    for ours, theirs in (
        ("log2_insulation", f"log2_insulation_score_{10 * BIN}"),
        ("boundary_strength", f"boundary_strength_{10 * BIN}"),
    ):
        np.testing.assert_array_equal(insulated[ours], truth[theirs])


def test_insulation_is_the_mean_of_a_diamond(yeast, insulated):
    balanced = cooler.Cooler(yeast.uri).matrix(balance=True).fetch("chrIV")
    n = np.arange(len(balanced))
    balanced[np.abs(n - n[:, None]) < 2] = np.nan
    means = np.full(len(balanced), np.nan)
    for i in range(10, len(balanced) - 10):
        means[i] = np.nanmean(balanced[i - 9 : i + 1, i : i + 10])
    ours = insulated.query("chrom == 'chrIV'")["log2_insulation"].to_numpy()
    level = np.log2(means) - ours
    assert np.isfinite(level).sum() > 150
    assert np.nanmax(level) - np.nanmin(level) < 1e-6
