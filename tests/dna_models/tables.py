"""Tables of a genome's embeddings, made in this process alone."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from hicray.config import digest
from hicray.dna_models import actors
from hicray.dna_models.binned import Stretch, embed_stretch, stretches
from hicray.dna_models.contract import DnaModel, sizes_of
from hicray.dna_models.options import EmbedDna
from hicray.io.copies import fingerprint
from hicray.maps.genome import Genome
from hicray.windows.bin_table import (
    STRANDS,
    TableNote,
    as_stored,
    stored_kind,
    write_chrom,
    write_note,
)


def run_alone(
    options: EmbedDna,
    channels: int,
    pieces: Mapping[str, list[Stretch]],
    targets: Mapping[str, Path],
) -> None:
    """Stand for ``actors.run``: one actor, called here for one piece after the other."""
    actor = actors._Embedder(actors._Job(options, 1))
    kind = stored_kind(options.precision)
    for chrom, target in targets.items():
        with write_chrom(target, channels, options.precision) as write:
            for stretch in pieces[chrom]:
                stored = np.frombuffer(actor(stretch._asdict())["values"], dtype=kind)
                write(stored.reshape(len(STRANDS), -1, channels))


def write_table(folder: Path, model: DnaModel, genome: Path, bin_size: int, **identity) -> Path:
    """Embed a genome as the pass does, chromosome by chromosome; return the table's folder."""
    folder.mkdir(parents=True)
    fasta, files = Genome(str(genome)), {}
    for chrom, length in fasta.chromsizes.items():
        files[chrom] = f"{len(files):05d}.parquet"
        sequence = fasta.packed(chrom)
        with write_chrom(folder / files[chrom], model.channels, "fp32") as write:
            for stretch in stretches(chrom, length, bin_size, sizes_of(model)):
                write(as_stored(embed_stretch(model, sequence, stretch, bin_size), "fp32"))
    made_of = {
        "genome": fingerprint(str(genome)),
        "model": type(model).__name__,
        "shuffled": False,
        **identity,
    }
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
