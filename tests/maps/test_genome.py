import gzip
import os
from pathlib import Path

import numpy as np
import pytest
from Bio import SeqIO
from Bio.bgzf import BgzfWriter
from Bio.Seq import Seq
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hicray.config import UserError
from hicray.maps import genome as module
from hicray.maps.genome import (
    Genome,
    N,
    encode,
    pack,
    read_packed,
    reverse_complement,
    unpack,
    write_packed,
)
from tests.shared_data import shared_data, write_fasta

CODES = hnp.arrays(np.uint8, st.integers(0, 70), elements=st.integers(0, 4))
SIZES = {"chrA": 1_000, "chrB": 61, "chrC": 1}


def letters_to_codes(text):
    return np.array([{"A": 0, "C": 1, "G": 2, "T": 3}.get(x, 4) for x in text.upper()], np.uint8)


def records(path):
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt") as file:
        return {record.id: str(record.seq) for record in SeqIO.parse(file, "fasta")}


def bgzf(source, target):
    with BgzfWriter(str(target)) as file:
        file.write(source.read_bytes())
    return target


@pytest.fixture
def fasta(tmp_path):
    return write_fasta(tmp_path / "genome.fa", SIZES)


def test_real_bgzf_codes_equal_an_independent_reading():
    path = shared_data("yeast_g1/sacCer3.fa.gz")
    genome, truth = Genome(path), records(path)
    assert genome.chromsizes == {name: len(sequence) for name, sequence in truth.items()}
    for chrom in ("chrI", "chrM"):
        np.testing.assert_array_equal(
            genome.codes(chrom, 0, len(truth[chrom])), letters_to_codes(truth[chrom])
        )


def test_real_codes_with_unknown_runs_iupac_and_lower_case_equal_an_independent_reading(tmp_path):
    odd = shared_data("odd/fasta/chrI_N_run_and_iupac.fa")
    path = tmp_path / odd.name
    path.write_bytes(odd.read_bytes())
    (sequence,) = records(path).values()
    genome = Genome(path)
    codes = genome.codes("chrI", 0, len(sequence))
    assert set(sequence) - set("ACGTNacgtn")
    np.testing.assert_array_equal(codes, letters_to_codes(sequence))
    np.testing.assert_array_equal(unpack(genome.packed("chrI"), 0, len(sequence)), codes)


def test_plain_bgzf_and_windows_line_ends_give_the_same_codes(fasta, tmp_path):
    truth = records(fasta)
    windows = tmp_path / "windows.fa"
    windows.write_bytes(fasta.read_bytes().replace(b"\n", b"\r\n"))
    for path in (fasta, bgzf(fasta, tmp_path / "genome.fa.gz"), windows):
        genome = Genome(path)
        assert genome.chromsizes == SIZES
        for chrom, size in SIZES.items():
            np.testing.assert_array_equal(
                genome.codes(chrom, 0, size), letters_to_codes(truth[chrom])
            )


@pytest.mark.parametrize(
    ("start", "end"),
    [(-5, 3), (58, 70), (-10, 80), (-10, -2), (61, 65), (70, 90), (0, 0), (-3, -3), (59, 62)],
)
@pytest.mark.parametrize("compressed", [False, True])
def test_sequence_past_the_ends_is_N(fasta, tmp_path, start, end, compressed):
    genome = Genome(bgzf(fasta, tmp_path / "genome.fa.gz") if compressed else fasta)
    whole = letters_to_codes(records(fasta)["chrB"])
    beyond = np.concatenate([np.full(100, N), whole, np.full(100, N)])[start + 100 : end + 100]
    np.testing.assert_array_equal(genome.codes("chrB", start, end), beyond)
    np.testing.assert_array_equal(unpack(genome.packed("chrB"), start, end), beyond)


def test_lower_case_counts_as_upper_uracil_as_T_and_IUPAC_as_N():
    assert encode("ACGTacgtUu").tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 3, 3]
    assert set(encode("NnRYSWKMBDHVryswkmbdhv-.* ").tolist()) == {N}


@given(CODES)
def test_packing_is_undone_exactly(codes):
    np.testing.assert_array_equal(unpack(pack(codes), 0, len(codes)), codes)


@given(CODES, st.integers(-30, 90), st.integers(0, 60))
def test_any_slice_of_a_packed_sequence_is_the_slice_of_its_codes(codes, start, length):
    padded = np.full(200, N, dtype=np.uint8)
    padded[50 : 50 + len(codes)] = codes
    expected = padded[50 + start : 50 + start + length]
    np.testing.assert_array_equal(unpack(pack(codes), start, start + length), expected)


@given(CODES)
def test_packing_takes_three_bits_a_base(codes):
    packed = pack(codes)
    assert len(packed.bases) == -(-len(codes) // 4)
    assert len(packed.unknown) == -(-len(codes) // 8)
    assert packed.length == len(codes)


@given(CODES)
def test_reverse_complement_twice_is_identity(codes):
    np.testing.assert_array_equal(reverse_complement(reverse_complement(codes)), codes)


@given(st.text("ACGTNacgtn", max_size=50))
def test_reverse_complement_equals_biopython(text):
    other = str(Seq(text).reverse_complement())
    np.testing.assert_array_equal(reverse_complement(encode(text)), encode(other))


def test_a_packed_genome_is_read_back_as_it_was_written(fasta, tmp_path):
    genome = Genome(fasta)
    packed = {chrom: genome.packed(chrom) for chrom in SIZES}
    write_packed(tmp_path / "genome.parquet", packed)
    back = read_packed(tmp_path / "genome.parquet")
    assert list(back) == list(packed)
    for chrom, size in SIZES.items():
        assert back[chrom].length == size
        np.testing.assert_array_equal(
            unpack(back[chrom], -9, size + 9), genome.codes(chrom, -9, size + 9)
        )


def test_a_folder_closed_to_writing_is_left_as_it_is(fasta, tmp_path, monkeypatch):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    compressed = bgzf(fasta, tmp_path / "genome.fa.gz")
    half_indexed = bgzf(fasta, tmp_path / "half.fa.gz")
    Genome(half_indexed)
    Path(f"{half_indexed}.gzi").unlink()
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.setattr(module.tempfile, "tempdir", str(scratch))
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    for path in (fasta, compressed, half_indexed):
        assert (
            Genome(path).codes("chrA", 0, 9).tolist() == encode(records(fasta)["chrA"][:9]).tolist()
        )
    assert sorted(tmp_path.rglob("*")) == before


def test_an_index_older_than_its_genome_is_made_anew(fasta):
    assert Genome(fasta).chromsizes == SIZES
    write_fasta(fasta, {"other": 10})
    os.utime(f"{fasta}.fai", (0, 0))
    assert Genome(fasta).chromsizes == {"other": 10}


def refused(path, content):
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        Genome(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message


def test_plain_gzip_is_refused_and_bgzip_offered(tmp_path):
    message = refused(tmp_path / "a.fa.gz", gzip.compress(b">a\nACGT\n"))
    assert "is plain gzip" in message
    assert "`gunzip -c a.fa.gz | bgzip > new.fa.gz`" in message


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b">a\nACGT\nAC\nACGT\n", "Line length"),
        (b">a\nACGT\n>a\nACGT\n", "Duplicate key"),
        (b">\nACGT\n", "Bad sequence name"),
        (b">\xff\xfe\nACGT\n", "decode"),
    ],
)
def test_a_genome_that_cannot_be_indexed_is_refused_with_the_reason(tmp_path, content, reason):
    message = refused(tmp_path / "a.fa", content)
    assert reason in message
    assert "rewrite it" in message


@pytest.mark.parametrize("content", [b"", b"ACGT\n", b"\x89HDF\r\n", b"\n>a\nACGT\n"])
def test_what_does_not_begin_as_FASTA_is_refused(tmp_path, content):
    assert "is not FASTA" in refused(tmp_path / "a.fa", content)


@pytest.mark.parametrize("share", [0.999, 0.5, 0.001])
def test_a_bgzf_that_was_cut_off_is_refused_each_time(tmp_path, share):
    whole = bgzf(write_fasta(tmp_path / "a.fa", {"a": 400_000}), tmp_path / "a.fa.gz").read_bytes()
    for _ in range(2):  # a first try must leave no index that lets a second one pass
        message = refused(tmp_path / "cut.fa.gz", whole[: int(share * len(whole))])
        assert "fetch it anew" in message


def test_a_name_that_lies_about_compression_is_refused(tmp_path):
    assert "plain FASTA (.fa) or BGZF (.fa.gz)" in refused(tmp_path / "a.fa.gz", b">a\nACGT\n")


def test_a_missing_genome_is_refused():
    with pytest.raises(UserError, match=r"absent.fa does not exist; give the FASTA"):
        Genome(Path("absent.fa"))
