"""Whether what a user asks `hicray enhance` for can be had: said before work starts."""

from collections.abc import Mapping
from pathlib import Path

from hicray.config import UserError
from hicray.evaluation.enhance import refuse_other_parts
from hicray.evaluation.network import BinSizes, NetworkFile, find
from hicray.evaluation.request import Enhance
from hicray.evaluation.tiler import Job
from hicray.evaluation.tiles import Tiling, furthest, tiling
from hicray.maps.check import check_chromosomes, genome_names
from hicray.maps.contacts import ContactMap, open_map
from hicray.maps.genome import Genome
from hicray.windows.locus import Dna


def check(request: Enhance) -> Job:
    """Open everything, and return what there is to do.

    Raises:
        UserError: The first thing that would stop the work, in one sentence.
    """
    _check_out(request.out)
    sizes = BinSizes(request.bin_size, request.fine_bin_size)
    network = find(request.checkpoint, sizes, request.tracking_uri)
    trained = network.trained
    contacts = open_map(request.contacts, trained.coarse_bin_size, weights_name=request.weights)
    if not trained.raw:
        contacts.weights(next(iter(contacts.chromsizes)))
    chroms = _chroms(request, contacts)
    job = Job(
        network=network,
        contacts=contacts,
        dna=_dna(request, network, contacts, chroms),
        tiling=_tiling(request, network),
        chroms=chroms,
        out=request.out.resolve(),
        use_gpu=request.use_gpu,
    )
    refuse_other_parts(job)
    return job


def _check_out(out: Path) -> None:
    if out.suffix != ".mcool":
        raise UserError(f"--out {out} must end with .mcool: the map is written with its zooms")
    if out.exists():
        raise UserError(f"--out {out} is there already; remove it, or give another name")
    if not out.absolute().parent.is_dir():
        raise UserError(f"--out {out} lies in a folder that does not exist; make it first")


def _chroms(request: Enhance, contacts: ContactMap) -> tuple[str, ...]:
    for chrom in request.chroms:
        if chrom not in contacts.chromsizes:
            raise UserError(
                f"--chroms {chrom} is not in {request.contacts}, which has "
                f"{', '.join(contacts.chromsizes)}; give names from it"
            )
    wanted: Mapping[str, int] | tuple[str, ...] = request.chroms or contacts.chromsizes
    return tuple(chrom for chrom in contacts.chromsizes if chrom in wanted)


def _dna(
    request: Enhance, network: NetworkFile, contacts: ContactMap, chroms: tuple[str, ...]
) -> Dna | None:
    if not network.reads_dna:
        return None
    if not request.genome:
        raise UserError(
            f"{request.checkpoint} reads DNA; give --genome, the FASTA that the map was aligned to"
        )
    sizes = Genome(request.genome).chromsizes
    check_chromosomes(
        contacts, sizes, chroms, fasta=request.genome, match_chr=request.match_chr,
        others="--chroms with those to enhance",
    )  # fmt: skip
    names = genome_names(chroms, sizes, match_chr=request.match_chr)
    return Dna(str(Path(request.genome).resolve()), names, network.flank_bins)


def _tiling(request: Enhance, network: NetworkFile) -> Tiling:
    trained = network.trained
    size, sizes = trained.fine_bin_size, {"window": trained.window_bins, "gap": trained.gap}
    most = furthest(trained.offsets, **sizes) * size
    if not 0 <= request.max_distance <= most:
        raise UserError(
            f"--max-distance {request.max_distance} is not within 0 to {most}, as far as the "
            "windows that this network was trained on can reach; give less, or train with a "
            "larger --max-distance"
        )
    reach = request.max_distance // size if request.max_distance else None
    return tiling(trained.offsets, reach=reach, **sizes)
