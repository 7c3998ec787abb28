"""What the optimizer is given, step by step: against the plain gradient of a plain loss."""

import itertools
import math
from dataclasses import replace

import pyarrow as pa
import pytest
import torch

from hicray.config import ModelConfig, TrainConfig, TrialConfig
from tests.alone import COARSE
from tests.workers import loop_alone

TRIAL = TrialConfig(
    coarse_bin_size=COARSE,
    model=ModelConfig(depth=1, dna_channels=8),
    train=TrainConfig(
        epochs=1,
        batch_size=2,
        accumulate=3,
        loss="report",
        ssim_weight=0.0,
        clip=1e9,
        reverse_complement=False,
        hidden_dna=0.0,
    ),
)


def watched(loop):
    """Return gradients and rates as the optimizer meets them; the weights stay as they are."""
    gradients, rates = [], []

    def step():
        gradients.append(gradient(loop))
        rates.append(loop.optimizer.param_groups[0]["lr"])

    loop.optimizer.step = step
    return gradients, rates


def gradient(loop):
    parameters = loop.bare.parameters()
    return torch.cat([p.grad.flatten() for p in parameters if p.grad is not None])


def plain_gradient(loop, table):
    """The gradient of the mean over windows of the mean squared error of their usable pixels."""
    batch = loop.collate.decode(loop.collate.compact(table))
    loop.bare.zero_grad()
    errors = (loop.bare(**batch.arguments()) - batch.target) ** 2
    sum(
        one[usable].mean() / len(batch) for one, usable in zip(errors, batch.usable, strict=True)
    ).backward()
    return gradient(loop)


def summed_windows(loop):
    """The windows of each of the optimizer's steps, in the order of the first epoch."""
    config = loop.trial.train
    tables = iter(loop.train_reader.shuffled(loop.train_part, config.seed, 0))
    while some := list(itertools.islice(tables, config.accumulate)):
        yield pa.concat_tables(some).combine_chunks()


@pytest.fixture
def steps(alone):
    """Pairs of gradients: what the optimizer is given, and what the step's windows say."""
    loop = loop_alone(alone, TRIAL)
    assert loop.steps % TRIAL.train.accumulate == 1
    given, _ = watched(loop)
    loop.epoch(0)
    expected = [plain_gradient(loop, table) for table in summed_windows(loop)]
    whole = loop.batches(loop.train_reader, loop.train_part)
    assert not all(batch.usable.all() for batch in whole)
    return list(zip(given, expected, strict=True))


def assert_near(given, expected):
    torch.testing.assert_close(given, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


def test_accumulated_gradients_are_the_gradient_of_the_mean_over_all_windows(steps):
    for given, expected in steps[:-1]:
        assert_near(given, expected)


def test_an_epochs_last_step_is_the_mean_over_the_windows_that_it_sums(steps):
    """It sums one batch where the others sum three."""
    assert_near(*steps[-1])


def test_a_gradient_is_clipped_to_its_largest_norm_and_keeps_its_direction(alone):
    clip = 0.005
    loop = loop_alone(alone, replace(TRIAL, train=replace(TRIAL.train, clip=clip)))
    given, _ = watched(loop)
    loop.epoch(0)
    for one, table in zip(given[:-1], summed_windows(loop), strict=False):
        expected = plain_gradient(loop, table)
        norm = float(expected.norm())
        assert norm > 2 * clip
        assert_near(one, expected * (clip / norm))


def test_the_rate_rises_and_falls_once_in_all_epochs(alone):
    train = replace(TRIAL.train, epochs=2, warmup=0.25, base_learning_rate=0.016)
    loop = loop_alone(alone, replace(TRIAL, train=train))
    _, rates = watched(loop)
    for epoch in range(2):
        loop.epoch(epoch)
    steps = 2 * math.ceil(loop.steps / 3)
    peak, rising = 0.016 * 2 * 3 / 256, round(steps / 4)
    up = [peak * (step + 1) / rising for step in range(rising)]
    down = [
        peak * (1 + math.cos(math.pi * step / (steps - rising))) / 2
        for step in range(steps - rising)
    ]
    assert rates == pytest.approx(up + down)
