"""Scores of windows against scipy and dense loops; sums that do not depend on who added them."""

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr

from hicray.metrics.moments import Truth
from hicray.metrics.scores import SCORES, Scored, Sums, decay_error, pearson
from hicray.windows.scales import to_network

EPS, SIDE, GROUPS = 1.0, 32, 2


@pytest.fixture
def windows(rng):
    """Five windows on the diagonal: predictions, and what they are scored by."""
    decay = 200 / (1 + np.abs(np.subtract.outer(np.arange(SIDE), np.arange(SIDE))))
    reads = np.triu(rng.poisson(decay * np.exp(rng.normal(0, 0.5, (5, SIDE, SIDE)))))
    reads = reads + np.triu(reads, 1).transpose(0, 2, 1)
    weights = np.exp(rng.normal(0, 0.3, (5, SIDE)))
    per_contact = 1 / (weights[:, :, None] * weights[:, None, :])
    fine = reads / per_contact
    guess = decay * np.exp(rng.normal(0, 0.3, (5, SIDE, SIDE)))
    usable = np.ones((5, SIDE, SIDE), dtype=bool)
    usable[1, 3], usable[1, :, 3] = False, False
    dense = [torch.from_numpy(x).float() for x in (guess, fine, reads, per_contact)]
    expected = torch.from_numpy(decay).float().expand(5, -1, -1)
    truth = Truth(
        target=to_network(dense[1]),
        usable=torch.from_numpy(usable),
        reads=dense[2],
        reads_per_contact=dense[3],
        expected=to_network(expected),
        diagonal=torch.zeros(5, dtype=torch.int64),
        group=torch.tensor([0, 0, 1, 1, 1]),
    )
    return to_network(dense[0]), truth


def scored_of(windows, chosen=slice(None), eps=EPS):
    scored = Scored(GROUPS, SIDE, eps)
    prediction, truth = windows
    scored.add(prediction[chosen], Truth(*(tensor[chosen] for tensor in truth)))
    return scored


def counts(x):
    return 10 ** (x.double().numpy() * np.log10(1001)) - 1


def loop_oe_pearson(windows, index, expected_of):
    """Correlate log O/E pixel by pixel, with the decay that ``expected_of`` gives."""
    prediction, (target, usable, *_, group) = windows
    pairs = []
    for row in range(SIDE):
        for col in range(SIDE):
            s = abs(col - row)
            if s < 2 or not usable[index, row, col]:
                continue
            pairs.append(
                [
                    np.log((counts(x)[index, row, col] + EPS) / (e[int(group[index]), s] + EPS))
                    for x, e in zip((prediction, target), expected_of, strict=True)
                ]
            )
    return pearsonr(*np.transpose(pairs))[0]


def loop_decay(windows, values):
    _, (_, usable, *_, group) = windows
    sums = np.zeros((GROUPS, SIDE, 2))
    for w in range(len(values)):
        for row in range(SIDE):
            for col in range(SIDE):
                if usable[w, row, col]:
                    sums[int(group[w]), abs(col - row)] += values[w, row, col], 1
    return sums[..., 0] / sums[..., 1]


def test_pearson_equals_scipy_over_the_mask(windows):
    prediction, (target, usable, *_) = windows
    for i, value in enumerate(pearson(prediction, target, usable)):
        expected = pearsonr(prediction[i][usable[i]], target[i][usable[i]])[0]
        assert float(value) == pytest.approx(float(expected), abs=1e-6)


def test_pearson_of_a_constant_window_is_undefined():
    constant = torch.full((1, 8, 8), 0.3)
    other = torch.rand(1, 8, 8)
    assert torch.isnan(pearson(constant, other, torch.ones(1, 8, 8, dtype=torch.bool))).all()


def test_oe_pearson_takes_each_map_by_its_own_decay(windows):
    scored = scored_of(windows)
    own = [loop_decay(windows, counts(x)) for x in (windows[0], windows[1].target)]
    scores = scored.scores(scored.decays(), torch.ones(GROUPS, SIDE))
    for i in (0, 1, 4):
        expected = loop_oe_pearson(windows, i, own)
        assert float(scores["oe_pearson"][i]) == pytest.approx(expected, abs=1e-5)


def test_bands_of_separations_are_the_same_correlation_within_them(windows):
    scored = scored_of(windows)
    own = [loop_decay(windows, counts(x)) for x in (windows[0], windows[1].target)]
    found = scored.by_separation(scored.decays(), [(4, 9)])["oe_pearson"][4, 9]
    prediction, (target, usable, *_, group) = windows
    apart = np.abs(np.subtract.outer(np.arange(SIDE), np.arange(SIDE)))
    for i in (1, 3):
        inside = (apart >= 4) & (apart < 9) & usable[i].numpy()
        logs = [
            np.log((counts(x)[i] + EPS) / (e[int(group[i])][apart] + EPS))[inside]
            for x, e in zip((prediction, target), own, strict=True)
        ]
        assert float(found[i]) == pytest.approx(pearsonr(*logs)[0], abs=1e-5)


def test_what_a_network_says_of_unusable_pixels_counts_for_nothing(windows):
    prediction, truth = windows
    strange = prediction.masked_fill(~truth.usable, float("nan"))
    whole, other = scored_of(windows), scored_of((strange, truth))
    assert torch.equal(whole.decays(), other.decays())
    fixed = torch.ones(GROUPS, SIDE)
    scores = [one.scores(one.decays(), fixed) for one in (whole, other)]
    for name in ("oe_pearson", "bits_per_read"):
        assert torch.equal(scores[0][name], scores[1][name])


def test_a_function_of_the_distance_alone_has_no_oe_pearson(windows):
    apart = np.abs(np.subtract.outer(np.arange(SIDE), np.arange(SIDE)))
    curve = to_network(torch.from_numpy(300.0 / (1 + apart)).float().expand(5, -1, -1))
    scored = scored_of((curve, windows[1]))
    scores = scored.scores(scored.decays(), torch.ones(GROUPS, SIDE))
    assert torch.isnan(scores["oe_pearson"]).all()


def test_fixed_oe_pearson_takes_the_training_decay_for_both(windows):
    scored = scored_of(windows)
    fixed = torch.rand(GROUPS, SIDE) * 50
    scores = scored.scores(scored.decays(), fixed)
    expected = loop_oe_pearson(windows, 2, [fixed.numpy()] * 2)
    assert float(scores["oe_pearson_fixed"][2]) == pytest.approx(expected, abs=1e-5)


def test_scores_do_not_depend_on_how_windows_are_dealt(windows):
    whole = scored_of(windows)
    parts = [scored_of(windows, chosen) for chosen in (slice(0, 1), slice(1, 5))]
    decays = sum((part.decays() for part in parts), start=torch.zeros_like(whole.decays()))
    assert torch.allclose(decays, whole.decays(), rtol=1e-12)
    fixed = torch.ones(GROUPS, SIDE)
    merged = Sums.of(parts[0].scores(decays, fixed)) + Sums.of(parts[1].scores(decays, fixed))
    alone = Sums.of(whole.scores(whole.decays(), fixed))
    assert merged.windows == alone.windows == 5
    for name in SCORES:
        assert merged.means()[name] == pytest.approx(alone.means()[name], rel=1e-6)


def test_undefined_windows_are_counted_not_averaged():
    scores = {name: torch.tensor([1.0, float("nan"), 3.0], dtype=torch.float64) for name in SCORES}
    sums = Sums.of(scores)
    assert sums.windows == 3
    assert sums.means()["pearson"] == 2.0
    assert float(sums.table[1, 3]) == 1


def test_the_perfect_prediction_scores_perfectly(windows):
    truth = windows[1]
    scored = scored_of((truth.target, truth))
    scores = scored.scores(scored.decays(), torch.ones(GROUPS, SIDE))
    assert torch.allclose(scores["mse"], torch.zeros(5, dtype=torch.float64))
    for name in ("pearson", "ssim", "oe_pearson", "oe_pearson_fixed"):
        assert torch.allclose(scores[name], torch.ones(5, dtype=torch.float64), atol=1e-6)
    assert decay_error(scored.decays(), EPS) == pytest.approx(0, abs=1e-6)


def test_a_level_offset_shows_in_the_decay_error_alone(windows):
    truth = windows[1]
    doubled = to_network(2 * torch.from_numpy(counts(truth.target)).float())
    scored = scored_of((doubled, truth), eps=1e-6)
    scores = scored.scores(scored.decays(), torch.ones(GROUPS, SIDE))
    assert float(scores["oe_pearson"].min()) > 0.999
    assert decay_error(scored.decays(), 1e-6) == pytest.approx(np.log(2), abs=0.01)
