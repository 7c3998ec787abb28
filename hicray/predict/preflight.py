"""Whether what a user asks of a network can be had: said before work starts."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from hicray.config import UserError
from hicray.io.storage import locate, locate_uri
from hicray.maps.bins import Region, parse_region
from hicray.maps.contacts import ContactMap, open_map
from hicray.maps.contents import require_any
from hicray.maps.genome import Genome
from hicray.maps.names import check_chromosomes, genome_names, named_chroms, region_of
from hicray.maps.tracks import Track, parse_tracks
from hicray.predict.enhance import refuse_other_parts
from hicray.predict.locus import Dna, Tracks
from hicray.predict.network import BinSizes, NetworkFile, find
from hicray.predict.request import Ablate, Enhance, Request
from hicray.predict.tiler import Job
from hicray.windows.bin_table import read_note
from hicray.windows.genome_tables import check_note, require_chroms
from hicray.windows.tiles import Tiling, furthest, tiling
from hicray.windows.track_table import Measured


class Opened(NamedTuple):
    """A network that was found, the level of the map that it reads, and its DNA."""

    network: NetworkFile
    contacts: ContactMap
    dna: Dna | None
    tracks: Tracks | None


def check(request: Enhance) -> Job:
    """Open everything, and return what there is to do.

    Raises:
        UserError: The first thing that would stop the work, in one sentence.
    """
    _check_out(request.out, ".mcool")
    opened = open_request(request, request.chroms)
    job = Job(
        network=opened.network,
        contacts=opened.contacts,
        dna=opened.dna,
        tracks=opened.tracks,
        tiling=_tiling(request, opened.network),
        chroms=_chroms(request.chroms, opened.contacts),
        out=request.out.resolve(),
        use_gpu=request.use_gpu,
    )
    refuse_other_parts(job)
    return job


def check_ablation(request: Ablate) -> tuple[Opened, Region]:
    """Open everything for one stretch of DNA.

    Raises:
        UserError: The first thing that would stop the work, in one sentence.
    """
    _check_out(request.out, ".png")
    region = parse_region(request.locus)
    opened = open_request(request, (region.chrom,))
    region = region_of(request.locus, opened.contacts)
    require_ablatable(opened.network, region, opened.contacts)
    return opened, region


def require_ablatable(network: NetworkFile, region: Region, contacts: ContactMap) -> None:
    """Refuse a network without DNA, and a stretch that no window holds.

    Args:
        network: The one that is to read the DNA.
        region: The stretch that is to be replaced.
        contacts: The map, for its chromosomes.

    Raises:
        UserError: It is one of these.
    """
    trained, length = network.trained, contacts.chromsizes[region.chrom]
    if network.embedding_model:
        raise UserError(
            f"{network.where} reads stored embeddings, whose DNA cannot be replaced; give a "
            "network that was trained with --dna tower"
        )
    if not network.reads_dna:
        raise UserError(
            f"{network.where} reads no DNA, so that there is nothing to ablate; give a network "
            "that was trained with --sequence on"
        )
    # A window begins at a coarse bin, up to one bin before its stretch.
    window = trained.window_bins * trained.fine_bin_size
    longest = window - trained.coarse_bin_size
    if region.end > length or region.end - region.start > longest:
        raise UserError(
            f"{region.chrom}:{region.start}-{region.end} does not fit {region.chrom} of "
            f"{length:,} bp or a window of {window:,} bp; give a stretch of at most {longest:,} bp "
            "within the chromosome"
        )


def open_request(request: Request, chroms: tuple[str, ...]) -> Opened:
    """Find the network, and open the map and the genome that it reads.

    Raises:
        UserError: One of them is not what it has to be.
    """
    sizes = BinSizes(request.bin_size, request.fine_bin_size)
    network = find(request.checkpoint, sizes, request.tracking_uri)
    if request.like:
        network = replace(network, trained=network.trained.like(request.like))
    trained = network.trained
    uri = locate_uri(request.contacts)  # actors may run in another folder
    contacts = open_map(uri, trained.coarse_bin_size, weights_name=request.weights)
    if not trained.raw:
        contacts.weights(next(iter(contacts.chromsizes)))
    chosen = _chroms(chroms, contacts)
    require_any(contacts, chosen, raw=trained.raw)
    genome = Genome(request.genome) if network.reads_dna and request.genome else None
    dna = dna_of(
        network, contacts, chosen, genome,
        match_chr=request.match_chr, embeddings=request.dna_embeddings,
    )  # fmt: skip
    return Opened(network, contacts, dna, tracks_of(network, contacts, request.tracks))


def _check_out(out: Path, ending: str) -> None:
    if out.suffix != ending:
        raise UserError(f"--out {out} must end with {ending}, which is what will be written")
    if out.exists():
        raise UserError(f"--out {out} is there already; remove it, or give another name")
    if not out.absolute().parent.is_dir():
        raise UserError(f"--out {out} lies in a folder that does not exist; make it first")


def _chroms(chosen: tuple[str, ...], contacts: ContactMap) -> tuple[str, ...]:
    wanted = set(named_chroms(chosen, contacts)) or contacts.chromsizes
    return tuple(chrom for chrom in contacts.chromsizes if chrom in wanted)


def dna_of(
    network: NetworkFile,
    contacts: ContactMap,
    chroms: tuple[str, ...],
    genome: Genome | None,
    *,
    match_chr: bool,
    embeddings: str = "",
) -> Dna | None:
    """Return where a map's DNA is, None for a network that reads none.

    Args:
        network: The one that is to read it.
        contacts: The map.
        chroms: Chromosomes that it is read of.
        genome: That the map was aligned to.
        match_chr: Take names of map and genome that differ only in 'chr' as the same.
        embeddings: Table of that genome's stored embeddings.

    Raises:
        UserError: There is no genome, or it is not the map's; or embeddings are missing or another
            model's.
    """
    if not network.reads_dna:
        return None
    if genome is None:
        raise UserError(
            f"{network.where} reads DNA; give --genome, the FASTA that the map was aligned to"
        )
    sizes, fasta = genome.chromsizes, genome.uri
    check_chromosomes(
        contacts, sizes, chroms, fasta=fasta, match_chr=match_chr,
        option="--chroms with those to enhance",
    )  # fmt: skip
    names = genome_names(chroms, sizes, match_chr=match_chr)
    _check_embeddings(network, genome, names.values(), embeddings)
    folder = str(locate(embeddings)) if network.embedding_model else ""
    return Dna(fasta, names, network.flank_bins, folder, network.reads_bases)


def _check_embeddings(
    network: NetworkFile, genome: Genome, chroms: Collection[str], embeddings: str
) -> None:
    if not network.embedding_model:
        return
    if not embeddings:
        raise UserError(
            f"{network.where} reads stored embeddings of DNA; give --dna-embeddings, the table "
            "that `hicray embed-dna` made of the genome"
        )
    note = read_note(locate(embeddings))
    if note.model_digest != network.embedding_model:
        raise UserError(
            f"{embeddings} was made by another model, or with other components, than "
            f"{network.where} was trained with; run `hicray embed-dna` with that model (and "
            "--projection with the table that it was trained with)"
        )
    check_note(note, locate(embeddings), genome.uri, shuffled=False)
    require_chroms(note, locate(embeddings), chroms)


def tracks_of(network: NetworkFile, contacts: ContactMap, words: Sequence[str]) -> Tracks | None:
    """Return the tracks of a map's genome, None for a network that reads none.

    Args:
        network: The one that is to read them.
        contacts: The map.
        words: NAME=FILE of each.

    Raises:
        UserError: They are not those that the network was trained with, or of another assembly.
    """
    if not network.tracks:
        return None
    files = parse_tracks(words)
    if set(files) != set(network.tracks):
        raise UserError(
            f"{network.where} reads the tracks {', '.join(network.tracks)}, not "
            f"{', '.join(files) or 'none'}; give --tracks with each of them as NAME=FILE.bw"
        )
    for file in files.values():
        Track(file).names(contacts.chromsizes)
    ordered = tuple(f"{name}={locate(files[name])}" for name in network.tracks)
    return Tracks(Measured(ordered, network.track_scales), network.flank_bins)


def _tiling(request: Enhance, network: NetworkFile) -> Tiling:
    trained = network.trained
    size, sizes = trained.fine_bin_size, {"window": trained.window_bins, "factor": trained.factor}
    most = furthest(trained.offsets, **sizes) * size
    if not 0 <= request.max_distance <= most:
        raise UserError(
            f"--max-distance {request.max_distance} is not within 0 to {most}, as far as the "
            "windows that this network was trained on can reach; give less, or train with a "
            "larger --max-distance"
        )
    reach = request.max_distance // size if request.max_distance else None
    return tiling(trained.offsets, reach=reach, **sizes)
