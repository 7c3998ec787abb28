"""How far each method gets at each separation, beside what any could: the ceiling.

The ceiling is what the truth would score against this fine map's noise. A method that knows some
of that noise may stand above it, as the coarse map does that is made of the fine one's reads.
"""

from collections.abc import Mapping

import numpy as np

from hicray.comparison.results import HALVES, NOSEQ, RATES, SEQ, SPLIT, GapResult
from hicray.evaluation.baselines import BASE
from hicray.evaluation.rivals import CEILING
from hicray.evaluation.window_set import SeparationBand, band_score
from hicray.metrics.correlation import distance_bands
from hicray.metrics.scores import LABELS, OBJECTIVE
from hicray.windows.manifest import Manifest
from hicray.wording import markdown_table

_TRUTH = (RATES, SPLIT, HALVES, CEILING)
"""Rows that no method made of the coarse map alone."""


def scores_by_separation(
    result: GapResult, manifest: Manifest
) -> Mapping[str, Mapping[SeparationBand, float]]:
    """Return mean O/E Pearson by band of the base, the best filter, both arms and the ceiling.

    Noise-free rates stand beside the ceiling where a simulation's are known.
    """
    named = dict.fromkeys((BASE, result.best_filter, NOSEQ, SEQ, RATES, CEILING))
    bands = distance_bands(manifest.window_bins)
    levels = {name: _levels(result, name, bands) for name in named if name in result.rows}
    return {name: means for name, means in levels.items() if means}


def _levels(
    result: GapResult, name: str, bands: list[SeparationBand]
) -> dict[SeparationBand, float]:
    wanted = {band: band_score(OBJECTIVE, band) for band in bands}
    columns = result.rows[name].runs[0].windows.columns
    levels = {
        band: _mean(result, name, column) for band, column in wanted.items() if column in columns
    }
    return {band: level for band, level in levels.items() if np.isfinite(level)}


def _mean(result: GapResult, name: str, column: str) -> float:
    """Return a row's mean over the windows where it is defined; NaN where it is in none."""
    values = result.rows[name].windows(column)
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")


def lines(result: GapResult, manifest: Manifest) -> list[str]:
    """Return the table by separation, and what stands above the ceiling, as Markdown."""
    levels, size = scores_by_separation(result, manifest), manifest.fine_bin_size
    if not levels:
        return []
    title = f"{LABELS[OBJECTIVE]} by separation, {result.gap} bp, {result.split}"
    bands = dict.fromkeys(band for means in levels.values() for band in means)
    rows = [
        [
            _apart(band, size),
            *(f"{means[band]:.4f}" if band in means else "undefined" for means in levels.values()),
        ]
        for band in bands
    ]
    table = markdown_table([title, *levels], rows)
    return [*table, "", *_above(result, list(bands), size)]


def _above(result: GapResult, bands: list[SeparationBand], bin_size: int) -> list[str]:
    """Say which methods score above the ceiling, over all separations and in each band."""
    if CEILING not in result.rows:
        return []
    columns = {"over all separations": OBJECTIVE}
    columns |= {f"at {_apart(band, bin_size)}": band_score(OBJECTIVE, band) for band in bands}
    methods = [name for name in result.rows if name not in _TRUTH]
    clauses = []
    for where, column in columns.items():
        top = _mean(result, CEILING, column)
        above = [name for name in methods if _mean(result, name, column) > top]
        clauses += [f"{', '.join(above)} {where}"] if above else []
    if not clauses:
        return []
    text = f"Above the ceiling at {result.gap} bp, no bound there: {'; '.join(clauses)}"
    return [f"{text} (the coarse map is made of the fine one's reads, and knows their noise).", ""]


def _apart(band: SeparationBand, bin_size: int) -> str:
    return f"{band[0] * bin_size:,} to {band[1] * bin_size:,} bp"
