"""What a user gets wrong: one sentence, exit code 2, nothing written, Ray never started."""

import gzip
import re
import subprocess
import sys

import pytest

from tests.buckets import free_port
from tests.command_line import SIZES, words
from tests.shared_data import shared_data, write_fasta, write_holes, write_map

HG19 = {"20": 63_025_520, "21": 48_129_895, "22": 51_304_566}
HG19_CHR = {f"chr{name}": size for name, size in HG19.items()}
YEAST = "--fine-bin-size 2000 --split val=chrII;test=chrVII"
JUICER = "only Juicer's divisive weights (KR, VC, VC_SQRT)"
ODD = {  # file: sizes of a genome that suits it, options, what is said
    "chromosight_scer_w303_g1_2kb_ORIGINAL.cool": (
        {"chrI": 230_218, "chrII": 813_184},
        "--fine-bin-size 2000 --split val=chr2;test=chr7",
        "are not in",
    ),
    "hicstuff_example_1kb_noweights.cool": (
        {"chr": 1_222_000},
        "--fine-bin-size 1000 --split val=chr;test=chr",
        "has chromosome chr in both val and test",
    ),
    "calder_hg38_chr21_22.50k_100k_250k.mcool": (
        {"chr21": 46_709_983, "chr22": 50_818_468},
        "--fine-bin-size 50000 --coarse-bin-sizes 100000 200000 --split val=chr21;test=chr22",
        "leaves no chromosome to train",
    ),
    "4dn_test.multires.cool": (HG19_CHR, "", "has no bins of 4,000 bp; it has 100,000, 200,000,"),
    "hic2cool_0.7.0_multi_res.mcool": (
        HG19_CHR,
        "--fine-bin-size 1000000 --coarse-bin-sizes 2000000 --window-bins 32 "
        "--split train=20;val=21;test=22",
        JUICER,
    ),
    "hicognition_bad_cooler.mcool": (SIZES, "", "is neither HDF5"),
    "cooler_toy.symm.upper.var.cool": (SIZES, "", "variable size"),
    "cooler_scool_test_file.scool": (SIZES, "", "choose one as"),
    "hicstraw_test_chr22.5k_to_2.5M.hic": (
        HG19,
        "--fine-bin-size 5000 --coarse-bin-sizes 10000 --split train=20;val=21;test=22",
        JUICER,
    ),
}
ODD_FASTA = {
    "chrI_N_run_and_iupac.fa": "chromosomes chrII, chrIII,",
    "chrI_truncated.fa": "chromosomes chrII, chrIII,",
    "chrI_plain_gzip.fa.gz": "is plain gzip",
    "chrI_ragged_lines.fa": "cannot be indexed",
}


def test_every_odd_file_has_a_case():
    folder = shared_data("odd")
    maps = {path.name for path in folder.iterdir() if path.suffix not in ("", ".md", ".tsv")}
    assert maps == set(ODD)
    assert {path.name for path in folder.glob("fasta/*") if path.suffix != ".fai"} == set(ODD_FASTA)


@pytest.mark.parametrize("verb", ["check", "prepare"])
@pytest.mark.parametrize("name", ODD)
def test_every_odd_map_is_one_sentence(refused, tmp_path, name, verb):
    sizes, options, says = ODD[name]
    path, genome = shared_data(f"odd/{name}"), write_holes(tmp_path / "genome.fa", sizes)
    assert says in refused(verb, "--contacts", path, "--genome", genome, *options.split())


@pytest.mark.parametrize("name", ODD)
def test_every_odd_map_with_defaults_is_one_sentence(refused, name):
    path, genome = shared_data(f"odd/{name}"), shared_data("yeast_g1/sacCer3.fa.gz")
    assert name in refused("check", "--contacts", path, "--genome", genome)


@pytest.fixture
def odd_genome(tmp_path):
    """Copy an odd FASTA: its index is written beside it."""

    def copy(name):
        path = tmp_path / name
        path.write_bytes(shared_data(f"odd/fasta/{name}").read_bytes())
        return path

    return copy


@pytest.mark.parametrize("name", ODD_FASTA)
def test_every_odd_genome_is_one_sentence(refused, odd_genome, name):
    contacts, genome = shared_data("yeast_g1/scer_w303_g1.mcool"), odd_genome(name)
    said = refused("check", "--contacts", contacts, "--genome", genome, *YEAST.split())
    assert ODD_FASTA[name] in said


def test_a_genome_cut_short_is_one_sentence_with_both_lengths(refused, odd_genome, tmp_path):
    genome = odd_genome("chrI_truncated.fa")
    with genome.open("a") as file:
        file.writelines(f">{chrom}\n{'A' * size}\n" for chrom, size in SIZES.items())
    sizes = {"chrI": 230_218} | SIZES
    contacts = write_map(tmp_path / "map.cool", sizes, 5_000, weights="weight")
    options = "--fine-bin-size 5000 --coarse-bin-sizes 10000 --split val=chrA;test=chrB"
    said = refused("check", "--contacts", contacts, "--genome", genome, *options.split())
    assert "chrI is 230,218 bp in" in said
    assert "but 200,000 bp in" in said


def plain_gzip(folder):
    path = folder / "genome.fa.gz"
    path.write_bytes(gzip.compress(b">chrA\nACGT\n"))
    return {"--genome": path}


def ragged(folder):
    path = folder / "genome.fa"
    path.write_text(">chrA\nACGT\nAC\nACGT\n")
    return {"--genome": path}


def text(folder):
    (folder / "map.mcool").write_text("no HDF5")
    return {"--contacts": folder / "map.mcool"}


def bare_names(folder):
    sizes = {chrom.removeprefix("chr"): size for chrom, size in SIZES.items()}
    return {"--genome": write_fasta(folder / "genome.fa", sizes)}


def other_lengths(folder):
    return {"--genome": write_fasta(folder / "genome.fa", SIZES | {"chrB": 40_000})}


def other_names(folder):
    return {"--genome": write_fasta(folder / "genome.fa", {"chrA": SIZES["chrA"]})}


def unweighted(folder):
    return {"--contacts": write_map(folder / "map.cool", SIZES, 1_000)}


def divisive(folder):
    return {"--contacts": write_map(folder / "map.cool", SIZES, 1_000, weights="KR")}


MISTAKES = {
    "no map": (lambda _: {"--contacts": "a.mcool"}, "a.mcool does not exist"),
    "no genome": (lambda _: {"--genome": "a.fa"}, "a.fa does not exist"),
    "not HDF5": (text, "is neither HDF5"),
    "no resolution": (lambda _: {"--fine-bin-size": 500}, "it has 1,000: choose one"),
    "no multiple": (lambda _: {"--coarse-bin-sizes": 1_500}, "give a multiple, such as 2,000"),
    "other names": (other_names, "chromosomes chrB, chrC of"),
    "other lengths": (other_lengths, "chrB is 40,300 bp"),
    "chr": (bare_names, "--match-chr"),
    "no weights": (unweighted, "--raw"),
    "divisive weights": (divisive, "--weights KR"),
    "small map": (lambda _: {"--window-bins": 64}, "a window needs 64 of 64"),
    "absent chromosome": (lambda _: {"--split": "val=chrB;test=chr7"}, "chr7 is not in the map"),
    "unknown split": (lambda _: {"--split": "nonsense"}, "name one of orca"),
    "plain gzip": (plain_gzip, "bgzip"),
    "ragged": (ragged, "seqkit"),
}


@pytest.mark.parametrize("verb", ["check", "prepare"])
@pytest.mark.parametrize("mistake", MISTAKES)
def test_every_mistake_is_one_sentence(refused, files, tmp_path, mistake, verb):
    make, says = MISTAKES[mistake]
    assert says in refused(verb, *words(files | make(tmp_path)))


def test_prepare_leaves_its_storage_unmade_when_it_refuses(refused, files, tmp_path):
    storage = tmp_path / "storage"
    refused("prepare", *words(files | {"--split": "nonsense", "--storage": storage}))
    assert not storage.exists()


def test_a_storage_of_no_known_kind_is_refused(refused, files):
    said = refused("prepare", *words(files | {"--storage": "gs://bucket/run"}))
    assert "gs://bucket/run is of no known kind; give a folder, or s3://bucket/folder" in said


def test_a_bucket_that_does_not_answer_is_refused(refused, files, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    said = refused("prepare", *words(files | {"--storage": "s3://nobodys/run"}))
    assert "s3://nobodys/run cannot be written" in said


def test_training_on_DNA_without_a_genome_is_one_sentence(refused, files):
    given = words({name: value for name, value in files.items() if name != "--genome"})
    for verb in ("check", "train"):
        assert "read DNA, which no --genome gives" in refused(verb, *given)


def test_baselines_of_a_split_by_region_are_one_sentence(refused, files):
    said = refused(
        "baselines", "--contacts", files["--contacts"], "--fine-bin-size", "1000",
        "--coarse-bin-size", "2000", "--window-bins", "16", "--out", "b",
        "--split", "val=chrB;test=chrA:40k-60k",
    )  # fmt: skip
    assert "is by region, and baselines are made of whole chromosomes" in said


def test_checking_nothing_is_one_sentence(refused):
    assert "give both --contacts MAP and --genome FASTA" in refused("check")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["bogus"],
        ["check", "--bogus"],
        ["check", "--bogus", "1"],
        ["check", "--fine-bin-size", "4kb"],
        ["check", "--encoder", "melted"],
        ["prepare", "--depth", "3"],
        ["train", "--epochs"],
        ["simulate"],
    ],
)
def test_options_that_do_not_parse_exit_with_2(hicray, work, arguments):
    code, out, err = hicray(*arguments)
    assert (code, out) == (2, "")
    assert err
    assert "Traceback" not in err
    assert not list(work.iterdir())


def test_a_real_map_passes_and_is_described(hicray, work):
    contacts = shared_data("yeast_g1/scer_w303_g1.mcool")
    genome = shared_data("yeast_g1/sacCer3.fa.gz")
    code, out, err = hicray("check", "--contacts", contacts, "--genome", genome, *YEAST.split())
    assert (code, err) == (0, "")
    assert f"{genome}: 17 sequences, 12,157,105 bp" in out
    assert "bins of 2,000, 4,000, 8,000, 16,000 bp" in out
    assert "test: chrVII, 1,090,940 bp" in out
    assert "no verdict, which takes 8 blocks; " in out
    assert not list(work.iterdir())


def test_a_map_in_which_nothing_is_wrong_passes(hicray, files):
    code, out, err = hicray("check", *words(files))
    assert (code, err) == (0, "")
    assert "no bins of 2,000 bp: will be summed from 1,000 bp" in out
    assert re.search(r"\d+ test windows in \d+ blocks?: ", out)
    assert out.endswith("nothing is wrong with them\n")


def test_a_process_of_its_own_says_no_more_than_the_sentence(files, tmp_path):
    arguments = ["check", *words(files | {"--contacts": "a.mcool"})]
    done = subprocess.run(
        [sys.executable, "-c", "from hicray.cli.main import main; main()", *map(str, arguments)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (
        "hicray: contact map a.mcool does not exist; give a .mcool, .cool or .hic file\n"
    )
    assert not list(tmp_path.iterdir())
