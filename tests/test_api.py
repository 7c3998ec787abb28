"""The front door: names that Python users call, what they load, and what they return."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cooler
import numpy as np
import pandas as pd
import pytest

import hicray
from hicray.cli.defaults import REAL, SIMULATED
from hicray.config import DataConfig, ModelConfig, UserError
from hicray.predict.enhance import enhance
from hicray.predict.preflight import check
from hicray.predict.request import Enhance
from hicray.predict.tiler import in_process
from tests.trained import trained_for, write_checkpoint

pytestmark = pytest.mark.ray  # one of them needs Ray, and their files are made once
README = Path(__file__).parents[1] / "README.md"
LEVEL = "::/resolutions/128"
REGION, FIRST, END = "chr5:2,048-9,100", 16, 72
"""Fine bins that the region touches."""


@pytest.fixture(scope="module")
def files(tiny_simulation, tmp_path_factory) -> dict[str, str]:
    """A map, its genome and a network of random output layers that reads both."""
    uri, folder = str(tiny_simulation.contacts[0]), tmp_path_factory.mktemp("trial")
    place = folder / "seq-512-0123456789ab" / "checkpoint_000000"
    model = ModelConfig(depth=1, dna_channels=8, flank_bins=1)
    write_checkpoint(place, model, trained_for(uri, 128, 512, 64, offsets=2))
    return {"trial": str(place.parent), "map": uri, "genome": str(tiny_simulation.genome)}


@pytest.fixture(scope="module")
def whole(files, tmp_path_factory) -> str:
    """The whole map, enhanced."""
    out = tmp_path_factory.mktemp("whole") / "enhanced.mcool"
    asked = Enhance(
        checkpoint=files["trial"], contacts=files["map"], genome=files["genome"], out=out
    )
    enhance(check(asked), in_process)
    return f"{out}{LEVEL}"


def opened(files):
    model = hicray.load_model(files["trial"])
    return model, hicray.open_map(files["map"], 512), hicray.Genome(files["genome"])


# What is loaded

EFFECTS = """
import logging, os, sys
def levels():
    names = ("", "ray", "ray.data", "ray.tune", "mlflow", "alembic", "matplotlib")
    return {name: logging.getLogger(name).level for name in names}
os.environ["MPLBACKEND"] = "svg"
variables, before = dict(os.environ), levels()
import hicray
assert "hicray.api" not in sys.modules and "numpy" not in sys.modules
for name in hicray.__all__:
    getattr(hicray, name)
assert not {"torch", "ray", "mlflow", "matplotlib"} & set(sys.modules), "names alone load little"
model = hicray.load_model(sys.argv[1])
assert not {"ray", "mlflow", "optuna"} & set(sys.modules), "a network needs no cluster"
import hicray.figures, hicray.panels, matplotlib
assert before == levels()
assert matplotlib.rcParams["backend"] == "svg", "a backend was chosen"
import hicray.cluster.connection
changed = {name for name, value in os.environ.items() if variables.get(name) != value}
# torch names its compiler's cache, Ray what kind of client it is.
assert changed <= {"TORCHINDUCTOR_CACHE_DIR", "RAY_CLIENT_MODE"}, changed
"""


def test_importing_has_no_effects_and_opening_a_network_loads_no_ray(files):
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("RAY", "TUNE", "MLFLOW"))}
    done = subprocess.run(
        [sys.executable, "-c", EFFECTS, files["trial"]],
        env=clean, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_the_package_offers_its_names_and_no_others():
    assert set(hicray.__all__) <= set(dir(hicray))
    for name in hicray.__all__:
        assert callable(getattr(hicray, name))
    with pytest.raises(AttributeError, match="no attribute 'sharpen'"):
        hicray.sharpen  # noqa: B018 - whether it is there is what is asked


WITHOUT_TRAIN = """
import sys
sys.modules |= dict.fromkeys(("ray", "mlflow", "optuna", "markdown_it"))
import hicray
trial, contacts, genome = sys.argv[1:]
model = hicray.load_model(trial)
region = model.enhance("chr5:0-4,096", hicray.open_map(contacts, 512), hicray.Genome(genome))
assert region.contacts.shape == (32, 32)
fine = contacts + "::/resolutions/128"
assert len(hicray.evaluate(fine, {"itself": fine}, chroms=["chr5"], window_bins=64)) == 1
from hicray.cli.main import main
sys.argv = ["hicray", "enhance", "--checkpoint", trial, "--contacts", contacts]
sys.argv += ["--genome", genome, "--out", "enhanced.mcool"]
main()
"""


def test_what_the_extra_train_brings_is_needed_for_searches_and_whole_maps_alone(files, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TRAIN, files["trial"], files["map"], files["genome"]],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("hicray: this verb needs ray, which is not installed; install hicray")
    assert last.endswith("pip install '.[train]' in its folder")


# A region


def test_a_region_is_what_the_whole_map_holds_there(files, whole):
    model, coarse, genome = opened(files)
    found = model.enhance(REGION, coarse, genome)
    stored = cooler.Cooler(whole).matrix(balance=True).fetch("chr5")[FIRST:END, FIRST:END]
    reach = model.trained.num_separations - 16
    rows, cols = np.indices(stored.shape)
    inside = abs(cols - rows) <= reach
    np.testing.assert_array_equal(np.isnan(found.contacts[inside]), np.isnan(stored[inside]))
    # One factor apart: each has the input's balanced sum over its own pixels.
    ratio = (found.contacts / stored)[inside & np.isfinite(stored) & (stored > 0)]
    np.testing.assert_allclose(ratio, np.median(ratio), rtol=1e-4)
    assert 0.8 < np.median(ratio) < 1.25
    np.testing.assert_array_equal(found.contacts, found.contacts.T)
    assert list(found.bins.columns) == ["chrom", "start", "end"]
    assert (found.bins["start"].iloc[0], found.bins["end"].iloc[-1]) == (2048, 9216)
    assert set(found.bins["chrom"]) == {"chr5"}


def test_a_region_has_the_balanced_sum_of_the_input(files):
    model, coarse, genome = opened(files)
    found = model.enhance("chr5:0-8,192", coarse, genome).contacts
    given = cooler.Cooler(coarse.uri).matrix(balance=True).fetch("chr5:0-8192")
    # A fine bin has a quarter of the contacts of a coarse one with each other bin, so that a fine
    # pixel of a map whose rows sum to 1 holds a quarter of its coarse pixel.
    apart = abs(np.subtract.outer(np.arange(16), np.arange(16)))
    pooled = np.nansum(found.reshape(16, 4, 16, 4), axis=(1, 3)) / 4
    far = (apart >= 2) & np.isfinite(given)
    assert pooled[far].sum() == pytest.approx(given[far].sum(), rel=0.1)


def test_regions_reach_the_ends_of_a_chromosome_and_keep_what_was_read_of_the_map(
    files, monkeypatch
):
    model, coarse, genome = opened(files)
    length = coarse.chromsizes["chr6"]
    found = model.enhance(f"6:{length - 700}-{length}", coarse, genome)
    assert found.bins["end"].iloc[-1] == length
    assert np.isfinite(found.contacts).any()
    monkeypatch.setattr("hicray.predict.model.measure_for", lambda *_: pytest.fail("read again"))
    monkeypatch.setattr("hicray.predict.locus._read", lambda *_, **__: pytest.fail("read again"))
    assert model.enhance("chr6:0-128", coarse, genome).contacts.shape == (1, 1)


def test_what_cannot_be_enhanced_is_said_in_a_sentence(files, monkeypatch):
    model, coarse, genome = opened(files)
    with pytest.raises(UserError, match="reads 512; open it with that bin size"):
        model.enhance(REGION, hicray.open_map(files["map"], 256), genome)
    with pytest.raises(UserError, match="reads DNA; give"):
        model.enhance(REGION, coarse)
    with pytest.raises(UserError, match="ends beyond chr5"):
        model.enhance("chr5:0-1,000,000", coarse, genome)
    with pytest.raises(UserError, match="no stretch of DNA"):
        model.enhance("chr5", coarse, genome)
    with pytest.raises(UserError, match="does not fit"):
        model.ablate("chr5:0-20000", coarse, genome)
    monkeypatch.setattr("hicray.predict.region.MAX_BINS", 50)
    with pytest.raises(UserError, match=r"has 56 bins of 128 bp; give a region of at most 50"):
        model.enhance(REGION, coarse, genome)


def test_ablating_changes_the_window_that_holds_the_stretch(files, monkeypatch):
    model, coarse, genome = opened(files)
    found = model.ablate("chr5:5,000-5,400", coarse, genome, draws=1)
    assert found.ablation.log2_change.abs().max() > 0
    again = hicray.ablate(files["trial"], files["map"], files["genome"], "chr5:5000-5400", draws=1)
    assert (found.ablation.after == again.ablation.after).all()
    monkeypatch.setattr("hicray.predict.locus._read", lambda *_, **__: pytest.fail("read again"))
    model.ablate("chr5:6,000-6,400", coarse, genome, draws=1)


# Scores


def test_scores_of_maps_are_those_that_the_command_writes(files, whole, tmp_path):
    fine = f"{files['map']}{LEVEL}"
    options = {"chroms": ["chr5", "chr6"], "window_bins": 64}
    table = hicray.evaluate(fine, {"seq": whole, "again": whole}, **options)
    command = [sys.executable, "-c", "from hicray.cli.main import main; main()", "evaluate"]
    command += ["--fine", fine, "--enhanced", f"seq={whole}", f"again={whole}"]
    command += ["--chroms", "chr5", "chr6", "--window-bins", "64", "--out", str(tmp_path / "out")]
    subprocess.run(command, check=True, capture_output=True)
    written = json.loads((tmp_path / "out" / "evaluate.json").read_text())["methods"]["seq"]
    for chrom, found in written["chromosomes"].items():
        row = table.loc["seq", chrom]
        assert row["windows"] == len(found["per_window"]["chrom"])
        for score, summary in found["windows"].items():
            assert row[score] == pytest.approx(summary["mean"], nan_ok=True), score
        for score, value in found["whole"].items():
            assert row[score] == pytest.approx(np.nan if value is None else value, nan_ok=True)
    pd.testing.assert_frame_equal(table.loc["seq"], table.loc["again"])


def test_without_chromosomes_all_that_are_long_enough_are_scored(files, whole):
    table = hicray.evaluate(f"{files['map']}{LEVEL}", {"seq": whole}, window_bins=64)
    assert list(table.loc["seq"].index) == [f"chr{n}" for n in range(1, 7)]


def test_paths_and_one_chromosome_are_taken_as_they_come(files, whole):
    fine = Path(f"{files['map']}{LEVEL}")
    table = hicray.evaluate(fine, {"seq": Path(whole)}, chroms="chr5", window_bins=64)
    assert list(table.index) == [("seq", "chr5")]
    assert table.attrs["leaks"] == []
    with pytest.raises(UserError, match="give the map another name"):
        hicray.evaluate(fine, {"fine": whole}, chroms="chr5", window_bins=64)
    with pytest.raises(UserError, match=r"no chromosome of 51,200 bp, a window of 400 bins"):
        hicray.evaluate(fine, {"seq": whole}, window_bins=400)


def test_a_map_whose_network_was_trained_on_what_is_scored_is_warned_of(files, tmp_path):
    folder = tmp_path / "trial" / "checkpoint_0"
    trained = trained_for(files["map"], 128, 512, 64)
    write_checkpoint(folder, ModelConfig(sequence="off"), replace(trained, chroms=("chr1", "chr5")))
    out = tmp_path / "leaky.mcool"
    asked = Enhance(checkpoint=str(folder), contacts=files["map"], out=out, chroms=("chr5", "chr6"))
    enhance(check(asked), in_process)
    fine, maps = f"{files['map']}{LEVEL}", {"leaky": f"{out}{LEVEL}"}
    with pytest.warns(UserWarning, match="leaky was trained on chr5, so that its scores"):
        hicray.evaluate(fine, maps, chroms=["chr5", "chr6"], window_bins=64)


def test_a_search_from_python_is_that_of_the_command_line(monkeypatch):
    asked = []

    class Found:
        results = ()

    monkeypatch.setattr("hicray.cli.search.tune", lambda options: asked.append(options) or Found())
    monkeypatch.setattr("hicray.comparison.frame.frame", list)
    data = DataConfig(contacts=("a.mcool",), genome="g.fa")
    hicray.search(data, "runs/a")
    hicray.search(SIMULATED.data, "runs/b")
    hicray.search(data, "runs/c", replace(REAL, seeds=3))
    ours, simulated, more = asked
    assert ours == replace(REAL, data=data, run=replace(REAL.run, storage="runs/a"))
    assert simulated == replace(SIMULATED, run=replace(SIMULATED.run, storage="runs/b"))
    assert more.seeds == 3


def test_the_readme_runs(files, tmp_path, monkeypatch, local_ray):
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    place = tmp_path / "runs" / "simulated"
    place.mkdir(parents=True)
    (place / "simulation").symlink_to(Path(files["map"]).parent)
    (place / "trials").symlink_to(Path(files["trial"]).parent)
    monkeypatch.chdir(tmp_path)
    # The simulation of `make tune` has more chromosomes than that of the tests.
    names: dict[str, object] = {}
    exec(code.replace("chr31", "chr5").replace("chr32", "chr6"), names)
    assert names["region"].contacts.shape == (32, 32)
    assert names["scores"]["oe_pearson"].notna().all()
    assert len(code.splitlines()) <= 22
