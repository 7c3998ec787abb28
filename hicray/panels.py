"""Maps of a locus side by side, drawn alike wherever hicray shows any.

Three rows: contacts; observed over expected, which shows structure that distance decay hides; and
how many times too many or too few contacts each map has. A row has one colour scale.
"""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import matplotlib as mpl
import matplotlib.colors
import matplotlib.ticker
import numpy as np
from jaxtyping import Float, Shaped
from matplotlib.axes import Axes
from matplotlib.figure import Figure, FigureBase, SubFigure

from hicray.figures import Level, draw_levels

Map = Float[np.ndarray, "rows cols"]
MASKED = "0.8"
"""Grey of pixels whose bins are not usable."""
NEAREST = 2
"""First separation that O/E is correlated from, in bins."""
OVERVIEW_ROWS = 2
"""An overview shows no differences."""
NOTE = "Grey: masked bins. r: Pearson's, of log O/E, with"
_SIDE, _BAR = 2.1, 1.1
"""Inches of a panel, and of the colour bars beside a row."""


@dataclass(frozen=True, kw_only=True)
class Locus:
    """Maps of one window.

    Attributes:
        chrom: Chromosome.
        row_start: First base of the rows.
        col_start: First base of the columns.
        bin_size: In bp.
        maps: Contacts by name, in the order in which they are shown; NaN is masked.
        expected: Contacts that distance alone expects; None leaves out O/E.
        by_own_decay: Contacts to take for O/E in place of a map's own: of a coarse map, which has a
            decay of its own, its O/E times what is expected.
        against: The map that others are held against.
        compared: Whose differences from it are drawn; all others' if not given.
        marked: Start and end of a stretch to point out, in bp.
        eps: Pseudo-count of ratios, in contacts.
    """

    chrom: str
    row_start: int
    col_start: int
    bin_size: int
    maps: Mapping[str, Map]
    expected: Map | None = None
    by_own_decay: Mapping[str, Map] = field(default_factory=dict)
    against: str = "fine"
    compared: tuple[str, ...] = ()
    marked: tuple[int, int] | None = None
    eps: float = 1.0

    def oe(self) -> dict[str, Map]:
        """Return log2 of observed over expected by map; nothing without an expected."""
        if self.expected is None:
            return {}
        mean = self.expected + self.eps
        maps = {**self.maps, **self.by_own_decay}
        return {name: np.log2((maps[name] + self.eps) / mean) for name in self.maps}

    def differences(self) -> dict[str, Map]:
        """Return log2 of other maps over the one that they are held against."""
        truth = self.maps[self.against] + self.eps
        others = self.compared or tuple(name for name in self.maps if name != self.against)
        return {name: np.log2((self.maps[name] + self.eps) / truth) for name in others}

    def likeness(self, name: str) -> float:
        """Return how a map's O/E correlates with the one that it is held against."""
        rows, cols = np.indices(self.maps[name].shape)
        # The main diagonal of the map is not that of a window off it.
        shift = (self.col_start - self.row_start) // self.bin_size
        counted = abs(cols + shift - rows) >= NEAREST
        pair = [self.oe()[label][counted] for label in (name, self.against)]
        both = np.isfinite(pair[0]) & np.isfinite(pair[1])
        if not all(len(values[both]) and np.ptp(values[both]) > 0 for values in pair):
            return float("nan")
        return float(np.corrcoef(pair[0][both], pair[1][both])[0, 1])


def locus_panels(loci: Sequence[Locus], title: str = "") -> Figure:
    """Draw the maps of loci: below each other; of one, side by side.

    Args:
        loci: At least one.
        title: Over all panels.
    """
    sizes = [_size(locus, list(_rows(locus))) for locus in loci]
    width, height = max(wide for wide, _ in sizes), sum(tall for _, tall in sizes)
    figure = Figure(figsize=(width, height + 0.6), layout="constrained")
    parts = figure.subfigures(len(loci), 1, squeeze=False, height_ratios=[t for _, t in sizes])
    for part, locus in zip(parts.ravel(), loci, strict=True):
        _draw(part, locus, list(_rows(locus)))
    figure.suptitle(title)
    figure.supxlabel(_note(loci[0]), fontsize=8, color="0.3")
    return figure


def overview(
    rows: Mapping[str, tuple[Locus, Mapping[str, Level]]], score: str, title: str = ""
) -> Figure:
    """Draw a locus and, beside it, how each method scores by separation, one gap below another.

    Args:
        rows: By gap: a locus; by method, first separation of each band in bp, and the score; the
            last method is what none can surpass.
        score: What is scored.
        title: Over all.
    """
    shown = {gap: list(_rows(locus))[:OVERVIEW_ROWS] for gap, (locus, _) in rows.items()}
    sizes = [_size(locus, shown[gap]) for gap, (locus, _) in rows.items()]
    width, tall = max(wide for wide, _ in sizes), [height for _, height in sizes]
    figure = Figure(figsize=(width + 4.5, sum(tall) + 0.6), layout="constrained")
    parts = figure.subfigures(
        len(rows), 2, squeeze=False, width_ratios=[width, 4.5], height_ratios=tall
    )
    for (left, right), (gap, (locus, levels)) in zip(parts, rows.items(), strict=True):
        _draw(left, locus, shown[gap])
        draw_levels(right.subplots(), levels, f"{gap} bp, all windows", score)
    figure.suptitle(title)
    figure.supxlabel(_note(next(iter(rows.values()))[0]), fontsize=8, color="0.3")
    return figure


def _note(locus: Locus) -> str:
    return f"{NOTE} {locus.against}." if locus.expected is not None else "Grey: masked bins."


class Row(NamedTuple):
    """Maps on one scale.

    Attributes:
        maps: By the name of their column.
        label: What their colours mean.
        colours: How they are coloured, as matplotlib takes it.
        folds: Whether values are logarithms of ratios, whose ticks are ratios.
    """

    maps: Mapping[str, Map]
    label: str
    colours: Mapping[str, Any]
    folds: bool = True

    def ticks(self, low: float, top: float) -> dict[float, str]:
        """Return where a colour bar has ticks, and what they say."""
        if not self.folds:
            return {at: f"{at:g}" for at in _decades(low, top)}
        return {at: f"{2**at:.3g}" for at in _folds(top)}


def _size(locus: Locus, rows: Sequence[Row]) -> tuple[float, float]:
    """Return width and height of a locus' panels, in inches."""
    return _SIDE * len(locus.maps) + _BAR + 0.6, len(rows) * (_SIDE + 0.1) + 0.6


def _draw(part: SubFigure, locus: Locus, rows: Sequence[Row]) -> None:
    """Draw a locus: a row of contacts, of O/E, of differences."""
    grid = part.subplots(len(rows), len(locus.maps), squeeze=False)
    for line, row in zip(grid, rows, strict=True):
        _draw_row(part, line, locus, row)
    for panel, name in zip(grid[0], locus.maps, strict=True):
        panel.set_title("\n".join(textwrap.wrap(name, 20)), fontsize=10)
    if locus.expected is not None:
        for panel, name in zip(grid[1], locus.maps, strict=True):
            if name != locus.against:
                panel.set_title(f"r = {locus.likeness(name):.2f}", fontsize=9)
    _label_axes(grid, locus)


def _rows(locus: Locus) -> Iterator[Row]:
    low, top = _percentile(locus.maps, 1.0), _percentile(locus.maps, 99.5)
    # A scale needs two ends: a map may be constant, or masked throughout.
    low, top = (low, top) if low < top else (0.0, top or 1.0)
    # log(x + eps), so that a pixel without contacts has a colour too.
    scale = mpl.colors.FuncNorm(
        (lambda x: np.log1p(x / locus.eps), lambda x: locus.eps * np.expm1(x)), low, top
    )
    yield Row(locus.maps, "contacts", {"cmap": "Reds", "norm": scale}, folds=False)
    if locus.expected is not None:
        maps = locus.oe()
        # The range of one: a thinned map's is far wider, and would leave the others pale.
        truth = {locus.against: maps[locus.against]}
        yield Row(maps, "observed / expected", _signed(truth, "RdBu_r"))
    if len(locus.maps) > 1:
        maps = locus.differences()
        yield Row(maps, f"map / {locus.against}", _signed(maps, "PuOr_r"))


def _percentile(maps: Mapping[str, Map], percentile: float) -> float:
    """Return a percentile of the absolute values of all maps; 0 where nothing is usable."""
    values = np.abs(np.concatenate([pixels[np.isfinite(pixels)] for pixels in maps.values()]))
    return float(np.percentile(values, percentile)) if len(values) else 0.0


def _signed(maps: Mapping[str, Map], colours: str) -> dict[str, Any]:
    reach = max(_percentile(maps, 99.0), 0.25)
    return {"cmap": colours, "vmin": -reach, "vmax": reach}


def _draw_row(
    part: FigureBase, line: Shaped[np.ndarray, " panels"], locus: Locus, row: Row
) -> None:
    colours = mpl.colormaps[row.colours["cmap"]].with_extremes(bad=MASKED)
    side = {name: values.shape for name, values in locus.maps.items()}
    shown = None
    for panel, name in zip(line, locus.maps, strict=True):
        if name not in row.maps:
            panel.axis("off")
            continue
        kb = [
            np.array([start, start + bins * locus.bin_size]) / 1_000
            for start, bins in zip((locus.row_start, locus.col_start), side[name], strict=True)
        ]
        style = {**row.colours, "cmap": colours}
        extent = (*kb[1], *kb[0][::-1])
        shown = panel.imshow(row.maps[name], extent=extent, interpolation="nearest", **style)
        if locus.marked:
            _mark(panel, locus.marked)
    if shown is not None:
        bar = part.colorbar(shown, ax=list(line), shrink=0.85, aspect=14, pad=0.01, extend="both")
        ticks = row.ticks(float(shown.norm.vmin), float(shown.norm.vmax))
        bar.set_ticks([*ticks], labels=[*ticks.values()])
        bar.minorticks_off()
        bar.set_label(row.label, fontsize=9)
        bar.ax.tick_params(labelsize=8)


def _mark(panel: Axes, stretch: tuple[int, int]) -> None:
    for edge in (stretch[0] / 1_000, stretch[1] / 1_000):
        panel.axvline(edge, color="black", linewidth=0.6, linestyle=":")
        panel.axhline(edge, color="black", linewidth=0.6, linestyle=":")


def _decades(low: float, top: float) -> list[float]:
    """Return round numbers within two decades of the top, two a decade, and 0 where it is shown."""
    powers = range(int(np.floor(np.log10(top))) - 1, int(np.floor(np.log10(top))) + 1)
    rounds = [m * 10.0**power for power in powers for m in (1, 3)]
    return [value for value in (0.0, *rounds) if low <= value <= top]


def _folds(top: float) -> list[float]:
    """Return logarithms of powers of two, at most seven, within the reach of the scale."""
    step = max(0.2 if top < 0.5 else 0.5 if top < 1 else 1, int(top / 3))
    half = np.arange(step, top + 1e-9, step)
    return [*(-half[::-1]).tolist(), 0.0, *half.tolist()]


def _label_axes(grid: Shaped[np.ndarray, "lines panels"], locus: Locus) -> None:
    """Give kb to the outer panels alone: the lowest row, and the first of each row."""
    for line in grid:
        for panel in line:
            panel.tick_params(labelsize=7, labelleft=False, labelbottom=False)
            # The first label of a column would run into the last one of the column before.
            for axis, pruned in ((panel.xaxis, "lower"), (panel.yaxis, None)):
                axis.set_major_locator(mpl.ticker.MaxNLocator(3, prune=pruned))
                axis.set_major_formatter(mpl.ticker.StrMethodFormatter("{x:,g}"))
        first = next(panel for panel in line if panel.axison)
        first.tick_params(labelleft=True)
        first.set_ylabel(f"{locus.chrom} (kb)", fontsize=8)
    for panel in grid[-1]:
        panel.tick_params(labelbottom=True)
        panel.set_xlabel(f"{locus.chrom} (kb)", fontsize=8)
