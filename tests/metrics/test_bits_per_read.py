"""Bits per read against scipy, pixel by pixel; what it cannot be raised by."""

import numpy as np
import pytest
import torch
from scipy.stats import poisson

from hicray.metrics.moments import Truth
from hicray.metrics.scores import Scored
from hicray.windows.scales import to_network

SIDE, GROUPS = 24, 2
APART = np.abs(np.subtract.outer(np.arange(SIDE), np.arange(SIDE)))


def symmetric(x):
    return np.triu(x) + np.triu(x, 1).transpose(0, 2, 1)


def drawn(rng, contacts, spread, count=6, group=None):
    """Truth of windows whose reads are drawn from contacts at bins of random coverage."""
    coverage = np.exp(rng.normal(0, spread, (count, SIDE)))
    k = coverage[:, :, None] * coverage[:, None, :]
    reads = symmetric(rng.poisson(contacts * k))
    tensors = [torch.from_numpy(np.asarray(x, dtype=np.float32)) for x in (reads / k, reads, k)]
    by_distance = torch.from_numpy(decay()).float().expand(count, -1, -1)
    return Truth(
        target=to_network(tensors[0]),
        usable=torch.ones(count, SIDE, SIDE, dtype=torch.bool),
        reads=tensors[1],
        reads_per_contact=tensors[2],
        expected=to_network(by_distance),
        diagonal=torch.zeros(count, dtype=torch.int64),
        group=torch.zeros(count, dtype=torch.int64) if group is None else torch.tensor(group),
    )


def decay(top=6.0):
    return top / (1 + APART)


def scores(prediction, truth):
    scored = Scored(GROUPS, SIDE, 1.0)
    scored.add(prediction, truth)
    decays = scored.decays()
    bands = scored.by_separation(decays, [(4, 8)])["bits_per_read"]
    found = scored.scores(decays, torch.ones(GROUPS, SIDE))
    return found | {"band": bands[4, 8]}


def contacts_of(values):
    return 1001 ** values.double().numpy() - 1


def apart_in(truth, window):
    """Separation of each pixel that is counted; -1 below the diagonal, or less."""
    return int(truth.diagonal[window]) + np.arange(SIDE) - np.arange(SIDE)[:, None]


def loop_bits(prediction, truth, window, first=2, end=SIDE):
    """Compare the likelihood of two maps pixel by pixel, each at the level of its group."""
    x = contacts_of(prediction).clip(min=0) + 0.02 * contacts_of(truth.expected)
    y = contacts_of(truth.expected)
    n, k = truth.reads.numpy(), truth.reads_per_contact.double().numpy()
    group, usable = truth.group.numpy(), truth.usable.numpy()
    gain = reads = 0.0
    for s in range(first, end):
        level = np.zeros(3)
        for w in np.flatnonzero(group == group[window]):
            here = usable[w] & (apart_in(truth, w) == s)
            level += [z[here].sum() for z in (n[w], (x * k)[w], (y * k)[w])]
        here = usable[window] & (apart_in(truth, window) == s)
        for i, j in np.argwhere(here):
            rates = [
                level[0] / total * z[window, i, j] * k[window, i, j]
                for z, total in ((x, level[1]), (y, level[2]))
            ]
            ours, distance = (poisson.logpmf(n[window, i, j], rate) for rate in rates)
            gain += ours - distance
            reads += n[window, i, j]
    return gain / reads / np.log(2)


@pytest.fixture
def windows(rng):
    """Six windows of two groups, with a bin out, and a map that knows part of their structure."""
    structure = symmetric(np.exp(rng.normal(0, 0.7, (6, SIDE, SIDE))))
    truth = drawn(rng, decay() * structure, 0.4, group=[0, 0, 1, 1, 1, 0])
    truth.usable[1, 5], truth.usable[1, :, 5] = False, False
    guess = to_network(torch.from_numpy(3 * decay() * structure**0.5).float())
    guess[2, 3, 9] = guess[2, 9, 3] = 0.0  # a map's zero is no certainty
    return guess, truth


def test_each_window_has_the_bits_of_a_dense_loop(windows):
    found = scores(*windows)
    for window in (0, 1, 2, 5):
        assert float(found["bits_per_read"][window]) == pytest.approx(
            loop_bits(*windows, window), rel=1e-4
        )
        assert float(found["band"][window]) == pytest.approx(
            loop_bits(*windows, window, 4, 8), rel=1e-4
        )
    assert float(found["bits_per_read"].min()) > 0.05


def test_windows_on_and_off_the_diagonal_count_each_pixel_once(rng):
    """They share levels at the separations that both reach."""
    contacts = 2 * np.exp(rng.normal(0, 0.7, (2, SIDE, SIDE)))
    contacts[:1] = 3 * symmetric(contacts[:1])
    reads = rng.poisson(contacts)
    reads[:1] = symmetric(reads[:1])
    counts = torch.from_numpy(reads).float()
    shape = (2, SIDE, SIDE)
    truth = Truth(
        target=to_network(counts),
        usable=torch.ones(*shape, dtype=torch.bool),
        reads=counts,
        reads_per_contact=torch.ones(*shape),
        expected=torch.full(shape, 0.2),
        diagonal=torch.tensor([0, SIDE]),
        group=torch.tensor([0, 0]),
    )
    guess = to_network(torch.from_numpy(contacts**0.5).float())
    scored = Scored(1, 2 * SIDE, 1.0)
    scored.add(guess, truth)
    found = scored.scores(scored.decays(), torch.ones(1, 2 * SIDE))["bits_per_read"]
    for window in (0, 1):
        bits = loop_bits(guess, truth, window, 2, 2 * SIDE)
        assert float(found[window]) == pytest.approx(bits, rel=1e-4)


def test_distance_alone_has_no_bits(windows):
    _, truth = windows
    assert scores(truth.expected, truth)["bits_per_read"].abs().max() < 1e-12


def test_a_factor_for_each_separation_changes_no_bits(windows, rng):
    """But for the floor, a share of the expected, which is left out of what is scaled."""
    guess, truth = windows
    floor = 0.02 * contacts_of(truth.expected)
    factors = np.exp(rng.normal(0, 1, SIDE))[APART].clip(min=0.5)
    guess = guess.clamp(min=float(guess[guess > 0].min()))
    scaled = (contacts_of(guess) + floor) * factors - floor
    assert scaled.min() > 0
    other = to_network(torch.from_numpy(scaled).float())
    found = [scores(one, truth)["bits_per_read"] for one in (guess, other)]
    assert torch.allclose(*found, rtol=1e-4)


def test_a_window_without_reads_is_undefined(windows):
    guess, truth = windows
    truth.reads[3] = 0.0
    undefined = torch.isnan(scores(guess, truth)["bits_per_read"])
    assert undefined.tolist() == [False, False, False, True, False, False]


def test_guessing_coverage_buys_oe_pearson_and_no_bits(rng):
    """A sparse map without structure: E[log(contacts + 1)] at the true weights is all coverage."""
    truth = drawn(rng, np.broadcast_to(decay(), (40, SIDE, SIDE)), 0.7, count=40)
    k = truth.reads_per_contact.double().numpy()
    reads = np.arange(400)[:, None]
    chance = poisson.pmf(reads, (decay() * k).reshape(1, -1))
    logs = (chance * np.log(reads / k.reshape(1, -1) + 1)).sum(axis=0).reshape(k.shape)
    cheat = torch.from_numpy(logs / np.log(1001)).float()
    structure = symmetric(np.exp(rng.normal(0, 0.02, k.shape)))  # for a correlation to be defined
    base = to_network(torch.from_numpy(decay() * structure).float())
    bought, honest = scores(cheat, truth), scores(base, truth)
    assert float((bought["oe_pearson"] - honest["oe_pearson"]).mean()) > 0.1
    assert float((bought["bits_per_read"] - honest["bits_per_read"]).mean()) < 0
