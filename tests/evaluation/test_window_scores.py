"""Window scores against scipy, scikit-image and loops, on real windows with unusable bins."""

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from hicray.evaluation.window_scores import WINDOW_SCORES, FineWindows, window_scores
from hicray.maps.bands import square, usable_pixels
from hicray.maps.scaled import open_scaled
from tests.shared_data import shared_data

SIDE = 64


@pytest.fixture(scope="module")
def windows():
    """Two windows of chrIII at 2 kb: fine contacts, blurred ones, usable pixels, a decay."""
    uri = f"{shared_data('yeast_g1/scer_w303_g1.mcool')}::/resolutions/2000"
    yeast = open_scaled(uri, 2_000, "weight")
    usable = yeast.usable("chrIII")
    usable[[20, 90]] = False
    starts = np.array([0, SIDE])
    fine = square(yeast.band("chrIII", SIDE), starts, SIDE)
    blurred = fine + np.roll(fine, (0, 1, 1), (0, 1, 2)) + np.roll(fine, (0, -1, -1), (0, 1, 2))
    mask = square(usable_pixels(usable, SIDE), starts, SIDE)
    per_contact = square(yeast.reads_per_contact("chrIII", SIDE), starts, SIDE)
    return fine, blurred / 3, mask, per_contact, 60 / (1.0 + np.arange(SIDE))


@pytest.fixture(scope="module")
def found(windows):
    return scores_of(*windows)


def scores_of(fine, other, mask, per_contact, expected):
    return window_scores(FineWindows(fine, mask, per_contact, expected), other)


def network(contacts):
    return np.log10(contacts + 1) / np.log10(1001)


def pairs(windows):
    """Usable values of each window in network units: fine, other."""
    fine, other, mask, *_ = windows
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
    fine, other, mask, *_ = windows
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
    fine, other, mask, _, expected = windows
    own = [loop_decay(x, mask) for x in (fine, other)]
    for i in range(2):
        logs = [loop_log_oe(x[i], mask[i], e) for x, e in zip((fine, other), own, strict=True)]
        assert found["oe_pearson"][i] == pytest.approx(pearsonr(*logs)[0], abs=1e-5)
        logs = [loop_log_oe(x[i], mask[i], expected) for x in (fine, other)]
        assert found["oe_pearson_fixed"][i] == pytest.approx(pearsonr(*logs)[0], abs=1e-5)


def test_masked_equals_truncated_but_for_ssim(windows):
    fine, other, mask, per_contact, expected = (x[:1] if x.ndim == 3 else x for x in windows)
    inside = np.zeros_like(mask)
    inside[:, :40, :40] = True
    masked = scores_of(fine, other, mask & inside, per_contact, expected)
    cut = [x[:, :40, :40] for x in (fine, other, mask, per_contact)]
    truncated = scores_of(*cut, expected[:40])
    for name in set(WINDOW_SCORES) - {"ssim"}:
        assert masked[name][0] == pytest.approx(truncated[name][0], rel=1e-5)


def test_the_fine_map_itself_is_perfect_and_its_decay_knows_nothing(windows):
    fine, _, mask, per_contact, expected = windows
    perfect = scores_of(fine, fine, mask, per_contact, expected)
    assert (perfect[["mse", "mae"]] == 0).all(axis=None)
    assert perfect["psnr"].isna().all()  # infinite
    for name in ("pearson", "spearman", "ssim", "oe_pearson", "oe_pearson_fixed"):
        np.testing.assert_allclose(perfect[name], 1, atol=1e-6)
    apart = np.abs(np.subtract.outer(np.arange(SIDE), np.arange(SIDE)))
    decay = np.broadcast_to(expected[apart], fine.shape).copy()
    assert scores_of(fine, decay, mask, per_contact, expected)["oe_pearson"].isna().all()
    flat = scores_of(fine, np.ones_like(fine), mask, per_contact, expected)
    assert flat[["pearson", "spearman"]].isna().all(axis=None)


def test_no_window_is_an_empty_table(windows):
    *maps, expected = windows
    empty = scores_of(*(x[:0] for x in maps), expected)
    assert list(empty) == list(WINDOW_SCORES)
    assert not len(empty)


def test_reads_are_the_raw_counts_and_a_map_of_fractions_has_none(windows):
    fine, other, mask, per_contact, expected = windows
    counts = FineWindows(fine, mask, per_contact, expected).reads()
    assert np.array_equal(counts, np.rint(counts))
    np.testing.assert_allclose(counts, fine * per_contact, atol=1e-6)
    assert scores_of(fine, other, mask, per_contact, expected)["bits_per_read"].notna().all()
    parts = scores_of(fine * 0.9, other, mask, per_contact, expected)
    assert parts["bits_per_read"].isna().all()
