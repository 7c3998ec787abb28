"""The pictures people look at: loss curves, map panels, what DNA gains, curves by distance."""

import io
from collections.abc import Mapping, Sequence

import matplotlib as mpl
import matplotlib.ticker
import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

mpl.use("Agg")

Picture = Figure
Map = Float[np.ndarray, "rows cols"]
Curves = Mapping[str, Sequence[float]]
Values = Float[np.ndarray, " windows"]
Band = Float[np.ndarray, " bands"]
Gain = tuple[Band, Band, Band, Band]
PANELS_ACROSS = 4
_DPI = 110
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's, which colour-blind people tell apart; line styles change with each round."""
STYLES = ("-", "--", ":", "-.")


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


def map_panels(rows: Mapping[str, Mapping[str, Map]], title: str = "") -> Figure:
    """Draw maps side by side, a row per window: contacts in red, differences in blue and red.

    Args:
        rows: By window, then by panel name; panels named 'difference ...' are signed.
        title: Over all panels.
    """
    count, names = len(rows), list(next(iter(rows.values())))
    figure = Figure(figsize=(2.7 * len(names), 2.7 * count + 0.5), layout="constrained")
    grid = figure.subplots(count, len(names), squeeze=False)
    for line, (window, maps) in zip(grid, rows.items(), strict=True):
        shared = [m for name, m in maps.items() if not name.startswith("difference")]
        top = float(np.nanpercentile(np.stack(shared), 99.5))
        for panel, (name, values) in zip(line, maps.items(), strict=True):
            if name.startswith("difference"):
                reach = max(float(np.nanpercentile(np.abs(values), 99.5)), 1e-6)
                image = panel.imshow(values, cmap="RdBu_r", vmin=-reach, vmax=reach)
            else:
                image = panel.imshow(values, cmap="Reds", vmin=0, vmax=top)
            figure.colorbar(image, ax=panel, shrink=0.75)
            panel.set(title=name, xticks=[], yticks=[])
        line[0].set_ylabel(window, fontsize=8)
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
        axes.plot(kb[1:], values[1:], style, color=COLOURS[i % len(COLOURS)], label=name, lw=1.3)
    axes.set(xscale="log", xlabel="distance (kb)", ylabel=ylabel)
    if log:
        axes.set_yscale("log")
    axes.xaxis.set_major_formatter(mpl.ticker.FuncFormatter(lambda value, _: f"{value:g}"))
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, bbox_to_anchor=(1.0, 1.0), loc="upper left")
    return figure


def located_maps(
    rows: Mapping[tuple[str, int], Mapping[str, Map]], bin_size: int, label: str
) -> Figure:
    """Draw windows of several maps side by side, on one colour scale a row; NaN is grey.

    Args:
        rows: By chromosome and start in bp, then by map.
        bin_size: In bp.
        label: What the values are.
    """
    names = list(next(iter(rows.values())))
    size = (2.6 * len(names) + 1.2, 2.6 * len(rows) + 0.3)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(len(rows), len(names), squeeze=False)
    colours = mpl.colormaps["Reds"].with_extremes(bad="0.85")
    for line, ((chrom, start), maps) in zip(grid, rows.items(), strict=True):
        side = next(iter(maps.values())).shape[0] * bin_size
        kb = (start / 1000, (start + side) / 1000)
        top = float(np.nanpercentile(np.stack(list(maps.values())), 99.5))
        for panel, (name, values) in zip(line, maps.items(), strict=True):
            panel.imshow(values, cmap=colours, vmin=0, vmax=top, extent=(*kb, *kb[::-1]))
            panel.set_title(name, fontsize=9)
            panel.tick_params(labelsize=7)
            panel.locator_params(nbins=4)
        line[0].set_ylabel(f"{chrom} (kb)", fontsize=8)
        bar = figure.colorbar(line[0].images[0], ax=list(line), shrink=0.8)
        bar.set_label(label, fontsize=7)
        bar.ax.tick_params(labelsize=7)
    return figure
