"""Drivers of trials that train nothing: they report what they are told, and leave checkpoints.

Tune runs them in processes of its own, so that what they need is found here by import.
"""

import math
from pathlib import Path
from typing import Any

import torch
from ray import tune

from hicray import config as cfg
from hicray.metrics.objective import ranked
from hicray.model import checkpoint
from hicray.model.build import build
from hicray.model.trained import trained_on
from hicray.training.trial import trial_name

FAILING = 0.4
"""SSIM weight of configurations whose trial fails."""
EPOCH = {"train_loss": 1.0, "val_loss": 1.0}


def untrained(
    chosen: dict[str, Any], first: cfg.TrialConfig, data: Any, folder: Path, resources: Any
) -> None:
    """Leave a network as it was made, as the only checkpoint of a trial of one epoch."""
    trial = cfg.override(first, chosen)
    if trial.train.ssim_weight == FAILING:
        raise RuntimeError("this one fails")
    place = folder / trial_name(trial, data.manifest.plan) / "checkpoint_0"
    history = [{"epoch": 1, "val_oe_pearson": 1 - trial.train.ssim_weight, **EPOCH}]
    if not place.exists():
        model = build(trial.model, **data.manifest.layout(trial.coarse_bin_size))
        place.mkdir(parents=True)
        scale = trained_on(data.manifest, trial.coarse_bin_size)
        progress = checkpoint.Progress(trial, data.manifest.plan, history, trained=scale)
        checkpoint.save(place, model, torch.optim.SGD(model.parameters()), progress)
    tune.report(ranked(history[0]))


def undefined_at_times(
    chosen: dict[str, Any], first: cfg.TrialConfig, data: Any, folder: Path, resources: Any
) -> None:
    """Report three epochs; of the best trial only the second has an O/E Pearson."""
    trial = cfg.override(first, chosen)
    best = trial.train.ssim_weight == first.train.ssim_weight
    scores = (math.nan, 0.9, math.nan) if best else (0.4, 0.5, 0.5)
    for epoch, score in enumerate(scores, start=1):
        tune.report(ranked({"epoch": epoch, "val_oe_pearson": score, **EPOCH}))
