"""A score that is undefined in one epoch hides no other: wherever trials or epochs are ranked."""

import math
from pathlib import Path
from typing import Any

import pytest
import ray.train
import torch
from ray.tune.experiment import Trial

from hicray import config as cfg
from hicray.comparison.report import best_trials
from hicray.metrics.objective import UNDEFINED, best_of, rank, ranked
from hicray.model import checkpoint
from hicray.model.checkpoint import best_checkpoint
from hicray.tracking.stores import default_uri
from hicray.tracking.track import Store
from hicray.training import train, trial
from hicray.training import tune as searching
from hicray.training.data import SEARCHED, Data
from hicray.training.halving import Halving
from hicray.training.space import SearchConfig
from hicray.training.trial import Resources
from hicray.windows.stream import open_windows
from tests.training.drivers import undefined_at_times
from tests.training.searches import one_gap_search

UNKNOWN = math.nan
TRIAL = cfg.TrialConfig(
    coarse_bin_size=512, model=cfg.ModelConfig(), train=cfg.TrainConfig(epochs=4, workers=1)
)


def history(*scores: float) -> list[dict[str, Any]]:
    return [{"epoch": i + 1, "val_oe_pearson": score} for i, score in enumerate(scores)]


def test_an_epoch_without_a_score_ranks_below_every_other():
    ranks = [rank(one) for one in history(UNKNOWN, -0.99, 0.3, math.inf)]
    assert ranks == [UNDEFINED, -0.99, 0.3, UNDEFINED]
    assert ranked({"val_oe_pearson": UNKNOWN})["objective"] == -1.0
    assert math.isnan(ranked({"val_oe_pearson": UNKNOWN})["val_oe_pearson"])


@pytest.mark.parametrize("scores", [(UNKNOWN, 0.5, 0.3), (0.5, UNKNOWN, 0.3), (0.3, 0.5, UNKNOWN)])
def test_the_best_epoch_of_a_trial_is_the_best_defined_one(scores):
    assert best_of(history(*scores)) == 0.5
    assert math.isnan(best_of(history(UNKNOWN, UNKNOWN)))


@pytest.fixture
def searched(tiny_shards, local_ray, tmp_path, monkeypatch):
    """Search a cell whose best trial has a score in its second epoch alone, and repeat it."""
    monkeypatch.setattr(searching, "drive_trial", undefined_at_times)
    what = SearchConfig(
        model=cfg.ModelConfig(),
        train=cfg.TrainConfig(epochs=3, ssim_weight=0.33),
        sequences=("off",),
        trials=4,
        seeds=2,
    )
    store = Store(default_uri(tmp_path), tmp_path)
    return store, one_gap_search(tiny_shards, tmp_path)(what, store)


def test_a_search_finds_a_trial_whose_first_and_last_epochs_are_undefined(searched):
    """By Tune's choice for the repetition, in MLflow, and in what is compared."""
    store, parent = searched
    runs = store.trials(parent)
    best = max(runs, key=lambda run: run.metrics["best_val_oe_pearson"])
    assert best.metrics["best_val_oe_pearson"] == 0.9
    assert best.params["train.ssim_weight"] == "0.33"
    curve = store.curve(best.run_id, "val_oe_pearson")
    assert curve == pytest.approx([UNKNOWN, 0.9, UNKNOWN], nan_ok=True)
    (repeated,) = [run for run in runs if run.params["train.seed"] == "1"]
    assert repeated.params["train.ssim_weight"] == "0.33"
    there = [run._replace(tags=run.tags | {"checkpoint": "there"}) for run in runs]
    (arm,) = best_trials(there, "512->128", "0").values()
    assert arm[0].params["train.ssim_weight"] == "0.33"


def test_an_epoch_without_a_score_stops_no_trial():
    """It is judged by its next one; and rivals are not judged by what is none."""
    asha = Halving(time_attr="epoch", metric="objective", mode="max", max_t=9, grace_period=1)
    rivals = [Trial("driver", trial_id=f"rival {i}", stub=True) for i in range(3)]
    late, poor = (Trial("driver", trial_id=name, stub=True) for name in ("late", "poor"))
    for one in (*rivals, late, poor):
        asha.on_trial_add(None, one)
    reports = [ranked(one) for one in history(UNKNOWN, 0.9)]
    assert asha.on_trial_result(None, rivals[0], ranked(history(UNKNOWN)[0])) == "CONTINUE"
    for one in rivals:
        asha.on_trial_result(None, one, ranked(history(0.5)[0]))
    assert [asha.on_trial_result(None, late, one) for one in reports] == ["CONTINUE"] * 2
    assert asha.on_trial_result(None, poor, reports[0]) == "CONTINUE"
    assert asha.on_trial_result(None, poor, ranked(history(UNKNOWN, 0.1)[1])) == "STOP"


class _Model(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))


def report_undefined(config: dict[str, Any]) -> None:
    """Report the best epoch first, then two that are undefined, then a poor one."""
    model = _Model()
    worker = train.Worker(0, 1, torch.device("cpu"))
    loop: Any = type("Loop", (), {"worker": worker, "bare": model, "optimizer": None})
    loop.optimizer = torch.optim.SGD(model.parameters())
    epochs = history(0.9, UNKNOWN, UNKNOWN, 0.3)
    for done in range(1, len(epochs) + 1):
        progress = checkpoint.Progress(TRIAL, "plan", epochs[:done])
        train._report(epochs[done - 1], loop, progress)


class _Deaf(ray.train.UserCallback):
    """Stands for the callback that needs a Tune trial."""


def test_ray_train_keeps_the_best_checkpoint_though_later_ones_are_undefined(
    tiny_shards, tmp_path: Path, monkeypatch
):
    monkeypatch.setattr(trial, "worker_loop", report_undefined)
    monkeypatch.setattr(trial, "TuneReportCallback", _Deaf)
    own = tmp_path / "trial"
    sets = (open_windows(tiny_shards, split, 512) for split in SEARCHED)
    trial._drive(TRIAL, Data(tiny_shards.manifest, *sets), own, Resources())
    kept = [checkpoint.read_progress(place).epoch for place in checkpoint.checkpoints(own)]
    assert kept == [1, 4]
    best = best_checkpoint(own)
    assert best is not None
    assert checkpoint.read_progress(best).epoch == 1
