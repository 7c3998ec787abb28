"""The block bootstrap, against cases with a known answer."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import wilcoxon

from hicray.evaluation.paired import MIN_BLOCKS, difference_of_gains, paired_difference


def windows(values, groups=8):
    per_group = len(values) // groups
    return pd.DataFrame(
        {
            "chrom": np.repeat(np.arange(groups), per_group),
            "row_start": np.tile(np.arange(per_group) * 1_000, groups),
            "score": values,
        }
    )


def test_a_constant_difference_has_no_spread():
    base = windows(np.linspace(0, 1, 64))
    found = paired_difference([base.assign(score=base["score"] + 0.1)], [base], "score")
    assert found.mean == pytest.approx(0.1)
    assert found.low == pytest.approx(0.1)
    assert found.high == pytest.approx(0.1)
    assert (found.windows, found.blocks) == (64, 16)


def test_no_difference_has_an_interval_around_zero_most_of_the_time(rng):
    covered = 0
    for seed in range(60):
        ours, theirs = (windows(rng.normal(size=160)) for _ in range(2))
        found = paired_difference([ours], [theirs], "score", seed=seed)
        covered += found.low <= 0 <= found.high
    assert 51 <= covered <= 60


def test_neighbours_that_move_together_widen_the_interval(rng):
    blocks = np.repeat(rng.normal(size=40), 4)
    theirs = windows(np.zeros(160))
    together = paired_difference([windows(blocks)], [theirs], "score")
    apart = paired_difference([windows(rng.permutation(blocks))], [theirs], "score")
    assert together.high - together.low > 1.4 * (apart.high - apart.low)


def test_too_few_windows_are_said_not_dressed_up():
    few = windows(np.linspace(0, 1, 4), groups=2)
    found = paired_difference([few], [few], "score")
    assert not found.judged
    assert "too few windows to judge" in str(found)
    assert str(MIN_BLOCKS) in str(found)


def test_undefined_windows_are_left_out():
    base = windows(np.zeros(64))
    ours = base.assign(score=np.where(np.arange(64) == 3, np.nan, 0.2))
    found = paired_difference([ours], [base], "score")
    assert found.windows == 63
    assert found.mean == pytest.approx(0.2)


def test_seeds_that_disagree_widen_the_interval(rng):
    base = windows(np.zeros(160))
    noise = rng.normal(0, 0.01, 160)
    agree = [windows(0.1 + noise) for _ in range(3)]
    apart = [windows(level + noise) for level in (0.0, 0.1, 0.2)]
    one, other = (paired_difference(ours, [base], "score") for ours in (agree, apart))
    assert one.mean == pytest.approx(other.mean)
    assert other.high - other.low > 5 * (one.high - one.low)


def test_seeds_are_paired_and_a_method_of_one_seed_meets_each_and_counts_as_one(rng):
    ours = [windows(rng.normal(size=64)) for _ in range(3)]
    theirs = [one.assign(score=one["score"] - 0.3) for one in ours]
    paired = paired_difference(ours, theirs, "score")
    assert paired.low == pytest.approx(0.3)
    assert paired_difference(ours, theirs[:2], "score").seeds == 2
    assert paired_difference(ours, [windows(np.zeros(64))], "score").seeds == 1


def test_the_rank_test_is_scipys_over_block_means(rng):
    ours = windows(rng.normal(0.2, 1, 160))
    found = paired_difference([ours], [windows(np.zeros(160))], "score")
    means = ours["score"].to_numpy().reshape(40, 4).mean(axis=1)
    assert found.p == pytest.approx(wilcoxon(means).pvalue)


def test_gains_are_compared_by_window_and_seed(rng):
    base = [windows(rng.normal(size=64)) for _ in range(2)]
    larger, smaller = ([one.assign(score=one["score"] + by) for one in base] for by in (0.3, 0.1))
    found = difference_of_gains((larger, base), (smaller, base), "score")
    assert (found.seeds, found.windows) == (2, 64)
    assert (found.low, found.high) == pytest.approx((0.2, 0.2))


def test_windows_out_of_order_are_refused():
    base = windows(np.zeros(64))
    with pytest.raises(ValueError, match="same windows"):
        paired_difference([base], [base[::-1]], "score")


def test_windows_of_one_locus_share_a_block_whatever_map_they_are_of(rng):
    one = windows(rng.normal(size=64))
    theirs = one.assign(score=0.0)
    both = [pd.concat([part, part], ignore_index=True) for part in (one, theirs)]
    once = paired_difference([one], [theirs], "score")
    twice = paired_difference([both[0]], [both[1]], "score")
    assert twice._replace(windows=64) == pytest.approx(once)
    assert twice.windows == 128
