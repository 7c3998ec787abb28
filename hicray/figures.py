"""The pictures people look at: loss curves and map panels."""

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

mpl.use("Agg")

Map = Float[np.ndarray, "rows cols"]
Curves = Mapping[str, Sequence[float]]
PANELS_ACROSS = 4


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
