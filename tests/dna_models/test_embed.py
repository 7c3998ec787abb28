"""A genome slid through a model whose output is known, against counts of its bases."""

import json
import re
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from hicray.config import UserError
from hicray.dna_models import catalog, embed, projection
from hicray.dna_models.binned import Stretch, embed_stretch, shuffled, stretches
from hicray.dna_models.cost import cost
from hicray.dna_models.options import EmbedDna
from hicray.maps.genome import N, encode, pack, reverse_complement
from hicray.windows.bin_table import NOTE, as_floats, read_note, read_table
from tests.dna_models.toy import AROUND, POSITIONS, STRIDE, WINDOW, Toy

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
    pieces = stretches("one", LENGTH, BIN, Toy(), windows=2)
    assert [piece.first_bin for piece in pieces[1:]] == [piece.end_bin for piece in pieces[:-1]]
    assert (pieces[0].first_bin, pieces[-1].end_bin) == (0, 51)
    assert all(p.end_bin - p.first_bin <= 2 * POSITIONS * STRIDE // BIN for p in pieces)


def test_a_stretch_is_what_it_is_within_the_whole(sequence):
    parts = [
        embed_stretch(Toy().eval(), pack(encode(sequence)), piece, BIN)
        for piece in stretches("one", LENGTH, BIN, Toy(), windows=2)
    ]
    joined = torch.cat(parts, dim=1)
    torch.testing.assert_close(joined[..., :2], whole(sequence)[..., :2], atol=1e-6, rtol=0)


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
        out=tmp_path_factory.mktemp("table") / "out",
        bin_size=BIN,
        precision="fp32",
    )


def run(options):
    return embed.embed(options, catalog.outline(TOY, ""), embed.open_genome(options))


@pytest.fixture(scope="module")
def note(local_ray, options):
    return run(options)


def test_a_table_holds_every_chromosome(note, options, sequence):
    table = read_table(options.out)
    assert list(table.chroms) == ["one", "two", "three"]
    assert read_note(options.out) == note
    joined = torch.cat(
        [
            embed_stretch(Toy().eval(), pack(encode(sequence)), piece, BIN)
            for piece in stretches("one", LENGTH, BIN, Toy(), windows=embed.WINDOWS)
        ],
        dim=1,
    )
    torch.testing.assert_close(as_floats(table.chroms["one"]), joined, atol=0, rtol=0)
    rows = table.rows("one", -2, 53)
    assert not rows[:, :2].any()
    assert not rows[:, 53:].any()
    torch.testing.assert_close(rows[:, 2:53], joined, atol=0, rtol=0)


def test_a_pass_goes_on_where_it_stopped(note, options):
    kept, lost = (options.out / note.files[name] for name in ("one", "three"))
    before, content = kept.stat().st_mtime_ns, lost.read_bytes()
    lost.unlink()
    (options.out / NOTE).unlink()
    assert run(options) == note
    assert kept.stat().st_mtime_ns == before
    assert lost.read_bytes() == content


def test_a_folder_belongs_to_one_model_genome_and_bin_size(note, options):
    with pytest.raises(UserError, match="holds other embeddings"):
        run(replace(options, bin_size=40))


def test_a_damaged_table_is_named(note, options):
    path = options.out / note.files["two"]
    content = path.read_bytes()
    path.write_bytes(content[:200])
    with pytest.raises(UserError, match=re.escape(path.name)):
        read_table(options.out)
    path.write_bytes(content)


def test_components_are_those_of_the_training_chromosomes(local_ray, options, tmp_path):
    """Against numpy's singular values; of unit variance on what they were fitted on."""
    asked = replace(options, out=tmp_path / "pca", components=2, split="val=two;test=three")
    genome = embed.open_genome(asked)
    note, explained = embed.project(asked, run(asked), genome)
    raw = as_floats(read_table(asked.out / embed.ALL_CHANNELS).chroms["one"]).flatten(0, 1)
    raw = raw[raw.any(dim=1)].double().numpy()
    centred = raw - raw.mean(axis=0)
    variances = np.linalg.svd(centred, compute_uv=False) ** 2
    assert explained == pytest.approx(variances[:2].sum() / variances.sum(), rel=1e-5)
    found = as_floats(read_table(asked.out).chroms["one"]).flatten(0, 1)
    found = found[found.any(dim=1)].double().numpy()
    assert note.channels == 2
    np.testing.assert_allclose(np.cov(found.T, bias=True), np.eye(2), atol=1e-4)
    same = replace(asked, out=tmp_path / "same", components=0, projection=str(asked.out))
    again, _ = embed.project(same, run(same), genome)
    assert again.digest == note.digest
    assert projection.read(same.out).explained == pytest.approx(explained)


def test_cost_is_counted_before_it_is_paid():
    found = cost(Toy(), {"one": LENGTH, "two": 64}, BIN, 3, "fp32")
    assert (found.windows, found.bins) == (2 * (16 + 1), 51 + 4)
    assert found.bytes == 2 * 55 * 3 * 4
    assert "GPU-hours" not in str(found)


def test_a_published_model_is_planned_without_its_weights():
    chr21, core = 46_709_983, 896 * 128
    found = cost(catalog.outline("enformer", ""), {"chr21": chr21}, 4_000, 128, "bf16")
    assert found.windows == 2 * (chr21 // core + 1)
    assert found.bins == 11_678
    assert found.bytes == 2 * 11_678 * 128 * 2
    # Of 230 million parameters, each is used for at least one position of 1,536 and more.
    assert 2 < found.tera_operations / found.windows < 5


@pytest.mark.parametrize(
    ("name", "weights", "said"),
    [
        ("enfomer", "", "is no model of DNA"),
        ("enformer", "", "needs a file"),
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
