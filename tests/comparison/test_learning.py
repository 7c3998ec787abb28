"""What a statement says and draws of how far each arm has learnt."""

import math

import pytest

from hicray.comparison.learning import Learnt, longest, mean_best, stops
from hicray.figures import gain_by_epoch


def test_a_run_that_ended_keeps_its_best_in_the_mean_of_its_seeds():
    runs = [Learnt([0.1, 0.3, 0.2], 9), Learnt([0.2, 0.1, 0.4, 0.5], 9), Learnt([], 9)]
    assert longest({"seq": runs}) == 4
    assert list(mean_best(runs, 5)) == pytest.approx([0.15, 0.25, 0.35, 0.4, 0.4])


def test_a_statement_says_where_each_arm_stopped_and_which_still_rose():
    learning = {
        "noseq": [Learnt([0.1, 0.2, 0.3, 0.4], 4)],
        "seq": [Learnt([0.5, 0.6, 0.6, 0.6], 20), Learnt([0.6, 0.6, 0.5], 20)],
    }
    said = stops(learning, "512->128")[0]
    assert "noseq 4 of 4 epochs (best 4), still rising (+0.1000 in the last quarter)" in said
    assert "seq 4 of 20 epochs (best 2), at its plateau (+0.0000 in the last quarter) / 3" in said
    assert "Short of the plateau: noseq." in said


def test_arms_at_their_plateaus_are_not_called_short_of_it():
    said = stops({"noseq": [Learnt([0.5, 0.6, 0.6, 0.6], 4)]}, "512->128")[0]
    assert "Short" not in said


def test_nothing_is_said_of_runs_that_nobody_recorded():
    assert stops({"noseq": [Learnt([], 4)]}, "512->128") == []
    assert stops({}, "512->128") == []


def test_the_gain_by_epoch_is_drawn_under_the_scores():
    scores = {"512->128": {"noseq": [math.nan, 0.5], "seq": [0.6, 0.8]}}
    figure = gain_by_epoch(scores, ("noseq", "seq"), "O/E Pearson")
    upper, lower = figure.axes
    assert [line.get_label() for line in upper.get_lines()] == ["noseq", "seq"]
    assert lower.get_lines()[-1].get_ydata()[1] == pytest.approx(0.3)
