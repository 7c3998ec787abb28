import gzip
from dataclasses import replace
from pathlib import Path

import cooler
import h5py
import numpy as np
import pytest

from hicray.config import DataConfig, ModelConfig, UserError
from hicray.maps.check import check_data, check_model, require_genome
from tests.shared_data import shared_data, write_fasta, write_holes, write_map

SIZES = {"chrA": 60_000, "chrB": 40_300, "chrC": 33_000}
BIN = 1_000


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A map and its genome in which nothing is wrong."""
    folder = tmp_path_factory.mktemp("files")
    base, out = write_map(folder / "base.cool", SIZES, BIN), folder / "map.mcool"
    cooler.zoomify_cooler(base, str(out), [BIN, 2 * BIN], chunksize=1_000_000)
    for size in (BIN, 2 * BIN):
        with h5py.File(out, "r+") as file:
            bins = file[f"resolutions/{size}/bins"]
            bins["weight"] = np.ones(len(bins["chrom"]))
    return DataConfig(
        contacts=(str(out),),
        genome=str(write_fasta(folder / "genome.fa", SIZES)),
        fine_bin_size=BIN,
        coarse_bin_sizes=(2 * BIN, 4 * BIN),
        split="val=chrB;test=chrC",
        window_bins=32,
    )


def refused(config, **changes):
    with pytest.raises(UserError) as caught:
        check_data(replace(config, **changes))
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_what_was_found_is_told_a_line_each(files):
    lines = check_data(files)
    assert lines == [
        f"{files.genome}: 3 sequences, 133,300 bp",
        f"{files.contacts[0]}: bins of 1,000, 2,000 bp",
        "  no bins of 4,000 bp: will be summed from 1,000 bp",
        "  train: chrA, 60,000 bp",
        "  val: chrB, 40,300 bp",
        "  test: chrC, 33,000 bp",
    ]


def test_a_real_map_and_its_genome_pass():
    config = DataConfig(
        contacts=(str(shared_data("yeast_g1/scer_w303_g1.mcool")),),
        genome=str(shared_data("yeast_g1/sacCer3.fa.gz")),
        split="val=chrII;test=chrVII",
    )
    lines = check_data(config)
    assert "17 sequences, 12,157,105 bp" in lines[0]
    assert lines[1].endswith("bins of 2,000, 4,000, 8,000, 16,000 bp")
    assert lines[2] == "  train: chrIV, chrXII, chrXIII, chrXV, chrXVI, 5,573,898 bp"
    assert lines[3:5] == ["  val: chrII, 813,184 bp", "  test: chrVII, 1,090,940 bp"]
    assert lines[5].startswith("  not trained on: chrI, chrIII, chrV, chrVI, chrVIII and ")


def test_a_genome_without_a_map_is_refused(files):
    message = refused(files, contacts=())
    assert "contacts none" in message
    assert "give both --contacts MAP and --genome FASTA" in message


def test_a_map_without_a_genome_passes_and_that_is_said(files):
    alone, whole = check_data(replace(files, genome="")), check_data(files)
    assert alone == ["no genome: for networks that read no DNA", *whole[1:]]


@pytest.mark.parametrize("arm", ["on", "composition", "elsewhere"])
def test_an_arm_that_reads_DNA_needs_a_genome(files, arm):
    with pytest.raises(UserError, match=f"^arms {arm} read DNA, .*give --genome FASTA, or --arms"):
        require_genome(replace(files, genome=""), ("off", "blank", arm))
    require_genome(replace(files, genome=""), ("off", "blank"))
    require_genome(files, ("off", arm))
    require_genome(DataConfig(), ("off", arm))  # a simulation has its own


def test_regions_are_told_as_they_will_be_used(files):
    split = "val=chrB;test=chrA:40001-60000"
    lines = check_data(replace(files, split=split, window_bins=16))
    assert lines[3:] == [
        "  train: chrA:0-28000, chrC, 61,000 bp",
        "  val: chrB, 40,300 bp",
        "  test: chrA:44000-60000, 16,000 bp",
    ]


def test_a_region_that_leaves_nothing_to_train_is_refused(files):
    message = refused(files, split="val=chrB,chrC;test=chrA:20k-60k")
    assert "leaves no region to train" in message
    assert "must lie a window's length from what is held out" in message
    message = refused(files, split="val=chrB,chrC;test=chrA:28k-60k", window_bins=16)
    assert "the longest train region has 12 bins of 1,000 bp, a window needs 16 of 16" in message


# maps ---------------------------------------------------------------------------------------------


def test_a_missing_map_is_refused(files):
    assert refused(files, contacts=("a.mcool",)).startswith("contact map a.mcool does not exist")


def test_a_map_that_is_not_HDF5_is_refused(files):
    message = refused(files, contacts=(files.genome,))
    assert f"{files.genome} is neither HDF5" in message
    assert "convert it anew" in message


def test_an_absent_fine_resolution_is_refused_with_what_there_is(files):
    message = refused(files, fine_bin_size=6_000, coarse_bin_sizes=(12_000,))
    assert "no bins of 6,000 bp; it has 1,000, 2,000: choose one of them" in message
    assert "`cooler zoomify -r 6000" in message


@pytest.mark.parametrize("size", [1_500, 500, 0, -2_000])
def test_coarse_bins_that_hold_no_whole_number_of_fine_ones_are_refused(files, size):
    message = refused(files, coarse_bin_sizes=(2_000, size))
    assert f"coarse bins of {size:,} bp are not made of whole fine bins of 1,000 bp" in message
    assert "give a multiple, such as 2,000" in message


@pytest.mark.parametrize("size", [0, -1_000])
def test_fine_bins_of_no_size_are_refused(files, size):
    assert f"fine bins of {size:,} bp" in refused(files, fine_bin_size=size)


def test_no_coarse_bins_at_all_are_refused(files):
    assert "give --coarse-bin-sizes" in refused(files, coarse_bin_sizes=())


def test_coarse_bins_as_fine_as_the_fine_ones_need_thinned_reads(files):
    assert "thin the reads by --coarse-keep" in refused(files, coarse_bin_sizes=(BIN,))
    assert check_data(replace(files, coarse_bin_sizes=(BIN,), coarse_keep=0.5))


@pytest.mark.parametrize(
    ("option", "value"),
    [("coarse_keep", 0.0), ("coarse_keep", -0.1), ("coarse_keep", 1.5), ("min_usable", 70.0)],
)
def test_a_share_beyond_one_is_refused(files, option, value):
    message = refused(files, **{option: value})
    assert f"--{option.replace('_', '-')} {value:g} is no fraction; give one in (0, 1]" in message


def test_bins_of_variable_size_are_refused(files):
    toy = str(shared_data("odd/cooler_toy.symm.upper.var.cool"))
    assert "bins of variable size" in refused(files, contacts=(toy,))


def test_a_map_given_twice_is_refused(files):
    assert "given twice" in refused(files, contacts=files.contacts * 2)


def test_maps_of_two_assemblies_are_refused(files, tmp_path):
    longer = {**SIZES, "chrD": 50_000}
    other = write_map(tmp_path / "b.cool", longer, BIN, weights="weight")
    genome = str(write_fasta(tmp_path / "b.fa", longer))
    message = refused(files, contacts=(*files.contacts, other), genome=genome)
    assert f"{other} has other chromosomes or lengths than {files.contacts[0]}" in message
    assert "prepare them apart" in message


@pytest.mark.parametrize("size", [BIN, 2 * BIN])
def test_pixels_that_prepare_would_refuse_are_refused_at_every_level(files, tmp_path, size):
    path = tmp_path / "b.mcool"
    path.write_bytes(Path(files.contacts[0]).read_bytes())
    with h5py.File(path, "r+") as file:
        pixels = file[f"resolutions/{size}/pixels"]
        pixels["count"][len(pixels["count"]) - 1] = -2  # of a chromosome that is tested on
    message = refused(files, contacts=(str(path),))
    assert message.startswith(f"{path}::/resolutions/{size} has the count -2 at chrC:32,000, chrC:")
    assert "counts are 0 or more" in message
    if size != BIN:  # which a thinned map is not made of
        assert check_data(replace(files, contacts=(str(path),), coarse_keep=0.5))


# map against genome -------------------------------------------------------------------------------


def test_chromosomes_that_the_genome_lacks_are_refused_by_name(files, tmp_path):
    genome = str(write_fasta(tmp_path / "b.fa", {"chrA": SIZES["chrA"], "chrZ": 500}))
    message = refused(files, genome=genome)
    assert "chromosomes chrB, chrC of" in message
    assert f"are not in {genome}; the FASTA has chrA, chrZ: give the one" in message
    assert "--split 'train=...;val=...;test=...'" in message


def test_a_long_list_of_chromosomes_is_cut(files, tmp_path):
    genome = str(write_fasta(tmp_path / "b.fa", {f"s{i}": 10 for i in range(9)}))
    assert "the FASTA has s0, s1, s2, s3, s4 and 4 more:" in refused(files, genome=genome)


@pytest.mark.parametrize("extra", [{}, {"chrM": 100}])
def test_names_that_differ_only_in_chr_are_refused_with_the_option_that_matches_them(
    files, tmp_path, extra
):
    bare = {chrom.removeprefix("chr"): size for chrom, size in SIZES.items()}
    config = replace(files, genome=str(write_fasta(tmp_path / "b.fa", bare)))
    if extra:  # one that is really absent does not hide the rest
        path = write_map(tmp_path / "b.cool", SIZES | extra, BIN, weights="weight")
        config = replace(config, contacts=(path,))
    message = refused(config)
    assert "chromosomes chrA, chrB, chrC of" in message
    assert "they differ only in 'chr': --match-chr takes them as the same" in message
    if extra:
        assert "chromosomes chrM of" in refused(config, match_chr=True)
    else:
        assert check_data(replace(config, match_chr=True))


def test_one_like_name_among_others_is_another_genome(files, tmp_path):
    genome = str(write_fasta(tmp_path / "b.fa", {"A": SIZES["chrA"], "Z": 500}))
    assert "--match-chr" not in refused(files, genome=genome)


def test_a_length_that_differs_is_refused_with_both_lengths(files, tmp_path):
    genome = str(write_fasta(tmp_path / "b.fa", SIZES | {"chrB": 40_299}))
    message = refused(files, genome=genome)
    assert f"chrB is 40,300 bp in {files.contacts[0]}" in message
    assert f"but 40,299 bp in {genome}; give the FASTA that the map was aligned to" in message


def test_a_chromosome_left_out_of_the_split_may_differ(files, tmp_path):
    sizes = SIZES | {"chrD": 50_000}
    path = write_map(tmp_path / "b.cool", sizes, BIN, weights="weight")
    config = replace(files, contacts=(path,))
    assert "chromosomes chrD of" in refused(config)
    assert check_data(replace(config, split="train=chrA;val=chrB;test=chrC"))


def test_an_empty_record_is_refused_where_it_is_needed(files, tmp_path):
    genome = tmp_path / "b.fa"
    whole = Path(files.genome).read_text().split(">")
    genome.write_text(">".join([*whole[:2], "chrB\n", whole[3]]) + ">empty\n")
    message = refused(files, genome=str(genome))
    assert f"chrB is empty in {genome}, a header without bases; give the whole FASTA" in message
    genome.write_text(">".join(whole) + ">empty\n")
    assert check_data(replace(files, genome=str(genome)))


def test_a_plainly_gzipped_genome_is_refused(files, tmp_path):
    path = tmp_path / "genome.fa.gz"
    path.write_bytes(gzip.compress(Path(files.genome).read_bytes()))
    message = refused(files, genome=str(path))
    assert "is plain gzip" in message
    assert "| bgzip >" in message


def test_a_genome_of_ragged_lines_is_refused(files, tmp_path):
    path = tmp_path / "genome.fa"
    path.write_text(">chrA\nACGT\nAC\nACGT\n")
    message = refused(files, genome=str(path))
    assert "cannot be indexed" in message
    assert "seqkit seq -w 80" in message


# weights ------------------------------------------------------------------------------------------


def test_a_map_without_weights_is_refused_unless_raw(files, tmp_path):
    path = write_map(tmp_path / "b.cool", SIZES, BIN)
    message = refused(files, contacts=(path,))
    assert "has no balancing weights 'weight'" in message
    assert "`cooler balance" in message
    assert "--raw" in message
    assert check_data(replace(files, contacts=(path,), raw=True))


def test_a_coarse_level_without_weights_is_refused(files, tmp_path):
    path = tmp_path / "b.mcool"
    path.write_bytes(Path(files.contacts[0]).read_bytes())
    with h5py.File(path, "r+") as file:
        del file["resolutions/2000/bins/weight"]
    assert f"{path}::/resolutions/2000 has no" in refused(files, contacts=(str(path),))


def test_thinning_needs_weights_of_the_fine_map_unless_that_is_thinned_too(files, tmp_path):
    path = write_map(tmp_path / "b.cool", SIZES, BIN)
    config = replace(files, contacts=(path,), coarse_keep=0.5)
    assert "has no balancing weights" in refused(config)
    assert check_data(replace(config, disjoint_reads=True))


def test_divisive_weights_alone_are_refused_and_taken_by_name(files, tmp_path):
    path = write_map(tmp_path / "b.cool", SIZES, BIN, weights="KR")
    message = refused(files, contacts=(path,))
    assert "has only Juicer's divisive weights (KR), not 'weight'" in message
    assert "--weights KR" in message
    assert check_data(replace(files, contacts=(path,), weights="KR"))


@pytest.mark.parametrize(
    ("name", "bin_size", "split"),
    [
        ("hic2cool_0.7.0_multi_res.mcool", 1_000_000, "train=20;val=21;test=22"),
        (
            "hicstraw_test_chr22.5k_to_2.5M.hic",
            25_000,
            "train=22:17M-30M;val=22:32M-40M;test=22:42M-50M",
        ),
    ],
)
def test_real_juicer_maps_are_refused_or_taken_by_name(files, tmp_path, name, bin_size, split):
    path = str(shared_data(f"odd/{name}"))
    prefix = "chr" if path.endswith("mcool") else ""
    sizes = {f"{prefix}20": 63_025_520, f"{prefix}21": 48_129_895, f"{prefix}22": 51_304_566}
    config = replace(
        files,
        contacts=(path,),
        genome=str(write_holes(tmp_path / "hg19.fa", sizes)),
        split=split,
        fine_bin_size=bin_size,
        coarse_bin_sizes=(2 * bin_size,),
    )
    assert "only Juicer's divisive weights (KR, VC, VC_SQRT)" in refused(config)
    assert check_data(replace(config, weights="VC"))


# split and window ---------------------------------------------------------------------------------


def test_a_split_that_names_an_absent_chromosome_is_refused(files):
    message = refused(files, split="val=chrB;test=chrZ")
    assert "test chromosome chrZ is not in the map, which has chrA, chrB, chrC" in message
    assert "--split 'val=...;test=...'" in message


def test_a_split_of_an_unknown_name_is_refused(files):
    assert "split 'nonsense' is not known; name one of orca," in refused(files, split="nonsense")


def test_a_split_that_leaves_nothing_to_train_is_refused(files):
    message = refused(files, split="val=chrA,chrB;test=chrC")
    assert "leaves no chromosome to train, of chrA, chrB, chrC" in message


def test_a_map_too_small_for_one_window_is_refused(files):
    message = refused(files, window_bins=48)
    assert "the longest test chromosome has 33 bins of 1,000 bp, a window needs 34 of 48" in message
    assert "--window-bins or --fine-bin-size" in message
    assert check_data(replace(files, window_bins=48, min_usable=0.5))
    message = refused(files, window_bins=64, min_usable=0.5)
    assert (
        "the longest train chromosome has 60 bins of 1,000 bp, a window needs 64 of 64" in message
    )


def test_short_and_mitochondrial_chromosomes_do_not_train_and_all_that_do_are_named(
    files, tmp_path
):
    sizes = SIZES | {f"chr{n}": 40_000 for n in range(6)} | {"chrM": 90_000, "chrS": 31_999}
    path = write_map(tmp_path / "b.cool", sizes, BIN, weights="weight")
    lines = check_data(
        replace(files, contacts=(path,), genome=str(write_fasta(tmp_path / "b.fa", sizes)))
    )
    assert lines[-4:] == [
        "  train: chrA, chr0, chr1, chr2, chr3, chr4, chr5, 300,000 bp",
        "  val: chrB, 40,300 bp",
        "  test: chrC, 33,000 bp",
        "  not trained on: chrM, chrS, as mitochondrial or shorter than a window of 32,000 bp",
    ]


# networks -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoder", ["frozen", "tuned"])
def test_an_encoder_without_weights_is_refused(encoder, tmp_path):
    with pytest.raises(UserError, match=f"--encoder {encoder} needs published weights; give"):
        check_model(ModelConfig(encoder=encoder))
    with pytest.raises(UserError, match=r"absent.pth.tar do not exist; give the file's path"):
        check_model(ModelConfig(encoder=encoder, encoder_weights="absent.pth.tar"))
    weights = tmp_path / "weights.safetensors"
    weights.touch()
    check_model(ModelConfig(encoder=encoder, encoder_weights=str(weights)))


def test_weights_that_would_not_be_used_are_refused():
    with pytest.raises(UserError, match=r"scratch would not use --encoder-weights a.pth.tar; say"):
        check_model(ModelConfig(encoder_weights="a.pth.tar"))
    check_model(ModelConfig())
