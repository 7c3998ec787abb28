"""The worker's whole run, with a stand-in for Ray Train: started, resumed, and two together."""

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import torch

from hicray.config import ModelConfig, TrainConfig, TrialConfig
from hicray.model import checkpoint
from hicray.model.build import build
from hicray.windows.stream import Reader, train_slice
from tests.alone import COARSE, as_references, data_alone
from tests.workers import loop_alone, train_alone, train_together

TRIAL = TrialConfig(
    coarse_bin_size=COARSE,
    model=ModelConfig(depth=1, dna_channels=8, residual=False),
    train=TrainConfig(
        epochs=2,
        batch_size=4,
        accumulate=2,
        base_learning_rate=0.032,
        reverse_complement=False,
        hidden_dna=0.0,
    ),
)


def training(**changes) -> TrialConfig:
    return replace(TRIAL, train=replace(TRIAL.train, **changes))


def weights(folder: Path) -> torch.Tensor:
    """Return a checkpoint's weights, all in a row."""
    return in_a_row(checkpoint.read_weights(folder / checkpoint.WEIGHTS))


def begun(trial: TrialConfig, manifest) -> torch.Tensor:
    """Return the weights that a seed makes."""
    torch.manual_seed(trial.train.seed)
    model = build(trial.model, **manifest.layout(trial.coarse_bin_size))
    return in_a_row(model.state_dict())


def in_a_row(tensors: dict[str, torch.Tensor]) -> torch.Tensor:
    # The decay's factors are measured, not trained.
    names = sorted(name for name in tensors if not name.endswith("decay.log_factors"))
    return torch.cat([tensors[name].flatten() for name in names])


def test_a_run_that_was_killed_ends_where_an_undisturbed_one_does(alone_shards, tmp_path):
    """Only with AdamW's moments does the second epoch go on as it would have."""
    shards, _ = alone_shards
    whole = train_alone(TRIAL, shards, tmp_path / "whole")
    again = train_alone(TRIAL, shards, tmp_path / "again", last=tmp_path / "whole" / "epoch_1")
    assert [one["epoch"] for one in again] == [2]
    for name in ("train_loss", "val_loss", "val_oe_pearson"):
        assert again[0][name] == whole[1][name]
    ended = [weights(tmp_path / run / "epoch_2") for run in ("whole", "again")]
    assert torch.equal(*ended)


def test_a_run_begins_with_its_seeds_weights(alone_shards, tmp_path):
    shards, manifest = alone_shards
    still = training(epochs=1, base_learning_rate=0.0, seed=5)
    train_alone(still, shards, tmp_path)
    assert torch.equal(weights(tmp_path / "epoch_1"), begun(still, manifest))


class Together(Reader):
    """Reads, for each step, what two workers read between them."""

    def shuffled(self, part, seed, epoch):
        half = self.batch // 2
        parts = [train_slice(self.windows.rows, rank, 2, half) for rank in (0, 1)]
        assert part.end == 2 * parts[0].end
        read = [Reader(self.windows, half).shuffled(own, seed, epoch) for own in parts]
        for both in zip(*read, strict=True):
            yield pa.concat_tables(both).combine_chunks()


def test_two_workers_learn_what_one_learns_from_their_windows(alone_shards, tmp_path, monkeypatch):
    """Each alone would learn from its own half, and end elsewhere."""
    shards = alone_shards.folder
    trial = training(epochs=1, workers=2, batch_size=2)
    train_together(trial, shards, tmp_path)
    as_references(monkeypatch)
    alone = training(epochs=1, batch_size=4)
    loop = loop_alone(data_alone(alone_shards), alone)
    start = in_a_row(loop.bare.state_dict())
    loop.train_reader = Together(loop.train_reader.windows, 4)
    loop.epoch(0)
    moved = in_a_row(loop.bare.state_dict()) - start
    found = weights(tmp_path / "epoch_1") - start
    assert float((found - moved).norm() / moved.norm()) < 1e-3
