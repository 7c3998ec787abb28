"""How far each arm has learnt, epoch by epoch: whether a comparison is of plateaus.

Short of them, a gain says how fast DNA is learnt, not what it adds. All scores here are of the
validation set, which chose the epochs.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from hicray.io.storage import Location
from hicray.metrics.objective import VAL_OBJECTIVE
from hicray.model.checkpoint import read_progress
from hicray.training.plateau import best_so_far, stop_of


class Learnt(NamedTuple):
    """One training.

    Attributes:
        scores: Validation O/E Pearson of each epoch; NaN where undefined.
        ceiling: Epochs that it was allowed.
    """

    scores: Sequence[float]
    ceiling: int


Learning = Mapping[str, Sequence[Learnt]]
"""Runs of each arm, one for each seed."""


def learnt(folder: Location) -> Learnt:
    """Return how far a run of a sweep has learnt: its one checkpoint holds all its epochs."""
    progress = read_progress(folder)
    scores = [epoch[VAL_OBJECTIVE] for epoch in progress.history]
    return Learnt(scores, progress.trial.train.epochs)


def mean_best(runs: Sequence[Learnt], epochs: int) -> Float64[np.ndarray, " epochs"]:
    """Return the best score up to each epoch, averaged over runs; one that ended keeps its best."""
    best = [best_so_far(run.scores) for run in runs if run.scores]
    padded = [
        np.pad(curve[:epochs], (0, max(0, epochs - len(curve))), mode="edge") for curve in best
    ]
    mean: Float64[np.ndarray, " epochs"] = np.mean(padded, axis=0)
    return mean


def longest(learning: Learning) -> int:
    """Return the epochs of the longest run."""
    return max((len(run.scores) for runs in learning.values() for run in runs), default=0)


def stops(learning: Learning, gap: str) -> list[str]:
    """Return where each arm stopped, as lines of a statement; none where nothing is known."""
    begun = {arm: [run for run in runs if run.scores] for arm, runs in learning.items()}
    lines = []
    for arm, runs in begun.items():
        ends = dict.fromkeys(str(stop_of(*run)) for run in runs)
        if ends:
            lines.append(f"{arm} {' / '.join(ends)}")
    if not lines:
        return []
    rising = [arm for arm, runs in begun.items() if any(stop_of(*run).rising for run in runs)]
    short = (
        f" Short of the plateau: {', '.join(rising)}. A gain between arms that still rise says how "
        "fast each learns, not what it can; give more --epochs."
    )
    where = f"Where training stopped at {gap} bp, validation O/E Pearson: {'; '.join(lines)}."
    return [where + (short if rising else ""), ""]
