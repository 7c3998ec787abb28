import bioframe
import cooler
import cooltools
import numpy as np
import pytest
from scipy.optimize import minimize

from hicray.maps.expected import SIGMA, smoothed
from tests.shared_data import shared_data

LENGTH = 600
SEPARATION = np.arange(400)
PIXELS = LENGTH - SEPARATION


@pytest.mark.parametrize("power", [-0.5, -1.0, -3.0])
def test_a_power_law_stays_as_it_is(power):
    truth = 7 * np.maximum(SEPARATION, 1.0) ** power
    truth[0] = 99  # of its own
    np.testing.assert_allclose(smoothed(truth * PIXELS, PIXELS), truth, rtol=1e-10)


def test_the_fit_is_that_of_a_general_optimiser(rng):
    contacts = rng.poisson(50 * np.maximum(SEPARATION, 1.0) ** -0.8 * PIXELS).astype(float)
    curve = smoothed(contacts, PIXELS)
    for s in (1, 2, 5, 30, 399):
        apart = np.log10(np.maximum(SEPARATION, 1) / s)
        kernel = np.where((SEPARATION > 0) & (abs(apart) <= 4 * SIGMA), 1.0, 0.0)
        kernel *= np.exp(-0.5 * (apart / SIGMA) ** 2)

        def loss(line, apart=apart, kernel=kernel):
            height, slope = line
            logs = height + slope * apart
            return np.sum(kernel * (PIXELS * np.exp(logs) - contacts * logs)) / np.sum(
                kernel * contacts
            )

        start = np.log(contacts[s] / PIXELS[s]), 0.0
        found = minimize(loss, start, method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-15})
        assert curve[s] == pytest.approx(np.exp(found.x[0]), rel=1e-5)


def test_noise_of_reads_is_smoothed_away(rng):
    truth = 3 * np.maximum(SEPARATION, 1.0) ** -1
    curves, means = [], []
    for _ in range(20):
        contacts = rng.poisson(truth * PIXELS)
        curves.append(smoothed(contacts, PIXELS) / truth - 1)
        means.append(contacts / PIXELS / truth - 1)
    far = slice(50, 350)
    assert np.std(curves, axis=0)[far].mean() < 0.2 * np.std(means, axis=0)[far].mean()
    assert abs(np.mean(curves, axis=0)[far].mean()) < 0.01
    assert np.std(curves, axis=0)[1] == pytest.approx(np.std(means, axis=0)[1], rel=0.1)


def test_depth_scales_a_curve_and_sums_may_come_from_anywhere(rng):
    parts = [rng.poisson(9.0 / (1 + SEPARATION) * PIXELS) for _ in range(3)]
    whole = smoothed(sum(parts), 3 * PIXELS)
    np.testing.assert_array_equal(whole, smoothed(parts[2] + parts[0] + parts[1], 3 * PIXELS))
    np.testing.assert_allclose(smoothed(1e-4 * sum(parts), 3 * PIXELS), 1e-4 * whole, rtol=1e-9)


def test_nothing_read_is_nothing_expected():
    pixels = np.where(SEPARATION % 7 == 3, 0, PIXELS)
    assert np.nanmax(smoothed(np.zeros(400), pixels)) == 0
    curve = smoothed(np.where(pixels > 0, 5.0, 0.0) * pixels, pixels)
    np.testing.assert_array_equal(np.isnan(curve), pixels == 0)
    np.testing.assert_allclose(curve[pixels > 0], 5)
    near = smoothed(np.where(SEPARATION < 20, 5.0, 0.0) * PIXELS, PIXELS)
    assert near[10] == pytest.approx(5, rel=0.03)
    assert np.all((near[40:] >= 0) & (near[40:] < 0.01))
    assert np.all(near[60:] == 0)


def test_a_single_separation_with_contacts_does_not_break_the_fit():
    for at in (0, 1, 5, 399):
        curve = smoothed(np.where(at == SEPARATION, 3.0, 0.0), np.ones(400))
        assert np.all(np.isfinite(curve))
        assert np.all(curve >= 0)
    for length in (0, 1, 2, 3):
        np.testing.assert_allclose(smoothed(np.ones(length), np.ones(length)), np.ones(length))


def test_the_curve_is_near_that_of_cooltools():
    yeast = cooler.Cooler(
        f"{shared_data('yeast_g1/scer_w303_g1.mcool', real=True)}::/resolutions/2000"
    )  # fmt: skip
    view = bioframe.make_viewframe(yeast.chromsizes)
    table = cooltools.expected_cis(yeast, view, ignore_diags=0, smooth=True)
    by = table.groupby("dist")
    contacts, pixels = (by[name].sum().to_numpy() for name in ("balanced.sum", "n_valid"))
    truth = by["balanced.avg.smoothed.agg"].first().to_numpy()
    curve = smoothed(contacts, pixels)
    np.testing.assert_allclose(curve[3:400], truth[3:400], rtol=0.03)
    # theirs takes the mean of counts around, which bends the steep beginning; ours does not
    np.testing.assert_allclose(curve[1:4], (contacts / pixels)[1:4], rtol=0.02)
