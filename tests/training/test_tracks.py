"""Networks that read measured tracks: scales, strands, controls, and the maps they enhance."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from hicray.comparison.arms import score_arms
from hicray.comparison.results import BOTH, MIXED_TRACKS, NOSEQ, OTHER_TRACKS, SEQ, TRACKS
from hicray.config import ModelConfig, TrainConfig, TrialConfig, UserError
from hicray.maps.contacts import open_map
from hicray.maps.genome import Genome
from hicray.maps.tracks import Track
from hicray.model.checkpoint import by_content, read_progress
from hicray.model.trained import trained_on
from hicray.predict.locus import Loci, measure_for
from hicray.predict.network import find
from hicray.predict.preflight import dna_of, tracks_of
from hicray.simulation.occupancy import write_occupancy
from hicray.training.trial import arm
from hicray.windows.track_table import read_tracks, require_tracks, scaled
from tests.alone import COARSE, as_references, data_alone
from tests.trained import write_checkpoint
from tests.workers import loop_alone

BIN = 128
TRAIN = TrainConfig(epochs=1, batch_size=8, accumulate=1, base_learning_rate=0.03)


@pytest.fixture(scope="module")
def file(tiny_simulation, tmp_path_factory):
    return write_occupancy(tiny_simulation, tmp_path_factory.mktemp("tracks") / "motif.bw")


@pytest.fixture(scope="module")
def model(file, tiny_data):
    asked = ModelConfig(
        sequence="tracks", tracks=(f"motif={file}",), dna_channels=8, flank_bins=1, depth=1
    )
    return scaled(asked, tiny_data)


def trial_of(model):
    return TrialConfig(coarse_bin_size=COARSE, model=model, train=TRAIN)


@pytest.fixture
def data(alone_shards, model, monkeypatch):
    as_references(monkeypatch)
    tables = read_tracks(model, alone_shards.manifest)
    return replace(data_alone(alone_shards), tracks=tables)


@pytest.fixture
def batch(data, model):
    loop = loop_alone(data.read_by(model), trial_of(model))
    return next(iter(loop.batches(loop.train_reader, loop.train_part, 0)))


def test_occupancy_has_its_peaks_at_the_motifs(tiny_simulation, file):
    signal = Track(str(file)).binned("chr1", 16).signal
    motifs = tiny_simulation.motifs().query("chrom == 'chr1'")
    at = signal[((motifs.start + motifs.end) // 2 // 16).to_numpy()]
    assert np.median(at) > 10 * np.median(signal)


def test_the_scale_is_that_of_the_training_chromosomes(model, file, alone_shards):
    track = Track(str(file))
    logs = {c: np.log1p(track.binned(c, BIN).signal) for c in alone_shards.manifest.chroms}
    training = [region.chrom for region in alone_shards.manifest.regions_of("train")]
    known = np.concatenate([logs[chrom] for chrom in training])
    assert model.track_scales == pytest.approx((known.mean(), known.std()))
    table = read_tracks(model, alone_shards.manifest).own
    for chrom, values in logs.items():
        expected = (values - known.mean()) / known.std()
        np.testing.assert_allclose(table.chroms[chrom][0, :, 0], expected, rtol=1e-5, atol=1e-6)
        assert (table.chroms[chrom][:, :, 1] == 1).all()


def test_seen_from_the_other_strand_bins_are_in_reverse(batch):
    flipped = batch.reverse_complemented(torch.ones(len(batch), dtype=torch.bool))
    assert torch.equal(flipped.row_tracks, batch.row_tracks.flip(2))


def test_hidden_dna_hides_no_track(batch):
    hidden = batch.without_dna(torch.ones(len(batch), dtype=torch.bool))
    assert torch.equal(hidden.row_tracks, batch.row_tracks)
    assert batch.row_bases is None


def test_shuffled_tracks_have_the_same_bins_in_another_order(data):
    own, mixed = data.tracks
    for chrom, values in own.chroms.items():
        assert not np.array_equal(values, mixed.chroms[chrom])
        np.testing.assert_array_equal(
            np.sort(values[0, :, 0]), np.sort(mixed.chroms[chrom][0, :, 0])
        )


def test_what_both_arms_read_adds_up(data, model):
    both = replace(model, sequence="on+tracks")
    loop = loop_alone(data.read_by(both), trial_of(both))
    given = next(iter(loop.batches(loop.train_reader, loop.train_part, 0)))
    head = loop.bare.head
    base = given.base
    embedding = head._embed(given.row_bases, None, given.row_tracks, base)
    expected = head.dna(given.row_bases) + head.tracks(given.row_tracks[:, 0])
    torch.testing.assert_close(embedding, expected)
    assert arm(trial_of(both)) == BOTH


def test_a_network_of_tracks_learns_from_them(data, model):
    """What it gives depends on them alone, beside the map."""
    loop = loop_alone(data.read_by(model), trial_of(model))
    nn.init.normal_(loop.bare.head.pixels.out.weight)
    given = next(iter(loop.batches(loop.train_reader, loop.train_part, 0)))
    inputs = given.arguments()
    assert "row_bases" not in inputs
    other = inputs | {"row_tracks": torch.zeros_like(given.row_tracks)}
    with torch.no_grad():
        assert not torch.allclose(loop.bare(**inputs), loop.bare(**other))


@pytest.fixture(scope="module")
def trained(model, alone_shards, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    scale = trained_on(alone_shards.manifest, COARSE)
    arms = {"off": NOSEQ, "on": SEQ, "tracks": TRACKS, "on+tracks": BOTH}
    return {
        name: write_checkpoint(folder / name, replace(model, sequence=sequence), scale)
        for sequence, name in arms.items()
    }


def test_a_comparison_says_what_dna_adds_to_tracks_and_tracks_to_dna(trained, alone_shards):
    result = score_arms({name: [folder] for name, folder in trained.items()}, alone_shards, COARSE)
    assert {TRACKS, BOTH, OTHER_TRACKS, MIXED_TRACKS} <= result.rows.keys()
    assert {(BOTH, TRACKS), (BOTH, SEQ), (TRACKS, NOSEQ), (MIXED_TRACKS, NOSEQ)} <= (
        result.differences.keys()
    )
    own, other, mixed = (
        result.rows[name].windows("mse") for name in (TRACKS, OTHER_TRACKS, MIXED_TRACKS)
    )
    assert not np.allclose(own, other)
    assert not np.allclose(own, mixed)


def test_a_map_is_enhanced_by_the_tracks_that_training_read(
    trained, batch, data, model, tiny_simulation, file
):
    network = find(str(trained[TRACKS]))
    contacts = open_map(str(tiny_simulation.contacts[0]), COARSE)
    assert dna_of(network, contacts, ("chr1",), None, match_chr=False) is None
    tracks = tracks_of(network, contacts, [f"motif={file}"])
    loci = Loci(contacts, measure_for(network.trained, contacts), network.trained, None, tracks)
    loop = loop_alone(data.read_by(model), trial_of(model))
    chrom, start = loop.collate.groups[int(batch.group[0])][1], int(batch.row_start[0])
    assert torch.equal(loci.inputs(chrom, [(start, start)]).row_tracks[0], batch.row_tracks[0])
    both = find(str(trained[BOTH]))
    genome = Genome(str(tiny_simulation.genome))
    assert dna_of(both, contacts, ("chr1",), genome, match_chr=False) is not None
    for words in ([], [f"ctcf={file}"], [f"motif={file}", f"more={file}"]):
        with pytest.raises(UserError, match="reads the tracks motif, not"):
            tracks_of(network, contacts, words)


def test_a_trial_is_known_by_what_its_tracks_hold(model, trained, file, tmp_path):
    copy = tmp_path / "copy.bw"
    copy.write_bytes(file.read_bytes())
    assert by_content(model) == by_content(replace(model, tracks=(f"motif={copy}",)))
    assert read_progress(trained[TRACKS]).trial.model == model


@pytest.mark.parametrize(
    ("arms", "tracks", "said"),
    [
        (("off", "on"), ("motif=m.bw",), "arms off on with --tracks motif=m.bw cannot be"),
        (("off", "tracks"), (), "arms off tracks with --tracks none cannot be"),
        (("tracks",), ("motif=gone.bw",), "gone.bw cannot be read as a bigWig"),
    ],
)
def test_arms_and_tracks_that_do_not_fit_are_refused(arms, tracks, said):
    with pytest.raises(UserError, match=said):
        require_tracks(ModelConfig(tracks=tracks), arms)


def test_pooled_dna_and_tracks_cannot_be_added(file):
    with pytest.raises(UserError, match="--dna pooled has one embedding for a window"):
        require_tracks(ModelConfig(dna="pooled", tracks=(f"m={file}",)), ("on+tracks",))


def test_a_track_without_values_is_refused(tiny_data, tiny_simulation, tmp_path):
    flat = replace(tiny_simulation)
    path = write_occupancy(flat, tmp_path / "flat.bw")
    asked = ModelConfig(sequence="tracks", tracks=(f"m={path}",))
    held_out = replace(tiny_data, split="train=chr1;val=chr5;test=chr6")
    assert scaled(asked, held_out).track_scales != scaled(asked, tiny_data).track_scales
