"""The worker loop without Ray: learning, determinism, resuming, workers that add up."""

import errno
import itertools
from dataclasses import replace

import numpy as np
import pytest
import ray
import torch

from hicray.config import ModelConfig, TrainConfig, TrialConfig
from hicray.maps.genome import read_packed
from hicray.metrics.moments import Truth
from hicray.metrics.scores import SCORES, Scored, Sums
from hicray.model import checkpoint, run
from hicray.model.build import build
from hicray.model.checkpoint import Progress
from hicray.training import train
from hicray.training.data import Data
from hicray.training.optimizer import make_optimizer
from hicray.training.train import Loop, Worker
from hicray.training.trial import worker_loop
from hicray.windows.manifest import GENOME, ShardSet
from hicray.windows.stream import Blocks, Reader, columns, open_windows, train_slice, whole_slice

COARSE = 512
TRIAL = TrialConfig(
    coarse_bin_size=COARSE,
    model=ModelConfig(preset="tiny", depth=1, dna_channels=8),
    train=TrainConfig(epochs=2, batch_size=8, accumulate=2, base_learning_rate=0.016),
)


def local_data(shards: ShardSet, *, dna: bool = True) -> Data:
    train, val = (open_windows(shards, split, COARSE) for split in ("train", "val"))
    genome = ray.put(read_packed(shards.folder / GENOME)) if dna else None
    return Data(shards.manifest, train, val, genome)


def make_loop(data, trial=TRIAL, rank=0, workers=1):
    torch.manual_seed(trial.train.seed)
    manifest = data.manifest
    model = build(trial.model, **manifest.layout(trial.coarse_bin_size))
    worker = Worker(rank, workers, torch.device("cpu"))
    return Loop(trial, data, worker, model, make_optimizer(model, trial))


@pytest.fixture(scope="module")
def data(tiny_shards):
    return local_data(tiny_shards)


def without_times(metrics):
    return {k: v for k, v in metrics.items() if k not in ("seconds", "data_wait_fraction")}


def test_training_lowers_the_loss(data):
    trial = replace(TRIAL, train=replace(TRIAL.train, epochs=3))
    loop = make_loop(data, trial)
    losses = [loop.epoch(epoch)["val_loss"] for epoch in range(3)]
    assert losses[-1] < losses[0]


def test_the_same_seed_gives_identical_losses(data):
    first, second = (make_loop(data).epoch(0) for _ in range(2))
    assert without_times(first) == without_times(second)


def test_a_resumed_run_ends_where_an_undisturbed_one_does(data, tmp_path):
    whole = make_loop(data)
    whole.epoch(0)
    expected = whole.epoch(1)
    first = make_loop(data)
    history = [first.epoch(0)]
    checkpoint.save(tmp_path, first.bare, first.optimizer, Progress(TRIAL, "plan", history))
    again = make_loop(data)
    progress = checkpoint.read_progress(tmp_path)
    assert progress == Progress(TRIAL, "plan", history)
    checkpoint.load_weights(tmp_path, again.bare)
    checkpoint.load_optimizer(tmp_path, again.optimizer)
    assert without_times(again.epoch(progress.epoch)) == without_times(expected)
    for ours, theirs in zip(again.bare.parameters(), whole.bare.parameters(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("workers", [2, 3])
def test_validation_does_not_depend_on_the_number_of_workers(data, workers):
    alone = make_loop(data)
    alone.bare.head.pixels.out.weight.data.normal_(std=0.05)
    one = alone.validate()
    loops = [make_loop(data, rank=rank, workers=workers) for rank in range(workers)]
    dealt = []
    for loop in loops:
        loop.bare.load_state_dict(alone.bare.state_dict())
        loop.bare.eval()
        scored = loop._scored()
        with torch.no_grad():
            for batch in loop.batches(loop.val_reader, loop.val_part):
                prediction = loop.bare(**batch.arguments())
                scored.add(prediction, Truth.of(batch))
        dealt.append(scored)
    assert merged_means(dealt, alone) == pytest.approx(
        {name: one[name] for name in SCORES}, abs=1e-6
    )


def merged_means(dealt: list[Scored], loop: Loop):
    decays = torch.stack([scored.decays() for scored in dealt]).sum(0)
    fixed = loop.collate.fine_expected
    sums = [Sums.of(scored.scores(decays, fixed)) for scored in dealt]
    total = sum(sums[1:], start=sums[0])
    assert total.windows == loop.val_reader.windows.rows
    return total.means()


def test_no_window_is_dropped_but_the_last_of_an_epoch(data):
    for workers in (1, 2, 3):
        loop = make_loop(data, workers=workers)
        assert 0 <= loop.dropped < workers * TRIAL.train.batch_size


def test_a_checkpoint_holds_no_code(data, tmp_path):
    loop = make_loop(data)
    checkpoint.save(tmp_path, loop.bare, loop.optimizer, Progress(TRIAL, "plan", []))
    assert {path.name for path in tmp_path.iterdir()} == {
        "weights.safetensors",
        "optimizer.pt",
        "trial.json",
    }
    torch.load(tmp_path / "optimizer.pt", weights_only=True)


def test_a_noseq_loop_reads_no_bases(tiny_shards):
    trial = replace(TRIAL, model=replace(TRIAL.model, sequence="off"))
    data = local_data(tiny_shards, dna=False)
    loop = make_loop(data, trial)
    batch = next(loop.batches(loop.val_reader, loop.val_part))
    assert batch.row_bases is None
    assert np.isfinite(loop.epoch(0)["val_loss"])


def poisoned(loop, bad):
    """Make the batches of the given numbers unlearnable: a NaN among the contacts."""
    decode, numbers = loop.collate.decode, itertools.count()

    def spoil(compact, device):
        batch = decode(compact, device)
        if next(numbers) in bad:
            batch.base[0] = float("nan")
        return batch

    loop.collate.decode = spoil
    return loop


def test_a_step_that_is_not_finite_is_skipped_and_counted(data):
    loop = poisoned(make_loop(data), bad={1})
    metrics = loop.epoch(0)
    assert metrics["train_skipped_steps"] == 1
    assert all(torch.isfinite(p).all() for p in loop.bare.parameters())
    assert np.isfinite([metrics["train_loss"], metrics["val_loss"]]).all()
    assert make_loop(data).epoch(0)["train_skipped_steps"] == 0


def test_steps_that_are_never_finite_stop_the_run(data, monkeypatch):
    monkeypatch.setattr(train, "MAX_SKIPPED", 2)
    loop = poisoned(make_loop(data), bad=set(range(100)))
    with pytest.raises(FloatingPointError, match=r"2 steps in a row.*--base-learning-rate"):
        loop.epoch(0)


def test_an_epoch_without_a_finite_loss_stops_the_run(data):
    """It may have fewer steps than are needed in a row."""
    loop = poisoned(make_loop(data), bad=set(range(100)))
    assert loop.steps < train.MAX_SKIPPED
    with pytest.raises(FloatingPointError, match=r"no loss of epoch 1 was finite; lower --base"):
        loop.epoch(0)


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (FloatingPointError("it is of no use"), False),
        (OSError(errno.ENOSPC, "No space left on device"), False),
        (OSError(errno.EIO, "a network's disk was away"), True),
    ],
)
def test_only_what_may_go_better_is_started_again(monkeypatch, error, again):
    """Ray Train starts again what raises: the worker hands other errors back instead."""

    def fail(_config):
        raise error

    monkeypatch.setattr(train, "train_worker", fail)
    if again:
        with pytest.raises(OSError, match="was away"):
            worker_loop({})
    else:
        assert worker_loop({}) is error


def gradient(loop):
    """Return the gradient of the first batch's loss, all parameters in a row."""
    config = replace(loop.trial.train, accumulate=99, ssim_weight=0.5)
    loop.trial = replace(loop.trial, train=config)
    loop.bare.train()
    batch = next(loop.batches(loop.train_reader, loop.train_part, 0))
    loop.steps = 99
    loop._step(batch, 0, 0, loop._scored())
    return torch.cat([p.grad.flatten() for p in loop.bare.parameters() if p.grad is not None])


def test_autocast_leaves_the_loss_in_full_precision(data, monkeypatch):
    """SSIM's moments are nearly equal: in bf16 their differences would be noise."""
    exact = gradient(make_loop(data))
    monkeypatch.setattr(run, "in_bf16", lambda _: True)
    half = gradient(make_loop(data))
    assert torch.nn.functional.cosine_similarity(half, exact, dim=0) > 0.98
    assert float(half.norm()) == pytest.approx(float(exact.norm()), rel=0.1)


def test_blocks_read_what_the_shards_hold(data):
    assert isinstance(data.train, Blocks)
    assert data.train.rows == data.manifest.num_windows("train")
    table = next(Reader(data.train, 5).ordered(whole_slice(data.train.rows, 0, 1)))
    assert table.column_names == columns(COARSE)
    assert train_slice(data.train.rows, 0, 1, 8).start == 0
