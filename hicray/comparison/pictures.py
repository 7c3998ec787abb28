"""The pictures of a statement: test windows, what DNA gains and where, how it was learnt."""

import re
from collections.abc import Sequence

import numpy as np

from hicray.comparison.by_separation import scores_by_separation
from hicray.comparison.learning import longest, mean_best
from hicray.comparison.results import NOSEQ, SEQ, GapResult
from hicray.evaluation.window_set import SeparationBand
from hicray.figures import (
    Gain,
    Level,
    Picture,
    gain_by_epoch,
    gain_by_separation,
    loss_curves,
    paired_scatter,
    score_by_separation,
)
from hicray.metrics.scores import BITS, LABELS, OBJECTIVE
from hicray.panels import locus_panels, overview
from hicray.windows.manifest import Manifest

_GAINS = {OBJECTIVE: "gain by separation", BITS: "gain in bits per read by separation"}


def figures(results: Sequence[GapResult], manifest: Manifest) -> dict[str, Picture]:
    """Return the pictures of a statement, by caption."""
    pictures = {
        f"test windows {result.gap} bp": locus_panels(
            result.examples, f"{result.split} windows, {result.gap} bp"
        )
        for result in results
        if result.examples
    }
    both = [result for result in results if {SEQ, NOSEQ} <= result.rows.keys()]
    if both:
        pairs = {
            result.gap: (
                result.rows[NOSEQ].windows(OBJECTIVE),
                result.rows[SEQ].windows(OBJECTIVE),
            )
            for result in both
        }
        pictures["windows seq against noseq"] = paired_scatter(
            pairs, LABELS[OBJECTIVE], (NOSEQ, SEQ)
        )
        for score, caption in _GAINS.items():
            gains = {result.gap: _gain(result, score, manifest.fine_bin_size) for result in both}
            pictures[caption] = gain_by_separation(gains, LABELS[score], "seq - noseq")
    levels = {result.gap: _levels(result, manifest) for result in results}
    shown = {r.gap: (r.examples[0], levels[r.gap]) for r in results if r.examples and levels[r.gap]}
    if shown:
        pictures["one locus and score by separation"] = overview(
            shown, LABELS[OBJECTIVE], f"a locus of the {results[0].split} set"
        )
    if any(levels.values()):
        pictures["score by separation"] = score_by_separation(levels, LABELS[OBJECTIVE])
    learnt = {result.gap: _by_epoch(result) for result in results if longest(result.learning) > 1}
    if learnt:
        pictures["score and gain by epoch"] = gain_by_epoch(learnt, (NOSEQ, SEQ), LABELS[OBJECTIVE])
    curves = {f"{arm}, {r.gap}": lines for r in results for arm, lines in r.curves.items()}
    if curves:
        pictures["loss curves"] = loss_curves(curves)
    return pictures


def _levels(result: GapResult, manifest: Manifest) -> dict[str, Level]:
    """Return each method's O/E Pearson by the first separation of each band, in bp."""
    return {
        name: Level(
            np.array([float(first * manifest.fine_bin_size) for first, _ in means]),
            np.array([*means.values()]),
        )
        for name, means in scores_by_separation(result, manifest).items()
    }


def _by_epoch(result: GapResult) -> dict[str, Sequence[float]]:
    epochs = longest(result.learning)
    runs = {
        arm: trainings for arm, trainings in result.learning.items() if longest({arm: trainings})
    }
    return {
        arm: [float(best) for best in mean_best(trainings, epochs)]
        for arm, trainings in runs.items()
    }


def _gain(result: GapResult, score: str, bin_size: int) -> Gain:
    bands: list[SeparationBand] = list(result.by_separation[score])
    differences = [result.by_separation[score][band] for band in bands]
    start = np.array([float(first * bin_size) for first, _ in bands])
    return Gain(
        start,
        mean=np.array([difference.mean for difference in differences]),
        low=np.array([difference.low for difference in differences]),
        high=np.array([difference.high for difference in differences]),
    )


def file_name(caption: str) -> str:
    """Return a caption as a file's name."""
    return re.sub(r"\W+", "_", caption).strip("_")
