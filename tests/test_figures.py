"""Pictures are drawn, not empty."""

import io

import matplotlib.image as mpimg
import numpy as np

from hicray.figures import loss_curves, map_panels


def pixels(figure):
    file = io.BytesIO()
    figure.savefig(file, format="png")
    file.seek(0)
    return mpimg.imread(file)


def test_loss_curves_have_a_line_per_name_and_a_panel_per_run():
    figure = loss_curves({"a": {"train": [2.0, 1.0], "val": [3.0, 2.0]}, "b": {"train": [1.0]}})
    assert [len(axes.lines) for axes in figure.axes] == [2, 1]
    assert np.ptp(pixels(figure)) > 0.5


def test_map_panels_show_every_map_of_every_window(rng):
    maps = {"coarse": rng.random((8, 8)), "difference": rng.normal(size=(8, 8))}
    figure = map_panels({"chr1:0": maps, "chr1:8": maps})
    shown = [axes for axes in figure.axes if axes.images]
    assert len(shown) >= 4
    signed = [axes.images[0] for axes in shown if axes.get_title() == "difference"]
    assert all(image.norm.vmin == -image.norm.vmax for image in signed)
