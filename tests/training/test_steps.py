"""What a step of the optimizer is: its windows' mean gradient; there are enough of them."""

from dataclasses import replace

import pytest
import torch

from hicray.cli.search import search_cells
from hicray.config import DataConfig, Run, TrainConfig, Tune, UserError
from hicray.tracking.track import Store
from hicray.training.losses import loss
from hicray.training.space import SearchConfig
from hicray.training.trial import Resources
from hicray.training.tune import search
from hicray.windows.enough import most_windows, require_step
from hicray.windows.plan import layout_of
from tests.training.test_train import TRIAL, local_data, make_loop


def test_every_accumulated_step_is_the_mean_gradient_of_its_batches(tiny_shards, monkeypatch):
    """Also an epoch's last, of fewer batches; against a loop that adds one batch after another."""
    train = replace(
        TRIAL.train, accumulate=4, batch_size=5, reverse_complement=False, hidden_dna=0.0
    )
    trial = replace(TRIAL, train=train)
    loop = make_loop(local_data(tiny_shards), trial)
    assert loop.steps % 4
    assert loop.steps > 4
    taken = []

    def move(step: int, epoch: int) -> None:
        taken.append((step, [p.grad.clone() for p in loop.bare.parameters()]))
        loop.optimizer.zero_grad()

    monkeypatch.setattr(loop, "_move", move)
    loop._train(0)
    batches = list(loop.batches(loop.train_reader, loop.train_part, 0))
    assert [step for step, _ in taken] == [*range(3, loop.steps - 1, 4), loop.steps - 1]
    first = 0
    for step, found in taken:
        own = batches[first : step + 1]
        total = [torch.zeros_like(p) for p in loop.bare.parameters()]
        for batch in own:
            loop.bare.zero_grad()
            loss(loop.bare(**batch.arguments()).float(), batch, train).mean().backward()
            for add, p in zip(total, loop.bare.parameters(), strict=True):
                add += p.grad
        for grad, add in zip(found, total, strict=True):
            torch.testing.assert_close(grad, add / len(own), rtol=1e-4, atol=1e-7)
        first = step + 1


def test_fewer_training_windows_than_a_step_takes_are_refused_with_the_numbers():
    train = TrainConfig(workers=2, batch_size=8)
    require_step(16, train)
    with pytest.raises(UserError, match=r"have 15 windows, one step takes 16 \(--workers 2 x"):
        require_step(15, train)


def options(data: DataConfig, tmp_path, windows: int) -> Tune:
    return Tune(
        data=data,
        train=TrainConfig(epochs=1, batch_size=windows),
        run=Run(storage=str(tmp_path / "runs")),
        trials=1,
    )


def test_what_the_chromosomes_are_too_short_for_is_refused_before_ray_starts(
    tiny_data: DataConfig, tmp_path, monkeypatch
):
    class Started(Exception):
        pass

    def start(*_):
        raise Started

    monkeypatch.setattr("hicray.cli.search.connect", start)
    # Four chromosomes of 200 bins, windows of 64 bins every 16: starts 0, 16, ... 144.
    assert layout_of(tiny_data).train_stride == 16
    assert most_windows(tiny_data) == 4 * 10
    with pytest.raises(UserError, match=r"have 40 windows, one step takes 41 .*--batch-size 41"):
        search_cells(options(tiny_data, tmp_path, 41), ("off",))
    with pytest.raises(Started):
        search_cells(options(tiny_data, tmp_path, 40), ("off",))
    with pytest.raises(UserError, match="--trials 9999 cannot be"):
        search_cells(replace(options(tiny_data, tmp_path, 1), trials=9_999), ("off",))


def test_what_was_cut_is_counted_before_a_trial_starts(tiny_shards):
    folder, manifest = tiny_shards
    there = manifest.num_windows("train")
    what = SearchConfig(
        model=TRIAL.model, train=replace(TRIAL.train, batch_size=there + 1), trials=1
    )
    with pytest.raises(UserError, match=f"have {there} windows, one step takes {there + 1}"):
        search(what, tiny_shards, Resources(), Store("", folder))
