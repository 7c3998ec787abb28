"""Bits per read: against scipy's Poisson law, and what can and cannot raise it."""

import numpy as np
import pytest
import torch
from scipy.stats import poisson

from hicray.training.metrics import Scored
from hicray.training.moments import Truth
from hicray.windows.scales import FLOOR, to_network

SIDE, WINDOWS, EPS = 24, 6, 1.0
APART = np.abs(np.subtract.outer(np.arange(SIDE), np.arange(SIDE)))
EXPECTED = 30.0 / (1 + APART)


def network(contacts):
    return to_network(torch.from_numpy(np.ascontiguousarray(contacts)).float())


def symmetric(maps):
    return np.triu(maps) + np.triu(maps, 1).transpose(0, 2, 1)


def truth_of(reads, reads_per_contact, usable=None):
    if usable is None:
        usable = np.ones(reads.shape, dtype=bool)
    contacts = np.where(usable, reads / reads_per_contact, 0.0)
    nothing = torch.zeros(len(reads), dtype=torch.int64)
    return Truth(
        target=network(contacts),
        usable=torch.from_numpy(usable),
        reads=torch.from_numpy(reads).float(),
        reads_per_contact=torch.from_numpy(reads_per_contact).float(),
        expected=network(np.broadcast_to(EXPECTED, reads.shape)),
        diagonal=nothing,
        group=nothing,
    )


def scores_of(prediction, truth, **bands):
    scored = Scored(1, SIDE, EPS)
    scored.add(prediction, truth)
    decays = scored.decays()
    if bands:
        return scored.by_separation(decays, bands["bands"])
    return scored.scores(decays, torch.ones(1, SIDE))


@pytest.fixture
def case(rng):
    """Weights that differ, some structure, Poisson reads, a bin that is not usable."""
    coverage = np.exp(rng.normal(0, 0.6, (WINDOWS, SIDE)))
    per_contact = coverage[:, :, None] * coverage[:, None, :]
    rates = EXPECTED * np.exp(symmetric(rng.normal(0, 0.5, (WINDOWS, SIDE, SIDE))))
    reads = symmetric(rng.poisson(rates * per_contact))
    usable = np.ones(reads.shape, dtype=bool)
    usable[2, 5], usable[2, :, 5] = False, False
    return rates, truth_of(reads, per_contact, usable), coverage


def loop(prediction, truth, first=2, end=SIDE):
    """Bits of each window, pixel by pixel, with levels that bring sums of rates to the reads."""
    contacts = 10 ** (prediction.double().numpy() * np.log10(1001)) - 1 + FLOOR * EXPECTED
    n, k = truth.reads.numpy(), truth.reads_per_contact.double().numpy()
    counted = truth.usable.numpy() & np.triu(np.ones((SIDE, SIDE), dtype=bool))
    found = np.zeros(WINDOWS)
    for apart in range(first, end):
        at = counted & (apart == APART)
        total = (n * at).sum()
        ours = contacts * k * total / (contacts * k * at).sum()
        distance = k * total / (k * at).sum()
        gained = poisson.logpmf(n, ours) - poisson.logpmf(n, distance)
        found += np.where(at, gained, 0.0).sum(axis=(1, 2))
    inside = counted & (first <= APART) & (end > APART)
    return found / (n * inside).sum(axis=(1, 2)) / np.log(2)


def test_bits_are_scipys_poisson_likelihood_over_that_of_distance_alone(case):
    rates, truth, _ = case
    blurred = network(np.sqrt(rates * EXPECTED))
    found = scores_of(blurred, truth)["bits_per_read"]
    np.testing.assert_allclose(found, loop(blurred, truth), rtol=1e-4, atol=1e-6)
    band = scores_of(blurred, truth, bands=[(3, 9)])["bits_per_read"][3, 9]
    np.testing.assert_allclose(band, loop(blurred, truth, 3, 9), rtol=1e-4, atol=1e-6)


def test_distance_alone_is_worth_nothing_and_the_truth_is_worth_most(case):
    rates, truth, _ = case
    distance = scores_of(network(np.broadcast_to(EXPECTED, rates.shape)), truth)["bits_per_read"]
    np.testing.assert_allclose(distance, 0.0, atol=1e-6)
    whole, half = (
        scores_of(network(x), truth)["bits_per_read"] for x in (rates, np.sqrt(rates * EXPECTED))
    )
    assert (whole > half).all()
    assert (half > 0).all()


def test_a_level_by_separation_changes_nothing(case):
    rates, truth, _ = case
    factor = 3.0 / (1 + APART)
    first, other = (
        scores_of(network(x - FLOOR * EXPECTED), truth)["bits_per_read"]
        for x in (rates, rates * factor)
    )
    np.testing.assert_allclose(first, other, rtol=0.02)


def test_coverage_that_is_guessed_buys_oe_pearson_but_no_bits(rng):
    """Sparse reads, no structure at all: the mean log of noisy contacts follows the coverage."""
    coverage = np.exp(rng.normal(0, 0.8, (40, SIDE)))
    per_contact = coverage[:, :, None] * coverage[:, None, :]
    rates = np.broadcast_to(2.0 / (1 + APART) ** 0.3, per_contact.shape)
    truth = truth_of(symmetric(rng.poisson(rates * per_contact)), per_contact)
    counts = np.arange(60)[:, None, None, None]
    chances = poisson.pmf(counts, rates * per_contact)
    guessed = np.expm1((chances * np.log1p(counts / per_contact)).sum(axis=0))
    scores = scores_of(network(guessed), truth)
    assert float(scores["oe_pearson"].nanmean()) > 0.1
    assert float(scores["bits_per_read"].mean()) < 0


def test_a_window_without_reads_has_no_bits(case):
    rates, truth, _ = case
    reads = truth.reads.clone()
    reads[1] = 0
    found = scores_of(network(rates), truth._replace(reads=reads))["bits_per_read"]
    assert torch.isnan(found[1])
    assert torch.isfinite(found[[0, 2, 3, 4, 5]]).all()
