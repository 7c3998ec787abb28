"""Baselines as maps against dense ones, and against the same baselines on test windows."""

from dataclasses import replace
from functools import cache, partial

import cooler
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, map_coordinates

from hicray.config import DataConfig
from hicray.evaluation.baseline_maps import BASELINES, Maker
from hicray.evaluation.baseline_plan import file_name
from hicray.evaluation.baselines import baselines
from hicray.evaluation.compared import checked, open_compared
from hicray.evaluation.filter_maps import FilterMaps
from hicray.evaluation.options import Evaluate
from hicray.evaluation.rivals import FILTERS, fit
from hicray.evaluation.score_maps import evaluate
from hicray.evaluation.window_set import HeldOutWindows
from hicray.maps.expected import smoothed
from hicray.windows.collate import Collate
from hicray.windows.shards import prepare
from hicray.windows.sources import open_sources
from tests.maps.test_bands import dense
from tests.shared_data import shared_data

FINE, COARSE, GAP, CHROM = 2_000, 8_000, 4, "chrIII"
TRAIN = ("chrI", "chrVI")
WHOLE = 160
"""Separations: more than chrIII has bins, so that nothing ends before the chromosome."""


@pytest.fixture(scope="module")
def yeast(tmp_path_factory):
    """A maker of yeast baselines, and its map."""
    uri = str(shared_data("yeast_g1/scer_w303_g1.mcool"))
    config = DataConfig(contacts=(uri,), fine_bin_size=FINE, coarse_bin_sizes=(COARSE,))
    (source,) = open_sources(config, tmp_path_factory.mktemp("derived"))
    return Maker(source, WHOLE, TRAIN, (CHROM,), raw=False), uri


@pytest.fixture(scope="module")
def made(yeast):
    """Dense maps of chrIII by baseline; NaN where a bin is not usable."""
    maker, _ = yeast
    coarse = maker.coarse(CHROM)
    usable = np.where(coarse.usable, 1.0, np.nan)
    return {
        name: dense(baseline(coarse, maker.expected)) * usable * usable[:, None]
        for name, baseline in BASELINES.items()
    }


@cache
def factor(clr):
    """Raw sum over balanced sum, within chromosomes."""
    raw = balanced = 0.0
    for one in clr.chromnames:
        raw += np.triu(clr.matrix(balance=False).fetch(one)).sum()
        balanced += np.nansum(np.triu(clr.matrix(balance=True).fetch(one)))
    return raw / balanced


@cache
def opened(uri, bin_size):
    return cooler.Cooler(f"{uri}::/resolutions/{bin_size}")


def scaled(uri, bin_size, chrom):
    """Dense scaled contacts by cooler."""
    clr = opened(uri, bin_size)
    return clr.matrix(balance=True).fetch(chrom) * factor(clr)


@pytest.fixture(scope="module")
def shares(yeast):
    """Contacts of chrIII's coarse map per distinct fine pixel; its last bin is cut short."""
    coarse = scaled(yeast[1], COARSE, CHROM)
    bins = yeast[0].source.fine.num_bins(CHROM)
    assert bins % GAP
    pixels = np.zeros_like(coarse)
    for i in range(bins):
        for j in range(i, bins):
            pixels[i // GAP, j // GAP] += 1
    return coarse / np.maximum(pixels, pixels.T)


def blocks(coarse, bins):
    return np.kron(coarse, np.ones((GAP, GAP)))[:bins, :bins]


def inside(yeast):
    usable = yeast[0].coarse(CHROM).usable
    return usable[:, None] & usable


def test_upsampled_contacts_are_shared_by_the_distinct_fine_pixels(yeast, made, shares):
    found, there = made["upsampled coarse"], inside(yeast)
    np.testing.assert_allclose(found[there], blocks(shares, len(found))[there], rtol=1e-6)
    assert np.isnan(found[~there]).all()
    fine = scaled(yeast[1], FINE, CHROM)
    assert np.isnan(fine[~there]).sum() <= (~there).sum() < 0.5 * there.size


def test_bilinear_interpolates_between_centres_and_keeps_the_total(yeast, made, shares):
    found, there = made["bilinear"], inside(yeast)
    centres = (np.arange(len(found)) + 0.5) / GAP - 0.5
    places = np.meshgrid(centres, centres, indexing="ij")
    known = np.isfinite(shares).astype(float)
    sums, weights = (
        map_coordinates(x, places, order=1, mode="nearest") for x in (np.nan_to_num(shares), known)
    )
    expected = sums[there] / weights[there]
    ratio = found[there] / expected
    assert ratio == pytest.approx(ratio[0], rel=1e-6)
    totals = [np.nansum(np.triu(made[name])) for name in ("bilinear", "upsampled coarse")]
    assert totals[0] == pytest.approx(totals[1])


def test_gaussian_smooths_the_upsampled_map_over_usable_pixels(yeast, made):
    there = inside(yeast)
    flat = np.nan_to_num(made["upsampled coarse"])
    sums, weights = (
        gaussian_filter(x, GAP / 2, mode="constant", truncate=4.0)
        for x in (flat, there.astype(float))
    )
    np.testing.assert_allclose(made["gaussian"][there], (sums / np.maximum(weights, 1e-12))[there])


@cache
def training_curve(uri, bin_size, separations):
    maps = [scaled(uri, bin_size, chrom) for chrom in TRAIN]
    by = [np.concatenate([np.diagonal(x, s) for x in maps]) for s in range(separations)]
    return smoothed(*np.transpose([(np.nansum(x), np.isfinite(x).sum()) for x in by]))


def test_the_expected_is_that_of_training_chromosomes(yeast, made, shares):
    coarse = scaled(yeast[1], COARSE, CHROM)
    there = inside(yeast)
    for s, coarse_s in ((0, 0), (7, 2), (60, 15)):  # the coarse separation at row 1
        mean = training_curve(yeast[1], FINE, WHOLE)[s]
        found = np.diagonal(made["distance only"], s)
        assert found[np.isfinite(found)] == pytest.approx(mean, rel=1e-6)
        row = int(np.flatnonzero(np.diagonal(there, s) & (np.arange(len(there) - s) % GAP == 1))[0])
        own = coarse[row // GAP, (row + s) // GAP]
        assert (row + s) // GAP - row // GAP == coarse_s
        expected = own / training_curve(yeast[1], COARSE, WHOLE // GAP)[coarse_s] * mean
        assert made["coarse O/E x fine expected"][row, row + s] == pytest.approx(expected, rel=1e-6)


def test_a_written_baseline_is_on_the_fine_maps_scale(yeast, made, tmp_path):
    maker, uri = yeast
    maker.write("upsampled coarse", tmp_path / "up.cool", {})
    clr, there = cooler.Cooler(str(tmp_path / "up.cool")), inside(yeast)
    found = clr.matrix(balance=True).fetch(CHROM)
    expected = made["upsampled coarse"][there] / factor(opened(uri, FINE))
    np.testing.assert_allclose(found[there], expected, rtol=1e-5)
    own = opened(uri, FINE).matrix(balance=True).fetch(CHROM)
    both = there & np.isfinite(own)
    assert found[both].mean() / own[both].mean() == pytest.approx(1, abs=0.15)
    assert clr._load_attrs("bins/weight")["ignore_diags"] == 2
    assert clr.info["generated-by"].startswith("hicray-")


@pytest.mark.parametrize("size", [256, 512])
def test_maps_score_as_the_same_rows_of_a_comparison(
    tiny_data, tiny_simulation, local_ray, tmp_path, size
):
    data = replace(tiny_data, coarse_bin_sizes=(size,))
    manifest = prepare(data, tmp_path / "shards")
    train, test = (
        tuple(chrom for chrom, own in manifest.splits.items() if own == name)
        for name in ("train", "test")
    )
    (source,) = open_sources(data, tmp_path)
    maker = Maker(source, 64, train, test, raw=False)
    filters = FilterMaps(maker, data, manifest.regions)
    chosen = filters.fit()
    collate = Collate(manifest, size)
    windows = {
        split: HeldOutWindows(tmp_path / "shards", split, collate, size)
        for split in ("train", "val", "test")
    }
    rivals = fit(windows["train"], windows["val"])
    assert (chosen.settings, chosen.best) == (rivals.settings, rivals.best)
    rows = {**baselines(collate), **rivals.predictors}
    named = {name: tmp_path / file_name(name) for name in rows}
    for name, path in named.items():
        maker.write(name, path, {}, partial(filters.band, name) if name in FILTERS else None)
    asked = Evaluate(
        fine=f"{tiny_simulation.contacts[0]}::/resolutions/128",
        enhanced=tuple(f"{name}={path}" for name, path in named.items()),
        chroms=test,
        window_bins=64,
    )
    maps = evaluate(open_compared(checked(asked))).scores
    for name, row in windows["test"].score(rows).items():
        theirs = row.windows.sort_values("row_start", ignore_index=True)
        ours = maps[name][test[0]].windows
        np.testing.assert_array_equal(ours["row_start"], theirs["row_start"])
        for one in ("mse", "pearson", "ssim", "oe_pearson"):
            np.testing.assert_allclose(ours[one], theirs[one], rtol=2e-5, err_msg=name)
        # Of the expected, which is added in part, one takes the training chromosomes' alone.
        np.testing.assert_allclose(ours["bits_per_read"], theirs["bits_per_read"], atol=5e-4)
