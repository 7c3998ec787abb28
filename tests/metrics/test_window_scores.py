"""Window scores against scipy, scikit-image and loops, on real windows with unusable bins."""

import numpy as np
import pytest
from scipy.stats import pearsonr, poisson, spearmanr
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from hicray.maps.bands import square, usable_pixels
from hicray.maps.scaled import open_scaled
from hicray.metrics.window_scores import WINDOW_SCORES, FineWindows, window_scores
from tests.shared_data import shared_data

SIDE = 64


@pytest.fixture(scope="module")
def windows():
    """Two windows of chrIII at 2 kb: what they are scored by, and the same blurred."""
    uri = f"{shared_data('yeast_g1/scer_w303_g1.mcool')}::/resolutions/2000"
    yeast = open_scaled(uri, 2_000, "weight")
    usable = yeast.usable("chrIII")
    usable[[20, 90]] = False
    starts = np.array([0, SIDE])
    fine = square(yeast.band("chrIII", SIDE), starts, SIDE)
    blurred = fine + np.roll(fine, (0, 1, 1), (0, 1, 2)) + np.roll(fine, (0, -1, -1), (0, 1, 2))
    mask = square(usable_pixels(usable, SIDE), starts, SIDE)
    known = [
        square(one("chrIII", SIDE), starts, SIDE) for one in (yeast.reads, yeast.reads_per_contact)
    ]
    return FineWindows(fine, *known, mask, 60 / (1.0 + np.arange(SIDE))), blurred / 3


@pytest.fixture(scope="module")
def found(windows):
    return window_scores(*windows)


def network(contacts):
    return np.log10(contacts + 1) / np.log10(1001)


def maps_of(windows):
    fine, other = windows
    return fine.contacts, other, fine.usable


def pairs(windows):
    """Usable values of each window in network units: fine, other."""
    fine, other, mask = maps_of(windows)
    return [(network(a)[m], network(b)[m]) for a, b, m in zip(fine, other, mask, strict=True)]


def test_errors_and_correlations_are_those_of_scipy_and_scikit_image(windows, found):
    for i, (fine, other) in enumerate(pairs(windows)):
        row = found.iloc[i]
        assert row["mse"] == pytest.approx(np.mean((fine - other) ** 2), rel=1e-5)
        assert row["mae"] == pytest.approx(np.mean(np.abs(fine - other)), rel=1e-5)
        psnr = peak_signal_noise_ratio(fine, other, data_range=1)
        assert row["psnr"] == pytest.approx(psnr, rel=1e-5)
        assert row["pearson"] == pytest.approx(pearsonr(fine, other)[0], abs=1e-6)
        assert row["spearman"] == pytest.approx(spearmanr(fine, other)[0], abs=1e-5)


def test_ssim_is_scikit_images_where_its_gaussian_lies_inside(windows, found):
    fine, other, mask = maps_of(windows)
    for i in range(2):
        a, b = (network(x[i]) * mask[i] for x in (fine, other))
        _, full = structural_similarity(
            a,
            b,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=1,
            full=True,
        )
        assert found["ssim"][i] == pytest.approx(full[5:-5, 5:-5].mean(), abs=1e-5)


def loop_log_oe(contacts, mask, expected):
    """Log observed over expected of each usable pixel two separations off and more."""
    values = []
    for i in range(SIDE):
        for j in range(SIDE):
            if mask[i, j] and abs(i - j) >= 2:
                values.append(np.log((contacts[i, j] + 1) / (expected[abs(i - j)] + 1)))
    return values


def loop_decay(contacts, mask):
    apart = np.abs(np.subtract.outer(np.arange(SIDE), np.arange(SIDE)))
    return [contacts[mask & (apart == s)].mean() for s in range(SIDE)]


def test_oe_pearson_takes_each_map_by_its_own_decay_or_both_by_one(windows, found):
    (fine, other, mask), expected = maps_of(windows), windows[0].expected
    own = [loop_decay(x, mask) for x in (fine, other)]
    for i in range(2):
        logs = [loop_log_oe(x[i], mask[i], e) for x, e in zip((fine, other), own, strict=True)]
        assert found["oe_pearson"][i] == pytest.approx(pearsonr(*logs)[0], abs=1e-5)
        logs = [loop_log_oe(x[i], mask[i], expected) for x in (fine, other)]
        assert found["oe_pearson_fixed"][i] == pytest.approx(pearsonr(*logs)[0], abs=1e-5)


def test_masked_equals_truncated_but_for_ssim(windows):
    fine, other = windows
    inside = np.zeros_like(fine.usable)
    inside[:, :40, :40] = True
    masked = window_scores(fine._replace(usable=fine.usable & inside), other)[:1]
    cut = FineWindows(*(x[:, :40, :40] for x in fine[:4]), fine.expected[:40])
    truncated = window_scores(cut, other[:, :40, :40])[:1]
    for name in set(WINDOW_SCORES) - {"ssim"}:
        assert masked[name][0] == pytest.approx(truncated[name][0], rel=1e-5)


def test_the_fine_map_itself_is_perfect_and_its_decay_knows_nothing(windows):
    known = windows[0]
    fine, expected = known.contacts, known.expected
    perfect = window_scores(known, fine)
    assert (perfect[["mse", "mae"]] == 0).all(axis=None)
    assert perfect["psnr"].isna().all()  # infinite
    for name in ("pearson", "spearman", "ssim", "oe_pearson", "oe_pearson_fixed"):
        np.testing.assert_allclose(perfect[name], 1, atol=1e-6)
    apart = np.abs(np.subtract.outer(np.arange(SIDE), np.arange(SIDE)))
    decay = np.broadcast_to(expected[apart], fine.shape).copy()
    assert window_scores(known, decay)["oe_pearson"].isna().all()
    flat = window_scores(known, np.ones_like(fine))
    assert flat[["pearson", "spearman"]].isna().all(axis=None)


def test_no_window_is_an_empty_table(windows):
    fine, other = windows
    empty = window_scores(FineWindows(*(x[:0] for x in fine[:4]), fine.expected), other[:0])
    assert list(empty) == list(WINDOW_SCORES)
    assert not len(empty)


def test_bits_per_read_are_those_of_scipy_on_the_raw_counts(windows, found):
    fine, other = windows
    apart = np.abs(np.subtract.outer(np.arange(SIDE), np.arange(SIDE)))
    x = other + 0.02 * fine.expected[apart]
    k = fine.reads_per_contact
    for i in range(2):
        bits = reads = 0.0
        for s in range(2, SIDE):
            here = fine.usable & np.triu(apart == s)
            levels = [fine.reads[here].sum() / (y * k)[here].sum() for y in (x, 1.0)]
            n = fine.reads[i][here[i]]
            ours, distance = (
                poisson.logpmf(n, level * (y * k)[i][here[i]]).sum()
                for level, y in zip(levels, (x, 1.0), strict=True)
            )
            bits, reads = bits + (ours - distance) / np.log(2), reads + n.sum()
        assert found["bits_per_read"][i] == pytest.approx(bits / reads, rel=1e-4)
    unknown = fine._replace(reads=np.zeros_like(fine.reads))
    assert window_scores(unknown, other)["bits_per_read"].isna().all()
