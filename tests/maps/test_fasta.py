"""FASTA files as people have them: indices of other files, odd lines, closed folders."""

import gzip
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from hicray.config import UserError
from hicray.maps import fasta as module
from hicray.maps.genome import Genome, encode
from tests.shared_data import bgzf, write_fasta

SIZES = {"chrA": 1_000, "chrB": 61, "chrC": 1}


@pytest.fixture
def fasta(tmp_path):
    return write_fasta(tmp_path / "genome.fa", SIZES)


def bases(path):
    """The bases of a plain FASTA, read line by line."""
    records = path.read_text().split(">")[1:]
    return {r.split()[0]: "".join(r.splitlines()[1:]) for r in records}


def read(path):
    genome = Genome(path)
    return {chrom: genome.codes(chrom, 0, size) for chrom, size in genome.chromsizes.items()}


def assert_read(path, plain):
    """That a file reads as the bases of a plain one."""
    genome, right = Genome(path), bases(plain)
    assert genome.chromsizes == {chrom: len(sequence) for chrom, sequence in right.items()}
    for chrom, sequence in right.items():
        for start in range(0, len(sequence), len(sequence) // 16 or 1):
            found = genome.codes(chrom, start, len(sequence))
            np.testing.assert_array_equal(found, encode(sequence[start:]))


@pytest.fixture(params=["plain", "bgzf"])
def indexed(request, fasta, tmp_path):
    """A FASTA with a right index beside it, and the plain file of the same bases."""
    path = fasta if request.param == "plain" else bgzf(fasta, tmp_path / "genome.fa.gz")
    Genome(path)
    return path, fasta


def indices(path):
    return sorted(path.parent.glob(f"{path.name}.*i"))


# an index that is there ---------------------------------------------------------------------------


@pytest.mark.parametrize("time", [0, 4e9])
def test_a_right_index_is_used_whatever_its_time(indexed, time):
    path, plain = indexed
    for one in indices(path):
        os.utime(one, (time, time))
    before = {one: (one.stat().st_mtime_ns, one.stat().st_ino) for one in indices(path)}
    assert_read(path, plain)
    assert {one: (one.stat().st_mtime_ns, one.stat().st_ino) for one in before} == before


OTHERS = [
    {"chrX": 1_000, "chrB": 61, "chrC": 1},  # a name alone
    SIZES | {"chrB": 62},  # a base more, which moves what follows
    {"chrA": 1_000, "chrB": 61},  # a sequence fewer
    SIZES | {"chrD": 70},  # and one more
]


@pytest.mark.parametrize("time", [0, 4e9])
@pytest.mark.parametrize("sizes", OTHERS)
def test_an_index_of_another_file_is_made_anew_whatever_its_time(indexed, tmp_path, sizes, time):
    path, _ = indexed
    other = write_fasta(tmp_path / "other.fa", sizes)
    if path.suffix == ".gz":
        bgzf(other, path)
    else:
        path.write_bytes(other.read_bytes())
    for one in indices(path):
        os.utime(one, (time, time))
    assert_read(path, other)
    assert Path(f"{path}.fai").read_text().split()[::5] == list(sizes)


@pytest.mark.parametrize("width", [59, 70])
def test_an_index_of_other_lines_in_a_file_of_the_same_size_is_made_anew(tmp_path, width):
    path = write_fasta(tmp_path / "a.fa", {"a": 100, "b": 80})
    Genome(path)
    size = path.stat().st_size
    write_fasta(path, {"a": 100, "b": 80}, width)
    assert path.stat().st_size == size
    os.utime(f"{path}.fai", (4e9, 4e9))
    assert_read(path, path)


@pytest.mark.parametrize("content", ["", "hello\n", "chrA\t1000\t6\t0\t0\n", "\t" * 4 + "\n"])
def test_an_empty_or_damaged_index_is_made_anew(indexed, content):
    path, plain = indexed
    Path(f"{path}.fai").write_text(content)
    assert_read(path, plain)
    assert Path(f"{path}.fai").read_text().startswith("chrA\t1000\t6\t60\t61\n")


@pytest.mark.parametrize("content", [b"", b"\xff" * 8, b"\1" + b"\0" * 7 + b"\1" * 16])
def test_a_damaged_index_of_blocks_is_made_anew(tmp_path, content):
    plain = write_fasta(tmp_path / "a.fa", {"a": 300_000, "b": 100})  # several blocks
    path = bgzf(plain, tmp_path / "a.fa.gz")
    Genome(path)
    right = Path(f"{path}.gzi").read_bytes()
    Path(f"{path}.gzi").write_bytes(content)
    assert_read(path, plain)
    assert Path(f"{path}.gzi").read_bytes() == right


def test_an_index_by_samtools_with_a_header_that_is_not_utf_8_serves(tmp_path):
    path = tmp_path / "a.fa"
    path.write_bytes(b">a caf\xe9\nACGT\n")
    Path(f"{path}.fai").write_text("a\t4\t8\t4\t5\n")
    assert read(path)["a"].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("end", ["", "\n", "\n\n", "\r\n"])
@pytest.mark.parametrize("ending", [".fa", ".fa.gz"])
def test_whatever_ends_a_file_its_index_is_made_once(tmp_path, end, ending):
    plain, path = tmp_path / "plain", tmp_path / f"a{ending}"
    line = "\r\n" if "\r" in end else "\n"
    plain.write_text(line.join([">a x", "ACGT", "AC", ">e", ">b", "GG", "T"]) + end, newline="")
    path = bgzf(plain, path) if path.suffix == ".gz" else Path(plain.rename(path))
    for _ in range(2):
        found = {chrom: codes.tolist() for chrom, codes in read(path).items()}
        assert found == {"a": [0, 1, 2, 3, 0, 1], "e": [], "b": [2, 2, 3]}
        made = [one.stat().st_ino for one in indices(path)]
    read(path)
    assert [one.stat().st_ino for one in indices(path)] == made


def test_lines_that_an_index_does_not_tell_of_are_one_sentence(tmp_path):
    path = tmp_path / "a.fa"
    path.write_text(">a\n" + "ACGT\n" + "AC\nT\n" + "ACGT\n")
    Path(f"{path}.fai").write_text("a\t12\t3\t4\t5\n")
    with pytest.raises(UserError, match=r"lines on a that its index .*; remove .*a.fa.fai"):
        Genome(path).packed("a")


# folders ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stale", [False, True])
def test_a_folder_closed_to_writing_is_left_as_it_is(fasta, tmp_path, monkeypatch, stale):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    compressed = bgzf(fasta, tmp_path / "genome.fa.gz")
    half_indexed = bgzf(fasta, tmp_path / "half.fa.gz")
    Genome(half_indexed)
    Path(f"{half_indexed}.gzi").unlink()
    if stale:
        Path(f"{fasta}.fai").write_text("chrA\t1000\t7\t60\t61\n")
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
    monkeypatch.setattr(module.tempfile, "tempdir", str(scratch))
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    for path in (fasta, compressed, half_indexed):
        assert_read(path, fasta)
    after = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
    assert after.keys() == before.keys()
    assert {p for p in before if after[p] != before[p]} <= {scratch}


def test_an_index_is_readable_to_others_and_alone(fasta):
    Genome(fasta)
    assert [path.name for path in sorted(fasta.parent.iterdir())] == ["genome.fa", "genome.fa.fai"]
    assert Path(f"{fasta}.fai").stat().st_mode == fasta.stat().st_mode


# refusals -----------------------------------------------------------------------------------------


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
    assert f"`gunzip -c {tmp_path}/a.fa.gz | bgzip > new.fa.gz`" in message


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b">a\nACGT\nAC\nACGT\n", "Line length"),
        (b">a\nACGT\n>a\nACGT\n", "Duplicate key"),
        (b">\nACGT\n", "Bad sequence name"),
    ],
)
def test_a_genome_that_cannot_be_indexed_is_refused_with_the_reason(tmp_path, content, reason):
    message = refused(tmp_path / "a.fa", content)
    assert reason in message
    assert "rewrite it" in message


ODD = [
    (b">a\nACGT \nACGT \nAC \n", "blanks among its bases"),
    (b">a\nACGT\nAC\t\n>b\nACGT\n", "blanks among its bases"),
    (b">a\nAC GT\nAC GT\n", "blanks among its bases"),
    (b">a\nACGT\r\nAC \r\n", "blanks among its bases"),
    (b">a\nAC\xa0GT\n", "the byte 0xa0 among its bases"),
    (b">a x\rACGT\rACGT\r", "line ends of old Macs"),
    (b">a x\rACGT\r\n>b\nACGT\n", "line ends of old Macs"),
    (b">a\nACGT\rACGT\rAC\n", "line ends of old Macs"),
    (b">a caf\xe9 x\nACGT\n", "a header that is not UTF-8, '>a caf\xe9 x'"),
    (b">caf\xe9\nACGT\n", "a header that is not UTF-8, '>caf\xe9'"),
]


@pytest.mark.parametrize(("content", "reason"), ODD)
@pytest.mark.parametrize("ending", [".fa", ".fa.gz"])
def test_odd_lines_are_refused_and_the_command_that_is_given_mends_them(
    tmp_path, content, reason, ending
):
    path = tmp_path / f"it's{ending}"
    plain = tmp_path / "plain"
    plain.write_bytes(content)
    if path.suffix == ".gz":
        content = bgzf(plain, path).read_bytes()
    message = refused(path, content)
    assert reason in message
    assert not indices(path)
    if path.suffix == ".gz":
        assert "| bgzip > new.fa.gz`" in message
        return
    command = message[message.index("`") + 1 : message.rindex("`")]
    subprocess.run(command, shell=True, check=True, cwd=tmp_path)
    found = "".join("ACGTN"[code] for codes in read(tmp_path / "new.fa").values() for code in codes)
    assert set(found) == set("ACGT")
    assert len(found) == sum(content.count(base) for base in b"ACGT")


def test_blanks_and_letters_of_any_language_in_headers_are_fine(tmp_path):
    path = tmp_path / "a.fa"
    path.write_text(">a caf\u00e9, \u67d3\u8272\u4f53 1 \nACGT\n>b\t2\nAC\n", encoding="utf-8")
    assert Genome(path).chromsizes == {"a": 4, "b": 2}


def test_odd_lines_are_found_wherever_a_block_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_BLOCK_BYTES", 7)
    path = tmp_path / "a.fa"
    path.write_bytes(b">a b c\r\nACGT\r\n" * 1 + b"ACGT\r\n" * 5)
    assert Genome(path).chromsizes == {"a": 24}
    message = refused(path, b">a b c\r\n" + b"ACGT\r\n" * 5 + b"ACG \r\n")
    assert "blanks among" in message


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
