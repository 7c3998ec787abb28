"""Bands against dense symmetric maps, pixel by pixel."""

import numpy as np
import pytest

from hicray.maps.bands import at_columns, filtered, pixel_table, read_bins, square, usable_pixels


def dense(band):
    """The symmetric map that a band holds."""
    bins, separations = band.shape
    full = np.zeros((bins, bins))
    for row in range(bins):
        for col in range(row, min(row + separations, bins)):
            full[row, col] = full[col, row] = band[row, col - row]
    return full


def random_band(rng, bins, separations):
    inside = np.arange(bins)[:, None] + np.arange(separations) < bins
    return rng.uniform(0, 9, (bins, separations)) * inside


def test_columns_and_masks_are_those_of_row_plus_separation(rng):
    values = rng.random(5)
    found = at_columns(values, 3)
    expected = [[values[r + s] if r + s < 5 else 0 for s in range(3)] for r in range(5)]
    np.testing.assert_array_equal(found, expected)
    usable = np.array([True, False, True, True, True])
    mask = usable_pixels(usable, 3)
    assert [list(np.flatnonzero(row)) for row in mask] == [[0, 2], [], [0, 1, 2], [0, 1], [0]]


@pytest.mark.parametrize(("bins", "separations"), [(12, 5), (4, 9), (30, 30)])
def test_windows_and_pixels_are_the_dense_maps(rng, bins, separations):
    band = random_band(rng, bins, separations)
    full = np.pad(dense(band), (0, separations))
    side, starts = min(4, separations), np.array([0, 2, bins - 1])
    for start, window in zip(starts, square(band, starts, side), strict=True):
        np.testing.assert_array_equal(window, full[start : start + side, start : start + side])
    table = pixel_table(band, first_bin=7)
    ids = table[["bin1_id", "bin2_id"]].to_numpy() - 7
    assert [*map(tuple, ids)] == sorted(map(tuple, ids))
    np.testing.assert_array_equal(table["count"], full[tuple(ids.T)])
    assert len(table) == np.count_nonzero(np.triu(full))


def test_read_bins_have_a_contact_on_either_axis():
    band = np.zeros((6, 3))
    band[1, 2] = band[5, 0] = 1
    assert list(np.flatnonzero(read_bins(band))) == [1, 3, 5]


@pytest.mark.parametrize(("bins", "separations", "h"), [(20, 8, 1), (9, 9, 3), (5, 12, 2)])
def test_filtering_is_the_weighted_mean_of_the_pixels_around(rng, bins, separations, h):
    band, kernel = random_band(rng, bins, separations), rng.uniform(0.1, 1, 2 * h + 1)
    kernel = kernel + kernel[::-1]
    mask = usable_pixels(rng.random(bins) > 0.2, separations)
    full, known = dense(band), dense(mask.astype(float))
    found = filtered(band, mask, kernel)
    for row in range(bins):
        for col in range(row, min(row + separations, bins)):
            total = weight = 0.0
            for i in range(-h, h + 1):
                for j in range(-h, h + 1):
                    r, c = row + i, col + j
                    if 0 <= r < bins and 0 <= c < bins and known[r, c]:
                        total += kernel[h + i] * kernel[h + j] * full[r, c]
                        weight += kernel[h + i] * kernel[h + j]
            assert found[row, col - row] == pytest.approx(total / weight if weight else 0)
