"""What a network has to beat, and what none can: filters chosen on validation, and the ceiling."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from hicray.evaluation.baselines import BASE
from hicray.evaluation.filters import bilinear, gaussian, noise_aware
from hicray.evaluation.ridge import PENALTIES, SIZES, RidgeSums
from hicray.evaluation.window_set import HeldOutWindows, Predictor, WindowScores
from hicray.metrics.scores import OBJECTIVE

NOISE_AWARE, BILINEAR = "noise-aware base", "bilinear O/E"
GAUSSIAN, RIDGE = "Gaussian O/E", "ridge filter"
CEILING = "ceiling, from halves of the reads"
FILTERS = (NOISE_AWARE, BILINEAR, GAUSSIAN, RIDGE)
UNCHOSEN: Mapping[str, Predictor] = {NOISE_AWARE: noise_aware, BILINEAR: bilinear}
"""Those that have nothing to be fitted or chosen."""
WIDTHS_BINS = (0.35, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0)
"""Of the Gaussian, in fine bins."""
_LOCUS_COLUMNS = {"group", "chrom", "row_start"}
TRAIN_WINDOWS, VAL_WINDOWS = 2_000, 256
"""Windows that filters are fitted and chosen on, at most."""


@dataclass(frozen=True)
class Rivals:
    """Filters of one gap.

    Attributes:
        predictors: By name.
        settings: What validation chose, by name.
        best: Name of the one with the highest validation O/E Pearson, the base among them.
    """

    predictors: Mapping[str, Predictor]
    settings: Mapping[str, str]
    best: str


def fit(train: HeldOutWindows, val: HeldOutWindows) -> Rivals:
    """Fit filters on training windows, and choose their settings on validation windows.

    Args:
        train: Of the gap; its first windows, which lie in random order, are enough.
        val: Likewise.
    """
    side = train.collate.manifest.window_bins // train.collate.factor
    sums = RidgeSums.of(train.first(TRAIN_WINDOWS).batches(), train.collate.factor, side)
    ladders: dict[str, dict[str, Predictor]] = {
        BASE: {"": lambda batch: batch.base},
        **{name: {"": predict} for name, predict in UNCHOSEN.items()},
        GAUSSIAN: {
            f"width {width:g} bins": partial(gaussian, width_bins=width) for width in WIDTHS_BINS
        },
        RIDGE: {
            f"{size} x {size}, penalty {penalty:g}": sums.solve(size, penalty)
            for size in SIZES
            for penalty in PENALTIES
        },
    }
    tried = {
        (name, setting): predict
        for name, ladder in ladders.items()
        for setting, predict in ladder.items()
    }
    scores = val.first(VAL_WINDOWS).score(tried, "filters")
    levels = {key: _level(score) for key, score in scores.items()}
    chosen = {
        name: max(ladder, key=lambda setting: levels[name, setting])
        for name, ladder in ladders.items()
    }
    best = max(chosen, key=lambda name: levels[name, chosen[name]])
    predictors = {name: ladders[name][setting] for name, setting in chosen.items()}
    settings = {name: setting for name, setting in chosen.items() if setting}
    return Rivals(predictors, settings, best)


def _level(score: WindowScores) -> float:
    level = score.mean(OBJECTIVE)
    return level if np.isfinite(level) else -np.inf


def ceiling(halves: WindowScores) -> WindowScores:
    """Return what a map without any noise would score against the fine map.

    Two halves of the reads that correlate by r hold a share of truth that the whole map, of twice
    their reads, holds by 2 r / (1 + r) (Spearman and Brown); the truth itself correlates with the
    whole by its root. Of other scores nothing is known.

    A window's r is noisy, most of all far from the diagonal, and the root of a noisy r is too small
    on average. So r goes by the root's tangent at the mean r of all windows: their mean is the root
    at that mean, which errs on a bound's own side.

    Args:
        halves: Scores of one half of the reads against the other.
    """
    windows = halves.windows.copy()
    for name in windows.columns.difference(list(_LOCUS_COLUMNS)):
        windows[name] = _reached(windows[name]) if _of_objective(name) else np.nan
    return WindowScores(windows, float("nan"))


def _of_objective(name: str) -> bool:
    return name.startswith(OBJECTIVE) and not name.startswith(f"{OBJECTIVE}_fixed")


def _reached(r: "pd.Series[float]") -> "pd.Series[float]":
    mean = float(r.mean())
    if not mean > 0:
        return r * 0.0
    top = math.sqrt(2 * mean / (1 + mean))
    # The slope of sqrt(2 r / (1 + r)) at the mean is 1 / (top (1 + mean)^2).
    return top + (r - mean) / (top * (1 + mean) ** 2)
