import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hicray.windows.scales import (
    balance,
    caps_of,
    contact_image,
    fine_pixels,
    from_network,
    separations,
    spread,
    to_network,
    triangle_index,
)

CONTACTS = st.floats(0, 1e7, allow_nan=False)


def inside(start, total, window):
    return torch.arange(start, start + window)[None] < total


def slow_fine_pixels(row, col, total, window, factor):
    """Count, for each fine pixel, the pairs i <= j of existing bins in its coarse pixel."""
    counts = np.ones((window, window))
    for r in range(window):
        for c in range(window):
            low_i, low_j = ((x // factor) * factor for x in (row + r, col + c))
            pairs = set()
            for i in range(low_i, low_i + factor):
                for j in range(low_j, low_j + factor):
                    if i < total and j < total:
                        pairs.add((min(i, j), max(i, j)))
            counts[r, c] = max(len(pairs), 1)
    return counts


@settings(deadline=None)
@given(st.lists(CONTACTS, min_size=1, max_size=30))
def test_from_network_inverts_to_network(values):
    contacts = torch.tensor(values, dtype=torch.float64).reshape(1, 1, -1)
    torch.testing.assert_close(from_network(to_network(contacts)), contacts, rtol=1e-9, atol=1e-9)


@settings(deadline=None)
@given(st.lists(st.floats(0, 2.5), min_size=1, max_size=30))
def test_to_network_inverts_from_network(values):
    network = torch.tensor(values, dtype=torch.float64).reshape(1, 1, -1)
    torch.testing.assert_close(to_network(from_network(network)), network, rtol=1e-9, atol=1e-12)


def test_network_value_one_is_a_thousand_contacts_and_nothing_is_capped():
    contacts = torch.tensor([[[0.0, 1_000.0, 1_001.0**2 - 1]]], dtype=torch.float64)
    assert to_network(contacts).flatten().tolist() == pytest.approx([0.0, 1.0, 2.0])
    assert from_network(torch.full((1, 1, 1), -0.3)).item() == 0


def upstream_image(counts, *, on_diagonal, cutoff):
    """HiCFoundation's inference, task 3, written anew in float64 (its inference_dataset.py)."""
    counts = np.array(counts, dtype=np.float64)
    if on_diagonal:
        for i in range(len(counts)):
            counts[i, i] = 0
    if cutoff is not None:
        counts = np.minimum(counts, cutoff)
    logs = np.log10(counts + 1)
    top = np.log10(cutoff + 1) if cutoff is not None else logs.max()
    value = (top - logs) / top
    channels = [np.ones_like(value), value, value]
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    return np.stack([(c - m) / s for c, m, s in zip(channels, mean, std, strict=True)])


@pytest.mark.parametrize("cap", [None, 100.0])
@pytest.mark.parametrize("diagonal", [0, 32])
def test_image_equals_upstreams_inference(rng, cap, diagonal):
    counts = rng.negative_binomial(1, 0.02, (2, 32, 32))
    counts[1] //= 100  # a window whose maximum is below the cap
    image = contact_image(
        torch.tensor(counts).double(), torch.tensor([diagonal] * 2), caps_of([cap] * 2)
    )
    for window, own in zip(image, counts, strict=True):
        expected = upstream_image(own, on_diagonal=diagonal == 0, cutoff=cap)
        np.testing.assert_allclose(window.numpy(), expected, rtol=1e-9)


def test_image_zeroes_the_diagonal_only_of_the_windows_that_hold_it():
    counts = torch.full((2, 16, 16), 7.0)
    image = contact_image(counts, torch.tensor([0, 16]), caps_of([None] * 2))
    none, most = ((1 - 0.456) / 0.224, -0.456 / 0.224)
    torch.testing.assert_close(image[0, 1].diagonal(), torch.full((16,), none))
    torch.testing.assert_close(image[1, 1], torch.full((16, 16), most))


def test_image_of_a_window_without_contacts_is_finite():
    image = contact_image(torch.zeros(1, 16, 16), torch.tensor([0]), caps_of([None]))
    torch.testing.assert_close(image[0, 1], torch.full((16, 16), (1 - 0.456) / 0.224))


@pytest.mark.parametrize(("bins", "repeat"), [(1, 1), (5, 1), (4, 3)])
def test_triangle_index_is_where_numpy_puts_a_pixel(bins, repeat):
    place = {pair: k for k, pair in enumerate(zip(*np.triu_indices(bins), strict=True))}
    index = triangle_index(bins, repeat, torch.device("cpu"))
    for row in range(bins * repeat):
        for col in range(bins * repeat):
            pair = tuple(sorted((row // repeat, col // repeat)))
            assert index[row, col] == place[pair]


def test_spread_repeats_triangles_symmetrically_and_squares_as_they_are(rng):
    full = rng.integers(0, 50, (3, 4, 4))
    square = spread(torch.tensor(full.reshape(3, -1)), 4, 2)
    np.testing.assert_array_equal(square, np.repeat(np.repeat(full, 2, 1), 2, 2))
    upper = full[:, *np.triu_indices(4)]
    triangle = spread(torch.tensor(upper), 4, 2)
    mirrored = np.stack([np.triu(one) + np.triu(one, 1).T for one in full])
    np.testing.assert_array_equal(triangle, np.repeat(np.repeat(mirrored, 2, 1), 2, 2))


@settings(deadline=None, max_examples=25)
@given(st.sampled_from([1, 2, 3, 4]), st.integers(1, 40), st.sampled_from([0, 1]), st.data())
def test_fine_pixels_are_the_existing_pairs_of_a_coarse_pixel(factor, total, offset, data):
    window = 12
    row = data.draw(st.integers(0, (total - 1) // factor)) * factor
    col = row + offset * window
    exists = (inside(row, total, window), inside(col, total, window))
    found = fine_pixels(exists, torch.tensor([col - row]), factor)[0]
    expected = slow_fine_pixels(row, col, total, window, factor)
    known = exists[0][0][:, None] & exists[1][0]
    np.testing.assert_array_equal(found[known], expected[known.numpy()])
    assert (found[~known] >= 1).all()


@pytest.mark.parametrize("factor", [2, 4])
@pytest.mark.parametrize("total", [64, 61, 62, 63, 33])
@pytest.mark.parametrize("offset", [0, 32])
def test_a_constant_map_comes_back_constant(factor, total, offset):
    """Coarsened as cooler does it (each pair once) and brought back to the fine grid."""
    padded = np.zeros((64, 64))
    padded[:total, :total] = np.triu(np.full((total, total), 5))
    coarse = padded.reshape(64 // factor, factor, 64 // factor, factor).sum((1, 3)).astype(int)
    side = 32 // factor
    block = coarse[:side, offset // factor : offset // factor + side]
    counts = block.ravel() if offset else block[np.triu_indices(side)]
    exists = inside(0, total, 32), inside(offset, total, 32)
    dense = spread(torch.tensor(counts)[None], side, factor)
    fine = dense / fine_pixels(exists, torch.tensor([offset]), factor)
    known = exists[0][0][:, None] & exists[1][0]
    assert known.any()
    assert set(fine[0][known].tolist()) == {5.0}


def test_balancing_multiplies_both_axes_and_leaves_nothing_of_unusable_bins():
    counts = torch.full((1, 2, 3), 6.0)
    rows, cols = torch.tensor([[0.5, torch.nan]]), torch.tensor([[1.0, torch.nan, 2.0]])
    assert balance(counts, rows, cols).tolist() == [[[3.0, 0.0, 6.0], [0.0, 0.0, 0.0]]]


def test_separations_count_bins_from_the_main_diagonal():
    found = separations(torch.tensor([0, 5]), 4)
    for window, diagonal in zip(found, (0, 5), strict=True):
        for row in range(4):
            for col in range(4):
                assert window[row, col] == abs(diagonal + col - row)
