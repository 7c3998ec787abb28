"""Stored embeddings of the genome of a data set: whether a table is theirs, and reading it."""

from collections.abc import Collection
from dataclasses import replace

from hicray.config import DataConfig, ModelConfig, UserError
from hicray.io.copies import fingerprint
from hicray.io.storage import Location, locate
from hicray.maps.bins import bare
from hicray.maps.contacts import open_map
from hicray.maps.names import genome_names
from hicray.maps.split import sets_of
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


def resolved(model: ModelConfig) -> ModelConfig:
    """Return a network with what its table of embeddings says of itself.

    Raises:
        UserError: The network reads embeddings and has no table, or has one and reads none.
    """
    reads = "embeddings" in model.dna
    if reads != bool(model.dna_embeddings):
        raise UserError(
            f"--dna {model.dna} with --dna-embeddings {model.dna_embeddings or 'none'} cannot be: "
            "give --dna embeddings (or tower+embeddings) together with the table's folder"
        )
    if not reads:
        return replace(model, embedding_channels=0, embedding_model="")
    folder = locate(model.dna_embeddings)
    note = read_note(folder)
    return replace(
        model,
        dna_embeddings=str(folder),
        embedding_channels=note.channels,
        embedding_model=note.model_digest,
    )


def require_table(model: ModelConfig, data: DataConfig) -> None:
    """Refuse a table that is not of a data set's genome, or saw what it holds out.

    Args:
        model: Resolved.
        data: The data set, checked.

    Raises:
        UserError: It is of another genome or bin size, lacks a chromosome, is of shuffled DNA, or
            its components were fitted on chromosomes that are held out.
    """
    if not model.dna_embeddings:
        return
    folder = locate(model.dna_embeddings)
    note = read_note(folder)
    check_note(note, folder, data.genome, shuffled=False)
    if note.bin_size != data.fine_bin_size:
        raise UserError(
            f"{folder} holds embeddings of {note.bin_size:,} bp, the fine bins are of "
            f"{data.fine_bin_size:,} bp; run `hicray embed-dna --bin-size {data.fine_bin_size}`"
        )
    sizes = open_map(data.contacts[0], data.fine_bin_size).chromsizes
    sets = sets_of(data, sizes)
    require_chroms(note, folder, {region.chrom for region in sets})
    fitted = {bare(name.partition(":")[0]) for name in note.identity.get("fitted_on", ())}
    held_out = [r.chrom for r, split in sets.items() if split != "train"]
    if seen := [chrom for chrom in held_out if bare(chrom) in fitted]:
        raise UserError(
            f"{folder} has components that were fitted on {seen[0]}, which --split {data.split} "
            "holds out; run `hicray embed-dna` with that --split and another --out"
        )


def check_note(note: TableNote, folder: Location, genome: str, *, shuffled: bool) -> None:
    """Refuse a table of another genome, or of shuffled DNA where it should not be, or should be.

    Args:
        note: Of the table.
        folder: Of the table, for the sentence.
        genome: FASTA.
        shuffled: Whether its DNA has to be shuffled.

    Raises:
        UserError: It is one of these.
    """
    if note.identity.get("genome") != fingerprint(genome):
        raise UserError(
            f"{folder} holds embeddings of another genome than {genome}; run "
            "`hicray embed-dna --genome` with that"
        )
    if bool(note.identity.get("shuffled")) != shuffled:
        raise UserError(
            f"{folder} holds embeddings of {'the genome as it is' if shuffled else 'shuffled DNA'};"
            f" give the table of {'shuffled DNA' if shuffled else 'the genome as it is'}"
        )


def require_chroms(note: TableNote, folder: Location, chroms: Collection[str]) -> dict[str, str]:
    """Return the table's name of each of a map's chromosomes.

    Args:
        note: Of the table.
        folder: Of the table, for the sentence.
        chroms: By the map's names.

    Raises:
        UserError: It lacks one.
    """
    # Whether names that differ in 'chr' are one was settled when map and genome were compared.
    names = genome_names(chroms, note.files, match_chr=True)
    absent = [chrom for chrom in chroms if chrom not in names]
    if absent:
        raise UserError(
            f"{folder} holds no embeddings of {absent[0]}; run `hicray embed-dna` again without "
            "--chroms, or with that chromosome too"
        )
    return names


def read_tables(folder: Location, manifest: Manifest, *, shuffled: bool = False) -> GenomeTables:
    """Read a genome's embeddings.

    Args:
        folder: Of the table.
        manifest: Of the shard set, whose chromosomes are read.
        shuffled: Read those of the shuffled genome too, if they are there.

    Raises:
        UserError: There is no such table, it lacks a chromosome, a file is damaged, or the
            shuffled one is another model's.
    """
    note, beside = read_note(folder), folder / SHUFFLED
    own = _read(note, folder, manifest)
    if not shuffled or not (beside / NOTE).exists():
        return GenomeTables(own)
    other = read_note(beside)
    alike = {**note.identity, "shuffled": True} == dict(other.identity)
    if not alike or other.bin_size != note.bin_size:
        raise UserError(
            f"{beside} was not made as {folder} was; remove it, and run `hicray embed-dna "
            "--shuffled` with the options that made that table"
        )
    return GenomeTables(own, _read(other, beside, manifest))


def read_one(folder: Location, chrom: str) -> BinTable:
    """Read the embeddings of one chromosome, by the table's name.

    Raises:
        UserError: The file is damaged.
    """
    note = read_note(folder)
    return BinTable(note.bin_size, note.channels, {chrom: read_chrom(folder, note, chrom)})


def _read(note: TableNote, folder: Location, manifest: Manifest) -> BinTable:
    names = require_chroms(note, folder, manifest.chroms)
    chroms = {chrom: read_chrom(folder, note, name) for chrom, name in names.items()}
    return BinTable(note.bin_size, note.channels, chroms)
