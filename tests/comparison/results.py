"""Results of a gap made of random numbers, for what is written of them."""

from dataclasses import replace

import numpy as np
import pandas as pd

from hicray.comparison.results import CONTRASTS, JUDGED, SHOWN, GapResult, Row
from hicray.evaluation.window_set import WindowScores, band_score
from hicray.metrics.paired import paired_difference
from hicray.metrics.scores import SCORES
from hicray.windows.manifest import Manifest

BANDS = ((2, 4), (4, 8))
MANIFEST = Manifest(
    plan="plan",
    fine_bin_size=4_000,
    coarse_bin_sizes=(16_000,),
    window_bins=224,
    diagonal_only=True,
    raw=False,
    eps=1.0,
    splits={"chr1": "train", "chr8": "val", "chr9": "test"},
    genome={},
    sources={},
    shards=(),
    dropped={},
)


def held_out(rng, level, count, undefined=()):
    names = [*SCORES, *(band_score(score, band) for score in JUDGED for band in BANDS)]
    table = pd.DataFrame({name: rng.normal(level, 0.002, count) for name in names})
    table.loc[list(undefined), "oe_pearson"] = np.nan
    place = {"chrom": 0, "row_start": np.arange(count) * 896_000}
    return WindowScores(table.assign(**place), 0.1)


def gap_result(rows: dict[str, Row], **changes) -> GapResult:
    pairs = [(ours, "noseq") for ours in rows if ours != "noseq" and "noseq" in rows]
    pairs += [pair for pair in CONTRASTS if "noseq" not in pair and set(pair) <= rows.keys()]
    differences = {
        (a, b): {n: paired_difference(rows[a].frames, rows[b].frames, n) for n in SHOWN}
        for a, b in pairs
    }
    near = {}
    if {"seq", "noseq"} <= rows.keys():
        pair = rows["seq"].frames, rows["noseq"].frames
        near = {
            score: {band: paired_difference(*pair, band_score(score, band)) for band in BANDS}
            for score in JUDGED
        }
    result = GapResult("16000->4000", 16_000, "test", rows, differences, near, {"seq": "depth 3"})
    return replace(result, **changes)


def result_of(levels: dict[str, float], *, count=64, seeds=3, seed=0) -> GapResult:
    """Return rows around the given levels of every score."""
    rng = np.random.default_rng(seed)
    rows = {
        name: Row({seed: held_out(rng, level, count) for seed in range(seeds)})
        for name, level in levels.items()
    }
    return gap_result(rows)
