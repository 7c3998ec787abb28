"""Which human assembly a map is of, by the lengths of its chromosomes."""

from collections.abc import Iterable, Mapping

from hicray.maps.bins import bare

HUMAN = ("hg38", "hg19")


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
        known = bioframe.assembly_info(assembly).chromsizes
        own = {bare(name): int(length) for name, length in known.items()}
        if all(own.get(bare(chrom)) == chromsizes[chrom] for chrom in chroms):
            return assembly
    return ""
