"""What a search shows its trials, and how many it gives each arm: a driver that trains nothing."""

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from ray import tune

from hicray import config as cfg
from hicray.metrics.objective import ranked
from hicray.tracking.stores import default_uri
from hicray.tracking.track import Store
from hicray.training import tune as searching
from hicray.training.gaps import Gaps
from hicray.training.space import Cell, SearchConfig
from hicray.training.trial import arm, trial_name
from hicray.windows import stream
from tests.training.searches import one_gap_search


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_search_trains_and_chooses_on_the_windows_meant_for_it(alone_shards, monkeypatch, split):
    monkeypatch.setattr(stream, "_fits", lambda *_: False)  # files are named, Ray reads nothing
    manifest = alone_shards.manifest
    inputs = Gaps(cfg.ModelConfig(), alone_shards, use_gpu=False)
    windows = getattr(inputs.data(Cell(512, "off")), split)
    chroms = {
        chrom
        for shard in windows.shards
        for chrom in pq.read_table(shard.path, columns=["chrom"])["chrom"].to_pylist()
    }
    assert chroms == {chrom for chrom, own in manifest.splits.items() if own == split}


def report(
    chosen: dict[str, Any], first: cfg.TrialConfig, data: Any, folder: Path, resources: Any
) -> None:
    """Leave a note of each start."""
    trial = cfg.override(first, chosen)
    notes = folder.parent / "started"
    notes.mkdir(exist_ok=True)
    name = trial_name(trial, data.manifest.plan)
    with (notes / f"{arm(trial)}.{tune.get_context().get_trial_id()}").open("x") as note:
        note.write(name)
    losses = {"train_loss": 1.0, "val_loss": 1.0}
    tune.report(ranked({"epoch": 1, "val_oe_pearson": trial.train.ssim_weight, **losses}))


@pytest.mark.slow
def test_both_arms_are_given_as_many_trials(alone_shards, local_ray, tmp_path, monkeypatch):
    monkeypatch.setattr(searching, "drive_trial", report)
    what = SearchConfig(
        model=cfg.ModelConfig(),
        train=cfg.TrainConfig(epochs=1),
        sequences=("off", "on"),
        trials=2,
    )
    one_gap_search(alone_shards, tmp_path)(what, Store(default_uri(tmp_path), tmp_path))
    started = Counter(note.name.split(".")[0] for note in (tmp_path / "started").iterdir())
    assert started == {"noseq": 2, "seq": 2}
