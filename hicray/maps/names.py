"""Names of chromosomes: those of a user, a map and a FASTA brought together."""

from collections.abc import Iterable, Mapping

from hicray.config import UserError
from hicray.maps.bins import Region, named_chrom, parse_region
from hicray.maps.contacts import ContactMap

_NAMED = 5
"""How many chromosomes a sentence names before it says how many more."""


def named_chroms(names: Iterable[str], contacts: ContactMap) -> tuple[str, ...]:
    """Return the map's chromosomes that a user names, as ``bins.named_chrom``.

    Raises:
        UserError: The map has no chromosome of such a name.
    """
    chroms = []
    for name in names:
        chrom = named_chrom(name, contacts.chromsizes)
        if chrom is None:
            raise UserError(
                f"{contacts.uri} has no chromosome {name}; it has {listed(contacts.chromsizes)}: "
                "give names from it"
            )
        chroms.append(chrom)
    return tuple(chroms)


def region_of(text: str, contacts: ContactMap) -> Region:
    """Read ``chrom:start-end`` on a map's chromosome, named as the map names it.

    Raises:
        UserError: It is not of that form, or the map has no such chromosome.
    """
    region = parse_region(text)
    return region._replace(chrom=named_chroms((region.chrom,), contacts)[0])


def check_chromosomes(
    contacts: ContactMap,
    genome: Mapping[str, int],
    chroms: Iterable[str],
    *,
    fasta: str,
    match_chr: bool,
    option: str,
) -> None:
    """Check that a genome has a map's chromosomes, at the same lengths.

    Args:
        contacts: The map.
        genome: Lengths in bp by the FASTA's names.
        chroms: The map's names of those that are needed.
        fasta: Path of the genome, for the sentence.
        match_chr: Take names that differ only in 'chr' as the same.
        option: What leaves chromosomes out, for the sentence.

    Raises:
        UserError: It lacks one, or has another length for it.
    """
    uri = contacts.uri
    names = genome_names(chroms, genome, match_chr=match_chr)
    absent = [chrom for chrom in chroms if chrom not in names]
    if absent:
        by_chr = not match_chr
        raise UserError(_absent(absent, genome, uri=uri, fasta=fasta, option=option, by_chr=by_chr))
    for chrom, name in names.items():
        if not genome[name]:
            raise UserError(
                f"{name} is empty in {fasta}, a header without bases; give the whole FASTA that "
                "the map was aligned to"
            )
        if contacts.chromsizes[chrom] != genome[name]:
            raise UserError(
                f"{chrom} is {contacts.chromsizes[chrom]:,} bp in {uri} but {genome[name]:,} bp "
                f"in {fasta}; give the FASTA that the map was aligned to"
            )


def _absent(
    absent: list[str], genome: Mapping[str, int], *, uri: str, fasta: str, option: str, by_chr: bool
) -> str:
    alike = [chrom for chrom in absent if named_chrom(chrom, genome)]
    if by_chr and 2 * len(alike) > len(absent):  # a human X is no yeast chrX
        absent, way_out = alike, "they differ only in 'chr': --match-chr takes them as the same"
    else:
        way_out = (
            f"the FASTA has {listed(genome)}: give the one that the map was aligned to, or "
            f"leave those chromosomes out with {option}"
        )
    return f"chromosomes {listed(absent)} of {uri} are not in {fasta}; {way_out}"


def genome_names(
    chroms: Iterable[str], genome: Iterable[str], *, match_chr: bool
) -> dict[str, str]:
    """Return the FASTA's name of each chromosome that it has, each name for one of them.

    Args:
        chroms: The map's names.
        genome: The FASTA's names.
        match_chr: Take names that differ only in 'chr' as the same, where none are equal.
    """
    chroms, free = list(chroms), set(genome)
    # Equal names first, so that none is taken from the chromosome that bears it.
    names = {chrom: chrom for chrom in chroms if chrom in free}
    free -= names.keys()
    for chrom in chroms if match_chr else ():
        alike = None if chrom in names else named_chrom(chrom, free)
        if alike is not None:
            names[chrom] = alike
            free.remove(alike)
    return names


def listed(names: Iterable[str]) -> str:
    """Return the first names, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
