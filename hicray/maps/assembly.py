"""Which assembly a map is of, by its own word or the lengths of its chromosomes."""

from collections.abc import Iterable, Mapping

from hicray.maps.bins import bare
from hicray.maps.contacts import UNKNOWN, ContactMap

HUMAN = ("hg38", "hg19")


def assembly_of(contacts: ContactMap) -> str:
    """Return the assembly that a map names, or a human one by its lengths, or 'unknown'."""
    named = contacts.assembly
    if named != UNKNOWN:
        return named
    return human_assembly(contacts.chromsizes, contacts.chromsizes) or UNKNOWN


def human_assembly(chromsizes: Mapping[str, int], chroms: Iterable[str]) -> str:
    """Return hg38 or hg19 where all these chromosomes are as long as theirs; else nothing.

    A number alone says nothing: chromosome 4 of a mouse is another one.

    Args:
        chromsizes: Length of each chromosome of a map, in bp.
        chroms: Chromosomes that have to fit, with or without 'chr'.
    """
    # It brings pandas' slower parts; published weights alone ask for it.
    import bioframe

    for assembly in HUMAN:
        reference = bioframe.assembly_info(assembly).chromsizes
        lengths = {bare(name): int(length) for name, length in reference.items()}
        if all(lengths.get(bare(chrom)) == chromsizes[chrom] for chrom in chroms):
            return assembly
    return ""
