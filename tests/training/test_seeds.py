"""Seeds of a cell's best trial: real Tune and MLflow, with a driver that trains nothing."""

from pathlib import Path
from typing import Any

import pytest
from ray import tune

from hicray import config as cfg
from hicray.metrics.objective import ranked
from hicray.tracking.stores import default_uri
from hicray.tracking.track import Store
from hicray.training import tune as searching
from hicray.training.space import SearchConfig
from tests.training.searches import one_gap_search

SCORES = {1: 0.4, 2: 0.7, 3: 0.5, 4: 0.45, 5: 0.3, 6: 0.2}


def report(
    chosen: dict[str, Any], first: cfg.TrialConfig, data: Any, folder: Path, resources: Any
) -> None:
    """Report two epochs whose score is a function of depth and seed."""
    trial = cfg.override(first, chosen)
    for epoch in (1, 2):
        # No two configurations tie, whichever of their settings differ.
        apart = int(cfg.digest(cfg.override(trial, {"train.seed": 0})), 16) % 997 / 1e6
        score = SCORES[trial.model.depth] - 0.01 * trial.train.seed + 0.01 * epoch + apart
        losses = {"train_loss": 1.0, "val_loss": 1.0}
        tune.report(ranked({"epoch": epoch, "val_oe_pearson": score, **losses}))


@pytest.fixture
def repeated(tiny_shards, local_ray, tmp_path, monkeypatch):
    """Search one cell of three trials and three seeds, twice."""
    monkeypatch.setattr(searching, "drive_trial", report)
    what = SearchConfig(
        model=cfg.ModelConfig(fusion="pairwise"),
        train=cfg.TrainConfig(epochs=2, seed=5),
        sequences=("on",),
        trials=3,
        seeds=3,
    )
    store, search = Store(default_uri(tmp_path), tmp_path), one_gap_search(tiny_shards, tmp_path)
    for _ in range(2):
        parent = search(what, store)
    return store.trials(parent)


def test_the_best_trial_alone_is_trained_with_more_seeds(repeated):
    seeds = sorted(int(run.params["train.seed"]) for run in repeated)
    assert seeds == [5, 5, 5, 6, 7]
    tried = [run for run in repeated if run.params["train.seed"] == "5"]
    best = max(tried, key=lambda run: run.metrics["best_val_oe_pearson"])
    for run in repeated:
        if run.params["train.seed"] != "5":
            assert run.params | {"train.seed": "5"} == best.params
        assert run.metrics["best_val_oe_pearson"] > 0
