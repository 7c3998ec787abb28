import math

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from scipy.stats import gamma

from hicray.dna_models import borzoi, enformer, relative
from tests.dna_models.small import GOLDEN


def by_definition(attention, x, places):
    """Relative attention as its papers write it, one query, key and head at a time."""
    positions, width = x.shape[0], attention.query.out_features // attention.heads
    query, key, value = attention.query(x) * width**-0.5, attention.key(x), attention.value(x)
    lag_key, found = attention.lag_key(places), []
    for head in range(attention.heads):
        part = slice(head * width, (head + 1) * width)
        scores = torch.zeros(positions, positions)
        for i in range(positions):
            for j in range(positions):
                to_key = query[i, part] + attention.key_bias[0, head, 0]
                to_lag = query[i, part] + attention.lag_bias[0, head, 0]
                scores[i, j] = to_key @ key[j, part]
                scores[i, j] += to_lag @ lag_key[j - i + positions - 1, part]
        values = value.unflatten(1, (attention.heads, -1))[:, head]
        found.append(scores.softmax(dim=1) @ values)
    return attention.out(torch.cat(found, dim=1))


@pytest.mark.parametrize("queries", [1, 4, 5, 11, 256])
@torch.no_grad()
def test_attention_is_what_its_definition_says(monkeypatch, queries):
    monkeypatch.setattr(relative, "QUERIES", queries)
    torch.manual_seed(2)
    attention = relative.RelativeAttention(6, heads=2, key_dim=3, value_dim=4, features=5)
    x, places = torch.randn(3, 11, 6), torch.randn(21, 5)
    wanted = torch.stack([by_definition(attention, one, places) for one in x])
    torch.testing.assert_close(attention(x, places), wanted)


@pytest.mark.parametrize(("positions", "number"), [(32, 4), (1536, 32), (100, 7)])
def test_bumps_are_gamma_densities(positions, number):
    lags = np.arange(1 - positions, positions)
    deviation, means = positions / (2 * number), np.linspace(positions / number, positions, number)
    shape, scale = (means / deviation) ** 2, deviation**2 / means
    density = gamma.pdf(np.abs(lags)[:, None], shape, scale=scale) + 1e-8
    bumps = enformer.bumps(relative.all_lags(positions), number, positions)
    np.testing.assert_allclose(bumps, density / density.max(axis=0), rtol=1e-9, atol=1e-12)


def test_bumps_are_within_a_quarter_percent_of_tensorflows():
    """The published weights were trained with the latter; every eighth lag of them is kept."""
    table = load_file(GOLDEN / "enformer_tf_gammas.safetensors")["table"]
    difference = enformer.bumps(relative.all_lags(1536), 32, 1536)[1535::8] - table
    assert 0.002 < difference.abs().max() < 0.0025


def test_other_features_of_enformer_are_decays_and_widths():
    features = enformer.lag_features(1536, 192)
    assert features.shape == (3071, 192)
    assert features.dtype == torch.float32
    half_lives = 2 ** np.linspace(3, math.log2(1536), 32)
    decays = 0.5 ** (np.abs(np.arange(-1535, 1536))[:, None] / half_lives)
    np.testing.assert_allclose(features[:, :32], decays, rtol=1e-6, atol=1e-12)
    assert features[:, 32:64].sum(dim=0)[:4].tolist() == [1, 5, 13, 29]  # |lag| < 1, 3, 7, 15
    signs = torch.arange(-1535, 1536).sign()[:, None]
    assert torch.equal(features[:, 96:], signs * features[:, :96])


def test_borzois_widths_are_spaced_up_to_the_whole_window():
    features = borzoi.lag_features(4096)
    assert features.shape == (8191, 32)
    lags, widths = np.arange(-4095, 4096), 4097 ** (np.arange(1, 17) / 16) - 1
    within = np.abs(lags)[:, None] < widths
    assert np.array_equal(features[:, :16], within)
    assert np.array_equal(features[:, 16:], np.sign(lags)[:, None] * within)
    assert torch.equal(borzoi.lag_features(8), features[4096 - 8 : 4096 + 7])


def test_features_have_values_even_while_a_network_has_none():
    with torch.device("meta"):
        network = enformer.Enformer()
    assert network.stem.wide.weight.is_meta
    assert torch.equal(network.places, enformer.lag_features(1536, 192))
    assert "places" not in network.state_dict()
