"""An evaluation as a table for further analysis."""

import pandas as pd

from hicray.evaluation.compared import leaks
from hicray.evaluation.score_maps import Evaluation
from hicray.metrics.window_scores import WINDOW_SCORES


def frame(result: Evaluation) -> pd.DataFrame:
    """Return every score of every method on every chromosome.

    Returns:
        Rows by method and chrom; columns ``windows`` (how many were scored), the means of window
        scores (mse, ssim, oe_pearson, bits_per_read, ...; NaN where no window has one), and the
        scores of whole chromosomes (scc, distance_pearson, insulation_pearson, boundary_f1,
        decay_error). ``attrs["leaks"]`` names maps whose networks were trained on what is scored.
    """
    rows = {
        (method, chrom): {
            "windows": len(score.windows),
            **{name: score.windows[name].mean() for name in WINDOW_SCORES},
            **score.whole(),
        }
        for method, chroms in result.scores.items()
        for chrom, score in chroms.items()
    }
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis(["method", "chrom"])
    table.attrs["leaks"] = leaks(result.compared)
    return table
