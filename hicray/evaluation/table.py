"""How results are written down: Markdown for people, plain values for programs."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hicray.evaluation.held_out import HeldOut
from hicray.evaluation.judge import (
    ELSEWHERE,
    JUDGED,
    NOSEQ,
    SEQ,
    SHOWN,
    GapResult,
    Row,
    gain_over_gaps,
)
from hicray.evaluation.paired import BLOCK_WINDOWS, MIN_SEEDS, Difference
from hicray.evaluation.verdict import verdict
from hicray.training.metrics import OBJECTIVE, SCORES, VERSION
from hicray.windows.manifest import Manifest

HEADS = {
    "mse": "MSE", "pearson": "Pearson", "ssim": "SSIM", "oe_pearson": "O/E Pearson",
    "bits_per_read": "bits per read",
}  # fmt: skip
_DIGITS = {"mse": 6, "pearson": 4, "ssim": 4, "oe_pearson": 4, "bits_per_read": 4}
_LABELS = {ELSEWHERE: "trained on another locus' DNA"}


def render(results: Sequence[GapResult], manifest: Manifest) -> str:
    """Return the whole statement: tables and differences per gap, how to read them, the verdict."""
    lines = []
    for result in results:
        lines += _table(result, manifest)
        lines += [*([result.left_out, ""] if result.left_out else []), *_effort(result)]
        lines += _contrasts(result)
        lines += _separations(result, manifest)
    lines += _between_gaps(results)
    lines += [_how(manifest), "", f"**{verdict(results)}**"]
    return "\n".join(lines)


def _how(manifest: Manifest) -> str:
    return (
        "MSE, Pearson, SSIM (11-pixel Gaussian, sigma 1.5, data range 1): per window, usable "
        "pixels, values log10(contacts + 1) / log10(1001). O/E Pearson: "
        f"log((x + {manifest.eps:g}) / (E + {manifest.eps:g})), separations of 2 bins and more, "
        "each map by its own decay. Bits per read: how much likelier the fine map's raw reads are "
        "(Poisson, given its weights) than by distance alone, at the same separations, either's "
        "level set by separation; guessing a bin's coverage does not raise it. "
        "Mean over seeds ± sd over windows; differences are paired by "
        f"window and seed, with 95 % t intervals over blocks of {BLOCK_WINDOWS} neighbouring "
        f"windows and over seeds; with fewer than {MIN_SEEDS} seeds they speak of these trainings "
        "alone, and may be far too narrow for others. Halves are scored one against "
        "the other, not against the whole map; no fine-tune is noseq's network before training. "
        "To be expected of real maps: no gain at 8 -> 4 kb and full depth, more at 16 -> 4 kb and "
        f"40-800 kb from the diagonal, none with swapped DNA. Metrics version {VERSION}; windows "
        f"of {manifest.window_bins} bins of {manifest.fine_bin_size:,} bp, "
        f"{'raw' if manifest.raw else 'balanced'}."
    )


def _table(result: GapResult, manifest: Manifest) -> list[str]:
    chroms = [chrom for chrom, name in manifest.splits.items() if name == result.split]
    count = len(next(iter(result.rows.values())).runs[0].windows)
    heads = [HEADS[name] for name in SHOWN]
    lines = [
        f"### {result.gap} bp, {result.split} (n = {count} windows of {', '.join(chroms)})",
        "",
        f"| method | {' | '.join(heads)} | undefined | decay error | seeds (sd of O/E Pearson) |",
        "| --- |" + " --- |" * (len(SHOWN) + 3),
    ]
    for method, row in result.rows.items():
        cells = [cell(row, name) for name in SHOWN]
        undefined = int(np.isnan([row.windows(name) for name in SHOWN]).any(axis=0).sum())
        cells += [str(undefined), f"{row.decay_error:.4f}", _seeds(row)]
        lines.append(f"| {_name(method, result)} | {' | '.join(cells)} |")
    return [*lines, "", *([f"**{result.leak}**", ""] if result.leak else [])]


def _effort(result: GapResult) -> list[str]:
    """Return how many networks each arm's best was chosen from."""
    if not result.tried:
        return []
    counts = ", ".join(f"{count} of {arm}" for arm, count in result.tried.items())
    return [f"Distinct configurations tried at {result.gap} bp: {counts}.", ""]


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
    number, spread = len(row.runs), row.over_seeds(OBJECTIVE)
    return f"{number} ({spread:.4f})" if np.isfinite(spread) else str(number)


def _contrasts(result: GapResult) -> list[str]:
    if not result.differences:
        return ["Seq and noseq were not both trained at this gap.", ""]
    lines = [f"| difference, {result.gap} bp, {result.split} | score | value |", "| --- " * 3 + "|"]
    for (ours, theirs), scores in result.differences.items():
        pair = f"{_LABELS.get(ours, ours)} - {theirs}"
        shown = SHOWN if (ours, theirs) == (SEQ, NOSEQ) else JUDGED
        lines += [f"| {pair} | {HEADS[name]} | {scores[name]} |" for name in shown]
    return [*lines, ""]


def _between_gaps(results: Sequence[GapResult]) -> list[str]:
    """Return how much more seq gains at the widest gap than at the narrowest."""
    both = [result for result in results if {SEQ, NOSEQ} <= result.rows.keys()]
    if len(both) < 2:
        return []
    near, *_, wide = sorted(both, key=lambda result: result.coarse_bin_size)
    gain = gain_over_gaps(wide, near)
    return [f"seq - noseq at {wide.gap} bp less that at {near.gap} bp, O/E Pearson: {gain}", ""]


def _separations(result: GapResult, manifest: Manifest) -> list[str]:
    if not result.by_separation:
        return []
    size = manifest.fine_bin_size
    heads = " | ".join(f"seq - noseq, {HEADS[name]}" for name in result.by_separation)
    lines = [f"| separation, {result.gap} bp, {result.split} | {heads} |"]
    lines.append("| --- |" + " --- |" * len(result.by_separation))
    for first, end in next(iter(result.by_separation.values())):
        cells = " | ".join(str(bands[first, end]) for bands in result.by_separation.values())
        lines.append(f"| {first * size:,} to {end * size:,} bp | {cells} |")
    return [*lines, ""]


def plain(results: Sequence[GapResult], manifest: Manifest) -> dict[str, Any]:
    """Return the same as JSON values, every window's scores included."""
    return {
        "metrics_version": VERSION,
        "plan": manifest.plan,
        "splits": dict(manifest.splits),
        "verdict": verdict(results),
        "gaps": {result.gap: _plain_gap(result) for result in results},
    }


def _plain_gap(result: GapResult) -> dict[str, Any]:
    return {
        "split": result.split,
        "leak": result.leak,
        "left_out": result.left_out,
        "settings": dict(result.settings),
        "configurations": dict(result.tried),
        "differences": {
            f"{ours} - {theirs}": {name: _difference(one) for name, one in scores.items()}
            for (ours, theirs), scores in result.differences.items()
        },
        "by_separation_bins": {
            score: {f"{first}-{end}": _difference(one) for (first, end), one in bands.items()}
            for score, bands in result.by_separation.items()
        },
        "rows": {
            method: [_numbers(run) for run in row.runs] for method, row in result.rows.items()
        },
    }


def _difference(one: Difference) -> dict[str, Any]:
    return _nulls(one._asdict())


def _numbers(one: HeldOut) -> dict[str, Any]:
    summary = {
        name: _nulls(
            {
                "mean": one.mean(name),
                "sd": one.deviation(name),
                "n": int(one.windows[name].notna().sum()),
                "undefined": int(one.windows[name].isna().sum()),
            }
        )
        for name in SCORES
    }
    windows = one.windows.astype(object).where(one.windows.notna(), None).to_dict("list")
    return {"scores": summary, "decay_error": one.decay_error, "windows": windows}


def _nulls(values: Mapping[str, Any]) -> dict[str, Any]:
    """Replace NaN, which JSON does not know, by null."""
    return {name: None if np.isnan(value) else value for name, value in values.items()}
