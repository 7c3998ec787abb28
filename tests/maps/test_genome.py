import gzip

import numpy as np
import pytest
from Bio import SeqIO
from Bio.Seq import Seq
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

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
from tests.shared_data import bgzf, shared_data, write_fasta

CODES = hnp.arrays(np.uint8, st.integers(0, 70), elements=st.integers(0, 4))
SIZES = {"chrA": 1_000, "chrB": 61, "chrC": 1}


def letters_to_codes(text):
    return np.array([{"A": 0, "C": 1, "G": 2, "T": 3}.get(x, 4) for x in text.upper()], np.uint8)


def records(path):
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt") as file:
        return {record.id: str(record.seq) for record in SeqIO.parse(file, "fasta")}


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
