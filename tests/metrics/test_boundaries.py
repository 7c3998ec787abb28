"""Insulation against cooltools on the map itself, boundary pairs against an exact assignment."""

import cooler
import numpy as np
import pandas as pd
import pytest
from scipy.optimize import linear_sum_assignment

from hicray.maps.features import insulation
from hicray.maps.scaled import open_scaled
from hicray.metrics.boundaries import (
    STRENGTH,
    TOLERANCE_BINS,
    Matches,
    compare_tracks,
    diamond_bins,
    match,
    track,
)
from tests.shared_data import shared_data

BIN, DIAMOND = 4_000, 10


@pytest.fixture(scope="module")
def tracks(tmp_path_factory):
    """The track of chrIII by hicray from a band, and by cooltools from the map."""
    uri = f"{shared_data('yeast_g1/scer_w303_g1.mcool')}::/resolutions/{BIN}"
    yeast = open_scaled(uri, BIN, "weight")
    band, usable = yeast.band("chrIII", 3 * DIAMOND), yeast.usable("chrIII")
    folder = tmp_path_factory.mktemp("track")
    ours = track(band, usable, BIN, DIAMOND, folder)
    assert not list(folder.iterdir())
    theirs = insulation(uri, DIAMOND * BIN)
    assert list(cooler.Cooler(uri).chromsizes.index) == list(theirs["chrom"].unique())
    return ours, theirs[theirs["chrom"] == "chrIII"].reset_index(drop=True)


def test_the_track_of_a_band_is_that_of_the_map(tracks):
    ours, theirs = tracks
    for name in ("log2_insulation", "boundary_strength"):
        np.testing.assert_allclose(ours[name], theirs[name], atol=1e-5)
    assert np.isfinite(ours["log2_insulation"]).sum() > 50


def test_tracks_correlate_where_both_are_defined(tracks):
    fine, other = tracks[0], tracks[0].copy()
    other["log2_insulation"] += np.sin(np.arange(len(other)))
    other.loc[30:35, "log2_insulation"] = [np.nan, -np.inf, np.nan, np.nan, np.inf, np.nan]
    sums, boundaries = compare_tracks(fine, other)
    pair = pd.concat([fine["log2_insulation"], other["log2_insulation"]], axis=1)
    pair = pair[np.isfinite(pair).all(axis=1)]
    assert sums.correlation()[0] == pytest.approx(np.corrcoef(pair.T)[0, 1])
    strong = int((fine["boundary_strength"] >= STRENGTH).sum())
    assert strong > 0
    assert boundaries == (strong, strong, strong)
    assert boundaries.f1() == 1


def test_as_many_boundaries_are_paired_as_can_be(rng):
    for _ in range(200):
        fine, other = (np.flatnonzero(rng.random(40) < 0.3) for _ in range(2))
        near = np.abs(np.subtract.outer(fine, other)) <= TOLERANCE_BINS
        best = near[linear_sum_assignment(near, maximize=True)].sum()
        assert match(fine, other) == (len(fine), len(other), best)


def test_f1_is_of_precision_and_recall_and_sums_add():
    precision, recall = 3 / 4, 3 / 6
    assert Matches(6, 4, 3).f1() == pytest.approx(2 * precision * recall / (precision + recall))
    assert Matches(6, 4, 3) + Matches(1, 2, 0) == (7, 6, 3)
    assert np.isnan(Matches(0, 0, 0).f1())
    with pytest.raises(TypeError):
        Matches(6, 4, 3) + 1


def test_the_diamond_is_100_kb_where_windows_allow_it():
    assert [diamond_bins(size, 224) for size in (2_000, 4_000, 5_000, 20_000)] == [28, 25, 20, 10]
    assert diamond_bins(128, 64) == 10
