"""Masked MSE + SSIM, against loops and scikit-style definitions."""

import numpy as np
import pytest
import torch
from scipy.ndimage import correlate1d

from hicray.training.losses import loss, mse, ssim


@pytest.fixture
def maps(rng):
    prediction, target = (torch.from_numpy(rng.random((2, 32, 32))).float() for _ in range(2))
    usable = torch.from_numpy(rng.random((2, 32, 32)) < 0.8)
    return {"prediction": prediction, "target": target, "usable": usable}


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


def test_mse_is_the_mean_over_usable_pixels(maps):
    for i, value in enumerate(mse(**maps)):
        difference = (maps["prediction"][i] - maps["target"][i])[maps["usable"][i]]
        assert float(value) == pytest.approx(float((difference**2).mean()), rel=1e-5)


def test_ssim_equals_a_dense_definition_where_all_is_usable(maps):
    everywhere = torch.ones_like(maps["usable"])
    values = ssim(prediction=maps["prediction"], target=maps["target"], usable=everywhere)
    for i, value in enumerate(values):
        pair = (maps["prediction"][i].double().numpy(), maps["target"][i].double().numpy())
        assert float(value) == pytest.approx(dense_ssim(*pair), abs=1e-4)


def test_masked_pixels_do_not_change_the_loss(maps):
    before = loss(**maps, ssim_weight=0.3)
    changed = torch.where(maps["usable"], maps["prediction"], 99.0)
    after = loss(**{**maps, "prediction": changed}, ssim_weight=0.3)
    assert float(after) == pytest.approx(float(before), abs=1e-6)


def test_masked_pixels_carry_no_gradient(maps):
    prediction = maps["prediction"].requires_grad_()
    loss(**maps, ssim_weight=0.5).backward()
    assert prediction.grad is not None
    assert torch.all(prediction.grad[~maps["usable"]] == 0)
    assert torch.any(prediction.grad[maps["usable"]] != 0)


def test_the_weight_moves_from_mse_to_ssim(maps):
    only_mse, only_ssim = (float(loss(**maps, ssim_weight=w)) for w in (0.0, 1.0))
    mixed = float(loss(**maps, ssim_weight=0.25))
    assert only_mse == pytest.approx(float(mse(**maps).mean()), rel=1e-6)
    assert only_ssim == pytest.approx(1 - float(ssim(**maps).mean()), rel=1e-6)
    assert mixed == pytest.approx(0.75 * only_mse + 0.25 * only_ssim, rel=1e-5)
