"""SCC against dense loops, and against figures of the reference package on real maps."""

import cooler
import numpy as np
import pytest
from scipy.stats import pearsonr, rankdata

from hicray.maps.bands import usable_pixels
from hicray.maps.contacts import open_map
from hicray.metrics.scc import scc, smoothing_bins
from tests.maps.test_bands import dense
from tests.shared_data import shared_data

REFERENCE = {
    # hicrep 0.2.6 (PyPI) of yeast at 2 kb, raw counts, against a fifth of its reads (below):
    # `hicrep full.cool thin.cool out.txt --h H --dBPMax D --chrNames chrI chrVI`
    (0, 60_000): (0.6274945807633729, 0.6332446090866501),
    (0, 100_000): (0.5551338823620621, 0.5550154305202933),
    (1, 60_000): (0.7945366116345643, 0.8142214387709866),
    (1, 100_000): (0.7482660831098648, 0.7400645259606901),
    (3, 60_000): (0.9133887002642304, 0.9124706986475563),
    (3, 100_000): (0.8997177630671699, 0.8786066718616142),
}
FARTHEST = 51
"""Separations of 0 to 100 kb at 2 kb, both included."""


@pytest.fixture(scope="module")
def maps():
    """By chromosome: bands of all reads and of a fifth of them, as the reference read them."""
    contacts = open_map(
        str(shared_data("yeast_g1/scer_w303_g1.mcool", real=True)), 2_000, fractional=True
    )
    clr = cooler.Cooler(contacts.uri)
    pixels = clr.pixels()[:]
    thinned = np.random.default_rng(7).binomial(pixels["count"].to_numpy(), 0.2)
    bands = {}
    for chrom in ("chrI", "chrVI"):
        first, end = clr.extent(chrom)
        cis = pixels["bin1_id"].between(first, end - 1) & pixels["bin2_id"].between(first, end - 1)
        row = pixels["bin1_id"][cis].to_numpy() - first
        apart = pixels["bin2_id"][cis].to_numpy() - first - row
        near = apart < FARTHEST
        thin = np.zeros((end - first, FARTHEST))
        thin[row[near], apart[near]] = thinned[cis][near]
        bands[chrom] = contacts.band(chrom, FARTHEST), thin
    return bands


def everything(band):
    return usable_pixels(np.ones(len(band), dtype=bool), band.shape[1])


def loop_smoothed(full, known, h):
    """Mean of the known pixels of each square."""
    bins = len(full)
    out = np.zeros_like(full)
    for i in range(bins):
        for j in range(bins):
            part = slice(max(0, i - h), i + h + 1), slice(max(0, j - h), j + h + 1)
            out[i, j] = full[part][known[part]].mean() if known[part].any() else 0
    return out


def loop_scc(a, b, known, separations):
    """The paper's formula with ranks, diagonal by diagonal."""
    total = weights = 0.0
    for s in range(1, separations):
        x, y, there = (np.diagonal(m, s) for m in (a, b, known))
        there = there & ((x > 0) | (y > 0))
        x, y = x[there], y[there]
        if len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
            continue
        ranks = rankdata(np.arange(len(x))) / len(x)
        weight = len(x) * np.sqrt(ranks.var(ddof=1) ** 2)
        total += weight * pearsonr(x, y)[0]
        weights += weight
    return total / weights


@pytest.mark.parametrize("distance", [60_000, 100_000])
def test_unsmoothed_it_is_the_reference_packages_figure(maps, distance):
    reach = distance // 2_000 + 1
    for chrom, figure in zip(("chrI", "chrVI"), REFERENCE[0, distance], strict=True):
        a, b = (np.ascontiguousarray(band[:, :reach]) for band in maps[chrom])
        assert scc(a, b, everything(a), 0) == pytest.approx(figure, abs=1e-9)


@pytest.mark.parametrize("h", [1, 3])
def test_smoothed_the_loops_are_the_reference_packages_figure(maps, h):
    # It smooths the upper triangle without the main diagonal, where the paper and hicray smooth
    # the map; the figures differ by a thousandth.
    for chrom, figure in zip(("chrI", "chrVI"), REFERENCE[h, 100_000], strict=True):
        everywhere = np.ones((len(maps[chrom][0]),) * 2, dtype=bool)
        cut = [loop_smoothed(np.triu(dense(band), 1), everywhere, h) for band in maps[chrom]]
        assert loop_scc(*cut, everywhere, FARTHEST) == pytest.approx(figure, abs=1e-9)
        a, b = maps[chrom]
        assert scc(a, b, everything(a), h) == pytest.approx(figure, abs=2e-3)


@pytest.mark.parametrize("h", [0, 2])
def test_it_equals_dense_loops_with_unusable_bins(maps, rng, h):
    a, b = (np.ascontiguousarray(band[:, :20]) for band in maps["chrI"])
    usable = rng.random(len(a)) > 0.1
    mask = usable_pixels(usable, 20)
    known = dense(mask.astype(float)) > 0
    smooth = [loop_smoothed(dense(band), known, h) for band in (a, b)]
    assert scc(a, b, mask, h) == pytest.approx(loop_scc(*smooth, known, 20), abs=1e-9)


def test_what_is_masked_is_as_if_it_were_not_there(maps):
    a, b = maps["chrVI"]
    kept = np.arange(len(a)) < 90
    masked = scc(a, b, usable_pixels(kept, FARTHEST), 2)
    inside = np.arange(90)[:, None] + np.arange(FARTHEST) < 90
    cut = scc(a[:90] * inside, b[:90] * inside, everything(a[:90]), 2)
    assert masked == pytest.approx(cut, abs=1e-12)


def test_a_map_is_like_itself_and_smoothing_reaches_20_kb(maps):
    a, _ = maps["chrI"]
    assert scc(a, a, everything(a), 1) == pytest.approx(1)
    assert np.isnan(scc(a, np.ones_like(a), everything(a), 0))
    assert [smoothing_bins(size) for size in (1_000, 4_000, 8_000, 10_000, 50_000)] == [
        5,
        5,
        2,
        2,
        1,
    ]
