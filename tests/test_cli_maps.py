"""`hicray evaluate` and `hicray baselines`: what they refuse, and the folder that they fill."""

import shlex

import cooler
import numpy as np
import pytest

from hicray.evaluation.baseline_maps import BASELINES
from hicray.evaluation.baseline_plan import HALF, OTHER_HALF, file_name
from hicray.evaluation.rivals import FILTERS, RIDGE, UNCHOSEN
from tests.command_line import SIZES, words
from tests.shared_data import shared_data, write_map


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """A function that writes a map of other chromosomes or bins."""
    folder = tmp_path_factory.mktemp("other")

    def write(sizes=SIZES, bin_size=1_000, weights="weight"):
        return write_map(folder / "other.cool", sizes, bin_size, weights=weights)

    return write


def evaluation(files, **changes):
    uri = files["--contacts"]
    options = {"--fine": uri, "--enhanced": f"same={uri}", "--chroms": "chrB", "--out": "scores"}
    return words(options | {"--window-bins": 32} | {f"--{k}": v for k, v in changes.items()})


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"fine": "no.cool"}, "no.cool does not exist"),
        ({"enhanced": "a.cool"}, "a.cool names no method; give NAME=MAP"),
        ({"enhanced": "fine=a.cool"}, "has a name that is taken"),
        ({"enhanced": "a=no.cool"}, "no.cool does not exist"),
        ({"chroms": "chrZ"}, "has no chromosome chrZ; it has chrA, chrB, chrC"),
        ({"weights": "KR"}, "has no weights 'KR'; it has weight"),
        ({"bin-size": 3_000}, "has no bins of 3,000 bp"),
        ({"window-bins": 16}, "--window-bins 16 is too small for the scores; give 32"),
        ({"window-bins": 64}, "chrB has 41 bins of 1,000 bp, a window needs 45 of 64"),
    ],
)
def test_an_evaluation_that_cannot_be_is_one_sentence(refused, files, changes, says):
    assert says in refused("evaluate", *evaluation(files, **changes))


@pytest.mark.parametrize(
    ("made", "says"),
    [
        ({"bin_size": 2_000}, "has no bins of 1,000 bp; it has 2,000"),
        ({"sizes": SIZES | {"chrB": 40_000}}, "chrB is 40,000 bp in"),
        ({"sizes": {"chrA": 60_000}}, "has no chromosome chrB"),
    ],
)
def test_maps_that_do_not_fit_are_one_sentence(refused, files, other, made, says):
    assert says in refused("evaluate", *evaluation(files, enhanced=f"a={other(**made)}"))


def test_another_level_of_the_same_file_is_one_sentence(refused):
    uri = shared_data("yeast_g1/scer_w303_g1.mcool")
    given = {"--fine": f"{uri}::/resolutions/2000", "--enhanced": f"a={uri}::/resolutions/4000"}
    said = refused("evaluate", *words(given | {"--chroms": "chrI", "--out": "scores"}))
    assert "has bins of 4,000 bp, the fine map" in said


SPLIT = {"split": "val=chrB;test=chrC", "train-chroms": None}


def making(files, **changes):
    options = {"--contacts": files["--contacts"], "--fine-bin-size": 1_000, "--window-bins": 32}
    options |= {"--coarse-bin-size": 2_000, "--train-chroms": "chrA", "--out": "made"}
    options |= {f"--{k}": v for k, v in changes.items()}
    return words({name: value for name, value in options.items() if value is not None})


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"contacts": "no.cool"}, "no.cool does not exist"),
        ({"split": "val=chrB;test=chrC"}, "give one of --split and --train-chroms"),
        ({"train-chroms": "chrZ"}, "has no chromosome chrZ; it has chrA, chrB, chrC"),
        ({"chroms": "chrA"}, "chromosome chrA would be both learnt from and judged"),
        ({"coarse-bin-size": 1_000}, "coarse bins of 1,000 bp are the fine ones"),
        ({"coarse-bin-size": 1_500}, "are not made of whole fine bins"),
        ({"window-bins": 20}, "a window of 20 bins does not fit"),
        ({"weights": "KR"}, "has no balancing weights 'KR'"),
        (SPLIT | {"chroms": "chrB"}, "chromosome chrB would be both chosen on and judged"),
        (SPLIT | {"split": "val=chrA;test=chrB,chrC"}, "leaves no chromosome of 32,000 bp, a win"),
    ],
)
def test_baselines_that_cannot_be_are_one_sentence(refused, files, changes, says):
    assert says in refused("baselines", *making(files, **changes))


def test_baselines_fill_a_folder_once_and_the_halves_add_up(hicray, files, work):
    code, out, _ = hicray("baselines", *making(files))
    assert code == 0
    assert out.count("hicray evaluate --fine") == 2
    assert "without Gaussian O/E and ridge filter: they are chosen on validation" in out
    whole = cooler.Cooler(files["--contacts"])
    for name in (*BASELINES, *UNCHOSEN):
        clr = cooler.Cooler(str(work / "made" / file_name(name)))
        assert clr.chromsizes.equals(whole.chromsizes)
        assert clr.info["metadata"]["hicray"]["baseline"] == name
        usable = np.isfinite(clr.bins()[:]["weight"].to_numpy())
        chroms = clr.bins()[:]["chrom"].astype(str).to_numpy()
        assert not usable[chroms == "chrA"].any()
        assert usable[chroms != "chrA"].mean() > 0.9  # a coarse bin at an end may not balance
        assert np.nansum(clr.matrix(balance=True).fetch("chrB")) > 0
    counts = [
        cooler.Cooler(f"{work}/made/{half}::/resolutions/1000").matrix(balance=False).fetch("chrC")
        for half in (HALF, OTHER_HALF)
    ]
    np.testing.assert_array_equal(sum(counts), whole.matrix(balance=False).fetch("chrC"))
    written = {path: path.stat().st_mtime_ns for path in (work / "made").glob("*cool")}
    (work / "made" / file_name("gaussian")).unlink()
    assert hicray("baselines", *making(files))[0] == 0
    kept = {path: path.stat().st_mtime_ns for path in (work / "made").glob("*cool")}
    assert kept.keys() == written.keys()
    assert [path.name for path in kept if kept[path] != written[path]] == ["gaussian.cool"]
    code, _, err = hicray("baselines", *making(files, chroms="chrC"))
    assert (code, err.count("\n")) == (2, 1)
    assert "made holds other baselines" in err


def test_filters_of_a_split_are_written_and_what_was_chosen_is_said(hicray, files, work):
    code, out, _ = hicray("baselines", *making(files, **SPLIT))
    assert code == 0
    (line,) = (line for line in out.splitlines() if line.startswith("chosen on chrB: "))
    assert "Gaussian O/E width " in line
    assert "ridge filter " in line
    line = next(line for line in out.splitlines() if "hicray evaluate --fine" in line)
    judged = shlex.split(line)
    for name in (*BASELINES, *FILTERS):
        path = (work / "made" / file_name(name)).resolve()
        assert f"{name}={path}" in judged
        usable = cooler.Cooler(str(path)).bins()[:].set_index("chrom")["weight"].notna()
        assert usable["chrC"].any()
        assert not usable[["chrA", "chrB"]].any()
    written = {path: path.stat().st_mtime_ns for path in (work / "made").glob("*.cool")}
    maps = {name: cooler.Cooler(str(work / "made" / file_name(name))) for name in FILTERS}
    before = {name: one.matrix(balance=True).fetch("chrC") for name, one in maps.items()}
    removed = work / "made" / file_name(RIDGE)
    removed.unlink()
    assert hicray("baselines", *making(files, **SPLIT))[1] == out
    again = {path: path.stat().st_mtime_ns for path in (work / "made").glob("*.cool")}
    assert [path for path in again if again[path] != written[path]] == [removed]
    for name, one in maps.items():
        band = one.matrix(balance=True).fetch("chrC")
        np.testing.assert_array_equal(band, before[name])
        assert (band[np.isfinite(band)] >= 0).all()
