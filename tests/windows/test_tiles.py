import json
import re
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hicray.windows.tiles import Blend, Tiling, furthest, tiling, worth
from tests import oracles
from tests.oracles import WINDOW
from tests.parity import GOLDEN, chromosomes, pipeline, square

TILING = json.loads((GOLDEN / "tiny_e_tiling.json").read_text())
MERGED = ("stride20_bound0.chrA", "stride20_bound0.chrB", "stride20_bound0.chrD_chrD")
MERGED += ("stride64_bound100.chrA",)


def settings_of(name):
    return map(int, re.fullmatch(r"stride(\d+)_bound(\d+)", name).groups())


def dense(band):
    bins, separations = band.shape
    full = np.full((bins, bins), np.nan)
    for row in range(bins):
        for apart in range(min(separations, bins - row)):
            full[row, row + apart] = band[row, apart]
    return full


# Coverage


def covering(bins, window, tiles):
    """How many tiles hold each pixel, one tile after another."""
    times = np.zeros((bins, bins), int)
    for row, col in tiles:
        times[row : row + window, col : col + window] += 1
    return times


def tiles_of(bins, how):
    """First row and column of every tile, as the tiler lays them."""
    return [
        (row, row + offset)
        for row in how.rows(bins)
        for offset in how.offsets
        if row + offset < bins
    ]


def origins(bins, *, window, stride, reach):
    offsets = tuple(range(0, reach + stride, window))
    return tiles_of(bins, Tiling(window, stride, offsets, reach))


def check_cover(bins, how, factor):
    tiles = tiles_of(bins, how)
    assert len(set(tiles)) == len(tiles)
    assert not any(row % factor or col % factor for row, col in tiles)
    row, col = np.triu_indices(bins)
    near = np.zeros((bins, bins), bool)
    near[row, col] = col - row <= how.reach
    room = how.window + how.offsets[-1]
    times = covering(bins + room, how.window, tiles)[:bins, :bins]
    assert times[near].all()


@pytest.mark.parametrize("bins", [1, 100, 224, 225, 300, 501])
@pytest.mark.parametrize("factor", [2, 4])
@pytest.mark.parametrize("reach", [0, 1, 100, 168, 200, None])
@pytest.mark.parametrize("offsets", [(0,), (0, 224)])
def test_tiles_cover_every_pixel_within_reach_and_none_comes_twice(bins, factor, reach, offsets):
    check_cover(bins, tiling(offsets, window=WINDOW, factor=factor, reach=reach), factor)


@settings(deadline=None, max_examples=100)
@given(st.integers(1, 60), st.integers(1, 4), st.sampled_from([1, 2, 4]), st.data())
def test_tiles_of_any_size_cover_all_that_they_can_reach(bins, windows, factor, data):
    window, number = 4 * windows, data.draw(st.integers(1, 4))
    offsets = tuple(range(0, number * window, window))
    most = furthest(offsets, window=window, factor=factor)
    assert most == offsets[-1] + window - factor
    how = tiling(offsets, window=window, factor=factor, reach=data.draw(st.integers(0, most)))
    check_cover(bins, how, factor)
    with pytest.raises(ValueError, match=f"a reach of {most + 1} bins"):
        tiling(offsets, window=window, factor=factor, reach=most + 1)


def test_the_tiles_are_as_few_as_the_reach_allows():
    assert tiling((0,), window=224, factor=2) == Tiling(224, 56, (0,), 168)
    assert tiling((0, 224), window=224, factor=2, reach=168) == Tiling(224, 56, (0,), 168)
    assert tiling((0, 224), window=224, factor=2, reach=169) == Tiling(224, 56, (0, 224), 169)
    assert tiling((0,), window=224, factor=4, reach=220) == Tiling(224, 4, (0,), 220)


@pytest.mark.parametrize("bins", [1, 100, 224])
def test_a_chromosome_of_at_most_a_window_is_one_tile(bins):
    assert tiles_of(bins, tiling((0,), window=WINDOW, factor=2)) == [(0, 0)]


def test_a_tile_counts_most_in_its_middle_and_everywhere_something():
    weights = worth(6)
    np.testing.assert_allclose(weights, weights.T)
    np.testing.assert_allclose(weights[2] / weights[2, 2], [1 / 3, 2 / 3, 1, 1, 2 / 3, 1 / 3])
    assert (weights > 0).all()


# Blending


@pytest.mark.parametrize("bins", [1, 100, 225, 300])
@pytest.mark.parametrize("reach", [0, 100, 10_000])
def test_blending_the_tiles_of_a_map_gives_the_map(rng, bins, reach):
    truth = rng.random((bins, bins))
    padded = np.pad(truth, (0, WINDOW), constant_values=np.nan)
    blend = Blend(bins, reach=reach)
    for row, col in origins(bins, window=WINDOW, stride=112, reach=reach):
        blend.add(row, col, padded[row : row + WINDOW, col : col + WINDOW])
    near = np.triu(np.ones_like(truth, bool)) & ~np.triu(np.ones_like(truth, bool), reach + 1)
    expected = np.where(near, truth, np.nan)
    np.testing.assert_allclose(dense(blend.mean()), expected, rtol=1e-14)


def test_a_blend_is_the_weighted_mean_pixel_by_pixel(rng):
    bins, window, blend, added = 12, 8, Blend(12, reach=9), []
    for row, col in origins(bins, window=window, stride=3, reach=9):
        tile, weights = rng.normal(size=(window, window)), rng.integers(0, 3, (window, window)) / 2
        tile[weights == 0] = np.nan
        blend.add(row, col, tile, weights)
        added.append((row, col, tile, weights))
    mean = blend.mean()
    for row in range(bins):
        for apart in range(min(10, bins - row)):
            pairs = [
                (weights[row - r, row + apart - c], tile[row - r, row + apart - c])
                for r, c, tile, weights in added
                if 0 <= row - r < window and 0 <= row + apart - c < window
            ]
            worth = sum(weight for weight, _ in pairs)
            if worth:
                expected = sum(weight * value for weight, value in pairs if weight) / worth
                assert mean[row, apart] == pytest.approx(expected, rel=1e-12)
            else:
                assert np.isnan(mean[row, apart])


def test_a_blend_of_parts_is_the_blend_of_the_whole(rng):
    whole, merged = Blend(30, reach=5), Blend(30, reach=5)
    for first, rows in ((0, (0, 4)), (8, (8, 12, 16)), (20, (20, 24))):
        part = Blend(30, reach=5, rows=(first, min(rows[-1] + 8, 30)))
        for row in rows:
            tile, weights = rng.random((8, 8)), rng.random((8, 8))
            whole.add(row, row, tile, weights)
            part.add(row, row, tile, weights)
        merged.merge(first, part.sums())
    np.testing.assert_allclose(merged.mean(), whole.mean(), rtol=1e-13)


def test_single_precision_tiles_are_summed_in_double():
    blend = Blend(16, reach=3)
    for value in (1e8, 1.0, -1e8):
        blend.add(0, 0, np.full((16, 16), value, np.float32))
    assert blend.mean()[0, 0] == pytest.approx(1 / 3)


# Upstream's rules, and where hicray differs


@pytest.mark.parametrize("name", TILING)
def test_the_oracle_reads_upstreams_windows_in_upstreams_order(name):
    stride, bound = settings_of(name)
    found = [
        [chrom, row, col]
        for chrom, stored in oracles.kept(chromosomes()).items()
        for row, col in oracles.tiles(max(len(stored), WINDOW), stride, bound)
    ]
    assert found == TILING[name]["windows"]
    assert oracles.total_count(chromosomes()) == TILING[name]["total_count"]


@pytest.mark.parametrize("name", MERGED)
def test_the_oracle_merges_as_upstream_does(name):
    stride, bound = settings_of(name.split(".")[0])
    total = oracles.total_count(chromosomes())
    stored = chromosomes()[name.split(".")[1]]
    found = oracles.merged(stored, total, oracles.stand_in, stride=stride, bound=bound)
    expected = square(pipeline()[f"merged_{name}"])
    assert np.array_equal(found > 0, expected > 0)
    np.testing.assert_allclose(found, expected, rtol=2e-6)


@pytest.mark.parametrize("name", TILING)
def test_upstream_reads_windows_twice_and_hicray_never(name):
    stride, bound = settings_of(name)
    for chrom, stored in oracles.kept(chromosomes()).items():
        theirs = oracles.tiles(max(len(stored), WINDOW), stride, bound)
        most = max(Counter(theirs).values())
        assert most == (1 if chrom == "chrA" else 2 if bound < stride else 4)
        ours = origins(len(stored), window=WINDOW, stride=stride, reach=bound)
        assert max(Counter(ours).values()) == 1


def test_upstream_leaves_zeros_out_of_its_means_and_hicray_counts_them():
    def sometimes(image, total):
        """Predict 3 contacts in a window's left half, and none in its right."""
        half = np.zeros(image.shape[1:])
        half[:, : WINDOW // 2] = np.log10(3 + 1) / oracles.LOG_MAX
        return half

    stored = np.triu(np.ones((300, 300)))
    total = oracles.total_count({"chrA": stored})
    theirs = oracles.merged(stored, total, sometimes, stride=76, bound=0)
    blend = Blend(300, reach=0)
    full = oracles.both_triangles(stored)
    for row, col in origins(300, window=WINDOW, stride=76, reach=0):
        blend.add(row, col, oracles.enhanced_tile(full, row, col, total, sometimes))
    ours = blend.mean()[:, 0]
    # Bin 150 is in the right half of the window at 0 and in the left half of that at 76.
    assert theirs[150, 150] == pytest.approx(3)
    assert ours[150] == pytest.approx(1.5)
    assert theirs[80, 80] == pytest.approx(3)
    assert ours[80] == pytest.approx(3)


def test_hicray_keeps_what_upstream_drops_as_too_small():
    faint = 0.005

    def model(image, total):
        return np.full(image.shape[1:], np.log10(faint + 1) / oracles.LOG_MAX)

    stored = np.triu(np.ones((224, 224)))
    assert not oracles.merged(stored, 1.0, model, stride=20, bound=0).any()
    blend = Blend(224, reach=223)
    blend.add(0, 0, oracles.enhanced_tile(oracles.both_triangles(stored), 0, 0, 1.0, model))
    assert dense(blend.mean())[0, 9] == pytest.approx(faint)


def test_upstream_returns_short_chromosomes_with_bins_past_their_end_and_hicray_does_not():
    stored = chromosomes()["chrB"]
    assert len(stored) == 150
    assert square(pipeline()["merged_stride20_bound0.chrB"]).shape == (WINDOW, WINDOW)
    assert Blend(len(stored), reach=149).mean().shape == (150, 150)


def test_upstream_doubles_symmetric_input_off_the_diagonal_and_hicray_reads_one_triangle():
    upper = chromosomes()["chrA"].astype(float)
    symmetric = upper + np.triu(upper, 1).T
    np.testing.assert_array_equal(oracles.both_triangles(upper), symmetric)
    doubled = 2 * symmetric
    np.fill_diagonal(doubled, symmetric.diagonal())
    np.testing.assert_array_equal(oracles.both_triangles(symmetric), doubled)
    truth = np.pad(symmetric, (0, WINDOW))
    blend = Blend(300, reach=299)
    for row, col in origins(300, window=WINDOW, stride=112, reach=299):
        blend.add(row, col, truth[row : row + WINDOW, col : col + WINDOW])
    np.testing.assert_array_equal(np.nan_to_num(dense(blend.mean())), upper)
