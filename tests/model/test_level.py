"""The level of enhanced maps against the factors that they lack."""

import math

import torch

from hicray.model.level import NOTHING, Level, contacts_by_knot
from hicray.windows.scales import from_network, separations, to_network

BINS = 48


def _map(decay: torch.Tensor, diagonal: torch.Tensor) -> torch.Tensor:
    return to_network(decay[separations(diagonal, BINS)])


def test_a_level_is_nothing_before_it_is_measured() -> None:
    values = torch.rand(2, BINS, BINS)
    torch.testing.assert_close(Level().eval()(values, torch.tensor([0, 20])), values)


def test_a_maps_decay_is_brought_to_the_fine_maps() -> None:
    apart = torch.arange(2.0 * BINS)
    diagonal = torch.tensor([0, 40])
    # Off by a power of the distance, which is linear between knots.
    fine = _map(40.0 / (apart + 1), diagonal)
    predicted = _map(44.0 * (apart + 1) ** -1.05, diagonal)
    level = Level().eval()
    level.fit(contacts_by_knot(predicted, fine, torch.ones_like(fine, dtype=bool), diagonal))
    found, wanted = from_network(level(predicted, diagonal)), from_network(fine)
    torch.testing.assert_close(found, wanted, rtol=1e-2, atol=1e-4)


def test_knots_without_contacts_take_the_nearest_factor() -> None:
    level = Level()
    sums = NOTHING.clone()
    sums[3] = torch.tensor([10.0, 20.0])
    level.fit(sums)
    torch.testing.assert_close(level.log_factors, torch.full_like(level.log_factors, math.log(2)))
    level.clear()
    level.fit(NOTHING)
    assert not level.log_factors.any()


def test_the_level_is_kept_with_the_weights_and_is_no_parameter() -> None:
    level = Level()
    assert list(level.state_dict()) == ["log_factors"]
    assert not list(level.parameters())
