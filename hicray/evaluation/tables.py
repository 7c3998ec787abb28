"""What an evaluation found, written down: tables for people, values for programs, pictures."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hicray.config import digest
from hicray.evaluation.compared import MIN_USABLE, leaks
from hicray.evaluation.options import FINE, Evaluate
from hicray.evaluation.score_maps import Evaluation, Score, together
from hicray.figures import by_distance, png
from hicray.io.copies import fingerprint
from hicray.io.notes import refuse_others, write_json
from hicray.maps.expected import Curve
from hicray.maps.scaled import ScaledMap
from hicray.metrics.boundaries import STRENGTH, TOLERANCE_BINS
from hicray.metrics.correlation import band_means, distance_bands
from hicray.metrics.scores import LABELS, VERSION
from hicray.metrics.window_scores import WINDOW_SCORES
from hicray.panels import locus_panels
from hicray.windows.manifest import EPS
from hicray.windows.scales import MIN_SEPARATION
from hicray.wording import in_markdown, markdown_table

_HEADS = LABELS | {
    "mae": "MAE", "psnr": "PSNR (dB)", "spearman": "Spearman", "scc": "SCC",
    "distance_pearson": "r by distance", "insulation_pearson": "insulation r",
    "boundary_f1": "boundary F1", "decay_error": "decay error",
}  # fmt: skip
_DIGITS = {"mse": 6, "mae": 5, "psnr": 2}
_RESULT = "evaluate.json"


def identify(maps: Evaluate) -> dict[str, Any]:
    """Return what decides an evaluation's result: options, contents of the maps, and a digest."""
    uris = {FINE: maps.fine, **maps.named()}
    prints = {name: fingerprint(uri) for name, uri in uris.items()}
    # A fingerprint is of the whole file; the group says which of its bin sizes is meant.
    groups = [uri.partition("::")[2].strip("/") for uri in uris.values()]
    identity = {"options": asdict(maps), "fingerprints": prints}
    settings = [maps.chroms, maps.window_bins, maps.bin_size, maps.weights]
    return {"digest": digest([prints, groups, settings, VERSION]), **identity}


def refuse_other(out: Path, identity: Mapping[str, Any]) -> None:
    """Refuse a folder that holds another evaluation.

    Raises:
        UserError: It does.
    """
    refuse_others(
        out / _RESULT,
        identity["digest"],
        problem="holds another evaluation",
        differs="other maps, chromosomes or settings",
        option="--out folder",
    )


def render(result: Evaluation) -> str:
    """Return the tables and how to read them."""
    return "\n".join(
        [
            f"# Maps against {in_markdown(result.compared.fine.contacts.uri)}",
            "",
            *(line for leak in leaks(result.compared) for line in (f"**{leak}**", "")),
            *_windows(result),
            *_whole(result),
            *_distances(result),
            *_chromosomes(result),
            *_notes(result),
        ]
    )


def _table(heads: Sequence[str], rows: Iterable[Iterable[str]]) -> list[str]:
    return [*markdown_table(heads, ([*map(in_markdown, row)] for row in rows)), ""]


def _number(value: float, name: str = "") -> str:
    return f"{value:.{_DIGITS.get(name, 4)}f}" if np.isfinite(value) else "undefined"


def _spread(values: pd.Series, name: str) -> str:
    """Return mean ± sd, and how many windows are undefined if any is."""
    missing = int(values.isna().sum())
    if missing == len(values):
        return "undefined"
    text = _number(values.mean(), name)
    if values.count() > 1:
        text += f" ± {_number(values.std(), name)}"
    return f"{text} ({missing} undefined)" if missing else text


def _windows(result: Evaluation) -> list[str]:
    pooled = {name: together(list(by_chrom.values())) for name, by_chrom in result.scores.items()}
    count = len(next(iter(pooled.values())).windows)
    dropped = sum(result.left_out.values())
    chroms = ", ".join(map(in_markdown, result.compared.chroms))
    title = (
        f"## Windows (n = {count} of {chroms}; {dropped} left out, under {MIN_USABLE:.0%} usable)"
    )
    rows = [
        [name, *(_spread(scores.windows[score], score) for score in WINDOW_SCORES)]
        for name, scores in pooled.items()
    ]
    return [title, "", *_table(["method", *(_HEADS[s] for s in WINDOW_SCORES)], rows)]


def _whole(result: Evaluation) -> list[str]:
    rows = []
    for name, chroms in result.scores.items():
        pooled = together(list(chroms.values()))
        numbers = pooled.whole()
        cells = [_number(numbers[score]) for score in list(numbers)[1:]]
        fine, other, matched = pooled.boundaries
        scc = _spread(pd.Series(pooled.scc, dtype=float), "scc")
        rows.append([name, scc, *cells, f"{matched} of {fine}, {other} called"])
    scores = ("scc", "distance_pearson", "insulation_pearson", "boundary_f1", "decay_error")
    heads = ["method", *(_HEADS[score] for score in scores), "boundaries found"]
    return [f"## Whole chromosomes (n = {len(result.compared.chroms)})", "", *_table(heads, rows)]


def _distances(result: Evaluation) -> list[str]:
    size = result.compared.bin_size
    bands = distance_bands(result.compared.num_separations)
    heads = [f"{first * size / 1000:g}-{end * size / 1000:g} kb" for first, end in bands]
    rows = []
    for name, chroms in result.scores.items():
        correlation = together(list(chroms.values())).distance.correlation()
        rows.append([name, *map(_number, band_means(correlation, bands))])
    return ["## Correlation by distance", "", *_table(["method", *heads], rows)]


def _chromosomes(result: Evaluation) -> list[str]:
    shown = ("oe_pearson", "bits_per_read", "pearson", "mse")
    rows = []
    for chrom in result.compared.chroms:
        share = f"{result.usable[chrom][0] / result.usable[chrom][1]:.1%}"
        for name, chroms in result.scores.items():
            scores = chroms[chrom]
            windows = [_number(scores.windows[score].mean(), score) for score in shown]
            whole = [_number(value) for value in scores.whole().values()]
            rows.append([chrom, name, str(len(scores.windows)), share, *windows, *whole])
    whole_heads = ("scc", "distance_pearson", "insulation_pearson", "boundary_f1", "decay_error")
    heads = [_HEADS[score] for score in (*shown, *whole_heads)]
    head = ["chromosome", "method", "windows", "usable pixels", *heads]
    return ["## Each chromosome", "", *_table(head, rows)]


def _notes(result: Evaluation) -> list[str]:
    compared, size = result.compared, result.compared.bin_size
    maps = [
        f"- {in_markdown(f'{name}: {scaled.contacts.uri}')}, {_taken(scaled)}"
        for name, scaled in {FINE: compared.fine, **compared.others}.items()
    ]
    reach = (compared.num_separations - 1) * size
    usable, within_reach = np.sum(list(result.usable.values()), axis=0)
    return [
        "## How to read this",
        "",
        *maps,
        f"- Scored: pixels up to {reach:,} bp from the diagonal (as far as every map reaches) "
        f"whose two bins are usable in every map: {usable:,} of {within_reach:,}. Windows of "
        f"{compared.window_bins} bins of {size:,} bp lie on the diagonal and do not overlap.",
        "- Values: scaled contacts (balanced, with the balanced sum of all chromosomes brought to "
        "the raw sum). MSE, MAE, PSNR (data range 1), Pearson, Spearman and SSIM (Gaussian of 11 "
        "pixels, sigma 1.5, data range 1; unusable pixels are 0 in both) take log10(x + 1) / "
        "log10(1001), over the whole window. Mean ± sd over windows.",
        f"- O/E Pearson: log((x + {EPS:g}) / (E + {EPS:g})), separations of {MIN_SEPARATION} bins "
        "and more, each map by its own decay in its chromosome's windows; 'fixed' takes the fine "
        "map's decay over all its chromosomes for both.",
        f"- {_bits(result)}",
        "- r by distance: Pearson of log(x + 1) over each diagonal of all chromosomes together, "
        f"then the mean over separations from {MIN_SEPARATION} bins on; at one separation this is "
        "the correlation of log O/E.",
        f"- SCC: HiCRep, h = {result.h} bins, up to {reach:,} bp without the main diagonal, mean ± "
        "sd over chromosomes.",
        f"- Insulation: cooltools, diamond of {result.diamond * size:,} bp (undefined where maps "
        f"reach less than {2 * result.diamond} bins), r over bins of all chromosomes. Boundaries: "
        f"strength of {STRENGTH:g} and more, matched one to one within {TOLERANCE_BINS} bins.",
        "- decay error: RMS over chromosomes and separations of the difference of log decays.",
        f"- metrics version {VERSION}.",
    ]


def _bits(result: Evaluation) -> str:
    if where := ", ".join(result.no_reads):
        return f"Bits per read: undefined on {where}, where the fine map holds no whole counts."
    return (
        "Bits per read: how much likelier the fine map's raw counts are than by distance alone "
        "(Poisson, given its weights), at the same separations; levels as those decays."
    )


def _taken(scaled: ScaledMap) -> str:
    if not scaled.balanced:
        return "no weights: counts as they are"
    return f"balanced by {scaled.contacts.weights_name!r}, times {scaled.factor:.6g}"


def plain(result: Evaluation, identity: Mapping[str, Any]) -> dict[str, Any]:
    """Return everything as JSON values, every window's scores included.

    Args:
        result: The evaluation.
        identity: Digest, options and fingerprints of the maps.
    """
    compared = result.compared
    return {
        **identity,
        "metrics_version": VERSION,
        "num_separations": compared.num_separations,
        "bin_size": compared.bin_size,
        "settings": {
            "eps": EPS, "scc_h": result.h, "diamond_bins": result.diamond,
            "boundary_strength": STRENGTH, "boundary_tolerance_bins": TOLERANCE_BINS,
            "min_usable": MIN_USABLE,
        },
        "maps": {
            name: {"uri": scaled.contacts.uri, "balanced": scaled.balanced, "factor": scaled.factor}
            for name, scaled in {FINE: compared.fine, **compared.others}.items()
        },
        "pixels": {c: {"usable": k, "within_reach": n} for c, (k, n) in result.usable.items()},
        "windows_left_out": dict(result.left_out),
        "leaks": leaks(compared),
        "methods": {
            name: {
                "pooled": _values(together(list(chroms.values()))),
                "chromosomes": {chrom: _values(scores) for chrom, scores in chroms.items()},
            }
            for name, chroms in result.scores.items()
        },
    }  # fmt: skip


def _values(scores: Score) -> dict[str, Any]:
    windows = scores.windows.astype(object).where(scores.windows.notna(), None).to_dict("list")
    scc = pd.Series(scores.scc, dtype=float)
    return {
        "windows": {s: _summary(scores.windows[s]) for s in WINDOW_SCORES},
        "whole": {name: _null(value) for name, value in scores.whole().items()},
        "scc": _summary(scc),
        "boundaries": scores.boundaries._asdict(),
        "distance_pearson": [_null(value) for value in scores.distance.correlation()],
        "per_window": windows,
    }


def _summary(values: pd.Series) -> dict[str, float | int | None]:
    return {
        "mean": _null(values.mean()),
        "sd": _null(values.std()),
        "n": int(values.notna().sum()),
        "undefined": int(values.isna().sum()),
    }


def _null(value: float) -> float | None:
    """Return None, which JSON knows, for NaN, which it does not."""
    return float(value) if np.isfinite(value) else None


def write(result: Evaluation, out: Path, identity: Mapping[str, Any]) -> str:
    """Write evaluate.md, the figures and, last, evaluate.json; return the tables.

    Args:
        result: The evaluation.
        out: Folder, made if need be.
        identity: As ``identify`` returned it.
    """
    text = render(result)
    out.mkdir(parents=True, exist_ok=True)
    (out / "evaluate.md").write_text(text + "\n")
    size = result.compared.bin_size
    pooled = {name: together(list(by_chrom.values())) for name, by_chrom in result.scores.items()}
    correlation = {name: scores.distance.correlation() for name, scores in pooled.items()}
    label = "Pearson's r of log(contacts + 1)"
    by_distance(correlation, size, label).savefig(out / "distance_correlation.png", dpi=130)
    label = "mean scaled contacts"
    by_distance(_decays(pooled), size, label, log=True).savefig(out / "decay.png", dpi=130)
    if result.examples:
        (out / "windows.png").write_bytes(png(locus_panels(result.examples)))
    write_json(out / _RESULT, plain(result, identity))
    return text


def _decays(pooled: Mapping[str, Score]) -> dict[str, Curve]:
    """Return the decay of the fine map and of every method, of all chromosomes together."""
    curves: dict[str, Curve] = {}
    for name, scores in pooled.items():
        for label, index in ((FINE, 0), (name, 1)):
            first, *rest = (pair[index] for pair in scores.decays)
            curve = sum(rest, start=first).expected()
            curves[label] = np.where(curve > 0, curve, np.nan)
    return curves
