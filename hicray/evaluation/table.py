"""How results are written down: a Markdown table for people, plain values for programs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hicray.evaluation.held_out import HeldOut
from hicray.evaluation.paired import Difference
from hicray.maps.bins import SplitName
from hicray.training.metrics import SCORES, VERSION
from hicray.windows.manifest import Manifest

SHOWN = ("mse", "pearson", "oe_pearson")
_HEADS = {"mse": "MSE", "pearson": "Pearson", "oe_pearson": "O/E Pearson"}
_DIGITS = {"mse": 6, "pearson": 4, "oe_pearson": 4}


@dataclass(frozen=True)
class GapResult:
    """Everything about one gap.

    Attributes:
        gap: e.g. '16000->4000', in bp.
        coarse_bin_size: In bp.
        rows: By set, then by method.
        differences: Seq minus noseq on the test windows, by score; empty without both.
        settings: What the searched settings of each arm's best trial are.
        examples: Maps of a few test windows, by locus and panel.
    """

    gap: str
    coarse_bin_size: int
    rows: Mapping[SplitName, Mapping[str, HeldOut]]
    differences: Mapping[str, Difference]
    settings: Mapping[str, str]
    examples: Mapping[str, Mapping[str, np.ndarray]]


def render(results: Sequence[GapResult], manifest: Manifest) -> str:
    """Return the whole statement: a table per gap and set, differences, and how to read them."""
    lines = []
    for result in results:
        for split, rows in result.rows.items():
            lines += _table(result, split, rows, manifest)
        lines += _verdict(result)
    lines += [
        "MSE and Pearson: per window, usable pixels, values log10(contacts + 1) / log10(1001). "
        f"O/E Pearson: log((x + {manifest.eps:g}) / (E + {manifest.eps:g})), separations of 2 bins "
        "and more, each map by its own decay. mean ± sd over windows; "
        f"metrics version {VERSION}; windows of {manifest.window_bins} bins of "
        f"{manifest.fine_bin_size:,} bp, {'raw' if manifest.raw else 'balanced'}."
    ]
    return "\n".join(lines)


def _table(
    result: GapResult, split: SplitName, rows: Mapping[str, HeldOut], manifest: Manifest
) -> list[str]:
    chroms = [chrom for chrom, name in manifest.splits.items() if name == split]
    count = len(next(iter(rows.values())).windows)
    heads = [f"{_HEADS[name]}" for name in SHOWN]
    lines = [
        f"### {result.gap} bp, {split} (n = {count} windows of {', '.join(chroms)})",
        "",
        f"| method | {' | '.join(heads)} | undefined | decay error |",
        "| --- |" + " --- |" * (len(SHOWN) + 2),
    ]
    for method, one in rows.items():
        cells = [_cell(one, name) for name in SHOWN]
        undefined = int(one.windows[list(SHOWN)].isna().any(axis=1).sum())
        name = f"{method} ({result.settings[method]})" if method in result.settings else method
        lines.append(f"| {name} | {' | '.join(cells)} | {undefined} | {one.decay_error:.4f} |")
    return [*lines, ""]


def _cell(one: HeldOut, score: str) -> str:
    if one.windows[score].isna().all():
        return "undefined"
    digits = _DIGITS[score]
    return f"{one.mean(score):.{digits}f} ± {one.deviation(score):.{digits}f}"


def _verdict(result: GapResult) -> list[str]:
    if not result.differences:
        return ["Seq and noseq were not both trained at this gap.", ""]
    lines = [
        f"seq - noseq, test, {_HEADS[name]}: {difference}"
        for name, difference in result.differences.items()
    ]
    lines.append("(paired by window; 95 % bootstrap over blocks of 4 neighbouring windows)")
    return [line + "  " for line in lines] + [""]


def plain(results: Sequence[GapResult], manifest: Manifest) -> dict[str, Any]:
    """Return the same as JSON values, every window's scores included."""
    return {
        "metrics_version": VERSION,
        "plan": manifest.plan,
        "splits": dict(manifest.splits),
        "gaps": {
            result.gap: {
                "settings": dict(result.settings),
                "differences": {n: _nulls(d._asdict()) for n, d in result.differences.items()},
                "sets": {
                    split: {method: _numbers(one) for method, one in rows.items()}
                    for split, rows in result.rows.items()
                },
            }
            for result in results
        },
    }


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


def _nulls(values: dict[str, Any]) -> dict[str, Any]:
    """Replace NaN, which JSON does not know, by null."""
    return {name: None if np.isnan(value) else value for name, value in values.items()}
