"""Smoothed maps: against scipy, and where pixels do not count."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from hicray.windows.scales import from_network, to_network
from hicray.windows.smoothing import gaussian, smoothed_base

SIDE = 24


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize("width", [0.75, 1.5, 3.0])
def test_a_gaussian_is_scipys_over_the_pixels_that_count(rng, width):
    values, counted = rng.random((2, SIDE, SIDE)), rng.random((2, SIDE, SIDE)) < 0.7
    found = gaussian(torch.tensor(values), torch.tensor(counted).double(), width)
    reach = int(np.ceil(3 * width))
    for one, there, smooth in zip(values, counted, found, strict=True):
        sums, weights = (
            gaussian_filter(x, width, mode="constant", radius=reach)
            for x in (one * there, 1.0 * there)
        )
        np.testing.assert_allclose(smooth, sums / weights, rtol=1e-9)


def test_far_from_all_that_counts_there_is_nothing():
    counted = torch.zeros(1, SIDE, SIDE)
    counted[0, 0, 0] = 1
    found = gaussian(torch.full_like(counted, 5.0), counted, 0.5)
    assert found[0, 0, 0] == 5
    assert found[0, -1, -1] == 0


def test_a_map_that_is_its_expected_stays_so_and_a_masked_pixel_is_filled_in():
    """Smoothing the contacts themselves would flatten their decay."""
    index = torch.arange(SIDE)
    expected = 50.0 / (1 + (index[:, None] - index).abs())[None]
    observed = 2 * expected
    usable = torch.ones(1, SIDE // 2, SIDE // 2)
    usable[0, 3, :] = usable[0, :, 3] = 0
    holes = usable.repeat_interleave(2, 1).repeat_interleave(2, 2) == 0
    base = to_network(observed.masked_fill(holes, 0.0))
    found = from_network(smoothed_base(base, to_network(expected), usable, 1.5))
    torch.testing.assert_close(found, observed, rtol=1e-4, atol=1e-4)
