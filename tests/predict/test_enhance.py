"""Whole maps: everything within reach, once; resumed; the same from Ray, folder and MLflow."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import cooler
import hictkpy
import numpy as np
import pandas as pd
import pytest
import torch

from hicray.config import ModelConfig, UserError
from hicray.maps.contacts import open_map
from hicray.maps.features import insulation
from hicray.maps.genome import read_packed
from hicray.model import checkpoint
from hicray.model.trained import Trained, TrainedSource, trained_on
from hicray.predict.actors import on_ray
from hicray.predict.enhance import enhance, refuse_other_parts
from hicray.predict.locus import Dna, Loci, MapFacts, measure
from hicray.predict.network import BinSizes, find
from hicray.predict.preflight import check
from hicray.predict.request import Enhance
from hicray.predict.tiler import Job, in_process
from hicray.tracking import logged
from hicray.windows.collate import Collate
from hicray.windows.manifest import GENOME
from hicray.windows.reading import columns, read_rows, shard_at
from hicray.windows.tiles import furthest, tiling
from tests import oracles
from tests.published import published_file
from tests.shared_data import shared_data, write_fasta
from tests.trained import Shown, trained_for, write_checkpoint

FINE = 10
"""Fine bins of the made maps, in bp."""


def flat_source(separations, name="a", total_reads=1, cap=None, level=1.0):
    curve = (level,) * separations
    return TrainedSource(name=name, total_reads=total_reads, cap=cap, fine_expected=curve)


def identity(factor, window, offsets=1):
    trained = Trained(
        fine_bin_size=FINE,
        coarse_bin_size=factor * FINE,
        window_bins=window,
        raw=False,
        eps=1.0,
        chroms=(),
        sources=(flat_source(offsets * window),),
    )
    return Shown(shows="coarse", kind="checkpoint", where="identity", trained=trained, digest="0")


def coarse_map(path, rng, factor, bins):
    """Write a map whose chromosomes have so many fine bins, the last not whole, some masked."""
    sizes = {f"chr{n}": n * FINE - 3 for n in bins}
    table = cooler.binnify(pd.Series(sizes), factor * FINE)
    weights = rng.uniform(0.5, 1.5, len(table))
    weights[rng.random(len(table)) < 0.1] = np.nan
    rows, cols = np.triu_indices(len(table))
    near = (cols - rows) < 300
    rows, cols = rows[near], cols[near]
    counts = rng.poisson(40 / (1 + (cols - rows) / 4))
    pixels = pd.DataFrame({"bin1_id": rows, "bin2_id": cols, "count": counts})
    bins_table = table.assign(weight=weights)
    cooler.create_cooler(str(path), bins_table, pixels[counts > 0], ordered=True)
    return open_map(str(path), factor * FINE)


def sums(clr, *, balance):
    """Contacts within chromosomes."""
    dense = (clr.matrix(balance=balance).fetch(chrom) for chrom in clr.chromnames)
    return sum(np.nansum(np.triu(one)) for one in dense)


def upsampled(contacts, chrom, factor):
    """The coarse map on the fine grid, dense and plain: NaN where a bin is masked."""
    clr = cooler.Cooler(contacts.uri)
    raw, balanced = (sums(clr, balance=how) for how in (False, True))
    coarse = clr.matrix(balance=True).fetch(chrom) * (raw / balanced)
    bins = -(-clr.chromsizes[chrom] // FINE)
    own = np.arange(bins) // factor
    held = np.bincount(own, minlength=len(coarse)).astype(float)
    share = np.outer(held, held)
    np.fill_diagonal(share, held * (held + 1) / 2)
    return (coarse / share)[np.ix_(own, own)]


def job_of(tmp_path, contacts, network, reach=None, **options):
    trained = network.trained
    how = tiling(trained.offsets, window=trained.window_bins, factor=trained.factor, reach=reach)
    chroms = tuple(contacts.chromsizes)
    options = {"dna": None, "chroms": chroms, "out": tmp_path / "out.mcool"} | options
    return Job(network=network, contacts=contacts, tiling=how, **options)


def level(out, size=FINE):
    return cooler.Cooler(f"{out}::/resolutions/{size}")


def check_identity(out, contacts, factor, reach):
    clr, own = level(out), cooler.Cooler(contacts.uri)
    assert dict(clr.chromsizes) == dict(contacts.chromsizes)
    balanced, raw = (sums(own, balance=how) for how in (True, False))
    for chrom in clr.chromnames:
        expected = upsampled(contacts, chrom, factor)
        rows, cols = np.indices(expected.shape)
        near = abs(rows - cols) <= reach
        found = clr.matrix(balance=False).fetch(chrom)
        np.testing.assert_allclose(found, np.where(near, np.nan_to_num(expected), 0), rtol=2e-5)
        masked = np.isnan(expected.diagonal())
        np.testing.assert_array_equal(np.isnan(clr.bins().fetch(chrom)["weight"]), masked)
        shown = clr.matrix(balance=True).fetch(chrom)
        assert np.isnan(shown[masked]).all()
        # Of the input's rows, which sum to as much in bins ``factor`` times as large.
        unit = found[~masked][:, ~masked] * factor * balanced / raw
        np.testing.assert_allclose(shown[~masked][:, ~masked], unit, rtol=2e-5)


@pytest.mark.parametrize("factor", [2, 4])
def test_an_identity_network_returns_the_upsampled_map_everywhere_within_reach(
    rng, tmp_path, factor
):
    contacts = coarse_map(tmp_path / "in.cool", rng, factor, (1, 100, 224, 225, 500, 2_000))
    job = job_of(tmp_path, contacts, identity(factor, 224))
    assert job.tiling.reach == 168
    done = enhance(job, in_process)
    assert done.tiles == 1 + 1 + 1 + 2 + 6 + 33
    check_identity(job.out, contacts, factor, 168)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.cool", "out.mcool"]


@pytest.mark.parametrize("offsets", [1, 3])
@pytest.mark.parametrize("reach", [0, 13, 28, 70, None])
def test_no_reach_leaves_a_pixel_out(rng, tmp_path, offsets, reach):
    contacts = coarse_map(tmp_path / "in.cool", rng, 4, (1, 31, 32, 33, 77, 150))
    network = identity(4, 32, offsets)
    most = furthest(network.trained.offsets, window=32, factor=4)
    assert most == 32 * offsets - 4
    reach = reach if reach is None else min(reach, most)
    job = job_of(tmp_path, contacts, network, reach)
    enhance(job, in_process)
    check_identity(job.out, contacts, 4, job.tiling.reach)


# Interrupted runs


def same_maps(one, other):
    first, second = (level(out).pixels()[:] for out in (one, other))
    pd.testing.assert_frame_equal(first, second)


def test_a_killed_run_goes_on_with_the_chromosomes_that_are_missing(rng, tmp_path):
    contacts = coarse_map(tmp_path / "in.cool", rng, 2, (40, 100, 33, 70))
    whole = job_of(tmp_path, contacts, identity(2, 32), out=tmp_path / "whole.mcool")
    enhance(whole, in_process)
    job, seen = job_of(tmp_path, contacts, identity(2, 32)), []

    def killed(job, facts, units):
        for result in in_process(job, facts, units):
            if result.unit.chrom == "chr33":
                raise KeyboardInterrupt
            yield result

    def counted(job, facts, units):
        seen.extend(unit.chrom for unit in units)
        return in_process(job, facts, units)

    with pytest.raises(KeyboardInterrupt):
        enhance(job, killed)
    assert not job.out.exists()
    refuse_other_parts(job)
    enhance(job, counted)
    assert set(seen) == {"chr33", "chr70"}
    same_maps(whole.out, job.out)
    assert not job.parts.exists()


def test_parts_of_another_run_are_refused(rng, tmp_path):
    contacts = coarse_map(tmp_path / "in.cool", rng, 2, (40,))
    job = job_of(tmp_path, contacts, identity(2, 32))
    with pytest.raises(KeyboardInterrupt):
        enhance(job, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    refuse_other_parts(job)
    others = [
        replace(job, network=replace(job.network, digest="1")),
        replace(job, tiling=job.tiling._replace(reach=3)),
        replace(job, contacts=coarse_map(tmp_path / "b.cool", rng, 2, (42,))),
    ]
    for other in others:
        with pytest.raises(UserError, match="holds chromosomes of another run"):
            refuse_other_parts(other)


def test_two_runs_do_not_write_one_map(rng, tmp_path):
    job = job_of(tmp_path, coarse_map(tmp_path / "in.cool", rng, 2, (40,)), identity(2, 32))

    def again(job, facts, units):
        with pytest.raises(UserError, match=r"in use by process .* give another --out"):
            enhance(job, in_process)
        return in_process(job, facts, units)

    enhance(job, again)
    assert not job.parts.exists()


def test_a_map_that_appears_meanwhile_is_not_overwritten(rng, tmp_path):
    job = job_of(tmp_path, coarse_map(tmp_path / "in.cool", rng, 2, (40,)), identity(2, 32))

    def slow(job, facts, units):
        job.out.write_text("another program's")
        return in_process(job, facts, units)

    with pytest.raises(UserError, match="was not there when this run began"):
        enhance(job, slow)
    assert job.out.read_text() == "another program's"
    job.out.unlink()
    enhance(job, lambda *_: pytest.fail("all chromosomes are there"))
    assert job.out.exists()


# Networks


@pytest.fixture(scope="module")
def seq(tiny_simulation, tmp_path_factory):
    """A checkpoint that reads DNA, and what to ask for with it."""
    uri = str(tiny_simulation.contacts[0])
    folder = tmp_path_factory.mktemp("seq")
    model = ModelConfig(depth=1, dna_channels=8, flank_bins=1)
    write_checkpoint(folder, model, trained_for(uri, 128, 512, 64))
    return Enhance(
        checkpoint=str(folder),
        contacts=uri,
        genome=str(tiny_simulation.genome),
        out=folder / "out.mcool",
        chroms=("chr2", "chr5"),
    )


def first_window(request):
    job = check(request)
    facts = measure(job.contacts, 16, raw=False)
    loci = Loci(job.contacts, facts, job.network.trained, job.dna)
    return job.network.open().predict(loci.inputs("chr2", [(0, 0), (16 * 512, 16 * 512)]))


def test_a_sequence_network_reads_the_dna(seq, tmp_path):
    sizes = dict(open_map(seq.contacts, 512).chromsizes)
    other = replace(seq, genome=str(write_fasta(tmp_path / "other.fa", sizes)))
    own = first_window(seq)
    assert torch.equal(own, own.mT)
    assert (own >= 0).all()
    assert not torch.allclose(own, first_window(other), rtol=1e-2)


def test_a_logged_model_and_its_checkpoint_are_one_network(seq, monkeypatch):
    progress = checkpoint.read_progress(Path(seq.checkpoint))
    weights = find(seq.checkpoint).open().module.state_dict()
    kept = logged.LoggedModel(json.loads(json.dumps(asdict(progress))), dict(weights))
    monkeypatch.setattr(logged, "read_model", lambda uri, tracking_uri: kept)
    with pytest.raises(UserError, match="give --tracking-uri"):
        find("models:/m-1")
    found = replace(seq, checkpoint="models:/m-1", tracking_uri="sqlite://")
    assert check(found).network.trained == check(seq).network.trained
    assert torch.equal(first_window(found), first_window(seq))


def test_a_trials_folder_stands_for_its_best_checkpoint(seq, tmp_path):
    trained = checkpoint.read_progress(Path(seq.checkpoint)).trained
    for number, score in (("000001", 0.3), ("000000", 0.9), ("000002", 0.1)):
        folder = write_checkpoint(
            tmp_path / f"checkpoint_{number}", ModelConfig(sequence="off"), trained
        )
        note = json.loads((folder / checkpoint.TRIAL).read_text())
        note["history"] = [{"val_oe_pearson": score}]
        (folder / checkpoint.TRIAL).write_text(json.dumps(note))
    found = find(str(tmp_path))
    assert found.where == str(tmp_path / "checkpoint_000000")
    assert not found.reads_dna


def test_a_published_file_predicts_as_upstream_does_within_its_cap(rng, tmp_path):
    contacts = coarse_map(tmp_path / "in.cool", rng, 1, (32, 20))
    path = published_file(tmp_path / "w.safetensors", window=32)
    network = find(str(path), BinSizes(FINE, FINE))
    job = job_of(tmp_path, contacts, network)
    enhance(job, in_process)
    dense = {c: cooler.Cooler(contacts.uri).matrix(balance=False).fetch(c) for c in ("chr32",)}
    total = sum(contacts.total(chrom) for chrom in contacts.chromsizes)
    cap = None if total > sum(contacts.chromsizes.values()) else 100.0
    image = oracles.image(dense["chr32"].astype(float), on_diagonal=True, cap=cap)
    module = network.open().module
    with torch.no_grad():
        output = module(torch.from_numpy(image)[None], torch.tensor([float(total)]))[0].numpy()
    output = np.minimum((output + output.T) / 2, np.log10(1001) / oracles.LOG_MAX)
    expected = np.maximum(10 ** (output * oracles.LOG_MAX) - 1, 0)
    rows, cols = np.indices(expected.shape)
    found = level(job.out).matrix(balance=False).fetch("chr32")
    near = abs(rows - cols) <= job.tiling.reach
    np.testing.assert_allclose(found, np.where(near, expected, 0), rtol=1e-4, atol=1e-6)


def test_rays_actors_write_what_one_process_writes(seq, local_ray, tmp_path):
    jobs = [check(replace(seq, out=tmp_path / name)) for name in ("ray.mcool", "here.mcool")]
    done = enhance(jobs[0], on_ray)
    enhance(jobs[1], in_process)
    first, second = (level(job.out, 128).pixels()[:] for job in jobs)
    pd.testing.assert_frame_equal(first, second, rtol=1e-5)
    assert {"decay", "start-up", "read", "decode", "forward", "blend", "merge", "write"} <= set(
        done.seconds
    )


# Inputs


def test_a_window_of_any_map_is_decoded_as_training_decodes_it(tiny_shards, seq):
    folder, manifest = tiny_shards
    collate = Collate(manifest, 512, read_packed(folder / GENOME), flank_bins=1)
    shard = shard_at(folder, manifest.files("train")[0])
    rows = next(read_rows(shard, columns(512), 6))
    batch = collate.decode(collate.compact(rows))
    (info,) = manifest.sources.values()
    curve = tuple(info.expected["coarse_512"])
    facts = MapFacts(info.total_reads["coarse_512"], info.scale["coarse_512"], curve)
    contacts = open_map(info.contacts, 512)
    measured = measure(contacts, len(curve), raw=False)
    assert (measured.total_reads, measured.scale) == (facts.total_reads, pytest.approx(facts.scale))
    names = {chrom: chrom for chrom in contacts.chromsizes}
    loci = Loci(contacts, facts, trained_on(manifest, 512), Dna(seq.genome, names, 1))
    for i, (chrom, start) in enumerate(
        zip(rows["chrom"].to_pylist(), rows["row_start"].to_pylist(), strict=True)
    ):
        inputs = loci.inputs(chrom, [(start, start)])
        for name, tensor in batch.arguments().items():
            torch.testing.assert_close(getattr(inputs, name)[0], tensor[i], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("starts", [[(256, 256)], [(0, 512)], [(0, 0), (0, 64 * 128)]])
def test_windows_that_training_never_saw_are_refused(seq, starts):
    job = check(seq)
    loci = Loci(job.contacts, measure(job.contacts, 16, raw=False), job.network.trained, job.dna)
    with pytest.raises(ValueError, match=r"cuts coarse bins|has no place here"):
        loci.inputs("chr2", starts)


# A real map


def test_other_programs_read_an_enhanced_yeast_map(tmp_path):
    uri = str(shared_data("yeast_g1/scer_w303_g1.mcool"))
    trained = trained_for(uri, 2_000, 4_000, 224)
    write_checkpoint(tmp_path / "run", ModelConfig(preset="small", sequence="off"), trained)
    out, chroms = tmp_path / "out.mcool", ("chrI", "chrIX", "chrM")
    folder = str(tmp_path / "run")
    job = check(Enhance(checkpoint=folder, contacts=uri, out=out, chroms=chroms))
    enhance(job, in_process)
    clr = level(out, 2_000)
    coarse = cooler.Cooler(f"{uri}::/resolutions/4000")
    assert dict(clr.chromsizes) == dict(coarse.chromsizes)
    assert clr.pixels()[:]["count"].dtype == np.float32
    assert clr.info["metadata"]["model_sha256"] == find(folder).digest
    masked = np.isnan(coarse.bins().fetch("chrIX")["weight"].to_numpy()).repeat(2)[:220]
    np.testing.assert_array_equal(np.isnan(clr.bins().fetch("chrIX")["weight"])[:220], masked)
    assert np.isnan(clr.bins().fetch("chrII")["weight"]).all()
    sizes = hictkpy.MultiResFile(str(out)).resolutions()
    assert list(sizes) == [2_000, 4_000, 8_000]
    for size in sizes:
        file = hictkpy.File(f"{out}::/resolutions/{size}")
        dense = level(out, size).matrix(balance=False).fetch("chrIX")
        total = file.fetch("chrIX", count_type="float64").sum()
        assert total == pytest.approx(np.triu(dense).sum())
    track = insulation(f"{out}::/resolutions/2000", 40_000)
    assert track[track["chrom"] == "chrIX"]["log2_insulation"].notna().sum() > 150
