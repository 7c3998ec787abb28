"""``hicray embed-dna``: a model of DNA run once over a genome."""

from hicray.cli.guard import say
from hicray.config import UserError
from hicray.dna_models.options import EmbedDna


def embed_dna(options: EmbedDna) -> None:
    """Run a model of DNA over a genome once, and keep an embedding for each bin and strand."""
    from hicray.dna_models import catalog, cost, embed

    if options.components and options.projection:
        raise UserError(
            f"--components {options.components} and --projection {options.projection} both say "
            "which components are kept; give one of them"
        )
    genome = embed.open_genome(options)
    if not options.plan_only:
        catalog.require_model(options.model, options.weights)
    model = catalog.outline(options.model, options.weights)
    if options.bin_size < model.stride:
        raise UserError(
            f"--bin-size {options.bin_size} is less than the {model.stride} bases of one position "
            f"of {options.model}; give {model.stride} or more"
        )
    channels = options.components or model.channels
    say(str(cost.cost(model, genome.lengths, options.bin_size, channels, options.precision)))
    if options.plan_only:
        return
    note = embed.embed(options, model, genome)
    if projected := embed.project(options, note, genome):
        note, explained = projected
        say(f"{note.channels} components hold {explained:.1%} of the variance")
    where = embed.folder_of(options)
    say(f"{where}: {len(note.files)} chromosomes, {note.channels} channels a bin")
