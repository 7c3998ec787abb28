"""Preflight: what is wrong with these files, said before hours are spent."""

from collections.abc import Iterable, Mapping

from hicray.config import CONTEXT_HEADS, DataConfig, ModelConfig, SequenceMode, UserError
from hicray.io.copies import local
from hicray.maps.bins import (
    SPLIT_NAMES,
    SplitName,
    num_bins,
    parse_split,
    teaching,
)
from hicray.maps.contacts import ContactMap, open_map
from hicray.maps.contents import check_contents, require_lengths
from hicray.maps.genome import Genome
from hicray.maps.levels import levels
from hicray.maps.names import check_chromosomes, listed
from hicray.maps.split import Sets, assign, grid_of, region_name, split_sets

_GUARDED = ", as what trains must lie a window's length from what is held out"


def check_data(config: DataConfig) -> list[str]:
    """Check maps, genome and split against each other; return what was found, a line each.

    Raises:
        UserError: The first thing that would stop the work, in one sentence.
    """
    _check_options(config)
    sizes, lines = None, ["no genome: for networks that read no DNA"]
    if config.genome:
        sizes = Genome(config.genome).chromsizes
        lines = [f"{config.genome}: {len(sizes)} sequences, {sum(sizes.values()):,} bp"]
    chromsizes: Mapping[str, int] | None = None
    for uri in config.contacts:
        lines += _check_map(config, uri, sizes)
        fine = open_map(uri, config.fine_bin_size, weights_name=config.weights)
        if chromsizes is not None and dict(chromsizes) != dict(fine.chromsizes):
            raise UserError(
                f"{uri} has other chromosomes or lengths than {config.contacts[0]}; maps of one "
                "shard set must be of one assembly: prepare them apart"
            )
        chromsizes = fine.chromsizes
    return lines


def _check_options(config: DataConfig) -> None:
    """Check what can be known without opening a file."""
    if not config.contacts:
        raise UserError(
            f"contacts none and genome {config.genome or 'none'}: give both --contacts MAP and "
            "--genome FASTA (without either, `prepare` and `train` simulate both)"
        )
    if len(set(config.contacts)) < len(config.contacts):
        raise UserError(f"a map is given twice in {' '.join(config.contacts)}; name each once")
    for option, share in (("coarse-keep", config.coarse_keep), ("min-usable", config.min_usable)):
        if not 0 < share <= 1:
            raise UserError(f"--{option} {share:g} is no fraction; give one in (0, 1]")
    if not config.coarse_bin_sizes:
        raise UserError("there is no coarse bin size; give --coarse-bin-sizes, such as 8000 16000")
    for size in config.coarse_bin_sizes:
        _check_gap(config, size)


def _check_gap(config: DataConfig, coarse: int) -> None:
    fine = config.fine_bin_size
    if fine <= 0:
        raise UserError(f"fine bins of {fine:,} bp cannot be; give --fine-bin-size, such as 4000")
    if coarse < fine or coarse % fine:
        raise UserError(
            f"coarse bins of {coarse:,} bp are not made of whole fine bins of {fine:,} bp; give a "
            f"multiple, such as {2 * fine:,}"
        )
    if coarse == fine and config.coarse_keep == 1:
        raise UserError(
            f"coarse bins of {coarse:,} bp are the fine ones, so that nothing is left to sharpen; "
            f"give a multiple, such as {2 * fine:,}, or thin the reads by --coarse-keep"
        )


def require_genome(config: DataConfig, arms: Iterable[SequenceMode]) -> None:
    """Refuse to train on DNA that is not given.

    Args:
        config: The data set; one without a map is simulated, with its genome.
        arms: What is trained.

    Raises:
        UserError: An arm reads DNA, and there is a map but no genome.
    """
    reading = [arm for arm in arms if ModelConfig(sequence=arm).reads_dna]
    if config.contacts and not config.genome and reading:
        raise UserError(
            f"arms {', '.join(reading)} read DNA, which no --genome gives; give --genome FASTA, or "
            "--arms off (of `hicray train` and `check`, --sequence off)"
        )


def _check_map(config: DataConfig, uri: str, genome: Mapping[str, int] | None) -> list[str]:
    offered = levels(uri)
    fine = open_map(uri, config.fine_bin_size, weights_name=config.weights)
    split, grid = parse_split(config.split), grid_of(config)
    assigned = assign(split, fine.chromsizes, grid)
    sets = split_sets(split, fine.chromsizes, grid)
    if genome is not None:
        chroms = dict.fromkeys(region.chrom for region in assigned)
        check_chromosomes(
            fine, genome, chroms, fasta=config.genome, match_chr=config.match_chr,
            option="--split 'train=...;val=...;test=...'",
        )  # fmt: skip
    _check_window(config, fine, assigned)
    _check_bins(config, fine)
    # Thinned levels are made from the fine one and balanced anew: the file's own are not read.
    thinned = config.coarse_keep < 1
    read = () if thinned else tuple(b for b in config.coarse_bin_sizes if b in offered)
    if not (thinned and config.disjoint_reads):
        read = (config.fine_bin_size, *read)
    levels_read = {size: open_map(uri, size, weights_name=config.weights) for size in read}
    coarse = [level for size, level in levels_read.items() if size != config.fine_bin_size]
    for level in coarse:
        require_lengths(fine, level)
    for level in () if config.raw else levels_read.values():
        # Asked of one chromosome: a map that has no such weights says so.
        level.weights(next(iter(sets)).chrom)
    check_contents(fine, coarse, sets, config)
    missing = [size for size in config.coarse_bin_sizes if size not in offered]
    lines = [f"{uri}: bins of {', '.join(f'{size:,}' for size in sorted(offered))} bp"]
    if missing and not thinned:
        names = ", ".join(f"{size:,}" for size in missing)
        lines.append(f"  no bins of {names} bp: will be summed from {fine.bin_size:,} bp")
    lines += [_describe(name, sets, fine.chromsizes) for name in SPLIT_NAMES]
    unfit = [region_name(region, fine.chromsizes) for region in assigned if region not in sets]
    if unfit:
        lines.append(
            f"  not trained on: {listed(unfit)}, as mitochondrial or shorter than a window of "
            f"{grid.window:,} bp"
        )
    return lines


def _describe(name: SplitName, sets: Sets, sizes: Mapping[str, int]) -> str:
    regions = [region for region, split in sets.items() if split == name]
    names = ", ".join(region_name(region, sizes) for region in regions)
    return f"  {name}: {names}, {sum(region.end - region.start for region in regions):,} bp"


def _check_bins(config: DataConfig, contacts: ContactMap) -> None:
    longest, coarsest = max(contacts.chromsizes.values()), max(config.coarse_bin_sizes)
    if longest <= coarsest:
        raise UserError(
            f"coarse bins of {coarsest:,} bp hold every chromosome of {contacts.uri} whole, the "
            f"longest of {longest:,} bp; take smaller ones by --coarse-bin-sizes"
        )


def _check_window(config: DataConfig, contacts: ContactMap, sets: Sets) -> None:
    # Windows of 0 bp leave out mitochondrial DNA alone; lengths are compared below.
    sizes, able = contacts.chromsizes, teaching(contacts.chromsizes, 0)
    by_region = any(region_name(region, sizes) != region.chrom for region in sets)
    kind = "region" if by_region else "chromosome"
    for name in SPLIT_NAMES:
        regions = [region for region, split in sets.items() if split == name]
        if name == "train":
            regions = [region for region in regions if region.chrom in able]
        if not regions:
            raise UserError(
                f"split {config.split!r} leaves no {kind} to {name}, of {', '.join(sizes)}"
                f"{_GUARDED if by_region else ''}; give --split 'train=...;val=...;test=...'"
            )
        longest = max(region.end - region.start for region in regions)
        most, needed = num_bins(longest, contacts.bin_size), config.min_usable * config.window_bins
        if name == "train":  # holds a window; a chromosome that is judged may end before
            most, needed = longest // contacts.bin_size, config.window_bins
        if most < needed:
            raise UserError(
                f"the longest {name} {kind} has {most} bins of "
                f"{contacts.bin_size:,} bp, a window needs {needed:.0f} of {config.window_bins}; "
                f"take smaller --window-bins or --fine-bin-size, or longer {kind}s"
            )


def check_model(config: ModelConfig) -> None:
    """Check what can be known of a network before it is built.

    Raises:
        UserError: A frozen or tuned encoder without weights, weights that would not be used, or
            a DNA tower that cannot be.
    """
    for name, least in (
        ("depth", 1),
        ("dna_channels", 1),
        ("flank_bins", 0),
        ("context_layers", 0),
    ):
        if getattr(config, name) < least:
            option = name.replace("_", "-")
            raise UserError(f"--{option} {getattr(config, name)} cannot be; give {least} or more")
    if config.context == "attention" and config.dna_channels % CONTEXT_HEADS:
        raise UserError(
            f"--dna-channels {config.dna_channels} cannot be shared by the {CONTEXT_HEADS} heads "
            f"of --context attention; give a multiple of {CONTEXT_HEADS}"
        )
    if config.dna == "pooled" and config.flank_bins:
        raise UserError(
            f"--flank-bins {config.flank_bins} is for the tower, --dna pooled takes the mean of a "
            "window; leave it out, or give --dna tower"
        )
    weights = config.encoder_weights
    if config.encoder == "scratch" and weights:
        raise UserError(
            f"--encoder scratch would not use --encoder-weights {weights}; say --encoder tuned or "
            "frozen, or leave the weights out"
        )
    if config.encoder != "scratch" and not weights:
        raise UserError(
            f"--encoder {config.encoder} needs published weights; give --encoder-weights FILE "
            "(.pth.tar or .safetensors), or --encoder scratch"
        )
    if weights and not local(weights).is_file():
        raise UserError(f"encoder weights {weights} do not exist; give the file's path")
