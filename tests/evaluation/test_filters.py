"""Rows that a network has to beat, each against something it must equal; and the ceiling."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import poisson

from hicray.evaluation import rivals
from hicray.evaluation.filters import bilinear, gaussian, mean_log, noise_aware
from hicray.evaluation.ridge import Ridge, RidgeSums
from hicray.evaluation.window_set import HeldOutWindows, WindowScores
from hicray.windows.collate import Collate
from hicray.windows.inputs import USABLE
from hicray.windows.scales import NATS, from_network, to_network

COARSE, GAP, SIDE = 512, 4, 64
COARSE_SIDE = SIDE // GAP


@pytest.fixture(scope="module")
def sets(tiny_shards):
    collate = Collate(tiny_shards[1], COARSE)
    return {
        split: HeldOutWindows(tiny_shards[0], split, collate, COARSE) for split in ("train", "val")
    }


@pytest.fixture(scope="module")
def batch(sets):
    return next(sets["train"].batches(at_once=6))


def neighbourhood(batch, window, row, col, size):
    """One coarse pixel's log O/E and its neighbours', by hand; outside of the window there is 0."""
    reach = size // 2
    known = (batch.evidence[window, 0] * batch.evidence[window, USABLE]).double().numpy()
    padded = np.pad(known, reach)
    return np.append(padded[row : row + size, col : col + size].ravel(), 1.0)


def pixels(batch, coarse_separations, phase):
    """Usable pixels of the upper triangle with a phase, their features and what they lack."""
    features, lacks = [], []
    for window in range(len(batch)):
        for row in range(COARSE_SIDE):
            for col in range(row, COARSE_SIDE):
                at = GAP * row + phase[0], GAP * col + phase[1]
                if col - row not in coarse_separations or at[1] < at[0]:
                    continue
                if batch.usable[window][at]:
                    features.append(neighbourhood(batch, window, row, col, 3))
                    lacks.append(float(batch.target[window][at] - batch.base[window][at]) * NATS)
    return np.array(features), np.array(lacks)


@pytest.mark.parametrize(("band", "apart"), [(2, [1]), (5, [4, 5])])
def test_a_ridge_filter_solves_the_normal_equations_of_its_pixels(batch, band, apart):
    sums = RidgeSums.of([batch], GAP, COARSE_SIDE)
    found = sums.solve(3, 0.01).weights[band, 6].numpy()  # the phase in row 1, column 2
    x, y = pixels(batch, apart, (1, 2))
    gram = x.T @ x
    penalty = 0.01 * np.diag(gram)[:-1].mean() * np.diag([1.0] * 9 + [0.0])
    np.testing.assert_allclose(found, np.linalg.solve(gram + penalty, x.T @ y), rtol=1e-4)


def test_a_ridge_filter_finds_a_map_that_is_one(batch):
    """Its own correction, drawn at random, is learnt back from the maps that it makes."""
    sums = RidgeSums.of([batch], GAP, COARSE_SIDE)
    drawn = torch.randn(
        sums.cross[..., :10].shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    rule = Ridge(3, 0.0, drawn / 20)
    made = rule(batch)
    torch.testing.assert_close(made, made.mT)
    learnt = RidgeSums.of([replace(batch, target=made)], GAP, COARSE_SIDE).solve(3, 1e-9)
    usable = batch.usable
    torch.testing.assert_close(learnt(batch)[usable], made[usable], rtol=0, atol=1e-4)


def test_where_nothing_was_seen_a_ridge_filter_corrects_nothing(batch):
    nothing = replace(batch, usable=torch.zeros_like(batch.usable))
    filtered = RidgeSums.of([nothing], GAP, COARSE_SIDE).solve(5, 0.1)(batch)
    torch.testing.assert_close(filtered, batch.base)


def test_bilinear_oe_is_numpys_between_centres_and_keeps_a_flat_map(batch):
    rng = np.random.default_rng(0)
    ratio = rng.random((COARSE_SIDE, COARSE_SIDE))
    ratio = ratio + ratio.T
    expected = torch.full_like(batch.base, 40.0)
    fine = torch.from_numpy(ratio).float().repeat_interleave(GAP, 0).repeat_interleave(GAP, 1)
    evidence = torch.ones_like(batch.evidence)
    given = replace(
        batch,
        base=to_network(fine * expected),
        expected=to_network(expected),
        evidence=evidence,
    )
    found = (from_network(bilinear(given)) / 40)[0].numpy()
    centres = (np.arange(COARSE_SIDE) + 0.5) * GAP - 0.5
    at = np.arange(SIDE).clip(centres[0], centres[-1])
    rows = np.stack([np.interp(at, centres, ratio[:, col]) for col in range(COARSE_SIDE)], axis=1)
    both = np.stack([np.interp(at, centres, row) for row in rows])
    np.testing.assert_allclose(found, both, rtol=1e-4)


@pytest.mark.parametrize("reads_per_contact", [0.2, 1.0, 7.0])
@pytest.mark.parametrize("contacts", [0.01, 0.7, 5.0, 29.0, 200.0])
def test_the_mean_log_of_poisson_reads_is_scipys(contacts, reads_per_contact):
    rate = contacts * reads_per_contact
    reads = np.arange(int(rate + 20 * np.sqrt(rate) + 50))
    expected = (poisson.pmf(reads, rate) * np.log1p(reads / reads_per_contact)).sum()
    found = mean_log(torch.tensor([contacts]).double(), torch.tensor([reads_per_contact]).double())
    assert float(found) == pytest.approx(expected, rel=2e-4)


def test_the_noise_aware_base_lies_below_the_base_and_keeps_its_zeros(batch):
    found = noise_aware(batch)
    assert (found <= batch.base + 1e-6).all()
    assert (found[batch.base > 0.01] > 0).all()
    np.testing.assert_allclose(found[batch.base == 0], 0, atol=1e-7)


def test_filters_are_chosen_by_validation_and_the_best_is_named(sets):
    found = rivals.fit(sets["train"], sets["val"])
    scores = sets["val"].score(found.predictors)
    levels = {name: one.mean("oe_pearson") for name, one in scores.items()}
    assert found.best == max(levels, key=lambda name: levels[name])
    widths = {f"width {w:g} bins": w for w in rivals.WIDTHS_BINS}
    tried = {
        how: sets["val"].score({how: lambda b, w=w: gaussian(b, w)})[how].mean("oe_pearson")
        for how, w in widths.items()
    }
    assert found.settings[rivals.GAUSSIAN] == max(tried, key=lambda how: tried[how])
    assert levels[rivals.RIDGE] > levels[rivals.BASE]


def test_a_set_can_be_its_first_windows(sets):
    whole = [len(table) for table in sets["train"].tables(at_once=16)]
    first = [len(table) for table in sets["train"].first(20).tables(at_once=16)]
    assert sum(whole) == len(sets["train"]) > 20
    assert sum(first) == len(sets["train"].first(20)) == 20


@pytest.mark.parametrize("noise", [0.7, 1.5, 4.0])
def test_the_ceiling_is_how_the_mean_of_two_halves_goes_with_their_truth(noise):
    """Of truth and noise that are drawn; few pixels a window, so that r is noisy, as far bands."""
    rng = np.random.default_rng(0)
    truth = rng.normal(0, 1, (500, 200))
    one, other = truth + rng.normal(0, noise, (2, *truth.shape))
    r = np.array([np.corrcoef(a, b)[0, 1] for a, b in zip(one, other, strict=True)])
    r[0] = np.nan
    windows = pd.DataFrame(
        {"oe_pearson": r, "oe_pearson_2_4": np.nan, "mse": 1.0, "group": 0, "row_start": 5}
    )
    found = rivals.ceiling(WindowScores(windows, 0.1)).windows
    both = zip(truth, (one + other) / 2, strict=True)
    reached = np.mean([np.corrcoef(a, b)[0, 1] for a, b in both])
    assert found["oe_pearson"].mean() == pytest.approx(reached, abs=0.01)
    assert found["oe_pearson"].isna().tolist() == [True] + [False] * 499
    assert found["oe_pearson"][1:].corr(windows["oe_pearson"][1:]) == pytest.approx(1)
    assert found[["oe_pearson_2_4", "mse"]].isna().all(axis=None)
    assert (found["row_start"] == 5).all()


def test_halves_of_pure_noise_leave_a_ceiling_of_nothing():
    windows = pd.DataFrame({"oe_pearson": [-0.1, 0.05]})
    assert rivals.ceiling(WindowScores(windows, 0.1)).windows["oe_pearson"].tolist() == [0, 0]
