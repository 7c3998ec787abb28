"""A comparison as a table for further analysis."""

from collections.abc import Sequence

import pandas as pd

from hicray.comparison.results import SHOWN, GapResult


def frame(results: Sequence[GapResult]) -> pd.DataFrame:
    """Return the mean scores of every method at every gap.

    Returns:
        Rows by gap (as '16000->4000', in bp) and method; columns ``windows`` and ``seeds`` (how
        many), for each score its mean over windows and seeds and, as NAME_sd, the standard
        deviation over windows, and ``decay_error``. ``attrs["leaks"]`` says what published weights
        may have seen of the set that was scored.
    """
    rows = {}
    for result in results:
        for method, row in result.rows.items():
            cells: dict[str, float] = {
                "windows": len(row.runs[0].windows),
                "seeds": len(row.runs),
            }
            for score in SHOWN:
                values = pd.Series(row.windows(score))
                cells |= {score: float(values.mean()), f"{score}_sd": float(values.std())}
            rows[result.gap, method] = cells | {"decay_error": row.decay_error}
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis(["gap", "method"])
    table.attrs["leaks"] = [result.leak for result in results if result.leak]
    return table
