"""A genome slid through a model whose output is known, against counts of its bases."""

import json
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from hicray.config import ModelConfig, UserError
from hicray.dna_models import actors, catalog, projection
from hicray.dna_models.binned import Stretch, embed_stretch, shuffled, stretches
from hicray.dna_models.contract import sizes_of
from hicray.dna_models.cost import cost
from hicray.dna_models.embed import ALL_CHANNELS, Pass
from hicray.dna_models.options import EmbedDna
from hicray.maps.genome import N, encode, pack, reverse_complement
from hicray.model.opened import open_network
from hicray.model.trained import trained_on
from hicray.windows.bin_table import NOTE, BinTable, as_floats, as_stored, read_chrom, read_note
from tests.dna_models.tables import run_alone
from tests.dna_models.toy import AROUND, POSITIONS, STRIDE, WINDOW, Toy
from tests.trained import write_checkpoint

BIN, LENGTH = 20, 1_003
TOY = "tests.dna_models.toy:toy"


@pytest.fixture(scope="module")
def sequence() -> str:
    letters = np.random.default_rng(3).choice(list("ACGT"), LENGTH)
    letters[400:500] = "N"
    return "".join(letters)


@pytest.fixture(scope="module")
def genome(tmp_path_factory, sequence):
    path = tmp_path_factory.mktemp("genome") / "g.fa"
    path.write_text(f">one\n{sequence}\n>two\n{sequence[:300]}\n>three\n{sequence[100:750]}\n")
    return path


def by_bin(sequence, value, bin_size):
    """Mean over a bin's bases of what the position on them is worth."""
    by_base = [value(base - base % STRIDE) for base in range(len(sequence))]
    return [np.mean(by_base[i : i + bin_size]) for i in range(0, len(sequence), bin_size)]


def shares(sequence, letter, bin_size=BIN):
    """Share of a letter in the positions of each bin."""
    return by_bin(sequence, lambda i: sequence[i : i + STRIDE].count(letter) / STRIDE, bin_size)


def around(sequence, bin_size):
    """Share of A within 16 bases of the positions of each bin."""
    padded, length = "N" * AROUND + sequence, STRIDE + 2 * AROUND
    return by_bin(sequence, lambda i: padded[i : i + length].count("A") / length, bin_size)


def whole(sequence, bin_size=BIN, batch_size=3):
    stretch = Stretch("one", 0, -(-len(sequence) // bin_size))
    return embed_stretch(
        Toy().eval(), pack(encode(sequence)), stretch, bin_size, batch_size=batch_size
    )


def test_bins_hold_the_mean_of_their_own_bases_on_both_strands(sequence):
    """Bins of 20 bases are no multiple of positions of 8."""
    forward, reverse = whole(sequence)
    for values, letters in ((forward, "AC"), (reverse, "TG")):
        for channel, letter in enumerate(letters):
            np.testing.assert_allclose(values[:, channel], shares(sequence, letter), atol=1e-6)


def test_what_lies_around_a_position_is_read_too(sequence):
    """Where bins begin at positions, so that there is one way to lay the windows."""
    forward, reverse = whole(sequence.replace("N", "G"), bin_size=WINDOW - 2 * AROUND)
    expected = around(sequence.replace("N", "G"), WINDOW - 2 * AROUND)
    np.testing.assert_allclose(forward[:, 2], expected, atol=1e-6)
    assert not np.allclose(reverse[:, 2], expected, atol=1e-2)


def test_the_other_strand_is_the_same_turned_around(sequence):
    """A chromosome of whole windows and bins, so that both strands are laid alike."""
    core = POSITIONS * STRIDE
    text = (sequence[:400] * 4)[: core * 15]
    other = reverse_complement(encode(text))
    here = whole(text, bin_size=core)
    there = embed_stretch(Toy().eval(), pack(other), Stretch("one", 0, 15), core)
    torch.testing.assert_close(here, there.flip(0, 1), atol=1e-6, rtol=0)


def test_stretches_cover_a_chromosome_once():
    pieces = stretches("one", LENGTH, BIN, sizes_of(Toy()), least_bins=1)
    assert [piece.first_bin for piece in pieces[1:]] == [piece.end_bin for piece in pieces[:-1]]
    assert (pieces[0].first_bin, pieces[-1].end_bin) == (0, 51)
    assert len(pieces) == 3
    assert len(stretches("one", LENGTH, BIN, sizes_of(Toy()))) == 1


def test_a_stretch_is_what_it_is_within_the_whole(sequence):
    """In bins of two positions, windows begin alike in both."""
    parts = [
        embed_stretch(Toy().eval(), pack(encode(sequence)), piece, 16)
        for piece in stretches("one", LENGTH, 16, sizes_of(Toy()), least_bins=1)
    ]
    assert len(parts) == 2
    torch.testing.assert_close(torch.cat(parts, dim=1), whole(sequence, 16), atol=0, rtol=0)


def test_nothing_is_made_of_unknown_bases(sequence):
    assert not whole("N" * 500).any()


def test_shuffled_dna_has_the_same_dinucleotides():
    codes = encode("ACGTTGCANNACGTACGGTTAACC" * 40)
    mixed = shuffled(codes)
    assert not np.array_equal(codes, mixed)
    np.testing.assert_array_equal(codes == N, mixed == N)
    assert sorted(codes) == sorted(mixed)
    known = codes != N
    pairs = [sorted(pairwise(c[known].tolist())) for c in (codes, mixed)]
    assert pairs[0] == pairs[1]


@pytest.fixture(scope="module")
def options(genome, tmp_path_factory):
    return EmbedDna(
        model=TOY,
        genome=str(genome),
        out=str(tmp_path_factory.mktemp("table") / "out"),
        bin_size=BIN,
        precision="fp32",
    )


def run(options):
    return Pass(options, catalog.sizes(options.model, options.weights)[0]).run()


def read(folder):
    note = read_note(Path(folder))
    chroms = {chrom: read_chrom(Path(folder), note, chrom) for chrom in note.files}
    return BinTable(note.bin_size, note.channels, chroms)


def contents(folder):
    files = [f for f in sorted(Path(folder).rglob("*")) if f.is_file() and f.name != "in-use"]
    return {f: f.read_bytes() for f in files}


@pytest.fixture(scope="module")
def note(local_ray, options):
    return run(options)


def test_actors_write_what_one_process_does(note, alone, options, tmp_path):
    same = replace(options, out=str(tmp_path / "same"))
    assert run(same) == note
    ours, theirs = (
        {path.relative_to(out): content for path, content in contents(out).items()}
        for out in (options.out, same.out)
    )
    assert ours == theirs


def test_a_table_holds_every_chromosome(note, options, sequence):
    table = read(options.out)
    assert list(table.chroms) == ["one", "two", "three"]
    assert read_note(Path(options.out)) == note
    expected = whole(sequence)
    torch.testing.assert_close(as_floats(table.chroms["one"]), expected, atol=1e-6, rtol=0)
    rows = table.rows("one", -2, 53)
    assert not rows[:, :2].any()
    assert not rows[:, 53:].any()
    torch.testing.assert_close(rows[:, 2:53], expected, atol=1e-6, rtol=0)


def test_a_pass_goes_on_where_it_stopped(note, options):
    kept, lost = (Path(options.out) / note.files[name] for name in ("one", "three"))
    before, content = kept.stat().st_mtime_ns, lost.read_bytes()
    lost.unlink()
    (Path(options.out) / NOTE).unlink()
    assert run(options) == note
    assert kept.stat().st_mtime_ns == before
    assert lost.read_bytes() == content


@pytest.mark.parametrize(
    "change", [{"bin_size": 40}, {"components": 2, "split": "val=two;test=three"}]
)
def test_a_folder_belongs_to_one_job(note, options, change):
    before = contents(options.out)
    with pytest.raises(UserError, match="holds other embeddings"):
        run(replace(options, **change))
    assert contents(options.out) == before


def test_a_damaged_table_is_named(note, options):
    path = Path(options.out) / note.files["two"]
    content = path.read_bytes()
    path.write_bytes(content[:200])
    with pytest.raises(UserError, match=re.escape(path.name)):
        read(options.out)
    path.write_bytes(content)


def test_stored_in_half_the_bytes_values_keep_their_leading_digits(sequence):
    values = whole(sequence)
    torch.testing.assert_close(as_floats(as_stored(values, "bf16")), values, atol=0, rtol=2**-8)


@pytest.fixture
def alone(monkeypatch):
    """Passes in this process."""
    monkeypatch.setattr(actors, "run", run_alone)


@pytest.fixture(scope="module")
def projected(options, tmp_path_factory):
    asked = replace(
        options,
        out=str(tmp_path_factory.mktemp("projected") / "out"),
        components=2,
        split="val=two;test=three",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(actors, "run", run_alone)
        return asked, run(asked)


def test_components_are_those_of_the_training_chromosomes(projected):
    """Against numpy's singular values; of unit variance on what they were fitted on."""
    asked, note = projected
    out = Path(asked.out)
    whole_note = replace(note, channels=3, files={"one": f"{ALL_CHANNELS}/00000.parquet"})
    raw = as_floats(read_chrom(out, whole_note, "one")).flatten(0, 1)
    raw = raw[raw.any(dim=1)].double().numpy()
    variances = np.linalg.svd(raw - raw.mean(axis=0), compute_uv=False) ** 2
    explained = projection.read(out).explained
    assert explained == pytest.approx(variances[:2].sum() / variances.sum(), rel=1e-5)
    found = as_floats(read(out).chroms["one"]).flatten(0, 1)
    found = found[found.any(dim=1)].double().numpy()
    assert note.channels == 2
    assert note.identity["fitted_on"] == ("one",)
    np.testing.assert_allclose(np.cov(found.T, bias=True), np.eye(2), atol=1e-4)


def test_components_are_fitted_once(projected):
    asked, note = projected
    before = contents(asked.out)
    assert run(asked) == note
    subset = replace(asked, chroms=("one", "two"))
    assert run(subset).files == note.files
    assert contents(asked.out) == before


def test_another_table_can_have_the_same_components(projected, alone, options, tmp_path):
    asked, note = projected
    same = replace(options, out=str(tmp_path / "same"), projection=asked.out)
    again = run(same)
    assert again.model_digest == note.model_digest
    np.testing.assert_array_equal(read(same.out).chroms["two"], read(asked.out).chroms["two"])


def test_shuffled_dna_has_the_components_of_its_own_table(projected, alone):
    asked, note = projected
    other = run(replace(asked, shuffled=True))
    assert {**note.identity, "shuffled": True} == other.identity
    beside = Path(asked.out) / "shuffled"
    assert not np.allclose(read(beside).chroms["one"], read(asked.out).chroms["one"])
    with pytest.raises(UserError, match="holds the embeddings of another model, genome, bin size"):
        run(replace(asked, shuffled=True, bin_size=40))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"components": 4}, "--components 4 cannot be: .* has 3 channels"),
        ({"components": -1}, "--components -1 cannot be"),
        ({"components": 2}, "val chromosome 8"),
        ({"components": 2, "chroms": ("two",), "split": "val=two;test=three"}, "one is not among"),
        ({"batch_size": 0}, "--batch-size 0 reads nothing"),
        ({"bin_size": 4}, "--bin-size 4 is less than the 8 bases of one position"),
        ({"projection": "/nowhere"}, "/nowhere holds no finished table"),
        ({"shuffled": True}, "holds no finished table"),
        ({"chroms": ("four",)}, "has no bases of four"),
        ({"components": 2, "projection": "x"}, "both say which components are kept"),
    ],
)
def test_what_cannot_be_is_refused_before_the_pass(options, tmp_path, change, said):
    with pytest.raises(UserError, match=said):
        Pass(replace(options, out=str(tmp_path / "out"), **change), sizes_of(Toy()))
    assert not (tmp_path / "out").exists()


def test_cost_is_counted_before_it_is_paid():
    chroms = {"one": LENGTH, "two": 64}
    found = cost(sizes_of(Toy()), chroms, BIN, "fp32", components=2)
    assert (found.windows, found.bins) == (2 * (16 + 1), 51 + 4)
    assert (found.bytes, found.kept_bytes) == (2 * 55 * 3 * 4, 2 * 55 * 2 * 4)
    assert "GPU-hours" not in str(found)


def test_a_published_model_is_planned_without_its_weights():
    chr21, core = 46_709_983, 896 * 128
    sizes, operations = catalog.sizes("enformer", "")
    found = cost(sizes, {"chr21": chr21}, 4_000, "bf16", window_operations=operations)
    assert found.windows == 2 * (chr21 // core + 1)
    assert found.bytes == 2 * 11_678 * 3_072 * 2
    # Of 230 million parameters, each is used for at least one position of 1,536 and more.
    assert 2 < operations < 5


@pytest.mark.parametrize(
    ("name", "weights", "said"),
    [
        ("enfomer", "", "is no model of DNA"),
        ("enformer", "", "needs weights"),
        ("tower", "/nowhere", "holds no hicray checkpoint"),
        ("enformer", "gone.bin", "does not exist"),
        ("no_such_module:make", "", "there is no module no_such_module"),
        ("tests.dna_models.toy:none", "", "has no none"),
        ("tests.dna_models.toy:misshapen", "", r"gives \(1, 8, 3\) for a window, not \(1, 8, 4\)"),
        ("json:dumps", "", "has no whole number of window, stride, positions, channels"),
    ],
)
def test_a_model_that_cannot_be_had_is_refused(name, weights, said):
    with pytest.raises(UserError, match=said):
        catalog.open_model(name, weights)


class Traced(nn.Module):
    """A traced model with its sizes, which a script keeps where they are attributes."""

    def __init__(self):
        super().__init__()
        codes = torch.zeros(1, WINDOW, dtype=torch.uint8)
        self.traced = torch.jit.trace(Toy().eval(), codes)
        self.window, self.stride, self.positions, self.channels = WINDOW, STRIDE, POSITIONS, 3

    def forward(self, codes):
        return self.traced(codes)


def test_torchscript_is_read_without_its_source(tmp_path, sequence):
    path = tmp_path / "model.pt"
    torch.jit.script(Traced()).save(str(path))
    model = catalog.open_model("torchscript", str(path))
    codes = torch.from_numpy(encode(sequence)[None, :WINDOW].copy())
    torch.testing.assert_close(model(codes), Toy()(codes))
    path.write_text(json.dumps("no module"))
    with pytest.raises(UserError, match="is no TorchScript module"):
        catalog.open_model("torchscript", str(path))


@pytest.fixture(scope="module")
def checkpoint(alone_shards, tmp_path_factory):
    folder = tmp_path_factory.mktemp("own") / "seq"
    config = ModelConfig(depth=2, dna_channels=8, flank_bins=3, context_layers=1)
    return write_checkpoint(folder, config, trained_on(alone_shards.manifest, 512))


def test_a_trained_tower_gives_what_it_gives_in_its_network(checkpoint, alone_shards, rng):
    """Far from the ends of what it reads, where flanks or windows' ends change nothing."""
    model = catalog.open_model("tower", str(checkpoint))
    codes = torch.from_numpy(rng.integers(0, 4, (1, model.window)).astype(np.uint8))
    network = open_network(checkpoint, alone_shards.manifest.layout(512))
    inner = slice((model.window // 128 - model.positions) // 2 * 128, None)
    around = codes[:, inner.start - 3 * 128 :][:, : (64 + 6) * 128]
    expected = network.head.dna(around)
    found = model(codes)[:, :64]
    torch.testing.assert_close(found[:, 8:-8], expected[:, 8:-8], atol=1e-6, rtol=1e-5)
    assert catalog.identity("tower", str(checkpoint))["weights"]


def test_a_network_without_a_tower_is_refused(alone_shards, tmp_path):
    trained = trained_on(alone_shards.manifest, 512)
    for sequence in ("off", "composition"):
        folder = write_checkpoint(tmp_path / sequence, ModelConfig(sequence=sequence), trained)
        with pytest.raises(UserError, match="has no tower; give a checkpoint of seq"):
            catalog.open_model("tower", str(folder))
