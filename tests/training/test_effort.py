"""How long a run trains where nobody said."""

from dataclasses import replace

import pytest

from hicray.config import TrainConfig
from hicray.training.effort import FEWEST, MOST, described, fitted

ASKED = TrainConfig(epochs=0, batch_size=8, accumulate=2)


@pytest.mark.parametrize(
    ("windows", "epochs"), [(100, MOST), (800, 20), (1_000, 16), (50_000, FEWEST)]
)
def test_fewer_windows_are_shown_more_often(windows, epochs):
    assert fitted(ASKED, windows).epochs == epochs


def test_patience_follows_the_epochs_unless_it_is_given():
    assert fitted(ASKED, 1_000).patience == 4
    assert fitted(replace(ASKED, patience=9), 1_000).patience == 9


def test_epochs_that_are_given_stay_and_bring_no_patience():
    given = TrainConfig(epochs=3)
    assert fitted(given, 1_000) == given


def test_it_is_said_in_steps_of_the_optimizer():
    """100 windows make 12 batches of 8, which make 6 steps of 16 windows."""
    said = described(fitted(ASKED, 100), 100)
    assert said == (
        "a run takes at most 40 epochs of 6 steps of 16 windows, and ends after 10 without a "
        "better validation score"
    )
    assert described(TrainConfig(epochs=3, batch_size=1, accumulate=1), 5) == (
        "a run takes at most 3 epochs of 5 steps of 1 windows"
    )
