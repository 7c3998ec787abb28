"""When a run has learnt what it can: its plateau, or the ceiling of epochs before it.

Two arms compared short of their plateaus say how fast each learns, not what it can.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from hicray.config import TrialConfig
from hicray.metrics.objective import rank

RISING = 0.002
"""A run still rises whose best validation O/E Pearson grew by more in its last quarter."""


def finished(history: Sequence[Mapping[str, Any]], trial: TrialConfig) -> bool:
    """Return whether a run ends after these epochs.

    It does at its ceiling, or after ``train.patience`` epochs in a row that did not score above
    the best before them; a patience of 0 waits for the ceiling, as does a refit.

    Args:
        history: Metrics of its epochs, oldest first.
        trial: Configuration of the run.
    """
    if len(history) >= trial.most_epochs:
        return True
    ranks = [rank(metrics) for metrics in history]
    since_best = len(ranks) - 1 - ranks.index(max(ranks)) if ranks else 0
    return 0 < trial.train.patience <= since_best


class Stop(NamedTuple):
    """Where a run ended.

    Attributes:
        epochs: Epochs that it took.
        ceiling: Epochs that it was allowed.
        best: The epoch, counted from 1, whose weights are kept.
        rise: Growth of the best validation O/E Pearson in the last quarter of the epochs; NaN
            where there are fewer than two or none is defined.
    """

    epochs: int
    ceiling: int
    best: int
    rise: float

    @property
    def rising(self) -> bool:
        """Whether more epochs would have gone higher, as far as one can see."""
        # Not `>`: where no rise is known (NaN), no plateau is claimed.
        return self.epochs == self.ceiling and not self.rise <= RISING

    def __str__(self) -> str:
        """Return e.g. '9 of 40 epochs (best 4), at its plateau (+0.0001 in the last quarter)'."""
        grown = "" if math.isnan(self.rise) else f" ({self.rise:+.4f} in the last quarter)"
        state = "still rising" if self.rising else "at its plateau"
        return f"{self.epochs} of {self.ceiling} epochs (best {self.best}), {state}{grown}"


def stop_of(scores: Sequence[float], ceiling: int) -> Stop:
    """Return where a run ended.

    Args:
        scores: Validation O/E Pearson of each epoch, oldest first; NaN where undefined.
        ceiling: Epochs that it was allowed.
    """
    best = best_so_far(scores)
    epochs = len(best)
    # The best score before the last quarter.
    earlier = best[epochs - 1 - math.ceil(epochs / 4)] if epochs > 1 else math.nan
    at = best.index(best[-1]) + 1 if epochs and math.isfinite(best[-1]) else epochs
    return Stop(epochs, ceiling, at, best[-1] - earlier if epochs else math.nan)


def best_so_far(scores: Sequence[float]) -> list[float]:
    """Return the best score up to each epoch; NaN until one is defined."""
    best, curve = -math.inf, []
    for score in scores:
        best = max(best, score) if math.isfinite(score) else best
        curve.append(best if math.isfinite(best) else math.nan)
    return curve
