"""When a run ends, and what is said of where it did."""

import math
from dataclasses import replace

import pytest

from hicray.config import ModelConfig, TrainConfig, TrialConfig
from hicray.model.checkpoint import read_progress
from hicray.training.plateau import best_so_far, finished, stop_of
from hicray.training.sweep import train_alone
from tests.alone import COARSE
from tests.training.test_train import TRIAL, local_data

RUN = TrialConfig(
    coarse_bin_size=COARSE, model=ModelConfig(), train=TrainConfig(epochs=10, patience=3)
)


def history(*scores):
    return [{"val_oe_pearson": score} for score in scores]


@pytest.mark.parametrize(
    ("scores", "ends"),
    [
        ([], False),
        ([0.5, 0.4, 0.4], False),
        ([0.5, 0.4, 0.4, 0.4], True),
        ([0.5, 0.4, 0.4, 0.6], False),
        ([0.5, 0.5, 0.5, 0.5], True),  # as good is not better
        ([math.nan] * 3 + [0.1], False),
        ([math.nan] * 4, True),
        ([0.1 * i for i in range(10)], True),
    ],
)
def test_a_run_ends_when_its_patience_does_or_at_its_ceiling(scores, ends):
    assert finished(history(*scores), RUN) is ends


def test_without_patience_a_run_waits_for_its_ceiling():
    run = replace(RUN, train=replace(RUN.train, patience=0))
    assert not finished(history(*[0.5] * 9), run)
    assert finished(history(*[0.5] * 10), run)


def test_a_refit_which_nothing_validates_ends_after_its_own_epochs():
    run = replace(RUN, refit_epochs=6)
    unvalidated = [{"epoch": epoch, "train_loss": 1.0} for epoch in range(1, 7)]
    assert not finished(unvalidated[:5], run)
    assert finished(unvalidated, run)


def test_the_best_so_far_never_falls_and_passes_over_what_is_undefined():
    found = best_so_far([math.nan, 0.2, 0.1, math.nan, 0.3])
    assert math.isnan(found[0])
    assert found[1:] == [0.2, 0.2, 0.2, 0.3]


def test_a_run_that_grew_in_its_last_quarter_up_to_the_ceiling_still_rises():
    stop = stop_of([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.61, 0.62], 8)
    assert stop.rising
    assert stop.rise == pytest.approx(0.02)
    assert str(stop) == "8 of 8 epochs (best 8), still rising (+0.0200 in the last quarter)"


def test_a_run_that_lost_its_patience_or_stood_still_is_at_its_plateau():
    lost, still = stop_of([0.5, 0.6, 0.59, 0.58], 40), stop_of([0.1, 0.6, 0.601, 0.6, 0.6011], 5)
    assert not lost.rising
    assert (lost.epochs, lost.best) == (4, 2)
    assert not still.rising
    assert str(still).endswith("at its plateau (+0.0001 in the last quarter)")


def test_of_one_epoch_nothing_is_known_but_that_more_were_not_tried():
    assert stop_of([0.5], 1).rising
    assert math.isnan(stop_of([0.5], 1).rise)


def test_a_run_stops_when_validation_does_not_rise(tiny_shards, tmp_path):
    """Its rate is too low for anything to change, so its first epoch stays its best."""
    train = replace(TRIAL.train, epochs=9, patience=2, base_learning_rate=0.0)
    trial = TrialConfig(coarse_bin_size=COARSE, model=TRIAL.model, train=train)
    train_alone(trial, local_data(tiny_shards), tmp_path / "run")
    assert len(read_progress(tmp_path / "run").history) == 3
