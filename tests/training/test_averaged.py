"""The mean of weights that is scored, kept and used."""

import copy

import pytest
import torch

from hicray.training.averaged import AVERAGED_STEPS, AveragedAdamW

RATE = 0.1


def gradients(weights: torch.nn.Parameter, steps: int):
    """Set noisy gradients of a parabola, one after another."""
    noise = torch.Generator().manual_seed(1)
    for _ in range(steps):
        weights.grad = weights.detach() + torch.randn(3, generator=noise)
        yield


def moved(optimizer: torch.optim.Optimizer, weights: torch.nn.Parameter, steps: int):
    """Return the weights after each step."""
    found = []
    for _ in gradients(weights, steps):
        optimizer.step()
        found.append(weights.detach().clone())
    return found


def parameter() -> torch.nn.Parameter:
    return torch.nn.Parameter(torch.tensor([1.0, -2.0, 3.0]))


def test_steps_are_adamws_and_their_mean_is_the_recursive_one():
    ours, theirs = parameter(), parameter()
    averaged = AveragedAdamW([ours], lr=RATE)
    made = moved(averaged, ours, 200)
    assert torch.equal(
        torch.stack(made), torch.stack(moved(torch.optim.AdamW([theirs], lr=RATE), theirs, 200))
    )
    # The mean written out: each step's weights by what later steps have left of them.
    shares = [max(1 / AVERAGED_STEPS, 9 / (step + 9)) for step in range(200)]
    left = [torch.tensor([1 - later for later in shares[step + 1 :]]).prod() for step in range(200)]
    mean = sum(share * rest * one for share, rest, one in zip(shares, left, made, strict=True))
    averaged.eval()
    assert torch.allclose(ours, mean, atol=1e-5)
    averaged.train()
    assert torch.equal(ours, made[-1])


def test_the_mean_is_nearer_to_the_bottom_than_the_weights_are():
    weights = parameter()
    optimizer = AveragedAdamW([weights], lr=RATE)
    made = torch.stack(moved(optimizer, weights, 500)[-50:])
    optimizer.eval()
    assert weights.norm() < made.norm(dim=1).mean() / 2


def test_a_saved_run_goes_on_to_the_same_weights_and_mean():
    whole, first = parameter(), parameter()
    one, other = AveragedAdamW([whole], lr=RATE), AveragedAdamW([first], lr=RATE)
    moved(one, whole, 20)
    moved(other, first, 20)
    other.eval()
    again = torch.nn.Parameter(first.detach().clone())  # a checkpoint's weights are the mean
    resumed = AveragedAdamW([again], lr=RATE)
    resumed.load_state_dict(copy.deepcopy(other.state_dict()))
    resumed.train()
    for optimizer, weights in ((one, whole), (resumed, again)):
        moved(optimizer, weights, 20)
        optimizer.eval()
    assert torch.equal(whole, again)


def test_an_old_state_without_a_mean_goes_on():
    weights = parameter()
    old = torch.optim.AdamW([weights], lr=RATE)
    moved(old, weights, 3)
    optimizer = AveragedAdamW([weights], lr=RATE)
    optimizer.load_state_dict(old.state_dict())
    (made,) = moved(optimizer, weights, 1)
    optimizer.eval()
    assert torch.equal(weights, made)


def test_what_never_moved_is_its_own_mean_and_modes_may_be_asked_for_twice():
    moving, still = parameter(), parameter()
    optimizer = AveragedAdamW([moving, still], lr=RATE)
    optimizer.eval()
    optimizer.train()
    made = moved(optimizer, moving, 5)[-1]
    for _ in range(2):
        optimizer.eval()
    assert torch.equal(still, parameter())
    for _ in range(2):
        optimizer.train()
    assert torch.equal(moving, made)


def test_no_step_moves_the_mean():
    weights = parameter()
    optimizer = AveragedAdamW([weights], lr=RATE)
    optimizer.eval()
    with pytest.raises(RuntimeError, match="call train"):
        moved(optimizer, weights, 1)
