"""Pictures are drawn, not empty."""

import io

import matplotlib.image as mpimg
import numpy as np

from hicray.figures import loss_curves


def pixels(figure):
    file = io.BytesIO()
    figure.savefig(file, format="png")
    file.seek(0)
    return mpimg.imread(file)


def test_loss_curves_have_a_line_per_name_and_a_panel_per_run():
    figure = loss_curves({"a": {"train": [2.0, 1.0], "val": [3.0, 2.0]}, "b": {"train": [1.0]}})
    assert [len(axes.lines) for axes in figure.axes] == [2, 1]
    assert np.ptp(pixels(figure)) > 0.5
