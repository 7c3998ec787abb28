"""Losses of windows, against loops, scipy and scikit-style definitions."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import correlate1d
from scipy.stats import poisson

from hicray.config import TrainConfig
from hicray.training.losses import decorrelation, log_oe_error, loss, mse, ssim, surprise
from hicray.windows.batches import Batch
from hicray.windows.inputs import EVIDENCE
from hicray.windows.scales import FLOOR, to_network

SIDE = 32
SCALE = 2.5
KINDS = ("likelihood", "correlation", "report")


@pytest.fixture
def batch(rng) -> Batch:
    """Two windows, one of them off the diagonal, with reads drawn by uneven weights."""
    apart = np.abs(np.arange(SIDE) - np.arange(SIDE)[:, None] + np.array([0, 9])[:, None, None])
    expected = 40 / (1 + apart)
    weights = rng.uniform(0.5, 1.5, (2, 2, SIDE))
    weights[0, :, 5] = weights[1, :, 7] = np.nan
    per_contact = 1 / (weights[0][:, :, None] * weights[1][:, None] * SCALE)
    usable = np.isfinite(per_contact)
    per_contact = np.nan_to_num(per_contact)
    reads = rng.poisson(expected * per_contact)
    contacts = np.where(usable, reads / np.maximum(per_contact, 1e-9), 0.0)
    maps = {"expected": expected, "target": contacts, "base": expected, "coarse": expected}
    nothing = torch.zeros(2, dtype=torch.int64)
    return Batch(
        **{name: to_network(torch.from_numpy(one)) for name, one in maps.items()},
        image=torch.zeros(2, 3, SIDE, SIDE),
        evidence=torch.zeros(2, EVIDENCE, SIDE // 2, SIDE // 2),
        usable=torch.from_numpy(usable),
        reads=torch.from_numpy(reads).double(),
        reads_per_contact=torch.from_numpy(per_contact),
        total_reads=torch.ones(2),
        diagonal=torch.tensor([0, 9]),
        group=nothing,
        row_start=nothing,
    )


@pytest.fixture
def prediction(batch, rng):
    noise = torch.from_numpy(rng.normal(0, 0.05, (2, SIDE, SIDE)))
    return batch.expected + noise


def contacts(values):
    return np.maximum(1001 ** values.numpy() - 1, 0)


def dense_ssim(a, b):
    """Return the mean SSIM of two images: 11 x 11 Gaussian of sigma 1.5, valid positions."""
    place = np.arange(11) - 5
    kernel = np.exp(-(place**2) / (2 * 1.5**2))
    kernel /= kernel.sum()

    def blur(x):
        return correlate1d(correlate1d(x, kernel, axis=0), kernel, axis=1)[5:-5, 5:-5]

    ma, mb = blur(a), blur(b)
    va, vb, cov = blur(a * a) - ma**2, blur(b * b) - mb**2, blur(a * b) - ma * mb
    c1, c2 = 0.01**2, 0.03**2
    top = (2 * ma * mb + c1) * (2 * cov + c2)
    return float((top / ((ma**2 + mb**2 + c1) * (va + vb + c2))).mean())


def test_mse_is_the_mean_over_usable_pixels(batch, prediction):
    values = mse(prediction=prediction, target=batch.target, usable=batch.usable)
    for i, value in enumerate(values):
        difference = (prediction[i] - batch.target[i])[batch.usable[i]]
        assert float(value) == pytest.approx(float((difference**2).mean()), rel=1e-5)


def test_ssim_equals_a_dense_definition_where_all_is_usable(batch, prediction):
    everywhere = torch.ones_like(batch.usable)
    values = ssim(prediction=prediction, target=batch.target, usable=everywhere)
    for i, value in enumerate(values):
        pair = (prediction[i].numpy(), batch.target[i].numpy())
        assert float(value) == pytest.approx(dense_ssim(*pair), abs=1e-4)


def test_decorrelation_is_one_less_numpys_correlation_of_log_oe(batch, prediction):
    for i, value in enumerate(decorrelation(prediction, batch)):
        rows, cols = np.indices((SIDE, SIDE))
        far = np.abs(cols - rows + int(batch.diagonal[i])) >= 2
        keep = far & batch.usable[i].numpy()
        expected = contacts(batch.expected[i])
        ours = np.log((1001 ** prediction[i].numpy()) / (expected + 1))
        theirs = np.log((contacts(batch.target[i]) + 1) / (expected + 1))
        known = np.corrcoef(ours[keep], theirs[keep])[0, 1]
        assert float(value) == pytest.approx(1 - known, abs=1e-3)
        error = np.mean((ours - theirs)[batch.usable[i].numpy()] ** 2)
        assert float(log_oe_error(prediction, batch)[i]) == pytest.approx(error, rel=1e-6)


def test_surprise_is_scipys_poisson_likelihood_less_that_of_distance_alone(batch, prediction):
    for i, value in enumerate(surprise(prediction, batch)):
        keep = batch.usable[i].numpy()
        reads, per = batch.reads[i].numpy()[keep], batch.reads_per_contact[i].numpy()[keep]
        expected = contacts(batch.expected[i])[keep]
        ours = contacts(prediction[i])[keep] + FLOOR * expected
        likely = poisson.logpmf(reads, ours * per).sum()
        distance = poisson.logpmf(reads, (1 + FLOOR) * expected * per).sum()
        assert float(value) == pytest.approx((distance - likely) / reads.sum(), rel=1e-6)


def test_surprise_is_least_at_the_truth_whatever_the_coverage(batch):
    """Reads were drawn from distance alone: to guess each bin's coverage costs."""
    at_truth = surprise(batch.expected, batch).mean()
    assert float(at_truth) == pytest.approx(0)
    per = batch.reads_per_contact.clamp(min=1e-9)
    coverage = batch.expected + 0.02 * torch.where(batch.usable, per.log(), 0.0)
    assert float(surprise(coverage, batch).mean()) > 0.001
    assert float(surprise(batch.expected + 0.03, batch).mean()) > 0.001


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("weight", [0.0, 0.5])
def test_masked_pixels_neither_count_nor_carry_a_gradient(batch, prediction, kind, weight):
    how = TrainConfig(loss=kind, ssim_weight=weight)
    before = loss(prediction, batch, how)
    changed = torch.where(batch.usable, prediction, 9.0).requires_grad_()
    after = loss(changed, batch, how)
    torch.testing.assert_close(after, before)
    after.sum().backward()
    assert torch.all(changed.grad[~batch.usable] == 0)
    assert torch.any(changed.grad[batch.usable] != 0)


@pytest.mark.parametrize("kind", KINDS)
def test_the_weight_moves_from_the_loss_to_ssim(batch, prediction, kind):
    how = TrainConfig(loss=kind, ssim_weight=0.0)
    alone, likeness, mixed = (
        loss(prediction, batch, replace(how, ssim_weight=w)) for w in (0.0, 1.0, 0.25)
    )
    own = ssim(prediction=prediction, target=batch.target, usable=batch.usable)
    torch.testing.assert_close(likeness, 1 - own)
    torch.testing.assert_close(mixed, 0.75 * alone + 0.25 * likeness)


@pytest.mark.parametrize("kind", KINDS)
def test_a_window_without_reads_or_structure_has_a_finite_loss_and_gradient(batch, kind):
    empty = torch.zeros_like(batch.target)
    bare = replace(batch, target=empty, reads=empty, expected=empty, base=empty)
    flat = empty.clone().requires_grad_()
    value = loss(flat, bare, TrainConfig(loss=kind)).sum()
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(flat.grad).all()
