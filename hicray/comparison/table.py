"""How results are written down: Markdown for people, plain values for programs."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hicray.comparison import by_separation
from hicray.comparison.arms import gain_over_gaps
from hicray.comparison.learning import stops
from hicray.comparison.results import ELSEWHERE, JUDGED, NOSEQ, SEQ, SHOWN, GapResult, Row
from hicray.comparison.verdict import verdict
from hicray.evaluation.window_set import WindowScores
from hicray.metrics.paired import BLOCK_WINDOWS, MIN_SEEDS, Difference
from hicray.metrics.scores import LABELS, OBJECTIVE, SCORES, VERSION
from hicray.windows.manifest import Manifest
from hicray.wording import in_markdown, markdown_table

_DIGITS = {"mse": 6, "pearson": 4, "ssim": 4, "oe_pearson": 4, "bits_per_read": 4}
_LABELS = {ELSEWHERE: "trained on another locus' DNA"}


def render(results: Sequence[GapResult], manifest: Manifest) -> str:
    """Return the whole statement: tables and differences per gap, how to read them, the verdict."""
    lines = []
    for result in results:
        lines += _table(result, manifest)
        lines += [*([result.left_out, ""] if result.left_out else []), *_effort(result)]
        lines += stops(result.learning, result.gap)
        lines += _against_filters(result)
        lines += _contrasts(result)
        lines += _separations(result, manifest)
        lines += by_separation.lines(result, manifest)
    lines += _between_gaps(results)
    lines += [_notes(manifest), ""]
    lines += [line for result in results if result.refit for line in (result.refit, "")]
    lines.append(f"**{verdict(results)}**")
    return "\n".join(lines)


def _notes(manifest: Manifest) -> str:
    return (
        "MSE, Pearson, SSIM (11-pixel Gaussian, sigma 1.5, data range 1): per window, usable "
        "pixels, values log10(contacts + 1) / log10(1001). O/E Pearson: "
        f"log((x + {manifest.eps:g}) / (E + {manifest.eps:g})), separations of 2 bins and more, "
        "each map by its own decay. Bits per read: how much likelier the fine map's raw reads are "
        "(Poisson, given its weights) than by distance alone, at the same separations, either's "
        "level set by separation; guessing a bin's coverage does not raise it. "
        "Mean over seeds ± sd over windows; differences are paired by "
        "window and seed (what is not trained meets every seed), with 95 % t intervals over "
        f"blocks of {BLOCK_WINDOWS} neighbouring windows and over seeds; with fewer than "
        f"{MIN_SEEDS} seeds they speak of these trainings alone, and may be far too narrow for "
        "others. Halves are scored one against "
        "the other, not against the whole map; the ceiling, sqrt(2 r / (1 + r)) of their "
        "mean correlation r, over all separations and in each band, is what the truth itself would "
        "score against this fine map's noise, and no bound where the coarse map, made of the same "
        "reads, shares that noise (narrow gaps of sparse maps). Filters are fitted on training "
        "windows and chosen on validation; no fine-tune is noseq's network before "
        "training; 'its map zeroed' is noseq as trained, with 0 for the vision transformer's map: "
        "its encoder adds at most what that takes away. "
        "To be expected of real maps: no gain at 8 -> 4 kb and full depth, more at 16 -> 4 kb and "
        f"40-800 kb from the diagonal, none with swapped DNA. Metrics version {VERSION}; windows "
        f"of {manifest.window_bins} bins of {manifest.fine_bin_size:,} bp, "
        f"{'raw' if manifest.raw else 'balanced'}."
    )


def _table(result: GapResult, manifest: Manifest) -> list[str]:
    chroms = [in_markdown(c) for c, name in manifest.splits.items() if name == result.split]
    count = len(next(iter(result.rows.values())).runs[0].windows)
    title = f"### {result.gap} bp, {result.split} (n = {count} windows of {', '.join(chroms)})"
    heads = ["method", *(LABELS[name] for name in SHOWN)]
    heads += ["undefined", "decay error", "seeds (sd of O/E Pearson)"]
    rows = [[_name(method, result), *_cells(row)] for method, row in result.rows.items()]
    leak = [f"**{result.leak}**", ""] if result.leak else []
    return [title, "", *markdown_table(heads, rows), "", *leak]


def _cells(row: Row) -> list[str]:
    undefined = int(np.isnan([row.windows(name) for name in SHOWN]).any(axis=0).sum())
    error = f"{row.decay_error:.4f}" if np.isfinite(row.decay_error) else "undefined"
    return [*(cell(row, name) for name in SHOWN), str(undefined), error, _seeds(row)]


def _effort(result: GapResult) -> list[str]:
    """Return how many networks each arm's best was chosen from."""
    if not result.tried:
        return []
    counts = ", ".join(f"{count} of {arm}" for arm, count in result.tried.items())
    return [f"Distinct configurations tried at {result.gap} bp: {counts}.", ""]


def _against_filters(result: GapResult) -> list[str]:
    """Return whether noseq beats what can be had of the coarse map without a network."""
    scores = result.differences.get((NOSEQ, result.best_filter))
    if scores is None:
        return []
    gains = [scores[name] for name in JUDGED]
    beats = "beats" if all(gain.positive for gain in gains) else "is not shown to beat"
    best = _name(result.best_filter, result)
    values = "; ".join(f"{LABELS[name]} {scores[name]}" for name in JUDGED)
    return [f"noseq {beats} the best filter on validation, {best}: {values}.", ""]


def _name(method: str, result: GapResult) -> str:
    label = _LABELS.get(method, method)
    return f"{label} ({result.settings[method]})" if method in result.settings else label


def cell(row: Row, score: str) -> str:
    """Return mean ± standard deviation over windows."""
    values = row.windows(score)
    if np.isnan(values).all():
        return "undefined"
    digits = _DIGITS[score]
    spread = np.nanstd(values, ddof=1) if len(values) > 1 else float("nan")
    return f"{np.nanmean(values):.{digits}f} ± {spread:.{digits}f}"


def _seeds(row: Row) -> str:
    if not row.trained:
        return "none"
    number, spread = len(row.runs), row.over_seeds(OBJECTIVE)
    return f"{number} ({spread:.4f})" if np.isfinite(spread) else str(number)


def _contrasts(result: GapResult) -> list[str]:
    both = (SEQ, NOSEQ) in result.differences
    lines = [] if both else ["Seq and noseq were not both trained at this gap.", ""]
    if not result.differences:
        return lines
    rows = [
        [f"{_LABELS.get(ours, ours)} - {theirs}", LABELS[name], str(scores[name])]
        for (ours, theirs), scores in result.differences.items()
        for name in (SHOWN if (ours, theirs) == (SEQ, NOSEQ) else JUDGED)
    ]
    heads = [f"difference, {result.gap} bp, {result.split}", "score", "value"]
    return [*lines, *markdown_table(heads, rows), ""]


def _between_gaps(results: Sequence[GapResult]) -> list[str]:
    """Return how much more seq gains at the widest gap than at the narrowest."""
    return [
        line
        for pair, gains in _larger_gains(results).items()
        for line in (f"{pair}: {'; '.join(f'{LABELS[s]} {gain}' for s, gain in gains.items())}", "")
    ]


def _larger_gains(results: Sequence[GapResult]) -> dict[str, dict[str, Difference]]:
    """Return by judged score what the widest gap's gain exceeds the narrowest's by, if both are."""
    both = [result for result in results if {SEQ, NOSEQ} <= result.rows.keys()]
    if len(both) < 2:
        return {}
    near, *_, wide = sorted(both, key=lambda result: result.coarse_bin_size)
    pair = f"seq - noseq at {wide.gap} bp less that at {near.gap} bp"
    return {pair: gain_over_gaps(wide, near)}


def _separations(result: GapResult, manifest: Manifest) -> list[str]:
    if not result.by_separation:
        return []
    size = manifest.fine_bin_size
    heads = [f"separation, {result.gap} bp, {result.split}"]
    heads += [f"seq - noseq, {LABELS[name]}" for name in result.by_separation]
    rows = [
        [
            f"{first * size:,} to {end * size:,} bp",
            *(str(bands[first, end]) for bands in result.by_separation.values()),
        ]
        for first, end in next(iter(result.by_separation.values()))
    ]
    return [*markdown_table(heads, rows), ""]


def plain(results: Sequence[GapResult], manifest: Manifest) -> dict[str, Any]:
    """Return the same as JSON values, every window's scores included."""
    return {
        "metrics_version": VERSION,
        "plan": manifest.plan,
        "splits": dict(manifest.splits),
        "verdict": verdict(results),
        "gaps": {result.gap: _plain_gap(result) for result in results},
        "between_gaps": {
            pair: {score: _difference(gain) for score, gain in gains.items()}
            for pair, gains in _larger_gains(results).items()
        },
    }


def _plain_gap(result: GapResult) -> dict[str, Any]:
    return {
        "split": result.split,
        "leak": result.leak,
        "left_out": result.left_out,
        "refit": result.refit,
        "settings": dict(result.settings),
        "best_filter": result.best_filter,
        "configurations": dict(result.tried),
        "learning": {
            arm: [
                {"ceiling_epochs": run.ceiling, OBJECTIVE: [_null(value) for value in run.scores]}
                for run in runs
            ]
            for arm, runs in result.learning.items()
        },
        "differences": {
            f"{ours} - {theirs}": {
                name: _difference(difference) for name, difference in scores.items()
            }
            for (ours, theirs), scores in result.differences.items()
        },
        "by_separation_bins": {
            score: {
                f"{first}-{end}": _difference(difference)
                for (first, end), difference in bands.items()
            }
            for score, bands in result.by_separation.items()
        },
        "rows": {
            method: [_numbers(run) for run in row.runs] for method, row in result.rows.items()
        },
    }


def _difference(difference: Difference) -> dict[str, Any]:
    return _nulls(difference._asdict())


def _numbers(run: WindowScores) -> dict[str, Any]:
    summary = {
        name: _nulls(
            {
                "mean": run.mean(name),
                "sd": run.deviation(name),
                "n": int(run.windows[name].notna().sum()),
                "undefined": int(run.windows[name].isna().sum()),
            }
        )
        for name in SCORES
    }
    windows = run.windows.astype(object).where(run.windows.notna(), None).to_dict("list")
    return {"scores": summary, "decay_error": _null(run.decay_error), "windows": windows}


def _nulls(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _null(value) for name, value in values.items()}


def _null(value: Any) -> Any:
    """Return null for NaN, which JSON does not know."""
    return None if isinstance(value, float) and np.isnan(value) else value
