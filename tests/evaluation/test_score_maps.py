"""Maps that hicray did not write are scored and ranked; parts add up; pictures are drawn."""

import json
import logging
from dataclasses import replace

import cooler
import matplotlib.image as mpimg
import numpy as np
import pandas as pd
import pytest

from hicray.evaluation.compared import checked, open_compared
from hicray.evaluation.options import Evaluate
from hicray.evaluation.score_maps import evaluate, together
from hicray.evaluation.tables import render
from hicray.metrics.scores import VERSION
from tests.shared_data import shared_data

CHROMS, SIDE, BIN = ("chrIII", "chrVI"), 64, 2_000
NEAR = 40
"""Separations of the map that ends near the diagonal."""


@pytest.fixture(scope="module")
def maps(tmp_path_factory):
    """Paths of maps made by cooler alone: real, half and a tenth of its reads, cut near."""
    folder = tmp_path_factory.mktemp("maps")
    clr = cooler.Cooler(f"{shared_data('yeast_g1/scer_w303_g1.mcool')}::/resolutions/{BIN}")
    tables, bins, pixels = [], [], []
    for chrom in ("chrI", *CHROMS):
        shift = sum(map(len, bins)) - clr.offset(chrom)
        bins.append(clr.bins().fetch(chrom))
        table = clr.matrix(balance=False, as_pixels=True).fetch(chrom)
        pixels.append(table.assign(bin1_id=table.bin1_id + shift, bin2_id=table.bin2_id + shift))
    bins = pd.concat(bins, ignore_index=True).assign(chrom=lambda t: t["chrom"].astype(str))
    table, rng = pd.concat(pixels, ignore_index=True), np.random.default_rng(0)
    tables = {
        "real": table,
        "half": table.assign(count=rng.binomial(table["count"], 0.5)),
        "tenth": table.assign(count=rng.binomial(table["count"], 0.1)),
        "near": table[table["bin2_id"] - table["bin1_id"] < NEAR].assign(
            count=lambda t: t["count"] * 0.5
        ),
    }
    paths = {}
    for name, one in tables.items():
        paths[name] = str(folder / f"{name}.cool")
        whole = one["count"].dtype.kind == "i"
        own = bins if name == "real" else bins[["chrom", "start", "end"]]
        kind = {"count": np.int32 if whole else np.float64}
        cooler.create_cooler(paths[name], own, one[one["count"] > 0], dtypes=kind, ordered=True)
        if name == "half":
            cooler.balance_cooler(cooler.Cooler(paths[name]), cis_only=True, min_nnz=5, store=True)
    return paths


def options(maps, names, chroms=CHROMS):
    enhanced = tuple(f"{name}={maps[name]}" for name in names)
    return Evaluate(fine=maps["real"], enhanced=enhanced, chroms=chroms, window_bins=SIDE)


def scored(maps, names, chroms=CHROMS):
    return evaluate(open_compared(checked(options(maps, names, chroms))))


@pytest.fixture(scope="module")
def found(maps):
    return scored(maps, ("real", "half", "tenth"))


def contacts(maps, name, chrom, usable):
    """Dense scaled contacts of usable bins, NaN elsewhere, by cooler."""
    clr = cooler.Cooler(maps[name])
    balance = "weight" in clr.bins().columns
    factor = 1.0
    if balance:
        sums = np.zeros(2)
        for one in clr.chromnames:
            both = (np.triu(clr.matrix(balance=b).fetch(one)) for b in (False, True))
            sums += [np.nansum(x) for x in both]
        factor = sums[0] / sums[1]
    full = clr.matrix(balance=balance).fetch(chrom) * factor
    return np.where(usable[:, None] & usable, full, np.nan)


def test_maps_of_other_tools_are_ranked_as_expected(maps, found):
    rows = {name: together(list(chroms.values())) for name, chroms in found.scores.items()}
    for score in ("oe_pearson", "bits_per_read", "pearson", "spearman", "ssim", "psnr"):
        means = {name: one.windows[score].mean() for name, one in rows.items()}
        assert means["half"] > means["tenth"]
        if score == "bits_per_read":
            assert means["real"] > means["half"]
        elif score != "psnr":
            assert means["real"] == pytest.approx(1)
    for score in ("scc", "distance_pearson", "insulation_pearson", "boundary_f1"):
        values = [rows[name].whole()[score] for name in ("real", "half", "tenth")]
        assert values[0] == pytest.approx(1)
        assert values == sorted(values, reverse=True)
    errors = [rows[name].whole()["decay_error"] for name in ("real", "half", "tenth")]
    assert errors[0] == 0
    assert errors == sorted(errors)


def plausible_mean(contacts):
    """Without the pixel of hundreds of reads on a separation of few, which chrIII has."""
    return np.nanmean(contacts[contacts < 30 + 30 * np.nanmedian(contacts)])


def test_the_decay_error_is_that_of_dense_maps(maps, found):
    logs = []
    for chrom in CHROMS:
        usable = found.compared.usable(chrom)
        fine, half = (contacts(maps, name, chrom, usable) for name in ("real", "half"))
        for s in range(SIDE):
            means = [plausible_mean(np.diagonal(x, s)) for x in (half, fine)]
            logs.append(np.log((means[0] + 1) / (means[1] + 1)))
    error = together(list(found.scores["half"].values())).whole()["decay_error"]
    assert error == pytest.approx(np.sqrt(np.mean(np.square(logs))), rel=1e-6)


def test_windows_are_those_of_the_dense_map(maps, found):
    usable = found.compared.usable("chrIII")
    fine, half = (contacts(maps, name, "chrIII", usable) for name in ("real", "half"))
    windows = found.scores["half"]["chrIII"].windows
    assert list(windows["row_start"]) == [0, SIDE * BIN]
    for i, first in enumerate((0, SIDE)):
        place = slice(first, first + SIDE)
        a, b = (np.log10(x[place, place] + 1) / np.log10(1001) for x in (fine, half))
        assert windows["mse"][i] == pytest.approx(np.nanmean((a - b) ** 2), rel=1e-4)
    assert found.left_out == {"chrIII": 1, "chrVI": 1}
    bins = len(usable)
    kept = sum(np.isfinite(np.diagonal(fine, s)).sum() for s in range(SIDE))
    assert found.usable["chrIII"] == (kept, sum(bins - s for s in range(SIDE)))


def test_chromosomes_scored_apart_are_those_of_the_whole(maps, found):
    for chrom in CHROMS:
        alone = scored(maps, ("half",), (chrom,))
        for name, chroms in alone.scores.items():
            one, whole = chroms[chrom], found.scores[name][chrom]
            pd.testing.assert_frame_equal(one.windows, whole.windows)
            assert one.whole() == pytest.approx(whole.whole(), nan_ok=True)
    merged = together(list(found.scores["half"].values()))
    parts = [found.scores["half"][chrom] for chrom in CHROMS]
    np.testing.assert_array_equal(merged.distance.ab, parts[0].distance.ab + parts[1].distance.ab)
    assert merged.scc == parts[0].scc + parts[1].scc


def test_a_fine_map_of_shares_of_reads_has_no_bits_per_read(maps):
    near = evaluate(open_compared(checked(replace(options(maps, ("half",)), fine=maps["near"]))))
    assert near.no_reads == CHROMS
    assert near.scores["half"]["chrVI"].windows["bits_per_read"].isna().all()
    assert "undefined on chrIII, chrVI, where the fine map holds no whole counts" in render(near)


def test_raw_counts_are_given_by_a_map_of_their_own(maps):
    """Without weights a contact is a read; half the reads know the whole, a tenth knows less."""
    raw = evaluate(
        open_compared(checked(replace(options(maps, ("half", "real")), fine=maps["tenth"])))
    )
    assert raw.no_reads == ()
    bits = {name: one["chrVI"].windows["bits_per_read"] for name, one in raw.scores.items()}
    assert (bits["real"] > 0).all()
    assert np.isfinite(bits["half"]).all()


def test_all_maps_are_scored_as_far_as_the_nearest_reaches(maps):
    found = scored(maps, ("half", "near"), ("chrVI",))
    assert found.compared.num_separations == NEAR
    for one in found.scores.values():
        assert len(one["chrVI"].distance.pixels) == NEAR
    shown = found.examples[0].maps["half"]
    assert np.isnan(shown[0, NEAR:]).all()
    assert np.isfinite(shown[0, :NEAR]).any()


def test_the_command_writes_tables_values_and_pictures(maps, hicray, work, caplog):
    words = ["evaluate", "--fine", maps["real"], "--window-bins", SIDE, "--out", "scores"]
    words += ["--enhanced", f"half={maps['half']}", f"tenth={maps['tenth']}", "--chroms"]
    with caplog.at_level(logging.WARNING):
        code, out, _ = hicray(*words, *CHROMS)
    assert code == 0
    assert "tenth.cool" in caplog.text  # which has no weights
    folder = work / "scores"
    assert (folder / "evaluate.md").read_text().strip() in out
    values = json.loads((folder / "evaluate.json").read_text())
    assert values["metrics_version"] == VERSION
    pooled = values["methods"]["half"]["pooled"]
    assert pooled["windows"]["oe_pearson"]["n"] == len(pooled["per_window"]["chrom"]) == 4
    assert pooled["windows"]["oe_pearson"]["mean"] > 0.3
    pictures = {"windows.png", "decay.png", "distance_correlation.png"}
    assert {path.name for path in folder.glob("*.png")} == pictures
    for name in pictures:
        assert np.ptp(mpimg.imread(folder / name)) > 0.5
    before = (folder / "evaluate.json").read_text()
    code, out, err = hicray(*words, "chrVI")
    assert (code, out) == (2, "")
    assert "scores holds another evaluation" in err
    assert err.count("\n") == 1
    assert (folder / "evaluate.json").read_text() == before
