"""Intervals of paired differences, against cases with a known answer."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t as student
from scipy.stats import ttest_1samp

from experiments import interval_coverage as coverage
from hicray.metrics.paired import (
    MIN_BLOCKS,
    difference_of_gains,
    half_width,
    paired_difference,
)


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
    found = paired_difference({0: base.assign(score=base["score"] + 0.1)}, {0: base}, "score")
    assert found.mean == pytest.approx(0.1)
    assert found.low == pytest.approx(0.1)
    assert found.high == pytest.approx(0.1)
    assert (found.windows, found.blocks) == (64, 16)


def test_the_interval_of_one_training_is_scipys_over_block_means(rng):
    ours = windows(rng.normal(0.2, 1, 160))
    found = paired_difference({0: ours}, {0: windows(np.zeros(160))}, "score")
    means = ours["score"].to_numpy().reshape(40, 4).mean(axis=1)
    assert (found.low, found.high) == pytest.approx(ttest_1samp(means, 0).confidence_interval())


def test_where_seeds_alone_differ_the_interval_is_students_over_seeds():
    seeds = (0.0, 0.1, 0.5)
    ours = {i: windows(np.full(160, level)) for i, level in enumerate(seeds)}
    found = paired_difference(ours, {i: windows(np.zeros(160)) for i in ours}, "score")
    half = student.ppf(0.975, 2) * np.std(seeds, ddof=1) / np.sqrt(3)
    assert (found.low, found.high) == pytest.approx((0.2 - half, 0.2 + half))
    assert found.scope == ""


def test_neighbours_that_move_together_widen_the_interval(rng):
    blocks = np.repeat(rng.normal(size=40), 4)
    theirs = windows(np.zeros(160))
    together = paired_difference({0: windows(blocks)}, {0: theirs}, "score")
    apart = paired_difference({0: windows(rng.permutation(blocks))}, {0: theirs}, "score")
    assert together.high - together.low > 1.4 * (apart.high - apart.low)


def test_too_few_windows_are_said_not_dressed_up():
    few = windows(np.linspace(0, 1, 4), groups=2)
    found = paired_difference({0: few}, {0: few}, "score")
    assert not found.judged
    assert "too few windows to judge" in str(found)
    assert str(MIN_BLOCKS) in str(found)


def test_undefined_windows_are_left_out():
    base = windows(np.zeros(64))
    ours = base.assign(score=np.where(np.arange(64) == 3, np.nan, 0.2))
    found = paired_difference({0: ours}, {0: base}, "score")
    assert found.windows == 63
    assert found.mean == pytest.approx(0.2)


def test_seeds_that_disagree_widen_the_interval(rng):
    base = windows(np.zeros(160))
    noise = rng.normal(0, 0.01, 160)
    agree = {seed: windows(0.1 + noise) for seed in range(3)}
    apart = {seed: windows(level + noise) for seed, level in enumerate((0.0, 0.1, 0.2))}
    nothing = dict.fromkeys(range(3), base)
    one, other = (paired_difference(ours, nothing, "score") for ours in (agree, apart))
    assert one.mean == pytest.approx(other.mean)
    assert other.high - other.low > 5 * (one.high - one.low)


def test_seeds_are_paired_by_number_not_by_place(rng):
    ours = {seed: windows(rng.normal(size=64)) for seed in (0, 1, 2, 7)}
    theirs = {seed: ours[seed].assign(score=ours[seed]["score"] - 0.3) for seed in (7, 1, 0)}
    found = paired_difference(ours, theirs, "score")
    assert found.seeds == 3
    assert (found.low, found.high) == pytest.approx((0.3, 0.3))


def test_seeds_that_share_no_number_are_paired_in_order(rng):
    ours, theirs = ({seed: windows(rng.normal(size=64)) for seed in range(4)} for _ in range(2))
    found = paired_difference(ours, {seed + 4: one for seed, one in theirs.items()}, "score")
    assert found == pytest.approx(paired_difference(ours, theirs, "score"))
    fewer = paired_difference(ours, {9: theirs[1], 8: theirs[0]}, "score")
    assert fewer == pytest.approx(paired_difference(ours, {0: theirs[0], 1: theirs[1]}, "score"))
    assert fewer.seeds == 2


@pytest.mark.parametrize("swapped", [False, True])
def test_a_method_trained_once_meets_each_seed_and_counts_as_one(rng, swapped):
    many = {seed: windows(rng.normal(size=64)) for seed in range(3)}
    pair = (many, {5: windows(np.zeros(64))})
    found = paired_difference(*(pair[::-1] if swapped else pair), "score")
    assert (found.seeds, found.scope) == (1, "in this one training")
    mean = np.mean([one["score"].mean() for one in many.values()])
    assert found.mean == pytest.approx(-mean if swapped else mean)


@pytest.mark.parametrize("swapped", [False, True])
def test_what_is_not_trained_is_the_same_in_each_training_of_the_other(rng, swapped):
    trained = {seed: windows(rng.normal(seed, 1, 64)) for seed in range(3)}
    constant = windows(rng.normal(size=64))
    pair, copies = (trained, constant), (trained, dict.fromkeys(range(3), constant))
    if swapped:
        pair, copies = pair[::-1], copies[::-1]
    found = paired_difference(*pair, "score")
    assert found == pytest.approx(paired_difference(*copies, "score"))
    assert (found.seeds, found.scope) == (3, "")
    assert str(found).endswith("3 seeds")
    once = paired_difference({7: trained[1]}, constant, "score")
    assert once.scope == "in this one training"


def test_two_methods_without_training_differ_by_blocks_alone(rng):
    ours, theirs = (windows(rng.normal(size=160)) for _ in range(2))
    found = paired_difference(ours, theirs, "score")
    means = (ours - theirs)["score"].to_numpy().reshape(40, 4).mean(axis=1)
    assert (found.low, found.high) == pytest.approx(ttest_1samp(means, 0).confidence_interval())
    assert str(found).endswith("neither is trained")


@pytest.mark.slow
@pytest.mark.parametrize("spread", coverage.SPREADS)
def test_intervals_against_what_is_not_trained_cover_training_in_general(spread):
    rng, held, once, draws = np.random.default_rng(0), 0, 0, 500
    for _ in range(draws):
        cells, _ = coverage.simulate(rng, 16, 3, spread)
        ours = {seed: windows(np.repeat(cells[:, seed], 4)) for seed in range(3)}
        theirs = windows(np.repeat(rng.normal(0, 0.01, 16), 4))
        found = paired_difference(ours, theirs, "score")
        held += found.low <= 0 <= found.high
        one = paired_difference({0: ours[0]}, theirs, "score")
        once += one.low <= 0 <= one.high
    assert 0.93 <= held / draws <= 0.985
    # One training does not speak of others where seeds count, and says so.
    assert (once / draws < 0.9) == (spread[1] > 0.002)


@pytest.mark.parametrize(
    ("seeds", "words"), [(1, "one training"), (2, "two trainings"), (3, "3 s")]
)
def test_an_interval_says_of_which_trainings_it_is(rng, seeds, words):
    ours = {seed: windows(rng.normal(size=64)) for seed in range(seeds)}
    theirs = {seed: windows(np.zeros(64)) for seed in range(seeds)}
    assert words in str(paired_difference(ours, theirs, "score"))


@pytest.mark.slow
@pytest.mark.parametrize("spread", coverage.SPREADS)
@pytest.mark.parametrize("seeds", coverage.SEEDS)
@pytest.mark.parametrize("blocks", coverage.BLOCKS)
def test_intervals_cover_what_they_speak_of(blocks, seeds, spread):
    found = coverage.coverage(blocks, seeds, spread, draws=3000)
    assert 0.93 <= found.promised <= 0.98


def test_what_is_simulated_is_what_is_printed(rng):
    cells, _ = coverage.simulate(rng, 16, 3, (0.02, 0.01))
    ours = {seed: windows(np.repeat(cells[:, seed], 4)) for seed in range(3)}
    found = paired_difference(ours, {i: windows(np.zeros(64)) for i in ours}, "score")
    many = np.full(cells.shape, 4.0)
    half = half_width(cells * many, many, over_trainings=True)
    assert (found.high - found.low) / 2 == pytest.approx(half)


def test_unequal_blocks_count_by_their_windows_and_lost_cells_by_their_margins(rng):
    """A cell without windows is where its block and seed would have it: it adds no spread."""
    ours = {seed: windows(rng.normal(seed, 0.1, 64)) for seed in range(3)}
    whole = paired_difference(ours, {i: windows(np.zeros(64)) for i in ours}, "score")
    ours[1].loc[:3, "score"] = np.nan
    ours[2].loc[9, "score"] = np.nan
    part = paired_difference(ours, {i: windows(np.zeros(64)) for i in ours}, "score")
    assert part.blocks == whole.blocks
    assert part.high - part.low == pytest.approx(whole.high - whole.low, rel=0.1)


def test_gains_are_compared_by_window_and_seed(rng):
    base = {seed: windows(rng.normal(size=64)) for seed in range(2)}
    larger, smaller = (
        {seed: one.assign(score=one["score"] + by) for seed, one in base.items()}
        for by in (0.3, 0.1)
    )
    found = difference_of_gains((larger, base), (smaller, base), "score")
    assert (found.seeds, found.windows) == (2, 64)
    assert (found.low, found.high) == pytest.approx((0.2, 0.2))
    once = {0: base[0]}
    scope = difference_of_gains((larger, once), (smaller, once), "score").scope
    assert scope == "in this one training"
    constant = difference_of_gains((larger, base[0]), (smaller, base[0]), "score")
    assert (constant.seeds, constant.mean) == (2, pytest.approx(0.2))


def test_windows_out_of_order_are_refused():
    base = windows(np.zeros(64))
    with pytest.raises(ValueError, match="same windows"):
        paired_difference({0: base}, {0: base[::-1]}, "score")


def test_windows_of_one_locus_share_a_block_whatever_map_they_are_of(rng):
    one = windows(rng.normal(size=64))
    theirs = one.assign(score=0.0)
    both = [pd.concat([part, part], ignore_index=True) for part in (one, theirs)]
    once = paired_difference({0: one}, {0: theirs}, "score")
    twice = paired_difference({0: both[0]}, {0: both[1]}, "score")
    assert twice._replace(windows=64) == pytest.approx(once)
    assert twice.windows == 128


def test_a_seed_without_a_defined_window_counts_for_nothing(rng):
    ours = {seed: windows(rng.normal(size=64)) for seed in range(4)}
    theirs = {seed: windows(np.zeros(64)) for seed in range(4)}
    three = paired_difference(
        *({k: v for k, v in of.items() if k != 2} for of in (ours, theirs)), "score"
    )
    ours[2]["score"] = np.nan
    assert paired_difference(ours, theirs, "score") == pytest.approx(three)
