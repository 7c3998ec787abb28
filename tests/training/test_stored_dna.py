"""Networks that read a DNA model's stored embeddings: as if the model ran in every step."""

import re
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import nn

from hicray.comparison.arms import score_arms
from hicray.comparison.results import SEQ, SHUFFLED, SWAPPED
from hicray.config import DataConfig, ModelConfig, TrainConfig, TrialConfig, UserError
from hicray.dna_models.binned import Stretch, embed_stretch
from hicray.dna_models.contract import one_hot
from hicray.maps.bins import Region
from hicray.maps.contacts import open_map
from hicray.maps.genome import Genome, read_packed
from hicray.model.build import build
from hicray.model.checkpoint import by_content
from hicray.model.trained import trained_on
from hicray.predict.locus import Loci, measure_for
from hicray.predict.network import find
from hicray.predict.preflight import dna_of, require_ablatable
from hicray.training.sweep import train_alone
from hicray.windows.bin_table import read_note
from hicray.windows.dna import BinReader
from hicray.windows.genome_tables import SHUFFLED as SHUFFLED_FOLDER
from hicray.windows.genome_tables import read_tables, require_table, resolved
from hicray.windows.manifest import GENOME
from tests.alone import COARSE, as_references, data_alone
from tests.dna_models.tables import write_table
from tests.trained import write_checkpoint
from tests.workers import loop_alone

BIN = 128
TRAIN = TrainConfig(epochs=2, batch_size=8, accumulate=1, base_learning_rate=0.03)


class Frozen(nn.Module):
    """A small network that nobody trained; a position is half a bin."""

    window, stride, positions, channels = 1_024, 64, 12, 6

    def __init__(self):
        super().__init__()
        torch.manual_seed(7)
        self.conv = nn.Conv1d(4, self.channels, 11, padding=5)

    def forward(self, codes):
        pooled = nn.functional.max_pool1d(self.conv(one_hot(codes)), self.stride)
        margin = (pooled.shape[2] - self.positions) // 2
        return pooled[..., margin : margin + self.positions].mT


@pytest.fixture(scope="module")
def table(tiny_simulation, tmp_path_factory):
    folder = tmp_path_factory.mktemp("stored") / "table"
    return write_table(folder, Frozen(), tiny_simulation.genome, BIN)


@pytest.fixture(scope="module")
def data_config(tiny_data) -> DataConfig:
    return tiny_data


@pytest.fixture(scope="module")
def model(table):
    asked = ModelConfig(
        dna="embeddings", dna_embeddings=str(table), dna_channels=8, flank_bins=2, depth=1
    )
    return resolved(asked)


def trial_of(model, **train):
    return TrialConfig(coarse_bin_size=COARSE, model=model, train=replace(TRAIN, **train))


@pytest.fixture
def data(alone_shards, table, monkeypatch):
    as_references(monkeypatch)
    return replace(data_alone(alone_shards), embeddings=read_tables(table, alone_shards.manifest))


@dataclass(frozen=True)
class Anew(BinReader):
    """Runs the model whenever a window is read."""

    genome: object = None
    model: object = None

    def read(self, chroms, starts, dna="own"):
        assert dna == "own"
        length = self.manifest.window_bins + 2 * self.flank_bins
        return torch.stack([self._window(c, s // BIN - self.flank_bins, length)
                            for c, s in zip(chroms, starts, strict=True)])  # fmt: skip

    def _window(self, chrom, first, length):
        sequence = self.genome[chrom]
        end = min(first + length, -(-sequence.length // BIN))
        inside = Stretch(chrom, max(first, 0), end)
        values = torch.zeros(2, length, self.model.channels)
        found = embed_stretch(self.model, sequence, inside, BIN)
        values[:, inside.first_bin - first : inside.end_bin - first] = found
        return values


def test_losses_are_those_of_running_the_model_in_every_step(data, model, alone_shards):
    """Half of the windows are turned around; a window's last bins may lie beyond a chromosome."""
    losses = []
    for anew in (False, True):
        loop = loop_alone(data, trial_of(model))
        if anew:
            genome = read_packed(alone_shards.folder / GENOME)
            tables = loop.collate.embeddings.tables
            loop.collate.embeddings = Anew(
                tables, alone_shards.manifest, model.flank_bins, genome, Frozen()
            )
        losses.append([loop.epoch(epoch) for epoch in range(2)])
    for stored, run in zip(*losses, strict=True):
        for part in ("train_loss", "val_loss"):
            assert stored[part] == pytest.approx(run[part], rel=1e-6)


def test_the_tower_and_stored_embeddings_add_up(data, model):
    both = replace(model, dna="tower+embeddings")
    loop = loop_alone(data, trial_of(both))
    batch = next(iter(loop.batches(loop.train_reader, loop.train_part, 0)))
    assert batch.row_bases is not None
    assert batch.row_embeddings is not None
    dna = loop.bare.head.dna
    bases, stored = batch.row_bases, batch.row_embeddings[:, 0]
    torch.testing.assert_close(dna(bases, stored), dna.tower(bases) + dna.stored(stored))


def test_a_network_of_embeddings_reads_no_bases(data, model):
    read = data.read_by(model)
    assert read.genome is None
    assert read.embeddings is not None
    assert data.read_by(replace(model, sequence="off")).embeddings is None
    assert data.read_by(replace(model, sequence="composition")).embeddings is None


def test_hidden_dna_is_no_embedding_and_blank_is_a_constant(data, model):
    loop = loop_alone(data, trial_of(model))
    batch = next(iter(loop.batches(loop.train_reader, loop.train_part, 0)))
    chosen = torch.zeros(len(batch), dtype=torch.bool)
    chosen[0] = True
    hidden = batch.without_dna(chosen)
    assert not hidden.row_embeddings[0].any()
    assert torch.equal(hidden.row_embeddings[1:], batch.row_embeddings[1:])
    blank = loop_alone(data, trial_of(replace(model, sequence="blank"))).bare
    nn.init.normal_(blank.head.pixels.out.weight)
    others = {**batch.arguments(), "row_embeddings": torch.ones_like(batch.row_embeddings)}
    assert torch.equal(blank(**batch.arguments()), blank(**others))


def test_another_strand_is_the_other_strands_embeddings_in_reverse(data, model):
    loop = loop_alone(data, trial_of(model))
    batch = next(iter(loop.batches(loop.train_reader, loop.train_part, 0)))
    flipped = batch.reverse_complemented(torch.ones(len(batch), dtype=torch.bool))
    assert torch.equal(flipped.row_embeddings[:, 0], batch.row_embeddings[:, 1].flip(1))
    again = flipped.reverse_complemented(torch.ones(len(batch), dtype=torch.bool))
    assert torch.equal(again.row_embeddings, batch.row_embeddings)


def test_a_trial_is_known_by_what_the_table_holds(model, table, tiny_simulation, tmp_path):
    same = write_table(tmp_path / "same", Frozen(), tiny_simulation.genome, BIN)
    other = write_table(tmp_path / "other", Frozen(), tiny_simulation.genome, BIN, version=2)
    names = [by_content(replace(model, dna_embeddings=str(t))) for t in (table, same, other)]
    assert names[0] == names[1] != names[2]
    assert read_note(same).model_digest == model.embedding_model


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"dna": "tower"}, "--dna tower with --dna-embeddings"),
        ({"dna_embeddings": ""}, "--dna embeddings with --dna-embeddings none"),
        ({"dna_embeddings": "/nowhere"}, "/nowhere holds no finished table"),
    ],
)
def test_networks_and_tables_that_do_not_fit_are_refused(model, change, said):
    with pytest.raises(UserError, match=re.escape(said)):
        resolved(replace(model, **change))


def test_a_table_of_another_genome_or_bin_size_is_refused(
    model, data_config, tiny_simulation, tmp_path, alone_shards
):
    with pytest.raises(UserError, match="holds embeddings of 128 bp, the fine bins are of 256 bp"):
        require_table(model, replace(data_config, fine_bin_size=256))
    other = tmp_path / "other.fa"
    other.write_text(tiny_simulation.genome.read_text().replace("A", "C", 1))
    with pytest.raises(UserError, match="holds embeddings of another genome"):
        require_table(model, replace(data_config, genome=str(other)))
    short = tmp_path / "short.fa"
    short.write_text(">chr1\n" + "ACGT" * 500 + "\n")
    table = write_table(tmp_path / "short", Frozen(), short, BIN)
    with pytest.raises(UserError, match="holds no embeddings of chr2"):
        read_tables(table, alone_shards.manifest)


@pytest.fixture(scope="module")
def trained(model, alone_shards, tmp_path_factory):
    return write_checkpoint(
        tmp_path_factory.mktemp("trained") / "seq", model, trained_on(alone_shards.manifest, COARSE)
    )


def test_a_comparison_shows_the_controls_that_can_be_had(
    trained, model, alone_shards, table, tiny_simulation
):
    """Shuffled DNA needs a pass of its own, and is a row once there is one."""
    result = score_arms({SEQ: [trained]}, alone_shards, COARSE)
    assert {SEQ, SWAPPED} <= result.rows.keys()
    assert SHUFFLED not in result.rows
    assert "hicray embed-dna --shuffled" in result.left_out
    own, swapped = (result.rows[name].windows("mse") for name in (SEQ, SWAPPED))
    assert not np.allclose(own, swapped)
    shuffled = write_table(
        table / SHUFFLED_FOLDER, Frozen(), tiny_simulation.genome, BIN, shuffled=True
    )
    try:
        result = score_arms({SEQ: [trained]}, alone_shards, COARSE)
        # The same table under that name: the row reads it, and scores as seq does.
        np.testing.assert_array_equal(result.rows[SHUFFLED].windows("mse"), own)
        assert result.left_out == ""
    finally:
        for path in (*shuffled.iterdir(), shuffled):
            path.rmdir() if path.is_dir() else path.unlink()


def test_a_map_is_enhanced_by_the_embeddings_that_training_read(
    trained, data, model, alone_shards, tiny_simulation, table
):
    network = find(str(trained))
    contacts = open_map(str(tiny_simulation.contacts[0]), COARSE)
    genome = Genome(str(tiny_simulation.genome))
    loop = loop_alone(data, trial_of(model))
    batch = next(iter(loop.batches(loop.val_reader, loop.val_part)))
    chrom = loop.collate.groups[int(batch.group[0])][1]
    ask = {"match_chr": False, "embeddings": str(table)}
    dna = dna_of(network, contacts, (chrom,), genome, **ask)
    loci = Loci(contacts, measure_for(network.trained, contacts), network.trained, dna)
    start = int(batch.row_start[0])
    inputs = loci.inputs(chrom, [(start, start)])
    assert inputs.row_bases is None
    assert torch.equal(inputs.row_embeddings[0], batch.row_embeddings[0])


def test_what_is_no_table_of_the_network_is_refused(
    trained, tiny_simulation, tmp_path, alone_shards
):
    network = find(str(trained))
    contacts = open_map(str(tiny_simulation.contacts[0]), COARSE)
    genome = Genome(str(tiny_simulation.genome))
    other = write_table(tmp_path / "other", Frozen(), tiny_simulation.genome, BIN, version=2)

    def ask(embeddings, genome=genome):
        return dna_of(network, contacts, ("chr6",), genome, match_chr=False, embeddings=embeddings)

    with pytest.raises(UserError, match="reads stored embeddings of DNA; give --dna-embeddings"):
        ask("")
    with pytest.raises(UserError, match="was made by another model, or with other components"):
        ask(str(other))
    with pytest.raises(UserError, match="reads stored embeddings, whose DNA cannot be replaced"):
        require_ablatable(network, Region("chr6", 0, 100), contacts)


def test_training_ends_with_a_checkpoint_that_opens(data, model, tmp_path, alone_shards):
    trial = trial_of(model, epochs=1)
    train_alone(trial, data, tmp_path / "run")
    opened = find(str(tmp_path / "run"))
    assert opened.embedding_model == model.embedding_model
    assert not opened.reads_bases
    assert build(model, **alone_shards.manifest.layout(COARSE)).head.dna.norm.bias.shape == (6,)


def test_components_that_saw_what_is_held_out_are_refused(
    model, data_config, tiny_simulation, tmp_path
):
    for fitted, said in ((["chr1", "chr5"], "fitted on chr5, which --split"), (["chr1"], None)):
        table = write_table(
            tmp_path / fitted[-1], Frozen(), tiny_simulation.genome, BIN, fitted_on=fitted
        )
        asked = replace(model, dna_embeddings=str(table))
        if said is None:
            require_table(asked, data_config)
        else:
            with pytest.raises(UserError, match=said):
                require_table(asked, data_config)


def test_shuffled_dna_is_no_genome_and_another_models_is_no_control(
    model, data_config, alone_shards, tiny_simulation, tmp_path
):
    mixed = write_table(tmp_path / "m", Frozen(), tiny_simulation.genome, BIN, shuffled=True)
    with pytest.raises(UserError, match="holds embeddings of shuffled DNA; give the table of the"):
        require_table(replace(model, dna_embeddings=str(mixed)), data_config)
    own = write_table(tmp_path / "own", Frozen(), tiny_simulation.genome, BIN)
    write_table(own / "shuffled", Frozen(), tiny_simulation.genome, BIN, shuffled=True, version=2)
    assert read_tables(own, alone_shards.manifest).shuffled is None
    with pytest.raises(UserError, match="was not made as"):
        read_tables(own, alone_shards.manifest, shuffled=True)


def test_a_comparison_refuses_another_models_table(model, alone_shards, tmp_path):
    other = replace(model, embedding_model="another")
    folder = write_checkpoint(tmp_path / "seq", other, trained_on(alone_shards.manifest, COARSE))
    with pytest.raises(UserError, match="holds other embeddings than these networks were trained"):
        score_arms({SEQ: [folder]}, alone_shards, COARSE)
