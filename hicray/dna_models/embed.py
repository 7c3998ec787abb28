"""A pass of a model of DNA over a genome: an embedding for each bin and strand, kept as a table.

    out/
        embed.json               whose the folder is
        all_channels/            a file for each chromosome, as the model gave it
        components/              the same, projected; where components are kept
        projection.safetensors   by what
        bins.json                which of the two is the table; written last
        shuffled/                the same of shuffled DNA: a control

The folder belongs to one job, known by content: the model's weights or code, the genome, the bin
size, the precision, the components. Chromosomes that are finished are kept when an interrupted
pass runs again, and a pass over further chromosomes adds theirs.
"""

from dataclasses import replace
from functools import cached_property
from typing import Any

from hicray.config import UserError, digest
from hicray.dna_models import actors, catalog, projection
from hicray.dna_models.binned import stretches
from hicray.dna_models.contract import Sizes
from hicray.dna_models.options import EmbedDna
from hicray.io.copies import fingerprint
from hicray.io.lock import exclusive
from hicray.io.notes import refuse_others, write_json
from hicray.io.progress import tqdm
from hicray.io.storage import Location, locate, remove_leftovers
from hicray.maps.bins import Region, parse_split
from hicray.maps.genome import Genome
from hicray.maps.split import Grid, region_name, split_sets
from hicray.model.run import in_bf16
from hicray.windows.bin_table import (
    TableNote,
    as_floats,
    as_stored,
    read_chrom,
    read_note,
    write_chrom,
    write_note,
)
from hicray.windows.genome_tables import SHUFFLED

VERSION = 1
"""To be raised when the same inputs would give other embeddings."""
ALL_CHANNELS, COMPONENTS = "all_channels", "components"
_CLAIM = "embed.json"


class Pass:
    """A pass, checked as far as it can be before any work.

    Args:
        options: What a user asks for.
        sizes: Of the model.

    Raises:
        UserError: Chromosomes, components, projection or folder do not fit.
    """

    def __init__(self, options: EmbedDna, sizes: Sizes) -> None:
        self.options, self.sizes = resolved(options), sizes
        self.table = locate(options.out)
        self.out = self.table / SHUFFLED if options.shuffled else self.table
        self.fasta = Genome(options.genome)
        self.lengths = chromosomes(self.fasta, options)
        self._check_numbers()
        self.source = self._projection_source()
        self.fitted_on: list[Region] = []
        if options.components and not options.shuffled:
            self.fitted_on = self._training()

    @property
    def projects(self) -> bool:
        """Whether components are kept."""
        return bool(self.options.components) or self.source is not None

    @cached_property
    def identity(self) -> dict[str, Any]:
        """All that embeddings of all channels depend on, by content."""
        options = self.options
        half = options.use_gpu and in_bf16("cuda")
        return {
            **catalog.identity(options.model, options.weights),
            "genome": fingerprint(options.genome),
            "bin_size": options.bin_size,
            "shuffled": options.shuffled,
            "precision": options.precision,
            "computed_in": "bf16" if half else "fp32",
            "version": VERSION,
        }

    @property
    def files(self) -> dict[str, str]:
        """File of each chromosome of the FASTA."""
        return {chrom: f"{i:05d}.parquet" for i, chrom in enumerate(self.fasta.chromsizes)}

    def run(self) -> TableNote:
        """Embed and project what is missing; return what the table holds.

        Raises:
            UserError: The folder is another job's, or another run works there.
        """
        with exclusive(self.table, "--out"):
            self._claim()
            self._embed()
            note = self._project() if self.projects else self._note(ALL_CHANNELS, self.identity)
            write_note(self.out, note)
        return note

    def explained(self) -> float:
        """Return the share of the variance, where they were fitted, that the components hold."""
        return projection.read(self.source or self.out).explained

    def _claim(self) -> None:
        settings = {
            **self.identity,
            "components": self.options.components,
            "fitted_on": self._fitted_names(),
            "projection": "" if self.source is None else read_note(self.source).model_digest,
        }
        refuse_others(
            self.out / _CLAIM,
            digest(settings),
            problem="holds other embeddings",
            differs="another model, genome, bin size, precision, or other components",
            option="--out folder",
        )
        self.out.mkdir(parents=True, exist_ok=True)
        write_json(self.out / _CLAIM, {"digest": digest(settings), **settings})

    def _embed(self) -> None:
        folder = self.out / ALL_CHANNELS
        folder.mkdir(parents=True, exist_ok=True)
        targets = {chrom: folder / self.files[chrom] for chrom in self.lengths}
        missing = {chrom: target for chrom, target in targets.items() if not target.exists()}
        if missing:
            pieces = {
                chrom: stretches(chrom, self.lengths[chrom], self.options.bin_size, self.sizes)
                for chrom in missing
            }
            actors.run(self.options, self.sizes.channels, pieces, missing)
            remove_leftovers(folder)

    def _note(self, folder: str, identity: dict[str, Any], channels: int = 0) -> TableNote:
        """Return what the finished files of a folder are; they may be more than were asked for."""
        files = {chrom: f"{folder}/{name}" for chrom, name in self.files.items()}
        return TableNote(
            bin_size=self.options.bin_size,
            channels=channels or self.sizes.channels,
            precision=self.options.precision,
            files={c: file for c, file in files.items() if (self.out / file).exists()},
            identity=identity,
            digest=digest(identity),
        )

    def _project(self) -> TableNote:
        whole = self._note(ALL_CHANNELS, self.identity)
        found = self._projection(whole)
        (self.out / COMPONENTS).mkdir(exist_ok=True)
        for chrom, file in tqdm(whole.files.items(), desc="project", unit="chrom"):
            target = self.out / file.replace(ALL_CHANNELS, COMPONENTS)
            if target.exists():
                continue
            values = found.apply(as_floats(read_chrom(self.out, whole, chrom)))
            with write_chrom(target, values.shape[-1], self.options.precision) as write:
                write(as_stored(values, self.options.precision))
        axes = digest([found.mean.tolist(), found.axes.tolist()])
        identity = {**self.identity, "projection": axes, "fitted_on": found.fitted_on}
        return self._note(COMPONENTS, identity, found.axes.shape[1])

    def _projection(self, whole: TableNote) -> projection.Projection:
        """Return the components: another table's, those that were fitted before, or new ones."""
        if self.source is not None:
            return projection.read(self.source)
        if not (self.out / projection.FILE).exists():
            found = projection.fit(self.out, whole, self.fitted_on, self.options.components)
            projection.write(found._replace(fitted_on=self._fitted_names()), self.out)
        return projection.read(self.out)

    def _fitted_names(self) -> tuple[str, ...]:
        sizes = self.fasta.chromsizes
        return tuple(region_name(region, sizes) for region in self.fitted_on)

    def _training(self) -> list[Region]:
        """Return the regions that components are fitted on: the split's, of the whole FASTA."""
        options, sizes = self.options, self.fasta.chromsizes
        grid = Grid(options.bin_size, options.bin_size)
        sets = split_sets(parse_split(options.split), sizes, grid)
        regions = [region for region, split in sets.items() if split == "train"]
        absent = [
            region.chrom
            for region in regions
            if region.chrom not in self.lengths
            and not (self.out / ALL_CHANNELS / self.files[region.chrom]).exists()
        ]
        if absent:
            raise UserError(
                f"--components {options.components} are fitted on all training chromosomes of "
                f"--split {options.split}, and {absent[0]} is not among --chroms; embed that too"
            )
        return regions

    def _check_numbers(self) -> None:
        options = self.options
        if not 0 <= options.components <= self.sizes.channels:
            raise UserError(
                f"--components {options.components} cannot be: {options.model} has "
                f"{self.sizes.channels:,} channels; give as many at most, or 0 for all"
            )
        if options.bin_size < self.sizes.stride:
            raise UserError(
                f"--bin-size {options.bin_size} is less than the {self.sizes.stride} bases of one "
                f"position of {options.model}; give {self.sizes.stride} or more"
            )
        if options.batch_size < 1:
            raise UserError(f"--batch-size {options.batch_size} reads nothing; give 1 or more")
        if options.components and options.projection:
            raise UserError(
                f"--components {options.components} and --projection {options.projection} both "
                "say which components are kept; give one of them"
            )

    def _projection_source(self) -> Location | None:
        """Return the table whose components are taken; shuffled DNA takes its own table's."""
        if self.options.shuffled:
            note = read_note(self.table)
            own = {**note.identity, "shuffled": True}
            if any(own.get(name) != value for name, value in self.identity.items()):
                raise UserError(
                    f"{self.table} holds the embeddings of another model, genome, bin size or "
                    "precision; give --shuffled together with the options that made that table"
                )
            return self.table if (self.table / projection.FILE).exists() else None
        if not self.options.projection:
            return None
        source = locate(self.options.projection)
        own = {**read_note(source).identity}
        if any(own.get(name) != self.identity[name] for name in ("model", "weights", "code")):
            raise UserError(
                f"--projection {self.options.projection} was fitted on another model's channels; "
                "give a table of the same model"
            )
        projection.require(source)
        return source


def resolved(options: EmbedDna) -> EmbedDna:
    """Return options with full paths: actors work in folders of their own."""
    weights = options.weights
    if catalog.takes_file(options.model):
        weights = str(locate(weights))
    return replace(options, genome=str(locate(options.genome)), weights=weights)


def chromosomes(fasta: Genome, options: EmbedDna) -> dict[str, int]:
    """Return the length of each chromosome that is to be embedded, in bp.

    Args:
        fasta: The genome.
        options: Which chromosomes are asked for, of which file.

    Raises:
        UserError: The FASTA has no such chromosome.
    """
    sizes = fasta.chromsizes
    chroms = options.chroms or tuple(chrom for chrom, length in sizes.items() if length)
    absent = [chrom for chrom in chroms if not sizes.get(chrom)]
    if absent:
        raise UserError(
            f"{options.genome} has no bases of {absent[0]}; give --chroms from the names that it "
            "has, exactly"
        )
    return {chrom: sizes[chrom] for chrom in chroms}
