"""What trials, their epochs and their checkpoints are ranked by: one number, always finite.

A validation set whose windows are all flat, or a network whose maps are, has no O/E Pearson in
an epoch. The recorded metric says so (NaN); whoever ranks takes the number from here, as NaN is
neither above nor below anything.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from hicray.metrics.scores import OBJECTIVE

VAL_OBJECTIVE = f"val_{OBJECTIVE}"
BEST_OBJECTIVE = f"best_{VAL_OBJECTIVE}"
RANK = "objective"
"""Name under which an epoch's rank is reported to Ray Train and Tune."""
UNDEFINED = -1.0
"""Rank where no correlation is defined: the lowest that there is."""


def rank(metrics: Mapping[str, Any]) -> float:
    """Return an epoch's validation O/E Pearson, or -1 where it is undefined.

    Of epochs that nothing validated, as in a refit, the last ranks highest.
    """
    value = float(metrics[VAL_OBJECTIVE if VAL_OBJECTIVE in metrics else "epoch"])
    return value if math.isfinite(value) else UNDEFINED


def ranked(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return an epoch's metrics and its rank, as they are reported."""
    return {**metrics, RANK: rank(metrics)}


def best_of(history: Sequence[Mapping[str, Any]]) -> float:
    """Return the best validation O/E Pearson of a trial's epochs, NaN where none is defined."""
    return float(max(history, key=rank)[VAL_OBJECTIVE])
