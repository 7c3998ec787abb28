"""A pass of a model of DNA over a genome: an embedding for each bin and strand, kept as a table.

The folder belongs to one job, which is known by content: the model's weights or code, the genome,
the bin size, the precision. Chromosomes that are finished are kept when an interrupted pass runs
again, and a pass over further chromosomes adds theirs.
"""

from typing import Any, NamedTuple

import numpy as np
import ray.data
import torch

from hicray.cluster import connection
from hicray.config import UserError, digest
from hicray.dna_models import catalog, projection
from hicray.dna_models.binned import Stretch, embed_stretch, shuffled, stretches
from hicray.dna_models.contract import DnaModel
from hicray.dna_models.options import EmbedDna
from hicray.io.copies import fingerprint
from hicray.io.notes import refuse_others, write_json
from hicray.io.progress import tqdm
from hicray.io.storage import Location, locate, remove_leftovers
from hicray.maps.bins import Region, parse_split
from hicray.maps.genome import Genome, PackedSequence, pack
from hicray.maps.split import Grid, split_sets
from hicray.windows.bin_table import (
    STRANDS,
    TableNote,
    as_floats,
    as_stored,
    read_chrom,
    write_chrom,
    write_note,
)
from hicray.windows.genome_tables import SHUFFLED

VERSION = 1
"""To be raised when the same inputs would give other embeddings."""
_CLAIM, ALL_CHANNELS = "embed.json", "all_channels"
WINDOWS = 8
"""Windows of a stretch, which is the piece that an actor returns."""


class _Job(NamedTuple):
    """What every actor of a pass knows."""

    options: EmbedDna
    cpus: int


class ToEmbed(NamedTuple):
    """A FASTA, and which of its sequences are embedded."""

    fasta: Genome
    chroms: tuple[str, ...]

    @property
    def lengths(self) -> dict[str, int]:
        """Length of each, in bp."""
        sizes = self.fasta.chromsizes
        return {chrom: sizes[chrom] for chrom in self.chroms}


def identity(options: EmbedDna) -> dict[str, Any]:
    """Return all that embeddings depend on, by content."""
    return {
        **catalog.identity(options.model, options.weights),
        "genome": fingerprint(options.genome),
        "bin_size": options.bin_size,
        "shuffled": options.shuffled,
        "precision": options.precision,
        "version": VERSION,
    }


def embed(options: EmbedDna, model: DnaModel, genome: ToEmbed) -> TableNote:
    """Embed what is missing; return what the table holds, all channels of the model.

    Args:
        options: What is embedded.
        model: For its sizes alone; actors open their own.
        genome: The genome.
    """
    out = folder_of(options)
    folder = out / ALL_CHANNELS if _projects(options) else out
    folder.mkdir(parents=True, exist_ok=True)
    known = identity(options)
    refuse_others(
        folder / _CLAIM,
        digest(known),
        problem="holds other embeddings",
        differs="another model, genome, bin size or precision",
        option="--out folder",
    )
    write_json(folder / _CLAIM, {"digest": digest(known), **known})
    files = {chrom: f"{i:05d}.parquet" for i, chrom in enumerate(genome.fasta.chromsizes)}
    missing = [chrom for chrom in genome.chroms if not (folder / files[chrom]).exists()]
    if missing:
        _run(options, model, genome, {chrom: folder / files[chrom] for chrom in missing})
        remove_leftovers(folder)
    done = {chrom: name for chrom, name in files.items() if (folder / name).exists()}
    note = TableNote(
        bin_size=options.bin_size,
        channels=model.channels,
        precision=options.precision,
        files=done,
        identity=known,
        digest=digest(known),
    )
    write_note(folder, note)
    return note


def folder_of(options: EmbedDna) -> Location:
    """Return where a table goes; one of shuffled DNA lies within that of the genome's own."""
    out = locate(str(options.out))
    return out / SHUFFLED if options.shuffled else out


def _projects(options: EmbedDna) -> bool:
    """Tell whether components are kept: shuffled DNA has those of the genome's own table."""
    own = locate(str(options.out)) / projection.FILE
    return bool(options.components or options.projection or (options.shuffled and own.exists()))


def open_genome(options: EmbedDna) -> ToEmbed:
    """Open the FASTA, and find the chromosomes that are asked for.

    Raises:
        UserError: It cannot be read, or has no such chromosome.
    """
    fasta = Genome(options.genome)
    sizes = fasta.chromsizes
    chroms = options.chroms or tuple(chrom for chrom, length in sizes.items() if length)
    absent = [chrom for chrom in chroms if not sizes.get(chrom)]
    if absent:
        raise UserError(
            f"{options.genome} has no bases of {absent[0]}; give --chroms from the names that it "
            "has, exactly"
        )
    return ToEmbed(fasta, chroms)


def _run(options: EmbedDna, model: DnaModel, genome: ToEmbed, targets: dict[str, Location]) -> None:
    pieces = [
        stretch
        for chrom in targets
        for stretch in stretches(chrom, genome.lengths[chrom], options.bin_size, model, WINDOWS)
    ]
    connection.connect()
    pool = connection.pool(len(pieces), use_gpu=options.use_gpu)
    context = ray.data.DataContext.get_current()
    context.execution_options.preserve_order = True
    context.print_on_execution_start = False
    embedded = ray.data.from_items(
        [stretch._asdict() for stretch in pieces], override_num_blocks=len(pieces)
    ).map(
        _Embedder,
        fn_constructor_args=(_Job(options, pool.cpus),),
        compute=ray.data.ActorPoolStrategy(size=pool.size),
        num_cpus=pool.cpus,
        num_gpus=1 if options.use_gpu else 0,
    )
    rows = iter(embedded.iter_rows())
    total = sum(stretch.end_bin - stretch.first_bin for stretch in pieces)
    with tqdm(total=total, desc=f"embed {options.model}", unit="bin") as bar:
        for chrom, target in targets.items():
            own = sum(stretch.chrom == chrom for stretch in pieces)
            with write_chrom(target, model.channels, options.precision) as write:
                for _ in range(own):
                    stored = _stored(next(rows), model.channels, options)
                    write(stored)
                    bar.update(stored.shape[1])


def _stored(row: dict[str, Any], channels: int, options: EmbedDna) -> np.ndarray:
    kind = np.uint16 if options.precision == "bf16" else np.float32
    return np.frombuffer(row["values"], dtype=kind).reshape(len(STRANDS), -1, channels)


class _Embedder:
    """One actor: the model, and the chromosome that it read last."""

    def __init__(self, job: _Job) -> None:
        torch.set_num_threads(job.cpus)
        self.options = job.options
        self.device = torch.device("cuda" if job.options.use_gpu else "cpu")
        self.model = catalog.open_model(job.options.model, job.options.weights, self.device)
        self.genome = Genome(job.options.genome)
        self.last: tuple[str, PackedSequence] | None = None

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return a stretch's embeddings, as they are stored."""
        stretch = Stretch(**row)
        values = embed_stretch(
            self.model,
            self._sequence(stretch.chrom),
            stretch,
            self.options.bin_size,
            batch_size=self.options.batch_size,
            device=self.device,
        )
        return {"values": as_stored(values, self.options.precision).tobytes()}

    def _sequence(self, chrom: str) -> PackedSequence:
        if self.last is None or self.last[0] != chrom:
            codes = self.genome.codes(chrom, 0, self.genome.chromsizes[chrom])
            self.last = chrom, pack(shuffled(codes) if self.options.shuffled else codes)
        return self.last[1]


def project(options: EmbedDna, note: TableNote, genome: ToEmbed) -> tuple[TableNote, float] | None:
    """Keep a table's principal components in a table of their own, where they are asked for.

    Args:
        options: How many, and what they are fitted on.
        note: Of the table of all channels.
        genome: The genome.

    Returns:
        The note of that table, and the share of the variance that it holds; None where all
        channels are kept.
    """
    if not _projects(options):
        return None
    out = folder_of(options)
    if options.shuffled:
        found = projection.read(locate(str(options.out)))
    elif options.projection:
        found = projection.read(locate(options.projection))
    else:
        regions = _training(options, genome)
        found = projection.fit(out / ALL_CHANNELS, note, regions, options.components)
    projection.write(found, out)
    for chrom, name in tqdm(note.files.items(), desc="project", unit="chrom"):
        values = found.apply(as_floats(read_chrom(out / ALL_CHANNELS, note, chrom)))
        with write_chrom(out / name, values.shape[-1], options.precision) as write:
            write(as_stored(values, options.precision))
    axes = digest([found.mean.tolist(), found.axes.tolist()])
    known = {**note.identity, "projection": axes}
    kept = TableNote(
        bin_size=note.bin_size,
        channels=found.axes.shape[1],
        precision=options.precision,
        files=note.files,
        identity=known,
        digest=digest(known),
    )
    write_note(out, kept)
    return kept, found.explained


def _training(options: EmbedDna, genome: ToEmbed) -> list[Region]:
    grid = Grid(options.bin_size, options.bin_size)
    sets = split_sets(parse_split(options.split), genome.lengths, grid)
    return [region for region, split in sets.items() if split == "train"]
