"""Answers of enformer-pytorch and borzoi-pytorch themselves, for small random networks.

Differences found on the CPU that made the answers: Enformer 3.3e-6 in float32, where values go
up to 10.8, and 1.6e-8 in float64, as the reference computes the features of a lag in float32;
Borzoi 2.3e-5 of 54.7, and 2.8e-14. They are last digits: the order of sums differs.
"""

import pytest
import torch

from hicray.dna_models import borzoi, enformer, relative
from tests.dna_models.small import BORZOI, ENFORMER, borzoi_weights, enformer_weights, io_of, saved


@pytest.fixture(scope="module")
def small_borzoi(tmp_path_factory):
    path = tmp_path_factory.mktemp("borzoi") / "model.safetensors"
    return borzoi.load(saved(borzoi_weights(BORZOI), path), BORZOI)


@pytest.fixture
def small_enformer(tmp_path):
    return enformer.load(saved(enformer_weights(), tmp_path / "pytorch_model.bin"), ENFORMER)


def close(found, wanted, relative):
    """Compare by the largest value: single ones may be next to nothing."""
    torch.testing.assert_close(found, wanted, rtol=0, atol=relative * wanted.abs().max().item())


def test_enformer_is_the_reference_with_tensorflows_bumps(small_enformer):
    io = io_of("enformer")
    close(small_enformer(io["codes"]), io["output"], 2e-6)
    close(small_enformer.double()(io["codes"]), io["output_f64"], 1e-8)


def test_the_references_own_bumps_are_others(small_enformer):
    """enformer-pytorch divides bumps by a lag's highest feature, TensorFlow by a feature's own.

    For the lengths that it has no table for, that moves results by 0.31, 3 % of the largest.
    """
    io = io_of("enformer")
    difference = (small_enformer(io["codes"]) - io["output_unpatched"]).abs().max()
    assert 0.3 < difference < 0.32


def test_borzoi_is_the_reference(small_borzoi):
    close(small_borzoi(io_of("borzoi")["codes"]), io_of("borzoi")["output"], 2e-6)


def test_borzoi_is_the_reference_to_the_last_digit_of_a_double(tmp_path):
    path = saved(borzoi_weights(BORZOI), tmp_path / "model.safetensors")
    double = borzoi.load(path, BORZOI).double()(io_of("borzoi")["codes"])
    close(double[:, :, ::8], io_of("borzoi")["output_f64"], 1e-13)


@pytest.mark.parametrize("queries", [1, 7, 31, 32])
def test_queries_may_ask_in_any_number_at_a_time(small_enformer, monkeypatch, queries):
    monkeypatch.setattr(relative, "QUERIES", queries)
    close(small_enformer(io_of("enformer")["codes"]), io_of("enformer")["output"], 2e-6)


def test_windows_of_a_batch_know_nothing_of_each_other(small_enformer):
    codes, wanted = io_of("enformer")["codes"], io_of("enformer")["output"]
    close(torch.cat([small_enformer(window[None]) for window in codes]), wanted, 2e-6)


def test_a_network_has_no_other_mode_than_that_of_its_weights(small_enformer):
    codes = io_of("enformer")["codes"]
    assert not small_enformer.training
    assert not any(value.requires_grad for value in small_enformer.parameters())
    assert torch.equal(small_enformer(codes), small_enformer.train()(codes))


@pytest.mark.parametrize("bases", [256, 511, 1024])
def test_another_length_than_a_window_is_refused(small_enformer, small_borzoi, bases):
    for network in (small_enformer, small_borzoi):
        with pytest.raises(ValueError, match=f"{bases} bases at once, where this network reads"):
            # Past the annotations, which tests check and users' runs do not.
            type(network).forward.__wrapped__(network, torch.zeros(1, bases, dtype=torch.uint8))
