"""Preflight: what is wrong with these files, said before hours are spent."""

from collections.abc import Iterable, Mapping

from hicray.config import CONTEXT_HEADS, DataConfig, ModelConfig, UserError
from hicray.copies import local
from hicray.maps.bins import (
    SPLIT_NAMES,
    SplitName,
    assign,
    bare,
    num_bins,
    parse_split,
    split_sets,
    teaching,
)
from hicray.maps.contacts import ContactMap, levels, open_map
from hicray.maps.genome import Genome

_NAMED = 5
"""How many chromosomes a sentence names before it says how many more."""


def check_data(config: DataConfig) -> list[str]:
    """Check maps, genome and split against each other; return what was found, a line each.

    Raises:
        UserError: The first thing that would stop the work, in one sentence.
    """
    _check_options(config)
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
    if not config.contacts or not config.genome:
        raise UserError(
            f"contacts {' '.join(config.contacts) or 'none'} and genome {config.genome or 'none'}: "
            "give both --contacts MAP and --genome FASTA (without either, `prepare` and `train` "
            "simulate both)"
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


def _check_map(config: DataConfig, uri: str, genome: Mapping[str, int]) -> list[str]:
    offered = levels(uri)
    fine = open_map(uri, config.fine_bin_size, weights_name=config.weights)
    split, window = parse_split(config.split), config.window_bins * config.fine_bin_size
    every, sets = assign(split, fine.chromsizes), split_sets(split, fine.chromsizes, window)
    check_chromosomes(
        fine, genome, every, fasta=config.genome, match_chr=config.match_chr,
        others="--split 'train=...;val=...;test=...'",
    )  # fmt: skip
    _check_window(config, fine, every)
    made = config.coarse_keep < 1
    read = () if made else tuple(b for b in config.coarse_bin_sizes if b in offered)
    if not (made and config.disjoint_reads):
        read = (config.fine_bin_size, *read)
    for size in () if config.raw else read:
        open_map(uri, size, weights_name=config.weights).weights(next(iter(sets)))
    missing = [size for size in config.coarse_bin_sizes if size not in offered]
    lines = [f"{uri}: bins of {', '.join(f'{size:,}' for size in sorted(offered))} bp"]
    if missing and not made:
        names = ", ".join(f"{size:,}" for size in missing)
        lines.append(f"  no bins of {names} bp: will be summed from {fine.bin_size:,} bp")
    lines += [_describe(name, sets, fine.chromsizes) for name in SPLIT_NAMES]
    unfit = [chrom for chrom in every if chrom not in sets]
    if unfit:
        lines.append(
            f"  not trained on: {_listed(unfit)}, as mitochondrial or shorter than a window of "
            f"{window:,} bp"
        )
    return lines


def _describe(name: SplitName, sets: Mapping[str, SplitName], sizes: Mapping[str, int]) -> str:
    chroms = [chrom for chrom, one in sets.items() if one == name]
    return f"  {name}: {', '.join(chroms)}, {sum(sizes[chrom] for chrom in chroms):,} bp"


def check_chromosomes(
    contacts: ContactMap,
    genome: Mapping[str, int],
    chroms: Iterable[str],
    *,
    fasta: str,
    match_chr: bool,
    others: str,
) -> None:
    """Check that a genome has a map's chromosomes, at the same lengths.

    Args:
        contacts: The map.
        genome: Lengths in bp by the FASTA's names.
        chroms: The map's names of those that are needed.
        fasta: Path of the genome, for the sentence.
        match_chr: Take names that differ only in 'chr' as the same.
        others: Option that leaves chromosomes out.

    Raises:
        UserError: It lacks one, or has another length for it.
    """
    uri = contacts.uri
    names = genome_names(chroms, genome, match_chr=match_chr)
    absent = [chrom for chrom in chroms if chrom not in names]
    if absent:
        raise UserError(_absent(absent, genome, uri=uri, fasta=fasta, others=others))
    for chrom, name in names.items():
        if contacts.chromsizes[chrom] != genome[name]:
            raise UserError(
                f"{chrom} is {contacts.chromsizes[chrom]:,} bp in {uri} but {genome[name]:,} bp "
                f"in {fasta}; give the FASTA that the map was aligned to"
            )


def _absent(
    absent: list[str], genome: Mapping[str, int], *, uri: str, fasta: str, others: str
) -> str:
    known = {bare(name) for name in genome}
    alike = [chrom for chrom in absent if bare(chrom) in known]
    if 2 * len(alike) > len(absent):  # a human X is no yeast chrX
        absent, way_out = alike, "they differ only in 'chr': --match-chr takes them as the same"
    else:
        way_out = (
            f"the FASTA has {_listed(list(genome))}: give the one that the map was aligned to, or "
            f"leave those chromosomes out with {others}"
        )
    return f"chromosomes {_listed(absent)} of {uri} are not in {fasta}; {way_out}"


def genome_names(
    chroms: Iterable[str], genome: Iterable[str], *, match_chr: bool
) -> dict[str, str]:
    """Return the FASTA's name of each chromosome that it has.

    Args:
        chroms: The map's names.
        genome: The FASTA's names.
        match_chr: Take names that differ only in 'chr' as the same.
    """
    genome = list(genome)
    by_bare = {bare(name): name for name in genome} if match_chr else {}
    there = {chrom: chrom for chrom in chroms if chrom in genome}
    return there | {
        chrom: by_bare[bare(chrom)]
        for chrom in chroms
        if chrom not in there and bare(chrom) in by_bare
    }


def _check_window(config: DataConfig, contacts: ContactMap, sets: Mapping[str, SplitName]) -> None:
    able = teaching(contacts.chromsizes, 0)
    for name in SPLIT_NAMES:
        chroms = [c for c, one in sets.items() if one == name and (name != "train" or c in able)]
        if not chroms:
            raise UserError(
                f"split {config.split!r} leaves no chromosome to {name}, of "
                f"{', '.join(contacts.chromsizes)}; give --split 'train=...;val=...;test=...'"
            )
        longest = max(contacts.chromsizes[chrom] for chrom in chroms)
        most, needed = num_bins(longest, contacts.bin_size), config.min_usable * config.window_bins
        if name == "train":  # holds a window; a chromosome that is judged may end before
            most, needed = longest // contacts.bin_size, config.window_bins
        if most < needed:
            raise UserError(
                f"the longest {name} chromosome has {most} bins of "
                f"{contacts.bin_size:,} bp, a window needs {needed:.0f} of {config.window_bins}; "
                "take smaller --window-bins or --fine-bin-size, or longer chromosomes"
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


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
