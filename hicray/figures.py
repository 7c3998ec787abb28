"""The pictures people look at: loss curves, what DNA gains, curves by distance; maps: panels.py."""

import io
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import matplotlib as mpl
import matplotlib.ticker
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

Picture = Figure
Map = Float[np.ndarray, "rows cols"]
Curves = Mapping[str, Sequence[float]]
Values = Float[np.ndarray, " windows"]
BandValues = Float[np.ndarray, " bands"]
PANELS_ACROSS = 4
_DPI = 110
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's, which colour-blind people tell apart; line styles change with each round."""
STYLES = ("-", "--", ":", "-.")


class Gain(NamedTuple):
    """A gain by band of separations: where each begins, in bp, the gain, and its interval."""

    start: BandValues
    mean: BandValues
    low: BandValues
    high: BandValues


class Level(NamedTuple):
    """A score by band of separations: where each begins, in bp, and the score."""

    start: BandValues
    score: BandValues


def png(picture: Picture) -> bytes:
    """Return a picture as the content of a .png file."""
    buffer = io.BytesIO()
    picture.savefig(buffer, format="png", dpi=_DPI)
    return buffer.getvalue()


def loss_curves(curves: Mapping[str, Curves], title: str = "") -> Figure:
    """Draw one panel per run, a line per curve, against the epoch.

    Args:
        curves: By run, then by the line's name: one value per epoch.
        title: Over all panels.
    """
    across = max(1, min(len(curves), PANELS_ACROSS))
    down = max(1, -(-len(curves) // across))
    figure = Figure(figsize=(4.2 * across, 3.2 * down), layout="constrained")
    panels = figure.subplots(down, across, squeeze=False).ravel()
    for panel in panels[len(curves) :]:
        panel.remove()
    for panel, (run, lines) in zip(panels, curves.items(), strict=False):
        for name, values in lines.items():
            panel.plot(range(1, len(values) + 1), values, marker=".", label=name)
        panel.set(title=run, xlabel="epoch", ylabel="loss")
        panel.legend(frameon=False)
    figure.suptitle(title)
    return figure


def paired_scatter(
    pairs: Mapping[str, tuple[Values, Values]], score: str, axes: tuple[str, str]
) -> Figure:
    """Draw each window's score by one method against its score by another, a panel per gap.

    Args:
        pairs: By gap: scores of the first and of the second method, window by window.
        score: What is scored.
        axes: Names of the two methods.
    """
    figure = Figure(figsize=(4.2 * len(pairs), 4.2), layout="constrained")
    panels = figure.subplots(1, len(pairs), squeeze=False)[0]
    for panel, (gap, (first, second)) in zip(panels, pairs.items(), strict=True):
        both = np.concatenate([first, second])
        ends = np.array([np.nanmin(both), np.nanmax(both)])
        panel.plot(ends, ends, color="0.7", linewidth=1)
        panel.plot(first, second, ".", color=COLOURS[0], alpha=0.7)
        above = int(np.sum(second > first))
        panel.set(
            title=f"{gap} bp: {above} of {len(first)} windows above the line",
            xlabel=f"{score}, {axes[0]}",
            ylabel=f"{score}, {axes[1]}",
            aspect="equal",
        )
    return figure


def gain_by_separation(gains: Mapping[str, Gain], score: str, title: str = "") -> Figure:
    """Draw gains with their intervals against the separation, a line per gap.

    Args:
        gains: By gap: first separation of each band in bp, the gain, its lower and upper bound.
        score: What is gained.
        title: Over the panel.
    """
    figure = Figure(figsize=(6, 3.6), layout="constrained")
    panel = figure.subplots()
    panel.axhline(0, color="0.7", linewidth=1)
    for colour, (gap, (start, mean, low, high)) in zip(COLOURS, gains.items(), strict=False):
        panel.fill_between(start, low, high, color=colour, alpha=0.25, linewidth=0)
        panel.plot(start, mean, marker=".", color=colour, label=f"{gap} bp")
    panel.set(xscale="log", title=title, xlabel="separation (bp), from", ylabel=f"gain, {score}")
    ticks = sorted({float(at) for start, *_ in gains.values() for at in start})
    panel.set_xticks(ticks, [f"{at:,.0f}" for at in ticks])
    panel.minorticks_off()
    panel.legend(frameon=False)
    return figure


def score_by_separation(levels: Mapping[str, Mapping[str, Level]], score: str) -> Figure:
    """Draw methods' scores against the separation, a panel per gap; the last one is dashed.

    Args:
        levels: By gap, then by method: first separation of each band in bp, and the score.
        score: What is scored.
    """
    figure = Figure(figsize=(5.4 * len(levels), 3.9), layout="constrained")
    panels = figure.subplots(1, len(levels), squeeze=False)[0]
    for panel, (gap, methods) in zip(panels, levels.items(), strict=True):
        draw_levels(panel, methods, f"{gap} bp", score)
    return figure


def draw_levels(panel: Axes, methods: Mapping[str, Level], title: str, score: str) -> None:
    """Draw methods' scores against the separation into one panel; the last one is dashed.

    Args:
        panel: Empty.
        methods: By name: first separation of each band in bp, and the score.
        title: Over the panel.
        score: What is scored.
    """
    last = len(methods) - 1
    for at, (name, (start, values)) in enumerate(methods.items()):
        style = ".--" if at == last else ".-"
        panel.plot(start, values, style, color=COLOURS[at % len(COLOURS)], label=name)
    ticks = sorted({float(at) for start, _ in methods.values() for at in start})
    panel.set(xscale="log", title=title, xlabel="separation (bp), from", ylabel=score)
    panel.set_xticks(ticks, [f"{at:,.0f}" for at in ticks], fontsize=8)
    panel.minorticks_off()
    panel.legend(frameon=False, fontsize=8)


def gain_by_epoch(scores: Mapping[str, Curves], difference: tuple[str, str], score: str) -> Figure:
    """Draw what each arm has reached by each epoch, and below it what one has over another.

    Args:
        scores: By gap, then by arm: the best score up to each epoch.
        difference: Names of the arm that is taken away, and of the one it is taken from.
        score: What is scored.
    """
    figure = Figure(figsize=(4.6 * len(scores), 5), layout="constrained")
    grid = figure.subplots(2, len(scores), squeeze=False, sharex="col", height_ratios=(2, 1))
    less, more = difference
    for (upper, lower), (gap, arms) in zip(grid.T, scores.items(), strict=True):
        for colour, (arm, values) in zip(COLOURS, arms.items(), strict=False):
            upper.plot(range(1, len(values) + 1), values, marker=".", color=colour, label=arm)
        upper.set(title=f"{gap} bp", ylabel=f"best validation {score} so far")
        upper.legend(frameon=False)
        lower.axhline(0, color="0.7", linewidth=1)
        if less in arms and more in arms:
            gains = np.subtract(arms[more], arms[less])
            lower.plot(range(1, len(gains) + 1), gains, marker=".", color=COLOURS[-1])
        lower.set(xlabel="epoch", ylabel=f"{more} - {less}")
    return figure


def motif_reading(
    profiles: Mapping[str, tuple[Values, Values]], motifs: Mapping[str, Map], title: str = ""
) -> Figure:
    """Draw what single bases matter around sites, and motifs as heat maps of base frequencies.

    Args:
        profiles: By kind of site: offsets in bp, and mean absolute log2 change of the map.
        motifs: By name: positions x (A, C, G, T).
        title: Over all panels.
    """
    figure = Figure(figsize=(6 + 2.2 * len(motifs), 3.6), layout="constrained")
    grid = figure.add_gridspec(1, len(motifs) + 1, width_ratios=[3, *[1] * len(motifs)])
    panel = figure.add_subplot(grid[0])
    for colour, (name, (offsets, changes)) in zip(COLOURS, profiles.items(), strict=False):
        panel.plot(offsets, changes, marker=".", color=colour, label=name)
    panel.set(xlabel="base substituted, bp from the site's first", ylabel="mean |log2 change|")
    panel.legend(frameon=False)
    for at, (name, motif) in enumerate(motifs.items(), start=1):
        image = figure.add_subplot(grid[at])
        image.imshow(motif, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        image.set(xticks=range(4), xticklabels=list("ACGT"), title=name, ylabel="position (bp)")
    figure.suptitle(title)
    return figure


def by_distance(
    curves: Mapping[str, Float[np.ndarray, " separations"]],
    bin_size: int,
    ylabel: str,
    *,
    log: bool = False,
) -> Figure:
    """Draw a line per map against the distance from the diagonal.

    Args:
        curves: By map: a value per separation in bins, from 0 up; NaN leaves a gap.
        bin_size: In bp.
        ylabel: What the values are.
        log: Draw them on a logarithmic axis.
    """
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for i, (name, values) in enumerate(curves.items()):
        style = STYLES[i // len(COLOURS) % len(STYLES)]
        kb = np.arange(len(values)) * bin_size / 1000
        # A logarithmic axis has no 0.
        axes.plot(kb[1:], values[1:], style, color=COLOURS[i % len(COLOURS)], label=name, lw=1.3)
    axes.set(xscale="log", xlabel="distance (kb)", ylabel=ylabel)
    if log:
        axes.set_yscale("log")
    axes.xaxis.set_major_formatter(mpl.ticker.FuncFormatter(lambda value, _: f"{value:g}"))
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, bbox_to_anchor=(1.0, 1.0), loc="upper left")
    return figure
