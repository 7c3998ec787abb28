"""Enhanced maps in the balanced units of the map they were made of, as other programs read them."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cooler
import hictkpy
import numpy as np
import pandas as pd
import pytest

from hicray.config import ModelConfig
from hicray.maps.contacts import open_map
from hicray.predict.enhance import enhance
from hicray.predict.preflight import check
from hicray.predict.request import Enhance
from hicray.predict.tiler import in_process
from hicray.predict.unit import balanced_per_contact
from tests.predict.test_enhance import FINE, coarse_map, identity, job_of, level
from tests.shared_data import shared_data
from tests.trained import trained_for, write_checkpoint

BINS = (1, 100, 700)


def as_read(contacts, clr, reach, factor, *, divisive=False):
    """Compare all that lies within reach with the input's balanced values, as cooler reads both."""
    own = cooler.Cooler(contacts.uri)
    for chrom in own.chromnames:
        how = {"balance": contacts.weights_name, "divisive_weights": divisive}
        expected = own.matrix(**how).fetch(chrom)
        rows, cols = np.indices(expected.shape)
        near = (abs(rows - cols) + 1) * factor - 1 <= reach
        found = clr.matrix(balance=True).fetch(chrom)
        np.testing.assert_allclose(found[near], expected[near], rtol=3e-5)


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_an_identity_network_writes_its_inputs_balanced_values(rng, tmp_path, factor):
    contacts = coarse_map(tmp_path / "in.cool", rng, factor, BINS)
    job = job_of(tmp_path, contacts, identity(factor, 32, offsets=2))
    enhance(job, in_process)
    as_read(contacts, level(job.out, factor * FINE), job.tiling.reach, factor)


def with_divisive(path, contacts):
    """Write the same pixels with the inverse of their weights, named as Juicer's are."""
    clr = cooler.Cooler(contacts.uri)
    table = clr.bins()[:]
    table["KR"] = 50 / table.pop("weight")
    cooler.create_cooler(str(path), table, clr.pixels()[:], ordered=True)
    return open_map(str(path), contacts.bin_size, weights_name="KR")


def test_divisive_weights_of_the_input_are_its_unit_too(rng, tmp_path):
    contacts = with_divisive(tmp_path / "kr.cool", coarse_map(tmp_path / "in.cool", rng, 2, BINS))
    job = job_of(tmp_path, contacts, identity(2, 32, offsets=2))
    enhance(job, in_process)
    assert not level(job.out)._load_attrs("bins/weight")["divisive_weights"]
    as_read(contacts, level(job.out, 2 * FINE), job.tiling.reach, 2, divisive=True)


def test_a_hic_and_what_is_made_of_it_are_on_one_scale(tmp_path):
    path = str(shared_data("odd/hicstraw_test_chr22.5k_to_2.5M.hic"))
    contacts, factor = open_map(path, 50_000, weights_name="KR"), 2
    network = identity(factor, 64)
    trained = replace(network.trained, fine_bin_size=25_000, coarse_bin_size=50_000)
    job = job_of(tmp_path, contacts, replace(network, trained=trained), chroms=("22",))
    enhance(job, in_process)
    clr = level(job.out, 50_000)
    assert clr.info["genome-assembly"] == "hg19"
    expected = hictkpy.File(path, 50_000).fetch("22", normalization="KR").to_numpy()
    found, (rows, cols) = clr.matrix(balance=True).fetch("22"), np.indices(expected.shape)
    near = ((abs(rows - cols) + 1) * factor - 1 <= job.tiling.reach) & np.isfinite(found)
    assert near.sum() > 10_000
    np.testing.assert_allclose(found[near], np.nan_to_num(expected)[near], rtol=3e-5)


def test_a_network_of_raw_counts_keeps_the_inputs_raw_counts(rng, tmp_path):
    contacts = coarse_map(tmp_path / "in.cool", rng, 1, BINS)
    network = identity(1, 32, offsets=2)
    raw = replace(network, trained=replace(network.trained, raw=True))
    job = job_of(tmp_path, contacts, raw)
    enhance(job, in_process)
    found = level(job.out).matrix(balance=True).fetch("chr100")
    expected = cooler.Cooler(contacts.uri).matrix(balance=False).fetch("chr100")
    rows, cols = np.indices(expected.shape)
    near = abs(rows - cols) <= job.tiling.reach
    np.testing.assert_allclose(found[near], expected[near], rtol=3e-5)


def test_a_constant_is_found_whatever_the_depth_and_however_near_the_reach(rng, tmp_path):
    contacts = coarse_map(tmp_path / "in.cool", rng, 4, BINS)
    clr = cooler.Cooler(contacts.uri)
    values = {chrom: clr.matrix(balance=True).fetch(chrom) for chrom in clr.chromnames}
    for reach in (0, 3, 40):
        job = job_of(tmp_path, contacts, identity(4, 32, offsets=2), reach)

        def predicted(chrom, job=job, reach=reach):
            """Seven times the upsampled map, a pixel after another."""
            bins = job.fine.num_bins(chrom)
            band = np.full((bins, min(reach, bins - 1) + 1), np.nan, np.float32)
            for row in range(bins):
                for apart in range(min(band.shape[1], bins - row)):
                    one, other = row // 4, (row + apart) // 4
                    there = [min(4, bins - 4 * at) for at in (one, other)]
                    held = there[0] * there[1] if one != other else there[0] * (there[0] + 1) / 2
                    band[row, apart] = 7 * values[chrom][one, other] / held
            return band

        assert balanced_per_contact(job, predicted, job.chroms) == pytest.approx(1 / 7, rel=1e-5)


def test_a_map_without_contacts_is_written(rng, tmp_path):
    table = cooler.binnify(pd.Series({"chr1": 40 * FINE}), 2 * FINE).assign(weight=1.0)
    none = pd.DataFrame({"bin1_id": [], "bin2_id": [], "count": []}, dtype=np.int32)
    cooler.create_cooler(str(tmp_path / "in.cool"), table, none)
    job = job_of(tmp_path, open_map(str(tmp_path / "in.cool"), 2 * FINE), identity(2, 32))
    enhance(job, in_process)
    assert (level(job.out).bins()[:]["weight"] > 0).all()


# A real map


@pytest.fixture(scope="module")
def yeast(tmp_path_factory):
    """An enhanced map of yeast, and the map it was made of."""
    folder = tmp_path_factory.mktemp("yeast")
    uri = str(shared_data("yeast_g1/scer_w303_g1.mcool"))
    trained = trained_for(uri, 2_000, 8_000, 64, offsets=2)
    # A network trained on a map of another depth: the result is on the scale of its input all the
    # same.
    (source,) = trained.sources
    deeper = tuple(3 * mean for mean in source.fine_expected)
    trained = replace(trained, sources=(replace(source, fine_expected=deeper),))
    model = ModelConfig(sequence="off", coarse_path="off")
    write_checkpoint(folder / "run", model, trained, std=0.0)
    out, chroms = folder / "out.mcool", ("chrIV", "chrVII", "chrIX")
    request = Enhance(checkpoint=str(folder / "run"), contacts=uri, out=out, chroms=chroms)
    enhance(check(request), in_process)
    return out, uri


@pytest.mark.parametrize(("size", "within"), [(8_000, 0.03), (2_000, 0.4)])
def test_an_enhanced_yeast_map_is_on_the_scale_of_its_input(yeast, size, within):
    """At the input's bin size it is the input's; finer bins, as if they had been balanced alone."""
    found, own = (cooler.Cooler(f"{one}::/resolutions/{size}") for one in yeast)
    for chrom in ("chrIV", "chrVII"):
        ours, theirs = (clr.matrix(balance=True).fetch(chrom) for clr in (found, own))
        both = np.isfinite(ours) & np.isfinite(theirs)
        rows, cols = np.indices(ours.shape)
        both &= (abs(rows - cols) >= 2) & (abs(rows - cols) * size < 100_000)
        assert ours[both].mean() / theirs[both].mean() == pytest.approx(1, abs=within)


def test_what_wrote_a_map_and_of_which_genome_is_said(yeast):
    out, _ = yeast
    for name in cooler.fileops.list_coolers(str(out)):
        clr = cooler.Cooler(f"{out}::{name}")
        assert clr.info["generated-by"].startswith("hicray-")
        assert clr.info["genome-assembly"] == "unknown"  # as the input's
        said = clr._load_attrs("bins/weight")
        assert {"ignore_diags": 2, "cis_only": True, "divisive_weights": False}.items() <= (
            said.items()
        )
        weights = clr.bins()[:]["weight"]
        assert said["scale"] == pytest.approx(weights.median() ** -2)
    dm6 = cooler.Cooler(f"{shared_data('fly_2L/s2_dm6_2L.mcool')}::/resolutions/10000")
    assert open_map(dm6.uri, 10_000).assembly == "dm6"


@pytest.mark.parametrize(
    ("words", "column", "least"),
    [
        (("insulation", "LEVEL", "20000"), "log2_insulation_score_20000", 1_000),
        (("expected-cis", "LEVEL"), "balanced.avg", 100),
    ],
)
def test_cooltools_takes_an_enhanced_map_as_it_is(yeast, tmp_path, words, column, least):
    out, table = f"{yeast[0]}::/resolutions/2000", tmp_path / "table.tsv"
    program = Path(sys.executable).with_name("cooltools")
    line = [program, *(out if word == "LEVEL" else word for word in words), "-o", table]
    subprocess.run(line, check=True, capture_output=True, text=True)
    found = pd.read_csv(table, sep="\t")
    assert found[column].notna().sum() > least


def test_hictk_reads_what_cooler_reads(yeast):
    out, _ = yeast
    for size in hictkpy.MultiResFile(str(out)).resolutions():
        file = hictkpy.File(f"{out}::/resolutions/{size}")
        found = file.fetch("chrIX", normalization="weight", count_type="float64").to_numpy()
        expected = level(out, size).matrix(balance=True).fetch("chrIX")
        np.testing.assert_allclose(np.nan_to_num(found), np.nan_to_num(expected), rtol=1e-6)
