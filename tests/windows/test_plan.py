import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hicray.config import DataConfig, UserError
from hicray.windows.plan import Layout, chromosome_windows, layout_of, usable_fraction

BIN = 128
FACTORS = st.sampled_from([(2,), (4,), (2, 4), (2, 3), (1, 4)])


def config(**changes):
    return DataConfig(**{"fine_bin_size": BIN, "coarse_bin_sizes": (256, 512)} | changes)


def starts_in_bins(length, split, layout):
    table = chromosome_windows(length, BIN, split, layout)
    assert not (table % BIN).to_numpy().any()
    return list((table // BIN).itertuples(index=False, name=None))


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 60_000), st.sampled_from(["train", "val", "test"]), FACTORS)
def test_windows_reach_the_last_bin_of_every_chromosome(length, split, factors):
    layout = layout_of(
        config(coarse_bin_sizes=tuple(factor * BIN for factor in factors), window_bins=48)
    )
    covered = np.zeros(-(-length // BIN), dtype=bool)
    for row, col in starts_in_bins(length, split, layout):
        assert row == col < len(covered)
        covered[row : row + layout.window] = True
    assert covered.all()


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 60_000), st.sampled_from(["train", "val", "test"]), FACTORS)
def test_starts_are_aligned_to_every_coarse_bin(length, split, factors):
    sizes = tuple(factor * BIN for factor in factors)
    layout = layout_of(config(coarse_bin_sizes=sizes, window_bins=48, max_distance=100 * BIN))
    table = chromosome_windows(length, BIN, split, layout)
    for size in sizes:
        assert not (table % size).to_numpy().any()


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 60_000), st.sampled_from(["val", "test"]))
def test_validation_and_test_windows_do_not_overlap(length, split):
    layout = layout_of(config(window_bins=64, max_distance=200 * BIN))
    times_seen = np.zeros((600, 800), dtype=int)
    for row, col in starts_in_bins(length, split, layout):
        times_seen[row : row + 64, col : col + 64] += 1
    assert times_seen.max() == 1


def test_training_windows_are_a_quarter_of_a_window_apart_by_default():
    rows = [row for row, _ in starts_in_bins(200 * BIN, "train", layout_of(config(window_bins=64)))]
    assert rows == list(range(0, 145, 16))
    assert rows[-2] + 64 < 200 <= rows[-1] + 64


def test_a_quarter_that_would_cut_coarse_bins_is_rounded_down():
    sizes = (BIN * 2, BIN * 3)
    assert layout_of(config(window_bins=48, coarse_bin_sizes=sizes)).train_stride == 12
    assert layout_of(config(window_bins=48, coarse_bin_sizes=(BIN * 8,))).train_stride == 8
    assert layout_of(config(window_bins=16, coarse_bin_sizes=(BIN * 8,))).train_stride == 8


def test_a_stride_of_ones_own_is_kept():
    layout = layout_of(config(window_bins=64, train_stride_bins=8))
    assert [row for row, _ in starts_in_bins(80 * BIN, "train", layout)] == [0, 8, 16]


def test_windows_off_the_diagonal_hold_every_pixel_as_far_as_they_reach():
    layout = layout_of(config(window_bins=64, max_distance=130 * BIN))
    assert layout.offsets == (0, 64, 128)
    assert layout.num_separations == 192
    for split in ("train", "val"):
        held = np.zeros((200, 200), dtype=bool)
        for row, col in starts_in_bins(200 * BIN, split, layout):
            assert 0 <= col - row <= 130
            assert row < 200
            assert col < 200
            held[row : row + 64, col : col + 64] = True
        row, col = np.triu_indices(200)
        assert held[row, col][col - row <= 128].all()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"window_bins": 50}, "multiple of 16"),
        ({"window_bins": 0}, "multiple of 16"),
        ({"window_bins": 64, "coarse_bin_sizes": (BIN * 3,)}, r"gaps \[3\], such as 192"),
        ({"train_stride_bins": 6}, "multiple of 4"),
        ({"coarse_bin_sizes": (300,)}, "whole fine bins of 128 bp"),
        ({"coarse_bin_sizes": (64,)}, "such as 256"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(changes, said):
    with pytest.raises(UserError, match=said):
        layout_of(config(**changes))


@settings(deadline=None, max_examples=50)
@given(st.lists(st.booleans(), min_size=1, max_size=90), st.integers(0, 40), st.integers(0, 64))
def test_usable_fraction_is_the_smaller_share_of_the_two_axes(usable, row, offset):
    windows = pd.DataFrame({"row_start": [row], "col_start": [row + offset]}) * BIN
    shares = []
    for start in (row, row + offset):
        shares.append(sum(usable[b] for b in range(start, start + 32) if b < len(usable)) / 32)
    found = usable_fraction(windows, np.array(usable), BIN, 32)
    assert found.tolist() == [min(shares)]


def test_bins_past_the_end_are_not_usable():
    windows = chromosome_windows(40 * BIN, BIN, "val", Layout(32, 8, (0,)))
    share = usable_fraction(windows, np.ones(40, dtype=bool), BIN, 32)
    assert share.tolist() == [1.0, 8 / 32]
