"""One pixel of implausibly many reads, from end to end: no line on its separation anywhere.

A yeast map has one of 763 contacts on a separation whose mean is 2.2. Its like is planted in a
training chromosome; what is asked of other chromosomes must not know of it.
"""

import shutil
from dataclasses import replace

import cooler
import h5py
import numpy as np
import pytest

from hicray.evaluation.baseline_maps import BASELINES, Maker
from hicray.evaluation.compared import checked, open_compared
from hicray.evaluation.options import Evaluate
from hicray.evaluation.score_maps import evaluate
from hicray.maps.contacts import open_map
from hicray.maps.thin import derive
from hicray.model.trained import trained_on
from hicray.predict.enhance import enhance
from hicray.predict.locus import measure
from hicray.predict.tiler import Job, in_process
from hicray.windows.collate import Collate
from hicray.windows.reading import columns, read_rows, shard_at
from hicray.windows.scales import from_network
from hicray.windows.shards import prepare
from hicray.windows.sources import open_sources
from hicray.windows.tiles import tiling
from tests.trained import Shown

BIN, SIDE, COARSE = 128, 64, 512
SEPARATION, ROW, TIMES = 40, 60, 350
CLOSE = 0.03
"""Spread over a coarse pixel, it is 22 times the mean: plausible, and smoothed away."""
LEVELS = {"fine": 1, "coarse_256": 2, "coarse_512": 4}
TRAIN, TEST = ("chr1", "chr2", "chr3", "chr4"), "chr6"


def plant(path):
    """Add so many times the mean of a separation to one of its pixels, at every level."""
    fine = cooler.Cooler(f"{path}::/resolutions/{BIN}").matrix(balance=False).fetch("chr1")
    reads = round(TIMES * np.diagonal(fine, SEPARATION).mean())
    with h5py.File(path, "r+") as file:
        for factor in LEVELS.values():
            pixels = file[f"resolutions/{BIN * factor}/pixels"]
            pair = ROW // factor, (ROW + SEPARATION) // factor
            (place,) = np.flatnonzero(
                (pixels["bin1_id"][:] == pair[0]) & (pixels["bin2_id"][:] == pair[1])
            )
            pixels["count"][place] += reads


@pytest.fixture(scope="module")
def maps(tiny_simulation, tmp_path_factory):
    """The map as it is, and with the pixel."""
    folder = tmp_path_factory.mktemp("maps")
    clean, odd = folder / "clean.mcool", folder / "odd.mcool"
    for path in (clean, odd):
        shutil.copy(tiny_simulation.contacts[0], path)
    plant(odd)
    return {"clean": str(clean), "odd": str(odd)}


@pytest.fixture(scope="module")
def sets(tiny_data, maps, local_ray, tmp_path_factory):
    found = {}
    for name, uri in maps.items():
        folder = tmp_path_factory.mktemp(name)
        found[name] = folder, prepare(replace(tiny_data, contacts=(uri,)), folder)
    return found


def line(curve, factor=1):
    """A curve at the separation over the geometric mean of those beside it."""
    at = SEPARATION // factor
    return curve[at] / np.sqrt(curve[at - 1] * curve[at + 1])


def test_the_plain_mean_would_show_a_line(maps):
    maps = [
        cooler.Cooler(f"{maps['odd']}::/resolutions/{BIN}").matrix(balance=True).fetch(chrom)
        for chrom in TRAIN
    ]
    means = [np.nanmean(np.concatenate([np.diagonal(x, s) for x in maps])) for s in range(SIDE)]
    assert line(means) > 1.4


def test_curves_of_a_shard_set_have_no_line(sets):
    (clean,), (odd,) = (sets[name][1].sources.values() for name in ("clean", "odd"))
    for name, factor in LEVELS.items():
        np.testing.assert_allclose(odd.curve(name), clean.curve(name), rtol=CLOSE)
        assert line(odd.curve(name), factor) == pytest.approx(
            line(clean.curve(name), factor), abs=0.01
        )
        assert line(odd.curve(name), factor) == pytest.approx(1, abs=0.01)


def test_the_base_of_other_windows_does_not_know_of_it(sets):
    bases = []
    for folder, manifest in sets.values():
        collate = Collate(manifest, COARSE)
        rows = next(read_rows(shard_at(folder, manifest.files("test")[0]), columns(COARSE), 4))
        batch = collate.decode(collate.compact(rows))
        bases.append(from_network(batch.base)[0].numpy())
    np.testing.assert_allclose(bases[1], bases[0], rtol=CLOSE)


def test_an_enhanced_map_has_no_line(sets, maps, tmp_path):
    levels = {}
    for name, (_, manifest) in sets.items():
        trained, contacts = trained_on(manifest, COARSE), open_map(maps[name], COARSE)
        network = Shown(shows="base", kind="checkpoint", where="base", trained=trained, digest="0")
        how = tiling(trained.offsets, window=SIDE, factor=4, reach=None)
        out = tmp_path / f"{name}.mcool"
        job = Job(network=network, contacts=contacts, dna=None, tiling=how, chroms=(TEST,), out=out)
        enhance(job, in_process)
        square = cooler.Cooler(f"{out}::/resolutions/{BIN}").matrix(balance=True).fetch(TEST)
        levels[name] = np.array([np.nanmean(np.diagonal(square, s)) for s in range(48)])
    np.testing.assert_allclose(levels["odd"], levels["clean"], rtol=CLOSE)


def test_the_decay_of_a_map_to_enhance_has_no_line(maps):
    curves = [
        measure(open_map(uri, COARSE), SIDE // 4, raw=False).expected for uri in maps.values()
    ]
    np.testing.assert_allclose(*curves, rtol=CLOSE)


@pytest.mark.parametrize("name", ["distance only", "coarse O/E x fine expected"])
def test_baselines_as_maps_have_no_line(tiny_data, maps, tmp_path, name):
    bands = []
    for uri in maps.values():
        data = replace(tiny_data, contacts=(uri,), coarse_bin_sizes=(COARSE,))
        maker = Maker(open_sources(data, tmp_path)[0], SIDE, TRAIN, (TEST,), raw=False)
        bands.append(BASELINES[name](maker.coarse(TEST), maker.expected))
    np.testing.assert_allclose(bands[1], bands[0], rtol=CLOSE)


def test_scores_by_the_fixed_decay_do_not_know_of_it(maps, tmp_path):
    kept = derive(open_map(maps["clean"], BIN), (BIN,), tmp_path / "k.mcool", keep=0.1, side="kept")
    found = []
    for uri in maps.values():
        asked = Evaluate(
            fine=f"{uri}::/resolutions/{BIN}",
            enhanced=(f"thin={kept[BIN].uri}",),
            chroms=(TEST,),
            window_bins=SIDE,
        )
        scores = evaluate(open_compared(checked(asked))).scores["thin"][TEST].windows
        found.append(scores["oe_pearson_fixed"])
    np.testing.assert_allclose(*found, atol=1e-4)
