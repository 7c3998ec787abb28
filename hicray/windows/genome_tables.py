"""Stored embeddings of the genome of a data set: whether a table is theirs, and reading it."""

from dataclasses import replace

from hicray.config import DataConfig, ModelConfig, UserError
from hicray.io.copies import fingerprint
from hicray.io.storage import Location, locate
from hicray.maps.names import genome_names
from hicray.windows.bin_table import (
    NOTE,
    BinTable,
    GenomeTables,
    TableNote,
    read_chrom,
    read_note,
)
from hicray.windows.manifest import Manifest

SHUFFLED = "shuffled"
"""Folder in a table's, of the table of the same genome with its dinucleotides shuffled."""


def resolved(model: ModelConfig, data: DataConfig) -> ModelConfig:
    """Return a network with what its table of embeddings says of itself.

    Raises:
        UserError: The network reads embeddings and has no table, has one and reads none, or the
            table is of another genome or bin size.
    """
    reads = "embeddings" in model.dna
    if reads != bool(model.dna_embeddings):
        raise UserError(
            f"--dna {model.dna} with --dna-embeddings {model.dna_embeddings or 'none'} cannot be: "
            "give --dna embeddings (or tower+embeddings) together with the table's folder"
        )
    if not reads:
        return model
    folder = locate(model.dna_embeddings)
    note = read_note(folder)
    _check(note, folder, data)
    return replace(
        model,
        dna_embeddings=str(folder),
        embedding_channels=note.channels,
        embedding_model=note.model_digest,
    )


def _check(note: TableNote, folder: Location, data: DataConfig) -> None:
    if note.bin_size != data.fine_bin_size:
        raise UserError(
            f"{folder} holds embeddings of {note.bin_size:,} bp, the fine bins are of "
            f"{data.fine_bin_size:,} bp; run `hicray embed-dna --bin-size {data.fine_bin_size}`"
        )
    if data.genome and note.identity.get("genome") != fingerprint(data.genome):
        raise UserError(
            f"{folder} holds embeddings of another genome than {data.genome}; run "
            "`hicray embed-dna --genome` with that"
        )


def read_tables(folder: Location, manifest: Manifest) -> GenomeTables:
    """Read a genome's embeddings, and those of the shuffled one if they are there.

    Args:
        folder: Of the table.
        manifest: Of the shard set, whose chromosomes are read.

    Raises:
        UserError: There is no such table, it lacks a chromosome, or a file is damaged.
    """
    own = _read(folder, manifest)
    shuffled = folder / SHUFFLED
    return GenomeTables(own, _read(shuffled, manifest) if (shuffled / NOTE).exists() else None)


def read_one(folder: Location, chrom: str) -> BinTable:
    """Read the embeddings of one chromosome.

    Raises:
        UserError: There are none, or the file is damaged.
    """
    note = read_note(folder)
    if chrom not in note.files:
        raise UserError(
            f"{folder} holds no embeddings of {chrom}; run `hicray embed-dna` again without "
            "--chroms, or with that chromosome too"
        )
    return BinTable(note.bin_size, note.channels, {chrom: read_chrom(folder, note, chrom)})


def _read(folder: Location, manifest: Manifest) -> BinTable:
    note = read_note(folder)
    # Whether names that differ in 'chr' are one was settled when the set was cut.
    names = genome_names(manifest.chroms, note.files, match_chr=True)
    absent = [chrom for chrom in manifest.chroms if chrom not in names]
    if absent:
        raise UserError(
            f"{folder} holds no embeddings of {absent[0]}; run `hicray embed-dna` again without "
            "--chroms, or with that chromosome too"
        )
    chroms = {chrom: read_chrom(folder, note, name) for chrom, name in names.items()}
    return BinTable(note.bin_size, note.channels, chroms)
