"""The level that training leaves a network with, against windows counted here."""

from dataclasses import replace

import pytest
import torch

from hicray.model import checkpoint
from hicray.model.checkpoint import Progress
from hicray.model.decay import contacts_by_knot
from hicray.model.run import predict
from hicray.windows.scales import from_network, separations
from tests.training.test_train import TRIAL, local_data, make_loop

# Far above what its rate does in an epoch, so that its level drifts.
FAST = replace(TRIAL, train=replace(TRIAL.train, base_learning_rate=0.5))


@pytest.fixture(scope="module")
def data(tiny_shards):
    return local_data(tiny_shards)


@pytest.fixture(scope="module")
def loop(data):
    loop = make_loop(data, FAST)
    loop.epoch(0)
    return loop


def decays(loop) -> torch.Tensor:
    """Predicted and fine contacts by octave of separation, by a look at every pixel."""
    sums = torch.zeros(7, 2, dtype=torch.float64)
    for batch in loop.batches(loop.train_reader, loop.level_part):
        octave = torch.log2(separations(batch.diagonal, batch.base.shape[-1]) + 1.0).long()
        for kind, values in enumerate((predict(loop.bare, batch.arguments()), batch.target)):
            contacts = from_network(values).double()[batch.usable]
            sums[:, kind].index_add_(0, octave[batch.usable], contacts)
    # The last octave is a window's corner, of one pixel.
    return sums[:6]


def test_an_epoch_ends_with_the_fine_maps_decay_on_training_windows(loop):
    predicted, fine = decays(loop).unbind(-1)
    torch.testing.assert_close(predicted / fine, torch.ones_like(fine), rtol=0, atol=0.01)
    loop.bare.head.decay.clear()
    predicted, fine = decays(loop).unbind(-1)
    assert (predicted / fine - 1).abs().max() > 0.02
    loop._calibrate()


def test_training_itself_does_not_see_the_level(loop):
    batch = next(loop.batches(loop.train_reader, loop.level_part))
    loop.bare.train()
    with_level = loop.bare(**batch.arguments())
    kept = loop.bare.head.decay.log_factors.clone()
    loop.bare.head.decay.clear()
    assert torch.equal(with_level, loop.bare(**batch.arguments()))
    loop.bare.head.decay.log_factors.copy_(kept)


def test_the_reports_loss_has_no_level(data):
    loop = make_loop(data, replace(FAST, train=replace(FAST.train, loss="report")))
    loop.epoch(0)
    assert not loop.bare.head.decay.log_factors.any()


def test_workers_tell_the_level_of_one(loop, data):
    parts = [make_loop(data, FAST, rank=rank, workers=2) for rank in range(2)]
    sums = []
    for part in (loop, *parts):
        own = [
            contacts_by_knot(predict(loop.bare, b.arguments()), b.target, b.usable, b.diagonal)
            for b in part.batches(part.train_reader, part.level_part)
        ]
        sums.append(torch.stack(own).sum(0))
    torch.testing.assert_close(sums[1] + sums[2], sums[0])


def test_a_checkpoint_without_a_level_leaves_maps_as_they_come(loop, data, tmp_path):
    checkpoint.save(tmp_path, loop.bare, loop.optimizer, Progress(FAST, "plan", []))
    place = tmp_path / checkpoint.WEIGHTS
    weights = checkpoint.read_weights(place)
    del weights["head.decay.log_factors"]
    checkpoint.save_file(weights, place)
    assert not checkpoint.read_weights(place)["head.decay.log_factors"].any()
