"""The decay of enhanced maps against the factors that they lack."""

import math

import torch

from hicray.model.decay import NOTHING, DecayFactors, contacts_by_knot
from hicray.windows.scales import from_network, separations, to_network

BINS = 48


def _map(curve: torch.Tensor, diagonal: torch.Tensor) -> torch.Tensor:
    return to_network(curve[separations(diagonal, BINS)])


def test_factors_are_one_before_they_are_measured() -> None:
    values = torch.rand(2, BINS, BINS)
    torch.testing.assert_close(DecayFactors().eval()(values, torch.tensor([0, 20])), values)


def test_a_maps_decay_is_brought_to_the_fine_maps() -> None:
    apart = torch.arange(2.0 * BINS)
    diagonal = torch.tensor([0, 40])
    # Off by a power of the distance, which is linear between knots.
    fine = _map(40.0 / (apart + 1), diagonal)
    predicted = _map(44.0 * (apart + 1) ** -1.05, diagonal)
    decay = DecayFactors().eval()
    decay.fit(contacts_by_knot(predicted, fine, torch.ones_like(fine, dtype=bool), diagonal))
    found, wanted = from_network(decay(predicted, diagonal)), from_network(fine)
    torch.testing.assert_close(found, wanted, rtol=1e-2, atol=1e-4)


def test_knots_without_contacts_take_the_nearest_factor() -> None:
    decay = DecayFactors()
    sums = NOTHING.clone()
    sums[3] = torch.tensor([10.0, 20.0])
    decay.fit(sums)
    torch.testing.assert_close(decay.log_factors, torch.full_like(decay.log_factors, math.log(2)))
    decay.clear()
    decay.fit(NOTHING)
    assert not decay.log_factors.any()


def test_factors_are_kept_with_the_weights_and_are_no_parameters() -> None:
    decay = DecayFactors()
    assert list(decay.state_dict()) == ["log_factors"]
    assert not list(decay.parameters())
