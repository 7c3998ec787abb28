"""Tables of a genome's embeddings, made in this process alone."""

from pathlib import Path

from hicray.config import digest
from hicray.dna_models.binned import embed_stretch, stretches
from hicray.dna_models.contract import DnaModel
from hicray.io.copies import fingerprint
from hicray.maps.genome import Genome
from hicray.windows.bin_table import TableNote, as_stored, write_chrom, write_note

STRETCH_WINDOWS = 4


def write_table(folder: Path, model: DnaModel, genome: Path, bin_size: int, **identity) -> Path:
    """Embed a genome as the pass does, chromosome by chromosome; return the table's folder."""
    folder.mkdir(parents=True)
    fasta, files = Genome(str(genome)), {}
    for chrom, length in fasta.chromsizes.items():
        files[chrom] = f"{len(files):05d}.parquet"
        sequence = fasta.packed(chrom)
        with write_chrom(folder / files[chrom], model.channels, "fp32") as write:
            for stretch in stretches(chrom, length, bin_size, model, STRETCH_WINDOWS):
                write(as_stored(embed_stretch(model, sequence, stretch, bin_size), "fp32"))
    made_of = {"genome": fingerprint(str(genome)), "model": type(model).__name__, **identity}
    note = TableNote(
        bin_size=bin_size,
        channels=model.channels,
        precision="fp32",
        files=files,
        digest=digest(made_of),
        identity=made_of,
    )
    write_note(folder, note)
    return folder
